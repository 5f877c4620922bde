//! Where a replay goes on: the broker's cursor, and how far into the page behind it somebody has read.
//!
//! A cursor stands between pages. Who breaks off in the middle of a page goes on from where it began and skips what he
//! had: the feed is ordered by sequence, so that is exact.

use std::fmt;
use std::str::FromStr;

/// A place in a feed. As text it is the broker's cursor, or `<cursor>~<last sequence read>` inside a page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    cursor: Option<String>,
    above: u64,
}

impl Place {
    /// A place between pages.
    #[must_use]
    pub fn at(cursor: String) -> Self {
        Self { cursor: Some(cursor), above: 0 }
    }

    /// A place inside the page that begins here, behind this sequence.
    #[must_use]
    pub fn within(&self, seq: u64) -> Self {
        Self { cursor: self.cursor.clone(), above: seq }
    }

    /// The broker's cursor; none at the beginning of the feed.
    #[must_use]
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// The last sequence of the page that was read.
    #[must_use]
    pub fn above(&self) -> u64 {
        self.above
    }

    /// True if it lies inside a page.
    #[must_use]
    pub fn is_within(&self) -> bool {
        self.above > 0
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.cursor().unwrap_or_default())?;
        if self.is_within() { write!(f, "~{}", self.above) } else { Ok(()) }
    }
}

impl FromStr for Place {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (cursor, above) = match text.rsplit_once('~') {
            Some((cursor, above)) => (cursor, above.parse().map_err(|_| "is no cursor")?),
            None => (text, 0),
        };
        let cursor = (!cursor.is_empty()).then(|| cursor.to_owned());
        Ok(Self { cursor, above })
    }
}
