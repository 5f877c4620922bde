//! `liaison validate`: the daemon's judgement and routing without daemon, archive or network.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::data::read_messages;
use super::exit::line;
use super::{Exit, Failure};
use crate::broker::routes::Routes;
use crate::message::names::PartyId;
use crate::message::outcome::Outcome;
use crate::message::raw::{Frame, Position, Raw};
use crate::message::time;
use crate::rules::Rules;
use crate::rules::catalogue::Catalogue;
use crate::rules::policy::Policy;
use crate::rules::registry::Registry;
use crate::rules::schemas::Schemas;
use crate::rules::verdict;

/// Arguments of `validate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The publishing authority; default: the one in the envelope.
    #[arg(long = "as", env = "LIAISON_AS")]
    party: Option<PartyId>,
    /// The NATS subject; default: the one the envelope calls for.
    #[arg(long, env = "LIAISON_SUBJECT")]
    subject: Option<String>,
    /// Registry file; default: the demo registry.
    #[arg(long, env = "LIAISON_REGISTRY")]
    registry: Option<PathBuf>,
    /// Judge as if it were this time (RFC 3339).
    #[arg(long, env = "LIAISON_NOW")]
    now: Option<time::Timestamp>,
    /// Judge with the case plane (personal data, Art. 10) switched on.
    #[arg(long, env = "LIAISON_ENABLE_CASE_PLANE")]
    enable_case_plane: bool,
    /// JSON or NDJSON files, `-` for stdin.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// Runs it.
pub fn run(args: &Args) -> Result<Exit, Failure> {
    let rules = rules(args)?;
    let now = args.now.unwrap_or_else(time::now);
    let mut refused = false;
    for (name, bytes) in read_messages(&args.files)? {
        let value = one(args, &rules, now, &name, bytes);
        refused |= value["outcome"] != "accepted";
        if !line(&value)? {
            break;
        }
    }
    Ok(if refused { Exit::DataInvalid } else { Exit::Ok })
}

fn rules(args: &Args) -> Result<Rules, Failure> {
    let fault = |faults: Vec<String>| Failure::new(Exit::Configuration, faults.join("\n"));
    let registry = match &args.registry {
        None => Registry::demo(),
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .map_err(|error| Failure::new(Exit::Configuration, format!("{}: {error}", file.display())))?;
            Registry::parse(&text).map_err(fault)?
        }
    };
    Ok(Rules {
        catalogue: Catalogue::embedded().clone(),
        schemas: Schemas::embedded().map_err(fault)?,
        registry,
        policy: Policy::default().with_case_plane(args.enable_case_plane),
    })
}

fn one(args: &Args, rules: &Rules, now: time::Timestamp, name: &str, bytes: Vec<u8>) -> Value {
    let claimed = verdict::claimed_party(&bytes);
    let Some(party) = args.party.clone().or(claimed) else {
        // Without a publisher only the bytes can be judged; they say what is wrong with them.
        let refused = crate::message::json::read(&bytes).err().unwrap_or_else(|| {
            let code = crate::message::outcome::Code::Envelope;
            crate::message::outcome::Refused::new(code, "/source", "no authority can be read from it")
        });
        return json!({ "file": name, "outcome": refused.outcome(), "code": refused.code, "detail": refused.detail,
            "recipients": [], "withheld": [] });
    };
    let subject = args.subject.clone().or_else(|| verdict::expected_subject(&bytes)).unwrap_or_default();
    let raw = Raw {
        party,
        subject,
        payload: bytes.into(),
        content_type: None,
        signature: None,
        binary_mode: false,
        arrived: now,
        position: Position::default(),
        frame: Frame::Whole,
    };
    let mut unchecked = Vec::new();
    let routes = Routes::default();
    let mut verdict = verdict::of(rules, raw, now, |rules, permitted| {
        unchecked = verdict::needs_memory(permitted.envelope().kind.as_str());
        routes.recipients(rules, permitted)
    });
    if verdict.outcome == Outcome::Accepted {
        verdict.unchecked = unchecked;
    }
    let mut value = verdict.to_json();
    value["file"] = name.into();
    value
}
