//! `liaison publish`: sends messages and prints one receipt a line.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::data::{Where, read_messages};
use super::exit::{line, words};
use super::flags::duration;
use super::{Exit, Failure};
use crate::client::{AskError, Error, Publisher, Signer};
use crate::message::names::{PartyId, PostId};
use crate::message::time;
use crate::rules::verdict;
use crate::wire::keys;

/// Arguments of `publish`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Where,
    /// The publishing authority.
    #[arg(long = "as", env = "LIAISON_AS")]
    party: PartyId,
    /// Publish as this post instead of the authority's system user.
    #[arg(long, env = "LIAISON_POST")]
    post: Option<PostId>,
    /// Publish on this subject instead of one made of our own names and of the type and country in the envelope.
    #[arg(long, env = "LIAISON_SUBJECT")]
    subject: Option<String>,
    /// Fill `id` and `recordedtime` where they are missing.
    #[arg(long, env = "LIAISON_FILL")]
    fill: bool,
    /// Sign every message with the key in this file (a JWK); default is the post's or the authority's in the data directory,
    /// if there is one.
    #[arg(long, env = "LIAISON_SIGN_KEY")]
    sign_key: Option<PathBuf>,
    /// How long to wait for each receipt, in seconds or with a unit: `30s`.
    #[arg(long, env = "LIAISON_TIMEOUT", default_value = "30s", value_parser = duration)]
    timeout: Duration,
    /// JSON or NDJSON files, `-` for stdin.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// Runs it.
pub async fn run(args: Args) -> Result<Exit, Failure> {
    let mut messages = read_messages(&args.files)?;
    // A pipe that brought nothing; an empty file is refused, for it was to hold a message.
    messages.retain(|(name, bytes)| name != "-" || !bytes.trim_ascii().is_empty());
    let seed = keys::read_seed(&args.place.key_file(&args.party, args.post.as_ref()))
        .map_err(|error| not_permitted(&error))?;
    let signer = signer(&args)?;
    let to = args.place.address(&args.party)?;
    let publisher =
        Publisher::connect(&to, &seed, args.party.clone(), args.post.clone()).await.map_err(unreachable)?;
    let mut publisher = publisher.signing(signer);
    let progress = progress(messages.len());
    let (mut refused, mut read) = (false, true);
    for (name, bytes) in messages {
        let filled = args.fill.then(|| fill(&bytes)).flatten();
        let is_filled = filled.is_some();
        let bytes = Bytes::from(filled.unwrap_or(bytes));
        let own = || own_subject(&args.party, args.post.as_ref(), &bytes);
        let subject = args.subject.clone().unwrap_or_else(own);
        let id = readable_id(&bytes);
        let sent = publisher.publish(&subject, id.as_deref(), bytes.clone(), args.timeout).await;
        let receipt = sent.map_err(|error| {
            if is_filled {
                // It is to be sent again unchanged, and stands nowhere else.
                let text = String::from_utf8_lossy(&bytes);
                words(&format!("{name}: filled, and without a receipt; keep it:\n{text}\n"));
            }
            Failure::new(exit_of(&error), format!("{name}: {error}"))
        })?;
        refused |= !matches!(receipt["data"]["outcome"].as_str(), Some("accepted" | "duplicate"));
        progress.inc(1);
        // Who only looks at the first receipts wants the rest sent all the same.
        read = read && line(&receipt)?;
    }
    progress.finish_and_clear();
    Ok(if refused { Exit::DataInvalid } else { Exit::Ok })
}

/// The key to sign with: the one named, or the one that lies beside the key of the connection.
fn signer(args: &Args) -> Result<Option<Signer>, Failure> {
    let file = match &args.sign_key {
        Some(file) => file.clone(),
        None => {
            let beside = args.place.signing_key_file(&args.party, args.post.as_ref());
            match beside.try_exists() {
                Ok(true) => beside,
                Ok(false) => return Ok(None),
                Err(error) => {
                    return Err(Failure::new(Exit::NotPermitted, format!("{}: {error}", beside.display())));
                }
            }
        }
    };
    Signer::read(&file).map(Some).map_err(|error| Failure::new(Exit::NotPermitted, error.to_string()))
}

/// A bar on stderr, only on a terminal and only where there is something to wait for.
fn progress(count: usize) -> indicatif::ProgressBar {
    if count > 20 { indicatif::ProgressBar::new(count as u64) } else { indicatif::ProgressBar::hidden() }
}

