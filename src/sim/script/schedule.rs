//! When messages are written: a rate, the hours of a day over it, bursts besides. An open loop: nothing here waits for
//! an answer.
//!
//! It yields instants one after the other and keeps no list, so that a run of two days costs no more than one of a
//! minute.

use super::dice::Dice;
use crate::sim::plan::{Plan, Rhythm};

/// Messages in each hour of a day against the mean, times 100: little at night, most before noon, a second rise.
const HOURS: [u32; 24] = [
    20, 15, 12, 12, 15, 25, 50, 90, 150, 200, 220, 210, 160, 150, 180, 190, 170, 130, 100, 80, 70, 60, 50, 41,
];

/// An instant at which a message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// Microseconds from the start.
    pub(super) at: u64,
    /// It is part of a burst.
    pub(super) burst: bool,
}

/// All instants of a plan, in order.
pub(super) struct Schedule {
    courses: Vec<Course>,
    dice: Dice,
}

/// So many messages over a span.
struct Course {
    from: f64,
    span: f64,
    count: u64,
    given: u64,
    next: u64,
    burst: bool,
    rhythm: Rhythm,
}

const MICROS: f64 = 1e6;

impl Schedule {
    pub(super) fn new(plan: &Plan) -> Self {
        let mut schedule = Self { courses: Vec::new(), dice: Dice::new(plan.seed, 1) };
        let bursts: u64 = plan.burst.iter().map(|burst| u64::from(burst.messages)).sum();
        let duration = plan.duration.as_secs_f64() * MICROS;
        schedule.add(0.0, duration, plan.messages() - bursts, false, plan.rhythm);
        for burst in &plan.burst {
            let (from, span) = (burst.at.as_secs_f64() * MICROS, burst.within.as_secs_f64() * MICROS);
            schedule.add(from, span, u64::from(burst.messages), true, Rhythm::Constant);
        }
        schedule
    }

    fn add(&mut self, from: f64, span: f64, count: u64, burst: bool, rhythm: Rhythm) {
        let mut course = Course { from, span, count, given: 0, next: 0, burst, rhythm };
        if course.step(&mut self.dice) {
            self.courses.push(course);
        }
    }

    /// The next instant, without taking it.
    pub(super) fn peek(&self) -> Option<Moment> {
        let first = self.courses.iter().min_by_key(|course| course.next)?;
        Some(Moment { at: first.next, burst: first.burst })
    }
}

impl Iterator for Schedule {
    type Item = Moment;

    fn next(&mut self) -> Option<Moment> {
        let moment = self.peek()?;
        let at = self.courses.iter().position(|course| course.next == moment.at)?;
        if !self.courses[at].step(&mut self.dice) {
            self.courses.remove(at);
        }
        Some(moment)
    }
}

impl Course {
    /// Goes to the next instant: each message somewhere in its own part of the span, so that the rate holds and the
    /// intervals are not all the same.
    #[expect(clippy::cast_precision_loss, reason = "at most fifty million messages")]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within two days")]
    fn step(&mut self, dice: &mut Dice) -> bool {
        if self.given >= self.count {
            return false;
        }
        let part = (self.given as f64 + dice.share()) / self.count as f64;
        let part = match self.rhythm {
            Rhythm::Constant => part,
            Rhythm::Day => through_the_day(part),
        };
        self.next = (self.from + part * self.span) as u64;
        self.given += 1;
        true
    }
}

/// The part of a day that is over when this part of its messages was written.
fn through_the_day(part: f64) -> f64 {
    let mut left = part * f64::from(HOURS.iter().sum::<u32>());
    for (hour, weight) in (0_u32..).zip(HOURS.map(f64::from)) {
        if left < weight {
            return (f64::from(hour) + left / weight) / 24.0;
        }
        left -= weight;
    }
    1.0
}
