//! What is known of the earlier messages that a message stands on: from the archive, and from what is decided but not
//! committed yet.
//!
//! It looks up and decides nothing; the rules say what follows from what is found here.

use std::collections::HashMap;
use std::sync::Arc;

use crate::archive::{Category, Draft, Entry, Error, Fate, Opened, Plane, Reader, Record, Summary, Why};
use crate::message::digest::Digest;
use crate::message::names::{MessageId, PartyId};
use crate::message::outcome::Outcome;
use crate::message::tree::Tree;
use crate::rules::judge::Permitted;
use crate::rules::settle::{self, Known};

/// One kept message, as far as an effect on it needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Archive sequence.
    pub seq: u64,
    /// Digest of its bytes.
    pub digest: Digest,
    /// True if it is sealed.
    pub sealed: bool,
}

/// What was found for one reference.
#[derive(Debug, Clone)]
pub struct Found {
    /// What the rules need to know.
    pub known: Known,
    /// The message itself, then its corrections: who takes it back or passes it on does so with all of them.
    pub bundle: Vec<Kept>,
}

/// What is decided and not in the archive yet.
#[derive(Clone, Copy)]
pub struct Waiting<'a> {
    /// Sequence that the first draft will get.
    pub first: u64,
    /// The drafts in order.
    pub drafts: &'a [Draft],
    /// Accepted ones and those put aside among them, by `source` and `id`.
    pub fresh: Option<&'a HashMap<(String, MessageId), usize>>,
}

impl<'a> Waiting<'a> {
    /// Nothing waits.
    #[must_use]
    pub fn nothing() -> Self {
        Self { first: 0, drafts: &[], fresh: None }
    }

    fn find(&self, source: &str, id: &MessageId) -> Option<(u64, &'a Draft)> {
        let at = *self.fresh?.get(&(source.to_owned(), id.clone()))?;
        Some((self.first + at as u64, self.drafts.get(at)?))
    }

    fn at(&self, seq: u64) -> Option<&'a Draft> {
        self.drafts.get(usize::try_from(seq.checked_sub(self.first)?).ok()?)
    }

    /// The fate of a message with what waits counted in.
    fn fate(&self, reader: &Reader, seq: u64) -> Fate {
        let mut fate = reader.fate(seq);
        for (by, draft) in (self.first..).zip(self.drafts) {
            for effect in draft.effects.iter().filter(|effect| effect.target == seq) {
                fate.apply(by, &effect.act);
            }
        }
        fate
    }
}

/// What is known of the messages that this one refers to, in the order of [`settle::needs`].
///
/// # Errors
/// The archive cannot be read, which is not "unknown".
pub fn recall(
    reader: &Reader,
    waiting: Waiting<'_>,
    permitted: &Permitted,
    now_ms: i64,
) -> Result<Vec<Option<Found>>, Error> {
    let kind = permitted.envelope().kind.as_str();
    let grants = kind == "msg.release" && permitted.data().at("step") == "grant";
    settle::needs(kind, permitted.data())
        .iter()
        .map(|need| {
            let target = match waiting.find(&need.source, &need.id) {
                Some((seq, draft)) => Some(Target::of_draft(seq, draft)),
                None => reader.find(&need.source, &need.id)?.map(Target::of_record),
            };
            target.map_or(Ok(None), |target| target.found(reader, waiting, grants, now_ms))
        })
        .collect()
}

/// A message that is referred to.
struct Target<'a> {
    kept: Kept,
    outcome: Outcome,
    summary: Option<Summary>,
    recipients: Vec<PartyId>,
    unsubscribed: Vec<PartyId>,
    content: Content<'a>,
}

enum Content<'a> {
    Waiting(&'a [u8]),
    Archived(Arc<Record>),
}

impl<'a> Target<'a> {
    fn of_draft(seq: u64, draft: &'a Draft) -> Self {
        Self {
            kept: Kept { seq, digest: draft.digest, sealed: draft.seal },
            outcome: draft.outcome,
            summary: draft.summary.clone(),
            recipients: draft.recipients.iter().map(|entry| entry.party.clone()).collect(),
            unsubscribed: unsubscribed(&draft.withheld),
            content: Content::Waiting(&draft.payload),
        }
    }

