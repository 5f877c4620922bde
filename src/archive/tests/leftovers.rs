//! What is left beside an archive by crashes, failed syncs and rebuilding: nothing of it opens what was erased.

use super::*;

const NAME: &[u8] = b"Invented-Other-Name";

fn personal(n: u64, seal: bool) -> Draft {
    let payload = [b"{\"name\":\"".as_slice(), NAME, format!("\",\"n\":{n}}}").as_bytes()].concat();
    Draft { digest: Digest::of(&payload), payload, seal, ..draft(n) }
}

fn order(n: u64, target: u64) -> Draft {
    let act = Act::Erase { ground: Ground::Unlawful, due_ms: 0, attest: false };
    Draft { effects: vec![Effect { target, act }], ..draft(n) }
}

/// The live seeds in a key file, by slot.
fn seeds(directory: &Path, file: &str) -> BTreeMap<usize, Vec<u8>> {
    let bytes = std::fs::read(directory.join("keys").join(file)).expect("a key file");
    let slots = bytes.chunks(64).skip(1).enumerate();
    slots.filter(|(_, slot)| slot[0] == 1).map(|(at, slot)| (at, slot[24..56].to_vec())).collect()
}

fn segment(directory: &Path) -> std::path::PathBuf {
    directory.join("journal/seg-00000000000000000001.liaj")
}

fn tear(directory: &Path) {
    let file = std::fs::OpenOptions::new().write(true).open(segment(directory)).expect("opens");
    let len = file.metadata().expect("reads").len();
    file.set_len(len - 1).expect("cuts");
}

fn torn_files(directory: &Path) -> usize {
    let files = std::fs::read_dir(directory.join("journal")).expect("lists").flatten();
    files.filter(|file| file.path().extension().is_some_and(|ending| ending == "torn")).count()
}

fn slot_of(archive: &Archive, seq: u64) -> Option<u64> {
    archive.reader().get(seq).expect("reads").expect("there").body.slot()
}

/// Its frame is torn and its message comes again under another key: the first key must not stay, nor the torn frame after an erasure.
#[test]
fn a_torn_frame_keeps_no_key_and_no_copy_of_what_is_erased() {
    for seal in [true, false] {
        let directory = tempfile::tempdir().expect("temp dir");
        let path = directory.path();
        let (mut archive, _) = open(path);
        fill(&mut archive, 1, 5, 5);
        archive.commit(vec![personal(6, seal)]).expect("commits");
        let kept = slot_of(&archive, 5).expect("sealed");
        kill(archive);
        tear(path);
        let (mut archive, recovery) = open(path);
        assert!(recovery.cut_bytes > 0 && torn_files(path) == 1, "{recovery:?}");
        let left: Vec<usize> = seeds(path, "messages.liak").into_keys().collect();
        assert_eq!(left, [usize::try_from(kept).expect("small")], "what is kept keeps its key");
        // It comes again, and is erased.
        archive.commit(vec![personal(6, seal)]).expect("commits");
        assert_eq!(slot_of(&archive, 6), seal.then_some(kept + 2), "a slot is never used twice");
        archive.commit(vec![order(7, 6)]).expect("commits");
        assert_eq!(archive.erase_ordered().expect("erases"), 1);
        assert_eq!((seeds(path, "messages.liak").len(), torn_files(path)), (1, 0), "{seal}");
        kill(archive);
        let (archive, recovery) = open(path);
        assert!(recovery.why.is_empty(), "{recovery:?}");
        assert_eq!(content(&archive.reader(), &archive.reader().get(5).unwrap().unwrap()), draft(5).payload);
    }
}

/// A crash between the cut and the overwriting of keys leaves the file by which the next start knows.
#[test]
fn the_start_after_the_one_that_cut_overwrites_keys_too() {
    let directory = tempfile::tempdir().expect("temp dir");
    let path = directory.path();
    let (mut archive, _) = open(path);
    archive.commit(vec![personal(1, true)]).expect("commits");
    kill(archive);
    let before = std::fs::read(path.join("keys/messages.liak")).expect("reads");
    tear(path);
    kill(open(path).0);
    std::fs::write(path.join("keys/messages.liak"), before).expect("as before the cut");
    kill(open(path).0);
    assert_eq!(seeds(path, "messages.liak").len(), 0);
}

