//! The service `audit`: supervisors read the audit log. They see everything that it says, and it holds no content.
//!
//! Nobody else may ask, also not the operator. That somebody asked stands in the log before the answer goes out.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::audit::Audit;
use super::replay::{Cursor, cursor, members, number, only, period, refuse};
use crate::archive::audit::{Actor, Entry, Object, Span, What};
use crate::message::names::PartyId;
use crate::message::time;
use crate::rules::Rules;
use crate::rules::registry::Role;
use crate::wire::services::{Answer, Failure};

/// Entries of a page, unless asked otherwise.
const LIMIT: u64 = 200;
/// Most entries of a page: of the longest entries, these fit into one reply.
const MOST: u64 = 1_000;
/// What a request may say.
const MEMBERS: [&str; 6] = ["from", "to", "after", "party", "what", "limit"];

/// What is looked for.
struct Wanted {
    at_ms: Range<i64>,
    who: Option<Actor>,
    what: Option<What>,
}

impl Wanted {
    fn read(members: &Map<String, Value>) -> Result<Self, Failure> {
        let (from, to) = period(members)?;
        let text = |name: &str| match members.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(refuse(&format!("/{name}"), "must be a text")),
        };
        let who = text("party")?.map(str::parse::<Actor>).transpose();
        let who = who.map_err(|_| refuse("/party", "must be a party id, operator or broker"))?;
        let what = text("what")?.map(str::parse::<What>).transpose();
        let what = what.map_err(|_| refuse("/what", "must be one of the words of the audit log"))?;
        Ok(Self { at_ms: from..to, who, what })
    }

    fn picks(&self, entry: &Entry) -> bool {
        self.at_ms.contains(&entry.at_ms)
            && self.who.as_ref().is_none_or(|who| entry.who == *who)
            && self.what.is_none_or(|what| entry.what == what)
    }
}

/// Answers one request.
pub(super) async fn answer(audit: &Audit, rules: &Arc<Rules>, party: &PartyId, payload: &Bytes) -> Answer {
    if !rules.registry.party(party.as_str()).is_some_and(|known| known.has(Role::Supervisor)) {
        audit.refused(party, What::AuditRead);
        return Err(Failure::new(403, "E-ROLE", "", "only a supervisor may read the audit log"));
    }
    let members = members(payload)?;
    only(&members, &MEMBERS)?;
    let wanted = Wanted::read(&members)?;
    let after = cursor(&members, Cursor::Audit, party)?;
    let limit = usize::try_from(number(&members, "limit", MOST)?.unwrap_or(LIMIT)).unwrap_or(usize::MAX);
    let reader = audit.reader().clone();
    let page = tokio::task::spawn_blocking(move || reader.page(after, limit, |entry| wanted.picks(entry)));
    let page = page.await.ok().and_then(Result::ok);
    let page = page.ok_or_else(|| Failure::new(503, "E-AUDIT", "", "the audit log cannot be read"))?;
    // Before the entry of this very reading: else who reads to the end would never get there.
    let head = audit.reader().head();
    let looked = (page.upto > after).then_some(Span { first: after + 1, last: page.upto });
    let object = Object { audit: looked, count: Some(page.entries.len() as u64), ..Object::default() };
    let now = time::now().as_millisecond();
    audit.record(Entry::of_party(now, party, What::AuditRead, object)).await?;
    Ok(json!({
        "entries": page.entries.iter().map(|found| found.shown()).collect::<Vec<_>>(),
        "cursor": Cursor::Audit.write(party, page.upto),
        "done": page.upto >= head,
        "head": head,
    }))
}
