//! The sidecar of an export: what was asked, what went in, and the digest by which the file can be checked.
//!
//! No time of day, no path, no user: who repeats an export can compare manifests byte by byte.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::{Format, Totals};

/// What made the file.
pub const TOOL: &str = concat!("liaison ", env!("CARGO_PKG_VERSION"));

/// What only the maker of an export knows of it.
#[derive(Debug, Clone, Default)]
pub struct Provenance {
    /// What was asked for.
    pub query: Value,
    /// False if it was broken off.
    pub complete: bool,
    /// Where a replay goes on.
    pub cursor: Option<String>,
    /// Records that the query meant but that were left out, by reason.
    pub left_out: BTreeMap<&'static str, u64>,
}

/// The manifest of one file.
#[derive(Debug, Clone, Serialize)]
pub struct Manifest {
    /// Name and version of the tool.
    pub tool: &'static str,
    /// Format of the file.
    pub format: Format,
    /// What was asked for.
    pub query: Value,
    /// False if it was broken off.
    pub complete: bool,
    /// Events in the file.
    pub count: u64,
    /// Tombstones in the file.
    pub tombstones: u64,
    /// Records that the query meant but that were left out, by reason.
    pub left_out: BTreeMap<&'static str, u64>,
    /// Sequence of the first item.
    pub first_seq: Option<u64>,
    /// Sequence of the last item.
    pub last_seq: Option<u64>,
    /// GeoJSON only: features.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub features: Option<u64>,
    /// GeoJSON only: events without coordinates, which are not in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unlocated: Option<u64>,
    /// Replay only: where it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Bytes of the file.
    pub bytes: u64,
    /// SHA-256 of the file, hexadecimal, as `sha256sum` prints it.
    pub sha256: String,
}

impl Manifest {
    /// Puts it together.
    #[must_use]
    pub fn new(format: Format, provenance: Provenance, totals: &Totals) -> Self {
        let of_map = |value| (format == Format::Geojson).then_some(value);
        Self {
            tool: TOOL,
            format,
            query: provenance.query,
            complete: provenance.complete,
            count: totals.count,
            tombstones: totals.tombstones,
            left_out: provenance.left_out,
            first_seq: totals.first,
            last_seq: totals.last,
            features: of_map(totals.features),
            unlocated: of_map(totals.unlocated),
            cursor: provenance.cursor,
            bytes: totals.bytes,
            sha256: totals.digest.hex(),
        }
    }

    /// As text that people can read too, with a line break at the end.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}
