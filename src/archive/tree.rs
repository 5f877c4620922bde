//! The Merkle tree over all records (RFC 6962 section 2.1): what a checkpoint signs and a proof climbs.
//!
//! Kept are one hash for every full 256 leaves (a tile of C2SP tlog-tiles, level 8) and the leaf hashes of the tile that is
//! still filling: a million records are 125 KiB. Leaf hashes of a full tile are asked from the caller when a proof needs
//! them, and are believed only if they make the tile. Nothing here reads a file, signs or knows what a record is.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::Error;
use crate::message::digest::Digest;

/// Leaves in a tile.
pub const TILE: u64 = 256;

/// Hash of a leaf: SHA-256 of 0x00 and what the leaf holds, which may come in parts (RFC 6962 section 2.1).
#[must_use]
pub fn hash_leaf(parts: &[&[u8]]) -> Digest {
    let leaf = parts.iter().fold(Sha256::new().chain_update([0]), Sha256::chain_update);
    Digest(leaf.finalize().into())
}

/// The leaf of a record: its head, with the length before it (u32, little endian), and the commitment to its body.
///
/// # Errors
/// [`Error::Corrupt`]: a head beyond 4 GiB.
pub fn hash_record(head: &[u8], commitment: &Digest) -> Result<Digest, Error> {
    let len = u32::try_from(head.len()).map_err(|_| Error::Corrupt("a record's head beyond 4 GiB"))?;
    Ok(hash_leaf(&[&len.to_le_bytes(), head, &commitment.0]))
}

/// Hash of a node: SHA-256 of 0x01, left and right (RFC 6962 section 2.1).
#[must_use]
pub fn hash_node(left: &Digest, right: &Digest) -> Digest {
    let mut node = [1; 65];
    node[1..33].copy_from_slice(&left.0);
    node[33..].copy_from_slice(&right.0);
    Digest::of(&node)
}

/// Root over these leaf hashes; of none, the hash of nothing.
#[must_use]
pub fn root_of(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => Digest::of(&[]),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            hash_node(&root_of(left), &root_of(right))
        }
    }
}

/// A tree that can only grow and tell its root: one hash for each complete part, `log2` of its size.
#[derive(Debug, Clone, Default)]
pub struct Frontier {
    size: u64,
    parts: Vec<Digest>,
}

impl Frontier {
    /// Puts a leaf hash at the end.
    pub fn push(&mut self, leaf: Digest) {
        let mut node = leaf;
        for _ in 0..self.size.trailing_ones() {
            let Some(left) = self.parts.pop() else { break };
            node = hash_node(&left, &node);
        }
        self.parts.push(node);
        self.size += 1;
    }

    /// Number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Size and root.
    #[must_use]
    pub fn head(&self) -> Head {
        let joined = self.parts.iter().rev().copied().reduce(|right, left| hash_node(&left, &right));
        Head { size: self.size, root: joined.unwrap_or_else(|| root_of(&[])) }
    }
}

/// The tree, append only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    /// The node over each full tile.
    tiles: Vec<Digest>,
    /// Leaf hashes behind the last full tile; fewer than [`TILE`].
    partial: Vec<Digest>,
}

impl Tree {
    /// A tree from what [`Tree::tiles`] and [`Tree::partial`] gave.
    ///
    /// # Errors
    /// [`Error::Corrupt`]: more leaves than a tile that is not full has.
    pub fn restore(tiles: Vec<Digest>, partial: Vec<Digest>) -> Result<Self, Error> {
        if partial.len() as u64 >= TILE {
            return Err(Error::Corrupt("a full tile among the leaves of a tree"));
        }
        Ok(Self { tiles, partial })
    }

    /// Puts a leaf hash at the end. Gives the node over the tile if that made one full.
    pub fn push(&mut self, leaf: Digest) -> Option<Digest> {
        self.partial.push(leaf);
        if (self.partial.len() as u64) < TILE {
            return None;
        }
        let node = root_of(&self.partial);
        self.partial.clear();
        self.tiles.push(node);
        Some(node)
    }

