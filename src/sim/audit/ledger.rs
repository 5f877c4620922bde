//! The auditor's own ledger: of each attempt its digest, the verdict that it must get, and who must have it.
//!
//! Made from the script, one attempt after the other; payloads are looked at once and not kept. Places in the archive come from
//! the receipts, because what a message may refer to depends on what was archived before it.

use std::collections::HashMap;

use jiff::civil::Date;
use serde_json::Value;

use super::AuditError;
use super::answers::{Answer, Answers, Said};
use super::bits::{Rows, Set};
use super::control::Control;
use super::oracle::{Cut, Head, Oracle};
use super::parties::Law;
use crate::message::digest::Digest;
use crate::message::time::{self, Timestamp};
use crate::sim::script::{Attempt, Expect};

/// Whether an attempt is in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nobody may have it: it had to be refused, it was, or it was never sent.
    Nowhere,
    /// Its receipt says so.
    Kept,
    /// It was sent and there is no usable receipt: it may be.
    Open,
}

/// What is known of one attempt.
#[derive(Debug, Clone)]
pub(super) struct Fact {
    pub(super) digest: Digest,
    pub(super) expect: Expect,
    /// Place of the officer in the cast.
    pub(super) officer: u32,
    /// Place of the originator in the registry.
    pub(super) originator: u16,
    /// Number of the end of its subject, `<plane>.<family>.<kind>.<cc>`.
    tail: u32,
    pub(super) law: Law,
    pub(super) today: Date,
    /// How many its own receipt must tell.
    pub(super) own: u16,
    pub(super) standing: Standing,
}

/// What becomes of a message by itself, where that falls into the run or before.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Dates {
    pub(super) expires: Option<Timestamp>,
    /// The broker may order its erasure, or remind of it.
    pub(super) looked_at: bool,
}

/// The ledger.
pub(super) struct Ledger {
    pub(super) facts: Vec<Fact>,
    /// Who must have it, by whatever way.
    pub(super) must: Rows,
    /// Who got it.
    pub(super) got: Rows,
    tails: Vec<String>,
    known_tails: HashMap<String, u32>,
    pub(super) excluded: HashMap<u32, Set>,
    pub(super) dates: HashMap<u32, Dates>,
    /// Where a release stands in a feed: the place of the grant, and the place among what it releases.
    pub(super) released: HashMap<(u32, usize), (u64, u32)>,
    /// Taken back by its originator; true: erased, false: only retracted.
    pub(super) withdrawn: HashMap<u32, bool>,
    /// Corrections of case data: a replay shows them only to those whose roles fit every purpose of the type.
    pub(super) narrow: HashMap<u32, ()>,
    by_digest: Vec<(u64, u32)>,
    parties: usize,
}

/// What is needed only while the ledger is made.
pub(super) struct Making<'a, N> {
    pub(super) oracle: Oracle,
    pub(super) answers: &'a Answers,
    /// Number of the attempt with an id.
    pub(super) number: N,
    /// When everything had been looked at.
    pub(super) ended: Timestamp,
    /// Who wants each message if it comes to a group: a grant asks for it later.
    pub(super) wanting: Rows,
    pub(super) controls: Vec<Control>,
}

impl Ledger {
    /// An empty one.
    pub(super) fn new(parties: usize) -> Self {
        Self {
            facts: Vec::new(),
            must: Rows::new(parties),
            got: Rows::new(parties),
            tails: Vec::new(),
            known_tails: HashMap::new(),
            excluded: HashMap::new(),
            dates: HashMap::new(),
            released: HashMap::new(),
            withdrawn: HashMap::new(),
            narrow: HashMap::new(),
            by_digest: Vec::new(),
            parties,
        }
    }

    /// Takes the next attempt of the script.
    pub(super) fn take<N: Fn(&str) -> Option<u32>>(
        &mut self,
        making: &mut Making<'_, N>,
        attempt: &Attempt,
    ) -> Result<(), AuditError> {
        let no = attempt.no;
        let lost = |words: String| AuditError::Script(format!("attempt {no}: {words}"));
        if no as usize != self.facts.len() {
            return Err(lost("the numbers of the script are not dense".to_owned()));
        }
        let standing = standing(attempt.expect, making.answers.of(no));
        let mut fact = Fact {
            digest: Digest::of(&attempt.payload),
            expect: attempt.expect,
            officer: u32::try_from(attempt.officer).unwrap_or(u32::MAX),
            originator: u16::MAX,
            tail: self.tail_number(&attempt.subject),
            law: Law::Open,
            today: Date::ZERO,
            own: 0,
            standing,
        };
        let nobody = Set::none(self.parties);
        let (mut gets, mut wanting) = (nobody.clone(), nobody);
        if standing != Standing::Nowhere {
            let event: Value = serde_json::from_slice(&attempt.payload)
                .map_err(|_| lost("it is to be accepted, and cannot be read".to_owned()))?;
            let head = making.oracle.head(&event).map_err(lost)?;
            fact.originator = u16::try_from(head.originator).unwrap_or(u16::MAX);
            (fact.law, fact.today) = (head.law, head.today);
            self.date(no, &event, making.ended);
            wanting = making.oracle.whoever_wants(&event);
            let at = making.answers.place(no).unwrap_or(u64::MAX);
            match Control::read(no, at, &event, &head, &making.number).map_err(lost)? {
                Some(control) => {
                    self.learn_of(&mut making.oracle, &control, &event)?;
                    making.controls.push(control);
                }
                None => {
                    let audience = event["audience"].as_str().unwrap_or_default();
                    let country = head.country.as_deref();
                    let meant = making.oracle.meant(audience, country, head.today, at).map_err(lost)?;
                    let cut = Cut { originator: head.originator, excluded: &head.excluded, law: head.law };
                    gets = making.oracle.cut(&meant, &wanting, &cut);
                    learn(&mut making.oracle, (no, making.answers.place(no)), &head, &event);
                }
            }
            if !head.excluded.is_empty() {
                self.excluded.insert(no, head.excluded);
            }
        }
        fact.own = u16::try_from(gets.count()).unwrap_or(u16::MAX);
        self.facts.push(fact);
        self.must.push(&gets);
        making.wanting.push(&wanting);
        Ok(())
    }

