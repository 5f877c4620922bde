//! What is ordered to be erased is gone from every file, and everything else stands as it was.

use super::*;

const CANARY: &[u8] = b"Invented-Canary-Name";

/// A message whose content holds the canary, and that of every second one its signature too; sealed or plain.
fn personal(n: u64, seal: bool) -> Draft {
    let payload = [b"{\"name\":\"".as_slice(), CANARY, format!("\",\"n\":{n}}}").as_bytes()].concat();
    let signature = n.is_multiple_of(2).then(|| format!("e30..{}", String::from_utf8_lossy(CANARY)));
    Draft { digest: Digest::of(&payload), payload, signature, seal, ..draft(n) }
}

/// An order to erase these.
fn order(n: u64, targets: &[u64]) -> Draft {
    let act = Act::Erase { ground: Ground::Unlawful, due_ms: 0, attest: false };
    let effects = targets.iter().map(|target| Effect { target: *target, act: act.clone() }).collect();
    Draft { effects, ..draft(n) }
}

/// Every byte string that can be read out of an archive without keys, unpacked.
fn unpacked(directory: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let found: journal::Found = journal::walk(&directory.join("journal")).expect("walks");
    for place in &found.places {
        bytes.extend_from_slice(journal::read(&found.segments, place).expect("reads").raw());
    }
    bytes
}

fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|part| part == needle)
}

/// The seeds in a key file, live ones only.
fn seeds(file: &Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(file).expect("a key file");
    bytes.chunks(64).skip(1).filter(|slot| slot[0] == 1).map(|slot| slot[24..56].to_vec()).collect()
}

#[test]
fn erased_content_is_in_no_frame_and_its_keys_in_no_file() {
    for (seal, behind) in [(false, 3), (false, 600), (true, 3), (true, 600)] {
        let directory = tempfile::tempdir().expect("temp dir");
        let (mut archive, _) = open(directory.path());
        fill(&mut archive, 1, 10, 5);
        archive.commit(vec![draft(11), personal(12, seal), draft(13)]).expect("commits");
        fill(&mut archive, 14, 13 + behind, 7);
        let reader = archive.reader();
        let record = reader.get(12).expect("reads").expect("there");
        assert!(holds(&content(&reader, &record), CANARY));
        let root_before = reader.tree().root();
        let [messages, blocks] =
            ["messages.liak", "blocks.liak"].map(|name| directory.path().join("keys").join(name));
        let before = [seeds(&messages), seeds(&blocks)];
        archive.commit(vec![order(14 + behind, &[12])]).expect("commits");
        assert_eq!(archive.erase_ordered().expect("erases"), 1);
        assert_eq!(archive.erase_ordered().expect("nothing left"), 0);

        let record = reader.get(12).expect("reads").expect("its head stays");
        assert_eq!(reader.open(&record).expect("opens"), Opened::Gone);
        assert!(reader.is_gone(&record).expect("reads"));
        assert_eq!(reader.withdrawn(&record, 0), Some(Withdrawn::Erased(14 + behind)));
        assert!(!holds(&unpacked(directory.path()), CANARY), "in a frame");
        let after = [seeds(&messages), seeds(&blocks)];
        // A sealed message loses its key; a block with a plain one is sealed anew and loses the old key.
        let lost = |at: usize| before[at].iter().filter(|seed| !after[at].contains(seed)).count();
        let in_block = usize::from(behind > 256);
        assert_eq!([lost(0), lost(1)], if seal { [1, 0] } else { [0, in_block] });
        let key_bytes = std::fs::read(&messages).expect("reads");
        let gone = before[0].iter().find(|seed| !after[0].contains(seed));
        assert!(gone.is_none_or(|seed| !holds(&key_bytes, seed)), "overwritten in place");

        // What waited for its block when the order came is sealed without it.
        fill(&mut archive, 15 + behind, 320 + behind, 40);
        archive.sealer.settle().expect("seals");
        let record = reader.get(12).expect("reads").expect("its head stays");
        assert_eq!(reader.open(&record).expect("opens"), Opened::Gone);

        // Proofs hold: the same leaves, and the next tree begins with the old one.
        let mut again = tree::Tree::default();
        for leaf in reader.leaves(1, 13 + behind).expect("reads") {
            again.push(leaf);
        }
        assert_eq!(again.root(), root_before);
        archive.close().expect("closes");
        std::fs::remove_dir_all(directory.path().join("sled")).expect("removes");
        let (archive, recovery) = open(directory.path());
        assert!(recovery.rebuilt);
        let record = archive.reader().get(12).expect("reads").expect("its head stays");
        assert_eq!(archive.reader().open(&record).expect("opens"), Opened::Gone);
        assert_eq!(record.digest, personal(12, seal).digest, "the running digests of feeds still recompute");
    }
}

#[test]
fn an_order_that_a_crash_came_before_is_carried_out_at_the_next_start() {
    let directory = tempfile::tempdir().expect("temp dir");
    let (mut archive, _) = open(directory.path());
    archive.commit(vec![personal(1, false), personal(2, true)]).expect("commits");
    fill(&mut archive, 3, 300, 50);
    archive.commit(vec![order(301, &[1, 2])]).expect("commits");
    kill(archive);
    let (archive, recovery) = open(directory.path());
    assert!(recovery.why.iter().any(|why| why.starts_with("2 messages")), "{recovery:?}");
    assert!(!holds(&unpacked(directory.path()), CANARY));
    for seq in [1, 2] {
        let record = archive.reader().get(seq).expect("reads").expect("there");
        assert_eq!(archive.reader().open(&record).expect("opens"), Opened::Gone);
    }
}

