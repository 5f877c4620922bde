//! Exercise: posts and authorities that do not exist, using the broker as real ones do, through the client alone.

pub mod demo;
