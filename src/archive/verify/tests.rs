//! Everything that somebody could do to a journal, by seeds: each time the right first bad sequence is named.

use std::path::Path;

use super::*;
use crate::archive::Archive;
use crate::archive::checkpoint::Checkpoint;
use crate::archive::frame::{self, HEADER, Header, Zstd};
use crate::archive::note::{KeyName, Kind, Note, Signer};
use crate::archive::pack::Pack;
use crate::archive::record::Record;
use crate::archive::tests::{draft, fill, root};
use crate::archive::tree::Head;
use crate::message::digest::Digest;
use crate::message::time;

/// Frames in the archive of these tests, and records in each.
const FRAMES: u64 = 10;
const IN_FRAME: u64 = 4;

fn signer() -> Signer {
    Signer::new(KeyName::parse("liaison-1").unwrap(), Kind::Log, &[1; 32])
}

fn sign(head: Head) -> Note {
    let at = time::parse("2026-03-02T10:00:00Z").unwrap();
    let checkpoint = Checkpoint::new(signer().verifier().name().clone(), head, at);
    let mut note = Note::new(checkpoint.text()).unwrap();
    note.add(signer().sign(note.text(), 0));
    note
}

/// An archive with frames of four records and a checkpoint behind every second frame.
fn archive(place: &Path) {
    let (mut archive, _) = Archive::open(place, &root()).unwrap();
    let notebook = Notebook::messages(place);
    for number in 0..FRAMES {
        fill(&mut archive, number * IN_FRAME + 1, (number + 1) * IN_FRAME, IN_FRAME);
        if number % 2 == 1 {
            let tree = archive.reader().tree();
            notebook.keep(&sign(Head { size: tree.size(), root: tree.root() })).unwrap();
        }
    }
    archive.close().unwrap();
}

fn verified(place: &Path) -> Report {
    let key = signer().verifier().clone();
    messages(place, &Against { key: Some(&key), held: &[] }).unwrap()
}

fn first_bad(place: &Path) -> Option<u64> {
    verified(place).finding.map(|finding| finding.first_bad)
}

/// The segment, frame by frame.
fn frames(place: &Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(segment(place)).unwrap();
    let (mut frames, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let end = at + HEADER + Header::read(&bytes[at..]).unwrap().len as usize;
        frames.push(bytes[at..end].to_vec());
        at = end;
    }
    assert_eq!(frames.len() as u64, FRAMES);
    frames
}

fn segment(place: &Path) -> PathBuf {
    place.join("journal/seg-00000000000000000001.liaj")
}

fn write(place: &Path, frames: &[Vec<u8>]) {
    std::fs::write(segment(place), frames.concat()).unwrap();
}

/// A frame with other records, made as the house would make it.
fn forged(prev: Digest, first: u64, numbers: &[u64]) -> Vec<u8> {
    let vault = crate::archive::Vault::open(tempfile::tempdir().unwrap().path(), &root()).unwrap();
    let records: Vec<_> = numbers
        .iter()
        .zip(first..)
        .map(|(number, seq)| {
            let body = crate::archive::Body::plain([1; 16], &draft(number + 1_000).payload, false);
            std::sync::Arc::new(Record::from_draft(draft(number + 1_000), seq, 5, body))
        })
        .collect();
    frame_of(prev, first, &Pack::of(&records, vault.mask()).unwrap())
}

fn frame_of(prev: Digest, first: u64, pack: &Pack) -> Vec<u8> {
    let leaves = pack.leaves().unwrap();
    frame::encode(&mut Zstd::new().unwrap(), prev, 7, pack, &leaves, first).unwrap().1
}

fn hash(frame: &[u8]) -> Digest {
    Header::read(frame).unwrap().hash()
}

/// Numbers that look random and are the same every time.
struct Seed(u64);

