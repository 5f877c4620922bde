//! The words of the house: what a message, a name, a subject, an outcome is.
//!
//! Everything here is data without behaviour towards the outside: no I/O, no async, no judgement.
//! The exceptions are [`time::now`], the only place that reads the clock, and [`fault`], which is empty in a release build.

pub mod digest;
pub mod envelope;
pub mod fault;
pub mod json;
pub mod names;
pub mod outcome;
pub mod raw;
pub mod signature;
pub mod subject;
pub mod time;
pub mod tree;
