//! Limits of the process: what many connections need.

use rustix::process::{Resource, getrlimit, setrlimit};

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
