//! The fate of every message that something was done to: folded from the effects in the heads of later records.
//!
//! It is derived from the journal alone, so it is the same after any restart or rebuild. It reads no file and no clock,
//! and decides nothing about rights: what a withdrawn message means for a delivery or a replay is the broker's business.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::effect::{Act, Effect};
use super::record::{Entry, Record};
use super::words::{Ground, Handled};
use crate::message::names::{PartyId, TypeId};

/// An order to erase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erasure {
    /// Archive sequence of the record that orders it.
    pub by: u64,
    /// On what ground.
    pub ground: Ground,
    /// Until when holders must have done it, Unix milliseconds.
    pub due_ms: i64,
    /// True if each holder must confirm.
    pub attest: bool,
}

/// What a party said that it did, and in which record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmation {
    /// What.
    pub handled: Handled,
    /// Archive sequence of the record.
    pub by: u64,
}

/// What was done to one message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fate {
    /// The first retraction.
    pub retracted: Option<u64>,
    /// The first order to erase it.
    pub erased: Option<Erasure>,
    /// Corrections in order.
    pub corrections: Vec<u64>,
    /// Records that released it to more parties, in order.
    pub releases: Vec<u64>,
    /// To whom it was released.
    pub released_to: Vec<Entry>,
    /// Who asks for a release and has no answer yet.
    pub asking: BTreeSet<PartyId>,
    /// What recipients confirmed; the last word of each.
    pub confirmed: BTreeMap<PartyId, Confirmation>,
    /// New `reviewby`, Unix milliseconds.
    pub reviewed_until_ms: Option<i64>,
    /// True if the originator was reminded since.
    pub reminded: bool,
    /// True while a legal hold is on.
    pub held: bool,
}

/// Why a message is not delivered or shown any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withdrawn {
    /// Its content is destroyed, by the order in this record.
    Erased(u64),
    /// Its originator took it back, by this record.
    Retracted(u64),
    /// Its `expirytime` has passed.
    Expired,
}

impl Withdrawn {
    /// The word in tombstones.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Erased(_) => "erased",
            Self::Retracted(_) => "retracted",
            Self::Expired => "expired",
        }
    }
}

impl Fate {
    /// One more thing that was done, by the record at `by`.
    pub fn apply(&mut self, by: u64, act: &Act) {
        match act {
            Act::Correct { .. } => self.corrections.push(by),
            Act::Retract => {
                self.retracted.get_or_insert(by);
            }
            Act::Erase { ground, due_ms, attest } => {
                let order = Erasure { by, ground: *ground, due_ms: *due_ms, attest: *attest };
                self.erased.get_or_insert(order);
            }
            Act::Ask { party } => {
                self.asking.insert(party.clone());
            }
            Act::Release { to, .. } => {
                self.asking.clear();
                self.releases.push(by);
                self.released_to.extend(to.iter().cloned());
            }
            Act::Deny => self.asking.clear(),
            Act::Confirm { party, handled } => {
                self.confirmed.insert(party.clone(), Confirmation { handled: *handled, by });
            }
            Act::Review { until_ms } => {
                self.reviewed_until_ms = Some(*until_ms);
                self.reminded = false;
            }
            Act::Remind => self.reminded = true,
            Act::Hold { on } => self.held = *on,
        }
    }

    /// Why a record with this fate is not delivered or shown any more at this time.
    #[must_use]
    pub fn withdrawn(&self, record: &Record, now_ms: i64) -> Option<Withdrawn> {
        if let Some(order) = self.erased {
            return Some(Withdrawn::Erased(order.by));
        }
        if let Some(by) = self.retracted {
            return Some(Withdrawn::Retracted(by));
        }
        let expires = record.summary.as_ref().and_then(|summary| summary.expires_ms);
        expires.filter(|at| *at <= now_ms).map(|_| Withdrawn::Expired)
    }
}

/// All fates by archive sequence.
#[derive(Debug, Default)]
pub(super) struct Fates {
    known: HashMap<u64, Fate>,
    /// Orders to erase: record and target, in archive order.
    erasures: Vec<(u64, u64)>,
    /// Corrections, and the type of what each corrects, in archive order.
    corrections: Vec<(u64, TypeId)>,
}

impl Fates {
    /// One more record's effects, in archive order.
    pub(super) fn take(&mut self, by: u64, effect: &Effect) {
        match &effect.act {
            Act::Erase { .. } => self.erasures.push((by, effect.target)),
            Act::Correct { kind } => self.corrections.push((by, kind.clone())),
            _ => {}
        }
        self.known.entry(effect.target).or_default().apply(by, &effect.act);
    }

    /// The fate of a message; `None` if nothing was ever done to it.
    pub(super) fn of(&self, seq: u64) -> Option<&Fate> {
        self.known.get(&seq)
    }

    /// Orders to erase by records behind a sequence: record and target.
    pub(super) fn erasures_behind(&self, by: u64) -> &[(u64, u64)] {
        &self.erasures[self.erasures.partition_point(|(order, _)| *order <= by)..]
    }

    /// Records that correct a message of one of these types.
    pub(super) fn corrections_of(&self, kinds: &[&str]) -> Vec<u64> {
        let of = self.corrections.iter().filter(|(_, kind)| kinds.contains(&kind.as_str()));
        of.map(|(by, _)| *by).collect()
    }

    /// Every message that was recalled: retracted or erased.
    pub(super) fn recalled(&self) -> impl Iterator<Item = (u64, &Fate)> {
        let recalled = |fate: &Fate| fate.erased.is_some() || fate.retracted.is_some();
        self.known.iter().filter(move |(_, fate)| recalled(fate)).map(|(seq, fate)| (*seq, fate))
    }
}
