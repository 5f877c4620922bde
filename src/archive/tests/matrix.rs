//! The corruption matrix: bits flipped and files cut, at random places of journal, sled and key files, one at a time. Each
//! time the archive is as it was, or made good, or refused in clear words, or says of a single message that it is lost. Never is
//! anything wrong or missing in silence.
//!
//! `LIAISON_FLIPS=1000` makes it long; `LIAISON_SEED` repeats a run.

use super::*;

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % most as u64).expect("small")
    }
}

#[expect(clippy::disallowed_methods, reason = "how long a test runs is the caller's wish")]
fn wish(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

const RECORDS: u64 = 700;

/// How one damage ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Clean,
    Repaired,
    Refused,
    SaidOfOne,
}

pub(super) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("creates");
    for entry in std::fs::read_dir(from).expect("lists") {
        let entry = entry.expect("lists");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("stat").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copies");
        }
    }
}

/// Everything read back; `None` if something is wrong or missing that nobody was told of.
fn look(directory: &Path) -> Option<End> {
    let (archive, recovery) = match Archive::open(directory, &root()) {
        Ok(opened) => opened,
        Err(error @ (Error::Store(_) | Error::Io(_) | Error::Locked(_) | Error::Poisoned)) => {
            eprintln!("not a clear refusal: {error}");
            return None;
        }
        Err(_) => return Some(End::Refused),
    };
    let reader = archive.reader();
    let mut end = if recovery.why.is_empty() && !recovery.rebuilt { End::Clean } else { End::Repaired };
    if reader.head_seq() != RECORDS {
        return None;
    }
    for n in 1..=RECORDS {
        let record = match reader.get(n) {
            Ok(record) => record?,
            Err(_) => {
                end = End::SaidOfOne;
                continue;
            }
        };
        let expected = draft(n);
        if *record != Record::from_draft(expected.clone(), n, record.archived_ms, record.body.clone()) {
            eprintln!("record {n} is not what was committed: {recovery:?} {record:?}");
            return None;
        }
        match reader.open(&record) {
            Ok(Opened::Content(content)) if content.payload == expected.payload => {}
            Ok(Opened::Lost) => end = End::SaidOfOne,
            Ok(opened) => {
                eprintln!("record {n} opens to {opened:?}: {recovery:?}");
                return None;
            }
            Err(_) => end = End::SaidOfOne,
        }
    }
    Some(end)
}

#[test]
fn no_flip_and_no_cut_is_ever_silent() {
    let seed = wish("LIAISON_SEED", 1);
    let mut dice = Dice(seed);
    let whole = tempfile::tempdir().expect("temp dir");
    let (mut archive, _) = open(whole.path());
    fill(&mut archive, 1, RECORDS, 23);
    archive.close().expect("closes");
    let files = [
        "journal/seg-00000000000000000001.liaj",
        "journal/HEAD",
        "sled/db",
        "keys/messages.liak",
        "keys/blocks.liak",
    ];
    let mut ends: std::collections::BTreeMap<(&str, bool, End), u32> = std::collections::BTreeMap::new();
    for round in 0..wish("LIAISON_FLIPS", 40) {
        let name = files[dice.below(files.len())];
        let damaged = tempfile::tempdir().expect("temp dir");
        copy(whole.path(), damaged.path());
        let file = damaged.path().join(name);
        let mut bytes = std::fs::read(&file).expect("reads");
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
        let cuts = dice.below(4) == 0;
        let at = dice.below(used);
        if cuts {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 1 << dice.below(8);
        }
        std::fs::write(&file, &bytes).expect("writes");
        let end = look(damaged.path());
        let end = end.unwrap_or_else(|| {
            panic!("seed {seed}, round {round}: {name}, byte {at}, cut {cuts}: silent loss")
        });
        *ends.entry((name, cuts, end)).or_default() += 1;
    }
    eprintln!("seed {seed}: {ends:#?}");
}
