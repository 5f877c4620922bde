//! The integration tests: one binary, so that one link serves all.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests fail by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test has clock and environment of its own")]

mod auditor;
mod cli;
mod console;
mod crash;
mod drain;
mod harness;
mod load;
mod mailboxes;
mod processes;
mod recovery;
mod reload;
mod start;
mod tidy;
mod tour;
mod way;
