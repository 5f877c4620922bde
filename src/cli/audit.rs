//! `liaison audit`: the audit log, offline from a data directory or asked of a running broker as a supervisor.
//!
//! Offline it reads beside a running broker too and changes nothing.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::archive::own_key;
use super::data::Where;
use super::exit::put;
use super::publish::unreachable;
use super::{Exit, Failure};
use crate::archive;
use crate::archive::audit::{Actor, Entry, Reader, What};
use crate::archive::verify::{self, Against};
use crate::client::{AskError, Asker};
use crate::message::names::PartyId;
use crate::message::time::{self, Timestamp};
use crate::wire::keys;

/// Entries asked for at once.
const PAGE: usize = 1_000;

/// How entries are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// One JSON object a line.
    Ndjson,
    /// A table; an object's members are columns.
    Csv,
}

/// Arguments of `audit`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Where,
    /// Ask the running broker as this party, which must be a supervisor. Without it the data directory is read.
    #[arg(long = "as", env = "LIAISON_AS")]
    party: Option<PartyId>,
    /// From this moment on, RFC 3339.
    #[arg(long, env = "LIAISON_FROM", value_parser = moment)]
    from: Option<Timestamp>,
    /// Before this moment, RFC 3339.
    #[arg(long, env = "LIAISON_TO", value_parser = moment)]
    to: Option<Timestamp>,
    /// Only what this party did, or `operator`, or `broker`.
    #[arg(long = "party", env = "LIAISON_PARTY", value_parser = actor)]
    who: Option<Actor>,
    /// Only this, for example `replayed`.
    #[arg(long, env = "LIAISON_WHAT", value_parser = what)]
    what: Option<What>,
    /// How to print.
    #[arg(long, env = "LIAISON_OUTPUT", value_enum, default_value_t = Output::Ndjson)]
    output: Output,
    /// Check the whole log and what was signed of it first, and end if it was changed. That is done in the data directory,
    /// whatever --as says.
    #[arg(long, env = "LIAISON_VERIFY")]
    verify: bool,
}

fn moment(text: &str) -> Result<Timestamp, String> {
    time::parse(text).ok_or_else(|| "must be an RFC 3339 time with seconds and offset".to_owned())
}

fn actor(text: &str) -> Result<Actor, String> {
    text.parse().map_err(|_| "must be a party id, operator or broker".to_owned())
}

fn what(text: &str) -> Result<What, String> {
    text.parse().map_err(|_| "must be one of the words of the audit log".to_owned())
}

/// Runs it.
pub async fn run(args: Args) -> Result<Exit, Failure> {
    if args.output == Output::Csv && !put(format!("{}\n", columns().join(",")).as_bytes())? {
        return Ok(Exit::Ok);
    }
    match &args.party {
        Some(party) if !args.verify => ask(&args, party).await,
        _ => look(&args),
    }
}

async fn ask(args: &Args, party: &PartyId) -> Result<Exit, Failure> {
    let seed = keys::read_seed(&args.place.key_file(party, None))
        .map_err(|error| Failure::new(Exit::NotPermitted, error.to_string()))?;
    let asker = Asker::connect(&args.place.address(party)?, &seed, party).await.map_err(unreachable)?;
    let mut body = json!({ "limit": PAGE });
    let texts = [
        ("from", args.from.map(|at| at.to_string())),
        ("to", args.to.map(|at| at.to_string())),
        ("party", args.who.as_ref().map(ToString::to_string)),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            body[name] = text.into();
        }
    }
    if let Some(what) = args.what {
        body["what"] = json!(what);
    }
    loop {
        let page = asker.ask("audit", &body).await.map_err(|error| refused(&error))?;
        let page: Value = serde_json::from_slice(&page)
            .map_err(|_| Failure::new(Exit::DataInvalid, "an answer that is no JSON"))?;
        for entry in page["entries"].as_array().into_iter().flatten() {
            if !show(entry, args.output)? {
                return Ok(Exit::Ok);
            }
        }
        if page["done"] != false {
            return Ok(Exit::Ok);
        }
        body["after"] = page["cursor"].clone();
    }
}

fn refused(error: &AskError) -> Failure {
    let exit = match error {
        AskError::NoAnswer(_) => Exit::Unreachable,
        AskError::Refused { status: 403, .. } => Exit::NotPermitted,
        AskError::Refused { status: 429 | 503, .. } => Exit::Unreachable,
        AskError::Refused { .. } => Exit::Failure,
    };
    Failure::new(exit, error.to_string())
}

