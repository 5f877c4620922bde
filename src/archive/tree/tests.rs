//! The tree against public vectors, against another implementation, and against every changed bit.

use proptest::prelude::*;
use tlog_tiles::tlog;

use super::*;

/// The eight leaves of the public test vectors.
const LEAVES: [&[u8]; 8] = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    b"\x50\x51\x52\x53\x54\x55\x56\x57",
    b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
];

/// The roots over the first one, two, … of them.
const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

/// Nodes that the published paths are made of.
const L0: &str = ROOTS[0];
const L1: &str = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7";
const N23: &str = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e";
const L4: &str = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b";
const N45: &str = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a";
const N67: &str = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0";
const N47: &str = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4";

fn no_tile(_: u64) -> Result<Vec<Digest>, Error> {
    Err(Error::Corrupt("no tile is full"))
}

fn standard() -> (Tree, Vec<Digest>) {
    let leaves: Vec<Digest> = LEAVES.iter().map(|leaf| hash_leaf(&[leaf])).collect();
    let mut tree = Tree::default();
    for leaf in &leaves {
        assert_eq!(tree.push(*leaf), None);
    }
    (tree, leaves)
}

fn hex(path: &[Digest]) -> Vec<String> {
    path.iter().map(Digest::hex).collect()
}

#[test]
fn roots_agree_with_the_public_vectors() {
    let (tree, _) = standard();
    assert_eq!(
        Tree::default().root().hex(),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    for (size, root) in (1..).zip(ROOTS) {
        assert_eq!(tree.root_at(size, no_tile).unwrap().hex(), root);
    }
    assert_eq!(tree.root().hex(), ROOTS[7]);
    assert!(tree.root_at(9, no_tile).is_err());
}

#[test]
fn paths_agree_with_the_public_vectors() {
    let (tree, leaves) = standard();
    let inclusion: [(u64, u64, &[&str]); 5] = [
        (0, 1, &[]),
        (0, 8, &[L1, N23, N47]),
        (5, 8, &[L4, N67, ROOTS[3]]),
        (2, 3, &[ROOTS[1]]),
        (1, 5, &[L0, N23, L4]),
    ];
    for (index, size, expected) in inclusion {
        let path = tree.inclusion(index, size, no_tile).unwrap();
        assert_eq!(hex(&path), expected, "leaf {index} of {size}");
        let (leaf, root) = (leaves[index as usize], tree.root_at(size, no_tile).unwrap());
        assert!(is_included(leaf, index, size, &path, root));
    }
    let consistency: [(u64, u64, &[&str]); 4] =
        [(1, 1, &[]), (1, 8, &[L1, N23, N47]), (6, 8, &[N45, N67, ROOTS[3]]), (2, 5, &[N23, L4])];
    for (old, size, expected) in consistency {
        let path = tree.consistency(old, size, no_tile).unwrap();
        assert_eq!(hex(&path), expected, "from {old} to {size}");
        let head = |size| Head { size, root: tree.root_at(size, no_tile).unwrap() };
        assert!(is_consistent(head(old), head(size), &path));
    }
    assert!(tree.inclusion(8, 8, no_tile).is_err() && tree.consistency(8, 7, no_tile).is_err());
}

/// All hashes that the other implementation stores, by its own numbering.
struct Stored(Vec<tlog::Hash>);

impl tlog::HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog::Hash>, tlog::Error> {
        Ok(indexes.iter().map(|at| self.0[*at as usize]).collect())
    }
}

/// A tree of ours and one of theirs over the same leaves, numbered from 0.
fn grown(size: u64) -> (Tree, Vec<Digest>, Stored) {
    let (mut tree, mut leaves, mut stored) = (Tree::default(), Vec::new(), Stored(Vec::new()));
    for number in 0..size {
        let leaf = hash_leaf(&[&number.to_be_bytes()]);
        assert_eq!(tree.push(leaf).is_some(), (number + 1) % TILE == 0);
        leaves.push(leaf);
        let more = tlog::stored_hashes(number, &number.to_be_bytes(), &stored).unwrap();
        stored.0.extend(more);
    }
    (tree, leaves, stored)
}

fn theirs(path: &[Digest]) -> Vec<tlog::Hash> {
    path.iter().map(|node| tlog::Hash(node.0)).collect()
}

#[test]
fn a_frontier_has_the_roots_of_the_tree() {
    let (tree, leaves, _) = grown(300);
    let tile = |tile: u64| Ok(leaves[tile as usize * 256..][..256].to_vec());
    let mut frontier = Frontier::default();
    for (size, leaf) in (0..).zip(&leaves) {
        assert_eq!(frontier.head(), Head { size, root: tree.root_at(size, tile).unwrap() });
        frontier.push(*leaf);
    }
}

