//! The services of a party, asked as any NATS client would: dry run, status, ledger, explanation, schemas, health.
//!
//! What is asked for must change nothing, and what belongs to another party must not exist.

use async_nats::Client;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::harness::{Exchange, REPORT_SUBJECT, example, fresh_id, report, shifted, until};

struct Scene {
    exchange: Exchange,
    post: Client,
    system: Client,
}

impl Scene {
    async fn start() -> Self {
        let exchange = Exchange::start().await;
        let post = exchange.connect("it-moi", "tn-01").await;
        let system = exchange.connect("it-moi", "system").await;
        Self { exchange, post, system }
    }

    async fn ask(&self, verb: &str, body: &Value) -> Value {
        let answer = self.exchange.ask(&self.system, "it-moi", verb, body).await;
        answer.unwrap_or_else(|refused| panic!("{verb} {body}: {refused:?}"))
    }

    async fn refused(&self, verb: &str, body: &Value) -> (String, Value) {
        self.exchange.ask(&self.system, "it-moi", verb, body).await.expect_err("is refused")
    }

    async fn publish(&self, message: &Value) -> Value {
        let bytes = message.to_string().into_bytes();
        self.exchange.publish(&self.post, REPORT_SUBJECT, bytes).await["data"].clone()
    }
}

fn parties(list: &Value) -> Vec<String> {
    let name = |entry: &Value| entry["party"].as_str().or(entry.as_str()).expect("a party").to_owned();
    list.as_array().expect("a list").iter().map(name).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_says_what_would_be_and_keeps_nothing() {
    let scene = Scene::start().await;
    let mut message = report();
    message["audience"] = "@sac,fr-dnpaf,de-bka,it-moi".into();
    message["exclude"] = "de-bka".into();
    let never = json!({"name": "never", "filters": [{"exact": {"subject": "ZZ"}}]});
    let norway = scene.exchange.connect("no-pu", "system").await;
    scene.exchange.ask(&norway, "no-pu", "sub.put", &never).await.expect("puts");
    let before = scene.exchange.stats();

    let verdict = scene.ask("validate", &message).await;
    assert_eq!((&verdict["outcome"], &verdict["detail"]), (&json!("accepted"), &json!([])), "{verdict}");
    assert!(verdict["unchecked"].is_null(), "the daemon has the archive: {verdict}");
    assert_eq!(verdict["recipients"], json!(["ch-sem", "fr-dnpaf", "is-pol", "li-lp", "no-udi"]));
    let withheld = json!([
        {"party": "de-bka", "reason": "excluded"},
        {"party": "it-moi", "reason": "originator"},
        {"party": "no-pu", "reason": "not-subscribed"},
    ]);
    assert_eq!(verdict["withheld"], withheld);
    let mut broken = message.clone();
    broken["data"]["count"]["max"] = 1.into();
    let verdict = scene.ask("validate", &broken).await;
    assert_eq!((&verdict["outcome"], &verdict["code"]), (&json!("rejected"), &json!("E-RANGE")));
    assert_eq!(verdict["detail"][0]["path"].as_str().map(|path| path.starts_with("/data/count")), Some(true));
    let mut foreign = message.clone();
    foreign["source"] = "/authority/de-bpol".into();
    assert_eq!(scene.ask("validate", &foreign).await["code"], "E-ORIGIN");
    let answer = scene.system.request("ilo.svc.it-moi.validate", "{\"id\":".into()).await.expect("answers");
    let verdict: Value = serde_json::from_slice(&answer.payload).expect("JSON");
    assert_eq!(verdict["code"], "E-JSON", "{verdict}");
    assert_eq!(scene.exchange.stats(), before, "nothing was kept");

    // The same id can be published after it, with the same result, and then the dry run knows the id.
    let data = scene.publish(&message).await;
    assert_eq!(
        (&data["outcome"], &data["seq"], &data["recipients"]),
        (&json!("accepted"), &json!(1), &json!(5))
    );
    assert_eq!(scene.ask("validate", &message).await["outcome"], "accepted");
    message["data"]["title"] = "Other words".into();
    assert_eq!(scene.ask("validate", &message).await["code"], "E-DUP");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ledger_explain_and_status_tell_the_originator_alone() {
    let scene = Scene::start().await;
    let mut message = report();
    message["audience"] = "@sac,fr-dnpaf,it-moi".into();
    message["exclude"] = "ch-sem".into();
    let receipt = scene.publish(&message).await;
    let named = json!({ "id": message["id"] });

    let ledger = scene.ask("ledger", &named).await;
    assert_eq!(parties(&ledger["recipients"]), ["fr-dnpaf", "is-pol", "li-lp", "no-pu", "no-udi"]);
    assert_eq!(ledger["recipients"][0]["why"], "named");
    assert_eq!(ledger["recipients"][1]["why"], "subscribed");
    let withheld =
        json!([{"party": "ch-sem", "reason": "excluded"}, {"party": "it-moi", "reason": "originator"}]);
    assert_eq!((&ledger["withheld"], &ledger["seq"]), (&withheld, &receipt["seq"]));
    for (party, decision, why) in [
        ("fr-dnpaf", "recipient", "named"),
        ("no-pu", "recipient", "subscribed"),
        ("ch-sem", "withheld", "excluded"),
        ("de-bka", "withheld", "not-named"),
    ] {
        let answer = scene.ask("explain", &json!({"id": message["id"], "party": party})).await;
        assert_eq!((&answer["decision"], &answer["why"]), (&json!(decision), &json!(why)), "{party}");
    }
    let with_source = json!({ "id": message["id"], "source": message["source"] });
    // Deliveries go on meanwhile; the decision stands.
    let again = scene.ask("ledger", &with_source).await;
    assert_eq!(
        (&again["seq"], parties(&again["recipients"])),
        (&ledger["seq"], parties(&ledger["recipients"]))
    );
    let of_another = json!({ "id": message["id"], "source": "/authority/it-moi" });
    assert_eq!(scene.refused("ledger", &of_another).await.0, "404", "no such message of that source");

    let status = scene.ask("status", &named).await;
    assert_eq!(status["receipt"], receipt);
    let state = async |party: &str| {
        let status = scene.ask("status", &named).await;
        let found = status["deliveries"]
            .as_array()
            .expect("a list")
            .iter()
            .find(|entry| entry["party"] == party)
            .cloned();
        found.expect("a recipient")["state"].as_str().expect("a state").to_owned()
    };
    until("the delivery", async || (state("fr-dnpaf").await == "delivered").then_some(())).await;
    assert_eq!(scene.exchange.letters("fr-dnpaf").await.len(), 1);
    until("the acknowledgement", async || (state("fr-dnpaf").await == "acknowledged").then_some(())).await;
    assert_eq!(state("is-pol").await, "delivered", "nobody acknowledged there");

    // Not even a recipient may ask, and it is told what it would be told of a message that does not exist.
    let french = scene.exchange.connect("fr-dnpaf", "system").await;
    for verb in ["status", "ledger", "explain"] {
        let body = json!({ "id": message["id"], "source": message["source"], "party": "fr-dnpaf" });
        let other = scene.exchange.ask(&french, "fr-dnpaf", verb, &body).await.expect_err(verb);
        let nowhere = json!({ "id": fresh_id(), "source": message["source"], "party": "fr-dnpaf" });
        let none = scene.exchange.ask(&french, "fr-dnpaf", verb, &nowhere).await.expect_err(verb);
        assert_eq!((other.0.as_str(), &other.1["code"]), ("404", &json!("E-UNKNOWN")), "{verb}");
        assert_eq!(other, none, "{verb}");
    }
}

/// Waits for nobody: what never reached anybody is pending, and a quarantined message has its answer too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_knows_a_quarantined_message_and_one_for_nobody() {
    let scene = Scene::start().await;
    let mut alone = report();
    alone["audience"] = "it-moi".into();
    let receipt = scene.publish(&alone).await;
    assert_eq!((&receipt["outcome"], &receipt["recipients"]), (&json!("accepted"), &json!(0)));
    let status = scene.ask("status", &json!({ "id": alone["id"] })).await;
    assert_eq!((&status["receipt"], &status["deliveries"]), (&receipt, &json!([])));

    let mut bad = report();
    bad["data"]["count"]["max"] = 1.into();
    let receipt = scene.publish(&bad).await;
    assert_eq!(receipt["code"], "E-RANGE");
    let status = scene.ask("status", &json!({ "id": bad["id"] })).await;
    assert_eq!((&status["receipt"], &status["deliveries"]), (&receipt, &json!([])));
    let elsewhere = json!({ "id": bad["id"], "source": "/authority/it-moi" });
    assert_eq!(scene.refused("status", &elsewhere).await.0, "404", "under this source it is not known");

    let mut small = shifted(example("invalid/33-small-cell.json")["message"].clone());
    small["id"] = fresh_id().into();
    let subject = "ilo.in.it-moi.tn-01.net.thb.pattern.tn";
    let receipt = scene.exchange.publish(&scene.post, subject, small.to_string().into_bytes()).await;
    let status = scene.ask("status", &json!({ "id": small["id"] })).await;
    assert_eq!((&status["receipt"], &status["deliveries"]), (&receipt["data"], &json!([])));
    let ledger = scene.ask("ledger", &json!({ "id": small["id"] })).await;
    assert_eq!((&ledger["outcome"], &ledger["recipients"]), (&json!("quarantined"), &json!([])));
    let answer = scene.ask("explain", &json!({ "id": small["id"], "party": "de-bka" })).await;
    assert_eq!((&answer["decision"], &answer["why"]), (&json!("withheld"), &json!("not-accepted")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemas_are_listed_and_given_and_nonsense_is_refused() {
    let scene = Scene::start().await;
    let listed = scene.ask("schema.list", &json!({})).await["schemas"].clone();
    let listed = listed.as_array().expect("a list");
    assert_eq!(listed.len(), 36);
    for entry in listed {
        let kind = entry["id"].as_str().expect("an id");
        assert_eq!(entry["type"], format!("eu.ilonet.{kind}.v1"));
        let given = scene.ask("schema.get", &json!({ "type": entry["type"] })).await;
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("schemas/{kind}.json"));
        let file: Value = serde_json::from_slice(&std::fs::read(file).expect("a file")).expect("JSON");
        assert_eq!(given, file, "{kind}");
    }
    for body in [
        json!({}),
        json!({"type": "eu.ilonet.flow.observation.v9"}),
        json!({"type": "envelope"}),
        json!({"type": 1}),
    ] {
        let (status, said) = scene.refused("schema.get", &body).await;
        assert_eq!((status.as_str(), &said["code"]), ("404", &json!("E-TYPE")), "{body}");
    }
    for (verb, body, path) in [
        ("status", json!({}), "/id"),
        ("status", json!({"id": 7}), "/id"),
        ("ledger", json!({"id": "not-a-uuid"}), "/id"),
        ("ledger", json!({"id": fresh_id().to_uppercase()}), "/id"),
    ] {
        let (status, said) = scene.refused(verb, &body).await;
        assert_eq!(
            (status.as_str(), &said["detail"][0]["path"]),
            ("400", &json!(path)),
            "{verb} {body}: {said}"
        );
    }
    let message = report();
    scene.publish(&message).await;
    for party in [Value::Null, json!("@ms"), json!("DE-BPOL")] {
        let (status, said) = scene.refused("explain", &json!({"id": message["id"], "party": party})).await;
        assert_eq!((status.as_str(), &said["detail"][0]["path"]), ("400", &json!("/party")), "{said}");
    }
    for verb in ["status", "ledger", "explain", "sub.put", "sub.del", "schema.get"] {
        for body in ["{", "[]", "7", "{\"id\":1,\"id\":2}", "\u{feff}{}"] {
            let answer =
                scene.system.request(format!("ilo.svc.it-moi.{verb}"), body.into()).await.expect("answers");
            let headers = answer.headers.as_ref().expect("headers");
            let header = |name: &str| headers.get(name).map(ToString::to_string);
            let said: Value = serde_json::from_slice(&answer.payload).expect("JSON");
            assert_eq!(header("Nats-Service-Error-Code").as_deref(), Some("400"), "{verb} {body}: {said}");
            assert_eq!(header("Nats-Service-Error").as_deref(), said["code"].as_str(), "{verb} {body}");
            assert_eq!(said["code"], "E-JSON", "{verb} {body}");
        }
    }
    for verb in ["nosuch", "validate.more", "sub", "sub.all", "STATUS"] {
        let answer = scene.system.request(format!("ilo.svc.it-moi.{verb}"), "{}".into()).await;
        let error = answer.expect_err(verb);
        assert_eq!(error.kind(), async_nats::RequestErrorKind::NoResponders, "{verb}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_sees_that_the_service_is_well() {
    let scene = Scene::start().await;
    for _ in 0..3 {
        scene.ask("schema.list", &json!({})).await;
    }
    scene.refused("status", &json!({})).await;
    let operator = scene.exchange.operator().await;
    let ask = async |verb: &str| -> Value {
        let answer = operator.request(format!("$SRV.{verb}.liaison"), "".into()).await.expect("an answer");
        serde_json::from_slice(&answer.payload).expect("JSON")
    };
    let ping = ask("PING").await;
    assert_eq!((&ping["name"], &ping["type"]), (&json!("liaison"), &json!("io.nats.micro.v1.ping_response")));
    let info = ask("INFO").await;
    assert_eq!((&info["id"], &info["type"]), (&ping["id"], &json!("io.nats.micro.v1.info_response")));
    let endpoints = info["endpoints"].as_array().expect("endpoints");
    let subjects: Vec<&str> =
        endpoints.iter().map(|endpoint| endpoint["subject"].as_str().expect("a subject")).collect();
    for verb in [
        "validate",
        "explain",
        "status",
        "sub.put",
        "sub.list",
        "sub.del",
        "schema.list",
        "schema.get",
        "ledger",
    ] {
        assert!(subjects.contains(&format!("ilo.svc.*.{verb}").as_str()), "{verb} is not in {subjects:?}");
    }
    let asked = async |subject: &str| {
        let stats = ask("STATS").await;
        let found = stats["endpoints"]
            .as_array()
            .expect("endpoints")
            .iter()
            .find(|endpoint| endpoint["subject"] == subject)
            .cloned();
        found.expect("an endpoint")["num_requests"].as_u64().expect("a number")
    };
    until("the count", async || (asked("ilo.svc.*.schema.list").await == 3).then_some(())).await;
    assert_eq!(asked("ilo.svc.*.status").await, 1);
    assert_eq!(asked("ilo.svc.*.ledger").await, 0);
    // Without a name every service answers; here that is one.
    let inbox = operator.new_inbox();
    let mut answers = operator.subscribe(inbox.clone()).await.expect("subscribes");
    operator.publish_with_reply("$SRV.PING", inbox, "".into()).await.expect("asks");
    let answer = answers.next().await.expect("an answer");
    let answer: Value = serde_json::from_slice(&answer.payload).expect("JSON");
    assert_eq!(answer["id"], ping["id"]);
}
