//! The signatures of posts: which keys a party has, and whether a message is signed by one that may sign it.
//!
//! A signature is for those who do not want to trust broker and server alone (T6): whoever steals the key of a connection
//! can still not speak for a post that signs. It does not say that what is signed is true, and it takes part in no routing.
//!
//! Keys stand in the registry as tables of their own, each with an id, and are never taken out again: what was signed while a
//! key was valid must go on verifying. `liaison keys` adds lines at the end of the file; nothing there is rewritten.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::VerifyingKey;
use serde::Deserialize;

use super::registry::{Party, Registry};
use crate::message::envelope::{Envelope, Source};
use crate::message::json;
use crate::message::names::{KeyId, PartyId, PostId};
use crate::message::outcome::{Code, Refused};
use crate::message::raw::Raw;
use crate::message::signature::Detached;
use crate::message::time::{self, Timestamp};

/// Whether messages of a party must be signed. A signature that is there must verify in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signatures {
    /// They may be.
    #[default]
    Optional,
    /// They must be.
    Required,
}

/// What is wrong with a signature. The words go on from "the message" and hold nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// There is none, and there must be.
    #[error("is not signed, and every message of this authority must be")]
    Missing,
    /// No signature of ours looks like this.
    #[error("has a signature that cannot be read: one detached JWS with alg EdDSA and kid is taken")]
    Unreadable,
    /// The party has no key of that id.
    #[error("is signed with a key that this authority does not have")]
    Unknown,
    /// The key is for another post.
    #[error("is signed with the key of another post")]
    OtherPost,
    /// The key is not valid yet.
    #[error("is signed with a key that is not valid yet")]
    Early,
    /// The key is not valid any more.
    #[error("is signed with a key that is no longer valid")]
    Late,
    /// The key is revoked.
    #[error("is signed with a key that is revoked")]
    Revoked,
    /// It was not made with this key over these bytes.
    #[error("has a signature that does not fit its bytes")]
    Unfit,
}

/// A key with which messages of a party may be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// Its id, the `kid` of its signatures; unique in the party.
    pub id: KeyId,
    /// The only post for which it signs; `None`: for the authority itself and all its posts.
    pub post: Option<PostId>,
    /// Its public half.
    pub public: VerifyingKey,
    /// From when on it is valid.
    pub from: Timestamp,
    /// Until when; that moment is not included.
    pub until: Option<Timestamp>,
    /// When it was revoked: from that moment on nothing that it signs is taken.
    pub revoked: Option<Timestamp>,
}

impl SigningKey {
    /// Whether it may sign at a time.
    ///
    /// # Errors
    /// [`Fault::Revoked`], [`Fault::Early`], [`Fault::Late`].
    pub fn valid_at(&self, at: Timestamp) -> Result<(), Fault> {
        if self.revoked.is_some_and(|revoked| at >= revoked) {
            return Err(Fault::Revoked);
        }
        if at < self.from {
            return Err(Fault::Early);
        }
        if self.until.is_some_and(|until| at >= until) { Err(Fault::Late) } else { Ok(()) }
    }
}

/// The signature of a message that came in. `now` is when it is judged, which is when it is archived but for the time in
/// between: recipients ask whether the key was valid when it was archived.
///
/// # Errors
/// `E-ORIGIN`: it is not signed and must be, or the signature is not one of a key that may sign it now.
pub(super) fn check(
    registry: &Registry,
    raw: &Raw,
    envelope: &Envelope,
    now: Timestamp,
) -> Result<(), Refused> {
    let Some(party) = registry.party(raw.party.as_str()) else { return Ok(()) };
    verify(party, &envelope.source, &raw.payload, raw.signature.as_deref(), now)
        .map(drop)
        .map_err(|fault| Refused::new(Code::Origin, "", fault.to_string()))
}

/// The key that signed these bytes, if it may speak for their source at that time; `None` if they are not signed and need
/// not be.
///
/// # Errors
/// What is wrong with the signature.
pub fn verify<'a>(
    party: &'a Party,
    source: &Source,
    payload: &[u8],
    signature: Option<&str>,
    at: Timestamp,
) -> Result<Option<&'a SigningKey>, Fault> {
    let Some(text) = signature else {
        return if party.signatures == Signatures::Required { Err(Fault::Missing) } else { Ok(None) };
    };
    let signature = Detached::parse(text).ok_or(Fault::Unreadable)?;
    let key = party.signing_keys.iter().find(|key| key.id == *signature.key()).ok_or(Fault::Unknown)?;
    if key.post.as_ref().is_some_and(|post| source.post() != Some(post)) {
        return Err(Fault::OtherPost);
    }
    key.valid_at(at)?;
    if signature.is_of(&key.public, payload) { Ok(Some(key)) } else { Err(Fault::Unfit) }
}

