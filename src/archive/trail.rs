//! Trails: for one party, which zones its numbers lie in, packed. Of its feed, and of its intake stream.
//!
//! There is an entry for every zone that a party occurs in, so this is what grows with an archive: an entry takes three or four
//! bytes. It knows neither zones nor records.

use serde::{Deserialize, Serialize};

use super::packed::Packed;

/// Numbers of one party in one zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reach {
    /// Which zone, counted from 0.
    pub(super) zone: usize,
    /// The first number.
    pub(super) from: u64,
    /// The last.
    pub(super) to: u64,
}

/// An entry as it is packed: each number as what it differs by from the entry before.
#[derive(Debug, Serialize, Deserialize)]
struct Step {
    zones: u32,
    from: i64,
    more: u64,
}

/// What stands before some entries.
#[derive(Debug)]
struct Mark {
    /// Which life of the stream; all entries up to the next mark are of it.
    life: i64,
    /// What the first entry behind it differs from.
    zone: u32,
    from: u64,
    /// Least and greatest number up to the next mark.
    least: u64,
    most: u64,
}

/// All entries of one party, in the order of the zones.
#[derive(Debug, Default)]
pub(super) struct Trail {
    entries: Packed<Mark>,
    last: Option<Reach>,
}

impl Trail {
    /// One more zone, behind all others. `life` tells apart streams that were made anew.
    pub(super) fn push(&mut self, life: i64, reach: Reach) {
        let zone = u32::try_from(reach.zone).unwrap_or(u32::MAX); // 2^40 records
        let (zone_before, from_before) = match (self.entries.open(), self.last) {
            (Some(mark), Some(last)) if mark.life == life => {
                mark.least = mark.least.min(reach.from);
                mark.most = mark.most.max(reach.to);
                (u32::try_from(last.zone).unwrap_or(u32::MAX), last.from)
            }
            _ => {
                let Reach { from, to, .. } = reach;
                self.entries.mark(Mark { life, zone, from, least: from, most: to });
                (zone, from)
            }
        };
        let step = Step {
            zones: zone - zone_before,
            from: reach.from.wrapping_sub(from_before).cast_signed(),
            more: reach.to - reach.from,
        };
        self.entries.push(&step);
        self.last = Some(reach);
    }

    /// The last entry.
    pub(super) fn last(&self) -> Option<Reach> {
        self.last
    }

    /// The entries from the one that holds `number` on, or else the first behind it. Only where numbers grow: in a feed.
    pub(super) fn from(&self, number: u64) -> impl Iterator<Item = Reach> + '_ {
        let first = self.entries.partition_point(|mark| mark.from <= number).saturating_sub(1);
        let entries = (first..self.entries.len()).flat_map(|mark| self.behind(mark));
        entries.skip_while(move |reach| reach.to < number)
    }

    /// The last entry before zone `end` that may hold `number` in this life.
    pub(super) fn covering(&self, end: usize, life: i64, number: u64) -> Option<Reach> {
        let covers = |reach: &Reach| reach.zone < end && (reach.from..=reach.to).contains(&number);
        let may = |mark: &Mark| {
            mark.life == life && (mark.zone as usize) < end && (mark.least..=mark.most).contains(&number)
        };
        let marks = (0..self.entries.len()).rev().filter(|at| self.entries.get(*at).is_some_and(may));
        marks.filter_map(|at| self.behind(at).filter(covers).last()).next()
    }

    /// The last entry before zone `end`.
    pub(super) fn before(&self, end: usize) -> Option<Reach> {
        let mark = self.entries.partition_point(|mark| (mark.zone as usize) < end).checked_sub(1)?;
        self.behind(mark).take_while(|reach| reach.zone < end).last()
    }

    fn behind(&self, mark: usize) -> impl Iterator<Item = Reach> + '_ {
        let (mut zone, mut from) = self.entries.get(mark).map_or((0, 0), |mark| (mark.zone, mark.from));
        self.entries.behind::<Step>(mark).map(move |(step, _)| {
            zone += step.zones;
            from = from.wrapping_add_signed(step.from);
            Reach { zone: zone as usize, from, to: from + step.more }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn entries()(steps in prop::collection::vec((1..4_usize, 0..3_i64, 0..400_u64, 0..300_u64), 0..400))
            -> Vec<(i64, Reach)> {
            let mut zone = 0;
            steps.into_iter().map(|(zones, life, from, more)| {
                zone += zones;
                // Lives seldom change.
                (life / 2, Reach { zone, from, to: from + more })
            }).collect()
        }
    }

    proptest! {
        /// What is packed answers as the plain list does.
        #[test]
        fn packed_as_plain(list in entries(), end in 0..1_300_usize, life in 0..2_i64, number in 0..800_u64) {
            let mut trail = Trail::default();
            list.iter().for_each(|(life, reach)| trail.push(*life, *reach));
            let all: Vec<Reach> = (0..trail.entries.len()).flat_map(|mark| trail.behind(mark)).collect();
            prop_assert_eq!(all, list.iter().map(|(_, reach)| *reach).collect::<Vec<_>>());
            prop_assert_eq!(trail.last(), list.last().map(|(_, reach)| *reach));
            let before = list.iter().rev().map(|(_, reach)| *reach).find(|reach| reach.zone < end);
            prop_assert_eq!(trail.before(end), before);
            let covering = list.iter().rev().find(|(of, reach)| {
                *of == life && reach.zone < end && (reach.from..=reach.to).contains(&number)
            });
            prop_assert_eq!(trail.covering(end, life, number), covering.map(|(_, reach)| *reach));
        }

        /// A feed: numbers without a gap.
        #[test]
        fn feeds_go_on_from_a_number(counts in prop::collection::vec(1..60_u64, 0..400), number in 0..12_000_u64) {
            let mut trail = Trail::default();
            let mut next = 1;
            let list: Vec<Reach> = counts.iter().enumerate().map(|(zone, count)| {
                next += count;
                Reach { zone: 2 * zone, from: next - count, to: next - 1 }
            }).collect();
            list.iter().for_each(|reach| trail.push(0, *reach));
            let behind: Vec<Reach> = list.iter().copied().filter(|reach| reach.to >= number).collect();
            prop_assert_eq!(trail.from(number).collect::<Vec<_>>(), behind);
        }
    }

    /// The reason for all this.
    #[test]
    fn an_entry_takes_four_bytes() {
        let mut trail = Trail::default();
        (0..6_400).for_each(|zone| {
            let from = 1 + 20 * zone as u64;
            trail.push(0, Reach { zone, from, to: from + 19 });
        });
        assert_eq!((trail.entries.len(), trail.entries.size()), (100, 3 * 6_400));
    }
}
