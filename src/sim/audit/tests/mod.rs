//! Tests of the auditor.
