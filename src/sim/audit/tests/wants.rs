//! `where` beside CEL.
