//! What a crash, a cut and a flipped bit may do to the memory: everything but lose a committed record in silence.

mod erasure;
mod fixture;
mod leftovers;
mod matrix;
mod model;
mod places;
mod replica;
mod sweep;
mod zones;

use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::message::names::{MessageId, TypeId};
use crate::message::outcome::Outcome;
use crate::message::raw::Position;

fn party(id: &str) -> PartyId {
    PartyId::parse(id).expect("well formed")
}

fn id(n: u64) -> MessageId {
    MessageId::parse(&format!("0195c3a1-0001-7000-8000-{n:012x}")).expect("well formed")
}

pub(super) fn draft(n: u64) -> Draft {
    let payload =
        format!("{{\"n\":{n},\"text\":\"an invented report of some length, {}\"}}", n * 7919).into_bytes();
    let to = ["fr-dnpaf", "it-moi", "eu-frontex"];
    let recipients = to.iter().take(1 + n as usize % 3);
    Draft {
        outcome: Outcome::Accepted,
        party: party("de-bpol"),
        position: Position { epoch: 1, sequence: n },
        subject: "ilo.in.de-bpol.system.net.flow.observation.tn".into(),
        arrived_ms: 1_000 + i64::try_from(n).expect("small"),
        digest: Digest::of(&payload),
        payload,
        signature: None,
        seal: n.is_multiple_of(5),
        summary: Some(Summary {
            source: "/authority/de-bpol".into(),
            id: id(n),
            kind: TypeId::parse("flow.observation").expect("well formed"),
            major: 1,
            originator: party("de-bpol"),
            plane: Plane::Net,
            country: Some("TN".into()),
            time_ms: 0,
            audience: vec!["@ms".into()],
            purpose: "3.4.b".into(),
            category: Category::None,
            expires_ms: None,
            erase_ms: None,
            review_ms: None,
        }),
        code: None,
        detail: Vec::new(),
        recipients: recipients.map(|id| Entry { party: party(id), why: Why::Named }).collect(),
        withheld: Vec::new(),
        target: None,
        late: false,
        effects: Vec::new(),
    }
}

/// The same for all archives of the tests.
pub(super) fn root() -> RootKey {
    RootKey::parse(&"5a".repeat(32)).expect("a key")
}

/// The received bytes of a record.
fn content(reader: &Reader, record: &Record) -> Vec<u8> {
    match reader.open(record).expect("opens") {
        Opened::Content(content) => content.payload.to_vec(),
        none => panic!("the content of {} is {none:?}", record.seq),
    }
}

#[test]
fn a_signature_comes_back_with_its_message_from_wherever_it_is_read() {
    let place = tempfile::tempdir().expect("temp dir");
    let (mut archive, _) = open(place.path());
    let signed =
        |n: u64| Draft { signature: Some(format!("a{n}..b")), seal: n.is_multiple_of(2), ..draft(n) };
    archive.commit((1..=4).map(signed).collect()).expect("commits");
    archive.commit(vec![draft(5)]).expect("commits");
    let look = |reader: &Reader| {
        for seq in 1..=5 {
            let record = reader.get(seq).expect("reads").expect("is there");
            let Opened::Content(content) = reader.open(&record).expect("opens") else {
                panic!("{seq} is gone")
            };
            assert_eq!(content.payload, draft(seq).payload);
            assert_eq!(content.signature, (seq < 5).then(|| format!("a{seq}..b")), "{seq}");
            assert_eq!(record.digest, Digest::of(&content.payload), "of the message alone");
        }
    };
    look(&archive.reader());
    archive.close().expect("closes");
    // From the journal alone, as after a loss of everything else.
    std::fs::remove_dir_all(place.path().join("sled")).expect("removes");
    let (archive, _) = open(place.path());
    look(&archive.reader());
    let alone = ReadOnly::open(place.path()).expect("opens");
    let first = alone.records(1).next().expect("one").expect("reads");
    let Ok(Some(Opened::Content(content))) = alone.content(&first) else { panic!("plain") };
    assert_eq!(content.signature.as_deref(), Some("a1..b"));
}

pub(super) fn fill(archive: &mut Archive, from: u64, to: u64, batch: u64) {
    let mut next = from;
    while next <= to {
        let until = to.min(next + batch - 1);
        archive.commit((next..=until).map(draft).collect()).expect("commits");
        next = until + 1;
    }
}

fn open(directory: &Path) -> (Archive, Recovery) {
    Archive::open(directory, &root()).expect("opens")
}

