//! The memory at size: filling, disk, start, memory, scan, one query, verification. Prints one line a figure.
//!
//! ```text
//! cargo bench --bench archive -- [RECORDS] [RECORDS A COMMIT] [DIRECTORY]
//! ```
//! Messages have 1.1 KiB and three recipients. Each look is taken by a process of its own, so that memory and caches of
//! one do not flatter the next. Figures of one run may be compared with each other, not with another machine's.

use std::path::{Path, PathBuf};
use std::process::Command;

use liaison::archive::verify::{self, Against};
use liaison::archive::{Archive, Draft, Error, Record};
use liaison::message::time::stopwatch;

#[path = "support/records.rs"]
mod records;

use records::{draft, root, words};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let number = |at: usize, default: u64| args.get(at).and_then(|text| text.parse().ok()).unwrap_or(default);
    if args.first().is_some_and(|first| first == "look") {
        return look(&args[1], Path::new(&args[2]));
    }
    let (records, batch) = (number(0, 1_000_000), number(1, 256));
    let directory =
        args.get(2).map_or_else(|| std::env::temp_dir().join("liaison-bench-archive"), PathBuf::from);
    drop(std::fs::remove_dir_all(&directory));
    fill(&directory, records, batch);
    let (journal, sled) = (size(&directory.join("journal")), size(&directory.join("sled")));
    #[expect(clippy::cast_precision_loss, reason = "a figure to be read")]
    let each = |bytes: u64| bytes as f64 / records as f64 / 1_024.0;
    println!(
        "disk a message: journal {:.3} KiB, sled {:.3} KiB, together {:.3} KiB",
        each(journal),
        each(sled),
        each(journal + sled)
    );
    for what in ["open", "kill", "open", "query", "scan", "verify"] {
        let program = std::env::current_exe().expect("this program");
        let status = Command::new(program).args(["look", what]).arg(&directory).status().expect("runs");
        assert!(status.success() || what == "kill", "{what}: {status}");
    }
    std::fs::remove_dir_all(&directory).expect("removes");
}

fn fill(directory: &Path, records: u64, batch: u64) {
    let (mut archive, _) = Archive::open(directory, &root()).expect("opens");
    let mut bytes = 0;
    let mut spent = std::time::Duration::ZERO;
    let mut next = 1;
    while next <= records {
        let drafts: Vec<Draft> =
            (next..=records.min(next + batch - 1)).map(|n| draft(n, &words(n))).collect();
        bytes += drafts.iter().map(|draft| draft.payload.len() as u64).sum::<u64>();
        next += drafts.len() as u64;
        let started = stopwatch();
        archive.commit(drafts).expect("commits");
        spent += started.elapsed();
    }
    let started = stopwatch();
    archive.close().expect("closes");
    println!(
        "filled: {records} records of {} bytes, {batch} a commit: {:.0} records/s committed, closed after {:.1} s",
        bytes / records,
        per_second(records, spent),
        started.elapsed().as_secs_f64()
    );
}

#[expect(clippy::cast_precision_loss, reason = "a figure to be read")]
fn per_second(records: u64, took: std::time::Duration) -> f64 {
    records as f64 / took.as_secs_f64()
}

fn look(what: &str, directory: &Path) {
    let started = stopwatch();
    match what {
        "open" | "kill" => {
            let (mut archive, recovery) = Archive::open(directory, &root()).expect("opens");
            let opened = started.elapsed();
            println!("start: {:.2} s, RSS {} MiB, {:?}", opened.as_secs_f64(), rss(), recovery.why);
            if what == "kill" {
                let head = archive.next();
                for n in head..head + 100 {
                    archive.commit(vec![draft(n, "the last words")]).expect("commits");
                }
                println!("killed after 100 more commits");
                drop(Command::new("kill").args(["-KILL", &std::process::id().to_string()]).status());
            }
            archive.close().expect("closes");
        }
        "query" => {
            let archive = Archive::read_only(directory).expect("opens");
            let stamp =
                |record: Option<Result<Record, Error>>| record.expect("records").expect("reads").archived_ms;
            let (first, last) =
                (stamp(archive.records(1).next()), stamp(archive.records(archive.last()).next()));
            // A week of five years.
            let (from, to) =
                (first + (last - first) / 2, first + (last - first) / 2 + (last - first) / 260 + 1);
            let opened = started.elapsed();
            let started = stopwatch();
            let country = |record: &Record| {
                record.summary.as_ref().is_some_and(|summary| summary.country.as_deref() == Some("TN"))
            };
            let found = archive
                .records_between(1, from, to)
                .filter(|record| country(record.as_ref().expect("reads")))
                .count();
            println!(
                "query, one country, 1/260 of the time: {found} records in {:.0} ms, opening the journal {:.0} ms before",
                started.elapsed().as_secs_f64() * 1_000.0,
                opened.as_secs_f64() * 1_000.0
            );
        }
        "scan" => {
            let archive = Archive::read_only(directory).expect("opens");
            let started = stopwatch();
            let found = archive.records(1).inspect(|record| assert!(record.is_ok())).count() as u64;
            println!("scan: {found} records, {:.0} records/s decoded", per_second(found, started.elapsed()));
        }
        _ => {
            let report = verify::messages(directory, &Against::default()).expect("verifies");
            println!("verify: {:.1} s, {} records", started.elapsed().as_secs_f64(), report.records);
        }
    }
}

/// Resident memory, MiB.
fn rss() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() / 1_024
}

fn size(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).expect("a directory");
    entries.map(|entry| entry.expect("an entry").metadata().expect("stat").len()).sum()
}
