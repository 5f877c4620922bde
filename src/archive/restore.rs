//! A data directory from a backup, believed only after everything in it was verified; also the drill that shows it works.
//!
//! Nothing stands under the final name before it is proven. Keys of sealed messages come from where the operator keeps them;
//! without them the archive proves what it proves, but sealed content stays closed.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::{Read, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::Error;
use super::backup::{MANIFEST, Manifest, Member, VERSION};
use super::journal::{make_directory, sync_directory};
use super::keyfile;
use super::note::Verifier;
use super::verify::{self, Against, Report};
use crate::message::digest::Digest;

/// Where a backup comes from.
pub enum Source {
    /// A directory that `backup` wrote.
    Directory(PathBuf),
    /// A tar stream.
    Stream(Box<dyn Read>),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Source")
    }
}

/// What was restored and verified.
#[derive(Debug, Serialize)]
pub struct Restored {
    /// Always true: otherwise there is no data directory.
    pub ok: bool,
    /// When the backup was made.
    pub made: String,
    /// Files.
    pub files: usize,
    /// Bytes.
    pub bytes: u64,
    /// True if keys of sealed messages were put in.
    pub keys: bool,
    /// What `verify` says of the messages.
    pub messages: Report,
    /// What it says of the audit log.
    pub audit: Option<Report>,
}

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The backup is not whole, or not what its manifest says.
    #[error("the backup is not whole: {0}")]
    Broken(String),
    /// What it holds was changed before it was copied.
    #[error("the backup holds an archive that was changed: {what}, from archive sequence {first_bad} on")]
    Changed {
        /// What is wrong.
        what: &'static str,
        /// The first sequence.
        first_bad: u64,
    },
    /// Files cannot be read or written.
    #[error("{0}")]
    Archive(#[from] Error),
}

/// Makes a new data directory of a backup and verifies everything in it. `keys` is the file `messages.liak` of the archive,
/// `key` the broker's public key; without it the one in the backup is believed.
///
/// # Errors
/// [`Refused`]: there is no new directory then.
pub fn restore(
    source: Source,
    data: &Path,
    keys: Option<&Path>,
    key: Option<&Verifier>,
) -> Result<Restored, Refused> {
    let mut name = data.as_os_str().to_owned();
    name.push(".restoring");
    let fresh = PathBuf::from(name);
    for place in [data, &fresh] {
        if place.try_exists().map_err(|error| Error::at(place, error))? {
            let taken = std::io::Error::new(std::io::ErrorKind::AlreadyExists, "is there already");
            return Err(Refused::Archive(Error::at(place, taken)));
        }
    }
    make_directory(&fresh)?;
    let restored = fill(source, &fresh, keys, key).and_then(|restored| {
        let parent = data.parent().filter(|parent| !parent.as_os_str().is_empty());
        std::fs::rename(&fresh, data).map_err(|error| Error::at(data, error))?;
        sync_directory(parent.unwrap_or_else(|| Path::new(".")))?;
        Ok(restored)
    });
    if restored.is_err() {
        // What is left is of no use; that it cannot be removed is less than what is being told.
        drop(std::fs::remove_dir_all(&fresh));
    }
    restored
}

fn fill(
    source: Source,
    fresh: &Path,
    keys: Option<&Path>,
    key: Option<&Verifier>,
) -> Result<Restored, Refused> {
    let (manifest, found) = match source {
        Source::Directory(directory) => from_directory(&directory, fresh)?,
        Source::Stream(stream) => from_stream(stream, fresh)?,
    };
    compare(&manifest, found)?;
    // It would verify as an archive without records, and pass for a good one.
    if !manifest.files.iter().any(|member| member.name.starts_with("archive/journal/")) {
        return Err(Refused::Broken("it holds no journal".to_owned()));
    }
    let own = fresh.join("keys/broker/checkpoint.pub");
    let own = if key.is_none() && own.is_file() { Some(keyfile::read_verifier(&own)?) } else { None };
    let against = Against { key: key.or(own.as_ref()), held: &[] };
    let archive = fresh.join("archive");
    make_directory(&archive.join("journal"))?;
    let messages = verify::messages(&archive, &against)?;
    let audit = verify::audit(&archive, &against)?;
    for report in [Some(&messages), audit.as_ref()].into_iter().flatten() {
        if let Some(finding) = &report.finding {
            return Err(Refused::Changed { what: finding.what, first_bad: finding.first_bad });
        }
    }
    let counted = (messages.records, audit.as_ref().map_or(0, |audit| audit.records));
    if counted != (manifest.records, manifest.audit_entries) || messages.chain_head != manifest.chain_head {
        return Err(Refused::Broken("it holds another number of records than its manifest says".to_owned()));
    }
    if let Some(keys) = keys {
        put_keys(keys, &archive.join("keys"))?;
    }
    Ok(Restored {
        ok: true,
        made: manifest.made,
        files: manifest.files.len(),
        bytes: manifest.files.iter().map(|member| member.bytes).sum(),
        keys: keys.is_some(),
        messages,
        audit,
    })
}