/// Everything that was committed is there, and the feeds recompute from nothing.
fn audit(archive: &Archive, records: u64) {
    let reader = archive.reader();
    assert_eq!(reader.head_seq(), records);
    for n in 1..=records {
        let found = reader.find("/authority/de-bpol", &id(n)).expect("reads");
        let found = found.unwrap_or_else(|| panic!("record {n} is lost"));
        assert_eq!((found.seq, content(&reader, &found)), (n, draft(n).payload));
        let position = Position { epoch: 1, sequence: n };
        let there = reader.at_position(&party("de-bpol"), position).expect("reads");
        assert_eq!(there.map(|record| record.seq), Some(n));
    }
    for name in ["fr-dnpaf", "it-moi", "eu-frontex"] {
        let (mut after, mut digest) = (0, Digest::default());
        loop {
            let items = reader.feed(&party(name), after, 100, usize::MAX).expect("reads");
            let Some(last) = items.last().map(|item| item.feed_seq) else { break };
            for item in items {
                after += 1;
                digest = digest.feed(item.record.digest);
                assert_eq!((item.feed_seq, item.feed_digest), (after, digest));
            }
            assert_eq!(last, after);
        }
        assert_eq!(after, reader.feed_head(&party(name)));
        let owed =
            (1..=records).filter(|n| draft(*n).recipients.iter().any(|entry| entry.party.as_str() == name));
        assert_eq!(after, owed.count() as u64);
    }
}

/// As a kill would: no close, no flush, nothing dropped in order.
fn kill(archive: Archive) {
    let Archive { journal, reader, feeds, mut sealer, filling, vault, .. } = archive;
    drop((journal, feeds, filling, vault));
    sealer.close().expect("the thread ends");
    drop(reader);
}

#[test]
fn a_closed_archive_opens_as_it_was() {
    let directory = tempfile::tempdir().expect("temp dir");
    let (mut archive, _) = open(directory.path());
    fill(&mut archive, 1, 700, 7);
    audit(&archive, 700);
    archive.close().expect("closes");
    let (mut archive, recovery) = open(directory.path());
    assert!(!recovery.rebuilt && recovery.why.is_empty(), "{recovery:?}");
    audit(&archive, 700);
    fill(&mut archive, 701, 1_100, 50);
    kill(archive);
    let (archive, _) = open(directory.path());
    audit(&archive, 1_100);
}

#[test]
fn a_lost_sled_directory_is_built_anew() {
    let directory = tempfile::tempdir().expect("temp dir");
    let (mut archive, _) = open(directory.path());
    fill(&mut archive, 1, 900, 64);
    archive.close().expect("closes");
    std::fs::remove_dir_all(directory.path().join("sled")).expect("removes");
    let (archive, recovery) = open(directory.path());
    assert!(recovery.rebuilt);
    audit(&archive, 900);
}

#[test]
fn a_left_over_snapshot_does_not_keep_the_house_closed() {
    let directory = tempfile::tempdir().expect("temp dir");
    let (mut archive, _) = open(directory.path());
    fill(&mut archive, 1, 300, 64);
    archive.close().expect("closes");
    let snapshot = directory.path().join("sled/snap.0000000000ABCDEF.generating");
    std::fs::write(snapshot, b"half").expect("writes");
    let (archive, recovery) = open(directory.path());
    assert!(recovery.why.iter().any(|why| why.contains("snapshot")), "{recovery:?}");
    audit(&archive, 300);
}

#[test]
fn a_flipped_byte_in_sled_loses_nothing() {
    let directory = tempfile::tempdir().expect("temp dir");
    let (mut archive, _) = open(directory.path());
    fill(&mut archive, 1, 800, 64);
    archive.close().expect("closes");
    let file = directory.path().join("sled/db");
    let whole = std::fs::read(&file).expect("reads");
    let mut seed = 42_u64;
    for _ in 0..4 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = usize::try_from(seed >> 20).expect("64 bit") % whole.len().min(120_000);
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (seed % 8);
        std::fs::write(&file, bytes).expect("writes");
        let (archive, _) = open(directory.path());
        audit(&archive, 800);
        archive.close().expect("closes");
    }
}