#[test]
fn a_tree_can_be_put_aside_and_taken_up() {
    let (tree, leaves, _) = grown(700);
    let again = Tree::restore(tree.tiles().to_vec(), tree.partial().to_vec()).unwrap();
    assert_eq!((again.size(), again.root()), (700, tree.root()));
    assert!(Tree::restore(Vec::new(), leaves[..256].to_vec()).is_err());
}

#[test]
fn leaves_that_do_not_make_the_tile_are_not_believed() {
    let (tree, leaves, _) = grown(600);
    let tile = |tile: u64| leaves[tile as usize * 256..][..256].to_vec();
    assert!(tree.inclusion(300, 600, |at| Ok(tile(at))).is_ok());
    let changed = |at| {
        let mut leaves = tile(at);
        leaves.swap(1, 2);
        Ok(leaves)
    };
    assert!(matches!(tree.inclusion(300, 600, changed), Err(Error::Corrupt(_))));
    assert!(matches!(tree.inclusion(300, 600, |at| Ok(tile(at)[..255].to_vec())), Err(Error::Corrupt(_))));
}

/// A digest with one bit changed.
fn bent(digest: Digest, bit: u8) -> Digest {
    let mut bytes = digest.0;
    bytes[usize::from(bit / 8)] ^= 1 << (bit % 8);
    Digest(bytes)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn proofs_hold_are_the_same_as_anothers_and_break_with_any_bit(
        total in 1_u64..1_600, a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>(),
        bit in any::<u8>(), which in any::<prop::sample::Index>(),
    ) {
        let (tree, leaves, stored) = grown(total);
        let tile = |tile: u64| Ok(leaves[tile as usize * 256..][..256].to_vec());
        let size = 1 + a.index(total as usize) as u64;
        let index = b.index(size as usize) as u64;
        let root = tree.root_at(size, tile).unwrap();
        prop_assert_eq!(root, root_of(&leaves[..size as usize]));
        prop_assert_eq!(root.0, tlog::tree_hash(size, &stored).unwrap().0);
        prop_assert_eq!(tree.root(), root_of(&leaves));

        let path = tree.inclusion(index, size, tile).unwrap();
        let leaf = leaves[index as usize];
        prop_assert!(is_included(leaf, index, size, &path, root));
        prop_assert_eq!(theirs(&path), tlog::prove_record(size, index, &stored).unwrap());
        prop_assert!(!is_included(bent(leaf, bit), index, size, &path, root));
        prop_assert!(!is_included(leaf, index, size, &path, bent(root, bit)));
        prop_assert!(!is_included(leaf, size, size, &path, root));
        if !path.is_empty() {
            let at = which.index(path.len());
            let mut wrong = path.clone();
            wrong[at] = bent(wrong[at], bit);
            prop_assert!(!is_included(leaf, index, size, &wrong, root));
            prop_assert!(!is_included(leaf, index, size, &path[1..], root));
            prop_assert!(!is_included(leaf, index ^ 1, size, &path, root));
        }
        let longer: Vec<Digest> = path.iter().copied().chain([root]).collect();
        prop_assert!(!is_included(leaf, index, size, &longer, root));

        let old = Head { size: index + 1, root: tree.root_at(index + 1, tile).unwrap() };
        let new = Head { size, root };
        let path = tree.consistency(old.size, size, tile).unwrap();
        prop_assert!(is_consistent(old, new, &path));
        if old.size < size {
            prop_assert_eq!(theirs(&path), tlog::prove_tree(size, old.size, &stored).unwrap());
        }
        let other = |head: Head| Head { root: bent(head.root, bit), ..head };
        prop_assert!(!is_consistent(other(old), new, &path));
        prop_assert!(!is_consistent(old, other(new), &path));
        let longer: Vec<Digest> = path.iter().copied().chain([root]).collect();
        prop_assert!(!is_consistent(old, new, &longer));
        if !path.is_empty() {
            let at = which.index(path.len());
            let mut wrong = path.clone();
            wrong[at] = bent(wrong[at], bit);
            prop_assert!(!is_consistent(old, new, &wrong));
            prop_assert!(!is_consistent(old, new, &path[1..]));
        }
    }
}

#[test]
fn the_empty_tree_begins_every_tree_and_needs_no_path() {
    let empty = Head { size: 0, root: root_of(&[]) };
    let (tree, leaves) = standard();
    let full = Head { size: 8, root: tree.root() };
    assert!(is_consistent(empty, full, &[]) && is_consistent(empty, empty, &[]));
    assert!(!is_consistent(empty, full, &[leaves[0]]));
    assert!(!is_consistent(Head { root: leaves[0], ..empty }, full, &[]));
    assert!(!is_consistent(full, empty, &[]));
}
