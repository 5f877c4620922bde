//! Who plays: the posts that publish, the authorities that read, the analysts that replay, from plan and registry.
//!
//! It decides who, never what is said. Where the registry has fewer posts or authorities than the plan wants, [`enrol`]
//! writes one that has enough; invented ones have names of their own, so that nobody takes them for real.

use std::time::Duration;

use serde_json::Value;

use super::plan::Plan;
use super::script::dice::Dice;
use crate::message::names::{PartyId, PostId};
use crate::rules::registry::{Party, Registry};

mod enrolment;
mod wants;

pub use enrolment::enrol;

/// Everybody in a simulation. The order is part of the run: the log names officers and authorities by their place.
#[derive(Debug, Clone)]
pub struct Cast {
    /// Posts that publish: those that the plan asks for and, if the registry has a suspended party with a post, that post
    /// at the end, for the refusal `E-PARTY`.
    pub officers: Vec<Officer>,
    /// Authorities that read: all of the registry, by id.
    pub authorities: Vec<Authority>,
    /// Places in `authorities` of those that also replay everything, all the time.
    pub analysts: Vec<usize>,
    /// The registry that they were chosen from.
    pub registry: Registry,
}

/// A post that publishes.
#[derive(Debug, Clone)]
pub struct Officer {
    /// Its authority.
    pub party: PartyId,
    /// The post.
    pub post: PostId,
    /// When it is not connected, from and to, counted from the start.
    pub away: Option<(Duration, Duration)>,
}

/// An authority that reads its mailbox.
#[derive(Debug, Clone)]
pub struct Authority {
    /// Its id.
    pub party: PartyId,
    /// How it reads.
    pub reads: Reads,
    /// The list of subscriptions it stores with `sub.put` before the start, one call an item; empty: it keeps what it has.
    ///
    /// They are of a small family, so that an auditor can evaluate them without the broker's code:
    /// - `filters` (all of which must hold) are `exact`, `prefix` and `suffix` with one or two members each, and `all`,
    ///   `any` and `not` of these, at most three deep. Names are the attributes `type`, `subject`, `originator`, `source`,
    ///   `purpose`, `tlp`, `evaluation` and the sets `country`, `nationality`, `route`, `transport`, `priority`, `impact`.
    /// - `where`, in few of them, is one of the forms below or two of them joined by ` && `, written with double quotes
    ///   and single spaces, exactly so:
    ///   `event.<attribute> == "<text>"`; `data.<member> == "<text>"`; `data.count.value >= <whole number>`;
    ///   `"<text>" in data.<member>` (the member is a list of texts).
    ///   What a message does not have makes a form not hold.
    pub subscriptions: Vec<Value>,
}

/// How an authority reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reads {
    /// At once.
    Promptly,
    /// At most so many messages a second, until everything has been sent.
    Slowly(f64),
    /// Not before everything has been sent.
    Afterwards,
}

impl Cast {
    /// Chooses who plays. The same plan and registry give the same cast.
    ///
    /// # Errors
    /// The registry has too few posts or authorities, or is none.
    pub fn choose(plan: &Plan, registry: &str) -> Result<Self, String> {
        let registry = Registry::parse(registry).map_err(|faults| faults.join("\n"))?;
        let mut dice = Dice::new(plan.seed, 10);
        let officers = officers(plan, &registry, &mut dice)?;
        let authorities = authorities(plan, &registry, &mut dice)?;
        let mut prompt: Vec<usize> =
            (0..authorities.len()).filter(|at| authorities[*at].reads == Reads::Promptly).collect();
        dice.shuffle(&mut prompt);
        prompt.truncate(plan.analysts as usize);
        if prompt.len() < plan.analysts as usize {
            return Err(format!(
                "{} analysts, but {} authorities that read promptly",
                plan.analysts,
                prompt.len()
            ));
        }
        prompt.sort_unstable();
        Ok(Self { officers, authorities, analysts: prompt, registry })
    }
}

/// Party after party one post, and again, so that no authority sends more than its share.
fn officers(plan: &Plan, registry: &Registry, dice: &mut Dice) -> Result<Vec<Officer>, String> {
    let mut parties: Vec<&Party> =
        registry.parties().map(|party| &**party).filter(|party| plays(party)).collect();
    dice.shuffle(&mut parties);
    let longest = parties.iter().map(|party| party.posts.len()).max().unwrap_or_default();
    let rounds = (0..longest)
        .flat_map(|round| parties.iter().filter_map(move |party| Some((party, party.posts.get(round)?))));
    let mut officers: Vec<Officer> = rounds
        .take(plan.officers as usize)
        .map(|(party, post)| Officer { party: party.id.clone(), post: post.clone(), away: away(plan, dice) })
        .collect();
    if officers.len() < plan.officers as usize {
        return Err(format!("{} officers, but {} posts in the registry", plan.officers, officers.len()));
    }
    let suspended = registry.parties().filter(|party| party.is_suspended());
    officers.extend(
        suspended
            .filter_map(|party| {
                Some(Officer { party: party.id.clone(), post: party.posts.first()?.clone(), away: None })
            })
            .take(1),
    );
    Ok(officers)
}

fn away(plan: &Plan, dice: &mut Dice) -> Option<(Duration, Duration)> {
    let (drops, place) = (dice.chance(plan.outages.share), dice.between(0, 1_000));
    let length = plan.outages.length.min(plan.duration * 9 / 10);
    if !drops || length.is_zero() {
        return None;
    }
    // Back before the end, so that the outbox is part of the run.
    let from = plan.duration / 20 + (plan.duration * 9 / 10 - length) * place / 1_000;
    Some((from, from + length))
}

/// True if a party may send and read content at all.
fn plays(party: &Party) -> bool {
    !party.is_suspended() && !party.reads_no_content()
}

fn authorities(plan: &Plan, registry: &Registry, dice: &mut Dice) -> Result<Vec<Authority>, String> {
    let mut authorities: Vec<Authority> = registry
        .parties()
        .map(|party| {
            let own = dice.chance(plan.readers.subscribed) && plays(party);
            let subscriptions = if own { wants::some(dice, party) } else { Vec::new() };
            Authority { party: party.id.clone(), reads: Reads::Afterwards, subscriptions }
        })
        .collect();
    let mut reading: Vec<usize> =
        registry.parties().enumerate().filter(|(_, party)| plays(party)).map(|(at, _)| at).collect();
    let wanted = if plan.authorities == 0 { reading.len() } else { plan.authorities as usize };
    if reading.len() < wanted {
        return Err(format!("{wanted} authorities, but {} in the registry that take part", reading.len()));
    }
    dice.shuffle(&mut reading);
    let absent = plan.readers.absent as usize;
    let slow = plan.readers.slow as usize;
    for at in &reading[absent.min(wanted)..wanted] {
        authorities[*at].reads = Reads::Promptly;
    }
    for at in reading[..wanted].iter().skip(absent).take(slow) {
        authorities[*at].reads = Reads::Slowly(plan.readers.slow_rate);
    }
    Ok(authorities)
}

#[cfg(test)]
mod tests;
