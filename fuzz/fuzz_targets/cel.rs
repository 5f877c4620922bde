//! Gives libFuzzer's bytes to the target `cel`. What must hold is in `targets/cel.rs`.
#![no_main]

#[path = "../targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::cel::run(bytes));
