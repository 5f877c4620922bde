//! `liaison archive verify`, `prove` and `checkpoint`: that nothing was changed, and how to show it to others.
//!
//! Needs no key but public ones, no lock and no broker. The result is JSON on stdout; exit 65 when anything is wrong.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::super::exit::{line, print};
use super::super::{Exit, Failure};
use super::{Place, archive_in, failed};
use crate::archive::keyfile;
use crate::archive::note::Verifier;
use crate::archive::notebook::Notebook;
use crate::archive::proof::Proof;
use crate::archive::prove::{self, NoProof, Wanted};
use crate::archive::verify::{self, Against};
use crate::message::names::MessageId;
use crate::message::time::{Timestamp, rfc3339};

/// Arguments of `archive verify`.
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    place: Place,
    /// The broker's public key, or a file with it; without it signatures are believed by the key that lies in the directory.
    #[arg(long, env = "LIAISON_CHECKPOINT_KEY")]
    key: Option<PathBuf>,
    /// A checkpoint that was kept elsewhere; shows that this is no older copy. May be given several times.
    #[arg(long, env = "LIAISON_CHECKPOINT")]
    checkpoint: Vec<PathBuf>,
    /// Manifest of an export; default is FILE.manifest.json.
    #[arg(long, env = "LIAISON_MANIFEST")]
    manifest: Option<PathBuf>,
    /// A proof of one record, which needs the key and no archive.
    #[arg(long, env = "LIAISON_PROOF", requires = "key")]
    proof: Option<PathBuf>,
    /// Public key of a witness that must have signed the proof's checkpoint too. May be given several times.
    #[arg(long, env = "LIAISON_PROOF_WITNESS", requires = "proof")]
    witness: Vec<PathBuf>,
}

/// Arguments of `archive prove`.
#[derive(Debug, clap::Args)]
pub struct ProveArgs {
    /// Message id.
    #[arg(required_unless_present = "seq", conflicts_with = "seq")]
    id: Option<MessageId>,
    /// Archive sequence instead of an id; the receipt names it.
    #[arg(long, env = "LIAISON_SEQ")]
    seq: Option<u64>,
    /// Source of the message, if several used the id.
    #[arg(long, env = "LIAISON_SOURCE")]
    source: Option<String>,
    /// Data directory of `liaison up`, or an archive directory.
    #[arg(long, env = "LIAISON_DATA", default_value = "./liaison-data")]
    data: PathBuf,
    /// Show the content in the proof too; not possible for what is encrypted.
    #[arg(long, env = "LIAISON_WITH_CONTENT")]
    with_content: bool,
    /// File to write; stdout unless given.
    #[arg(long, env = "LIAISON_OUT")]
    out: Option<PathBuf>,
}

/// Arguments of `archive checkpoint`.
#[derive(Debug, clap::Args)]
pub struct CheckpointArgs {
    /// Data directory of `liaison up`, or an archive directory.
    #[arg(long, env = "LIAISON_DATA", default_value = "./liaison-data")]
    data: PathBuf,
}

/// Runs `archive verify`.
pub fn verify(args: &VerifyArgs) -> Result<Exit, Failure> {
    let key = args.key.as_deref().map(keyfile::read_verifier).transpose().map_err(unusable)?;
    if let (Some(proof), Some(key)) = (&args.proof, &key) {
        return verify_proof(proof, key, &args.witness);
    }
    let place = args.place.directory();
    if place.is_file() {
        let manifest = args.manifest.clone().unwrap_or_else(|| verify::manifest_of(place));
        let report = verify::export(place, &manifest).map_err(failed)?;
        line(&json!(report))?;
        return ended(report.ok, "the export", report.what, report.first_bad);
    }
    verify_archive(args, key)
}

fn verify_archive(args: &VerifyArgs, given: Option<Verifier>) -> Result<Exit, Failure> {
    let archive = archive_in(args.place.directory());
    let own = own_key(args.place.directory())?;
    let whose = match (&given, &own) {
        (Some(_), _) => "given",
        (None, Some(_)) => "found beside the archive",
        (None, None) => "none: signatures were not verified",
    };
    let key = given.or(own);
    let against = Against { key: key.as_ref(), held: &args.checkpoint };
    let messages = verify::messages(&archive, &against).map_err(failed)?;
    let audit = verify::audit(&archive, &against).map_err(failed)?;
    let audit_ok = audit.as_ref().is_none_or(|audit| audit.ok);
    let mut told = json!(messages);
    told["ok"] = Value::Bool(messages.ok && audit_ok);
    told["key"] = whose.into();
    told["audit"] = json!(audit);
    line(&told)?;
    let audit = audit.and_then(|audit| audit.finding);
    let (what, finding) = match (messages.finding, audit) {
        (Some(finding), _) => ("the archive", Some(finding)),
        (None, audit) => ("the audit log", audit),
    };
    ended(
        messages.ok && audit_ok,
        what,
        finding.as_ref().map(|finding| finding.what),
        finding.as_ref().map(|finding| finding.first_bad),
    )
}

