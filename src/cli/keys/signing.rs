//! `liaison keys … --signing`: the keys with which posts sign their messages.
//!
//! Public halves stand in the registry, in tables at its end: a key is added, a revocation is added, nothing is rewritten or taken
//! out, for what a key signed must go on verifying. The secret half is a JWK beside the seed of the connection, and may as
//! well be somewhere else (`--public-key`). It comes to its place only when the broker knows the public one.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{Whose, failure, moment};
use crate::cli::{Exit, Failure, exit};
use crate::client::Signer;
use crate::message::names::{KeyId, PartyId, PostId};
use crate::message::time::{self, Timestamp};
use crate::rules::registry::Registry;
use crate::rules::signing::SigningKey;
use crate::wire::keyring;

/// What the list calls them.
pub(super) const KIND: &str = "signing";

/// What is said of a key that signs messages.
#[derive(Debug, clap::Args)]
pub struct MakeSigning {
    /// A key with which messages are signed, not one of a connection. Its public half goes into the registry; --public-key takes one
    /// as a JWK has it in `x`.
    #[arg(long, env = "LIAISON_SIGNING", conflicts_with = "all")]
    pub(super) signing: bool,
    /// Id of a signing key; default: post and day.
    #[arg(long, env = "LIAISON_KEY_ID", value_name = "ID", requires = "signing")]
    id: Option<KeyId>,
    /// When a signing key ends, RFC 3339.
    #[arg(long, env = "LIAISON_UNTIL", value_name = "TIME", requires = "signing", value_parser = instant)]
    until: Option<Timestamp>,
}

fn instant(text: &str) -> Result<Timestamp, String> {
    time::parse(text).ok_or_else(|| "must be a time, RFC 3339".to_owned())
}

/// What is to be done.
pub(super) enum Change {
    /// The first key, or another one beside it.
    Make { id: Option<KeyId>, until: Option<Timestamp>, public: Option<String>, after: After },
    /// These are refused from now on.
    Revoke(Ending),
}

/// What becomes of the keys before a new one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// There must be none.
    None,
    /// They stay valid.
    Overlap,
    /// They are revoked with it.
    Revoked,
}

/// Which keys are revoked.
pub(super) enum Ending {
    /// All but the newest.
    Replaced,
    /// All.
    All,
    /// This one.
    One(KeyId),
}

impl MakeSigning {
    /// What it asks for.
    pub(super) fn making(self, public: Option<String>, after: After) -> Change {
        Change::Make { id: self.id, until: self.until, public, after }
    }
}

/// What is done to the registry and to the files.
struct Plan {
    /// Tables that are added to the registry.
    tables: String,
    /// The key that is made here, waiting for its place.
    made: Option<PathBuf>,
    /// Ids of the keys that were added or revoked.
    changed: Vec<KeyId>,
}

/// Runs it.
pub(super) async fn carry_out(whose: &Whose, change: &Change) -> Result<Exit, Failure> {
    let file = whose.place.registry_file()?;
    let secret = secret_file(&whose.place.keys(), &whose.party, whose.post.as_ref());
    let (plan, registry) = {
        let _alone = keyring::lock(&whose.place.keys()).map_err(|error| failure(&error))?;
        let text = std::fs::read_to_string(&file).map_err(|error| io(&file, &error))?;
        let registry = parse(&file, &text)?;
        settle(&secret, &registry, &whose.party)?;
        let plan = plan(whose, change, &registry, &secret)?;
        let written = add(&file, &text, &plan.tables);
        if let (Err(_), Some(made)) = (&written, &plan.made) {
            // Not in the registry, so of no use to anybody.
            std::fs::remove_file(made).ok();
        }
        (plan, written?)
    };
    let told = whose.place.tell().await;
    if told.is_ok() || matches!(change, Change::Revoke(_)) {
        settle(&secret, &registry, &whose.party)?;
    }
    let party = registry.party(whose.party.as_str());
    for key in party.iter().flat_map(|party| &party.signing_keys) {
        if plan.changed.contains(&key.id) {
            exit::line(&shown(&whose.party, key, &whose.place.keys()))?;
        }
    }
    let was_told = told.map_err(|error| {
        let words = "the registry is changed, but the running `liaison up` goes on with the old one";
        Failure::new(Exit::Failure, format!("{words}: {error}. Mend that, then send it SIGHUP"))
    })?;
    exit::words(if was_told {
        "the broker has it: done.\n"
    } else {
        "no `liaison up` was told: the broker has it from its next start or reload on.\n"
    });
    Ok(Exit::Ok)
}

