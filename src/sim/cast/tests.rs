//! Tests of the cast.
