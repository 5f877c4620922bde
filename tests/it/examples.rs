//! Every example message through a running broker and through `liaison validate`: the verdict that its file expects,
//! and delivered to exactly those whom the oracle names.
//!
//! The folder is read, not listed: a new file is a new case. The registry is the demo's with one party suspended and
//! one that only audits, so that what those must not get is asked too.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use async_nats::Client;
use serde_json::{Value, json};

use super::harness::{CLOCK, Exchange, Letter, audit_feed, folder, fresh_id, liaison, run, shifted};
use super::oracle::Oracle;

/// One file of `tests/examples`.
#[derive(Clone)]
pub struct Example {
    name: String,
    publisher: String,
    subject: String,
    expect: String,
    code: Value,
    /// The message, or null where the file gives bytes.
    pub message: Value,
    raw: Vec<u8>,
}

impl Example {
    fn bytes(&self) -> Vec<u8> {
        if self.message.is_null() { self.raw.clone() } else { self.message.to_string().into_bytes() }
    }

    /// Moved to now, under an id of its own: the files share ids.
    fn now(&self) -> Self {
        let mut moved = self.clone();
        if !self.message.is_null() {
            moved.message = shifted(self.message.clone());
            moved.message["id"] = fresh_id().into();
        }
        moved
    }
}

pub fn examples(kind: &str) -> Vec<Example> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/examples").join(kind);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let read = |file: &PathBuf| {
        let value: Value = serde_json::from_slice(&std::fs::read(file).expect("a file")).expect("JSON");
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        Example {
            name: file.file_stem().expect("a name").to_string_lossy().into_owned(),
            publisher: text("publisher"),
            subject: text("natsSubject"),
            expect: text("expect"),
            code: value["code"].clone(),
            message: value["message"].clone(),
            raw: text("raw").into_bytes(),
        }
    };
    let found: Vec<Example> = files.iter().map(read).collect();
    assert!(found.len() >= if kind == "valid" { 12 } else { 42 }, "{kind}: {} files", found.len());
    found
}

/// The demo registry, changed.
pub fn registry(data: &Path) {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/rules/demo-network.toml");
    let text = std::fs::read_to_string(demo).expect("the demo registry");
    let (before, after) = text.split_once("id = \"li-lp\"").expect("Liechtenstein");
    let after = after.replacen("\"schengen-associated\"", "\"suspended\"", 1);
    let audits = "[[party]]\nid = \"eu-edps\"\nname = \"Supervisor\"\ncountry = \"EU\"\nparticipation = \"agency\"\n\
        roles = [\"supervisor\"]\nposts = []\n";
    std::fs::write(data.join("network.toml"), format!("{before}id = \"li-lp\"{after}\n{audits}"))
        .expect("writes");
}

/// A broker, the connections of those who publish, and what must have come of it.
struct Scene {
    exchange: Exchange,
    oracle: Oracle,
    clients: HashMap<String, Client>,
    /// By party: subject and bytes of each letter that it must have, in order.
    owed: BTreeMap<String, Vec<(String, Vec<u8>)>>,
    published: u64,
}

impl Scene {
    async fn start() -> Self {
        let exchange = Exchange::with(&["--enable-case-plane"], registry).await;
        let oracle = Oracle::read(&exchange.data.join("network.toml"));
        Self { exchange, oracle, clients: HashMap::new(), owed: BTreeMap::new(), published: 0 }
    }

    /// Publishes as the example's publisher, on its subject where the server lets it; the receipt's data.
    async fn publish(&mut self, example: &Example) -> Value {
        let mut tokens: Vec<&str> = example.subject.split('.').collect();
        if tokens[2] != example.publisher {
            // The server stops this one (`isolation`); the spoof that can be sent is in the envelope alone.
            (tokens[2], tokens[3]) = (&example.publisher, "system");
        }
        let (user, subject) = (tokens[3].to_owned(), tokens.join("."));
        let name = format!("{}-{user}", example.publisher);
        if !self.clients.contains_key(&name) {
            let client = self.exchange.connect(&example.publisher, &user).await;
            self.clients.insert(name.clone(), client);
        }
        self.published += 1;
        let receipt = self.exchange.publish(&self.clients[&name], &subject, example.bytes()).await;
        receipt["data"].clone()
    }

    /// Publishes what must be accepted and writes down who must have it.
    async fn accept(&mut self, example: &Example) {
        let data = self.publish(example).await;
        assert_eq!(data["outcome"], "accepted", "{}: {data}", example.name);
        let recipients = self.oracle.recipients(&example.message);
        assert_eq!(data["recipients"], recipients.len(), "{}: {recipients:?}", example.name);
        let rest: Vec<&str> = example.subject.split('.').skip(4).collect();
        for party in recipients {
            let subject = format!("ilo.out.{party}.{}", rest.join("."));
            self.owed.entry(party).or_default().push((subject, example.bytes()));
        }
        self.oracle.accepted(&example.message);
    }

