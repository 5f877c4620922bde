//! Gives libFuzzer's bytes to the target `journal`. What must hold is in `targets/journal.rs`.
#![no_main]

#[path = "../targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::journal::run(bytes));
