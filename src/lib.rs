//! liaison: the information exchange broker of the European network of immigration liaison officers
//! (Regulation (EU) 2019/1240).
//!
//! Officers report; authorities receive what the originator released to them. The broker takes messages from NATS
//! subjects, judges each one, routes it, keeps it, delivers it and answers with a receipt:
//!
//! ```text
//! NATS IN_<PARTY> -> Raw -> Envelope -> Permitted -> Routing -> Archived -> delivered -> Receipt -> NATS
//!                      \________ Refusal / quarantined _________/     ^
//!                                kept too: digest, code, places ______|
//! ```
//!
//! Data moves one way. Each step consumes the last and returns the next, and only the room that makes a type can make
//! it: nothing is routed that was not permitted ([`rules::judge`]), nothing is delivered that was not kept
//! ([`archive::Archived`]), and a receipt says `accepted` only when the bytes are on stable storage. A refusal is a
//! value with a stable code ([`message::outcome`]); an `Err` means that the house is on fire.
//!
//! The rooms, in reading order; a file imports only from rooms above its own here, and those of one rank do not know
//! each other (`tests/it/tidy.rs` says so):

// 0: the words. What travels, without behaviour.
pub mod message;
// 1: the judgement. Pure: no I/O, no clock, no async.
pub mod rules;
// 2: the memory, blocking; the road, async.
pub mod archive;
pub mod wire;
// 3: the daemon, which joins them; the client of a member-state system; files for analysts.
pub mod broker;
pub mod client;
pub mod export;
// 4: the window for operators; officers that do not exist.
pub mod console;
pub mod sim;
// 5: the door.
pub mod cli;
