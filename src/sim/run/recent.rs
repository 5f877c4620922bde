//! A set that forgets its oldest members: what a desk knows again of things that are over.

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;

/// Members that are known again: more than a broker that takes over tells once more.
const MOST: usize = 100_000;

/// The latest of something.
#[derive(Debug)]
pub struct Recent<T> {
    known: HashSet<T>,
    by_age: VecDeque<T>,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { known: HashSet::new(), by_age: VecDeque::new() }
    }
}

impl<T: Clone + Eq + Hash> Recent<T> {
    /// True if it was noted, not too long ago.
    pub fn has(&self, one: &T) -> bool {
        self.known.contains(one)
    }

    /// Notes one; false if it is known.
    pub fn note(&mut self, one: T) -> bool {
        if !self.known.insert(one.clone()) {
            return false;
        }
        self.by_age.push_back(one);
        if self.by_age.len() > MOST
            && let Some(oldest) = self.by_age.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut recent = Recent::default();
        assert!((0..=MOST).all(|one| recent.note(one)));
        assert!(!recent.has(&0) && recent.has(&1) && recent.has(&MOST));
        assert!(!recent.note(1) && recent.note(0));
    }
}
