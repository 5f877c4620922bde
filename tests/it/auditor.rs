//! The auditor: compares what was attempted, receipted, archived and delivered after something went wrong.
//!
//! It shares no code with the broker: archive by `liaison archive show`, mailboxes and streams by plain NATS, and an
//! oracle of its own for the recipients, digests and feeds.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use async_nats::Client;
use base64::Engine as _;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::harness::{Exchange, FEW, Letter, PATIENCE, api, audit_feed, sha256, stream};

/// Longest wait for what the broker still has to decide.
const DECIDED: Duration = Duration::from_secs(20);

/// Something that was published, and what must become of it.
pub struct Attempt {
    pub bytes: Vec<u8>,
    pub valid: bool,
    pub recipients: BTreeSet<&'static str>,
}

/// What the publishers and listeners saw.
#[derive(Default)]
pub struct Books {
    /// By message id.
    pub attempts: BTreeMap<String, Attempt>,
    /// The receipt that ended the waiting, by message id.
    pub receipts: BTreeMap<String, Value>,
    /// Live receipts by the id of their event: one a publication and outcome.
    pub heard: BTreeMap<String, Vec<u8>>,
    /// Live receipts that came again with other bytes.
    pub changed: Vec<String>,
}

impl Books {
    /// A live receipt: the same publication must always be answered with the same bytes.
    pub fn hear(&mut self, id: &str, body: &[u8]) {
        if self.heard.entry(id.to_owned()).or_insert_with(|| body.to_vec()) != body {
            self.changed.push(id.to_owned());
        }
    }

    /// What others saw earlier or later.
    pub fn add(&mut self, more: Self) {
        self.attempts.extend(more.attempts);
        self.receipts.extend(more.receipts);
        self.changed.extend(more.changed);
        more.heard.into_iter().for_each(|(id, body)| self.hear(&id, &body));
    }
}

/// Whom an audience means, by the few parties of the tests.
pub fn oracle(audience: &str, originator: &str) -> BTreeSet<&'static str> {
    let meant = |party: &str, token: &str| match token {
        "@ms" => ["de-bpol", "fr-dnpaf", "it-moi", "es-pn", "nl-dtv", "gr-hp"].contains(&party),
        "@sac" => party == "no-pu",
        "@agencies" => party.starts_with("eu-"),
        named => named == party,
    };
    FEW.into_iter()
        .filter(|party| *party != originator && audience.split(',').any(|token| meant(party, token)))
        .collect()
}

/// What happened outside the broker, which explains what would else be a violation.
#[derive(Default)]
pub struct Expect {
    /// Streams were deleted and made anew.
    pub remade: bool,
    /// nats-server lost the end of a stream: what it had confirmed to publishers and nobody had receipted.
    pub server_lost: bool,
    /// Letters that were read before.
    pub read: BTreeMap<String, Vec<Letter>>,
}

/// What was compared.
#[derive(Debug, Clone, Copy)]
pub struct Audited {
    pub receipted: usize,
    pub letters: usize,
}

/// Everything that must hold when the dust has settled. Reads every mailbox empty.
pub async fn audit(exchange: &Exchange, books: &Books) {
    audit_expecting(exchange, books, Expect::default()).await;
}

/// The same after a fault of the server itself.
pub async fn audit_expecting(exchange: &Exchange, books: &Books, mut expect: Expect) -> Audited {
    let mut letters = 0;
    decided(exchange).await;
    let records = archived(exchange);
    receipts_hold(books, &records);
    for party in FEW {
        let read = expect.read.remove(party).unwrap_or_default();
        letters += delivered(exchange, books, &records, party, read).await;
        every_publication_has_one_outcome(exchange, &records, party, &expect).await;
    }
    heard_once(books);
    let accepted = books.attempts.values().filter(|attempt| attempt.valid).count();
    println!(
        "audited: {} attempts, {accepted} of them valid, {} records",
        books.attempts.len(),
        records.len()
    );
    Audited { receipted: books.receipts.len(), letters }
}

/// Waits until everything in the intake streams is acknowledged, for a while: what was sent once more, a moment before its receipt
/// came, may be decided after it. Whether it really is, the archive must tell.
async fn decided(exchange: &Exchange) {
    let admin = exchange.admin().await;
    // A cluster may be between two leaders: no answer is none yet.
    let told = async |call: String| -> Option<Value> {
        let answer = admin.request(format!("$JS.API.{call}"), "".into()).await.ok()?;
        serde_json::from_slice(&answer.payload).ok()
    };
    let is_decided = async |name: &str| -> Option<bool> {
        let stream = told(format!("STREAM.INFO.{name}")).await?;
        let durable = told(format!("CONSUMER.INFO.{name}.intake")).await?;
        let last = stream["state"]["last_seq"].as_u64()?;
        Some(stream["state"]["messages"] == 0 || durable["ack_floor"]["stream_seq"].as_u64()? >= last)
    };
    let end = tokio::time::Instant::now() + DECIDED;
    for party in FEW {
        let name = stream("IN", party);
        while tokio::time::Instant::now() < end && is_decided(&name).await != Some(true) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// The whole archive, read beside the broker or after it.
pub fn archived(exchange: &Exchange) -> Vec<Value> {
    let shown = exchange.run(&["archive", "show", "--limit", "100000000", "--content"]);
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    let lines = shown.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).expect("NDJSON")).collect()
}