    /// Deployments that a correction changes or a recall takes back.
    fn learn_of(&self, oracle: &mut Oracle, control: &Control, event: &Value) -> Result<(), AuditError> {
        for target in &control.targets {
            let fact = self
                .facts
                .get(*target as usize)
                .ok_or_else(|| AuditError::Script(format!("attempt {} refers to a later one", control.no)))?;
            let kind = self.kind(*target);
            if control.takes_back() {
                oracle.deployed.unlearn(*target, control.at);
            } else if let Some(data) = event["data"].get("newData") {
                let originator = usize::from(fact.originator);
                let Oracle { network, deployed, .. } = oracle;
                deployed.learn(network, ([control.no, *target], control.at), originator, &kind, data);
            }
        }
        Ok(())
    }

    fn date(&mut self, no: u32, event: &Value, ended: Timestamp) {
        let by = |name: &str| event[name].as_str().and_then(time::parse).filter(|at| *at <= ended);
        let expires = by("expirytime");
        let looked_at = by("eraseby").or(by("reviewby")).is_some();
        if expires.is_some() || looked_at {
            self.dates.insert(no, Dates { expires, looked_at });
        }
    }

    /// The number of the last four tokens of a subject.
    fn tail_number(&mut self, subject: &str) -> u32 {
        let tail = subject.splitn(5, '.').nth(4).unwrap_or_default();
        if let Some(known) = self.known_tails.get(tail) {
            return *known;
        }
        let number = u32::try_from(self.tails.len()).unwrap_or(u32::MAX);
        self.tails.push(tail.to_owned());
        self.known_tails.insert(tail.to_owned(), number);
        number
    }

    /// What stands behind the party in the subject of its letters.
    pub(super) fn tail(&self, no: u32) -> &str {
        &self.tails[self.facts[no as usize].tail as usize]
    }

    /// Its type id.
    pub(super) fn kind(&self, no: u32) -> String {
        let mut tokens = self.tail(no).split('.').skip(1);
        let family = tokens.next().unwrap_or_default();
        format!("{family}.{}", tokens.next().unwrap_or_default())
    }

    /// Its subject country.
    pub(super) fn country(&self, no: u32) -> Option<String> {
        self.tail(no).rsplit('.').next().filter(|token| *token != "zz").map(str::to_ascii_uppercase)
    }

    /// After the last attempt: the index of digests, and room for who got what.
    pub(super) fn close(&mut self) {
        self.known_tails = HashMap::new();
        self.got = Rows::empty(self.parties, self.facts.len());
        self.by_digest = (0..).zip(&self.facts).map(|(no, fact)| (short(fact.digest), no)).collect();
        self.by_digest.sort_unstable();
    }

    /// The first attempt with these bytes that is in the archive, else the first at all.
    pub(super) fn with_digest(&self, digest: Digest) -> Option<u32> {
        let key = short(digest);
        let from = self.by_digest.partition_point(|(known, _)| *known < key);
        let same = self.by_digest[from..].iter().take_while(|(known, _)| *known == key).map(|(_, no)| *no);
        let mut same = same.filter(|no| self.facts[*no as usize].digest == digest);
        let first = same.next()?;
        let stands = |no: u32| self.facts[no as usize].standing != Standing::Nowhere;
        Some(if stands(first) { first } else { same.find(|no| stands(*no)).unwrap_or(first) })
    }

    /// Whether its content may have left the feeds: it was taken back, or has expired by now.
    pub(super) fn may_be_gone(&self, no: u32) -> bool {
        self.withdrawn.contains_key(&no)
            || self.dates.get(&no).is_some_and(|dates| dates.expires.is_some() || dates.looked_at)
    }
}

fn short(digest: Digest) -> u64 {
    digest.0[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn standing(expect: Expect, answer: Option<&Answer>) -> Standing {
    match (expect, answer) {
        (Expect::Accepted, Some(answer)) if answer.is_kept() => Standing::Kept,
        (Expect::Accepted, Some(answer)) => match answer.said {
            Some(Said::Rejected | Said::Quarantined) => Standing::Nowhere,
            _ => Standing::Open,
        },
        _ => Standing::Nowhere,
    }
}

fn learn(oracle: &mut Oracle, (no, place): (u32, Option<u64>), head: &Head, event: &Value) {
    let Oracle { network, deployed, .. } = oracle;
    // One whose place nobody knows is taken as told in time.
    deployed.learn(network, ([no, no], place.unwrap_or(0)), head.originator, &head.kind, &event["data"]);
}
