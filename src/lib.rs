//! liaison: the information exchange broker of the European network of immigration liaison officers
//! (Regulation (EU) 2019/1240).

pub mod archive;
pub mod message;
pub mod rules;