impl Seed {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

fn first_of(frame: u64) -> u64 {
    frame * IN_FRAME + 1
}

#[test]
fn an_archive_that_nobody_touched_is_fine_with_or_without_the_key() {
    let place = tempfile::tempdir().unwrap();
    archive(place.path());
    let report = verified(place.path());
    assert!(report.ok, "{report:?}");
    assert_eq!((report.records, report.frames, report.segments), (40, 10, 1));
    assert_eq!((report.checkpoints.verified, report.checkpoints.largest), (Some(6), 40));
    let without = messages(place.path(), &Against::default()).unwrap();
    assert!(without.ok && without.checkpoints.verified.is_none());
    let stranger = Signer::new(KeyName::parse("liaison-1").unwrap(), Kind::Log, &[2; 32]).verifier().clone();
    let report = messages(place.path(), &Against { key: Some(&stranger), held: &[] }).unwrap();
    assert_eq!((report.ok, report.checkpoints.verified), (false, Some(0)));
    assert!(messages(&place.path().join("nowhere"), &Against::default()).is_err());
}

#[test]
fn flipped_bits_are_named() {
    let place = tempfile::tempdir().unwrap();
    archive(place.path());
    let whole = frames(place.path());
    let mut seed = Seed(1);
    for _ in 0..300 {
        let at = seed.below(FRAMES);
        let mut changed = whole.clone();
        let byte = seed.below(changed[at as usize].len() as u64) as usize;
        changed[at as usize][byte] ^= 1 << seed.below(8);
        write(place.path(), &changed);
        assert_eq!(first_bad(place.path()), Some(first_of(at)), "frame {at} byte {byte}");
    }
}

#[test]
fn dropped_swapped_and_doubled_frames_are_named() {
    let place = tempfile::tempdir().unwrap();
    archive(place.path());
    let whole = frames(place.path());
    for at in 0..FRAMES as usize {
        let mut changed = whole.clone();
        changed.remove(at);
        write(place.path(), &changed);
        assert_eq!(first_bad(place.path()), Some(first_of(at as u64)), "dropped {at}");
        for other in 0..FRAMES as usize {
            let mut changed = whole.clone();
            changed.insert(at, whole[other].clone());
            write(place.path(), &changed);
            let expected = first_of(at.max(other.min(at)) as u64 + u64::from(at == other));
            assert_eq!(first_bad(place.path()), Some(expected), "{other} doubled at {at}");
            if other > at {
                let mut changed = whole.clone();
                changed.swap(at, other);
                write(place.path(), &changed);
                assert_eq!(first_bad(place.path()), Some(first_of(at as u64)), "swapped {at} and {other}");
            }
        }
    }
}

#[test]
fn frames_that_were_put_in_or_written_anew_are_named() {
    let place = tempfile::tempdir().unwrap();
    archive(place.path());
    let whole = frames(place.path());
    for at in 0..FRAMES {
        let prev = at.checked_sub(1).map_or(Digest::default(), |before| hash(&whole[before as usize]));
        for (what, prev) in [("fitting", prev), ("not fitting", Digest([9; 32]))] {
            let mut changed = whole.clone();
            changed.insert(at as usize, forged(prev, first_of(at), &[1, 2]));
            write(place.path(), &changed);
            assert_eq!(first_bad(place.path()), Some(first_of(at)), "put in at {at}, {what}");
        }
        let mut changed = whole.clone();
        changed[at as usize] = forged(prev, first_of(at), &[1, 2, 3, 4]);
        write(place.path(), &changed);
        assert_eq!(first_bad(place.path()), Some(first_of(at)), "written anew at {at}");
        // Fewer records than there were: the ones behind are missing too, but the first bad one is here.
        let mut shorter = whole.clone();
        shorter[at as usize] = forged(prev, first_of(at), &[1, 2]);
        write(place.path(), &shorter);
        let bad = first_bad(place.path()).unwrap();
        assert!((first_of(at)..first_of(at) + IN_FRAME).contains(&bad), "shortened at {at}: {bad}");
    }
}

/// Other records under the header that commits to the true ones, with lengths and checksum that fit: the chain does not see it.
#[test]
fn contents_exchanged_under_their_header_are_named() {
    let place = tempfile::tempdir().unwrap();
    archive(place.path());
    let whole = frames(place.path());
    for at in 0..FRAMES as usize {
        let prev = Header::read(&whole[at]).unwrap().prev;
        let other = forged(prev, first_of(at as u64), &[1, 2, 3, 4]);
        let mut head = whole[at][..HEADER - 4].to_vec();
        head[20..28].copy_from_slice(&other[20..28]); // raw and len
        let sum = crc32fast::hash(&[head.as_slice(), &other[HEADER..]].concat());
        let mut changed = whole.clone();
        changed[at] = [head.as_slice(), &sum.to_le_bytes(), &other[HEADER..]].concat();
        assert_eq!(hash(&changed[at]), hash(&whole[at]));
        write(place.path(), &changed);
        let finding = verified(place.path()).finding.unwrap();
        assert_eq!(finding.first_bad, first_of(at as u64), "{finding:?}");
    }
}

#[test]
fn a_record_moved_within_its_frame_is_named_to_the_record() {
    let place = tempfile::tempdir().unwrap();
    archive(place.path());
    let whole = frames(place.path());
    let header = Header::read(&whole[5]).unwrap();
    let pack = frame::unpack(&header, &whole[5][HEADER..]).unwrap();
    let record = |at: usize| [pack.head_with_len(at), pack.body_with_len(at)].concat();
    let moved = [record(0), record(2), record(1), record(3)].concat();
    let mut changed = whole.clone();
    changed[5] = frame_of(header.prev, header.first, &Pack::parse(moved.into()).unwrap());
    write(place.path(), &changed);
    assert_eq!(first_bad(place.path()), Some(first_of(5)), "the frame behind names another");
    // With everything behind it written anew, the chain holds; the sequences do not.
    rechain(&mut changed, 6);
    write(place.path(), &changed);
    assert_eq!(first_bad(place.path()), Some(first_of(5) + 1));
}

/// Writes the chain anew from a frame on, as one could who has the journal.
fn rechain(frames: &mut [Vec<u8>], from: usize) {
    for at in from..frames.len() {
        let header = Header::read(&frames[at]).unwrap();
        let pack = frame::unpack(&header, &frames[at][HEADER..]).unwrap();
        frames[at] = frame_of(hash(&frames[at - 1]), header.first, &pack);
    }
}

#[test]
fn a_whole_history_written_anew_disagrees_with_what_was_signed() {
    let place = tempfile::tempdir().unwrap();
    archive(place.path());
    let whole = frames(place.path());
    std::fs::remove_file(place.path().join("journal/HEAD")).unwrap();
    for at in 1..FRAMES {
        let mut changed = whole.clone();
        changed[at as usize] = forged(hash(&changed[at as usize - 1]), first_of(at), &[1, 2, 3, 4]);
        rechain(&mut changed, at as usize + 1);
        write(place.path(), &changed);
        let finding = verified(place.path()).finding.unwrap();
        // From the last checkpoint that holds on, nothing vouches for anything.
        assert_eq!(finding.first_bad, first_of(at / 2 * 2), "written anew from {at}: {finding:?}");
        assert!(finding.through.unwrap() >= first_of(at));
        assert_eq!(finding.what, "a checkpoint signs other records");
    }
}

#[test]
fn truncations_are_named_at_every_place() {
    let place = tempfile::tempdir().unwrap();
    archive(place.path());
    let whole = frames(place.path());
    let bytes = whole.concat();
    let mut seed = Seed(2);
    let mut ends: Vec<usize> = (0..200).map(|_| seed.below(bytes.len() as u64) as usize).collect();
    let mut boundary = 0;
    for frame in &whole {
        ends.push(boundary);
        boundary += frame.len();
    }
    for end in ends {
        std::fs::write(segment(place.path()), &bytes[..end]).unwrap();
        let mut at = 0;
        let kept = whole.iter().take_while(|frame| {
            at += frame.len();
            at <= end
        });
        assert_eq!(first_bad(place.path()), Some(first_of(kept.count() as u64)), "cut at {end}");
    }
}

#[test]
fn an_old_copy_is_found_by_a_checkpoint_that_somebody_held() {
    let place = tempfile::tempdir().unwrap();
    archive(place.path());
    let held = tempfile::tempdir().unwrap();
    let latest = held.path().join("held");
    std::fs::copy(Notebook::messages(place.path()).latest_file(), &latest).unwrap();
    // A copy from before the last four frames, checkpoints and HEAD included: by itself nothing is wrong with it.
    let old = tempfile::tempdir().unwrap();
    let (archive, _) = Archive::open(old.path(), &root()).unwrap();
    archive.close().unwrap();
    let whole = frames(place.path());
    write(old.path(), &whole[..6]);
    let note = Notebook::messages(place.path()).all().unwrap().remove(2);
    Notebook::messages(old.path()).keep(&note).unwrap();
    let key = signer().verifier().clone();
    let report = messages(old.path(), &Against { key: Some(&key), held: &[] }).unwrap();
    assert!(report.ok, "{report:?}");
    let report = messages(old.path(), &Against { key: Some(&key), held: &[latest] }).unwrap();
    let finding = report.finding.unwrap();
    assert_eq!((finding.first_bad, finding.through), (25, Some(40)));
}

#[test]
fn damaged_checkpoints_vouch_for_nothing() {
    let place = tempfile::tempdir().unwrap();
    archive(place.path());
    let file = Notebook::messages(place.path()).log_file().to_owned();
    let whole = std::fs::read(&file).unwrap();
    let mut seed = Seed(3);
    for _ in 0..100 {
        let mut changed = whole.clone();
        let at = seed.below(whole.len() as u64 - 3) as usize;
        changed[at] ^= 1 << seed.below(8);
        std::fs::write(&file, &changed).unwrap();
        let report = verified(place.path());
        assert!(!report.ok || report.checkpoints.agreed >= 5, "byte {at}: {report:?}");
    }
}

#[test]
fn a_frame_that_a_crash_left_half_written_anew_is_no_damage() {
    let place = tempfile::tempdir().unwrap();
    archive(place.path());
    let whole = frames(place.path());
    let offset = whole[0].len() + whole[1].len();
    let mut changed = whole.clone();
    changed[2][HEADER + 5] ^= 1;
    write(place.path(), &changed);
    assert_eq!(first_bad(place.path()), Some(first_of(2)));
    let aside = segment(place.path()).with_extension(format!("{offset}.anew"));
    let sum = crc32fast::hash(&whole[2]).to_le_bytes();
    std::fs::write(&aside, [sum.as_slice(), &whole[2]].concat()).unwrap();
    assert_eq!(first_bad(place.path()), None, "the next start makes it good");
    let other = crc32fast::hash(&whole[3]).to_le_bytes();
    std::fs::write(&aside, [other.as_slice(), &whole[3]].concat()).unwrap();
    assert_eq!(first_bad(place.path()), Some(first_of(2)), "another frame is no help");
}

/// Run it with `cargo test --release --lib -- --ignored --nocapture a_million`; the aim is 20 s on two cores.
#[test]
#[ignore = "a measurement"]
fn a_million_records_are_verified_in_seconds() {
    let place = tempfile::tempdir().unwrap();
    let (mut archive, _) = Archive::open(place.path(), &root()).unwrap();
    let count = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
    for first in (1..=count).step_by(256) {
        let last = (first + 255).min(count);
        let drafts = (first..=last).map(|number| {
            let mut draft = draft(number);
            draft.seal = false;
            // 1.1 KiB that compresses about as messages do.
            draft.payload.extend(
                (0..1_000_u64)
                    .map(|at| b"an invented report "[(at % 19) as usize] ^ u8::from(at % 11 == number % 11)),
            );
            draft.digest = Digest::of(&draft.payload);
            draft
        });
        archive.commit(drafts.collect()).unwrap();
    }
    let tree = archive.reader().tree();
    Notebook::messages(place.path()).keep(&sign(Head { size: tree.size(), root: tree.root() })).unwrap();
    archive.close().unwrap();
    let started = time::stopwatch();
    let report = verified(place.path());
    println!("{count} records verified in {:?}", started.elapsed());
    assert!(report.ok && report.records == count);
    let started = time::stopwatch();
    let wanted = crate::archive::prove::Wanted::Seq(count / 2);
    crate::archive::prove::prove(place.path(), &wanted, false).unwrap();
    println!("a proof made in {:?}", started.elapsed());
}
