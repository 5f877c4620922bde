//! The integration tests: one binary, so that one link serves all.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests fail by panicking")]

mod auditor;
mod crash;
mod drain;
mod duplicates;
mod examples;
mod harness;
mod isolation;
mod judged;
mod laws;
mod load;
mod mail;
mod mailboxes;
mod oracle;
mod poison;
mod processes;
mod recovery;
mod references;
mod refusals;
mod rules;
mod services;
mod subscriptions;
mod syntax;
mod tidy;
mod way;