/// Nothing receipted is missing from the archive, nothing is in twice, nothing is there that nobody sent.
fn receipts_hold(books: &Books, records: &[Value]) {
    for (at, record) in (1_u64..).zip(records) {
        assert_eq!(record["seq"], at, "the archive is dense");
    }
    let mut accepted: HashMap<&str, &Value> = HashMap::new();
    for record in records.iter().filter(|record| record["outcome"] == "accepted") {
        let id = record["id"].as_str().expect("an accepted message has an id");
        assert!(accepted.insert(id, record).is_none(), "{id} is in the archive twice");
    }
    for (id, attempt) in &books.attempts {
        let receipt = books.receipts.get(id).unwrap_or_else(|| panic!("{id} has no receipt"));
        let outcome = receipt["data"]["outcome"].as_str().expect("an outcome");
        let Some(record) = accepted.remove(id.as_str()) else {
            assert!(!attempt.valid, "{id} was receipted as {outcome} and is not in the archive");
            assert_eq!(outcome, "rejected");
            continue;
        };
        assert!(attempt.valid && ["accepted", "duplicate"].contains(&outcome), "{id}: {receipt}");
        assert_eq!(receipt["data"]["seq"], record["seq"], "{id}");
        assert_eq!(record["sha256"], sha256(&attempt.bytes), "{id}");
        assert_eq!(record["event"], serde_json::from_slice::<Value>(&attempt.bytes).expect("JSON"));
        let ledger = record["recipients"].as_array().expect("a ledger").iter();
        let ledger: BTreeSet<&str> = ledger.map(|entry| entry["party"].as_str().expect("a party")).collect();
        assert_eq!(ledger, attempt.recipients, "{id}");
    }
    assert!(accepted.is_empty(), "archived, but never sent: {:?}", accepted.keys());
}

/// A mailbox holds exactly what the archive owes it, in the archive's order, once, untouched.
async fn delivered(
    exchange: &Exchange,
    books: &Books,
    records: &[Value],
    party: &str,
    read: Vec<Letter>,
) -> usize {
    let owed: Vec<&str> = records
        .iter()
        .filter(|record| {
            let mut ledger = record["recipients"].as_array().expect("a ledger").iter();
            ledger.any(|entry| entry["party"] == party)
        })
        .map(|record| record["id"].as_str().expect("an id"))
        .collect();
    // A mailbox that was made anew is filled from the beginning: what was read comes again under its old number.
    let rest = rest(exchange, party, &read, owed.len() as u64).await;
    let mut by_number: BTreeMap<u64, Letter> = BTreeMap::new();
    for letter in read.into_iter().chain(rest) {
        let (number, bytes) = (letter.feed_seq(), letter.payload.clone());
        let before = by_number.insert(number, letter);
        assert!(
            before.is_none_or(|before| before.payload == bytes),
            "{party} {number} came twice, and differs"
        );
    }
    // Above, what comes again is one with what came before: a pull that was not acknowledged, or a mailbox made anew. Whether a
    // letter was put in twice is told by the stream: it counts what it takes, and letters are all that it takes.
    let admin = exchange.admin().await;
    let taken = taken(&admin, &stream("MBOX", party)).await;
    let standing = standing(&admin, &stream("MBOX", party)).await;
    let told = || standing.iter().map(|letter| letter.join(" ")).collect::<Vec<_>>().join("\n");
    assert!(taken <= owed.len() as u64, "{party} got {taken} letters for {}:\n{}", owed.len(), told());
    let letters: Vec<Letter> = by_number.into_values().collect();
    audit_feed(&letters);
    let got: Vec<String> = letters.iter().map(Letter::id).collect();
    assert_eq!(got, owed, "{party}");
    for letter in &letters {
        let attempt = &books.attempts[&letter.id()];
        assert!(attempt.bytes == letter.payload, "the bytes were touched");
        assert_eq!(letter.subject, format!("ilo.out.{party}.net.flow.observation.tn"));
    }
    letters.len()
}

/// How many messages a stream has ever taken.
pub async fn taken(admin: &Client, stream: &str) -> u64 {
    let info = api(admin, &format!("STREAM.INFO.{stream}"), &json!({})).await;
    info["state"]["last_seq"].as_u64().expect("a sequence")
}

/// Stream sequence, feed sequence and time of each letter that stands in a mailbox.
pub async fn standing(admin: &Client, stream: &str) -> Vec<[String; 3]> {
    let mut letters = Vec::new();
    let mut next = 1;
    loop {
        let ask = json!({ "seq": next, "next_by_subj": "ilo.out.>" });
        let found = api(admin, &format!("STREAM.MSG.GET.{stream}"), &ask).await;
        let Some(at) = found["message"]["seq"].as_u64() else { return letters };
        let headers = base64::engine::general_purpose::STANDARD
            .decode(found["message"]["hdrs"].as_str().unwrap_or_default())
            .expect("headers");
        let headers = String::from_utf8_lossy(&headers).into_owned();
        let number = headers.lines().find_map(|line| line.strip_prefix("Ilo-Feed-Seq: ")).unwrap_or("?");
        letters.push([at.to_string(), number.to_owned(), found["message"]["time"].to_string()]);
        next = at + 1;
    }
}

