//! `liaison archive stats` and `show`: what is in the journal. Reads it only; changes nothing.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::exit::line;
use super::super::selecting::InArchive;
use super::super::{Exit, Failure};
use super::Place;
use crate::archive::audit::Object;
use crate::archive::{Content, Record};
use crate::export::source::{Counts, Next, Opened};
use crate::message::digest::Digest;
use crate::message::time::{Timestamp, rfc3339};

/// Records shown unless more are asked for.
const SHOWN: u64 = 20;

/// Arguments of `archive stats`.
#[derive(Debug, clap::Args)]
pub struct StatsArgs {
    #[command(flatten)]
    selection: InArchive,
    #[command(flatten)]
    place: Place,
}

/// Arguments of `archive show`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// Data directory of `liaison up`, or an archive directory.
    #[arg(long, env = "LIAISON_DATA", default_value = "./liaison-data")]
    data: PathBuf,
    #[command(flatten)]
    selection: InArchive,
    /// Print the content too; personal data only with --personal.
    #[arg(long, env = "LIAISON_CONTENT")]
    content: bool,
}

/// Runs `archive stats`: of the whole journal, or of what is asked for.
pub fn stats(args: StatsArgs) -> Result<Exit, Failure> {
    let directory = args.place.directory();
    let everything = args.selection.is_everything();
    let counted = if everything {
        serde_json::to_value(args.selection.archive(directory)?.stats()?)
    } else {
        let source = args.selection.source(directory)?;
        serde_json::to_value(Counts::of(&source, &args.selection.query(&[], None)?)?)
    };
    line(&counted.map_err(|error| Failure::new(Exit::Failure, error.to_string()))?)?;
    Ok(Exit::Ok)
}

/// Runs `archive show`.
pub fn show(args: ShowArgs) -> Result<Exit, Failure> {
    let source = args.selection.source(&args.data)?;
    let query = args.selection.query(&[], Some(SHOWN))?;
    if args.content {
        let filter = Some(Digest::of(query.to_json().to_string().as_bytes()));
        super::note(&args.data, Object { filter, ..Object::default() });
    }
    source.search(&query, args.content, |record, opened| {
        let mut value = shown(record, source.digest(record));
        if let Some((name, content)) = opened.as_ref().and_then(content) {
            value[name] = content;
        }
        if let Some(Opened::Content(Content { signature: Some(signature), .. })) = &opened {
            value["signature"] = signature.as_str().into();
        }
        line(&value).map(|read| if read { Next::Taken } else { Next::Stop })
    })?;
    Ok(Exit::Ok)
}

/// The event, or what stands in its place.
fn content(opened: &Opened) -> Option<(&'static str, Value)> {
    Some(match opened {
        Opened::Content(content) => match serde_json::from_slice(&content.payload) {
            Ok(event) => ("event", event),
            // What was put aside because its frame was broken: no event, and perhaps no text.
            Err(_) => ("raw", STANDARD.encode(&content.payload).into()),
        },
        Opened::Sealed => ("sealed", true.into()),
        Opened::Gone(why) => ("tombstone", why.clone().into()),
        Opened::Note => return None,
    })
}

fn shown(record: &Record, digest: Option<Digest>) -> Value {
    let time = |ms| Timestamp::from_millisecond(ms).map(rfc3339).unwrap_or_default();
    let summary = record.summary.as_ref();
    json!({
        "seq": record.seq,
        "outcome": record.outcome,
        "code": record.code,
        "detail": record.detail,
        "party": record.party,
        "subject": record.subject,
        "stream_epoch": record.position.epoch,
        "stream_sequence": record.position.sequence,
        "arrived": time(record.arrived_ms),
        "archived": time(record.archived_ms),
        "sha256": digest.map(|digest| digest.hex()),
        "source": summary.map(|summary| &summary.source),
        "id": summary.map(|summary| &summary.id),
        "type": summary.map(|summary| &summary.kind),
        "recipients": record.recipients.iter().map(|entry| json!({"party": entry.party, "why": entry.why})).collect::<Vec<_>>(),
        "withheld": record.withheld.iter().map(|entry| json!({"party": entry.party, "reason": entry.why})).collect::<Vec<_>>(),
    })
}