#[test]
fn a_torn_tail_is_cut_at_every_byte_and_nothing_before_it_is_lost() {
    let directory = tempfile::tempdir().expect("temp dir");
    let (mut archive, _) = open(directory.path());
    fill(&mut archive, 1, 20, 5);
    archive.close().expect("closes");
    let segment = directory.path().join("journal/seg-00000000000000000001.liaj");
    let whole = std::fs::read(&segment).expect("reads");
    let found: journal::Found = journal::walk(&directory.path().join("journal")).expect("walks");
    let last = usize::try_from(found.places.last().expect("frames").offset).expect("64 bit");
    let frame = frame::Header::read(&whole[last..]).expect("a header");
    assert_eq!((frame.count, frame.last()), (5, 20));
    for cut in last + 1..whole.len() {
        let torn = tempfile::tempdir().expect("temp dir");
        std::fs::create_dir_all(torn.path().join("journal")).expect("creates");
        let copy = torn.path().join("journal/seg-00000000000000000001.liaj");
        std::fs::write(&copy, &whole[..cut]).expect("writes");
        let (found, cut_bytes) = Journal::open(&torn.path().join("journal"))
            .map(|(journal, found): (_, journal::Found)| (journal.next() - 1, found.cut))
            .expect("opens");
        assert_eq!((found, cut_bytes), (15, (cut - last) as u64));
        assert_eq!(std::fs::metadata(&copy).expect("stat").len(), last as u64);
    }
    std::fs::write(&segment, &whole[..whole.len() - 1]).expect("writes");
    match Archive::open(directory.path(), &root()) {
        Err(Error::Damaged { first: 16, offset, .. }) => assert_eq!(offset, last as u64),
        other => panic!("after a close this is damage, not a torn tail: {other:?}"),
    }
    std::fs::remove_file(directory.path().join("journal/HEAD")).expect("removes");
    let (mut archive, recovery) = open(directory.path());
    assert!(recovery.cut_bytes > 0);
    let aside = directory.path().join("journal/cut-00000000000000000016.torn");
    assert_eq!(std::fs::read(aside).expect("reads"), whole[last..whole.len() - 1]);
    audit(&archive, 15);
    fill(&mut archive, 16, 30, 4);
    audit(&archive, 30);
}

#[test]
fn damage_in_the_middle_of_the_journal_is_named_and_never_cut() {
    let directory = tempfile::tempdir().expect("temp dir");
    let (mut archive, _) = open(directory.path());
    fill(&mut archive, 1, 40, 10);
    archive.close().expect("closes");
    let segment = directory.path().join("journal/seg-00000000000000000001.liaj");
    let mut bytes = std::fs::read(&segment).expect("reads");
    let found: journal::Found = journal::walk(&directory.path().join("journal")).expect("walks");
    let second = usize::try_from(found.places[1].offset).expect("64 bit");
    bytes[second + frame::HEADER + 9] ^= 4;
    std::fs::write(&segment, &bytes).expect("writes");
    match Archive::open(directory.path(), &root()) {
        Err(Error::Damaged { first, offset, .. }) => assert_eq!((first, offset), (11, second as u64)),
        other => panic!("{other:?}"),
    }
    assert_eq!(std::fs::read(&segment).expect("reads"), bytes, "the evidence is untouched");
}

#[test]
fn a_second_opener_is_refused_in_one_clear_line() {
    let directory = tempfile::tempdir().expect("temp dir");
    let (_archive, _) = open(directory.path());
    let second = Archive::open(directory.path(), &root());
    let words = second.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(words.contains("in use by another liaison"), "{words}");
}

#[test]
fn after_a_write_or_a_sync_that_failed_nothing_is_written_any_more() {
    // A full device refuses the write; the null device takes it and cannot be synced.
    for (device, synced) in [("/dev/full", false), ("/dev/null", true)] {
        let directory = tempfile::tempdir().expect("temp dir");
        let (mut archive, _) = open(directory.path());
        fill(&mut archive, 1, 20, 10);
        archive.journal.write_to(Path::new(device));
        let failed = archive.commit(vec![draft(21)]);
        assert!(matches!(failed, Err(Error::Io(_))), "{device}, synced {synced}: {failed:?}");
        archive.journal.write_to(&archive.journal.segments()[0].clone());
        assert!(matches!(archive.commit(vec![draft(21)]), Err(Error::Poisoned)));
        assert_eq!(archive.reader().head_seq(), 20, "readers never saw it");
        kill(archive);
        let (mut archive, _) = open(directory.path());
        audit(&archive, 20);
        fill(&mut archive, 21, 30, 10);
        audit(&archive, 30);
    }
}

#[test]
fn a_segment_that_is_new_may_be_empty_or_torn_but_not_out_of_place() {
    let directory = tempfile::tempdir().expect("temp dir");
    let (mut archive, _) = open(directory.path());
    fill(&mut archive, 1, 20, 10);
    kill(archive);
    let journal = directory.path().join("journal");
    let second = journal.join("seg-00000000000000000021.liaj");
    for bytes in [&b""[..], b"LIAF and not much more"] {
        std::fs::write(&second, bytes).expect("writes");
        let (archive, recovery) = open(directory.path());
        assert_eq!(recovery.cut_bytes, bytes.len() as u64);
        assert_eq!(std::fs::metadata(&second).expect("stat").len(), 0);
        audit(&archive, 20);
        kill(archive);
    }
    let (mut archive, _) = open(directory.path());
    fill(&mut archive, 21, 25, 5);
    kill(archive);
    let first = journal.join("seg-00000000000000000001.liaj");
    std::fs::rename(&first, journal.join("elsewhere")).expect("renames");
    let one_good_frame = std::fs::read(&second).expect("reads");
    match Archive::open(directory.path(), &root()) {
        Err(Error::Damaged { first: 1, offset: 0, .. }) => {}
        other => panic!("a whole frame without those before it is no torn tail: {other:?}"),
    }
    assert_eq!(std::fs::read(&second).expect("reads"), one_good_frame);
}