    /// Reads every mailbox: what is owed, in order, untouched, and nothing else.
    async fn audit(self) {
        let stats = self.exchange.stats();
        assert_eq!(stats["records"], self.published, "one outcome a publication: {stats}");
        assert_eq!(stats["deliveries"], self.owed.values().map(Vec::len).sum::<usize>());
        let active: Vec<&str> = self
            .oracle
            .parties()
            .into_iter()
            .filter(|id| self.oracle.is_active(id) && *id != "eu-edps")
            .collect();
        let boxes = self.exchange.mailboxes(&active).await;
        assert_eq!(boxes.len(), active.len());
        for (party, letters) in &boxes {
            audit_feed(letters);
            let got: Vec<(String, Vec<u8>)> =
                letters.iter().map(|letter| (letter.subject.clone(), letter.payload.clone())).collect();
            let ids = |list: &[(String, Vec<u8>)]| {
                list.iter().map(|(subject, _)| subject.clone()).collect::<Vec<_>>()
            };
            let owed = self.owed.get(party).cloned().unwrap_or_default();
            assert_eq!(ids(&got), ids(&owed), "{party}");
            assert!(got == owed, "{party} got other bytes");
            only_the_brokers_headers(letters);
        }
        let operator = self.exchange.operator().await;
        for party in ["LI_LP", "EU_EDPS"] {
            let info = super::harness::stream_info(&operator, &format!("MBOX_{party}")).await;
            assert_eq!(info["state"]["last_seq"], 0, "{party} must get nothing");
        }
    }
}

/// The headers of the protocol and no other: nothing that a publisher wrote, nothing that tells more.
fn only_the_brokers_headers(letters: &[Letter]) {
    let known =
        ["Content-Type", "Ilo-Archived-At", "Ilo-Digest", "Ilo-Feed-Digest", "Ilo-Feed-Seq", "Nats-Msg-Id"];
    for letter in letters {
        let mut names: Vec<&str> = letter.headers.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, known);
        assert_eq!(letter.header("Content-Type"), "application/cloudevents+json");
        letter.header("Ilo-Archived-At").parse::<jiff::Timestamp>().expect("RFC 3339");
    }
}

/// Notices that make `@local` of Tunisia mean something: who is there, who was, who will be, who is served.
pub fn deployments(valid: &[Example]) -> Vec<Example> {
    let notice = valid
        .iter()
        .find(|example| example.message["type"] == "eu.ilonet.deployment.notice.v1")
        .expect("a notice");
    let one = |party: &str, data: Value| {
        let mut example = notice.now();
        let host = data["hostCountry"].as_str().unwrap_or("TN").to_owned();
        let message = &mut example.message;
        message["originator"] = party.into();
        message["source"] = format!("/authority/{party}").into();
        message["subject"] = host.clone().into();
        message["datacategory"] = "none".into();
        for name in ["eraseby", "dataregulation"] {
            message.as_object_mut().expect("an object").remove(name);
        }
        message["data"]
            .as_object_mut()
            .expect("an object")
            .retain(|name, _| !["contact", "alsoFor", "region"].contains(&name.as_str()));
        for (name, value) in data.as_object().expect("an object") {
            message["data"][name] = value.clone();
        }
        example.name = format!("a notice of {party}");
        example.publisher = party.into();
        example.subject = format!("ilo.in.{party}.system.coord.deployment.notice.{}", host.to_lowercase());
        example
    };
    let mut facilitator = one("eu-com", json!({ "hostCountry": "TN" }));
    facilitator.message["type"] = "eu.ilonet.network.facilitator.v1".into();
    facilitator.message["purpose"] = "5".into();
    facilitator.message["data"] =
        json!({"networkId": "tn", "countries": ["TN", "LY"], "facilitator": "eu-euaa", "from": "2020-01-01"});
    facilitator.subject = "ilo.in.eu-com.system.coord.network.facilitator.tn".into();
    vec![
        one("it-moi", json!({"post": "tn-01", "hostCountry": "TN", "from": "2020-01-01"})),
        one(
            "mt-imm",
            json!({"post": "ly-03", "hostCountry": "LY", "region": ["TN"], "alsoFor": ["AT", "LI"], "from": "2020-01-01"}),
        ),
        one(
            "es-pn",
            json!({"post": "mr-01", "hostCountry": "TN", "from": "2020-01-01", "until": "2021-01-01"}),
        ),
        one(
            "fr-dnpaf",
            json!({"post": "dz-01", "hostCountry": "TN", "status": "planned", "from": "2020-01-01"}),
        ),
        one(
            "pl-sg",
            json!({"post": "vn-01", "hostCountry": "TN", "from": "2090-01-01", "until": "2095-01-01"}),
        ),
        one("de-bpol", json!({"post": "tn-02", "hostCountry": "TN", "from": "2020-01-01"})),
        one(
            "de-bpol",
            json!({"post": "tn-02", "hostCountry": "TN", "status": "ended", "from": "2020-01-01"}),
        ),
        facilitator,
    ]
}