/// All signing keys of the registry, or of one party.
pub(super) fn all<'a>(
    registry: &'a Registry,
    party: Option<&'a PartyId>,
) -> impl Iterator<Item = (&'a PartyId, &'a SigningKey)> {
    let parties = registry.parties().filter(move |known| party.is_none_or(|party| known.id == *party));
    parties.flat_map(|party| party.signing_keys.iter().map(move |key| (&party.id, key)))
}

/// One key as JSON.
pub(super) fn shown(party: &PartyId, key: &SigningKey, directory: &Path) -> Value {
    let file = secret_file(directory, party, key.post.as_ref());
    let is_here = Signer::read(&file).is_ok_and(|signer| *signer.id() == key.id);
    json!({
        "party": party,
        "post": key.post,
        "kind": KIND,
        "id": key.id,
        "public_key": public(key),
        "since": key.from,
        "until": key.until,
        "revoked": key.revoked,
        "let_in": key.valid_at(time::now()).is_ok(),
        "file": is_here.then(|| file.display().to_string()),
    })
}

/// One key as cells of the table.
pub(super) fn cells(key: &SigningKey) -> [String; 5] {
    [key.id.to_string(), public(key), moment(Some(key.from)), moment(key.until), moment(key.revoked)]
}

fn public(key: &SigningKey) -> String {
    URL_SAFE_NO_PAD.encode(key.public.as_bytes())
}

fn secret_file(keys: &Path, party: &PartyId, post: Option<&PostId>) -> PathBuf {
    keys.join(party.as_str()).join(format!("{}.jwk", post.map_or("system", PostId::as_str)))
}

fn io(file: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Io, format!("{}: {error}", file.display()))
}

fn parse(file: &Path, text: &str) -> Result<Registry, Failure> {
    Registry::parse(text).map_err(|faults| {
        let faults: Vec<String> =
            faults.into_iter().map(|fault| format!("{}: {fault}", file.display())).collect();
        Failure::new(Exit::Configuration, faults.join("\nliaison: "))
    })
}

fn plan(whose: &Whose, change: &Change, registry: &Registry, secret: &Path) -> Result<Plan, Failure> {
    let invalid = |words: String| Failure::new(Exit::DataInvalid, words);
    let party = registry.party(whose.party.as_str());
    let party = party.ok_or_else(|| invalid(format!("{} is not in the registry", whose.party)))?;
    let who = whose.post.as_ref().map_or_else(|| party.id.to_string(), |post| format!("{} {post}", party.id));
    // To the millisecond, as archive times are: a message that was archived just before is not signed by a revoked key.
    let now = time::now();
    let own = party.signing_keys.iter().filter(|key| key.post == whose.post);
    let mut live: Vec<&SigningKey> = own.filter(|key| key.valid_at(now).is_ok()).collect();
    // Keys of one moment stay in the order of the file: the later line is the newer key.
    live.sort_by_key(|key| key.from);
    match change {
        Change::Make { id, until, public, after } => {
            match (after, live.last()) {
                (After::None, Some(key)) => {
                    return Err(invalid(format!(
                        "{who} has the signing key {}: `rotate` gives it another",
                        key.id
                    )));
                }
                (After::Overlap | After::Revoked, None) => {
                    return Err(invalid(format!("{who} has no signing key: `new` gives it one")));
                }
                _ => {}
            }
            let id = match id {
                Some(id) => id.clone(),
                None => fresh_id(whose.post.as_ref(), &party.signing_keys, now)?,
            };
            let waiting = waiting(secret);
            let (public, made) = match public {
                Some(public) => (public.clone(), None),
                None => {
                    // What lies there is in no registry, or `settle` would have taken it.
                    std::fs::remove_file(&waiting).ok();
                    let signer = Signer::create(&waiting, id.clone());
                    let signer =
                        signer.map_err(|error| Failure::new(Exit::NotPermitted, error.to_string()))?;
                    (signer.public(), Some(waiting))
                }
            };
            let mut tables = key_table(whose, &id, &public, now, *until);
            let mut changed = vec![id];
            if *after == After::Revoked {
                tables += &revocations(&party.id, &live, now);
                changed.extend(live.iter().map(|key| key.id.clone()));
            }
            Ok(Plan { tables, made, changed })
        }
        Change::Revoke(ending) => {
            let newest = live.last().map(|key| key.id.clone());
            live.retain(|key| match ending {
                Ending::All => true,
                Ending::Replaced => Some(&key.id) != newest.as_ref(),
                Ending::One(id) => key.id == *id,
            });
            if live.is_empty() {
                return Err(invalid(format!("{who} has no such signing key that is valid")));
            }
            let changed = live.iter().map(|key| key.id.clone()).collect();
            Ok(Plan { tables: revocations(&party.id, &live, now), made: None, changed })
        }
    }
}

