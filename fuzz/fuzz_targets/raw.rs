//! Gives libFuzzer's bytes to the target `raw`. What must hold is in `targets/raw.rs`.
#![no_main]

#[path = "../targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::raw::run(bytes));