/// Who follows was given a seed before its frame, and the frame was torn here: both come again.
#[test]
fn a_seed_that_was_emptied_is_put_again_by_who_follows() {
    let (here, there) = (tempfile::tempdir().expect("temp dir"), tempfile::tempdir().expect("temp dir"));
    let ((mut holder, _), (mut other, _)) = (open(here.path()), open(there.path()));
    let prepared = holder.prepare(vec![personal(1, true)]).expect("made");
    let seeds_of = holder.seeds_of(&prepared).expect("reads");
    let frame = prepared.bytes().to_vec();
    let give = |other: &mut Archive| {
        seeds_of.iter().for_each(|seed| other.take_seed(seed.slot, &seed.bytes).expect("taken"));
        other.follow(frame.clone()).expect("followed");
    };
    give(&mut other);
    kill(other);
    tear(there.path());
    let (mut other, _) = open(there.path());
    assert_eq!(seeds(there.path(), "messages.liak").len(), 0);
    give(&mut other);
    let record = other.reader().get(1).expect("reads").expect("there");
    assert_eq!(content(&other.reader(), &record), personal(1, true).payload);
}

/// The journal as it was before the last segment's second half: sled knows more than it.
fn behind(directory: &Path) -> Vec<u8> {
    let (mut archive, _) = open(directory);
    fill(&mut archive, 1, 100, 50);
    let short = std::fs::read(segment(directory)).expect("reads");
    fill(&mut archive, 101, 600, 50);
    archive.close().expect("closes");
    std::fs::remove_file(directory.join("journal/HEAD")).expect("removes");
    std::fs::write(segment(directory), short).expect("writes");
    std::fs::read(directory.join("keys/blocks.liak")).expect("reads")
}

#[test]
fn rebuilding_refuses_while_sled_has_what_the_journal_lacks() {
    let directory = tempfile::tempdir().expect("temp dir");
    let keys = behind(directory.path());
    for _ in 0..2 {
        match Archive::rebuild(directory.path(), &root()) {
            Err(Error::Behind { journal: 100, sled, .. }) => assert!(sled >= 512, "{sled}"),
            other => panic!("must be refused: {other:?}"),
        }
        assert_eq!(std::fs::read(directory.path().join("keys/blocks.liak")).expect("reads"), keys);
        assert!(directory.path().join("sled/db").exists() && !directory.path().join("sled.damaged").exists());
    }
}

#[test]
fn a_store_that_is_moved_aside_keeps_no_key_of_its_blocks() {
    for missing in [false, true] {
        let directory = tempfile::tempdir().expect("temp dir");
        let path = directory.path();
        let (mut archive, _) = open(path);
        archive.commit(vec![personal(1, false)]).expect("commits");
        fill(&mut archive, 2, 600, 50);
        archive.close().expect("closes");
        let before = seeds(path, "blocks.liak");
        assert!(!before.is_empty());
        if missing {
            std::fs::rename(path.join("sled"), path.join("elsewhere")).expect("moved away");
        }
        let recovery = Archive::rebuild(path, &root()).expect("rebuilds");
        assert!(recovery.rebuilt, "{recovery:?}");
        assert!(path.join("sled.damaged").exists());
        let after = seeds(path, "blocks.liak");
        assert!(before.values().all(|seed| !after.values().any(|other| other == seed)), "{missing}");
        assert_eq!(after.len(), before.len(), "the new store has its own");
        let (archive, recovery) = open(path);
        assert!(!recovery.rebuilt, "{recovery:?}");
        assert_eq!(
            content(&archive.reader(), &archive.reader().get(1).unwrap().unwrap()),
            personal(1, false).payload
        );
    }
}

