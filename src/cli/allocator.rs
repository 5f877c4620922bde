//! How soon memory that was freed goes back to the machine: said to the allocator before the broker starts.
//!
//! It says nothing of how much the broker needs, and changes nothing for the commands that end by themselves.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Where the allocator reads it, before `main`.
const SETTING: &str = "MIMALLOC_PURGE_DELAY";
/// Milliseconds. By itself it waits for a second: with 58 feeds replayed at once that is 50 MB which nobody uses. At once would
/// be a call to the kernel for each freed buffer (`docs/PERFORMANCE.md`).
const DELAY: &str = "20";

/// Starts this program anew in its own place, under the same process id, with the setting in its environment; comes back if it is
/// there, whoever set it. The only other way to say it is a call into C, and nothing here is `unsafe`. Must come before
/// anything is opened.
pub(super) fn give_back_soon() {
    if setting().is_some() {
        return;
    }
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_else(|| "liaison".into());
    let error = match std::env::current_exe() {
        Ok(program) => Command::new(program).arg0(name).args(args).env(SETTING, DELAY).exec(),
        Err(error) => error,
    };
    // It costs memory and nothing else.
    tracing::debug!(%error, "freed memory goes back to the machine after a second");
}

#[expect(clippy::disallowed_methods, reason = "the allocator's own setting, not a flag of ours")]
fn setting() -> Option<std::ffi::OsString> {
    std::env::var_os(SETTING)
}
