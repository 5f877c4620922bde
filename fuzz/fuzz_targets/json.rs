//! Gives libFuzzer's bytes to the target `json`. What must hold is in `targets/json.rs`.
#![no_main]

#[path = "../targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::json::run(bytes));
