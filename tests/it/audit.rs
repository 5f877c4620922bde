//! The audit log: what was done stands in it, for supervisors alone, without content, and whoever touches it is found.

use async_nats::Client;
use serde_json::{Value, json};

use super::harness::{Exchange, REPORT_SUBJECT, few_parties, fresh_id, liaison, report, sha256, until};

const SUPERVISOR: &str = "eu-edps";
/// Words that stand in a message or a question, and must not stand in the log.
const CANARY: &str = "zanzibar-canary";

struct Scene {
    exchange: Exchange,
    supervisor: Client,
}

impl Scene {
    async fn start() -> Self {
        let exchange = Exchange::with(&[], |data| {
            let supervisor = format!(
                "[[party]]\nid = \"{SUPERVISOR}\"\nname = \"Supervisor\"\ncountry = \"EU\"\n\
                 participation = \"observer\"\nroles = [\"supervisor\"]\n"
            );
            std::fs::write(data.join("network.toml"), few_parties() + &supervisor).expect("a registry");
            std::fs::write(data.join("liaison.toml"), "").expect("a configuration");
        })
        .await;
        let supervisor = exchange.connect(SUPERVISOR, "system").await;
        Self { exchange, supervisor }
    }

    async fn again(&mut self) {
        self.exchange.again().await;
        self.supervisor = self.exchange.connect(SUPERVISOR, "system").await;
    }

    async fn ask(&self, party: &str, verb: &str, body: &Value) -> Result<Value, (String, Value)> {
        let client = self.exchange.connect(party, "system").await;
        self.exchange.ask(&client, party, verb, body).await
    }

    /// One page of the log.
    async fn page(&self, body: &Value) -> Value {
        let answer = self.exchange.ask(&self.supervisor, SUPERVISOR, "audit", body).await;
        answer.unwrap_or_else(|refused| panic!("{body}: {refused:?}"))
    }

    /// Everything of the log that is asked for, as it stood at the first question.
    async fn log(&self, body: &Value) -> Vec<Value> {
        let mut body = body.clone();
        let mut all = Vec::new();
        let mut end = None;
        loop {
            let page = self.page(&body).await;
            let end = *end.get_or_insert(page["head"].as_u64().expect("a number"));
            all.extend(page["entries"].as_array().expect("a list").iter().cloned());
            let beyond = all.last().is_some_and(|last: &Value| last["seq"].as_u64() >= Some(end));
            if page["done"] == true || beyond {
                all.retain(|entry| entry["seq"].as_u64() <= Some(end));
                return all;
            }
            body["after"] = page["cursor"].clone();
        }
    }

    async fn publish(&self, message: &Value) -> Value {
        let post = self.exchange.connect("it-moi", "tn-01").await;
        let receipt = self.exchange.publish(&post, REPORT_SUBJECT, message.to_string().into_bytes()).await;
        receipt["data"].clone()
    }
}

fn of<'a>(log: &'a [Value], what: &str) -> Vec<&'a Value> {
    log.iter().filter(|entry| entry["what"] == what).collect()
}

