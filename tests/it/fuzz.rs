//! The fuzz targets as plain tests: each over its corpus in `fuzz/corpus/`, and over so many changes of it.
//!
//! A target runs in a process of its own with bounded memory, for what breaks it may be a stack or an allocation that nobody
//! can catch. `LIAISON_FUZZ_ROUNDS` makes it long, `LIAISON_SEED` repeats it; the input that broke it is printed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::harness::{Dice, folder, setting, word};

#[path = "../../fuzz/targets/mod.rs"]
mod targets;

use targets::Target;

/// Changes tried, unless asked otherwise.
const ROUNDS: u64 = 1_500;
/// Memory that a target may have, in KiB, this binary and its threads included.
const MEMORY: u64 = 1 << 20;
/// How long one input may take on a busy machine without optimisation.
const SLOWEST: Duration = Duration::from_secs(3);
/// Longest input made.
const LONGEST: usize = 32 << 10;
/// How long a round may take on average before the whole is given up.
const PATIENCE_PER_ROUND: Duration = Duration::from_millis(60);

macro_rules! each {
    ($($test:ident: $target:literal,)*) => {$(
        #[test]
        fn $test() {
            in_its_own_process($target);
        }
    )*

        #[test]
        fn every_target_is_tried_and_has_a_corpus_and_a_fuzzer() {
            let names: Vec<&str> = targets::ALL.iter().map(|target| target.name).collect();
            assert_eq!(names, [$($target,)*]);
            for name in names {
                assert!(corpus(name).len() >= 5, "{name} has hardly a corpus");
                assert!(root().join("fuzz_targets").join(format!("{name}.rs")).is_file(), "{name} has no fuzzer");
            }
        }
    };
}

each! {
    conditions_hold_on_any_text: "cel",
    envelopes_come_back_as_they_were: "envelope",
    filters_come_back_and_contradict_no_outline: "filter",
    frames_and_blocks_come_back_or_are_refused: "frame",
    header_blocks_and_subjects_come_back_as_they_were: "headers",
    a_changed_journal_gives_what_was_written_or_says_so: "journal",
    json_comes_back_and_both_readers_agree: "json",
    any_publication_is_judged_alike_twice: "raw",
    replay_requests_are_understood_the_same_again: "replay",
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The corpus of a target, by name.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(root().join("corpus").join(name)).expect("a corpus");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).expect("readable")).collect()
}

/// Lets [`search`] loose on one target in a process with bounded memory and time.
fn in_its_own_process(name: &str) {
    let folder = folder();
    let input = folder.path().join("input");
    let rounds = setting("LIAISON_FUZZ_ROUNDS", ROUNDS);
    let limited = format!("ulimit -v {MEMORY}; ulimit -c 0; exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.arg("-c").arg(limited).arg(std::env::current_exe().expect("this binary"));
    command.args(["--exact", "fuzz::search", "--ignored", "--nocapture", "--test-threads", "1"]);
    command.env("LIAISON_FUZZ_TARGET", name).env("LIAISON_FUZZ_INPUT", &input).env("MALLOC_ARENA_MAX", "2");
    command.env("LIAISON_FUZZ_ROUNDS", rounds.to_string());
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let words = [hear(child.stdout.take().expect("a pipe")), hear(child.stderr.take().expect("a pipe"))];
    let end = Instant::now()
        + Duration::from_secs(30)
        + PATIENCE_PER_ROUND * u32::try_from(rounds).unwrap_or(u32::MAX);
    let status = loop {
        if let Some(status) = child.try_wait().expect("waits") {
            break status.to_string();
        }
        if Instant::now() > end {
            drop(child.kill());
            break "took too long".to_owned();
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let words: String = words.into_iter().map(|words| words.join().expect("reads")).collect();
    println!("{words}");
    let input = std::fs::read(&input).unwrap_or_default();
    assert!(
        status == "exit status: 0",
        "{name}: {status}\n{words}\nat the input b\"{}\"",
        input.escape_ascii()
    );
    assert!(words.contains("rounds done"), "{name}: nothing was tried\n{words}");
}

fn hear(mut pipe: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("reads");
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// What the tests above start again in a process of its own.
#[test]
#[ignore = "started by the other tests of this file"]
fn search() {
    let Some(name) = word("LIAISON_FUZZ_TARGET") else { return };
    let target = targets::ALL.iter().find(|target| target.name == name).expect("a target");
    let input = word("LIAISON_FUZZ_INPUT").map(PathBuf::from).expect("a place for the input");
    let seeds = corpus(&name);
    let mut slowest = Duration::ZERO;
    let mut attempt = |bytes: &[u8]| {
        std::fs::write(&input, bytes).expect("writes the input");
        let began = Instant::now();
        (target.run)(bytes);
        let took = began.elapsed();
        slowest = slowest.max(took);
        assert!(took < SLOWEST, "took {took:?}");
    };
    // What is made at the first use, the schemas above all, is not the input's fault.
    (target.run)(seeds.first().expect("a corpus"));
    seeds.iter().for_each(|seed| attempt(seed));
    let mut dice = Dice::new(&format!("fuzz {name}"));
    let rounds = setting("LIAISON_FUZZ_ROUNDS", ROUNDS);
    for _ in 0..rounds {
        attempt(&changed(target, &seeds, &mut dice));
    }
    println!("{name}: {} files and {rounds} rounds done, the slowest took {slowest:?}", seeds.len());
}

/// One of the corpus, changed at a few places.
fn changed(target: &Target, seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seeds[pick(dice, seeds.len())].clone();
    for _ in 0..=dice.below(5) {
        change(target, seeds, dice, &mut bytes);
        bytes.truncate(LONGEST);
    }
    bytes
}

/// A number below `end`, which may be 0.
fn pick(dice: &mut Dice, end: usize) -> usize {
    usize::try_from(dice.below(end.max(1) as u64)).expect("small")
}

/// A stretch of these bytes, mostly short.
fn stretch(dice: &mut Dice, bytes: &[u8]) -> std::ops::Range<usize> {
    let from = pick(dice, bytes.len());
    let most = if dice.below(4) == 0 { bytes.len() - from } else { (bytes.len() - from).min(12) };
    from..from + pick(dice, most + 1)
}

fn change(target: &Target, seeds: &[Vec<u8>], dice: &mut Dice, bytes: &mut Vec<u8>) {
    let at = pick(dice, bytes.len() + 1);
    match dice.below(9) {
        0 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << dice.below(8);
            }
        }
        1 => {
            const ODD: [u8; 10] = [0, 1, 0x7f, 0x80, 0xc0, 0xff, b'"', b'\\', b'\n', b'0'];
            if let Some(byte) = bytes.get_mut(at) {
                *byte = ODD[pick(dice, ODD.len())];
            }
        }
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(stretch(dice, bytes))),
        4 => {
            let again = bytes[stretch(dice, bytes)].to_vec();
            bytes.splice(at..at, again);
        }
        5 => {
            let seed = &seeds[pick(dice, seeds.len())];
            let part = seed[stretch(dice, seed)].to_vec();
            bytes.splice(at..at, part);
        }
        6 => {
            // The same many times over: depth and length are what breaks readers.
            let part = bytes[stretch(dice, bytes)].to_vec();
            let times = 1 + pick(dice, 200);
            if part.len() * times <= LONGEST {
                bytes.splice(at..at, part.repeat(times));
            }
        }
        _ => {
            let word = target.words[pick(dice, target.words.len())];
            let end = if dice.below(2) == 0 { at } else { (at + word.len()).min(bytes.len()) };
            bytes.splice(at..end, word.bytes());
        }
    }
}