    fn of_record(record: Arc<Record>) -> Self {
        Self {
            kept: kept_of(&record),
            outcome: record.outcome,
            summary: record.summary.clone(),
            recipients: record.recipients.iter().map(|entry| entry.party.clone()).collect(),
            unsubscribed: unsubscribed(&record.withheld),
            content: Content::Archived(record),
        }
    }

    fn found(
        self,
        reader: &Reader,
        waiting: Waiting<'_>,
        grants: bool,
        now_ms: i64,
    ) -> Result<Option<Found>, Error> {
        let Some(summary) = self.summary.as_ref().filter(|_| self.outcome == Outcome::Accepted) else {
            return Ok(None);
        };
        let fate = waiting.fate(reader, self.kept.seq);
        let expired = summary.expires_ms.is_some_and(|at| at <= now_ms);
        let withdrawn = fate.erased.is_some() || fate.retracted.is_some() || expired;
        let passes_on = grants && !withdrawn;
        let event = if passes_on { self.event(reader)? } else { None };
        let corrections = if passes_on { corrections(reader, waiting, &fate)? } else { Vec::new() };
        let mut recipients = self.recipients;
        recipients.extend(fate.released_to.iter().map(|entry| entry.party.clone()));
        let known = Known {
            seq: self.kept.seq,
            originator: summary.originator.clone(),
            kind: summary.kind.clone(),
            major: summary.major,
            recipients,
            unsubscribed: self.unsubscribed,
            audience: summary.audience.clone(),
            expires_ms: summary.expires_ms,
            purpose: summary.purpose.clone(),
            is_personal: summary.plane == Plane::Case || summary.category != Category::None,
            is_withdrawn: withdrawn,
            is_held: fate.held,
            event,
            corrections,
        };
        let mut bundle = vec![self.kept];
        for correction in &fate.corrections {
            bundle.push(match waiting.at(*correction) {
                Some(draft) => Kept { seq: *correction, digest: draft.digest, sealed: draft.seal },
                None => {
                    let record = reader.get(*correction)?;
                    kept_of(record.as_deref().ok_or(Error::Corrupt("a correction that is not there"))?)
                }
            });
        }
        Ok(Some(Found { known, bundle }))
    }

    fn event(&self, reader: &Reader) -> Result<Option<Arc<Tree>>, Error> {
        match &self.content {
            Content::Waiting(bytes) => Ok(Tree::lenient(bytes).map(Arc::new)),
            Content::Archived(record) => archived(reader, record),
        }
    }
}

fn archived(reader: &Reader, record: &Record) -> Result<Option<Arc<Tree>>, Error> {
    Ok(match reader.open(record)? {
        Opened::Content(content) => Tree::lenient(&content.payload).map(Arc::new),
        Opened::Gone | Opened::Lost => None,
    })
}

/// The corrections of a message that is to be passed on; those taken back since are gone and pass nothing on.
fn corrections(reader: &Reader, waiting: Waiting<'_>, fate: &Fate) -> Result<Vec<Arc<Tree>>, Error> {
    let mut found = Vec::new();
    for seq in &fate.corrections {
        match waiting.at(*seq) {
            Some(draft) => found.extend(Tree::lenient(&draft.payload).map(Arc::new)),
            None => {
                if let Some(record) = reader.get(*seq)? {
                    found.extend(archived(reader, &record)?);
                }
            }
        }
    }
    Ok(found)
}

/// Whom an audience included and no subscription let have it.
fn unsubscribed(withheld: &[Entry]) -> Vec<PartyId> {
    let unsubscribed = withheld.iter().filter(|entry| entry.why == Why::NotSubscribed);
    unsubscribed.map(|entry| entry.party.clone()).collect()
}

fn kept_of(record: &Record) -> Kept {
    Kept { seq: record.seq, digest: record.digest, sealed: record.body.slot().is_some() }
}
