//! A journal that somebody changed: what is read from it is what was written, record for record, up to a place that is named or
//! a torn end that is told. Never anything else, and never less in silence.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use liaison::archive::{Archive, Record};

/// Worth putting anywhere.
pub const WORDS: &[&str] =
    &["\0\0\0\0\0\0", "\u{1}\0\0\0\0\0", "\u{2}\0\u{1}\0\u{1}\0", "\u{3}\0\u{1}\0\u{1}\0", "\u{4}\0\0\0\0\0"];

/// The segment that this version wrote.
const SEGMENT: &[u8] =
    include_bytes!("../../tests/fixtures/archive-v2/journal/seg-00000000000000000001.liaj");

static WRITTEN: LazyLock<(Vec<Record>, Vec<usize>)> = LazyLock::new(|| {
    let (records, torn) = read(SEGMENT).expect("the fixture is whole");
    assert_eq!(torn, 0);
    let ends = (0..=SEGMENT.len()).filter(|at| SEGMENT[*at..].starts_with(b"LIAF") || *at == SEGMENT.len());
    (records.into_iter().map(|record| record.expect("the fixture is whole")).collect(), ends.collect())
});

/// Edits of six bytes: what is done, at which offset, and with what.
pub fn run(bytes: &[u8]) {
    let mut segment = SEGMENT.to_vec();
    for edit in bytes.chunks_exact(6).take(8) {
        let number = |at: usize| usize::from(u16::from_le_bytes([edit[at], edit[at + 1]]));
        let (at, value) = (number(2) % (segment.len() + 1), number(4));
        let end = (at + value).min(segment.len());
        match edit[0] % 6 {
            0 => {
                if let Some(byte) = segment.get_mut(at) {
                    *byte ^= edit[1];
                }
            }
            1 => segment.truncate(at),
            2 => drop(segment.drain(at..end)),
            3 => {
                let twice = segment[at..end].to_vec();
                segment.splice(at..at, twice);
            }
            4 => segment.insert(at, edit[1]),
            _ => segment[at..end].fill(edit[1]),
        }
    }
    holds(&segment);
}

fn holds(segment: &[u8]) {
    let (written, ends) = &*WRITTEN;
    let Ok((found, torn)) = read(segment) else { return }; // refused, and the place was named
    for (whole, record) in found.iter().enumerate() {
        let Ok(record) = record else { return }; // named where it is read
        assert_eq!(Some(record), written.get(whole), "a record that was not written is read");
    }
    // Less than was written and no word about it: only if it ends exactly between two frames, which the note beside it finds out.
    let clean = SEGMENT.starts_with(segment) && ends.contains(&segment.len());
    assert!(torn > 0 || clean, "records are missing and nothing is said");
}

type Read = (Vec<Result<Record, liaison::archive::Error>>, u64);

/// All records of an archive with this one segment, and the bytes of its torn end.
fn read(segment: &[u8]) -> Result<Read, liaison::archive::Error> {
    let place = Place::new();
    let journal = place.0.join("journal");
    std::fs::create_dir_all(&journal).expect("a directory");
    std::fs::write(journal.join("seg-00000000000000000001.liaj"), segment).expect("writes");
    let archive = Archive::read_only(&place.0)?;
    let records: Vec<_> = archive.records(1).collect();
    let torn = archive.torn_bytes();
    Ok((records, torn))
}

/// A directory that goes when it is dropped.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let no = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("liaison-fuzz-{}-{no}", std::process::id())))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}
