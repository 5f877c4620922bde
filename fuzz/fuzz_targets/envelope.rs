//! Gives libFuzzer's bytes to the target `envelope`. What must hold is in `targets/envelope.rs`.
#![no_main]

#[path = "../targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::envelope::run(bytes));
