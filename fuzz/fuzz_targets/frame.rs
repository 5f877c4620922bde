//! Gives libFuzzer's bytes to the target `frame`. What must hold is in `targets/frame.rs`.
#![no_main]

#[path = "../targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::frame::run(bytes));
