//! The integration tests: one binary, so that one link serves all.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests fail by panicking")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests stand outside: they have a clock and an environment of their own"
)]

mod acknowledgements;
mod all_pairs;
mod audit;
mod auditor;
mod bad_inputs;
mod canary;
mod certify;
mod chaos;
mod cli;
mod cluster;
mod console;
mod control;
mod crash;
mod doctor;
mod drain;
mod duplicates;
mod entitlement;
mod examples;
mod exports;
mod faults;
mod foreign;
mod full;
mod fuzz;
mod harness;
mod hostile;
mod instances;
mod isolation;
mod judged;
mod keys;
mod laws;
mod load;
mod mail;
mod mailboxes;
mod materials;
mod memory;
mod ops;
mod oracle;
mod partition;
mod poison;
mod processes;
mod proof;
mod proxy;
mod rawlink;
mod receipts;
mod recovery;
mod references;
mod refusals;
mod reload;
mod replay;
mod replay_limits;
mod replayed;
mod replays;
mod roads;
mod rules;
mod samples;
mod scene;
mod server;
mod services;
mod signatures;
mod simulate;
mod stages;
mod start;
mod strain;
mod subscriptions;
mod syntax;
mod tidy;
mod tls;
mod tombstones;
mod tour;
mod views;
mod way;
