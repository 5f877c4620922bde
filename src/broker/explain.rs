//! Why a party got a message, or why not, clause by clause, as it was decided when the message was accepted.
//!
//! The ledger keeps the clause that decided. The clauses stand in a fixed order, so all before it held and none behind it was asked.

use serde_json::{Value, json};

use crate::archive::{Fate, Record, Why};
use crate::message::names::PartyId;
use crate::message::outcome::Outcome;

/// The clauses in the order in which they are asked, and what the ledger says when one decides.
const CLAUSES: [(&str, &[Why]); 7] = [
    ("the audience names the party, or a group that holds it", &[]),
    ("it is not the originator", &[Why::Originator]),
    ("it is a holder, where the message is about another", &[Why::NotHolder]),
    ("it is not excluded", &[Why::Excluded]),
    ("it takes part", &[Why::Suspended]),
    ("its roles permit the purpose", &[Why::Role]),
    ("it is named, or one of its subscriptions matches", &[Why::NotSubscribed]),
];

/// The decision on one party.
#[must_use]
pub fn explain(record: &Record, fate: &Fate, party: &PartyId) -> Value {
    let among = |entries: &[crate::archive::Entry]| {
        entries.iter().find(|entry| entry.party == *party).map(|entry| entry.why)
    };
    let (decision, why) = match (among(&record.recipients), among(&record.withheld)) {
        (Some(why), _) => ("recipient", Some(why)),
        (None, Some(why)) => ("withheld", Some(why)),
        (None, None) => ("withheld", None),
    };
    let word = match (why, record.outcome) {
        (Some(why), _) => why.as_str(),
        (None, Outcome::Accepted) => "not-named",
        (None, _) => "not-accepted",
    };
    let clauses = if record.outcome == Outcome::Accepted { clauses(decision, why) } else { Vec::new() };
    let mut told =
        json!({ "party": party, "seq": record.seq, "decision": decision, "why": word, "clauses": clauses });
    if let Some(why) = among(&fate.released_to) {
        told["released"] = json!({ "why": why });
    }
    told
}

/// Each clause with whether it held, up to the one that decided.
fn clauses(decision: &str, why: Option<Why>) -> Vec<Value> {
    let decided_by = match (decision, why) {
        ("recipient", _) => CLAUSES.len(),
        (_, Some(why)) => CLAUSES.iter().position(|(_, reasons)| reasons.contains(&why)).unwrap_or_default(),
        (_, None) => 0,
    };
    let told = CLAUSES.iter().enumerate().take(decided_by + 1);
    told.map(|(at, (clause, _))| json!({ "clause": clause, "holds": at != decided_by })).collect()
}
