//! What an authority wants of group messages: a few subscriptions of the family that `Authority::subscriptions` states.
//!
//! They are made up as an authority would: a desk for a region, one for documents, one for what is urgent.

use serde_json::{Value, json};

use crate::rules::registry::{Party, Role};
use crate::sim::script::dice::Dice;
use crate::sim::script::places;

/// One to so many subscriptions for a party.
pub(super) fn some(dice: &mut Dice, party: &Party, most: u32) -> Vec<Value> {
    let mut list = Vec::new();
    let wanted = dice.between(1, most) as usize;
    if party.has(Role::Lea) && dice.chance(0.3) {
        list.push(crime(dice));
    }
    while list.len() < wanted {
        let kind = dice.below(8);
        let mut desk = match kind {
            0 => region(dice),
            1 => routes(dice),
            2 => json!({ "filters": [{ "exact": { "priority": *dice.pick(&["priority", "urgent"]) } }] }),
            3 => families(dice),
            4 => nationals(dice),
            5 => refusing(dice, party),
            6 => numbers(dice),
            _ => transports(dice),
        };
        // One desk alone is for one part of the world.
        if most == 1 && kind > 0 {
            desk["filters"]
                .as_array_mut()
                .into_iter()
                .for_each(|all| all.push(any("country", countries(dice, 8, 30))));
        }
        list.push(desk);
    }
    if most > 1 && list.len() == 1 && dice.chance(0.2) {
        // Everything, but asked for.
        list.push(json!({ "filters": [] }));
    }
    for (at, subscription) in list.iter_mut().enumerate() {
        subscription["name"] = format!("desk-{}", at + 1).into();
    }
    list
}

fn countries(dice: &mut Dice, least: u32, most: u32) -> Vec<&'static str> {
    let count = dice.between(least, most) as usize;
    dice.some(count, places::all()).into_iter().map(|country| country.code).collect()
}

fn any(name: &str, values: impl IntoIterator<Item = &'static str>) -> Value {
    let each: Vec<Value> = values.into_iter().map(|value| json!({ "exact": { name: value } })).collect();
    json!({ "any": each })
}

fn region(dice: &mut Dice) -> Value {
    let of = countries(dice, 4, 12);
    json!({ "filters": [any("country", of)] })
}

fn routes(dice: &mut Dice) -> Value {
    let of = dice.some(2, &["CMED", "WMED", "EMED", "WAFR", "WBALK", "EBORDER", "AIR"]).into_iter().copied();
    let routes = any("route", of);
    if dice.chance(0.3) {
        json!({ "filters": [routes, { "not": { "exact": { "impact": "low" } } }] })
    } else {
        json!({ "filters": [routes] })
    }
}

fn families(dice: &mut Dice) -> Value {
    let family = *dice.pick(&["flow.", "event.", "host.", "network.", "rfi.", "board.", "document."]);
    json!({ "filters": [{ "prefix": { "type": format!("eu.ilonet.{family}") } }] })
}

fn crime(dice: &mut Dice) -> Value {
    let mut kinds = vec![json!({ "prefix": { "type": "eu.ilonet.smuggling." } })];
    kinds.push(json!({ "exact": { "type": "eu.ilonet.thb.pattern.v1" } }));
    kinds.push(json!({ "exact": { "type": "eu.ilonet.document.fraud.v1" } }));
    if dice.chance(0.3) {
        json!({ "filters": [{ "any": kinds }, { "not": { "suffix": { "evaluation": "4" } } }] })
    } else {
        json!({ "filters": [{ "any": kinds }] })
    }
}

fn nationals(dice: &mut Dice) -> Value {
    let of =
        dice.some(6, &["SYR", "AFG", "ERI", "GIN", "CIV", "MAR", "TUN", "BGD", "PAK", "SOM", "XXA", "NGA"]);
    json!({ "filters": [any("nationality", of.into_iter().copied())] })
}

fn refusing(dice: &mut Dice, party: &Party) -> Value {
    let own = party.country.to_ascii_lowercase();
    let at_home = json!({ "prefix": { "originator": format!("{own}-") } });
    let quiet = json!({ "exact": { "tlp": *dice.pick(&["TLP:GREEN", "TLP:CLEAR"]) } });
    json!({ "filters": [{ "not": { "any": [at_home, quiet] } }, { "not": { "exact": { "priority": "routine" } } }] })
}

fn numbers(dice: &mut Dice) -> Value {
    let least = dice.between(1, 40) * 50;
    let condition = match dice.below(4) {
        0 => format!("data.count.value >= {least}"),
        1 => format!("event.type == \"eu.ilonet.flow.observation.v1\" && data.count.value >= {least}"),
        2 => format!("\"{}\" in data.routes", dice.pick(&["CMED", "WMED", "EMED", "WBALK"])),
        _ => "event.priority == \"urgent\" && data.level == \"operational\"".to_owned(),
    };
    json!({ "filters": [], "where": condition })
}

fn transports(dice: &mut Dice) -> Value {
    let of =
        dice.some(3, &["rubber-boat", "metal-boat", "lorry", "aircraft-scheduled", "train-freight", "foot"]);
    let by = any("transport", of.into_iter().copied());
    if dice.chance(0.5) {
        json!({ "filters": [{ "all": [by, { "prefix": { "source": "/authority/" } }] }] })
    } else {
        json!({ "filters": [by] })
    }
}