/// Where a message goes: plane, type and country are those of the envelope, but who sends it is we, whatever stands in there. So the
/// broker says what is wrong with an envelope that is another's; the server would just not take it. An authority's system may send
/// for its posts. Bytes that nothing can be read from are refused too, with a receipt.
fn own_subject(party: &PartyId, post: Option<&PostId>, bytes: &[u8]) -> String {
    let expected = verdict::expected_subject(bytes);
    let tokens: Vec<&str> = expected.iter().flat_map(|subject| subject.splitn(5, '.')).collect();
    let (claimed, rest) = match tokens[..] {
        [_, _, claimed, by, rest] => ((claimed == party.as_str()).then_some(by), rest),
        _ => (None, "net.unknown.unknown.zz"),
    };
    let post = post.map(PostId::as_str).or(claimed).unwrap_or("system");
    format!("ilo.in.{party}.{post}.{rest}")
}

fn readable_id(bytes: &[u8]) -> Option<String> {
    let read = crate::message::json::read(bytes).ok()?;
    let id = read.root().at("id").as_str()?;
    crate::message::names::MessageId::parse(id).ok().map(|id| id.to_string())
}

/// Adds `id` and `recordedtime` if they are missing; everything else keeps its order and spelling.
fn fill(bytes: &[u8]) -> Option<Vec<u8>> {
    let Value::Object(event) = crate::message::json::read(bytes).ok()?.to_value() else { return None };
    let mut added = Map::new();
    if !event.contains_key("id") {
        added.insert("id".into(), uuid::Uuid::now_v7().to_string().into());
    }
    if !event.contains_key("recordedtime") {
        added.insert("recordedtime".into(), time::rfc3339(time::now()).into());
    }
    if added.is_empty() {
        return None;
    }
    added.extend(event);
    serde_json::to_vec(&Value::Object(added)).ok()
}

fn not_permitted(error: &crate::wire::Error) -> Failure {
    Failure::new(Exit::NotPermitted, error.to_string())
}

/// How a client error ends the command.
#[expect(clippy::needless_pass_by_value, reason = "the shape of map_err")]
pub fn unreachable(error: Error) -> Failure {
    Failure::new(exit_of(&error), error.to_string())
}

fn exit_of(error: &Error) -> Exit {
    match error {
        Error::Wire(crate::wire::Error::Denied(_) | crate::wire::Error::Key { .. })
        | Error::Ask(AskError::Refused { status: 403, .. }) => Exit::NotPermitted,
        Error::Ask(AskError::Refused { status: 400 | 404, .. }) => Exit::DataInvalid,
        Error::Answer(_) => Exit::Failure,
        _ => Exit::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_goes_out_under_our_own_name() {
        let party = PartyId::parse("it-moi").expect("well formed");
        let post = PostId::parse("tn-01").expect("well formed");
        let event = |source: &str| {
            format!(r#"{{"source":"{source}","type":"eu.ilonet.flow.observation.v1","subject":"TN"}}"#)
        };
        for (source, post, subject) in [
            ("/authority/it-moi", None, "ilo.in.it-moi.system.net.flow.observation.tn"),
            ("/authority/it-moi/post/tn-01", None, "ilo.in.it-moi.tn-01.net.flow.observation.tn"),
            ("/authority/it-moi/post/tn-01", Some(&post), "ilo.in.it-moi.tn-01.net.flow.observation.tn"),
            ("/authority/it-moi/post/tn-02", Some(&post), "ilo.in.it-moi.tn-01.net.flow.observation.tn"),
            ("/authority/it-moi", Some(&post), "ilo.in.it-moi.tn-01.net.flow.observation.tn"),
            ("/authority/de-bpol", None, "ilo.in.it-moi.system.net.flow.observation.tn"),
            ("/authority/de-bpol/post/tr-03", None, "ilo.in.it-moi.system.net.flow.observation.tn"),
            ("/authority/de-bpol", Some(&post), "ilo.in.it-moi.tn-01.net.flow.observation.tn"),
            ("/broker/liaison-1", None, "ilo.in.it-moi.system.net.unknown.unknown.zz"),
        ] {
            let made = own_subject(&party, post, event(source).as_bytes());
            assert_eq!(made, subject, "{source} {post:?}");
        }
        assert_eq!(own_subject(&party, Some(&post), b"{"), "ilo.in.it-moi.tn-01.net.unknown.unknown.zz");
    }
}
