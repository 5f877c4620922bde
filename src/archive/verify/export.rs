//! An NDJSON export held against its manifest: each event against its digest, the file against what the manifest says.
//!
//! An export holds what a query meant, so a gap between sequences is no fault by itself; that a line is missing shows by the
//! manifest alone, which is as good as the way on which it came.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::archive::Error;
use crate::message::digest::Digest;

/// What was found in an export.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ExportReport {
    /// True if nothing is wrong.
    pub ok: bool,
    /// First sequence that is wrong, if it can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_bad: Option<u64>,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<&'static str>,
    /// Lines that were read.
    pub lines: u64,
    /// SHA-256 of the file.
    pub sha256: String,
}

#[derive(Deserialize)]
struct Manifest {
    count: u64,
    #[serde(default)]
    tombstones: u64,
    first_seq: Option<u64>,
    last_seq: Option<u64>,
    sha256: String,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(alias = "feed_seq")]
    seq: u64,
    digest: &'a str,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    raw: Option<&'a str>,
    #[serde(borrow)]
    tombstone: Option<&'a RawValue>,
}

/// Where the manifest of a file stands unless it is said.
#[must_use]
pub fn manifest_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".manifest.json");
    name.into()
}

/// Verifies an NDJSON export.
///
/// # Errors
/// [`Error::Io`]; [`Error::Corrupt`] if the manifest is none.
pub fn export(file: &Path, manifest: &Path) -> Result<ExportReport, Error> {
    let text = std::fs::read(manifest).map_err(|error| Error::at(manifest, error))?;
    let manifest: Manifest = serde_json::from_slice(&text)
        .map_err(|_| Error::Corrupt("the manifest of an export that cannot be read"))?;
    let mut lines = BufReader::new(File::open(file).map_err(|error| Error::at(file, error))?);
    let (mut report, mut hash, mut line) = (ExportReport::default(), Sha256::new(), Vec::new());
    let (mut first, mut last) = (None, None);
    loop {
        line.clear();
        let read = lines.read_until(b'\n', &mut line).map_err(|error| Error::at(file, error))?;
        if read == 0 {
            break;
        }
        hash.update(&line);
        report.lines += 1;
        if report.what.is_some() {
            continue;
        }
        match look_at(&line) {
            Ok(seq) if last.is_none_or(|last| last < seq) => {
                first = first.or(Some(seq));
                last = Some(seq);
            }
            Ok(seq) => fault(&mut report, seq, "a line stands out of its place or twice"),
            Err((seq, what)) => fault(&mut report, seq.unwrap_or(last.map_or(1, |last| last + 1)), what),
        }
    }
    report.sha256 = Digest(hash.finalize().into()).hex();
    if report.what.is_none() {
        compare(&manifest, &mut report, first, last);
    }
    report.ok = report.what.is_none();
    Ok(report)
}

fn fault(report: &mut ExportReport, seq: u64, what: &'static str) {
    (report.first_bad, report.what) = (Some(seq), Some(what));
}

fn compare(manifest: &Manifest, report: &mut ExportReport, first: Option<u64>, last: Option<u64>) {
    let whole = manifest.count + manifest.tombstones;
    if first != manifest.first_seq {
        let missing = manifest.first_seq.or(first);
        (report.first_bad, report.what) = (missing, Some("it does not begin where the manifest says"));
    } else if last < manifest.last_seq {
        fault(report, last.map_or(1, |last| last + 1), "lines are missing at the end");
    } else if last != manifest.last_seq {
        fault(
            report,
            manifest.last_seq.map_or(1, |last| last + 1),
            "there are more lines than the manifest says",
        );
    } else if report.lines != whole {
        report.what =
            Some("not as many lines as the manifest says; which one is too many or missing cannot be told");
    } else if report.sha256 != manifest.sha256 {
        report.what = Some("the file is not the one of the manifest; each event is as its digest says");
    }
}

/// The sequence of a line whose event is the one that was received; else the sequence if it can be read, and what is wrong.
fn look_at(line: &[u8]) -> Result<u64, (Option<u64>, &'static str)> {
    let line: Line<'_> =
        serde_json::from_slice(line).map_err(|_| (None, "a line that is none of an export"))?;
    let bad = |what| (Some(line.seq), what);
    let digest = match (line.raw, line.event, line.tombstone) {
        (Some(raw), _, None) => {
            Digest::of(&STANDARD.decode(raw).map_err(|_| bad("bytes that cannot be read"))?)
        }
        (None, Some(event), None) => Digest::of(event.get().as_bytes()),
        (None, None, Some(_)) => return Ok(line.seq),
        _ => return Err(bad("a line without an event")),
    };
    if line.digest == format!("sha256:{digest}") {
        Ok(line.seq)
    } else {
        Err(bad("an event with another digest"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(seq: u64, event: &str) -> String {
        format!(
            r#"{{"seq":{seq},"archived_at":"x","digest":"sha256:{}","event":{event}}}"#,
            Digest::of(event.as_bytes())
        ) + "\n"
    }

    fn checked(lines: &[String], manifest_lines: &[String]) -> ExportReport {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("export.ndjson");
        std::fs::write(&file, lines.concat()).unwrap();
        let manifest = serde_json::json!({
            "count": 3, "tombstones": 1, "first_seq": 2, "last_seq": 9,
            "sha256": Digest::of(manifest_lines.concat().as_bytes()).hex(),
        });
        std::fs::write(manifest_of(&file), manifest.to_string()).unwrap();
        export(&file, &manifest_of(&file)).unwrap()
    }

    #[test]
    fn tampering_with_an_export_is_named_as_far_as_it_can_be() {
        let tombstone =
            "{\"seq\":5,\"archived_at\":\"x\",\"digest\":\"sha256:00\",\"tombstone\":{}}\n".to_owned();
        let raw = format!(
            "{{\"seq\":9,\"archived_at\":\"x\",\"digest\":\"sha256:{}\",\"event\":{{}},\"raw\":\"{}\"}}\n",
            Digest::of(b"{\n}"),
            STANDARD.encode(b"{\n}")
        );
        let whole = vec![line(2, "{\"a\":1}"), line(4, "{\"a\":2}"), tombstone, raw];
        let report = checked(&whole, &whole);
        assert!(report.ok && report.lines == 4, "{report:?}");
        let bad = |change: fn(&mut Vec<String>)| {
            let mut changed = whole.clone();
            change(&mut changed);
            let report = checked(&changed, &whole);
            assert!(!report.ok, "{report:?}");
            report.first_bad
        };
        assert_eq!(bad(|lines| lines[1] = lines[1].replace("\"a\":2", "\"a\":3")), Some(4));
        assert_eq!(bad(|lines| lines[3] = lines[3].replace("\"raw\":\"e", "\"raw\":\"f")), Some(9));
        assert_eq!(bad(|lines| lines.swap(0, 1)), Some(2));
        assert_eq!(bad(|lines| lines.insert(2, line(4, "{}"))), Some(4));
        assert_eq!(bad(|lines| drop(lines.pop())), Some(6));
        assert_eq!(bad(|lines| drop(lines.remove(0))), Some(2));
        assert_eq!(bad(|lines| lines.push(line(12, "{}"))), Some(10));
        assert_eq!(bad(|lines| lines[1].truncate(10)), Some(3));
        assert_eq!(bad(|lines| drop(lines.remove(1))), None, "a gap may be what the query meant");
        assert_eq!(
            bad(|lines| lines[2] = lines[2].replace("00", "01")),
            None,
            "only the file's digest tells"
        );
    }
}
