//! What is said, when, and what must become of it: the messages of a simulation, made one after the other.
//!
//! Every verdict is known because the message was made to get it, not because somebody judged it: nothing here calls the
//! rules. Times in messages come from the plan's clock and every number from its seed, so the same plan gives the same
//! bytes. Nothing is kept but what later messages refer to.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use bytes::Bytes;
use jiff::SignedDuration;

use super::cast::Cast;
use super::plan::{Faults, Plan};
use crate::message::outcome::Code;
use crate::message::time::Timestamp;
use dice::Dice;
pub use invalid::left_out;
use past::Past;
use schedule::{Moment, Schedule};
use world::World;
use write::Slot;

mod case;
mod control;
mod coord;
pub(super) mod dice;
mod draft;
mod fill;
mod invalid;
mod past;
pub(super) mod places;
mod schedule;
mod shape;
mod words;
mod world;
mod write;

/// One publication that is to be tried.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Dense, from 0, in the order of `due`.
    pub no: u32,
    /// When it is to be sent, from the start.
    pub due: Duration,
    /// Place of the post in [`Cast::officers`].
    pub officer: usize,
    /// Subject.
    pub subject: String,
    /// The id that its receipt will carry; `None` if none can be read.
    pub id: Option<String>,
    /// The bytes.
    pub payload: Bytes,
    /// What must become of it.
    pub expect: Expect,
    /// It is not sent before this attempt has its receipt: it refers to it, or answers it.
    pub after: Option<u32>,
}

/// What must become of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Accepted.
    Accepted,
    /// The same bytes as that attempt, which was accepted.
    Duplicate(u32),
    /// Put aside with this code.
    Quarantined(Code),
    /// Refused with this code.
    Rejected(Code),
}

/// What a script must know of the network.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The time at which the messages say that the simulation starts.
    pub clock: Timestamp,
    /// The case plane is on.
    pub case_plane: bool,
    /// Nothing was published before: only then is it known whom `@local` means.
    pub fresh: bool,
}

/// What stands in the place of an ordinary message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    /// Nothing.
    Ordinary,
    /// One recorded more than seven days ago.
    Late,
    /// An invalid one.
    Invalid,
    /// The same bytes again.
    Resent,
    /// Other bytes under an id that was used.
    Reused,
}

/// A message that will be written: when it is due, how many came before it, when its officer writes it, and who that is.
type Planned = Reverse<(u64, u64, u64, usize, Role, bool)>;

/// Pause between two messages of an outbox that is sent after an outage, microseconds.
const PAUSE: u64 = 3_000;

/// The attempts of a plan, in the order in which they are due.
pub struct Script {
    world: World,
    faults: Faults,
    dice: Dice,
    schedule: Schedule,
    /// What officers have written and not sent yet.
    outboxes: BinaryHeap<Planned>,
    planned: u64,
    /// Messages waiting in the outbox of each officer.
    waiting: Vec<u64>,
    /// Messages planned for each authority.
    load: Vec<u64>,
    next: u32,
    past: Past,
    tag: String,
    invalid: usize,
}

impl Script {
    /// Begins.
    #[must_use]
    pub fn new(plan: &Plan, cast: &Cast, setting: Setting) -> Self {
        let world = World::new(plan, cast, setting);
        Self {
            faults: plan.faults.clone(),
            dice: Dice::new(plan.seed, 0),
            schedule: Schedule::new(plan),
            outboxes: BinaryHeap::new(),
            planned: 0,
            waiting: vec![0; world.posts.len()],
            load: vec![0; world.parties.len()],
            next: 0,
            past: Past::default(),
            tag: tag(plan.seed),
            invalid: 0,
            world,
        }
    }

    /// Plans the next message: who writes it, and when it can be sent.
    fn plan(&mut self) -> bool {
        let Some(Moment { at, burst }) = self.schedule.next() else { return false };
        let Faults { invalid, resent, reused, late } = self.faults;
        let ordinary = (1.0 - invalid - resent - reused - late).max(0.0);
        let role = match self.dice.weighted(&[ordinary, late, invalid, resent, reused]) {
            0 => Role::Ordinary,
            1 => Role::Late,
            2 => Role::Invalid,
            3 => Role::Resent,
            _ => Role::Reused,
        };
        let officer = self.somebody();
        let post = &self.world.posts[officer];
        self.load[post.authority] += 1;
        let due = match post.back(at) {
            None => at,
            Some(back) => {
                self.waiting[officer] += 1;
                back + self.waiting[officer] * PAUSE
            }
        };
        self.outboxes.push(Reverse((due, self.planned, at, officer, role, burst)));
        self.planned += 1;
        true
    }

    /// An officer of the authority, of three, that has sent least: no authority sends much more than its share.
    fn somebody(&mut self) -> usize {
        let count = self.world.ordinary().max(1);
        let three = [(); 3].map(|()| self.dice.below(count));
        let load = |officer: &usize| self.load[self.world.posts[*officer].authority];
        three.into_iter().min_by_key(load).unwrap_or_default()
    }

    fn write(&mut self, due: u64, written: u64, officer: usize, role: Role, burst: bool) -> Attempt {
        let no = self.next;
        self.next += 1;
        let micros = i64::try_from(written).unwrap_or(i64::MAX);
        let clock = self.world.setting.clock;
        let at = clock.checked_add(SignedDuration::from_micros(micros)).unwrap_or(clock);
        let slot = Slot { no, due, officer, at, burst };
        if role == Role::Resent
            && let Some(attempt) = self.resend(&slot)
        {
            return attempt;
        }
        self.fresh(&slot, role)
    }
}

impl Iterator for Script {
    type Item = Attempt;

    fn next(&mut self) -> Option<Attempt> {
        loop {
            let ready = match (self.outboxes.peek(), self.schedule.peek()) {
                (None, None) => return None,
                (None, Some(_)) => false,
                (Some(_), None) => true,
                (Some(Reverse(first)), Some(moment)) => first.0 <= moment.at,
            };
            if ready {
                let Reverse((due, _, written, officer, role, burst)) = self.outboxes.pop()?;
                return Some(self.write(due, written, officer, role, burst));
            }
            self.plan();
        }
    }
}

/// The ids of a run: a tag of the seed, then the number of the attempt.
fn tag(seed: u64) -> String {
    let mut dice = Dice::new(seed, 2);
    let (high, low) = (dice.bits(), dice.bits());
    format!(
        "{:08x}-{:04x}-8{:03x}-a{:03x}-{:04x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        low & 0xfff,
        (low >> 12) & 0xffff
    )
}

/// The number of the attempt that this message was first sent with, if it is one of the run of this seed.
#[must_use]
pub fn attempt_of(id: &str, seed: u64) -> Option<u32> {
    let number = id.strip_prefix(tag(seed).as_str()).filter(|number| number.len() == 8)?;
    u32::from_str_radix(number, 16).ok()
}

#[cfg(test)]
mod tests;
