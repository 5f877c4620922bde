//! Who gets what is said about earlier messages, and what that does to them (`docs/decisions/0012`).
//!
//! A correction, retraction or erasure goes to those who hold its target; an ask to the originator; an answer to those
//! holders whom it names; a grant gives the target, with its corrections, to more parties. Decided in the order of the
//! archive, because who holds a message depends on what was released before.

use std::collections::HashMap;

use jiff::civil::Date;
use serde_json::Value;

use super::AuditError;
use super::bits::Set;
use super::ledger::{Ledger, Making};
use super::oracle::{Cut, Head, Oracle};
use super::parties::Law;

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Act {
    Correct,
    Retract,
    Erase,
    Ask,
    /// With the audience to be added.
    Grant(String),
    Refuse,
}

/// A message about others.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) no: u32,
    /// Its place in the archive; the largest number if it is not known.
    pub(super) at: u64,
    act: Act,
    pub(super) targets: Vec<u32>,
    originator: usize,
    audience: String,
    country: Option<String>,
    today: Date,
    excluded: Set,
}

impl Control {
    /// Reads a message; `None` if it is not about others.
    pub(super) fn read(
        no: u32,
        at: u64,
        event: &Value,
        head: &Head,
        number: impl Fn(&str) -> Option<u32>,
    ) -> Result<Option<Self>, String> {
        let data = &event["data"];
        let act = match (head.kind.as_str(), data["step"].as_str()) {
            ("msg.correction", _) => Act::Correct,
            ("msg.retraction", _) => Act::Retract,
            ("msg.erasure", _) => Act::Erase,
            ("msg.release", Some("ask")) => Act::Ask,
            ("msg.release", Some("grant")) => {
                Act::Grant(data["newAudience"].as_str().unwrap_or_default().to_owned())
            }
            ("msg.release", Some("refuse")) => Act::Refuse,
            ("msg.release", _) => return Err("it is a release without a step".to_owned()),
            _ => return Ok(None),
        };
        let references = match act {
            Act::Erase => data["targets"].as_array().map(Vec::as_slice).unwrap_or_default(),
            _ => std::slice::from_ref(&data["target"]),
        };
        let found = references.iter().map(|target| target["id"].as_str().and_then(&number));
        let found: Option<Vec<u32>> = found.collect();
        let targets = found.filter(|targets| targets.iter().all(|target| *target < no));
        let targets = targets.ok_or("it is about a message that is not an earlier one of this run")?;
        Ok(Some(Self {
            no,
            at,
            act,
            targets,
            originator: head.originator,
            audience: event["audience"].as_str().unwrap_or_default().to_owned(),
            country: head.country.clone(),
            today: head.today,
            excluded: head.excluded.clone(),
        }))
    }

    /// True for recalls.
    pub(super) fn takes_back(&self) -> bool {
        matches!(self.act, Act::Retract | Act::Erase)
    }
}

/// Decides on all messages about others, and puts what follows into the ledger.
pub(super) fn decide<N>(ledger: &mut Ledger, making: &mut Making<'_, N>) -> Result<(), AuditError> {
    let mut controls = std::mem::take(&mut making.controls);
    controls.sort_by_key(|control| (control.at, control.no));
    let mut corrections: HashMap<u32, Vec<u32>> = HashMap::new();
    for control in &controls {
        let lost = |words: String| AuditError::Script(format!("attempt {}: {words}", control.no));
        let gets = recipients(ledger, &mut making.oracle, control).map_err(lost)?;
        ledger.facts[control.no as usize].own = u16::try_from(gets.count()).unwrap_or(u16::MAX);
        ledger.must.put(control.no, &gets);
        for target in &control.targets {
            match &control.act {
                Act::Correct => {
                    corrections.entry(*target).or_default().push(control.no);
                    if ledger.tail(*target).starts_with("case.") {
                        ledger.narrow.insert(control.no, ());
                    }
                }
                Act::Retract | Act::Erase => {
                    let erases = control.act == Act::Erase;
                    let taken = corrections.get(target).into_iter().flatten().chain([target]);
                    for no in taken {
                        *ledger.withdrawn.entry(*no).or_default() |= erases;
                    }
                }
                Act::Grant(audience) => {
                    let fresh = widen(ledger, making, control, *target, audience).map_err(lost)?;
                    let bundle = [*target].into_iter();
                    let bundle = bundle.chain(corrections.get(target).into_iter().flatten().copied());
                    release(ledger, control.at, bundle, &fresh);
                }
                Act::Ask | Act::Refuse => {}
            }
        }
    }
    Ok(())
}

fn recipients(ledger: &Ledger, oracle: &mut Oracle, control: &Control) -> Result<Set, String> {
    let mut holders = oracle.network.none();
    let mut owners = oracle.network.none();
    for target in &control.targets {
        holders.add(&ledger.must.row(*target));
        owners.insert(usize::from(ledger.facts[*target as usize].originator));
    }
    let mut gets = match control.act {
        Act::Retract | Act::Erase => holders,
        Act::Correct => {
            holders.take(&control.excluded);
            for target in &control.targets {
                holders.keep(oracle.network.entitled(ledger.facts[*target as usize].law));
            }
            holders
        }
        Act::Ask => owners,
        Act::Grant(_) | Act::Refuse => {
            let country = control.country.as_deref();
            let meant = oracle.meant(&control.audience, country, control.today, control.at)?;
            holders.keep(&meant.everybody());
            holders.take(&control.excluded);
            holders
        }
    };
    gets.remove(control.originator);
    if !control.takes_back() {
        gets.take(&oracle.network.suspended); // a recall waits for them
    }
    Ok(gets)
}

/// Whom a grant adds: its audience, cut down as if the target came in now; a name in it is stronger than an exclusion in
/// the target.
fn widen<N>(
    ledger: &Ledger,
    making: &mut Making<'_, N>,
    control: &Control,
    target: u32,
    audience: &str,
) -> Result<Set, String> {
    let fact = &ledger.facts[target as usize];
    let country = ledger.country(target);
    let meant = making.oracle.meant(audience, country.as_deref(), control.today, control.at)?;
    let mut excluded = ledger.excluded.get(&target).cloned().unwrap_or_else(|| making.oracle.network.none());
    excluded.take(&meant.named);
    let law: Law = fact.law;
    let cut = Cut { originator: usize::from(fact.originator), excluded: &excluded, law };
    let mut fresh = making.oracle.cut(&meant, &making.wanting.row(target), &cut);
    fresh.take(&ledger.must.row(target));
    Ok(fresh)
}

/// Puts what is released into the ledger, and where it stands in the feeds of those who get it.
fn release(ledger: &mut Ledger, at: u64, bundle: impl Iterator<Item = u32>, fresh: &Set) {
    for (index, no) in (1..).zip(bundle) {
        for party in fresh.iter() {
            if ledger.must.insert(no, party) {
                ledger.released.insert((no, party), (at, index));
            }
        }
    }
}
