//! The archive, as far as can be told quickly and without its lock: headers and chain of the whole journal, the checksums of its
//! last segment, what was last signed, keys, sled, room. `liaison archive verify` looks at every record.

use std::path::Path;

use super::finding;
use super::finding::{Finding, Runbook, Severity};
use crate::archive::checkpoint::Checkpoint;
use crate::archive::notebook::Notebook;
use crate::archive::size::{Size, size};
use crate::archive::{Archive, Error, ReadOnly, keyfile};
use crate::broker::config::{ArchiveSection, Config};
use crate::cli::serve::keys_are_sound;

/// Below so many times the reserve (10 GiB with the default), and below a twentieth of the disk, it is time to make room.
const LITTLE_ROOM: u64 = 40;

/// Looks at the archive of a configuration; `alive` if a broker is writing to it.
pub fn archive(config: &Config, alive: bool) -> Vec<Finding> {
    let directory = &config.archive.directory;
    let mut found = Vec::new();
    if !directory.join("journal").is_dir() {
        let what = format!("{}: no archive yet", directory.display());
        let why = "a broker makes it at its first start";
        found.push(finding(
            Severity::Notice,
            Runbook::Archive,
            what,
            why,
            "nothing, if none was started yet",
        ));
        return found;
    }
    // Before the journal, which may grow while it is looked at: what was signed before must be in it.
    let signed = last_signed(config);
    match Archive::read_only(directory) {
        Ok(journal) => found.extend(opened(config, journal, signed, alive)),
        Err(error) => found.push(damaged(&error)),
    }
    found.extend(beside(directory));
    match size(directory) {
        Ok(size) => found.extend(room(&config.archive, size)),
        Err(error) => found.push(damaged(&error)),
    }
    found
}

fn opened(config: &Config, journal: ReadOnly, signed: Result<u64, Error>, alive: bool) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(journal.agrees_with_head().err().map(|error| damaged(&error)));
    match signed {
        Err(error) => found.push(damaged(&error)),
        Ok(size) if size > journal.last() => found.push(damaged(&Error::Corrupt(
            "more records were signed than the journal holds: it was cut or set back",
        ))),
        Ok(_) => {}
    }
    // While a broker writes, a frame may be half there.
    if journal.torn_bytes() > 0 && !alive {
        found.push(finding(
            Severity::Notice,
            Runbook::Archive,
            format!("the journal ends in {} bytes of a frame that was not finished", journal.torn_bytes()),
            "a crash interrupted a commit; nobody got a receipt for it, and the messages come again",
            "nothing: the next start cuts it and puts it aside",
        ));
    }
    if let Err(error) = keys_are_sound(config, journal) {
        found.push(finding(
            Severity::Critical,
            Runbook::Keys,
            error.to_string(),
            "what is sealed cannot be opened, and the broker does not start",
            "restore the root key or the key file from where you keep them; never make new ones for an old archive",
        ));
    }
    found
}

/// How many records the latest checkpoint holds, which must be signed by the broker's key; 0 if there is none.
fn last_signed(config: &Config) -> Result<u64, Error> {
    let Some(note) = Notebook::messages(&config.archive.directory).latest()? else { return Ok(0) };
    let key = config.nats.keys.join("broker/checkpoint.pub");
    if key.exists() {
        note.verify(&keyfile::read_verifier(&key)?)?;
    }
    Ok(Checkpoint::parse(note.text())?.head.size)
}

fn damaged(error: &Error) -> Finding {
    finding(
        Severity::Critical,
        Runbook::Archive,
        format!("archive: {error}"),
        "receipted messages may be missing or changed; the broker refuses to go on with it",
        "do not cut or delete anything: copy the directory away, run `liaison archive verify`, restore from the backup",
    )
}

/// What earlier troubles left behind.
fn beside(archive: &Path) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut tell = |severity, what: String, why, action| {
        found.push(finding(severity, Runbook::Archive, what, why, action));
    };
    if archive.join("sled.damaged").exists() {
        let why =
            "sled was damaged once and built anew from the journal; if it happens again the disk is failing";
        let action = "look at the disk, then remove the directory";
        tell(Severity::Warning, "sled.damaged stands in the archive".to_owned(), why, action);
    }
    if !archive.join("sled").is_dir() {
        let why = "queries and starts are fast with it";
        tell(
            Severity::Notice,
            "there is no sled".to_owned(),
            why,
            "nothing: the next start builds it from the journal",
        );
    }
    let torn = std::fs::read_dir(archive.join("journal")).into_iter().flatten().flatten();
    let torn = torn.filter(|entry| entry.path().extension().is_some_and(|ending| ending == "torn")).count();
    if torn > 0 {
        let why = "torn ends of the journal that were cut at a start";
        let action =
            "keep them until `liaison archive verify` says that nothing is missing, then remove them";
        tell(Severity::Notice, format!("{torn} files *.torn stand in the journal"), why, action);
    }
    found
}

fn room(archive: &ArchiveSection, size: Size) -> Option<Finding> {
    let severity = match size.free {
        free if free < archive.reserve => Severity::Critical,
        free if free < archive.reserve.saturating_mul(LITTLE_ROOM) && free < size.total / 20 => {
            Severity::Warning
        }
        _ => return None,
    };
    Some(finding(
        severity,
        Runbook::DiskLow,
        format!(
            "{}: {} MiB of {} MiB are free, {} MiB are the reserve; the journal has {} MiB, sled {} MiB",
            archive.directory.display(),
            size.free >> 20,
            size.total >> 20,
            archive.reserve >> 20,
            size.journal >> 20,
            size.sled >> 20
        ),
        "below the reserve no message is taken; they wait in the intake streams for seven days",
        "make room or grow the file system; never remove segments of the journal",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_room_is_a_warning_and_none_is_critical() {
        let of = |reserve, free, total| {
            let archive = ArchiveSection { reserve, ..ArchiveSection::default() };
            room(&archive, Size { free, total, ..Size::default() }).map(|finding| finding.severity)
        };
        let reserve = ArchiveSection::default().reserve;
        let told = |free, total| of(reserve, free, total);
        let little = 10 << 30;
        assert_eq!(told(reserve - 1, 1 << 40), Some(Severity::Critical));
        assert_eq!(told(reserve, 1 << 40), Some(Severity::Warning));
        assert_eq!(told(little - 1, 1 << 40), Some(Severity::Warning));
        assert_eq!(told(little - 1, little), None, "a small disk that is hardly used");
        assert_eq!(told(little, 1 << 40), None);
        assert_eq!(of(0, 1, 1 << 40), None, "a reserve of nothing asks for no room");
    }
}