/// A report to a named party.
fn named() -> Value {
    let mut message = report();
    message["audience"] = "fr-dnpaf".into();
    message["data"]["title"] = CANARY.into();
    message
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_done_stands_in_the_log_without_content() {
    let mut scene = Scene::start().await;
    let question =
        json!({"where": format!("data.title == '{CANARY}'"), "filters": [{"exact": {"subject": "TN"}}]});
    do_all(&scene, &question).await;
    assert_eq!(scene.exchange.letters("fr-dnpaf").await.len(), 3);
    scene.exchange.signal("TERM");
    assert_eq!(scene.exchange.wait(), Some(0));
    scene.again().await;
    let read = async || {
        let log = scene.log(&json!({"what": "read"})).await;
        log.iter().find(|entry| entry["who"] == "fr-dnpaf").cloned()
    };
    let read = until("the note of what was read", read).await;
    // Three letters, and the one that ended the reading.
    assert_eq!(read["object"]["feed"], json!({"first": 1, "last": 4}));
    said_all(&scene.log(&json!({})).await, &question);
}

/// Something of everything.
async fn do_all(scene: &Scene, question: &Value) {
    let messages = [named(), named(), named()];
    for message in &messages {
        assert_eq!(scene.publish(message).await["outcome"], "accepted");
    }
    assert_eq!(scene.publish(&messages[0]).await["outcome"], "duplicate");
    let mut broken = named();
    broken["data"]["count"]["max"] = 1.into();
    assert_eq!(scene.publish(&broken).await["outcome"], "rejected");

    let replayed = scene.ask("fr-dnpaf", "replay", question).await.expect("answers");
    assert_eq!(replayed["messages"].as_array().map(Vec::len), Some(3));
    // To ask whether there is more, and there is not, is no second replay.
    let polled =
        scene.ask("fr-dnpaf", "replay", &json!({"after": replayed["cursor"]})).await.expect("answers");
    assert_eq!(polled["messages"], json!([]));
    scene.ask("fr-dnpaf", "replay", &json!({"limit": 1})).await.expect("answers");
    for verb in ["status", "ledger", "explain"] {
        let body = json!({"id": messages[1]["id"], "party": "fr-dnpaf"});
        scene.ask("it-moi", verb, &body).await.expect(verb);
    }
    let wanted = json!({"name": "one", "where": format!("data.title == '{CANARY}'")});
    scene.ask("de-bpol", "sub.put", &wanted).await.expect("puts");
    scene.ask("de-bpol", "sub.del", &json!({"name": "one"})).await.expect("deletes");
    assert!(scene.exchange.reload().await);
    std::fs::write(scene.exchange.data.join("liaison.toml"), "[nonsense]").expect("writes");
    assert!(!scene.exchange.reload().await);
    std::fs::write(scene.exchange.data.join("liaison.toml"), "").expect("writes");

    // Neither is an answer given without the right, nor is the attempt forgotten.
    for party in ["fr-dnpaf", "eu-com"] {
        let (status, said) = scene.ask(party, "audit", &json!({})).await.expect_err("no supervisor");
        assert_eq!((status.as_str(), &said["code"]), ("403", &json!("E-ROLE")));
    }
}

/// Each of it stands in the log, and no more of it than that it was done.
fn said_all(log: &[Value], question: &Value) {
    let seqs: Vec<u64> = log.iter().map(|entry| entry["seq"].as_u64().expect("a number")).collect();
    assert!(seqs.iter().copied().eq(1..=seqs.len() as u64), "dense: {seqs:?}");
    let text = json!(log).to_string();
    assert!(!text.contains(CANARY) && !text.contains("data.title"), "{text}");
    let who = |what: &str| of(log, what).iter().map(|entry| entry["who"].clone()).collect::<Vec<_>>();
    assert_eq!(who("started"), ["broker", "broker"]);
    assert_eq!(who("stopped"), ["broker"]);
    assert_eq!(who("subscription-changed"), ["de-bpol", "de-bpol"]);
    let reloads = of(log, "configuration-reloaded");
    let ends: Vec<&Value> = reloads.iter().map(|entry| &entry["result"]).collect();
    assert_eq!(ends, ["done", "failed"]);
    for (what, about) in [("status-asked", None), ("ledger-asked", None), ("explain-asked", Some("fr-dnpaf"))]
    {
        let entry = of(log, what)[0];
        assert_eq!((&entry["who"], &entry["identity"]), (&json!("it-moi"), &json!("account:A_IT_MOI")));
        assert_eq!(entry["object"]["archive"], json!({"first": 2, "last": 2}));
        assert_eq!(entry["object"]["party"].as_str(), about);
    }
    let replays = of(log, "replayed");
    assert_eq!(replays.len(), 2);
    let asked = json!([question["filters"], question["where"]]).to_string();
    assert_eq!(
        replays[0]["object"],
        json!({"feed": {"first": 1, "last": 3}, "count": 3, "filter": sha256(asked.as_bytes())})
    );
    assert_eq!(replays[1]["object"], json!({"feed": {"first": 1, "last": 1}, "count": 1}));
    let refused = log.iter().filter(|entry| entry["result"] == "refused");
    let refused: Vec<(&Value, &Value)> = refused.map(|entry| (&entry["who"], &entry["what"])).collect();
    assert_eq!(
        refused,
        [(&json!("fr-dnpaf"), &json!("audit-read")), (&json!("eu-com"), &json!("audit-read"))]
    );
    assert!(of(log, "audit-read").iter().any(|entry| entry["who"] == SUPERVISOR), "this reading too");
    let published = of(log, "published");
    let italian: Vec<&&Value> = published.iter().filter(|entry| entry["who"] == "it-moi").collect();
    // One more is the letter that ended the reading.
    let outcomes = json!({"accepted": 4, "duplicate": 1, "quarantined": 0, "rejected": 1});
    assert_eq!(italian[0]["object"]["outcomes"], outcomes, "{published:?}");
    assert_eq!(italian[0]["object"]["archive"]["first"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_broker_could_not_count_is_noted_at_the_next_start() {
    let mut scene = Scene::start().await;
    for _ in 0..3 {
        assert_eq!(scene.publish(&named()).await["outcome"], "accepted");
    }
    scene.exchange.kill();
    scene.again().await;
    let log = scene.log(&json!({"what": "published"})).await;
    assert_eq!(log.len(), 1);
    assert_eq!(
        (&log[0]["who"], &log[0]["object"]),
        (&json!("broker"), &json!({"archive": {"first": 1, "last": 3}}))
    );
    assert_eq!(scene.publish(&named()).await["outcome"], "accepted");
    scene.exchange.signal("TERM");
    assert_eq!(scene.exchange.wait(), Some(0));
    scene.again().await;
    let log = scene.log(&json!({"what": "published"})).await;
    assert_eq!(log.len(), 2, "nothing twice: {log:?}");
    assert_eq!(log[1]["object"]["archive"], json!({"first": 4, "last": 4}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_and_filters_agree_with_the_whole_and_with_the_command_line() {
    let scene = Scene::start().await;
    scene.publish(&named()).await;
    for at in 0..12 {
        let party = ["fr-dnpaf", "de-bpol"][at % 2];
        scene.ask(party, "replay", &json!({})).await.expect("answers");
    }
    let whole = scene.log(&json!({})).await;
    let upto = whole.len();
    for limit in [1, 5, 1000] {
        assert_eq!(scene.log(&json!({"limit": limit})).await[..upto], whole, "{limit}");
    }
    let middle = whole[6]["at"].as_str().expect("a time");
    for (body, picks) in [
        (
            json!({"party": "de-bpol"}),
            Box::new(|entry: &Value| entry["who"] == "de-bpol") as Box<dyn Fn(&Value) -> bool>,
        ),
        (json!({"what": "replayed"}), Box::new(|entry: &Value| entry["what"] == "replayed")),
        (json!({"from": middle}), Box::new(|entry: &Value| entry["at"].as_str() >= Some(middle))),
        (
            json!({"to": middle, "party": "fr-dnpaf"}),
            Box::new(|entry: &Value| entry["at"].as_str() < Some(middle) && entry["who"] == "fr-dnpaf"),
        ),
        (json!({"party": "operator"}), Box::new(|_: &Value| false)),
    ] {
        let expected: Vec<&Value> = whole.iter().filter(|entry| picks(entry)).collect();
        let found = scene.log(&body).await;
        let found: Vec<&Value> =
            found.iter().filter(|entry| entry["seq"].as_u64() <= Some(upto as u64)).collect();
        assert_eq!(found, expected, "{body}");
    }
    let cursor = scene.page(&json!({"limit": 1})).await["cursor"].clone();
    let feed = scene.ask("fr-dnpaf", "replay", &json!({})).await.expect("answers")["cursor"].clone();
    for (body, path) in [
        (json!({"limit": 0}), "/limit"),
        (json!({"who": "de-bpol"}), "/who"),
        (json!({"party": "nobody"}), "/party"),
        (json!({"party": 1}), "/party"),
        (json!({"what": "everything"}), "/what"),
        (json!({"from": "now"}), "/from"),
        (json!({"after": feed}), "/after"),
        (json!({"after": format!("{}x", cursor.as_str().expect("a text"))}), "/after"),
    ] {
        let refused = scene.exchange.ask(&scene.supervisor, SUPERVISOR, "audit", &body).await;
        let (status, said) = refused.expect_err("is refused");
        let found = (status.as_str(), &said["code"], &said["detail"][0]["path"]);
        assert_eq!(found, ("400", &json!("E-REQUEST"), &json!(path)), "{body}: {said}");
    }

    command_line(&scene, &whole);
}

/// The command line says the same, asking and looking by itself.
fn command_line(scene: &Scene, whole: &[Value]) {
    let upto = whole.len();
    let lines = |args: &[&str]| {
        let output = scene.exchange.run(args);
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let parsed = |lines: &[String]| {
        lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect::<Vec<Value>>()
    };
    assert_eq!(parsed(&lines(&["audit"]))[..upto], *whole);
    assert_eq!(parsed(&lines(&["audit", "--as", SUPERVISOR]))[..upto], *whole);
    let ours: Vec<Value> = whole
        .iter()
        .filter(|entry| entry["who"] == "de-bpol" && entry["what"] == "replayed")
        .cloned()
        .collect();
    let few = ["--party", "de-bpol", "--what", "replayed"];
    assert_eq!(parsed(&lines(&[&["audit", "--verify"], few.as_slice()].concat())), ours);
    assert_eq!(parsed(&lines(&[&["audit", "--as", SUPERVISOR], few.as_slice()].concat())), ours);
    let table = lines(&[&["audit", "--output", "csv"], few.as_slice()].concat());
    assert_eq!(table.len(), 1 + ours.len());
    let width = table[0].split(',').count();
    assert!(table[0].starts_with("seq,at,who,identity,what,result,archive_first,"));
    assert!(table.iter().all(|line| line.split(',').count() == width));
    let denied = scene.exchange.run(&["audit", "--as", "fr-dnpaf"]);
    assert_eq!(denied.status.code(), Some(77), "{denied:?}");
    assert!(denied.stdout.is_empty());
}

/// Whoever can write on the disk can change the log, but not without being found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_changed_is_named_and_keeps_the_broker_shut() {
    let mut scene = Scene::start().await;
    for _ in 0..5 {
        scene.ask("fr-dnpaf", "replay", &json!({})).await.expect("answers");
    }
    scene.exchange.signal("TERM");
    assert_eq!(scene.exchange.wait(), Some(0));
    let directory = scene.exchange.data.join("archive/audit");
    let entries = std::fs::read_dir(&directory).expect("a directory").flatten();
    let mut files =
        entries.map(|entry| entry.path()).filter(|file| file.extension().is_some_and(|end| end == "liaj"));
    let file = files.next().expect("a segment");
    let good = std::fs::read(&file).expect("reads");
    let third = good.windows(4).enumerate().filter(|(_, four)| *four == b"LIAF").nth(2).expect("a frame").0;
    let mut bad = good.clone();
    bad[third + 120] ^= 1;
    std::fs::write(&file, bad).expect("writes");
    let verify = ["audit", "--verify"];
    let output = scene.exchange.run(&verify);
    assert_eq!(output.status.code(), Some(65), "{output:?}");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains("sequence 3 "), "{words}");
    let data = scene.exchange.data.to_str().expect("UTF-8").to_owned();
    let start = liaison().args(["up", "--data", &data]).output().expect("runs");
    assert_eq!(start.status.code(), Some(74), "{}", String::from_utf8_lossy(&start.stderr));
    std::fs::write(&file, good).expect("writes");
    assert!(scene.exchange.run(&verify).status.success());
    let away = directory.with_extension("away");
    std::fs::rename(&directory, &away).expect("renames");
    for command in [&verify as &[&str], &["archive", "verify"]] {
        let output = scene.exchange.run(command);
        assert_eq!(output.status.code(), Some(65), "{command:?}: {output:?}");
    }
    std::fs::rename(&away, &directory).expect("renames");
    scene.again().await;
    let unknown = json!({"id": fresh_id()});
    assert_eq!(scene.ask("it-moi", "status", &unknown).await.expect_err("unknown").0, "404");
}
