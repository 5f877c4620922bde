//! `liaison subscribe`: prints the mailbox, one NDJSON line a message, and acknowledges what was printed.
//!
//! A letter that is not what was archived is neither printed nor acknowledged; it is told on stderr and comes again.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::data::Where;
use super::exit::{put, words};
use super::flags::duration;
use super::publish::unreachable;
use super::{Exit, Failure};
use crate::client::{Delivered, Feed, Subscriber};
use crate::message::names::PartyId;
use crate::message::time;
use crate::rules::registry::Registry;
use crate::rules::signing;
use crate::wire::keys;

/// Arguments of `subscribe`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Where,
    /// Whose mailbox.
    #[arg(long = "as", env = "LIAISON_AS")]
    party: PartyId,
    /// End after this many messages.
    #[arg(long, env = "LIAISON_COUNT")]
    count: Option<usize>,
    /// End after this long, in seconds or with a unit: `30s`, `5m`.
    #[arg(long, env = "LIAISON_TIMEOUT", value_parser = duration)]
    timeout: Option<Duration>,
    /// Check each signature against the keys of the registry. A line then says in `signed` by which key, or what is wrong;
    /// exit 65 if anything was. It also has the running digest of the feed, `feed_digest`.
    #[arg(long, env = "LIAISON_VERIFY")]
    verify: bool,
    /// Registry file with the keys for --verify; default network.toml in the data directory.
    #[arg(long, env = "LIAISON_REGISTRY")]
    registry: Option<PathBuf>,
}

#[derive(serde::Serialize)]
struct Line<'a> {
    feed_seq: u64,
    archived_at: &'a str,
    digest: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    feed_digest: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signed: Option<Value>,
    event: &'a RawValue,
}

/// What `--verify` finds of one message: `{"key"}`, `{"fault"}`, or null for one that is not signed and need not be.
struct Verifier {
    registry: Registry,
    faults: u64,
}

impl Verifier {
    fn open(args: &Args) -> Result<Option<Self>, Failure> {
        if !args.verify {
            return Ok(None);
        }
        let file = args.registry.clone().unwrap_or_else(|| args.place.data.join("network.toml"));
        let fault = |words: String| Failure::new(Exit::Configuration, format!("{}: {words}", file.display()));
        let text = std::fs::read_to_string(&file).map_err(|error| fault(error.to_string()))?;
        let registry = Registry::parse(&text).map_err(|faults| fault(faults.join("; ")))?;
        Ok(Some(Self { registry, faults: 0 }))
    }

    fn look(&mut self, delivered: &Delivered) -> Value {
        let found = signing::verify_delivered(
            &self.registry,
            &delivered.payload,
            delivered.signature.as_deref(),
            time::parse(&delivered.archived_at),
        );
        match found {
            Ok(key) => key.map_or(Value::Null, |key| json!({ "key": key })),
            Err(fault) => {
                self.faults += 1;
                json!({ "fault": format!("the message {fault}") })
            }
        }
    }
}

/// Runs it.
pub async fn run(args: Args) -> Result<Exit, Failure> {
    let seed = keys::read_seed(&args.place.key_file(&args.party, None))
        .map_err(|error| Failure::new(Exit::NotPermitted, error.to_string()))?;
    let mut verifier = Verifier::open(&args)?;
    let to = args.place.address(&args.party)?;
    let mut subscriber = Subscriber::connect(&to, &seed, &args.party).await.map_err(unreachable)?;
    let end = args.timeout.map(|timeout| tokio::time::Instant::now() + timeout);
    let mut left = args.count.unwrap_or(usize::MAX);
    let (mut feed, mut whole) = (Feed::default(), true);
    while left > 0 {
        let wait = end
            .map_or(Duration::from_secs(5), |end| end.saturating_duration_since(tokio::time::Instant::now()));
        if wait.is_zero() {
            break;
        }
        for delivered in subscriber.next(left, wait).await.map_err(unreachable)? {
            if let Err(fault) = feed.look(&delivered) {
                whole = false;
                words(&format!(
                    "feed_seq {}: {fault}: not acknowledged, so that it comes again\n",
                    delivered.feed_seq
                ));
                continue;
            }
            let signed = verifier.as_mut().map(|verifier| verifier.look(&delivered));
            if !show(&delivered, signed)? {
                // Nobody has read it: it stays in the mailbox and comes again.
                subscriber.flush().await.map_err(unreachable)?;
                return Ok(Exit::Ok);
            }
            subscriber.acknowledge(&delivered).await.map_err(unreachable)?;
            left -= 1;
        }
        subscriber.flush().await.map_err(unreachable)?;
    }
    let good = whole && verifier.is_none_or(|verifier| verifier.faults == 0);
    Ok(if good { Exit::Ok } else { Exit::DataInvalid })
}

/// Prints and flushes; only then may the message be acknowledged. False if nobody reads any more.
fn show(delivered: &Delivered, signed: Option<Value>) -> Result<bool, Failure> {
    let event: &RawValue = serde_json::from_slice(&delivered.payload)
        .map_err(|_| Failure::new(Exit::DataInvalid, "a delivery that is no JSON"))?;
    let line = Line {
        feed_seq: delivered.feed_seq,
        archived_at: &delivered.archived_at,
        digest: &delivered.digest,
        feed_digest: signed.as_ref().map(|_| delivered.feed_digest.as_str()),
        signature: delivered.signature.as_deref(),
        signed,
        event,
    };
    let text =
        serde_json::to_string(&line).map_err(|error| Failure::new(Exit::Failure, error.to_string()))?;
    // NDJSON: a payload may hold line breaks between members; inside strings JSON escapes them.
    put(format!("{}\n", text.replace(['\n', '\r'], " ")).as_bytes())
}
