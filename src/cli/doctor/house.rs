//! The files of the house: configuration, registry, keys and who may read them; and how many descriptors the broker may open.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use jiff::SignedDuration;

use super::finding;
use super::finding::{Finding, Runbook, Severity};
use super::road::{CERTIFICATE_DAYS, ending};
use crate::archive::keyfile;
use crate::broker::config::Config;
use crate::message::time::Timestamp;
use crate::wire::connect::Role;
use crate::wire::keyring::{self, Keyring};
use crate::wire::keys;

/// Descriptors that a broker needs beside those of its parties.
const DESCRIPTORS: u64 = 128;
/// Connections, streams and files a party.
const DESCRIPTORS_A_PARTY: u64 = 4;

/// A fault of configuration, registry or schemas.
pub fn configuration(fault: String) -> Finding {
    finding(
        Severity::Critical,
        Runbook::Configuration,
        fault,
        "the broker does not start with it; a running one keeps the old configuration",
        "mend what the line names, then `liaison check`",
    )
}

/// Keys are there and nobody else may read them; nobody else may write what decides who gets what.
pub fn files(config: &Config, file: &Path) -> Vec<Finding> {
    let keys = &config.nats.keys;
    let mut found = Vec::new();
    for role in Role::ALL {
        let seed = keys.join("broker").join(format!("{}.nk", role.as_str()));
        // Only those without which the broker cannot be; the others need not lie here, but if they do nobody may read them.
        let needed = !matches!(role, Role::Operator | Role::System);
        if let Some(error) = keys::read_seed(&seed).err().filter(|_| needed || seed.exists()) {
            found.push(key(error.to_string()));
        }
    }
    let signing = keys.join("broker/checkpoint.key");
    if signing.exists()
        && let Err(error) = keyfile::read(&signing)
    {
        found.push(key(error.to_string()));
    }
    for (path, bits) in [(keys.join("broker"), 0o027), (keys.clone(), 0o022)] {
        found.extend(open_to_others(&path, bits).map(key));
    }
    found.extend(list_of_keys(keys));
    let decisive: [PathBuf; 2] = [file.to_owned(), config.registry.file.clone()];
    for path in decisive.iter().chain(&config.schemas.directory) {
        found.extend(open_to_others(path, 0o002).map(|words| {
            finding(
                Severity::Critical,
                Runbook::Configuration,
                words,
                "who may write it decides who gets which message",
                "chmod o-w, and compare the file with the copy that was reviewed",
            )
        }));
    }
    found
}

/// The list of the parties' keys is what it should be, and no rotation was left half done.
fn list_of_keys(directory: &Path) -> Vec<Finding> {
    // The broker's user need not be able to read it.
    if std::fs::File::open(directory.join(keyring::FILE)).is_err() {
        return Vec::new();
    }
    let ring = match Keyring::read(directory) {
        Ok(ring) => ring,
        Err(error) => return vec![key(error.to_string())],
    };
    let replaced = ring.keys().iter().filter(|key| {
        let user = key.user();
        key.is_let_in() && ring.let_in(&user).next_back() != Some(*key)
    });
    let told = replaced.map(|key| {
        finding(
            Severity::Notice,
            Runbook::Keys,
            format!("two keys of {} are let in; the older one since {}", key.user(), key.since),
            "a rotation is not at its end: whoever has the older key comes in too",
            "`liaison keys revoke --old` once the party uses its new key",
        )
    });
    told.collect()
}

/// The broker's own certificate is near its end; what else may be wrong with it is told with NATS.
pub fn certificate(config: &Config, now: Timestamp) -> Option<Finding> {
    let tls = config.nats.address().tls?;
    let until = tls.runs_out(now + SignedDuration::from_hours(24 * CERTIFICATE_DAYS))?;
    ending(&format!("the certificate {}", tls.certificate.display()), until, now)
}

fn key(words: String) -> Finding {
    finding(
        Severity::Critical,
        Runbook::Keys,
        words,
        "without its keys the broker does not start; a key that others can read is no secret any more",
        "restore one that is missing or damaged. One that others may read: chmod 600, and 700 its directory; if somebody may have read it, \
         make a new key and write the NATS configuration anew",
    )
}

/// What is wrong if anybody has one of these rights.
fn open_to_others(path: &Path, bits: u32) -> Option<String> {
    let mode = path.metadata().ok()?.permissions().mode() & 0o777;
    (mode & bits != 0).then(|| format!("{}: mode {mode:03o} gives others too much", path.display()))
}

/// How many descriptors a process may open and has open.
pub fn descriptors(pid: Option<u32>, parties: usize) -> Option<Finding> {
    let who = pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    let limits = std::fs::read_to_string(format!("/proc/{who}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let most: u64 = line.split_whitespace().next()?.parse().ok()?;
    let open = std::fs::read_dir(format!("/proc/{who}/fd")).map_or(0, |open| open.count() as u64);
    let needed = DESCRIPTORS + DESCRIPTORS_A_PARTY * parties as u64;
    let what = if most < needed {
        format!("{most} descriptors may be open; {parties} parties need {needed}")
    } else if pid.is_some() && open > most - most / 5 {
        format!("{open} of {most} descriptors are open")
    } else {
        return None;
    };
    Some(finding(
        Severity::Warning,
        Runbook::Descriptors,
        what,
        "without descriptors no connection is made and no segment of the journal is begun: the broker ends",
        "raise LimitNOFILE of the service, or `ulimit -n`; if many are open, see what holds them",
    ))
}
