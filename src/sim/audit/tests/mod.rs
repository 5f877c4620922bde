//! Tests of the auditor: a copy of the broker that can be spoilt, the oracle beside the crate's routing, `where` beside CEL.

mod agreement;
mod bugs;
mod clean;
mod deal;
mod double;
mod log;
mod scripted;
mod spoil;
mod wants;