/// What was not read yet, up to the letter with this number; then shows that there is none more.
async fn rest(exchange: &Exchange, party: &str, read: &[Letter], last: u64) -> Vec<Letter> {
    let client = exchange.connect(party, "system").await;
    let mut come_to = read.iter().map(Letter::feed_seq).max().unwrap_or_default();
    let mut letters = Vec::new();
    let end = tokio::time::Instant::now() + PATIENCE;
    while come_to < last {
        assert!(tokio::time::Instant::now() < end, "{party} has {come_to} of {last} letters");
        letters.extend(pull(&client, party, json!({ "batch": 256, "expires": 1_000_000_000 })).await);
        come_to = letters.iter().map(Letter::feed_seq).max().unwrap_or_default().max(come_to);
    }
    letters.extend(pull(&client, party, json!({ "batch": 256, "no_wait": true })).await);
    letters
}

/// Pulls and acknowledges until `count` letters are there; then shows that there is none more.
pub async fn mailbox(exchange: &Exchange, party: &str, count: usize) -> Vec<Letter> {
    let client = exchange.connect(party, "system").await;
    let mut letters = Vec::new();
    let end = tokio::time::Instant::now() + PATIENCE;
    while letters.len() < count {
        assert!(tokio::time::Instant::now() < end, "{party} has {} letters of {count}", letters.len());
        letters.extend(pull(&client, party, json!({ "batch": 256, "expires": 1_000_000_000 })).await);
    }
    letters.extend(pull(&client, party, json!({ "batch": 256, "no_wait": true })).await);
    letters
}

/// One pull, acknowledged.
pub async fn pull(client: &Client, party: &str, ask: Value) -> Vec<Letter> {
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.expect("subscribes");
    let next = format!("$JS.API.CONSUMER.MSG.NEXT.{}.main", stream("MBOX", party));
    client.publish_with_reply(next, inbox, ask.to_string().into()).await.expect("asks");
    let mut letters = Vec::new();
    while letters.len() < 256 {
        let message = tokio::time::timeout(PATIENCE, answers.next()).await.expect("an answer").expect("open");
        if message.status.is_some() {
            break;
        }
        letters.push(Letter::of(&message));
        let reply = message.reply.expect("a reply subject");
        client.publish(reply, "+ACK".into()).await.expect("acknowledged");
    }
    client.flush().await.expect("flushes");
    letters
}

/// Every stream sequence of an intake stream ends in exactly one outcome: a record of its own, or, for the same bytes
/// again, the record of the first.
async fn every_publication_has_one_outcome(
    exchange: &Exchange,
    records: &[Value],
    party: &str,
    expect: &Expect,
) {
    let admin = exchange.admin().await;
    let name = stream("IN", party);
    let info = api(&admin, &format!("STREAM.INFO.{name}"), &json!({})).await;
    let last = info["state"]["last_seq"].as_u64().expect("a sequence");
    let created: jiff::Timestamp = info["created"].as_str().expect("a time").parse().expect("a time");
    let epoch = created.as_millisecond();
    let mut decided = BTreeSet::new();
    let mut known: HashMap<&str, u64> = HashMap::new();
    for record in records.iter().filter(|record| record["party"] == party) {
        let sequence = record["stream_sequence"].as_u64().expect("a sequence");
        let this = record["stream_epoch"] == epoch;
        assert!(this || expect.remade, "{name}: a record of another stream");
        assert!(
            !this || decided.insert(sequence) || expect.server_lost,
            "{name} {sequence} was decided twice"
        );
        if record["outcome"] == "accepted" {
            // What came in the stream's life before was the first of any that came in this one.
            known.insert(record["sha256"].as_str().expect("a digest"), if this { sequence } else { 0 });
        }
    }
    for sequence in (1..=last).filter(|sequence| !decided.contains(sequence)) {
        let call = format!("STREAM.MSG.GET.{name}");
        let found = api(&admin, &call, &json!({ "seq": sequence })).await;
        if expect.server_lost && found["error"]["err_code"] == 10_037 {
            continue;
        }
        let text = found["message"]["data"].as_str().unwrap_or_else(|| panic!("{name} {sequence}: {found}"));
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
        let first = known.get(sha256(&bytes).as_str());
        let before = first.is_some_and(|first| *first < sequence || expect.server_lost);
        assert!(before, "{name} {sequence} of {last} has no outcome");
    }
}

/// Whoever listened heard one outcome a publication, and the same bytes each time.
fn heard_once(books: &Books) {
    assert!(books.changed.is_empty(), "receipts that changed: {:?}", books.changed);
    let mut publications = HashSet::new();
    for id in books.heard.keys() {
        let (publication, outcome) = id.rsplit_once('-').expect("an outcome");
        assert!(publications.insert(publication), "{publication} has a second outcome, {outcome}");
    }
}
