//! Random numbers that are the same on every machine: one generator, integers and shares only.
//!
//! No function here uses a float that a processor may round in its own way, and none depends on the width of `usize`.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// A stream of random numbers.
pub(in crate::sim) struct Dice(ChaCha8Rng);

impl Dice {
    /// The numbers of a seed; each `stream` is independent of the others, so that asking one more here changes nothing
    /// there.
    pub(in crate::sim) fn new(seed: u64, stream: u64) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(stream);
        Self(generator)
    }

    /// From 0 up to but not including `end`, which must not be 0.
    pub(in crate::sim) fn below(&mut self, end: usize) -> usize {
        let end = u32::try_from(end).unwrap_or(u32::MAX);
        self.0.gen_range(0..end) as usize
    }

    /// From `least` to `most`.
    pub(in crate::sim) fn between(&mut self, least: u32, most: u32) -> u32 {
        self.0.gen_range(least..=most.max(least))
    }

    /// From 0 up to but not including 1.
    pub(in crate::sim) fn share(&mut self) -> f64 {
        self.0.r#gen()
    }

    /// True with this probability.
    pub(in crate::sim) fn chance(&mut self, probability: f64) -> bool {
        self.share() < probability
    }

    /// Any bits.
    pub(in crate::sim) fn bits(&mut self) -> u64 {
        self.0.r#gen()
    }

    /// One of these; there must be one.
    pub(in crate::sim) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// Up to `count` different ones of these, in their order.
    pub(in crate::sim) fn some<'a, T>(&mut self, count: usize, of: &'a [T]) -> Vec<&'a T> {
        let mut left = count.min(of.len());
        let mut found = Vec::with_capacity(left);
        for (at, item) in of.iter().enumerate() {
            if left == 0 {
                break;
            }
            if self.below(of.len() - at) < left {
                found.push(item);
                left -= 1;
            }
        }
        found
    }

    /// A place in a list of weights, of which one must be positive.
    pub(in crate::sim) fn weighted(&mut self, weights: &[f64]) -> usize {
        let mut left = self.share() * weights.iter().sum::<f64>();
        for (at, weight) in weights.iter().enumerate() {
            if left < *weight {
                return at;
            }
            left -= weight;
        }
        weights.iter().rposition(|weight| *weight > 0.0).unwrap_or_default()
    }

    /// The same things in another order.
    pub(in crate::sim) fn shuffle<T>(&mut self, things: &mut [T]) {
        for at in (1..things.len()).rev() {
            things.swap(at, self.below(at + 1));
        }
    }
}
