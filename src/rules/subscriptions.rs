//! Subscriptions: what a party wants of the messages that come to it as a member of a group.
//!
//! Named recipients need none. A party that stored none has the default `all`. Matching is indexed: each subscription
//! hangs on conditions one of which must hold for it to match, so a message looks at those that hang on its own
//! values and not at all of them; equal subscriptions are asked once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::cel::Where;
use super::filter::{Filter, Subject};
use super::query::Query;
use crate::message::names::PartyId;
use crate::message::outcome::{Code, Refused};

/// Subscriptions allowed a party.
pub const MOST: usize = 1_000;

/// One subscription.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// Its name, unique in the party.
    pub name: String,
    filters: Vec<Filter>,
    condition: Option<Arc<Where>>,
}

impl Serialize for Subscription {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut value = json!({ "name": self.name, "filters": self.filters });
        if let Some(condition) = &self.condition {
            value["where"] = condition.text().into();
        }
        value.serialize(serializer)
    }
}

impl Subscription {
    /// Reads and checks one, as `sub.put` takes it.
    ///
    /// # Errors
    /// `E-SCHEMA` with the place.
    pub fn parse(value: &Value) -> Result<Self, Refused> {
        let refuse = |path: &str, words: &str| Refused::new(Code::Schema, path, words);
        let members = value.as_object().ok_or_else(|| refuse("", "must be an object"))?;
        if let Some(name) = members.keys().find(|name| !matches!(name.as_str(), "name" | "filters" | "where"))
        {
            return Err(refuse(&format!("/{name}"), "is not a declared member"));
        }
        let name = value["name"].as_str().filter(|name| {
            (1..=64).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        });
        let name =
            name.ok_or_else(|| refuse("/name", "must be 1 to 64 of letters, digits, dot, dash, underscore"))?;
        let Query { filters, condition } = Query::parse(members.get("filters"), members.get("where"))?;
        Ok(Self { name: name.to_owned(), filters, condition })
    }

    /// True if it matches; the plain way, one by one. The index must agree with it.
    #[must_use]
    pub fn matches(&self, subject: Subject<'_>) -> bool {
        self.filters.iter().all(|filter| filter.matches(subject))
            && self.condition.as_ref().is_none_or(|condition| condition.holds(subject.event))
    }