#[test]
fn a_journal_that_lost_what_sled_still_has_is_not_gone_on_with() {
    let directory = tempfile::tempdir().expect("temp dir");
    let (mut archive, _) = open(directory.path());
    fill(&mut archive, 1, 600, 100);
    archive.close().expect("closes");
    std::fs::remove_dir_all(directory.path().join("journal")).expect("removes");
    match Archive::open(directory.path(), &root()) {
        Err(Error::Behind { journal: 0, sled: 512, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert!(directory.path().join("sled/db").exists(), "what is left is not touched");
}

#[test]
fn a_start_that_ended_inside_sled_is_not_tried_the_same_way_again() {
    let directory = tempfile::tempdir().expect("temp dir");
    let (mut archive, _) = open(directory.path());
    fill(&mut archive, 1, 300, 100);
    archive.close().expect("closes");
    std::fs::write(directory.path().join("sled.opening"), []).expect("writes");
    let (archive, recovery) = open(directory.path());
    assert!(recovery.rebuilt && recovery.why[0].contains("last start ended"), "{recovery:?}");
    audit(&archive, 300);
    assert!(directory.path().join("sled.damaged").exists());
    archive.close().expect("closes");
    let (_archive, recovery) = open(directory.path());
    assert!(!recovery.rebuilt, "{recovery:?}");
}

#[test]
fn a_block_that_sled_has_wrong_is_read_from_the_journal() {
    let directory = tempfile::tempdir().expect("temp dir");
    let (mut archive, _) = open(directory.path());
    fill(&mut archive, 1, 800, 64);
    archive.close().expect("closes");
    let config = sled::Config::new().segment_size(2 << 20).path(directory.path().join("sled"));
    #[expect(clippy::disallowed_methods, reason = "damage is done to the store behind the archive's back")]
    let db = config.open().expect("opens");
    let keys: Vec<sled::IVec> = db.scan_prefix(b"b").keys().map(|key| key.expect("reads")).collect();
    let other = db.get(&keys[0]).expect("reads").expect("is there");
    db.insert(&keys[1], other).expect("writes"); // whole in itself, but another block
    db.insert(&keys[2], b"nothing of a block").expect("writes");
    db.remove(&keys[0]).expect("writes");
    db.flush().expect("flushes");
    drop(db);
    let (archive, recovery) = open(directory.path());
    assert!(!recovery.rebuilt, "{recovery:?}");
    audit(&archive, 800);
}

#[test]
fn a_quarantined_repeat_does_not_hide_the_accepted_message() {
    let directory = tempfile::tempdir().expect("temp dir");
    let (mut archive, _) = open(directory.path());
    let repeat = Draft {
        outcome: Outcome::Quarantined,
        position: Position { epoch: 1, sequence: 2 },
        target: Some(RefusedTarget {
            source: "/authority/de-bpol".into(),
            id: Some(id(1)),
            post: "system".into(),
        }),
        summary: None,
        recipients: Vec::new(),
        ..draft(1)
    };
    archive.commit(vec![draft(1)]).expect("commits");
    archive.commit(vec![repeat]).expect("commits");
    let found = archive.reader().find("/authority/de-bpol", &id(1)).expect("reads").expect("is known");
    assert_eq!((found.seq, found.outcome), (1, Outcome::Accepted));
}

#[test]
fn blocks_of_large_messages_are_sealed_before_they_are_many() {
    let directory = tempfile::tempdir().expect("temp dir");
    let (mut archive, _) = open(directory.path());
    let large = |n| {
        let payload = vec![b'0' + u8::try_from(n % 10).expect("small"); 250 << 10];
        Draft { digest: Digest::of(&payload), payload, ..draft(n) }
    };
    for n in 1..=40 {
        archive.commit(vec![large(n)]).expect("commits");
    }
    archive.close().expect("closes");
    let (archive, recovery) = open(directory.path());
    assert!(!recovery.rebuilt, "{recovery:?}");
    for n in 1..=40 {
        let record = archive.reader().get(n).expect("reads").expect("is there");
        assert_eq!(content(&archive.reader(), &record), large(n).payload);
    }
}
