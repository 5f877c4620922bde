//! The catalogue of bad inputs: ninety rows, each with what is sent, what must become of it, and where it is wrong.
//!
//! Every row goes through a running broker, published by an ordinary party; its receipt must stand where its publisher
//! looks for it, and nowhere else. What cannot be a row here is proven by another test, which is named. A row whose
//! answer is not the one that a general catalogue would give says why: the network's own rules go first.

mod bytes;
mod envelope;
mod schema;
mod transport;

use std::collections::BTreeSet;
use std::path::Path;

use async_nats::HeaderMap;
use serde_json::{Value, json};

use super::harness::{
    Exchange, REPORT_SUBJECT, example, fresh_id, queue_with, readable_id, receipt_after, report, shifted,
    stored_receipt, stream_info, streams,
};
use super::judged::put;

/// What must become of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Wants {
    /// It is accepted.
    Taken,
    /// It is refused with this code, and this is the first place. A star at the end stands for any rest.
    Refused(&'static str, &'static str),
}

pub use Wants::{Refused, Taken};

/// In no text of the network, and in no receipt: what was wrong is never repeated.
pub const CANARY: &str = "Esempia Canarina";

/// One input of a row.
pub struct Row {
    number: u8,
    name: &'static str,
    bytes: Vec<u8>,
    headers: &'static [(&'static str, &'static str)],
    subject: String,
    wants: Wants,
}

impl Row {
    /// On another subject, or of another party.
    fn on(self, subject: &str) -> Self {
        Self { subject: subject.to_owned(), ..self }
    }

    /// With headers.
    fn with(self, headers: &'static [(&'static str, &'static str)]) -> Self {
        Self { headers, ..self }
    }
}

/// Bytes that the post `tn-01` of `it-moi` publishes.
fn row(number: u8, name: &'static str, bytes: impl Into<Vec<u8>>, wants: Wants) -> Row {
    Row { number, name, bytes: bytes.into(), headers: &[], subject: REPORT_SUBJECT.to_owned(), wants }
}

/// A good report with other values at these places.
fn set(number: u8, name: &'static str, changes: &[(&str, Value)], wants: Wants) -> Row {
    let mut message = report();
    put(&mut message, changes);
    row(number, name, message.to_string(), wants)
}

/// A good report, changed as text.
fn text(number: u8, name: &'static str, from: &str, to: &str, wants: Wants) -> Row {
    let whole = report().to_string();
    assert!(whole.contains(from), "{name}: {from} is not in {whole}");
    row(number, name, whole.replacen(from, to, 1), wants)
}

/// A good report without a member.
fn without(number: u8, name: &'static str, path: &str, wants: Wants) -> Row {
    let mut message = report();
    let (parent, member) = path.rsplit_once('/').expect("a pointer");
    let parent = message.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object");
    parent.remove(member).expect("a member");
    row(number, name, message.to_string(), wants)
}

/// Another valid example, moved to now, with other values.
fn other(number: u8, name: &'static str, file: &str, changes: &[(&str, Value)], wants: Wants) -> Row {
    let file = example(&format!("valid/{file}.json"));
    let mut message = shifted(file["message"].clone());
    message["id"] = fresh_id().into();
    put(&mut message, changes);
    row(number, name, message.to_string(), wants).on(file["natsSubject"].as_str().expect("a subject"))
}

/// Rows that are no publication with a receipt, and the tests that prove them.
const ELSEWHERE: [(&[u8], &str); 15] = [
    (&[30], "tests/it/syntax.rs a_message_cut_at_any_byte_is_refused"),
    (&[39], "tests/it/reload.rs a_second_version_of_a_type_is_taken_after_a_reload"),
    (&[51, 52, 53, 54, 56, 57], "src/rules/schemas.rs bad_schemas_are_named_with_their_place"),
    (&[55], "tests/it/bad_inputs/schema.rs a_pattern_that_explodes_elsewhere_takes_no_time_here"),
    (&[60], "tests/it/isolation.rs an_envelope_that_claims_another_is_refused"),
    (&[64, 65], "tests/it/duplicates.rs the_same_bytes_again_are_a_duplicate_also_after_a_crash"),
    (&[66], "tests/it/duplicates.rs an_id_belongs_to_its_source_and_only_once_it_is_kept"),
    (&[76, 81, 82], "tests/it/poison.rs eight_kinds_of_poison_among_a_thousand_good_messages"),
    (&[77, 78, 79, 80], "tests/it/bad_inputs/transport.rs what_the_server_itself_refuses"),
    (&[83], "tests/it/bad_inputs/transport.rs headers_beyond_all_measure"),
    (&[85], "tests/it/poison.rs a_forged_status_is_no_word_of_the_server"),
    (&[86], "tests/it/hostile.rs control_headers_control_nothing"),
    (&[87], "tests/it/isolation.rs a_reply_subject_is_no_weapon"),
    (&[89], "tests/it/crash.rs"),
    (&[90], "tests/it/replay.rs what_cannot_be_read_is_refused_with_its_place"),
];

/// Rows without an answer in this version: 61 to 63 ask for message signatures, which are not there yet; 71 for a rule that the network's table S-1 to S-24 does not have: a message may be marked lower than one
/// that it names, its originator alone answers for the marking.
const NO_ROW: [u8; 4] = [61, 62, 63, 71];

