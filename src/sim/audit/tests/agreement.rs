//! The oracle beside the crate's routing.
