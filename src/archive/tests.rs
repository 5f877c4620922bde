//! What a crash, a cut and a flipped bit may do to the memory: everything but lose a committed record in silence.

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

fn draft(n: u64) -> Draft {
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
        summary: Some(Summary {
            source: "/authority/de-bpol".into(),
            id: id(n),
            kind: TypeId::parse("flow.observation").expect("well formed"),
            major: 1,
            originator: party("de-bpol"),
            plane: "net".into(),
            country: Some("TN".into()),
            time_ms: 0,
            audience: vec!["@ms".into()],
        }),
        code: None,
        detail: Vec::new(),
        recipients: recipients.map(|id| Entry { party: party(id), why: "named".into() }).collect(),
        withheld: Vec::new(),
        target: None,
        late: false,
    }
}

fn fill(archive: &mut Archive, from: u64, to: u64, batch: u64) {
    let mut next = from;
    while next <= to {
        let until = to.min(next + batch - 1);
        archive.commit((next..=until).map(draft).collect()).expect("commits");
        next = until + 1;
    }
}

fn open(directory: &Path) -> (Archive, Recovery) {
    Archive::open(directory, &Options::default()).expect("opens")
}

/// Everything that was committed is there, and the feeds recompute from nothing.
fn audit(archive: &Archive, records: u64) {
    let reader = archive.reader();
    assert_eq!(reader.head_seq(), records);
    for n in 1..=records {
        let found = reader.find("/authority/de-bpol", &id(n)).unwrap_or_else(|| panic!("record {n} is lost"));
        assert_eq!((found.seq, &found.payload), (n, &draft(n).payload));
        let position = Position { epoch: 1, sequence: n };
        assert_eq!(reader.at_position(&party("de-bpol"), position).map(|record| record.seq), Some(n));
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
    let Archive { journal, reader, feeds, sealer, unsealed, _lock } = archive;
    drop((journal, feeds, unsealed));
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
    let found = journal::walk(&directory.path().join("journal")).expect("walks");
    let last = usize::try_from(found.places.last().expect("frames").offset).expect("64 bit");
    for cut in last + 1..whole.len() {
        let torn = tempfile::tempdir().expect("temp dir");
        std::fs::create_dir_all(torn.path().join("journal")).expect("creates");
        let copy = torn.path().join("journal/seg-00000000000000000001.liaj");
        std::fs::write(&copy, &whole[..cut]).expect("writes");
        let (found, cut_bytes) = Journal::open(&torn.path().join("journal"))
            .map(|(journal, found)| (journal.next() - 1, found.cut))
            .expect("opens");
        assert_eq!((found, cut_bytes), (15, (cut - last) as u64));
        assert_eq!(std::fs::metadata(&copy).expect("stat").len(), last as u64);
    }
    std::fs::write(&segment, &whole[..whole.len() - 1]).expect("writes");
    std::fs::remove_dir_all(directory.path().join("sled")).expect("removes");
    let (mut archive, recovery) = open(directory.path());
    assert!(recovery.cut_bytes > 0);
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
    let found = journal::walk(&directory.path().join("journal")).expect("walks");
    let second = usize::try_from(found.places[1].offset).expect("64 bit");
    bytes[second + frame::HEADER + 9] ^= 4;
    std::fs::write(&segment, &bytes).expect("writes");
    match Archive::open(directory.path(), &Options::default()) {
        Err(Error::Damaged { first, offset, .. }) => assert_eq!((first, offset), (11, second as u64)),
        other => panic!("{other:?}"),
    }
    assert_eq!(std::fs::read(&segment).expect("reads"), bytes, "the evidence is untouched");
}

#[test]
fn a_second_opener_is_refused_in_one_clear_line() {
    let directory = tempfile::tempdir().expect("temp dir");
    let (_archive, _) = open(directory.path());
    let second = Archive::open(directory.path(), &Options::default());
    let words = second.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(words.contains("in use by another liaison"), "{words}");
}