fn put_keys(from: &Path, directory: &Path) -> Result<(), Error> {
    make_directory(directory)?;
    let to = directory.join("messages.liak");
    let at = |error| Error::at(&to, error);
    std::fs::copy(from, &to).map_err(|error| Error::at(from, error))?;
    std::fs::set_permissions(&to, Permissions::from_mode(0o600)).map_err(at)?;
    File::open(&to).and_then(|file| file.sync_all()).map_err(at)?;
    sync_directory(directory)
}

/// What was found, by name.
type Found = BTreeMap<String, Member>;

fn from_directory(directory: &Path, fresh: &Path) -> Result<(Manifest, Found), Refused> {
    let file = directory.join(MANIFEST);
    let text = match std::fs::read(&file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(no_manifest()),
        text => text.map_err(|error| Error::at(&file, error))?,
    };
    let manifest = read_manifest(&text)?;
    let mut found = Found::new();
    for Member { name, .. } in &manifest.files {
        let from = directory.join(allowed(Path::new(name))?);
        let opened = match File::open(&from) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue, // told as missing
            opened => opened.map_err(|error| Error::at(&from, error))?,
        };
        found.insert(name.clone(), take(opened, name, fresh)?);
    }
    Ok((manifest, found))
}

fn from_stream(stream: Box<dyn Read>, fresh: &Path) -> Result<(Manifest, Found), Refused> {
    let broken = |error: std::io::Error| Refused::Broken(format!("the stream cannot be read: {error}"));
    let mut tar = tar::Archive::new(stream);
    let (mut manifest, mut found) = (None, Found::new());
    for entry in tar.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let name = entry.path().map_err(broken)?.to_string_lossy().into_owned();
        if !entry.header().entry_type().is_file() || manifest.is_some() || found.contains_key(&name) {
            return Err(Refused::Broken("something in the stream that no backup holds".to_owned()));
        }
        if name == MANIFEST {
            let mut text = Vec::new();
            entry.read_to_end(&mut text).map_err(broken)?;
            manifest = Some(read_manifest(&text)?);
        } else {
            allowed(Path::new(&name))?;
            found.insert(name.clone(), take(entry, &name, fresh)?);
        }
    }
    Ok((manifest.ok_or_else(no_manifest)?, found))
}

fn no_manifest() -> Refused {
    Refused::Broken("it has no manifest: it was not finished, or it is no backup".to_owned())
}

fn read_manifest(text: &[u8]) -> Result<Manifest, Refused> {
    let manifest = serde_json::from_slice::<Manifest>(text);
    let manifest = manifest.map_err(|_| Refused::Broken("its manifest cannot be read".to_owned()))?;
    if manifest.version == VERSION {
        Ok(manifest)
    } else {
        Err(Refused::Broken("its manifest is of another version of liaison".to_owned()))
    }
}

/// A backup writes nowhere but where an archive and its configuration are; keys it never brings.
fn allowed(name: &Path) -> Result<&Path, Refused> {
    let plain = name.components().all(|part| matches!(part, Component::Normal(_)));
    let known = ["archive/journal", "archive/audit", "archive/checkpoints", "schemas"];
    let files = ["network.toml", "liaison.toml", "keys/broker/checkpoint.pub"];
    let expected =
        known.iter().any(|known| name.starts_with(known)) || files.iter().any(|file| name == Path::new(file));
    if plain && expected {
        Ok(name)
    } else {
        Err(Refused::Broken("it names a file that no backup holds".to_owned()))
    }
}

/// Copies one file and digests it on the way.
fn take(mut from: impl Read, name: &str, fresh: &Path) -> Result<Member, Error> {
    let path = fresh.join(name);
    let directory = path.parent().unwrap_or(fresh).to_owned();
    make_directory(&directory)?;
    let at = |error| Error::at(&path, error);
    let mut file = File::create_new(&path).map_err(at)?;
    let (mut hash, mut bytes, mut piece) = (Sha256::new(), 0, vec![0; 1 << 16]);
    loop {
        let read = from.read(&mut piece).map_err(at)?;
        if read == 0 {
            break;
        }
        hash.update(&piece[..read]);
        file.write_all(&piece[..read]).map_err(at)?;
        bytes += read as u64;
    }
    file.sync_all().map_err(at)?;
    sync_directory(&directory)?;
    Ok(Member { name: name.to_owned(), bytes, sha256: Digest(hash.finalize().into()).hex() })
}

fn compare(manifest: &Manifest, mut found: Found) -> Result<(), Refused> {
    for member in &manifest.files {
        match found.remove(&member.name) {
            None => return Err(Refused::Broken(format!("{} is missing", member.name))),
            Some(found) if found != *member => {
                return Err(Refused::Broken(format!("{} is not what the manifest says", member.name)));
            }
            Some(_) => {}
        }
    }
    let stray = found.into_keys().next();
    stray.map_or(Ok(()), |name| Err(Refused::Broken(format!("{name} is not in the manifest"))))
}

#[cfg(test)]
mod tests;
