//! `liaison subscribe`: prints the mailbox, one NDJSON line a message, and acknowledges what was printed.

use std::time::Duration;

use serde_json::value::RawValue;

use super::data::Where;
use super::exit::put;
use super::publish::unreachable;
use super::{Exit, Failure};
use crate::client::{Delivered, Subscriber};
use crate::message::names::PartyId;
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
    /// End after this long, for example `30s` or `5m`.
    #[arg(long, env = "LIAISON_TIMEOUT", value_parser = duration)]
    timeout: Option<Duration>,
}

fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let span: jiff::SignedDuration = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    span.try_into().map_err(|_| "must not be negative".to_owned())
}

#[derive(serde::Serialize)]
struct Line<'a> {
    feed_seq: u64,
    archived_at: &'a str,
    digest: &'a str,
    event: &'a RawValue,
}

/// Runs it.
pub async fn run(args: Args) -> Result<Exit, Failure> {
    let seed = keys::read_seed(&args.place.key_file(&args.party, None))
        .map_err(|error| Failure::new(Exit::NotPermitted, error.to_string()))?;
    let to = args.place.address(&args.party)?;
    let subscriber = Subscriber::connect(&to, &seed, &args.party).await.map_err(unreachable)?;
    let end = args.timeout.map(|timeout| tokio::time::Instant::now() + timeout);
    let mut left = args.count.unwrap_or(usize::MAX);
    while left > 0 {
        let wait = end
            .map_or(Duration::from_secs(5), |end| end.saturating_duration_since(tokio::time::Instant::now()));
        if wait.is_zero() {
            break;
        }
        for delivered in subscriber.next(left, wait).await.map_err(unreachable)? {
            if !show(&delivered)? {
                // Nobody has read it: it stays in the mailbox and comes again.
                subscriber.flush().await.map_err(unreachable)?;
                return Ok(Exit::Ok);
            }
            subscriber.acknowledge(&delivered).await.map_err(unreachable)?;
            left -= 1;
        }
        subscriber.flush().await.map_err(unreachable)?;
    }
    Ok(Exit::Ok)
}

/// Prints and flushes; only then may the message be acknowledged. False if nobody reads any more.
fn show(delivered: &Delivered) -> Result<bool, Failure> {
    let event: &RawValue = serde_json::from_slice(&delivered.payload)
        .map_err(|_| Failure::new(Exit::DataInvalid, "a delivery that is no JSON"))?;
    let line = Line {
        feed_seq: delivered.feed_seq,
        archived_at: &delivered.archived_at,
        digest: &delivered.digest,
        event,
    };
    let text =
        serde_json::to_string(&line).map_err(|error| Failure::new(Exit::Failure, error.to_string()))?;
    // NDJSON: a payload may hold line breaks between members; inside strings JSON escapes them.
    put(format!("{}\n", text.replace(['\n', '\r'], " ")).as_bytes())
}