    /// Number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.tiles.len() as u64 * TILE + self.partial.len() as u64
    }

    /// The nodes over full tiles.
    #[must_use]
    pub fn tiles(&self) -> &[Digest] {
        &self.tiles
    }

    /// The leaf hashes behind the last full tile.
    #[must_use]
    pub fn partial(&self) -> &[Digest] {
        &self.partial
    }

    /// Root over all leaves.
    #[must_use]
    pub fn root(&self) -> Digest {
        if self.size() == 0 {
            return Digest::of(&[]);
        }
        let behind = (!self.partial.is_empty()).then(|| root_of(&self.partial));
        let nodes: Vec<Digest> = self.tiles.iter().copied().chain(behind).collect();
        // The RFC splits at the largest power of two: above the tiles that is the same split over tiles.
        root_of(&nodes)
    }

    /// Root over the first `size` leaves. `leaves` gives the 256 leaf hashes of a full tile by its number.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if there are fewer leaves or `leaves` gives others than the tile was made of; what it fails with.
    pub fn root_at(
        &self,
        size: u64,
        leaves: impl FnMut(u64) -> Result<Vec<Digest>, Error>,
    ) -> Result<Digest, Error> {
        if size == 0 {
            return Ok(Digest::of(&[]));
        }
        self.looking(size, leaves)?.subtree(0, size)
    }

    /// The path from the leaf `index` to the root over the first `size` leaves (RFC 6962 section 2.1.1).
    ///
    /// # Errors
    /// As [`Tree::root_at`]; also if `index` is not below `size`.
    pub fn inclusion(
        &self,
        index: u64,
        size: u64,
        leaves: impl FnMut(u64) -> Result<Vec<Digest>, Error>,
    ) -> Result<Vec<Digest>, Error> {
        if index >= size {
            return Err(Error::Corrupt("a proof of a leaf that the tree does not have"));
        }
        let mut look = self.looking(size, leaves)?;
        let (mut low, mut high, mut path) = (0, size, Vec::new());
        while high - low > 1 {
            let middle = low + split(high - low);
            if index < middle {
                path.push(look.subtree(middle, high)?);
                high = middle;
            } else {
                path.push(look.subtree(low, middle)?);
                low = middle;
            }
        }
        path.reverse();
        Ok(path)
    }

    /// What shows that the first `size` leaves begin with the first `old` ones (RFC 6962 section 2.1.2); empty if `old` is 0
    /// or `size`.
    ///
    /// # Errors
    /// As [`Tree::root_at`]; also if `old` is beyond `size`.
    pub fn consistency(
        &self,
        old: u64,
        size: u64,
        leaves: impl FnMut(u64) -> Result<Vec<Digest>, Error>,
    ) -> Result<Vec<Digest>, Error> {
        if old > size {
            return Err(Error::Corrupt("a proof from a larger tree to a smaller one"));
        }
        let mut look = self.looking(size, leaves)?;
        if old == 0 || old == size {
            return Ok(Vec::new());
        }
        let (mut low, mut high, mut path) = (0, size, Vec::new());
        // Whether everything in low..high was there before and is known as a whole to who knows the old root.
        let mut whole = true;
        while old < high {
            let middle = low + split(high - low);
            if old <= middle {
                path.push(look.subtree(middle, high)?);
                high = middle;
            } else {
                path.push(look.subtree(low, middle)?);
                low = middle;
                whole = false;
            }
        }
        if !whole {
            path.push(look.subtree(low, high)?);
        }
        path.reverse();
        Ok(path)
    }

    fn looking<F>(&self, size: u64, fetch: F) -> Result<Looking<'_, F>, Error> {
        if size > self.size() {
            return Err(Error::Corrupt("the tree has fewer leaves than were asked about"));
        }
        Ok(Looking { tree: self, fetch, seen: BTreeMap::new() })
    }
}

/// The largest power of two below `count`, which is at least 2.
fn split(count: u64) -> u64 {
    count.next_power_of_two() / 2
}

/// One question to the tree; each tile is fetched once.
struct Looking<'a, F> {
    tree: &'a Tree,
    fetch: F,
    seen: BTreeMap<u64, Vec<Digest>>,
}

impl<F: FnMut(u64) -> Result<Vec<Digest>, Error>> Looking<'_, F> {
    /// The node over `low..high`, a range that the RFC's splitting comes upon: in one tile, or beginning at one.
    fn subtree(&mut self, low: u64, high: u64) -> Result<Digest, Error> {
        let (first, last) = (low / TILE, (high - 1) / TILE);
        if first == last {
            if high - low == TILE
                && let Some(node) = usize::try_from(first).ok().and_then(|tile| self.tree.tiles.get(tile))
            {
                return Ok(*node);
            }
            let at = |leaf: u64| usize::try_from(leaf - first * TILE).unwrap_or(usize::MAX);
            let (from, to) = (at(low), at(high));
            let leaves = self.leaves(first)?.get(from..to);
            return leaves.map(root_of).ok_or(Error::Corrupt("a tile without some of its leaves"));
        }
        let middle = low + split(high - low);
        Ok(hash_node(&self.subtree(low, middle)?, &self.subtree(middle, high)?))
    }

    fn leaves(&mut self, tile: u64) -> Result<&[Digest], Error> {
        let Some(node) = usize::try_from(tile).ok().and_then(|tile| self.tree.tiles.get(tile)) else {
            return Ok(&self.tree.partial);
        };
        if let std::collections::btree_map::Entry::Vacant(unseen) = self.seen.entry(tile) {
            let leaves = (self.fetch)(tile)?;
            if leaves.len() as u64 != TILE || root_of(&leaves) != *node {
                return Err(Error::Corrupt("records that are not those that the tree was made of"));
            }
            unseen.insert(leaves);
        }
        Ok(self.seen.get(&tile).map_or(&[], Vec::as_slice))
    }
}

/// Whether `path` leads from `leaf` at `index` to the root of a tree of `size` (RFC 9162 section 2.1.3.2).
#[must_use]
pub fn is_included(leaf: Digest, index: u64, size: u64, path: &[Digest], root: Digest) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut at, mut last) = (leaf, index, size - 1);
    for beside in path {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            node = hash_node(beside, &node);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            node = hash_node(&node, beside);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && node == root
}

/// A size and the root that a tree had then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Number of leaves.
    pub size: u64,
    /// Root over them.
    pub root: Digest,
}

/// Whether `path` shows that the tree of `new` begins with that of `old` (RFC 9162 section 2.1.4.2). An empty tree is the
/// beginning of every tree, and of that there is no path.
#[must_use]
pub fn is_consistent(old: Head, new: Head, path: &[Digest]) -> bool {
    if old.size == 0 || old.size >= new.size {
        let same = if old.size == 0 { old.root == root_of(&[]) } else { old == new };
        let empty = new.size > 0 || new.root == root_of(&[]);
        return path.is_empty() && same && empty;
    }
    let (mut at, mut last) = (old.size - 1, new.size - 1);
    let shift = at.trailing_ones();
    at >>= shift;
    last >>= shift;
    let mut path = path.iter();
    let first = if old.size.is_power_of_two() { Some(&old.root) } else { path.next() };
    let Some(first) = first else { return false };
    let (mut before, mut after) = (*first, *first);
    for beside in path {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            before = hash_node(beside, &before);
            after = hash_node(beside, &after);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            after = hash_node(&after, beside);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && before == old.root && after == new.root
}

#[cfg(test)]
mod tests;