/// A valid report with other attributes: audiences that no example has.
fn more(valid: &[Example]) -> Vec<Example> {
    let report = valid
        .iter()
        .find(|example| example.message["type"] == "eu.ilonet.flow.observation.v1")
        .expect("a report");
    let one = |audience: &str, exclude: Option<&str>| {
        let mut example = report.now();
        example.name = format!("to {audience} without {exclude:?}");
        example.message["audience"] = audience.into();
        if let Some(exclude) = exclude {
            example.message["exclude"] = exclude.into();
        }
        example
    };
    vec![
        one("@ms", Some("fr-dnpaf,de-bka,it-moi")),
        one("fr-dnpaf,de-bka", Some("de-bka")),
        one("@network", None),
        one("@agencies,eu-fra", Some("eu-europol")),
        one("@board", None),
        one("it-moi", None),
        one("li-lp,eu-edps,gr-hp", None),
        one("@local,@ms-lea", Some("at-bmi")),
        one("@local", None),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_example_gets_its_verdict_and_reaches_exactly_those_it_may() {
    let (valid, invalid) = (examples("valid"), examples("invalid"));
    let mut scene = Scene::start().await;
    for notice in deployments(&valid) {
        scene.accept(&notice).await;
    }
    for example in &valid {
        let target = &example.message["data"]["target"];
        if let Some(id) = target["id"].as_str() {
            // A correction of something that must be there first.
            let original =
                valid.iter().find(|other| other.message["source"] == target["source"]).expect("its target");
            let mut original = original.now();
            original.message["id"] = id.into();
            scene.accept(&original).await;
        }
        scene.accept(&example.now()).await;
    }
    for example in more(&valid) {
        scene.accept(&example).await;
    }
    for example in &invalid {
        let data = scene.publish(&example.now()).await;
        assert_eq!(
            (&data["outcome"], &data["code"]),
            (&json!(example.expect), &example.code),
            "{}: {data}",
            example.name
        );
        assert!(
            data["detail"].as_array().is_some_and(|places| !places.is_empty()),
            "{}: {data}",
            example.name
        );
        assert!(data["recipients"].is_null() && data["seq"].is_null(), "{}: {data}", example.name);
    }
    scene.audit().await;
}

/// What the file expects, as far as it can be said without an archive.
fn offline(example: &Example) -> (String, Value) {
    let needs_memory = example.code == "E-REF";
    if needs_memory {
        ("accepted".to_owned(), Value::Null)
    } else {
        (example.expect.clone(), example.code.clone())
    }
}

#[test]
fn validate_says_the_same_without_a_broker() {
    let folder = folder();
    registry(folder.path());
    let network = folder.path().join("network.toml");
    let oracle = Oracle::read(&network);
    let mut all = examples("valid");
    all.extend(examples("invalid"));
    for example in all {
        let mut command = liaison();
        command.args(["validate", "--as", &example.publisher, "--subject", &example.subject, "--now", CLOCK]);
        command.arg("--enable-case-plane").arg("--registry").arg(&network).arg("-");
        let output = run(&mut command, &example.bytes());
        let said = String::from_utf8_lossy(&output.stdout);
        let verdict: Value =
            serde_json::from_str(said.trim_end()).unwrap_or_else(|_| panic!("{}: {said}", example.name));
        let (outcome, code) = offline(&example);
        assert_eq!(
            (&verdict["outcome"], &verdict["code"]),
            (&json!(outcome), &code),
            "{}: {verdict}",
            example.name
        );
        assert_eq!(verdict["file"], "-");
        assert_eq!(
            output.status.code(),
            Some(if outcome == "accepted" { 0 } else { 65 }),
            "{}",
            example.name
        );
        if outcome == "accepted" {
            assert_eq!(verdict["recipients"], json!(oracle.recipients(&example.message)), "{}", example.name);
            let refers = !example.message["data"]["target"].is_null();
            let unchecked = verdict["unchecked"].as_array().expect("a list");
            assert_eq!(unchecked.contains(&json!("S-14")), refers, "{}: {verdict}", example.name);
        } else {
            assert_eq!(verdict["recipients"], json!([]), "{}", example.name);
        }
    }
}
