//! What a party wants of group messages: put, in force for the next message, refused when it cannot be read, kept.
//!
//! Whether a subscription took effect is asked of the originator's ledger and, at the end, of the mailbox. A filter that
//! is refused must change nothing: neither match everything nor silence what was there.

use async_nats::Client;
use serde_json::{Value, json};

use super::harness::{Exchange, REPORT_SUBJECT, Watched, audit_feed, report};

const DEFAULT: &str = r#"[{"name":"all","filters":[]}]"#;

/// An exchange, a publisher and a subscriber with its system user.
struct Scene {
    exchange: Exchange,
    post: Client,
    publisher: Client,
    subscriber: Client,
}

const SUBSCRIBER: &str = "fr-dnpaf";

impl Scene {
    async fn start() -> Self {
        Self::around(Exchange::start().await).await
    }

    async fn around(exchange: Exchange) -> Self {
        let post = exchange.connect("it-moi", "tn-01").await;
        let publisher = exchange.connect("it-moi", "system").await;
        let subscriber = exchange.connect(SUBSCRIBER, "system").await;
        Self { exchange, post, publisher, subscriber }
    }

    async fn ask(&self, verb: &str, body: &Value) -> Result<Value, (String, Value)> {
        self.exchange.ask(&self.subscriber, SUBSCRIBER, verb, body).await
    }

    async fn put(&self, subscription: &Value) {
        let answer = self
            .ask("sub.put", subscription)
            .await
            .unwrap_or_else(|refused| panic!("{subscription}: {refused:?}"));
        let listed = answer["subscriptions"].as_array().expect("a list");
        assert!(listed.iter().any(|one| one["name"] == subscription["name"]), "{answer}");
    }

    async fn list(&self) -> Value {
        self.ask("sub.list", &json!({})).await.expect("lists")["subscriptions"].clone()
    }

    /// Publishes this report; the bytes, and why the subscriber gets it or not.
    async fn publish(&self, message: &Value) -> (Vec<u8>, String) {
        let bytes = message.to_string().into_bytes();
        let receipt = self.exchange.publish(&self.post, REPORT_SUBJECT, bytes.clone()).await;
        assert_eq!(receipt["data"]["outcome"], "accepted", "{receipt}");
        let asked = json!({ "id": message["id"], "party": SUBSCRIBER });
        let answer = self.exchange.ask(&self.publisher, "it-moi", "explain", &asked).await.expect("explains");
        (bytes, answer["why"].as_str().expect("a word").to_owned())
    }
}

