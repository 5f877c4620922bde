//! A whole publication: subject, content type and payload, judged by all rules that need no memory.
//!
//! It is judged alike twice; what is permitted has an envelope that comes back, what is refused names its places.

use bytes::Bytes;
use liaison::message::names::PartyId;
use liaison::message::raw::{Frame, Position, Raw};
use liaison::message::subject::publisher;
use liaison::rules::judge::judge;

use super::envelope::comes_back;
use super::seen::{RULES, now};

/// Worth putting anywhere.
pub const WORDS: &[&str] = &[
    "\n",
    "application/cloudevents+json",
    "ilo.in.it-moi.tn-01.net.flow.observation.tn",
    "\"data\":",
    "\"narrative\":\"",
    "+90 555 010 20 30",
    "x@example.net",
    "\"countries\":[\"TN\"]",
    "\"coordinates\":[",
    "1e308",
    "-1",
    "null",
    "{",
    "}",
    "[",
    "]",
    ",",
    "\"",
    "\\u0000",
    "\\ud83d\\ude00",
    "\"audience\":\"@network\"",
    "\"datacategory\":\"personal\"",
    "\"time\":\"2026-03-02T08:00:00Z\"",
    "\u{202e}",
    "\u{200b}",
    "H3",
    "..",
    "eyJhbGciOiJFZERTQSIsImtpZCI6ImsifQ..",
];

/// A line with the subject, a line with the content type, and the payload.
pub fn run(bytes: &[u8]) {
    let mut parts = bytes.splitn(3, |byte| *byte == b'\n');
    let mut line = || parts.next().map(String::from_utf8_lossy).unwrap_or_default().into_owned();
    let (subject, content_type) = (line(), line());
    let payload = Bytes::copy_from_slice(parts.next().unwrap_or_default());
    let party = publisher(&subject).and_then(|(party, _)| PartyId::parse(party).ok());
    let raw = Raw {
        party: party.unwrap_or_else(|| PartyId::parse("it-moi").expect("well formed")),
        binary_mode: content_type.starts_with("ce-"),
        signature: content_type.contains("..").then(|| content_type.clone()),
        content_type: Some(content_type).filter(|text| !text.is_empty()),
        subject,
        payload,
        arrived: now(),
        position: Position { epoch: 1, sequence: 1 },
        frame: Frame::Whole,
    };
    match (judge(&RULES, raw.clone(), now()), judge(&RULES, raw, now())) {
        (Ok(first), Ok(second)) => {
            assert_eq!(first.remarks(), second.remarks());
            comes_back(first.envelope());
        }
        (Err(first), Err(second)) => {
            assert_eq!(first.refused, second.refused, "judged alike");
            assert_eq!(first.target, second.target, "judged alike");
            let detail = &first.refused.detail;
            assert!((1..=20).contains(&detail.len()), "a refusal names its places");
            assert!(detail.iter().all(|fault| fault.path.is_empty() || fault.path.starts_with('/')));
        }
        _ => panic!("judged differently"),
    }
}
