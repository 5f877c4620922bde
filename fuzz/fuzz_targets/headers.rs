//! Gives libFuzzer's bytes to the target `headers`. What must hold is in `targets/headers.rs`.
#![no_main]

#[path = "../targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::headers::run(bytes));
