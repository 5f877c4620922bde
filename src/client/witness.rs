//! A party as witness of the archive: fetches the latest checkpoint with its proof, and brings back the signature.
//!
//! Whether to sign is not decided here; see `archive::witness`, which the command line joins with this.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Address, Error};
use crate::message::digest::Digest;
use crate::message::names::PartyId;
use crate::wire::asking::Asker;
use crate::wire::connect;

/// How long an answer may take: the broker may have to read records for the proof.
const PATIENCE: Duration = Duration::from_secs(30);

/// A line to the broker.
pub struct WitnessLine {
    asker: Asker,
}

/// What the log shows.
#[derive(Debug)]
pub struct Shown {
    /// The signed checkpoint.
    pub checkpoint: String,
    /// Shows that it begins with what was asked about.
    pub consistency: Vec<Digest>,
}

impl WitnessLine {
    /// Connects as the system user of a party.
    ///
    /// # Errors
    /// NATS cannot be reached, or the key is not let in.
    pub async fn connect(to: &Address, seed: &str, party: PartyId) -> Result<Self, Error> {
        let nats = connect::connect_party(to, seed, &party, None).await?;
        Ok(Self { asker: Asker::new(nats, party).patient(PATIENCE) })
    }

    /// The latest checkpoint, with the proof that it begins with the first `old` records.
    ///
    /// # Errors
    /// No answer, a refusal, or an answer that is none.
    pub async fn fetch(&self, old: u64) -> Result<Shown, Error> {
        let answer = self.asker.ask("witness", &json!({ "old": old })).await?;
        let body: Value = serde_json::from_slice(&answer).map_err(|_| Error::Answer("is no JSON"))?;
        let hash = |text: &str| Some(Digest(STANDARD.decode(text).ok()?.try_into().ok()?));
        let path =
            body["consistency"].as_array().map(|path| path.iter().map(|node| hash(node.as_str()?)).collect());
        match (body["checkpoint"].as_str(), path) {
            (Some(checkpoint), Some(Some(consistency))) => {
                Ok(Shown { checkpoint: checkpoint.to_owned(), consistency })
            }
            _ => Err(Error::Answer("has no checkpoint and proof")),
        }
    }

    /// Brings the signature over the checkpoint of `size` records.
    ///
    /// # Errors
    /// No answer, or a refusal: the broker does not know this witness, or signed another checkpoint.
    pub async fn bring(&self, cosignature: &str, size: u64) -> Result<(), Error> {
        let body = json!({ "cosignature": cosignature, "size": size });
        self.asker.ask("witness", &body).await?;
        Ok(())
    }
}
