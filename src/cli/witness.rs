//! `liaison witness`: a party signs that it saw the archive's checkpoint, once it has proof that nothing it saw before changed.
//!
//! One round and the end: a timer calls it. A split view is told loudly and is exit 65.

use std::path::PathBuf;

use serde_json::json;

use super::data::Where;
use super::exit::{line, words};
use super::publish::unreachable;
use super::replacing;
use super::{Exit, Failure};
use crate::archive::keyfile;
use crate::archive::note::{KeyName, Kind};
use crate::archive::witness::{Refusal, Witness};
use crate::client::WitnessLine;
use crate::message::names::PartyId;
use crate::message::time;
use crate::wire::keys;

/// Arguments of `witness`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Where,
    /// Which party.
    #[arg(long = "as", env = "LIAISON_AS")]
    party: PartyId,
    /// File with the witness's own signing key; made if it is missing. Its public half, in a file beside it, belongs into the
    /// registry as `witness`.
    #[arg(long, env = "LIAISON_WITNESS_KEY")]
    witness_key: PathBuf,
    /// File that remembers what was signed last; without it everything is new, so keep it well.
    #[arg(long, env = "LIAISON_STATE")]
    state: PathBuf,
    /// The broker's public key, or a file with it; default from the data directory.
    #[arg(long, env = "LIAISON_CHECKPOINT_KEY")]
    log_key: Option<PathBuf>,
}

/// Runs it.
pub async fn run(args: Args) -> Result<Exit, Failure> {
    let unusable = |error: crate::archive::Error| Failure::new(Exit::Configuration, error.to_string());
    let name = KeyName::parse(args.party.as_str()).map_err(unusable)?;
    let fresh = !args.witness_key.exists();
    let signer = keyfile::ensure(&args.witness_key, &name, Kind::Witness).map_err(unusable)?;
    if fresh {
        words(&format!(
            "a key was made; put it into the registry of the broker:\n  witness = \"{}\"\n",
            signer.verifier()
        ));
    }
    let log = args.log_key.unwrap_or_else(|| args.place.data.join("keys/broker/checkpoint.pub"));
    let log = keyfile::read_verifier(&log).map_err(unusable)?;
    let state = replacing::file(&args.state)
        .map_err(|error| Failure::new(Exit::Io, format!("{}: {error}", args.state.display())))?;
    let _one = lock(&state)?;
    let mut witness = Witness::open(signer, log, &state)
        .map_err(|error| Failure::new(Exit::DataInvalid, format!("{}: {error}", state.display())))?;

    let seed = keys::read_seed(&args.place.key_file(&args.party, None))
        .map_err(|error| Failure::new(Exit::NotPermitted, error.to_string()))?;
    let broker = WitnessLine::connect(&args.place.address(&args.party)?, &seed, args.party)
        .await
        .map_err(unreachable)?;
    let before = witness.seen();
    let shown = broker.fetch(before).await.map_err(unreachable)?;
    let seconds = u64::try_from(time::now().as_second()).unwrap_or_default();
    let signed = witness.sign(&shown.checkpoint, &shown.consistency, seconds, &state);
    let (checkpoint, signature) = signed.map_err(|refusal| match refusal {
        Refusal::Unfit(crate::archive::Error::Io(_)) => Failure::new(Exit::Io, refusal.to_string()),
        _ => Failure::new(Exit::DataInvalid, refusal.to_string()),
    })?;
    broker.bring(&signature.to_string(), checkpoint.head.size).await.map_err(unreachable)?;
    line(&json!({
        "origin": checkpoint.origin.as_str(),
        "before": before,
        "size": checkpoint.head.size,
        "time": checkpoint.time().map(time::rfc3339),
        "cosignature": signature.to_string().trim_end(),
    }))?;
    Ok(Exit::Ok)
}

/// Two at once could both sign, one of them what is older.
fn lock(state: &std::path::Path) -> Result<std::fs::File, Failure> {
    let mut name = state.as_os_str().to_owned();
    name.push(".lock");
    let file = PathBuf::from(name);
    let io = |error: std::io::Error| Failure::new(Exit::Io, format!("{}: {error}", file.display()));
    let lock = std::fs::File::options().create(true).write(true).truncate(false).open(&file).map_err(io)?;
    lock.lock().map_err(io)?;
    Ok(lock)
}
