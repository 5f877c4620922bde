//! The examples of the network as test data, the rules to judge them by, and small changes of them.
//!
//! The clock of the examples stands at 2026-03-02T10:00:00Z and the case plane is open. Nothing here keeps a memory.

use std::path::PathBuf;
use std::sync::LazyLock;

use liaison::message::names::PartyId;
use liaison::message::outcome::{Code, Refused};
use liaison::message::raw::{Frame, Position, Raw};
use liaison::message::time::Timestamp;
use liaison::rules::Rules;
use liaison::rules::catalogue::Catalogue;
use liaison::rules::judge::{Permitted, Refusal, judge};
use liaison::rules::policy::Policy;
use liaison::rules::registry::Registry;
use liaison::rules::schemas::Schemas;
use liaison::rules::verdict;
use serde_json::Value;

/// The rules of the demo network with the case plane open.
pub static RULES: LazyLock<Rules> = LazyLock::new(|| rules(true));

/// The rules of the demo network.
pub fn rules(case_plane: bool) -> Rules {
    Rules {
        catalogue: Catalogue::embedded().clone(),
        schemas: Schemas::embedded().expect("the embedded schemas must compile"),
        registry: Registry::demo(),
        policy: Policy::new("LIMITE", case_plane).expect("a marking"),
    }
}

/// The clock of the examples.
pub fn now() -> Timestamp {
    "2026-03-02T10:00:00Z".parse().expect("an instant")
}

/// One file of examples.
pub struct Example {
    /// Its name without ending.
    pub name: String,
    /// Whose account publishes.
    pub publisher: String,
    /// On which subject.
    pub subject: String,
    /// `accepted`, `rejected` or `quarantined`.
    pub expect: String,
    /// The code, if it is to be refused.
    pub code: Option<Code>,
    /// The message; null if the bytes are given.
    pub message: Value,
    /// The bytes.
    pub payload: Vec<u8>,
}

/// All examples of `valid` or `invalid`, by name.
pub fn all(folder: &str) -> Vec<Example> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/examples").join(folder);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(root).expect("examples").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files.iter().map(read).collect()
}

fn read(file: &PathBuf) -> Example {
    let text = std::fs::read_to_string(file).expect("readable");
    let value: Value = serde_json::from_str(&text).expect("JSON");
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    let payload = text("raw").unwrap_or_else(|| value["message"].to_string());
    Example {
        name: file.file_stem().expect("a name").to_string_lossy().into_owned(),
        publisher: text("publisher").expect("publisher"),
        subject: text("natsSubject").expect("natsSubject"),
        expect: text("expect").expect("expect"),
        code: text("code").map(|code| code.parse().expect("a code")),
        message: value["message"].clone(),
        payload: payload.into_bytes(),
    }
}

/// The valid example whose name begins so.
pub fn valid(number: &str) -> Example {
    let mut found = all("valid").into_iter().filter(|example| example.name.starts_with(number));
    found.next().expect("a valid example")
}

/// The message of the valid example whose name begins so.
pub fn message(number: &str) -> Value {
    valid(number).message
}

/// What came in.
pub fn raw(party: &str, subject: &str, payload: &[u8]) -> Raw {
    Raw {
        party: PartyId::parse(party).expect("a party"),
        subject: subject.to_owned(),
        payload: payload.to_vec().into(),
        content_type: None,
        signature: None,
        binary_mode: false,
        arrived: now(),
        position: Position::default(),
        frame: Frame::Whole,
    }
}

/// A message as its own envelope says that it comes in.
pub fn raw_of(message: &Value) -> Raw {
    let payload = message.to_string().into_bytes();
    let party = verdict::claimed_party(&payload).expect("a source");
    let subject = verdict::expected_subject(&payload).expect("a subject");
    raw(party.as_str(), &subject, &payload)
}

/// Judges a message by the rules of the demo network.
pub fn judged(message: &Value) -> Result<Permitted, Box<Refusal>> {
    judge(&RULES, raw_of(message), now())
}

/// The code and the places of a refusal.
pub fn places(refused: &Refused) -> (Code, Vec<&str>) {
    (refused.code, refused.detail.iter().map(|fault| fault.path.as_str()).collect())
}

/// Expects a refusal with exactly these places.
#[track_caller]
pub fn refuses(message: &Value, code: Code, paths: &[&str]) {
    match judged(message) {
        Ok(_) => panic!("accepted, but {code} at {paths:?} was expected"),
        Err(refusal) => assert_eq!(places(&refusal.refused), (code, paths.to_vec()), "{:?}", refusal.refused),
    }
}

/// Expects a message to be taken.
#[track_caller]
pub fn accepts(message: &Value) {
    if let Err(refusal) = judged(message) {
        panic!("{:?}", refusal.refused);
    }
}

/// The valid example with one change.
pub fn changed(number: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut message = message(number);
    change(&mut message);
    message
}

/// Takes a member out of an object.
pub fn without(value: &mut Value, member: &str) {
    value.as_object_mut().expect("an object").remove(member).expect("the member");
}

/// Puts values at pointers; what is not there is added.
pub fn put(message: &mut Value, changes: &[(&str, Value)]) {
    for (path, value) in changes {
        let (parent, name) = path.rsplit_once('/').expect("a pointer");
        let parent = message.pointer_mut(parent).expect("a parent");
        match (parent, name.parse::<usize>()) {
            (Value::Array(items), Ok(at)) if at < items.len() => items[at] = value.clone(),
            (parent, _) => parent[name] = value.clone(),
        }
    }
}

/// The valid example with values put at pointers.
pub fn with(number: &str, changes: &[(&str, Value)]) -> Value {
    changed(number, |message| put(message, changes))
}
