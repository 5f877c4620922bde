//! What parties want of messages to groups: their subscriptions, read and asked one by one, without an index.
//!
//! A subscription that this file does not understand stops the audit: a guess would make the auditor agree or disagree by
//! chance.

use serde_json::Value;

use super::AuditError;
use super::bits::Set;
use super::condition::Condition;
use super::parties::Network;
use super::sets::Sets;
use crate::sim::cast::Cast;

/// How a text is compared with what a filter says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Same,
    Begins,
    Ends,
}

#[derive(Debug, PartialEq, Eq)]
enum Filter {
    Each(How, Vec<(String, String)>),
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
}

impl Filter {
    fn read(value: &Value) -> Result<Self, String> {
        let members = value.as_object().filter(|members| members.len() == 1);
        let (dialect, body) = members
            .and_then(|members| members.iter().next())
            .ok_or("a filter that is not one member with the name of a dialect")?;
        let each = |how| {
            let pairs = body.as_object().into_iter().flatten().map(|(name, text)| {
                let text = text.as_str().ok_or("a filter that compares with something else than a text")?;
                Ok((name.clone(), text.to_owned()))
            });
            Ok(Self::Each(how, pairs.collect::<Result<_, String>>()?))
        };
        let list = || -> Result<Vec<Self>, String> {
            body.as_array().ok_or("a filter without its list")?.iter().map(Self::read).collect()
        };
        match dialect.as_str() {
            "exact" => each(How::Same),
            "prefix" => each(How::Begins),
            "suffix" => each(How::Ends),
            "all" => Ok(Self::All(list()?)),
            "any" => Ok(Self::Any(list()?)),
            "not" => Ok(Self::Not(Box::new(Self::read(body)?))),
            other => Err(format!("the dialect {other:?}")),
        }
    }

    fn holds(&self, event: &Value, sets: &Sets<'_>) -> bool {
        match self {
            Self::Each(how, pairs) => pairs.iter().all(|(name, wanted)| {
                let fits = |text: &str| match how {
                    How::Same => text == wanted,
                    How::Begins => text.starts_with(wanted.as_str()),
                    How::Ends => text.ends_with(wanted.as_str()),
                };
                match sets.get(name) {
                    Some(set) => set.iter().any(|text| fits(text)),
                    None => event[name].as_str().is_some_and(fits),
                }
            }),
            Self::All(list) => list.iter().all(|filter| filter.holds(event, sets)),
            Self::Any(list) => list.iter().any(|filter| filter.holds(event, sets)),
            Self::Not(filter) => !filter.holds(event, sets),
        }
    }
}

/// One subscription: all filters, and the condition if there is one.
#[derive(Debug, PartialEq)]
struct Wish {
    filters: Vec<Filter>,
    condition: Option<Condition>,
}

impl Wish {
    fn read(value: &Value) -> Result<Self, String> {
        let none = Vec::new();
        let filters = match &value["filters"] {
            Value::Null => &none,
            other => other.as_array().ok_or("filters that are no list")?,
        };
        let condition = match &value["where"] {
            Value::Null => None,
            other => Some(Condition::read(other.as_str().ok_or("a condition that is no text")?)?),
        };
        Ok(Self { filters: filters.iter().map(Filter::read).collect::<Result<_, _>>()?, condition })
    }

    fn holds(&self, event: &Value, sets: &Sets<'_>) -> bool {
        self.filters.iter().all(|filter| filter.holds(event, sets))
            && self.condition.as_ref().is_none_or(|condition| condition.holds(event))
    }
}

/// What everybody wants.
#[derive(Debug)]
pub(super) struct Wants {
    /// Those that stored nothing: the default gives them everything.
    everything: Set,
    /// Lists of subscriptions, and who has each: many parties have the same.
    lists: Vec<(Vec<Wish>, Set)>,
}

impl Wants {
    /// Reads what the cast stores.
    pub(super) fn read(network: &Network, cast: &Cast) -> Result<Self, AuditError> {
        let mut wants = Self { everything: network.none(), lists: Vec::new() };
        for authority in &cast.authorities {
            let party = &authority.party;
            let place = network.place(party.as_str()).ok_or_else(|| {
                AuditError::Script(format!("{party} reads a mailbox and is not in the registry"))
            })?;
            if authority.subscriptions.is_empty() {
                wants.everything.insert(place);
                continue;
            }
            let list: Result<Vec<Wish>, String> = authority.subscriptions.iter().map(Wish::read).collect();
            let list = list.map_err(|words| {
                AuditError::Script(format!(
                    "{party} has a subscription that the auditor does not understand: {words}"
                ))
            })?;
            match wants.lists.iter_mut().find(|(known, _)| *known == list) {
                Some((_, parties)) => parties.insert(place),
                None => {
                    let mut parties = network.none();
                    parties.insert(place);
                    wants.lists.push((list, parties));
                }
            }
        }
        Ok(wants)
    }

    /// Who wants this message, if it comes to a group.
    pub(super) fn whoever(&self, event: &Value, sets: &Sets<'_>) -> Set {
        let mut found = self.everything.clone();
        for (list, parties) in &self.lists {
            if list.iter().any(|wish| wish.holds(event, sets)) {
                found.add(parties);
            }
        }
        found
    }
}