/// Conditions and whether the report of the harness (`flow.observation` of Tunisia) meets them.
fn conditions() -> Vec<(Value, bool)> {
    let filter = |filter: Value| json!({ "filters": [filter] });
    let condition = |text: &str| json!({ "where": text });
    vec![
        (filter(json!({"exact": {"type": "eu.ilonet.flow.observation.v1"}})), true),
        (filter(json!({"exact": {"type": "eu.ilonet.flow.observation"}})), false),
        (filter(json!({"prefix": {"type": "eu.ilonet.flow."}})), true),
        (filter(json!({"prefix": {"type": "flow."}})), false),
        (filter(json!({"suffix": {"source": "/post/tn-01"}})), true),
        (filter(json!({"suffix": {"source": "/post/tn-0"}})), false),
        (filter(json!({"all": [{"exact": {"subject": "TN"}}, {"exact": {"route": "CMED"}}]})), true),
        (filter(json!({"all": [{"exact": {"subject": "TN"}}, {"exact": {"route": "WMED"}}]})), false),
        (filter(json!({"any": [{"exact": {"country": "LY"}}, {"exact": {"impact": "high"}}]})), true),
        (filter(json!({"any": [{"exact": {"country": "LY"}}, {"exact": {"impact": "low"}}]})), false),
        (filter(json!({"not": {"exact": {"originator": "it-moi"}}})), false),
        (filter(json!({"not": {"exact": {"originator": "de-bpol"}}})), true),
        (filter(json!({"exact": {"country": "IT"}})), true),
        (filter(json!({"exact": {"nationality": "CIV"}})), true),
        (filter(json!({"exact": {"nationality": "SYR"}})), false),
        (filter(json!({"exact": {"transport": "rubber-boat"}})), true),
        (filter(json!({"prefix": {"transport": "wooden"}})), false),
        (filter(json!({"exact": {"priority": "priority"}})), true),
        (filter(json!({"exact": {"priority": "urgent"}})), false),
        (filter(json!({"exact": {"correlationid": "x"}})), false),
        (json!({"filters": []}), true),
        (json!({"filters": [{"exact": {"subject": "TN"}}, {"exact": {"subject": "LY"}}]}), false),
        (condition("data.count.value > 1000 && event.subject == 'TN'"), true),
        (condition("data.count.value > 2000"), false),
        (condition("data.nosuch.member == 'x'"), false),
        (condition("'metal-boat' in data.transport"), true),
        (condition("data.composition.exists(c, c.nationality == 'SDN' && c.count >= 260)"), true),
        (json!({"filters": [{"exact": {"subject": "TN"}}], "where": "event.tlp == 'TLP:RED'"}), false),
        (json!({"filters": [{"exact": {"subject": "TN"}}], "where": "event.tlp == 'TLP:AMBER'"}), true),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_dialect_facet_and_expression_decides_the_next_message() {
    let scene = Scene::start().await;
    assert_eq!(scene.list().await.to_string(), DEFAULT.parse::<Value>().expect("JSON").to_string());
    let (bytes, why) = scene.publish(&report()).await;
    assert_eq!(why, "subscribed", "the default gives everything");
    let mut owed = vec![bytes];
    for (mut subscription, matches) in conditions() {
        subscription["name"] = "one".into();
        scene.put(&subscription).await;
        let (bytes, why) = scene.publish(&report()).await;
        assert_eq!(why, if matches { "subscribed" } else { "not-subscribed" }, "{subscription}");
        if matches {
            owed.push(bytes);
        }
    }
    // A named party needs no subscription; what it has matches nothing of this.
    scene.put(&json!({"name": "one", "filters": [{"exact": {"subject": "LY"}}]})).await;
    let mut named = report();
    named["audience"] = format!("@ms,{SUBSCRIBER}").into();
    let (bytes, why) = scene.publish(&named).await;
    assert_eq!(why, "named");
    owed.push(bytes);
    // Two subscriptions: one that matches is enough, and the message comes once.
    scene.put(&json!({"name": "two", "filters": [{"exact": {"subject": "TN"}}]})).await;
    scene.put(&json!({"name": "three", "filters": [{"exact": {"route": "CMED"}}]})).await;
    let (bytes, why) = scene.publish(&report()).await;
    assert_eq!(why, "subscribed");
    owed.push(bytes);
    let letters = scene.exchange.letters(SUBSCRIBER).await;
    audit_feed(&letters);
    assert!(letters.into_iter().map(|letter| letter.payload).eq(owed), "the mailbox is what the ledger says");
}

/// Bodies that must be refused, and where.
fn bad() -> Vec<(Value, &'static str)> {
    let filter = |filter: Value| json!({ "name": "bad", "filters": [filter] });
    let condition = |text: &str| json!({ "name": "bad", "where": text });
    let deep = (0..15).fold(json!({"exact": {"id": "x"}}), |inner, _| json!({ "not": inner }));
    let many: Vec<Value> = (0..33).map(|_| json!({"exact": {"id": "x"}})).collect();
    vec![
        (json!({"filters": []}), "/name"),
        (json!({"name": "", "filters": []}), "/name"),
        (json!({"name": 1, "filters": []}), "/name"),
        (json!({"name": "a b", "filters": []}), "/name"),
        (json!({"name": "x".repeat(65), "filters": []}), "/name"),
        (json!({"name": "bad", "filter": []}), "/filter"),
        (json!({"name": "bad", "filters": {}}), "/filters"),
        (json!({"name": "bad", "filters": many}), "/filters"),
        (filter(json!({})), "/filters/0"),
        (filter(json!("all")), "/filters/0"),
        (filter(json!({"sql": "1 = 1"})), "/filters/0"),
        (filter(json!({"exact": {"type": "a"}, "prefix": {"type": "b"}})), "/filters/0"),
        (filter(json!({"exact": {}})), "/filters/0/exact"),
        (filter(json!({"exact": {"nosuch": "x"}})), "/filters/0/exact/nosuch"),
        (filter(json!({"exact": {"data": "x"}})), "/filters/0/exact/data"),
        (filter(json!({"exact": {"type": 1}})), "/filters/0/exact/type"),
        (filter(json!({"prefix": {"type": ""}})), "/filters/0/prefix/type"),
        (filter(json!({"any": []})), "/filters/0/any"),
        (
            filter(json!({"all": [{"exact": {"type": "x"}}, {"any": [{"exact": {"no": "x"}}]}]})),
            "/filters/0/all/1/any/0/exact/no",
        ),
        (filter(json!({"not": [{"exact": {"type": "x"}}]})), "/filters/0/not"),
        (filter(deep), "/filters/0/not/not"),
        (json!({"name": "bad", "where": 1}), "/where"),
        (condition(""), "/where"),
        (condition("event.subject"), "/where"),
        (condition("1 + 1"), "/where"),
        (condition("event.nosuch == 'x'"), "/where"),
        (condition("event.subject == 1"), "/where"),
        (condition("data.a.exists(x, data.b.exists(y, x == y))"), "/where"),
        (condition("secret() == 1"), "/where"),
        (condition("event.subject == 'TN' &&"), "/where"),
        (condition(&format!("event.subject == '{}'", "x".repeat(1_000))), "/where"),
        (json!(["name", "bad"]), ""),
        (json!("bad"), ""),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_is_refused_and_changes_nothing() {
    let scene = Scene::start().await;
    scene.put(&json!({"name": "kept", "filters": [{"exact": {"subject": "LY"}}]})).await;
    let before = scene.list().await;
    for (body, path) in bad() {
        let (status, said) = scene.ask("sub.put", &body).await.expect_err(&body.to_string());
        assert_eq!(status, "400", "{body}: {said}");
        let code = if body.is_object() { json!("E-SCHEMA") } else { json!("E-JSON") };
        assert_eq!(said["code"], code, "{body}: {said}");
        let found = said["detail"][0]["path"].as_str().expect("a pointer");
        // The nesting is refused somewhere down the chain.
        let fits = if path.ends_with("not/not") { found.starts_with(path) } else { found == path };
        assert!(fits, "{body}: {found}, not {path}");
        assert_eq!(scene.list().await, before, "{body}");
    }
    let (status, said) = scene.ask("sub.del", &json!({"name": "nosuch"})).await.expect_err("is not there");
    assert_eq!((status.as_str(), &said["code"]), ("404", &json!("E-UNKNOWN")));
    let (status, _) = scene.ask("sub.del", &json!({})).await.expect_err("names none");
    assert_eq!(status, "400");
    assert_eq!(scene.list().await, before);
    let (_, why) = scene.publish(&report()).await;
    assert_eq!(why, "not-subscribed", "what was there is still in force");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_survives_a_crash_and_its_end_brings_the_default_back() {
    let mut scene = Scene::start().await;
    scene.put(&json!({"name": "libya", "filters": [{"exact": {"country": "LY"}}]})).await;
    scene.put(&json!({"name": "route", "filters": [{"exact": {"route": "WMED"}}], "where": "event.subject == 'TN'"})).await;
    let before = scene.list().await;
    assert_eq!(before.as_array().map(Vec::len), Some(2));
    scene.exchange.kill();
    scene.exchange.again().await;
    scene = Scene::around(scene.exchange).await;
    assert_eq!(scene.list().await, before);
    assert_eq!(scene.publish(&report()).await.1, "not-subscribed");
    // Replaced under its name, not added.
    scene.put(&json!({"name": "route", "filters": [{"exact": {"route": "CMED"}}]})).await;
    assert_eq!(scene.list().await.as_array().map(Vec::len), Some(2));
    assert_eq!(scene.publish(&report()).await.1, "subscribed");
    scene.ask("sub.del", &json!({"name": "route"})).await.expect("deletes");
    assert_eq!(scene.publish(&report()).await.1, "not-subscribed", "one is left");
    let left = scene.ask("sub.del", &json!({"name": "libya"})).await.expect("deletes");
    assert_eq!(left["subscriptions"].to_string(), scene.list().await.to_string());
    assert_eq!(scene.list().await, DEFAULT.parse::<Value>().expect("JSON"));
    assert_eq!(scene.publish(&report()).await.1, "subscribed", "the default is back");
    scene.exchange.kill();
    scene.exchange.again().await;
    scene = Scene::around(scene.exchange).await;
    assert_eq!(
        scene.list().await,
        DEFAULT.parse::<Value>().expect("JSON"),
        "an empty list is the default, also after a start"
    );
    assert_eq!(scene.publish(&report()).await.1, "subscribed");
}

/// A subscription is of one party: nobody else's list is touched, and a post has no say in its authority's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_party_cannot_set_anothers() {
    let scene = Scene::start().await;
    let nothing = json!({"name": "nothing", "filters": [{"exact": {"subject": "ZZ"}}]}).to_string();
    for (party, user) in [("it-moi", "system"), ("it-moi", "tn-01"), (SUBSCRIBER, "ne-01")] {
        let other = Watched::connect(&scene.exchange, party, user).await;
        for verb in ["sub.put", "sub.del", "sub.list"] {
            let (subject, reply) = (format!("ilo.svc.{SUBSCRIBER}.{verb}"), other.client.new_inbox());
            other.client.publish_with_reply(subject, reply, nothing.clone().into()).await.expect("sends");
        }
        other.refused(3).await;
    }
    assert_eq!(scene.list().await, DEFAULT.parse::<Value>().expect("JSON"));
    assert_eq!(scene.publish(&report()).await.1, "subscribed");
}
