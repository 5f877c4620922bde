//! The integration tests: one binary, so that one link serves all.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests fail by panicking")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests stand outside: they have a clock and an environment of their own"
)]

mod audit;
mod auditor;
mod certify;
mod cli;
mod cluster;
mod console;
mod control;
mod crash;
mod drain;
mod duplicates;
mod examples;
mod exports;
mod foreign;
#[allow(dead_code, reason = "a set of tools: not every one is in use at any time")]
mod harness;
mod instances;
mod isolation;
mod judged;
mod laws;
mod load;
mod mail;
mod mailboxes;
mod memory;
mod oracle;
mod poison;
mod processes;
mod proof;
mod receipts;
mod recovery;
mod references;
mod refusals;
mod reload;
mod replay;
mod replay_limits;
mod replayed;
mod replays;
mod rules;
mod samples;
mod services;
mod simulate;
mod start;
mod subscriptions;
mod syntax;
mod tidy;
mod tombstones;
mod tour;
mod unreadable;
mod way;
