//! Exercise: posts and authorities that do not exist, using the broker as real ones do, through the client alone; and
//! the auditor who believes none of them.
//!
//! ```text
//! Plan + seed -> Cast (who) -> Script (what, when, and the verdict that it must get) -> run -> Log -> audit -> report
//! ```
//!
//! A run writes down what it saw and judges nothing. The auditor makes the script again from plan and seed, and compares
//! it with the log; it shares no routing code with the broker, and none with the run.

pub mod audit;
pub mod cast;
pub mod demo;
pub mod log;
pub mod plan;
pub mod report;
pub mod run;
pub mod script;
