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
use liaison::archive::{Archive, Category, Draft, Entry, Error, Plane, Record, RootKey, Summary, Why};
use liaison::message::digest::Digest;
use liaison::message::names::{MessageId, PartyId, TypeId};
use liaison::message::outcome::Outcome;
use liaison::message::raw::Position;
use liaison::message::time::stopwatch;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const COUNTRIES: [&str; 8] = ["TN", "LY", "MA", "TR", "NG", "NE", "EG", "SN"];
const SENDERS: [&str; 6] = ["it-moi", "de-bpol", "fr-dnpaf", "es-pn", "gr-hp", "nl-dtv"];
const READERS: [&str; 8] =
    ["at-bmi", "be-ibz", "eu-com", "eu-euaa", "eu-frontex", "no-pu", "pl-sg", "se-mig"];

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

fn root() -> RootKey {
    RootKey::parse(&"5a".repeat(32)).expect("a key")
}

fn party(id: &str) -> PartyId {
    PartyId::parse(id).expect("well formed")
}

/// One report: texts that differ, as real ones do.
fn draft(n: u64, rest: &str) -> Draft {
    let pick = |list: &[&str], salt: u64| {
        list[usize::try_from((n * 31 + salt) % list.len() as u64).expect("small")].to_owned()
    };
    let (sender, country) = (pick(&SENDERS, 0), pick(&COUNTRIES, 3));
    let payload = format!(
        "{{\"specversion\":\"1.0\",\"id\":\"0195c3a1-0001-7000-8000-{n:012x}\",\"source\":\"/authority/{sender}\",\
         \"type\":\"eu.ilonet.flow.observation.v1\",\"subject\":\"{country}\",\"time\":\"2026-03-02T08:15:{:02}Z\",\
         \"originator\":\"{sender}\",\"data\":{{\"title\":\"Report {n} on {country}\",\"narrative\":\"{rest}\",\
         \"count\":{{\"value\":{},\"min\":{},\"max\":{}}}}}}}",
        n % 60,
        n % 977,
        (n % 977).saturating_sub(n % 7),
        n % 977 + n % 13,
    );
    let recipients = (0..3).map(|salt| Entry { party: party(&pick(&READERS, salt)), why: Why::Named });
    Draft {
        outcome: Outcome::Accepted,
        party: party(&sender),
        position: Position { epoch: 1, sequence: n },
        subject: format!("ilo.in.{sender}.system.net.flow.observation.{}", country.to_lowercase()),
        arrived_ms: 1_790_000_000_000 + i64::try_from(n).expect("small"),
        digest: Digest::of(payload.as_bytes()),
        payload: payload.into_bytes(),
        seal: false,
        summary: Some(Summary {
            source: format!("/authority/{sender}"),
            id: MessageId::parse(&format!("0195c3a1-0001-7000-8000-{n:012x}")).expect("well formed"),
            kind: TypeId::parse("flow.observation").expect("well formed"),
            major: 1,
            originator: party(&sender),
            plane: Plane::Net,
            country: Some(country),
            time_ms: 1_790_000_000_000,
            audience: vec!["at-bmi".into(), "be-ibz".into(), "eu-com".into()],
            purpose: "3.4.b".into(),
            category: Category::None,
            expires_ms: None,
            erase_ms: None,
            review_ms: None,
        }),
        code: None,
        detail: Vec::new(),
        recipients: recipients.collect(),
        withheld: Vec::new(),
        target: None,
        late: false,
        effects: Vec::new(),
    }
}

/// 830 bytes of words that are not the same twice.
fn words(n: u64) -> String {
    const WORDS: [&str; 24] = [
        "boats", "left", "the", "coast", "north", "of", "harbour", "at", "night", "with", "groups", "from",
        "several", "towns", "prices", "rose", "after", "storms", "drivers", "changed", "route", "towards",
        "border", "market",
    ];
    let mut state = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut text = String::with_capacity(860);
    while text.len() < 825 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push_str(WORDS[usize::try_from(state % 24).expect("small")]);
        text.push(' ');
        if state.is_multiple_of(5) {
            text.push_str(&(state >> 40).to_string());
            text.push(' ');
        }
    }
    text
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
