//! Replay: a party's own feed out of the archive, page by page, under the rights of today (`PROTOCOL.md` section 5).
//!
//! Each request stands for itself: where it goes on is in the cursor. A page is read on a thread of its own, a few at
//! once, and steps back while intake has work waiting. It is given out only after the audit log has it. What a party may
//! see of a message is decided here anew; who was to get it was decided when it was accepted.

mod cursor;
mod fate;
mod limits;
mod page;
pub mod request;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;
use tokio::sync::mpsc;

pub use self::cursor::Cursor;
pub use self::limits::Limits;

pub(super) use self::limits::Gate;
pub(super) use self::request::{cursor, members, number, only, period, refuse};

use self::limits::Denied;
use self::page::Page;
use self::request::Asked;
use super::audit::Audit;
use super::metrics::{Authority, Metrics};
use super::threads;
use crate::archive::Reader;
use crate::archive::audit::{Entry, Object, Span, What};
use crate::message::names::PartyId;
use crate::message::raw::Raw;
use crate::message::time;
use crate::rules::Rules;
use crate::wire::services::{Failure, Reply};

/// How long a page steps back at each block while intake has work waiting.
const STEP_BACK: Duration = Duration::from_millis(10);

/// The service.
pub(super) struct Replay {
    pub(super) reader: Reader,
    pub(super) audit: Audit,
    pub(super) metrics: Arc<Metrics>,
    pub(super) limits: Arc<RwLock<Limits>>,
    pub(super) intake: Backlog,
    pub(super) gate: Arc<Gate>,
}

impl Replay {
    /// Answers one request of a party that takes part.
    pub(super) async fn answer(&self, rules: &Arc<Rules>, party: &PartyId, payload: &Bytes) -> Reply {
        let asked = Asked::read(party, payload)?;
        self.audit.ensure_writing()?;
        let limits = *self.limits.read();
        let pass = self.gate.enter(limits, party, time::stopwatch()).map_err(failure)?;
        let (filter, goes_on) = (asked.filter, asked.after > 0);
        let page = {
            let (reader, rules, intake) = (self.reader.clone(), Arc::clone(rules), self.intake.clone());
            let party = party.clone();
            let read = move || {
                threads::give_way();
                Page::read(&reader, &rules, &party, &asked, || intake.let_pass())
            };
            tokio::task::spawn_blocking(read).await
        };
        let page = page.map_err(|_| unreadable())??;
        pass.charge(page.cost(), limits, time::stopwatch());
        let feed = Some(page.span()).filter(|span| span.first <= span.last);
        // Who follows its feed and asks whether there is more is given nothing: the replay itself is noted already.
        if feed.is_some() || !goes_on {
            let object = Object { feed, filter, count: Some(page.count()), ..Object::default() };
            let entry = Entry::of_party(time::now().as_millisecond(), party, What::Replayed, object);
            self.audit.record(entry).await?;
        }
        let authority = Authority { authority: party.to_string() };
        self.metrics.replayed.get_or_create(&authority).inc_by(page.count());
        Ok(page.into_bytes())
    }
}

fn failure(denied: Denied) -> Failure {
    match denied {
        Denied::Busy => {
            let words = "too many pages at once: ask again when one has come";
            Failure::new(429, "E-BUSY", "", words).retry_after(50)
        }
        Denied::Quota(wait) => {
            let words = "this authority has read as much as it may for now";
            let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
            Failure::new(429, "E-QUOTA", "", words).retry_after(wait)
        }
    }
}

fn unreadable() -> Failure {
    Failure::new(503, "E-STORE", "", "the archive could not be read: try again")
}

/// What waits to be judged. Holds no sender of its own: intake ends when its readers do.
#[derive(Clone)]
pub(super) struct Backlog(pub(super) mpsc::WeakSender<Vec<Raw>>);

impl Backlog {
    fn waits(&self) -> bool {
        self.0.upgrade().is_some_and(|queue| queue.capacity() < queue.max_capacity())
    }

    /// Steps back while there is something, for a while: a replay is slow beside a full intake, but it goes on.
    fn let_pass(&self) {
        let begun = time::stopwatch();
        while self.waits() && begun.elapsed() < STEP_BACK {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Page {
    fn span(&self) -> Span {
        let (first, last) = self.looked();
        Span { first, last }
    }
}
