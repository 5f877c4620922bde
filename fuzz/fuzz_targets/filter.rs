//! Gives libFuzzer's bytes to the target `filter`. What must hold is in `targets/filter.rs`.
#![no_main]

#[path = "../targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::filter::run(bytes));
