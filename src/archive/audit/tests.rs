//! What the audit log must withstand: a torn end is cut, everything else that was touched is named.

use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use super::*;
use crate::archive::frame;
use crate::message::names::PartyId;

fn party(id: &str) -> PartyId {
    PartyId::parse(id).expect("well formed")
}

fn entry(n: u64) -> Entry {
    let object = Object {
        feed: Some(Span { first: n, last: n + 9 }),
        filter: Some(Digest::of(&n.to_le_bytes())),
        count: Some(10),
        ..Object::default()
    };
    let at = i64::try_from(n).expect("small");
    let who = if n.is_multiple_of(2) { "de-bpol" } else { "fr-dnpaf" };
    Entry::of_party(at, &party(who), What::Replayed, object)
}

/// A log of `frames` frames of three entries each.
fn log(frames: u64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("temp dir");
    let mut audit = Audit::open(folder.path()).expect("opens");
    for frame in 0..frames {
        let entries: Vec<Entry> = (frame * 3 + 1..=frame * 3 + 3).map(entry).collect();
        assert_eq!(audit.append(&entries).expect("appends"), frame * 3 + 1);
    }
    audit.close().expect("closes");
    folder
}

fn segment(folder: &tempfile::TempDir) -> PathBuf {
    let entries = std::fs::read_dir(folder.path().join("audit")).expect("a directory");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "liaj"));
    assert_eq!(files.len(), 1);
    files.remove(0)
}

/// Where each frame begins, and the end.
fn frames(file: &Path) -> Vec<usize> {
    let bytes = std::fs::read(file).expect("reads");
    let starts = bytes.windows(4).enumerate().filter(|(_, four)| *four == b"LIAF");
    starts.map(|(at, _)| at).chain([bytes.len()]).collect()
}