    /// Equal text, equal meaning: what is asked once for all who ask it.
    fn canonical(&self) -> String {
        let condition = self.condition.as_ref().map(|condition| condition.text());
        json!([self.filters, condition]).to_string()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Op {
    Exact,
    Prefix,
    Suffix,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    op: Op,
    name: String,
    value: String,
}

/// How many messages a condition on this name lets through, in rough order: the better anchor is the rarer.
fn rank(key: &Key) -> usize {
    const RARE_FIRST: [&str; 14] = [
        "id",
        "correlationid",
        "causationid",
        "source",
        "country",
        "subject",
        "nationality",
        "transport",
        "originator",
        "type",
        "route",
        "purpose",
        "impact",
        "priority",
    ];
    let by_name = RARE_FIRST.iter().position(|name| *name == key.name).unwrap_or(RARE_FIRST.len());
    by_name + if key.op == Op::Exact { 0 } else { RARE_FIRST.len() }
}

fn worst(keys: &[Key]) -> usize {
    keys.iter().map(rank).max().unwrap_or(usize::MAX)
}

fn best(choices: impl Iterator<Item = Vec<Key>>) -> Option<Vec<Key>> {
    choices.filter(|keys| !keys.is_empty()).min_by_key(|keys| worst(keys))
}

/// Conditions of which at least one holds whenever the filter matches; `None` if there are no such.
fn anchors(filter: &Filter) -> Option<Vec<Key>> {
    let each = |op: Op, map: &BTreeMap<String, String>| {
        best(map.iter().map(|(name, value)| vec![Key { op, name: name.clone(), value: value.clone() }]))
    };
    match filter {
        Filter::Exact(map) => each(Op::Exact, map),
        Filter::Prefix(map) => each(Op::Prefix, map),
        Filter::Suffix(map) => each(Op::Suffix, map),
        Filter::All(filters) => best(filters.iter().filter_map(anchors)),
        Filter::Any(filters) => {
            let all: Option<Vec<Vec<Key>>> = filters.iter().map(anchors).collect();
            all.map(|all| all.into_iter().flatten().collect())
        }
        Filter::Not(_) => None,
    }
}

#[derive(Debug)]
struct Predicate {
    subscription: Subscription,
    keys: Vec<Key>,
    parties: Vec<PartyId>,
}

type ByValue = HashMap<String, Vec<usize>>;

/// The subscriptions of all parties.
#[derive(Debug, Default)]
pub struct Subscriptions {
    stored: HashMap<PartyId, Vec<Subscription>>,
    silent: HashSet<PartyId>,
    predicates: Vec<Option<Predicate>>,
    free: Vec<usize>,
    known: HashMap<String, usize>,
    exact: HashMap<String, ByValue>,
    /// By name and length of the text.
    prefix: HashMap<(Op, String), BTreeMap<usize, ByValue>>,
    /// Without an anchor: asked for every message.
    rest: Vec<usize>,
}

impl Subscriptions {
    /// Whether a party may have this list.
    ///
    /// # Errors
    /// `E-SCHEMA` if there are too many or a name is used twice.
    pub fn check(list: &[Subscription]) -> Result<(), Refused> {
        if list.len() > MOST {
            return Err(Refused::new(Code::Schema, "", format!("at most {MOST} subscriptions")));
        }
        let names: HashSet<&str> = list.iter().map(|subscription| subscription.name.as_str()).collect();
        if names.len() == list.len() {
            Ok(())
        } else {
            Err(Refused::new(Code::Schema, "/name", "a name is used twice"))
        }
    }

    /// Puts this list in the place of what the party had; an empty one brings the default `all` back.
    ///
    /// # Errors
    /// `E-SCHEMA` if there are too many or a name is used twice; nothing changed then.
    pub fn replace_party(&mut self, party: PartyId, list: Vec<Subscription>) -> Result<(), Refused> {
        Self::check(&list)?;
        self.silent.remove(&party);
        for old in self.stored.remove(&party).unwrap_or_default() {
            self.unhook(&party, &old);
        }
        for new in &list {
            self.hook(&party, new);
        }
        if !list.is_empty() {
            self.stored.insert(party, list);
        }
        Ok(())
    }

    /// A party whose stored list cannot be read gets no group messages until it puts a new one.
    pub fn silence(&mut self, party: PartyId) {
        for old in self.stored.remove(&party).unwrap_or_default() {
            self.unhook(&party, &old);
        }
        self.silent.insert(party);
    }

    /// What the party stored; empty if it has the default.
    #[must_use]
    pub fn stored(&self, party: &PartyId) -> Vec<Subscription> {
        self.stored.get(party).cloned().unwrap_or_default()
    }

    /// What is in force for the party, the default included.
    #[must_use]
    pub fn list(&self, party: &PartyId) -> Value {
        match self.stored.get(party) {
            Some(list) => json!(list),
            None if self.silent.contains(party) => json!([]),
            None => json!([{ "name": "all", "filters": [] }]),
        }
    }

    /// True if the party has the default.
    #[must_use]
    pub fn wants_all(&self, party: &PartyId) -> bool {
        !self.stored.contains_key(party) && !self.silent.contains(party)
    }

    /// The parties that a stored subscription of theirs gives this message.
    #[must_use]
    pub fn matching(&self, subject: Subject<'_>) -> HashSet<&PartyId> {
        let mut found = HashSet::new();
        let mut asked = HashSet::new();
        let mut ask = |candidates: &[usize]| {
            for at in candidates {
                let Some(predicate) = self.predicates.get(*at).and_then(Option::as_ref) else { continue };
                if !asked.insert(*at) || predicate.parties.iter().all(|party| found.contains(party)) {
                    continue;
                }
                let subscription = &predicate.subscription;
                if subscription.matches(subject) {
                    found.extend(predicate.parties.iter());
                }
            }
        };
        ask(&self.rest);
        for (name, by_value) in &self.exact {
            values(subject, name, |value| {
                by_value.get(value).into_iter().for_each(|candidates| ask(candidates))
            });
        }
        for ((op, name), by_length) in &self.prefix {
            values(subject, name, |value| {
                for (length, by_value) in by_length.range(..=value.len()) {
                    let part = if *op == Op::Prefix {
                        value.get(..*length)
                    } else {
                        value.get(value.len() - length..)
                    };
                    part.and_then(|part| by_value.get(part))
                        .into_iter()
                        .for_each(|candidates| ask(candidates));
                }
            });
        }
        found
    }

    fn hook(&mut self, party: &PartyId, subscription: &Subscription) {
        let canonical = subscription.canonical();
        if let Some(predicate) = self.known.get(&canonical).and_then(|at| self.predicates[*at].as_mut()) {
            predicate.parties.push(party.clone());
            return;
        }
        let of_where = subscription.condition.as_ref().and_then(|condition| condition.anchor());
        let of_where = of_where
            .map(|(name, value)| vec![Key { op: Op::Exact, name: name.to_owned(), value: value.to_owned() }]);
        let keys = best(subscription.filters.iter().filter_map(anchors).chain(of_where)).unwrap_or_default();
        let predicate = Predicate {
            subscription: subscription.clone(),
            keys: keys.clone(),
            parties: vec![party.clone()],
        };
        let at = self.free.pop().unwrap_or_else(|| {
            self.predicates.push(None);
            self.predicates.len() - 1
        });
        self.predicates[at] = Some(predicate);
        self.known.insert(canonical, at);
        if keys.is_empty() {
            self.rest.push(at);
        }
        for key in keys {
            self.bucket(&key).push(at);
        }
    }

    fn unhook(&mut self, party: &PartyId, subscription: &Subscription) {
        let canonical = subscription.canonical();
        let Some(at) = self.known.get(&canonical).copied() else { return };
        let Some(predicate) = self.predicates[at].as_mut() else { return };
        if let Some(index) = predicate.parties.iter().position(|known| known == party) {
            predicate.parties.swap_remove(index);
        }
        if !predicate.parties.is_empty() {
            return;
        }
        let keys = std::mem::take(&mut predicate.keys);
        self.predicates[at] = None;
        self.free.push(at);
        self.known.remove(&canonical);
        self.rest.retain(|known| *known != at);
        for key in keys {
            self.bucket(&key).retain(|known| *known != at);
        }
    }

    fn bucket(&mut self, key: &Key) -> &mut Vec<usize> {
        let by_value = match key.op {
            Op::Exact => self.exact.entry(key.name.clone()).or_default(),
            op => self.prefix.entry((op, key.name.clone())).or_default().entry(key.value.len()).or_default(),
        };
        by_value.entry(key.value.clone()).or_default()
    }
}

fn values(subject: Subject<'_>, name: &str, each: impl FnMut(&str)) {
    match subject.facets.get(name) {
        Some(set) => set.iter().for_each(each),
        None => subject.event.at(name).as_str().into_iter().for_each(each),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tree::Tree;
    use crate::rules::facets::Facets;
    use proptest::prelude::*;

    fn party(at: usize) -> PartyId {
        PartyId::parse(&format!("de-p{at}x")).expect("well formed")
    }

    fn leaf() -> impl Strategy<Value = Value> {
        let name = prop::sample::select(vec!["country", "route", "type", "originator", "priority"]);
        let value =
            prop::sample::select(vec!["TN", "LY", "CMED", "eu.ilonet.flow", "it-moi", "v1", "urgent"]);
        let dialect = prop::sample::select(vec!["exact", "prefix", "suffix"]);
        (dialect, name, value).prop_map(|(dialect, name, value)| json!({ dialect: { name: value } }))
    }

    fn filter() -> impl Strategy<Value = Value> {
        leaf().prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 1..3).prop_map(|list| json!({ "all": list })),
                prop::collection::vec(inner.clone(), 1..3).prop_map(|list| json!({ "any": list })),
                inner.prop_map(|one| json!({ "not": one })),
            ]
        })
    }

    fn condition() -> impl Strategy<Value = Option<&'static str>> {
        prop::sample::select(vec![
            None,
            None,
            Some("event.originator == 'it-moi'"),
            Some("'CMED' in data.routes"),
            Some("event.originator == 'it-moi' && has(data.routes)"),
        ])
    }

    fn event() -> impl Strategy<Value = Value> {
        let kind = prop::sample::select(vec!["eu.ilonet.flow.route.v1", "eu.ilonet.event.incident.v1"]);
        let from = prop::sample::select(vec!["it-moi", "de-bpol"]);
        let country = prop::sample::select(vec!["TN", "LY", "NE"]);
        let routes = prop::collection::vec(prop::sample::select(vec!["CMED", "WMED"]), 0..2);
        (kind, from, country, routes).prop_map(|(kind, from, country, routes)| {
            json!({"type": kind, "originator": from, "subject": country, "data": {"routes": routes}})
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        /// The index finds exactly what asking every subscription finds, before and after changes.
        #[test]
        fn index_and_scan_agree(
            lists in prop::collection::vec(prop::collection::vec((prop::collection::vec(filter(), 0..3), condition()), 1..4), 1..5),
            again in prop::collection::vec((prop::collection::vec(filter(), 0..3), condition()), 0..3),
            events in prop::collection::vec(event(), 1..5),
        ) {
            let mut all = Subscriptions::default();
            let read = |list: &Vec<(Vec<Value>, Option<&str>)>| -> Vec<Subscription> {
                list.iter().enumerate().map(|(at, (filters, condition))| {
                    let mut value = json!({"name": format!("s{at}"), "filters": filters});
                    if let Some(condition) = condition { value["where"] = (*condition).into(); }
                    Subscription::parse(&value).expect("generated filters are readable")
                }).collect()
            };
            for (at, list) in lists.iter().enumerate() {
                all.replace_party(party(at), read(list)).expect("fits");
            }
            all.replace_party(party(0), read(&again)).expect("fits");
            for event in &events {
                let tree = Tree::of(event);
                let event = tree.root();
                let facets = Facets::of(event.at("subject").as_str(), "routine", event.at("data"));
                let subject = Subject { event, facets: &facets };
                let by_index = all.matching(subject);
                for at in 0..lists.len() {
                    let scan = all.stored(&party(at)).iter().any(|subscription| subscription.matches(subject));
                    prop_assert_eq!(by_index.contains(&party(at)), scan);
                }
            }
        }
    }

    #[test]
    fn the_default_is_visible_and_goes_when_replaced() {
        let mut all = Subscriptions::default();
        let one = party(1);
        assert!(all.wants_all(&one) && all.list(&one)[0]["name"] == "all");
        let own = Subscription::parse(&json!({"name": "own", "filters": []})).expect("readable");
        all.replace_party(one.clone(), vec![own]).expect("fits");
        assert!(!all.wants_all(&one));
        all.replace_party(one.clone(), Vec::new()).expect("fits");
        assert!(all.wants_all(&one));
        all.silence(one.clone());
        assert!(!all.wants_all(&one) && all.list(&one) == json!([]));
    }
}
