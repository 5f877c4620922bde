//! Limits of the process: what many connections need, and that its memory never becomes a file.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// No core file of this process or of its children: their memory holds messages and keys in the clear. Handlers of cores
/// that are programs go by the same limit. Not by `PR_SET_DUMPABLE`, which would take from a process without rights the
/// sight of its own descriptors.
pub fn forbid_core_files() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if getrlimit(Resource::Core).maximum == none.maximum {
        return; // as the unit in `docs/ops` has it, which also takes the call away
    }
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "core files cannot be forbidden; a crash may write messages and keys to disk");
    }
}

/// Raises the number of descriptors that may be open to what the system allows; the common limit of 1,024 is for programs
/// that still use `select`. Children inherit it.
pub fn raise_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::debug!(%error, "the limit of open files stays as it is");
        }
    }
}