fn look(args: &Args) -> Result<Exit, Failure> {
    #[expect(clippy::needless_pass_by_value, reason = "the shape of map_err")]
    fn io(error: archive::Error) -> Failure {
        Failure::new(Exit::Io, error.to_string())
    }
    let directory = archive_in(&args.place.data);
    if args.verify {
        verify(&args.place.data, &directory)?;
    }
    let reader = Reader::offline(&directory).map_err(io)?;
    let wanted = |entry: &Entry| {
        let at = Timestamp::from_millisecond(entry.at_ms).unwrap_or_default();
        args.from.is_none_or(|from| at >= from)
            && args.to.is_none_or(|to| at < to)
            && args.who.as_ref().is_none_or(|who| entry.who == *who)
            && args.what.is_none_or(|what| entry.what == what)
    };
    let mut after = 0;
    while after < reader.head() {
        let page = reader.page(after, PAGE, wanted).map_err(io)?;
        for found in &page.entries {
            if !show(&found.shown(), args.output)? {
                return Ok(Exit::Ok);
            }
        }
        after = page.upto;
    }
    Ok(Exit::Ok)
}

/// The chain and every entry, then what was signed of them. A last frame that a crash cut is no change.
fn verify(data: &Path, archive: &Path) -> Result<(), Failure> {
    let changed = |words: String| Failure::new(Exit::DataInvalid, words);
    let key = own_key(data)?;
    let report = verify::audit(archive, &Against { key: key.as_ref(), held: &[] });
    // An archive that is not there, or has lost its log, was not found unchanged.
    let report = report.map_err(|error| Failure::new(Exit::Io, error.to_string()))?.ok_or_else(|| {
        Failure::new(Exit::Io, format!("{}: no audit log here", archive.join("audit").display()))
    })?;
    archive::audit::verify(archive).map_err(|error| changed(error.to_string()))?;
    match report.finding.filter(|_| !report.torn) {
        Some(finding) => Err(changed(format!("{}, from sequence {} on", finding.what, finding.first_bad))),
        None => Ok(()),
    }
}

fn archive_in(data: &Path) -> PathBuf {
    let inner = data.join("archive");
    if inner.is_dir() { inner } else { data.to_owned() }
}

/// The members of an entry, those of its object taken apart: pointers into the JSON form.
const PLACES: [&str; 19] = [
    "/seq",
    "/at",
    "/who",
    "/identity",
    "/what",
    "/result",
    "/object/archive/first",
    "/object/archive/last",
    "/object/feed/first",
    "/object/feed/last",
    "/object/audit/first",
    "/object/audit/last",
    "/object/filter",
    "/object/party",
    "/object/count",
    "/object/outcomes/accepted",
    "/object/outcomes/duplicate",
    "/object/outcomes/quarantined",
    "/object/outcomes/rejected",
];

fn columns() -> Vec<String> {
    let name = |place: &&str| place.trim_start_matches("/object").trim_start_matches('/').replace('/', "_");
    PLACES.iter().map(name).collect()
}

/// False if nobody reads any more.
fn show(entry: &Value, output: Output) -> Result<bool, Failure> {
    let line = match output {
        Output::Ndjson => entry.to_string(),
        // Numbers, closed words, ids, digests and times: nothing that a table program takes for a formula or a comma.
        Output::Csv => {
            let cell = |place: &&str| match entry.pointer(place) {
                Some(Value::String(text)) => text.clone(),
                Some(value) => value.to_string(),
                None => String::new(),
            };
            PLACES.iter().map(cell).collect::<Vec<_>>().join(",")
        }
    };
    put(format!("{line}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_of_an_entry_has_its_column() {
        use crate::archive::audit::{Identity, Object, Outcomes, Span, Word};
        use crate::message::digest::Digest;
        let party = PartyId::parse("de-bpol").expect("well formed");
        let span = Some(Span { first: 1, last: 2 });
        let object = Object {
            archive: span,
            feed: span,
            audit: span,
            filter: Some(Digest::of(b"")),
            party: Some(party.clone()),
            count: Some(3),
            outcomes: Some(Outcomes::default()),
        };
        let entry = Entry::of_party(0, &party, What::Replayed, object);
        let shown = archive::audit::Numbered { seq: 1, entry: entry.ending(Word::Done) }.shown();
        let mut leaves = 0;
        let mut left = vec![&shown];
        while let Some(value) = left.pop() {
            match value {
                Value::Object(members) => left.extend(members.values()),
                _ => leaves += 1,
            }
        }
        assert_eq!(leaves, PLACES.len());
        assert!(PLACES.iter().all(|place| shown.pointer(place).is_some_and(|value| !value.is_object())));
        assert_eq!(columns()[..7], ["seq", "at", "who", "identity", "what", "result", "archive_first"]);
        assert_eq!(Identity::Account(party).to_string(), shown["identity"].as_str().expect("a text"));
        assert_eq!(shown["at"], "1970-01-01T00:00:00.000Z");
    }
}
