//! What is kept of one message, and its bytes on disk.
//!
//! A record never changes once it has a sequence. Refused messages keep digest, code and places, not their content:
//! spillage and unlawful personal data are not stored. Head and body lie apart on disk (see `frame`): the head is
//! postcard, which is not self-describing, so a field may only be added together with a new frame version.

use serde::{Deserialize, Serialize};

use super::body::Body;
use super::effect::{Act, Effect};
use super::vault::Mask;
use super::words::{Category, Plane, Why};
use crate::message::digest::Digest;
use crate::message::names::{MessageId, PartyId, TypeId};
use crate::message::outcome::{Code, Fault, Outcome};
use crate::message::raw::Position;

/// A party and why it got a message, or why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The party.
    pub party: PartyId,
    /// Why.
    pub why: Why,
}

/// The envelope in so far as queries and later rules need it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// `source`.
    pub source: String,
    /// `id`.
    pub id: MessageId,
    /// Type id.
    pub kind: TypeId,
    /// Major version.
    pub major: u32,
    /// `originator`.
    pub originator: PartyId,
    /// Its plane.
    pub plane: Plane,
    /// `subject`.
    pub country: Option<String>,
    /// `time`, Unix milliseconds.
    pub time_ms: i64,
    /// `audience`, split.
    pub audience: Vec<String>,
    /// `purpose`.
    pub purpose: String,
    /// `datacategory`.
    pub category: Category,
    /// `expirytime`, Unix milliseconds.
    pub expires_ms: Option<i64>,
    /// `eraseby`, Unix milliseconds.
    pub erase_ms: Option<i64>,
    /// `reviewby`, Unix milliseconds.
    pub review_ms: Option<i64>,
}

/// What could be read of a refused message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedTarget {
    /// `source`, or empty.
    pub source: String,
    /// `id`, if readable.
    pub id: Option<MessageId>,
    /// Post token of the subject, or `system`.
    pub post: String,
}

/// A record before it has a sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Accepted, quarantined or rejected.
    pub outcome: Outcome,
    /// Whose intake stream.
    pub party: PartyId,
    /// Where in it.
    pub position: Position,
    /// NATS subject as stored there.
    pub subject: String,
    /// When the stream took it, Unix milliseconds.
    pub arrived_ms: i64,
    /// Digest of the received bytes.
    pub digest: Digest,
    /// The received bytes; empty if rejected.
    pub payload: Vec<u8>,
    /// The signature over them, if they came with one; it was verified.
    pub signature: Option<String>,
    /// True if they must be erasable from every copy: they are encrypted under a key of their own.
    pub seal: bool,
    /// The envelope; `None` if refused.
    pub summary: Option<Summary>,
    /// The code, if refused.
    pub code: Option<Code>,
    /// Places, if refused; remarks, if accepted.
    pub detail: Vec<Fault>,
    /// Who gets it, sorted by party.
    pub recipients: Vec<Entry>,
    /// Who was named or grouped but does not get it, sorted by party.
    pub withheld: Vec<Entry>,
    /// What could be read, if refused.
    pub target: Option<RefusedTarget>,
    /// Older than the rules want it.
    pub late: bool,
    /// What it does to earlier records.
    pub effects: Vec<Effect>,
}

/// A kept record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Archive sequence, dense from 1 over all records.
    pub seq: u64,
    /// When it was archived, Unix milliseconds.
    pub archived_ms: i64,
    /// See [`Draft::outcome`].
    pub outcome: Outcome,
    /// See [`Draft::party`].
    pub party: PartyId,
    /// See [`Draft::position`].
    pub position: Position,
    /// See [`Draft::subject`].
    pub subject: String,
    /// See [`Draft::arrived_ms`].
    pub arrived_ms: i64,
    /// See [`Draft::digest`].
    pub digest: Digest,
    /// The received bytes and their signature, perhaps sealed, perhaps gone. Not part of the head.
    #[serde(skip)]
    pub body: Body,
    /// See [`Draft::summary`].
    pub summary: Option<Summary>,
    /// See [`Draft::code`].
    pub code: Option<Code>,
    /// See [`Draft::detail`].
    pub detail: Vec<Fault>,
    /// See [`Draft::recipients`].
    pub recipients: Vec<Entry>,
    /// See [`Draft::withheld`].
    pub withheld: Vec<Entry>,
    /// See [`Draft::target`].
    pub target: Option<RefusedTarget>,
    /// See [`Draft::late`].
    pub late: bool,
    /// See [`Draft::effects`].
    pub effects: Vec<Effect>,
}