#[test]
fn a_frame_that_was_half_written_anew_is_finished() {
    let directory = tempfile::tempdir().expect("temp dir");
    let (mut archive, _) = open(directory.path());
    fill(&mut archive, 1, 4, 4);
    archive.commit(vec![draft(5), personal(6, false)]).expect("commits");
    archive.close().expect("closes");
    let journal = directory.path().join("journal");
    let found: journal::Found = journal::walk(&journal).expect("walks");
    let place = found.places.last().expect("frames");
    let segment = &found.segments[place.segment];
    let before = std::fs::read(segment).expect("reads");
    redact::redact(&found.segments, place, &[1]).expect("redacts");
    let after = std::fs::read(segment).expect("reads");
    assert_eq!(before.len(), after.len(), "nothing moves");
    // A crash at every byte of the frame: half of the new bytes, half of the old ones.
    let offset = usize::try_from(place.offset).expect("64 bit");
    for cut in (offset..after.len()).step_by(7) {
        let torn = [&after[..cut], &before[cut..]].concat();
        std::fs::write(segment, torn).expect("writes");
        let sum = crc32fast::hash(&after[offset..]).to_le_bytes();
        let aside = segment.with_extension(format!("{offset}.anew"));
        std::fs::write(&aside, [sum.as_slice(), &after[offset..]].concat()).expect("writes");
        redact::finish(&journal).expect("finishes");
        assert_eq!(std::fs::read(segment).expect("reads"), after);
        assert!(!aside.exists());
    }
    // Only half of the file aside: the frame was not touched yet.
    std::fs::write(segment, &before).expect("writes");
    std::fs::write(segment.with_extension(format!("{offset}.anew")), &after[offset..offset + 50])
        .expect("writes");
    redact::finish(&journal).expect("finishes");
    assert_eq!(std::fs::read(segment).expect("reads"), before);
}

#[test]
fn keys_that_are_missing_or_of_another_archive_are_refused() {
    let directory = tempfile::tempdir().expect("temp dir");
    let (mut archive, _) = open(directory.path());
    archive.commit(vec![personal(1, true), personal(2, true)]).expect("commits");
    archive.close().expect("closes");
    let keys = directory.path().join("keys/messages.liak");
    let whole = std::fs::read(&keys).expect("reads");
    let refused = |bytes: Option<&[u8]>, root: &RootKey| {
        std::fs::remove_file(&keys).expect("removes");
        if let Some(bytes) = bytes {
            use std::os::unix::fs::OpenOptionsExt as _;
            let mut file = std::fs::OpenOptions::new()
                .create_new(true)
                .write(true)
                .mode(0o600)
                .open(&keys)
                .expect("opens");
            std::io::Write::write_all(&mut file, bytes).expect("writes");
        }
        match Archive::open(directory.path(), root) {
            Err(Error::Keys(words)) => words,
            other => panic!("must be refused: {other:?}"),
        }
    };
    assert!(refused(Some(&whole[..128]), &root()).contains("fewer keys"));
    assert!(refused(None, &root()).contains("fewer keys"));
    assert!(refused(Some(&whole), &RootKey::random()).contains("another root key"));
    let mut flipped = whole.clone();
    flipped[10] ^= 1;
    assert!(refused(Some(&flipped), &root()).contains("damaged"));
    // Room that a crash left unwritten is no damage.
    std::fs::write(&keys, [whole.as_slice(), &[0; 64]].concat()).expect("writes");
    let (archive, recovery) = open(directory.path());
    assert!(recovery.why.is_empty(), "{recovery:?}");
    archive.close().expect("closes");
    // One damaged key: its message is lost, and that is said; the other is not.
    let mut flipped = whole.clone();
    flipped[64 + 30] ^= 1;
    std::fs::write(&keys, flipped).expect("writes");
    let (archive, recovery) = open(directory.path());
    assert!(recovery.why.iter().any(|why| why.contains("1 message keys are damaged")), "{recovery:?}");
    let reader = archive.reader();
    let [first, second] = [1, 2].map(|seq| reader.get(seq).expect("reads").expect("there"));
    assert_eq!(reader.open(&first).expect("no reason to stop"), Opened::Lost);
    assert!(holds(&content(&reader, &second), CANARY));
}

/// Much alike, the messages of a frame are packed by reference to each other: taking one away may free little room, and the
/// frame must fit into its old place all the same, or no start would ever get past the order.
#[test]
fn any_message_of_a_large_frame_can_be_taken_away() {
    let directory = tempfile::tempdir().expect("temp dir");
    let (mut archive, _) = open(directory.path());
    let alike = |n: u64| {
        let payload =
            format!("{{\"text\":\"an invented report, the same each time, \",\"n\":{n}}}").into_bytes();
        Draft { digest: Digest::of(&payload), payload, seal: false, ..draft(n) }
    };
    archive.commit((1..=512).map(alike).collect()).expect("commits");
    for (at, target) in [1, 2, 256, 511, 512].into_iter().chain(100..140).enumerate() {
        archive.commit(vec![order(513 + at as u64, &[target])]).expect("commits");
        assert_eq!(archive.erase_ordered().expect("erases"), 1, "{target}");
    }
    let report = verify::messages(directory.path(), &verify::Against::default()).expect("reads");
    assert!(report.ok, "{report:?}");
}
