//! A registry with enough posts and authorities: what is there stays as it is, what is missing is invented.
//!
//! Invented authorities say `(simulated)` in their names. Comments of the file are lost: it is for a simulation's own
//! data directory.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::plays;
use crate::rules::registry::{Participation, Party, Registry};
use crate::sim::plan::Plan;
use crate::sim::script::dice::Dice;
use crate::sim::script::places;

/// Roles of invented authorities, a mixture as real ones have it.
const ROLES: [&[&str]; 6] = [
    &["deployer", "lea", "return"],
    &["deployer", "lea"],
    &["asylum", "admission"],
    &["deployer", "return", "admission"],
    &["lea"],
    &["deployer", "asylum", "return"],
];

/// States whose authorities may be invented.
const STATES: [&str; 31] = [
    "AT", "BE", "BG", "HR", "CY", "CZ", "DK", "EE", "FI", "FR", "DE", "GR", "HU", "IE", "IT", "LV", "LT",
    "LU", "MT", "NL", "PL", "PT", "RO", "SK", "SI", "ES", "SE", "CH", "NO", "IS", "LI",
];

/// First number of an invented post: real ones have lower numbers.
const FIRST: u32 = 11;

/// A registry with enough posts and authorities for the plan, or `None` if this one has.
///
/// # Errors
/// It is no registry.
pub fn enrol(plan: &Plan, registry: &str) -> Result<Option<String>, String> {
    let known = Registry::parse(registry).map_err(|faults| faults.join("\n"))?;
    let mut file: Table = toml::from_str(registry).map_err(|error| error.to_string())?;
    let Some(Value::Array(parties)) = file.get_mut("party") else { return Err("no party in it".to_owned()) };
    let taking_part = known.parties().filter(|party| plays(party)).count();
    let posts: usize = known.parties().filter(|party| plays(party)).map(|party| party.posts.len()).sum();
    if taking_part >= plan.authorities as usize && posts >= plan.officers as usize {
        return Ok(None);
    }
    let found = (0_u32..).map(invented).filter(|party| !is_known(&known, party));
    parties.extend(found.take((plan.authorities as usize).saturating_sub(taking_part)).map(Value::Table));
    post(plan, parties, &known)?;
    if !known.parties().any(|party| party.is_suspended() && !party.posts.is_empty()) {
        parties.push(Value::Table(suspended()));
    }
    let text = toml::to_string(&file).map_err(|error| error.to_string())?;
    let text = format!(
        "# Written by `liaison simulate`: a registry with posts and authorities for a simulation.\n\n{text}"
    );
    Registry::parse(&text).map_err(|faults| faults.join("\n"))?;
    Ok(Some(text))
}

fn is_known(known: &Registry, party: &Table) -> bool {
    party["id"].as_str().is_some_and(|id| known.party(id).is_some())
}

fn table(
    id: String,
    name: String,
    country: &str,
    participation: &str,
    roles: &[&str],
    posts: &[&str],
) -> Table {
    let list = |texts: &[&str]| Value::Array(texts.iter().map(|text| Value::from(*text)).collect());
    let mut party = Table::new();
    party.insert("id".to_owned(), id.into());
    party.insert("name".to_owned(), name.into());
    party.insert("country".to_owned(), country.into());
    party.insert("participation".to_owned(), participation.into());
    party.insert("roles".to_owned(), list(roles));
    party.insert("posts".to_owned(), list(posts));
    party
}

fn invented(at: u32) -> Table {
    let state = STATES[at as usize % STATES.len()];
    let participation =
        if ["CH", "NO", "IS", "LI"].contains(&state) { "schengen-associated" } else { "member-state" };
    let id = format!("{}-sim{:02}", state.to_ascii_lowercase(), at + 1);
    let name = format!("Authority {} (simulated)", at + 1);
    table(id, name, state, participation, ROLES[at as usize % ROLES.len()], &[])
}

fn suspended() -> Table {
    let name = "Suspended authority (simulated)".to_owned();
    table("eu-simaway".to_owned(), name, "EU", "suspended", &["deployer"], &["xk-99"])
}

/// Gives posts to whoever has the fewest, until there are enough: so the load is even.
fn post(plan: &Plan, parties: &mut [Value], known: &Registry) -> Result<(), String> {
    let may_have = |party: &Value| {
        let id = party.get("id").and_then(Value::as_str).unwrap_or_default();
        known.party(id).is_none_or(|party: &std::sync::Arc<Party>| {
            plays(party) && party.participation != Participation::Observer
        })
    };
    let mut places_of: Vec<usize> = (0..parties.len()).filter(|at| may_have(&parties[*at])).collect();
    let count = |party: &Value| party.get("posts").and_then(Value::as_array).map_or(0, Vec::len);
    let has: usize = known.parties().filter(|party| plays(party)).map(|party| party.posts.len()).sum();
    let mut dice = Dice::new(plan.seed, 11);
    let mut hosts: Vec<&str> = places::all().iter().map(|country| country.code).collect();
    dice.shuffle(&mut hosts);
    dice.shuffle(&mut places_of);
    let mut numbers: BTreeMap<&str, u32> = BTreeMap::new();
    let mut hosts = hosts.iter().cycle();
    for _ in has..plan.officers as usize {
        let (Some(at), Some(host)) =
            (places_of.iter().copied().min_by_key(|at| count(&parties[*at])), hosts.next())
        else {
            return Err("no party in it that could have a post".to_owned());
        };
        let number = numbers.entry(host).or_insert(FIRST);
        let Value::Table(party) = &mut parties[at] else { continue };
        let posts = party.entry("posts").or_insert_with(|| Value::Array(Vec::new()));
        let Value::Array(posts) = posts else { return Err("posts must be a list".to_owned()) };
        let name = loop {
            let name = format!("{}-{number:02}", host.to_ascii_lowercase());
            *number += 1;
            if !posts.iter().any(|known| known.as_str() == Some(&name)) {
                break name;
            }
        };
        posts.push(name.into());
    }
    Ok(())
}