impl Record {
    /// A draft with its place in the archive. Recipients are sorted, each stands once: two entries of a party would be
    /// two deliveries at the commit and one when its feed is read back.
    #[must_use]
    pub(super) fn from_draft(mut draft: Draft, seq: u64, archived_ms: i64, body: Body) -> Self {
        draft.recipients.sort_by(|left, right| left.party.cmp(&right.party));
        draft.recipients.dedup_by(|left, right| left.party == right.party);
        Self {
            seq,
            archived_ms,
            outcome: draft.outcome,
            party: draft.party,
            position: draft.position,
            subject: draft.subject,
            arrived_ms: draft.arrived_ms,
            digest: draft.digest,
            body,
            summary: draft.summary,
            code: draft.code,
            detail: draft.detail,
            recipients: draft.recipients,
            withheld: draft.withheld,
            target: draft.target,
            late: draft.late,
            effects: draft.effects,
        }
    }

    /// True if its content is encrypted under a key of its own, destroyed or not.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.body.slot().is_some()
    }

    /// True if the broker made it itself: it came over no intake stream.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.position == Position::default()
    }

    /// Puts the mask on what tells of sealed content, or takes it off: the digest of a sealed message, here and where it
    /// is released.
    pub(super) fn mask(&mut self, mask: &Mask) {
        if self.body.slot().is_some() {
            self.digest = mask.apply(self.seq, self.digest);
        }
        for effect in &mut self.effects {
            if let Act::Release { digest, sealed: true, .. } = &mut effect.act {
                *digest = mask.apply(effect.target, *digest);
            }
        }
    }

    /// True if something of it is masked on disk.
    pub(super) fn has_masked(&self) -> bool {
        self.body.slot().is_some()
            || self.effects.iter().any(|effect| matches!(effect.act, Act::Release { sealed: true, .. }))
    }

    /// What it delivers to a party: its own message if that is a recipient, then the messages that it releases to it.
    /// Each with the sequence of the message and its digest.
    pub fn owes<'a>(&'a self, party: &'a PartyId) -> impl Iterator<Item = (u64, Digest)> + 'a {
        let among = |list: &[Entry]| list.binary_search_by(|entry| entry.party.cmp(party)).is_ok();
        let own = (self.is_delivered() && among(&self.recipients)).then_some((self.seq, self.digest));
        let released = self.effects.iter().filter_map(move |effect| match &effect.act {
            Act::Release { digest, to, .. } if among(to) => Some((effect.target, *digest)),
            _ => None,
        });
        own.into_iter().chain(released)
    }

    /// True if it stands in the feeds of its recipients.
    #[must_use]
    pub fn is_delivered(&self) -> bool {
        self.outcome == Outcome::Accepted
    }

    /// The recipients in whose feeds it stands.
    pub fn delivered_to(&self) -> impl Iterator<Item = &Entry> {
        self.recipients.iter().filter(|_| self.is_delivered())
    }

    /// `source` and `id` under which a second sending is recognised. Rejected messages have none: a mended one may come
    /// under the same id.
    #[must_use]
    pub fn identity(&self) -> Option<(&str, &MessageId)> {
        match (self.outcome, &self.summary, &self.target) {
            (Outcome::Accepted, Some(summary), _) => Some((&summary.source, &summary.id)),
            (Outcome::Quarantined, _, Some(target)) => {
                target.id.as_ref().map(|id| (target.source.as_str(), id))
            }
            _ => None,
        }
    }
}