fn key_table(whose: &Whose, id: &KeyId, public: &str, now: Timestamp, until: Option<Timestamp>) -> String {
    let mut table = format!("\n[[signing_key]]\nparty = \"{}\"\n", whose.party);
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        // Names, times and base64url: nothing in them that TOML would escape.
        writeln!(table, "{name} = \"{value}\"").expect("a string takes everything");
    };
    if let Some(post) = &whose.post {
        line("post", post);
    }
    line("id", id);
    line("public", &public.escape_default());
    line("from", &time::rfc3339(now));
    if let Some(until) = until {
        line("until", &time::rfc3339(until));
    }
    table
}

fn revocations(party: &PartyId, keys: &[&SigningKey], now: Timestamp) -> String {
    let at = time::rfc3339(now);
    let table = |key: &&SigningKey| {
        format!("\n[[revoked_key]]\nparty = \"{party}\"\nid = \"{}\"\nat = \"{at}\"\n", key.id)
    };
    keys.iter().map(table).collect()
}

/// `<user>-<day>`, with a number behind it if the party had that id before.
fn fresh_id(post: Option<&PostId>, known: &[SigningKey], now: Timestamp) -> Result<KeyId, Failure> {
    let day = now.to_string().split('T').next().unwrap_or_default().replace('-', "");
    let begin = format!("{}-{day}", post.map_or("system", PostId::as_str));
    let numbered = (2..=known.len() + 2).map(|number| format!("{begin}-{number}"));
    let mut free = std::iter::once(begin.clone())
        .chain(numbered)
        .filter(|id| known.iter().all(|key| key.id.as_str() != id))
        .filter_map(|id| KeyId::parse(&id).ok());
    free.next().ok_or_else(|| Failure::new(Exit::Failure, "no id could be made: give one with --id"))
}

/// Puts tables at the end of the registry, in one step; what it is then. Nothing is written that could not be read again.
fn add(file: &Path, text: &str, tables: &str) -> Result<Registry, Failure> {
    let fresh = format!("{}\n{tables}", text.trim_end());
    let registry = parse(file, &fresh)?;
    let aside = file.with_extension("toml.new");
    let written = std::fs::metadata(file).and_then(|meta| {
        let mut new = std::fs::File::create(&aside)?;
        new.set_permissions(meta.permissions())?;
        new.write_all(fresh.as_bytes())?;
        new.sync_all()?;
        std::fs::rename(&aside, file)
    });
    written.map_err(|error| io(file, &error))?;
    Ok(registry)
}

fn waiting(secret: &Path) -> PathBuf {
    secret.with_extension("jwk.new")
}

/// Makes the file of a secret key follow the registry: one that waits takes its place if its key is there and valid, and one
/// whose key is revoked goes away. It may be called again after a crash.
fn settle(secret: &Path, registry: &Registry, party: &PartyId) -> Result<(), Failure> {
    let waiting = waiting(secret);
    let is_fit = |file: &Path| {
        let signer = Signer::read(file).ok()?;
        let party = registry.party(party.as_str())?;
        let key = party.signing_keys.iter().find(|key| key.id == *signer.id())?;
        Some(public(key) == signer.public() && key.revoked.is_none())
    };
    if is_fit(&waiting) == Some(true) {
        std::fs::rename(&waiting, secret).map_err(|error| io(secret, &error))?;
    }
    if is_fit(secret) == Some(false) {
        std::fs::remove_file(secret).map_err(|error| io(secret, &error))?;
    }
    Ok(())
}