fn verify_proof(file: &Path, key: &Verifier, witnesses: &[PathBuf]) -> Result<Exit, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::new(Exit::Io, format!("{}: {error}", file.display())))?;
    let nothing = |error: crate::archive::Error| {
        Failure::new(Exit::DataInvalid, format!("{}: nothing is proven: {error}", file.display()))
    };
    let proof = Proof::parse(&text).map_err(nothing)?;
    let checkpoint = proof.verify(key).map_err(nothing)?;
    let mut proven = prove::describe(&proof, &checkpoint).map_err(nothing)?;
    let mut seen = Vec::new();
    for witness in witnesses {
        let witness = keyfile::read_verifier(witness).map_err(unusable)?;
        let seconds = proof.note.verify(&witness).map_err(nothing)?.unwrap_or_default();
        let at = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
        seen.push(json!({ "witness": witness.name().as_str(), "time": at.map(rfc3339) }));
    }
    proven["witnesses"] = json!(seen);
    line(&proven)?;
    Ok(Exit::Ok)
}

/// The broker's public key in a data directory.
pub fn own_key(data: &Path) -> Result<Option<Verifier>, Failure> {
    let file = data.join("keys/broker/checkpoint.pub");
    if file.is_file() { keyfile::read_verifier(&file).map(Some).map_err(unusable) } else { Ok(None) }
}

fn ended(ok: bool, what: &str, words: Option<&str>, first_bad: Option<u64>) -> Result<Exit, Failure> {
    if ok {
        return Ok(Exit::Ok);
    }
    let place = first_bad.map_or_else(String::new, |seq| format!(", from sequence {seq} on"));
    let words = words.unwrap_or("it is damaged");
    Err(Failure::new(Exit::DataInvalid, format!("{what} is not what it was: {words}{place}")))
}

/// Runs `archive prove`.
pub fn prove(args: &ProveArgs) -> Result<Exit, Failure> {
    let wanted = match (args.seq, &args.id) {
        (Some(seq), _) => Wanted::Seq(seq),
        (None, Some(id)) => Wanted::Message { id: id.clone(), source: args.source.clone() },
        (None, None) => return Err(Failure::new(Exit::Usage, "a message id or --seq is needed")),
    };
    let proof = prove::prove(&archive_in(&args.data), &wanted, args.with_content).map_err(|error| {
        let exit = match &error {
            NoProof::Changed(_) | NoProof::Archive(crate::archive::Error::Corrupt(_)) => Exit::DataInvalid,
            NoProof::Archive(_) => Exit::Io,
            NoProof::Closed(_) => Exit::NotPermitted,
            NoProof::Unknown | NoProof::Ambiguous | NoProof::Early { .. } => Exit::Failure,
        };
        Failure::new(exit, error.to_string())
    })?;
    if let Some(key) = own_key(&args.data)? {
        proof.verify(&key).map_err(|error| Failure::new(Exit::DataInvalid, error.to_string()))?;
    }
    let Some(file) = &args.out else { return print(proof.to_string().as_bytes()) };
    std::fs::write(file, proof.to_string())
        .map_err(|error| Failure::new(Exit::Io, format!("{}: {error}", file.display())))?;
    Ok(Exit::Ok)
}

/// Runs `archive checkpoint`.
pub fn checkpoint(args: &CheckpointArgs) -> Result<Exit, Failure> {
    let note = Notebook::messages(&archive_in(&args.data)).latest().map_err(failed)?;
    match note {
        Some(note) => print(note.to_string().as_bytes()),
        None => Err(Failure::new(Exit::Failure, "no checkpoint has been signed yet")),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of map_err")]
fn unusable(error: crate::archive::Error) -> Failure {
    Failure::new(Exit::Configuration, error.to_string())
}
