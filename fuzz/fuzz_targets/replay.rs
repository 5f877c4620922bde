//! Gives libFuzzer's bytes to the target `replay`. What must hold is in `targets/replay.rs`.
#![no_main]

#[path = "../targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::replay::run(bytes));