fn first_bad(folder: &tempfile::TempDir) -> Option<u64> {
    match verify(folder.path()) {
        Ok(_) => None,
        Err(Error::Damaged { first, .. }) => Some(first),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn entries_come_back_as_they_were_and_pages_join() {
    let folder = log(200);
    let reader = Reader::offline(folder.path()).expect("opens");
    assert_eq!(reader.head(), 600);
    let mut after = 0;
    let mut seen = Vec::new();
    while after < reader.head() {
        let page = reader.page(after, 7, |_| true).expect("reads");
        assert_eq!(page.upto, after + page.entries.len() as u64);
        after = page.upto;
        seen.extend(page.entries);
    }
    assert_eq!(seen.len(), 600);
    for (seq, found) in (1..).zip(seen) {
        assert_eq!(found, Numbered { seq, entry: entry(seq) });
    }
    let french = |entry: &Entry| entry.who == Actor::Party(party("fr-dnpaf"));
    let page = reader.page(301, 5, french).expect("reads");
    assert_eq!(page.entries.iter().map(|found| found.seq).collect::<Vec<_>>(), [303, 305, 307, 309, 311]);
    assert_eq!(page.upto, 311);
    let last = reader.last(|entry| entry.at_ms <= 17).expect("reads").expect("there");
    assert_eq!(last.seq, 17);
    assert_eq!(reader.last(|entry| entry.at_ms < 0).expect("reads"), None);
    assert_eq!(reader.page(600, 5, |_| true).expect("reads").entries, []);
    assert_eq!(reader.page(u64::MAX, 5, |_| true).expect("reads").entries, []);
}

#[test]
fn a_reader_sees_what_is_written_later() {
    let folder = log(1);
    let mut audit = Audit::open(folder.path()).expect("opens");
    let reader = audit.reader();
    assert_eq!(reader.head(), 3);
    audit.append(&[entry(4)]).expect("appends");
    let page = reader.page(2, 10, |_| true).expect("reads");
    assert_eq!(page.entries.iter().map(|found| found.seq).collect::<Vec<_>>(), [3, 4]);
    assert!(matches!(Audit::open(folder.path()), Err(Error::Locked(_))), "one writer");
}

#[test]
fn whatever_is_touched_is_named_by_the_first_entry_in_doubt() {
    let change = |touch: &dyn Fn(&mut Vec<u8>, &[usize])| {
        let folder = log(5);
        let file = segment(&folder);
        let places = frames(&file);
        assert_eq!(first_bad(&folder), None);
        let mut bytes = std::fs::read(&file).expect("reads");
        touch(&mut bytes, &places);
        std::fs::write(&file, bytes).expect("writes");
        first_bad(&folder)
    };
    for frame in 0..5 {
        for within in [2, 20, 60, frame::HEADER + 5] {
            let bad = change(&|bytes, places| bytes[places[frame] + within] ^= 1);
            assert_eq!(bad, Some(frame as u64 * 3 + 1), "frame {frame} byte {within}");
        }
    }
    let dropped = change(&|bytes, places| drop(bytes.drain(places[1]..places[2])));
    assert_eq!(dropped, Some(4));
    let swapped = change(&|bytes, places| {
        let third = bytes[places[2]..places[3]].to_vec();
        let second: Vec<u8> = bytes.splice(places[1]..places[2], third).collect();
        let at = places[1] + places[3] - places[2];
        bytes.splice(at..places[3], second);
    });
    assert_eq!(swapped, Some(4));
    let doubled = change(&|bytes, places| {
        let second = bytes[places[1]..places[2]].to_vec();
        bytes.splice(places[2]..places[2], second);
    });
    assert_eq!(doubled, Some(7));
    // Of a segment that is not the last, a start reads the headers alone.
    let folder = log(5);
    let file = segment(&folder);
    std::fs::write(file.with_file_name("seg-00000000000000000016.liaj"), []).expect("a segment that is new");
    assert_eq!(first_bad(&folder), None);
    let mut bytes = std::fs::read(&file).expect("reads");
    bytes[frames(&file)[2] + frame::HEADER + 9] ^= 1;
    std::fs::write(&file, bytes).expect("writes");
    assert_eq!(first_bad(&folder), Some(7), "but a verification reads everything");
    let shortened = change(&|bytes, places| bytes.truncate(places[4]));
    assert_eq!(shortened, Some(13), "the note of the last close knows better");
}

#[test]
fn a_torn_end_is_cut_at_the_next_start_and_nothing_is_given_twice() {
    let folder = log(3);
    std::fs::remove_file(folder.path().join("audit/HEAD")).expect("as after a crash");
    let file = segment(&folder);
    let places = frames(&file);
    let bytes = std::fs::read(&file).expect("reads");
    std::fs::write(&file, &bytes[..places[3] - 3]).expect("writes");
    let reader = Reader::offline(folder.path()).expect("opens");
    assert_eq!(reader.page(0, 100, |_| true).expect("reads").entries.len(), 6, "the torn frame is not read");
    let mut audit = Audit::open(folder.path()).expect("opens");
    assert_eq!(audit.append(&[entry(7)]).expect("appends"), 7);
    assert_eq!(verify(folder.path()).expect("whole").entries, 7);
}

#[test]
fn a_flip_in_a_closed_log_keeps_it_shut() {
    let folder = log(3);
    let file = segment(&folder);
    let at = frames(&file)[1] as u64 + 40;
    let handle = std::fs::OpenOptions::new().write(true).open(&file).expect("opens");
    handle.write_all_at(&[0xEE], at).expect("writes");
    assert!(matches!(Audit::open(folder.path()), Err(Error::Damaged { first: 4, .. })));
}

#[test]
fn after_a_failed_write_nothing_is_written_any_more() {
    let folder = log(1);
    let mut audit = Audit::open(folder.path()).expect("opens");
    audit.write_to(Path::new("/dev/full"));
    assert!(matches!(audit.append(&[entry(4)]), Err(Error::Io(_))));
    assert!(matches!(audit.append(&[entry(4)]), Err(Error::Poisoned)));
    assert_eq!(audit.reader().head(), 3);
}

/// The words are on disk for years: a new one takes a new name, and none is ever renamed.
#[test]
fn the_bytes_of_an_entry_are_these() {
    let bytes = entry(2).to_bytes().expect("writes");
    let text = std::str::from_utf8(&bytes[1..]).expect("text");
    let filter = Digest::of(&2_u64.to_le_bytes());
    assert_eq!(bytes[0], 1);
    let expected = format!(
        "{{\"at_ms\":2,\"who\":\"de-bpol\",\"identity\":{{\"account\":\"de-bpol\"}},\"what\":\"replayed\",\
         \"object\":{{\"feed\":{{\"first\":2,\"last\":11}},\"filter\":\"{filter}\",\"count\":10}},\"result\":\"done\"}}"
    );
    assert_eq!(text, expected);
    assert_eq!(entry(2).identity.to_string(), "account:A_DE_BPOL");
    assert_eq!("subscription-changed".parse::<What>().expect("known"), What::SubscriptionChanged);
    assert!("nonsense".parse::<What>().is_err() && "no party".parse::<Actor>().is_err());
}

/// A log that was taken away whole leaves no frame that is wrong, and one that was cut at a frame none either.
#[test]
fn what_was_signed_of_a_log_must_be_there() {
    use crate::archive::checkpoint::Checkpoint;
    use crate::archive::note::{KeyName, Kind, Note, Signer};
    use crate::archive::notebook::Notebook;
    use crate::archive::tree::Frontier;
    use crate::archive::verify::{self, Against};

    let folder = log(3);
    let signer = Signer::new(KeyName::parse("liaison-1").expect("a name"), Kind::Log, &[1; 32]);
    let verified = || {
        let against = Against { key: Some(signer.verifier()), held: &[] };
        verify::audit(folder.path(), &against).expect("reads")
    };
    let mut audit = Audit::open(folder.path()).expect("opens");
    let mut tree = Frontier::default();
    audit.reader().leaves(0, 9).expect("reads").into_iter().for_each(|leaf| tree.push(leaf));
    let notebook = Notebook::audit(folder.path());
    let origin = notebook.origin(signer.verifier().name()).expect("a name");
    let mut note =
        Note::new(Checkpoint::new(origin, tree.head(), crate::message::time::now()).text()).expect("a note");
    note.add(signer.sign(note.text(), 0));
    notebook.keep(&note).expect("keeps");
    audit.append(&[entry(10)]).expect("appends");
    drop(audit);
    let report = verified().expect("a log");
    assert!(report.ok && report.records == 10 && report.checkpoints.agreed == 2, "{report:?}");

    let file = segment(&folder);
    let whole = std::fs::read(&file).expect("reads");
    let third = whole.windows(4).enumerate().filter(|(_, four)| *four == b"LIAF").nth(2).expect("a frame").0;
    for (bytes, torn, what) in [
        (whole.len() - 1, true, "the last frame is cut or damaged"),
        (third + 9, false, "the last frame is cut or damaged"),
        (third, false, "records are missing at the end"),
    ] {
        std::fs::write(&file, &whole[..bytes]).expect("writes");
        let report = verified().expect("a log");
        assert_eq!((report.ok, report.torn), (false, torn), "{bytes}: {report:?}");
        assert!(report.finding.is_some_and(|finding| finding.what.starts_with(what)), "{bytes}");
    }
    std::fs::remove_dir_all(folder.path().join("audit")).expect("removes");
    let finding = verified().expect("one was signed").finding.expect("it is not there");
    assert_eq!((finding.first_bad, finding.through), (1, Some(9)));
    std::fs::remove_dir_all(folder.path().join("checkpoints")).expect("removes");
    assert!(verified().is_none(), "nobody knows of one");
}
