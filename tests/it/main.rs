//! The integration tests: one binary, so that one link serves all.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests fail by panicking")]

mod duplicates;
mod examples;
mod foreign;
mod harness;
mod isolation;
mod mail;
mod oracle;
mod receipts;
mod services;
mod subscriptions;
mod tidy;
mod unreadable;
mod way;