fn rows() -> Vec<Row> {
    let all = [bytes::rows(), schema::rows(), envelope::rows(), transport::rows()];
    all.into_iter().flatten().collect()
}

#[test]
fn every_one_of_ninety_rows_is_answered_or_named_as_open() {
    let here: BTreeSet<u8> = rows().iter().map(|row| row.number).collect();
    let elsewhere = ELSEWHERE.iter().flat_map(|(numbers, _)| numbers.iter().copied());
    let all: BTreeSet<u8> = here.into_iter().chain(elsewhere).chain(NO_ROW).collect();
    assert_eq!(all, (1..=90).collect());
    for (_, place) in ELSEWHERE {
        let (file, test) = place.split_once(' ').unwrap_or((place, ""));
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect(file);
        assert!(test.is_empty() || text.contains(&format!("fn {test}(")), "{place} is no test");
    }
}

/// Publishes and gives what the receipt says; it must stand where its publisher looks for it and nowhere else.
async fn publish(exchange: &Exchange, clients: &mut Clients, row: &Row) -> Value {
    let client = clients.of(exchange, &row.subject).await;
    let mut headers = HeaderMap::new();
    for (name, value) in row.headers {
        headers.append(*name, *value);
    }
    let sequence = queue_with(client, &row.subject, headers, row.bytes.clone()).await;
    let unreadable = format!("unreadable-{sequence}");
    let strict = !matches!(row.wants, Refused("E-JSON", _));
    let (here, other) = match readable_id(&row.bytes) {
        Some(id) if strict => (id, Some(unreadable)),
        id => (unreadable, id),
    };
    let receipt = receipt_after(client, &row.subject, std::slice::from_ref(&here), &row.bytes, 0).await;
    if let Some(other) = other {
        assert!(stored_receipt(client, &row.subject, &other).await.is_none(), "{}: told twice", row.name);
    }
    let id = if here.starts_with("unreadable") { "" } else { &here };
    assert_eq!(receipt["data"]["target"]["id"], id, "{}", row.name);
    receipt
}

/// What a receipt says against what a row wants; nothing if they agree.
fn wrong(row: &Row, receipt: &Value) -> Option<String> {
    let data = &receipt["data"];
    let path = data["detail"][0]["path"].as_str();
    let agrees = match row.wants {
        Taken => data["outcome"] == "accepted",
        Refused(code, wanted) => {
            let at = path.is_some_and(|path| match wanted.strip_suffix('*') {
                Some(start) => path.starts_with(start),
                None => path == wanted,
            });
            let places = data["detail"].as_array().map_or(0, Vec::len);
            data["outcome"] == "rejected" && data["code"] == code && at && (1..=20).contains(&places)
        }
    };
    let told = receipt.to_string().contains("Canarina");
    let (number, name, wants) = (row.number, row.name, row.wants);
    let said = format!("{} {} {path:?}", data["outcome"], data["code"]);
    (!agrees || told).then(|| format!("{number} {name}: {said}, not {wants:?}; value told: {told}"))
}

/// A connection a user.
#[derive(Default)]
struct Clients(std::collections::HashMap<(String, String), async_nats::Client>);

impl Clients {
    async fn of(&mut self, exchange: &Exchange, subject: &str) -> &async_nats::Client {
        let tokens: Vec<&str> = subject.split('.').collect();
        let user = (tokens[2].to_owned(), tokens[3].to_owned());
        if !self.0.contains_key(&user) {
            let client = exchange.connect(&user.0, &user.1).await;
            self.0.insert(user.clone(), client);
        }
        &self.0[&user]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bad_input_gets_its_code_and_place() {
    let rows = rows();
    let mut exchange = Exchange::with(&["--enable-case-plane", "--log", "debug"], |_| {}).await;
    let mut clients = Clients::default();
    let mut faults = Vec::new();
    for row in &rows {
        let receipt = publish(&exchange, &mut clients, row).await;
        faults.extend(wrong(row, &receipt));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    println!("{} inputs in {} rows", rows.len(), 90);
    assert!(!exchange.log().contains("Canarina"), "a value in the log");
    let (_, metrics) = exchange.get("/metrics").await;
    assert!(!metrics.contains("Canarina"), "a value in the metrics");
    audit(&exchange, rows.len() as u64).await;
    // A crash and a start change nothing of it.
    exchange.kill();
    exchange.again().await;
    audit(&exchange, rows.len() as u64).await;
}

/// One record a stream sequence, one receipt a record.
async fn audit(exchange: &Exchange, published: u64) {
    let operator = exchange.operator().await;
    let mut taken = 0;
    for name in streams(&operator).await.iter().filter(|name| name.starts_with("IN_")) {
        taken += stream_info(&operator, name).await["state"]["last_seq"].as_u64().expect("a number");
    }
    assert_eq!(taken, published);
    assert_eq!(exchange.stats()["records"], json!(published));
    let receipts = stream_info(&operator, "RCPT").await;
    assert_eq!(receipts["state"]["messages"], json!(published), "each on its own subject");
}