/// Blocks whose old key stayed: a crash came before it was destroyed, or which it was cannot be read.
#[test]
fn the_old_key_of_a_block_goes_also_after_a_crash_and_when_nobody_knows_it() {
    for spoiled in [false, true] {
        let directory = tempfile::tempdir().expect("temp dir");
        let path = directory.path();
        let (mut archive, _) = open(path);
        archive.commit(vec![personal(1, false)]).expect("commits");
        fill(&mut archive, 2, 600, 50);
        archive.sealer.settle().expect("seals");
        let before = seeds(path, "blocks.liak");
        if spoiled {
            archive.reader.store.spoil_bodies(1);
        }
        archive.commit(vec![order(601, 1)]).expect("commits");
        assert_eq!(archive.erase_ordered().expect("erases"), 1);
        if !spoiled {
            // As if the process had ended before the old key was overwritten.
            archive.close().expect("closes");
            std::fs::remove_file(path.join("erased-upto")).expect("removes");
            let mut bytes = std::fs::read(path.join("keys/blocks.liak")).expect("reads");
            let old = archive_slot(&before[&0]);
            bytes[64..128].copy_from_slice(&old);
            std::fs::write(path.join("keys/blocks.liak"), bytes).expect("writes");
            assert!(seeds(path, "blocks.liak").contains_key(&0));
            archive = open(path).0;
        }
        let after = seeds(path, "blocks.liak");
        assert!(!after.values().any(|seed| *seed == before[&0]), "{spoiled}: {after:?}");
        assert_eq!(after.get(&1), before.get(&1), "the other block keeps its key");
        assert_eq!(archive.reader().open(&archive.reader().get(1).unwrap().unwrap()).unwrap(), Opened::Gone);
    }
}

/// A live slot with this seed, as the key file writes it for the first block.
fn archive_slot(seed: &[u8]) -> [u8; 64] {
    let mut bytes = [0; 64];
    bytes[0] = 1;
    bytes[8..16].copy_from_slice(&1_u64.to_le_bytes());
    bytes[24..56].copy_from_slice(seed);
    let sum = crc32fast::hash(&bytes).to_le_bytes();
    bytes[4..8].copy_from_slice(&sum);
    bytes
}

/// With the digest alone one could try out what was guessed.
#[test]
fn no_zone_tells_the_digest_of_a_sealed_message_that_is_released() {
    let directory = tempfile::tempdir().expect("temp dir");
    let (mut archive, _) = open(directory.path());
    archive.commit(vec![personal(1, true), draft(2)]).expect("commits");
    let release = |n: u64, of: &Draft, target: u64| {
        let to = vec![Entry { party: party("es-pn"), why: Why::Named }];
        let act = Act::Release { digest: of.digest, sealed: of.seal, to, withheld: Vec::new() };
        Draft { effects: vec![Effect { target, act }], ..draft(n) }
    };
    archive.commit(vec![release(3, &personal(1, true), 1), release(4, &draft(2), 2)]).expect("commits");
    fill(&mut archive, 5, 300, 50);
    archive.sealer.settle().expect("seals");
    let zone = archive.reader.store.zone(1).expect("a zone");
    let told: Vec<Digest> = zone
        .effects
        .iter()
        .filter_map(|(_, effect)| match effect.act {
            Act::Release { digest, .. } => Some(digest),
            _ => None,
        })
        .collect();
    assert_eq!(told, [Digest::default(), draft(2).digest]);
    archive.close().expect("closes");
    let (archive, _) = open(directory.path());
    assert_eq!(archive.reader().fate(1).released_to[0].party, party("es-pn"));
    let feed = archive.reader().feed(&party("es-pn"), 0, 10, usize::MAX).expect("reads");
    let digests: Vec<Digest> = feed.iter().map(|item| item.record.digest).collect();
    assert_eq!(digests, [personal(1, true).digest, draft(2).digest]);
    let mut running = Digest::default();
    digests.iter().for_each(|digest| running = running.feed(*digest));
    assert_eq!(feed[1].feed_digest, running);
}
