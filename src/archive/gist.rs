//! The gist of a sealed block: what stays in memory of its zone, so that queries skip blocks without reading even their zones.
//!
//! There is one for every 256 records, so words are held once, in a vocabulary, and a gist has bits. Everything else that a
//! zone knows is read when it is asked for.

use std::collections::HashMap;

use super::effect::Act;
use super::zone::{Due, Zone};

/// The gist of one block.
#[derive(Debug, Clone)]
pub(super) struct Gist {
    /// First archive sequence.
    pub(super) first: u64,
    /// Last archive sequence.
    pub(super) last: u64,
    /// Earliest archive time, Unix milliseconds.
    pub(super) from_ms: i64,
    /// Latest archive time, Unix milliseconds.
    pub(super) to_ms: i64,
    /// When the first of its records falls due that is not settled for good, Unix milliseconds; the greatest number if none does.
    pub(super) due_ms: i64,
    /// True if a record delivers an older message: the words do not tell of that one.
    pub(super) releases: bool,
    words: [Set; 3],
}

/// What a word is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sort {
    Kind,
    Country,
    Originator,
}

/// Numbers of words, a bit each.
#[derive(Debug, Clone, Default)]
struct Set(Box<[u64]>);

impl Set {
    fn of(numbers: impl Iterator<Item = usize>) -> Self {
        let mut bits: Vec<u64> = Vec::new();
        for number in numbers {
            let needed = number / 64 + 1;
            if bits.len() < needed {
                bits.resize(needed, 0);
            }
            bits[number / 64] |= 1 << (number % 64);
        }
        Self(bits.into())
    }

    fn has(&self, number: usize) -> bool {
        self.0.get(number / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }
}

/// The words of one sort, in the order in which they came.
#[derive(Debug, Clone, Default)]
struct Words {
    numbers: HashMap<Box<str>, usize>,
    words: Vec<Box<str>>,
}

impl Words {
    fn number(&mut self, word: &str) -> usize {
        if let Some(number) = self.numbers.get(word) {
            return *number;
        }
        self.numbers.insert(word.into(), self.words.len());
        self.words.push(word.into());
        self.words.len() - 1
    }
}

/// All words that gists name. What there can be of them is bounded: types of the catalogue, codes of countries, parties.
#[derive(Debug, Clone, Default)]
pub(super) struct Vocabulary([Words; 3]);

impl Vocabulary {
    /// The gist of a zone; learns words that are new.
    pub(super) fn gist(&mut self, zone: &Zone) -> Gist {
        let [kinds, countries, originators] = &mut self.0;
        Gist {
            first: zone.first,
            last: zone.last,
            from_ms: zone.from_ms,
            to_ms: zone.to_ms,
            due_ms: zone.dues.iter().filter_map(Due::first_ms).min().unwrap_or(i64::MAX),
            releases: zone.effects.iter().any(|(_, effect)| matches!(effect.act, Act::Release { .. })),
            words: [
                Set::of(zone.kinds.iter().map(|word| kinds.number(word))),
                Set::of(zone.countries.iter().map(|word| countries.number(word))),
                Set::of(zone.originators.iter().map(|word| originators.number(word.as_str()))),
            ],
        }
    }

    /// The words of one sort that occur in a block.
    pub(super) fn words<'a>(&'a self, gist: &'a Gist, sort: Sort) -> impl Iterator<Item = &'a str> {
        let (set, words) = (&gist.words[sort as usize], &self.0[sort as usize].words);
        words.iter().enumerate().filter(|(number, _)| set.has(*number)).map(|(_, word)| &**word)
    }
}
