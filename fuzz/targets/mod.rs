//! What is fuzzed: every reader of bytes that a stranger, a disk or a party of the network may have written.
//!
//! A target takes any bytes, and panics if something does not hold that must hold for all bytes. It knows neither libFuzzer
//! nor the test harness: both give it bytes (`fuzz_targets/`, `tests/it/fuzz.rs`). Nothing here is a rule of the broker.
#![allow(dead_code, reason = "each fuzzer uses one of the targets")]

pub mod cel;
pub mod envelope;
pub mod filter;
pub mod frame;
pub mod headers;
pub mod journal;
pub mod json;
pub mod raw;
pub mod replay;
mod seen;

/// One target.
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]),
    /// Words that are worth putting anywhere.
    pub words: &'static [&'static str],
}

/// All of them.
pub const ALL: &[Target] = &[
    Target { name: "cel", run: cel::run, words: cel::WORDS },
    Target { name: "envelope", run: envelope::run, words: envelope::WORDS },
    Target { name: "filter", run: filter::run, words: filter::WORDS },
    Target { name: "frame", run: frame::run, words: frame::WORDS },
    Target { name: "headers", run: headers::run, words: headers::WORDS },
    Target { name: "journal", run: journal::run, words: journal::WORDS },
    Target { name: "json", run: json::run, words: json::WORDS },
    Target { name: "raw", run: raw::run, words: raw::WORDS },
    Target { name: "replay", run: replay::run, words: replay::WORDS },
];
