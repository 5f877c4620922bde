//! Sets of parties as bits, one a place in the registry: hundreds of thousands of messages must fit into little memory.
//!
//! It knows nothing of parties but their number.

/// A set of places.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Set(Vec<u64>);

/// How many words hold a set of so many places.
fn words(places: usize) -> usize {
    places.div_ceil(64).max(1)
}

impl Set {
    /// The empty set, of so many places.
    pub(super) fn none(places: usize) -> Self {
        Self(vec![0; words(places)])
    }

    pub(super) fn insert(&mut self, at: usize) {
        self.0[at / 64] |= 1 << (at % 64);
    }

    pub(super) fn remove(&mut self, at: usize) {
        self.0[at / 64] &= !(1 << (at % 64));
    }

    pub(super) fn has(&self, at: usize) -> bool {
        self.0[at / 64] & (1 << (at % 64)) != 0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Its places, rising.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.0.len() * 64).filter(|at| self.has(*at))
    }

    /// Adds what the other has.
    pub(super) fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
    }

    /// Takes away what the other has.
    pub(super) fn take(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= !other);
    }

    /// Keeps what the other has too.
    pub(super) fn keep(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= other);
    }
}

/// A set for each attempt, in one piece of memory.
#[derive(Debug)]
pub(super) struct Rows {
    width: usize,
    words: Vec<u64>,
}

impl Rows {
    /// No row yet.
    pub(super) fn new(places: usize) -> Self {
        Self { width: words(places), words: Vec::new() }
    }

    /// So many empty rows.
    pub(super) fn empty(places: usize, rows: usize) -> Self {
        Self { width: words(places), words: vec![0; words(places) * rows] }
    }

    pub(super) fn push(&mut self, set: &Set) {
        self.words.extend_from_slice(&set.0);
    }

    /// A copy of a row.
    pub(super) fn row(&self, row: u32) -> Set {
        let at = row as usize * self.width;
        Set(self.words[at..at + self.width].to_vec())
    }

    pub(super) fn put(&mut self, row: u32, set: &Set) {
        let at = row as usize * self.width;
        self.words[at..at + self.width].copy_from_slice(&set.0);
    }

    pub(super) fn has(&self, row: u32, place: usize) -> bool {
        self.words[row as usize * self.width + place / 64] & (1 << (place % 64)) != 0
    }

    /// Puts a place into a row; false if it was there.
    pub(super) fn insert(&mut self, row: u32, place: usize) -> bool {
        let word = &mut self.words[row as usize * self.width + place / 64];
        let before = *word;
        *word |= 1 << (place % 64);
        *word != before
    }
}