/// The id of the key that signed a delivered message, by the registry of the recipient; `None` if it is not signed and need
/// not be, or comes from the broker itself. Without a time it stands at the beginning of time, when no key was valid.
///
/// # Errors
/// What is wrong with the signature.
pub fn verify_delivered<'a>(
    registry: &'a Registry,
    payload: &[u8],
    signature: Option<&str>,
    archived: Option<Timestamp>,
) -> Result<Option<&'a KeyId>, Fault> {
    let event = json::read(payload).map_err(|_| Fault::Unreadable)?;
    let source = event.root().at("source").as_str().and_then(Source::parse);
    let source = source.ok_or(Fault::Unreadable)?;
    let Source::Authority(party, _) = &source else { return Ok(None) };
    let party = registry.party(party.as_str()).ok_or(Fault::Unknown)?;
    let at = archived.unwrap_or(Timestamp::MIN);
    verify(party, &source, payload, signature, at).map(|key| key.map(|key| &key.id))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    party: PartyId,
    id: KeyId,
    post: Option<PostId>,
    public: String,
    from: String,
    until: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revoked {
    party: PartyId,
    id: KeyId,
    at: String,
}

/// Gives the parties their keys, from the tables `[[signing_key]]` and `[[revoked_key]]`; tells what is wrong with them.
pub(super) fn give_keys(
    parties: &mut BTreeMap<PartyId, Party>,
    given: Vec<toml::Value>,
    revoked: Vec<toml::Value>,
) -> Vec<String> {
    let mut faults = Vec::new();
    for (at, table) in given.into_iter().enumerate() {
        let told = name(&table).unwrap_or_else(|| format!("{}", at + 1));
        if let Err(words) = give(parties, table) {
            faults.push(format!("signing key {told}: {words}"));
        }
    }
    for (at, table) in revoked.into_iter().enumerate() {
        let told = name(&table).unwrap_or_else(|| format!("{}", at + 1));
        if let Err(words) = revoke(parties, table) {
            faults.push(format!("revoked key {told}: {words}"));
        }
    }
    for party in parties.values() {
        if party.signatures == Signatures::Required && party.signing_keys.is_empty() {
            faults.push(format!("{}: signatures are required, and it has no signing key", party.id));
        }
    }
    faults
}

fn name(table: &toml::Value) -> Option<String> {
    Some(format!("{} of {}", table.get("id")?.as_str()?, table.get("party")?.as_str()?))
}

fn moment(name: &str, text: &str) -> Result<Timestamp, String> {
    time::parse(text).ok_or_else(|| format!("{name} must be a time, RFC 3339"))
}

fn give(parties: &mut BTreeMap<PartyId, Party>, table: toml::Value) -> Result<(), String> {
    let given: Given = table.try_into().map_err(|error| error.to_string().trim().to_owned())?;
    let party = parties.get_mut(given.party.as_str()).ok_or("no such party")?;
    if given.post.as_ref().is_some_and(|post| !party.posts.contains(post)) {
        return Err("the party has no such post".to_owned());
    }
    if party.signing_keys.iter().any(|key| key.id == given.id) {
        return Err("given twice: the id of a key is never used again".to_owned());
    }
    let from = moment("from", &given.from)?;
    let until = given.until.map(|until| moment("until", &until)).transpose()?;
    if until.is_some_and(|until| until <= from) {
        return Err("until must be later than from".to_owned());
    }
    let public = public_key(&given.public)?;
    party.signing_keys.push(SigningKey {
        id: given.id,
        post: given.post,
        public,
        from,
        until,
        revoked: None,
    });
    Ok(())
}

/// A public key as a JWK has it in `x` (RFC 8037, section 2).
fn public_key(text: &str) -> Result<VerifyingKey, String> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let key = bytes.and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
    key.filter(|key| !key.is_weak())
        .ok_or_else(|| "public must be an Ed25519 public key, 32 bytes in base64url".to_owned())
}

fn revoke(parties: &mut BTreeMap<PartyId, Party>, table: toml::Value) -> Result<(), String> {
    let revoked: Revoked = table.try_into().map_err(|error| error.to_string().trim().to_owned())?;
    let at = moment("at", &revoked.at)?;
    let party = parties.get_mut(revoked.party.as_str()).ok_or("no such party")?;
    let key = party.signing_keys.iter_mut().find(|key| key.id == revoked.id);
    let key = key.ok_or("the party has no such signing key")?;
    // Said twice, the earlier time counts: a later one would make valid what was refused.
    key.revoked = Some(key.revoked.map_or(at, |before| before.min(at)));
    Ok(())
}

#[cfg(test)]
mod tests;
