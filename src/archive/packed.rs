//! A list that takes a few bytes an entry: each is written as what it differs by from the one before, and marks stand before at most
//! every 64th, from which unpacking begins.
//!
//! What an entry is, and what a mark must say for the first one behind it to be found, is its users' business: `frames` and `trail`.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Entries behind one mark.
const STRIDE: u32 = 64;
/// Most bytes of one entry: three numbers take 25.
const MOST: usize = 32;

/// The list, with marks of this kind.
#[derive(Debug)]
pub(super) struct Packed<M> {
    marks: Vec<Marked<M>>,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Marked<M> {
    mark: M,
    /// Where its entries begin in the bytes, and how many there are.
    at: usize,
    count: u32,
}

impl<M> Default for Packed<M> {
    fn default() -> Self {
        Self { marks: Vec::new(), bytes: Vec::new() }
    }
}

impl<M> Packed<M> {
    /// The last mark, if one more entry fits behind it.
    pub(super) fn open(&mut self) -> Option<&mut M> {
        self.marks.last_mut().filter(|last| last.count < STRIDE).map(|last| &mut last.mark)
    }

    /// Puts a mark before the next entry.
    pub(super) fn mark(&mut self, mark: M) {
        self.marks.push(Marked { mark, at: self.bytes.len(), count: 0 });
    }

    /// One more entry, behind the last mark; there must be one.
    pub(super) fn push(&mut self, entry: &impl Serialize) {
        let mut room = [0; MOST];
        if let (Some(last), Ok(bytes)) = (self.marks.last_mut(), postcard::to_slice(entry, &mut room)) {
            last.count += 1;
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// How many marks there are.
    pub(super) fn len(&self) -> usize {
        self.marks.len()
    }

    /// A mark.
    pub(super) fn get(&self, at: usize) -> Option<&M> {
        self.marks.get(at).map(|marked| &marked.mark)
    }

    /// How many marks come first for which this holds.
    pub(super) fn partition_point(&self, holds: impl Fn(&M) -> bool) -> usize {
        self.marks.partition_point(|marked| holds(&marked.mark))
    }

    /// The entries behind a mark, each with where its bytes end.
    pub(super) fn behind<T: DeserializeOwned>(&self, mark: usize) -> impl Iterator<Item = (T, usize)> + '_ {
        let (at, count) = self.marks.get(mark).map_or((0, 0), |marked| (marked.at, marked.count));
        let mut bytes = self.bytes.get(at..).unwrap_or_default();
        (0..count).map_while(move |_| {
            let (entry, rest) = postcard::take_from_bytes(bytes).ok()?;
            bytes = rest;
            Some((entry, self.bytes.len() - bytes.len()))
        })
    }

    /// Overwrites the last bytes of the entry that ends there.
    pub(super) fn overwrite(&mut self, end: usize, with: &[u8]) {
        if let Some(bytes) = end.checked_sub(with.len()).and_then(|start| self.bytes.get_mut(start..end)) {
            bytes.copy_from_slice(with);
        }
    }

    /// Bytes that the entries take.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }
}
