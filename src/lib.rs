//! liaison
pub mod archive;
pub mod message;
pub mod wire;
