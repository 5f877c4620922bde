//! What became of a message after it was accepted, in so far as a replay must know.

use crate::archive::{Reader, Record};

/// Why a message is not given out any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Its content is destroyed.
    #[expect(dead_code, reason = "the archive does not keep fates yet")]
    Erased,
    /// Its originator withdrew it.
    #[expect(dead_code, reason = "the archive does not keep fates yet")]
    Retracted,
    /// Its `expirytime` has passed.
    #[expect(dead_code, reason = "the archive does not keep fates yet")]
    Expired,
}

impl Why {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Erased => "erased",
            Self::Retracted => "retracted",
            Self::Expired => "expired",
        }
    }
}

/// That a message is gone, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone {
    /// Why.
    pub(super) why: Why,
    /// Since when, Unix milliseconds.
    pub(super) at_ms: i64,
}

/// What became of a record by `now`.
pub(super) fn gone(_reader: &Reader, _record: &Record, _now_ms: i64) -> Option<Gone> {
    None
}
