//! Replay, asked as any NATS client would: the feed again, byte for byte, page by page, and never more than the feed.

use std::collections::BTreeMap;

use async_nats::Client;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::harness::{Dice, Exchange, Letter, audit_feed, hex, report, sha256, sha256_raw};

pub const READER: &str = "fr-dnpaf";
const LIMITS: &str = "[rate]\nper_second = 1e6\nburst = 1e6\n";

/// One message of a page, with the very bytes of its event.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    pub seq: u64,
    pub digest: String,
    pub archived_at: String,
    pub bytes: Vec<u8>,
}

#[derive(Debug, Clone)]
pub struct Page {
    pub messages: Vec<Shown>,
    cursor: String,
    done: bool,
    head: u64,
    pub size: usize,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Reply<'a> {
    #[serde(borrow)]
    messages: Vec<&'a RawValue>,
    cursor: String,
    done: bool,
    head: u64,
}

/// As a careful client: `event` is the last member of its object, and what stands there are the received bytes.
fn page(payload: &[u8]) -> Page {
    let reply: Reply<'_> = serde_json::from_slice(payload).expect("a page");
    let shown = |message: &&RawValue| {
        let text = message.get();
        let value: Value = serde_json::from_str(text).expect("JSON");
        assert!(value["tombstone"].is_null() && value["event"].is_object(), "{text}");
        let (_, event) = text.split_once(",\"event\":").expect("an event");
        Shown {
            seq: value["seq"].as_u64().expect("a number"),
            digest: value["digest"].as_str().expect("a digest").to_owned(),
            archived_at: value["archived_at"].as_str().expect("a time").to_owned(),
            bytes: event.strip_suffix('}').expect("an end").as_bytes().to_vec(),
        }
    };
    let messages = reply.messages.iter().map(shown).collect();
    Page { messages, cursor: reply.cursor, done: reply.done, head: reply.head, size: payload.len() }
}

pub struct Scene {
    pub exchange: Exchange,
    pub reader: Client,
}

impl Scene {
    pub async fn start(config: &str) -> Self {
        let exchange = Exchange::small(&format!("{LIMITS}{config}")).await;
        let reader = exchange.connect(READER, "system").await;
        Self { exchange, reader }
    }

    /// Publishes these and waits until all are archived.
    pub async fn publish(&self, messages: &[Value]) {
        let post = self.exchange.connect("it-moi", "tn-01").await;
        for message in messages {
            let bytes = format!(" {}\n", serde_json::to_string_pretty(message).expect("writes"));
            let country = message["subject"].as_str().expect("a country").to_lowercase();
            let subject = format!("ilo.in.it-moi.tn-01.net.flow.observation.{country}");
            let receipt = self.exchange.publish(&post, &subject, bytes.into_bytes()).await;
            assert_eq!(receipt["data"]["outcome"], "accepted", "{receipt}");
        }
    }

    pub async fn raw(&self, party: &str, client: &Client, body: &Value) -> Result<Page, (String, Value)> {
        let answer = client.request(format!("ilo.svc.{party}.replay"), body.to_string().into()).await;
        let answer = answer.expect("answers");
        match answer.headers.as_ref().and_then(|headers| headers.get("Nats-Service-Error-Code")) {
            Some(code) => {
                Err((code.to_string(), serde_json::from_slice(&answer.payload).expect("an answer in JSON")))
            }
            None => Ok(page(&answer.payload)),
        }
    }

    pub async fn page(&self, body: &Value) -> Page {
        self.raw(READER, &self.reader, body).await.unwrap_or_else(|refused| panic!("{body}: {refused:?}"))
    }

    /// Everything, page by page.
    pub async fn all(&self, body: &Value) -> Vec<Shown> {
        let mut body = body.clone();
        let mut all: Vec<Shown> = Vec::new();
        loop {
            let page = self.page(&body).await;
            let last = all.last().map_or(0, |last| last.seq);
            assert!(
                page.messages
                    .iter()
                    .fold((true, last), |(rising, last), shown| { (rising && shown.seq > last, shown.seq) })
                    .0,
                "in the order of the feed"
            );
            all.extend(page.messages);
            if page.done {
                return all;
            }
            assert_ne!(body["after"], json!(page.cursor), "a page goes on");
            body["after"] = page.cursor.into();
        }
    }
}

/// A report to all, in a country of its own choice.
pub fn to_all(country: &str) -> Value {
    let mut message = report();
    message["audience"] = "@network".into();
    message["subject"] = country.into();
    message
}

fn agree(shown: &[Shown], letters: &[Letter]) {
    let of_letter = |letter: &Letter| Shown {
        seq: letter.feed_seq(),
        digest: letter.header("Ilo-Digest").to_owned(),
        archived_at: letter.header("Ilo-Archived-At").to_owned(),
        bytes: letter.payload.clone(),
    };
    let letters: Vec<Shown> = letters.iter().map(of_letter).collect();
    assert_eq!(shown, letters);
    for shown in shown {
        assert_eq!(shown.digest, format!("sha256:{}", sha256(&shown.bytes)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_is_the_mailbox_again_whatever_the_pages_and_across_a_restart() {
    let mut scene = Scene::start("").await;
    let empty = scene.page(&json!({})).await;
    assert_eq!((empty.messages.len(), empty.done, empty.head), (0, true, 0));
    let reports: Vec<Value> = (0..300).map(|_| to_all("TN")).collect();
    scene.publish(&reports).await;
    let first = scene.page(&json!({ "limit": 7 })).await;
    assert_eq!((first.messages.len(), first.done, first.head), (7, false, 300));
    let whole = scene.all(&json!({})).await;
    for body in [json!({"limit": 1000}), json!({"limit": 7}), json!({"max_bytes": 9000}), json!({"limit": 1})]
    {
        assert_eq!(scene.all(&body).await, whole, "{body}");
    }
    let (once, twice) = (scene.page(&json!({"limit": 50})).await, scene.page(&json!({"limit": 50})).await);
    assert_eq!((once.messages, once.cursor), (twice.messages, twice.cursor));
    for body in
        [json!({"max_bytes": 9000}), json!({"max_bytes": 100_000, "limit": 1000}), json!({"limit": 1000})]
    {
        let page = scene.page(&body).await;
        assert!(
            page.size <= body["max_bytes"].as_u64().unwrap_or(524_288) as usize,
            "{} for {body}",
            page.size
        );
        assert!(page.messages.len() > 1, "and not much less");
    }
    assert_eq!(scene.page(&json!({"max_bytes": 1})).await.messages, whole[..1], "at least one");

    let behind = scene.page(&json!({ "limit": 120 })).await.cursor;
    scene.exchange.signal("TERM");
    assert_eq!(scene.exchange.wait(), Some(0));
    scene.exchange.again().await;
    scene.reader = scene.exchange.connect(READER, "system").await;
    assert_eq!(scene.all(&json!({ "after": behind })).await, whole[120..]);
    assert_eq!(scene.all(&json!({})).await, whole);
    scene.exchange.kill();
    scene.exchange.again().await;
    scene.reader = scene.exchange.connect(READER, "system").await;
    assert_eq!(scene.all(&json!({})).await, whole);

    // What comes later is behind the old end.
    let mut end = scene.page(&json!({})).await;
    while !end.done {
        end = scene.page(&json!({ "after": end.cursor })).await;
    }
    let nothing = scene.page(&json!({ "after": end.cursor })).await;
    assert_eq!((nothing.messages.len(), nothing.done, &nothing.cursor), (0, true, &end.cursor));
    scene.publish(&[to_all("TN")]).await;
    let fresh = scene.page(&json!({ "after": end.cursor })).await;
    assert_eq!(fresh.messages.iter().map(|shown| shown.seq).collect::<Vec<_>>(), [301]);
    assert_eq!((fresh.done, fresh.head), (true, 301), "the last page says that it is the last");

    let letters = scene.exchange.letters(READER).await;
    audit_feed(&letters);
    let whole = scene.all(&json!({ "limit": 1000 })).await;
    agree(&whole[..301], &letters);
    let running = whole[..301]
        .iter()
        .fold([0_u8; 32], |running, shown| sha256_raw(&[running, sha256_raw(&shown.bytes)].concat()));
    assert_eq!(hex(&running), letters[300].header("Ilo-Feed-Digest"), "the running digest recomputes");
    assert!(
        scene
            .raw("it-moi", &scene.exchange.connect("it-moi", "system").await, &json!({}))
            .await
            .expect("answers")
            .messages
            .is_empty(),
        "not to its own originator"
    );
}

/// The messages of the tests below: some of each kind of difference that a filter can see.
fn various(dice: &mut Dice, count: usize) -> Vec<Value> {
    let countries = ["TN", "LY", "NE", "TR"];
    let routes = [json!(["CMED"]), json!(["WMED", "CMED"]), json!(["EMED"])];
    (0..count)
        .map(|_| {
            let mut message = to_all(countries[dice.below(4) as usize]);
            message["priority"] = ["routine", "priority", "urgent"][dice.below(3) as usize].into();
            message["data"]["routes"] = routes[dice.below(3) as usize].clone();
            message
        })
        .collect()
}

/// Filters with the plain meaning of each, written down here anew.
#[expect(clippy::type_complexity, reason = "a table")]
fn questions() -> Vec<(Value, fn(&Value) -> bool)> {
    fn routes(event: &Value, route: &str) -> bool {
        event["data"]["routes"].as_array().expect("a list").iter().any(|known| known == route)
    }
    vec![
        (json!({"filters": []}), |_| true),
        (json!({"filters": [{"exact": {"subject": "TN"}}]}), |event| event["subject"] == "TN"),
        (json!({"filters": [{"exact": {"subject": "TN"}}, {"exact": {"priority": "urgent"}}]}), |event| {
            event["subject"] == "TN" && event["priority"] == "urgent"
        }),
        (json!({"filters": [{"exact": {"route": "WMED"}}]}), |event| routes(event, "WMED")),
        (json!({"filters": [{"not": {"exact": {"route": "CMED"}}}]}), |event| !routes(event, "CMED")),
        (
            json!({"filters": [{"any": [{"exact": {"subject": "LY"}}, {"exact": {"route": "EMED"}}]}]}),
            |event| event["subject"] == "LY" || routes(event, "EMED"),
        ),
        (json!({"filters": [{"prefix": {"type": "eu.ilonet.flow."}}]}), |_| true),
        (json!({"filters": [{"exact": {"type": "eu.ilonet.flow.route.v1"}}]}), |_| false),
        (json!({"filters": [{"suffix": {"source": "/post/tn-01"}}]}), |_| true),
        (json!({"filters": [{"exact": {"originator": "de-bpol"}}]}), |_| false),
        (json!({"where": "event.subject == 'NE'"}), |event| event["subject"] == "NE"),
        (json!({"where": "event.subject == 'NE' || 'EMED' in data.routes"}), |event| {
            event["subject"] == "NE" || routes(event, "EMED")
        }),
        (
            json!({"where": "event.priority == 'urgent'", "filters": [{"not": {"exact": {"subject": "TR"}}}]}),
            |event| event["priority"] == "urgent" && event["subject"] != "TR",
        ),
        (json!({"where": "data.routes.size() == 2"}), |event| {
            event["data"]["routes"].as_array().is_some_and(|routes| routes.len() == 2)
        }),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_conditions_and_times_pick_what_an_oracle_picks() {
    let mut dice = Dice::new("replay filters");
    let scene = Scene::start("").await;
    scene.publish(&various(&mut dice, 120)).await;
    let whole = scene.all(&json!({})).await;
    assert_eq!(whole.len(), 120);
    let events: BTreeMap<u64, Value> =
        whole.iter().map(|shown| (shown.seq, serde_json::from_slice(&shown.bytes).expect("JSON"))).collect();
    let asked = |mut body: Value, limit: u64| {
        body["limit"] = limit.into();
        body
    };
    for (body, oracle) in questions() {
        let expected: Vec<&Shown> = whole.iter().filter(|shown| oracle(&events[&shown.seq])).collect();
        for limit in [1000, 9] {
            let found = scene.all(&asked(body.clone(), limit)).await;
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{body} {limit}");
        }
    }
    // `from` is in it, `to` is not.
    let (from, to) = (&whole[30].archived_at, &whole[80].archived_at);
    let period = json!({"from": from, "to": to, "filters": [{"exact": {"subject": "TN"}}]});
    let in_it = |shown: &&Shown| shown.archived_at >= *from && shown.archived_at < *to;
    let expected: Vec<&Shown> =
        whole.iter().filter(in_it).filter(|shown| events[&shown.seq]["subject"] == "TN").collect();
    assert_eq!(scene.all(&period).await.iter().collect::<Vec<_>>(), expected);
    assert!(scene.all(&json!({"to": whole[0].archived_at})).await.is_empty());
    assert!(scene.all(&json!({"from": "2200-01-01T00:00:00Z"})).await.is_empty());
    assert_eq!(scene.all(&json!({"from": whole[0].archived_at})).await.len(), 120);
    // A page is cut where it is, and the question may change with the next.
    let first = scene.page(&json!({"filters": [{"exact": {"subject": "LY"}}], "limit": 3})).await;
    let rest = scene.all(&json!({"after": first.cursor})).await;
    let upto = first.messages.last().expect("three").seq;
    assert_eq!(
        rest.iter().collect::<Vec<_>>(),
        whole.iter().filter(|shown| shown.seq > upto).collect::<Vec<_>>()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_is_refused_with_its_place() {
    let scene = Scene::start("").await;
    scene.publish(&[to_all("TN"), to_all("TN")]).await;
    let good = scene.page(&json!({"limit": 1})).await.cursor;
    let german = scene.exchange.connect("de-bpol", "system").await;
    let theirs = scene.raw("de-bpol", &german, &json!({"limit": 1})).await.expect("answers").cursor;
    let long = "x".repeat(70_000);
    let deep = (0..12).fold(json!({"exact": {"id": "x"}}), |inner, _| json!({ "not": inner }));
    for (body, code, path) in [
        (json!({"limt": 5}), "E-REQUEST", "/limt"),
        (json!({"a/b~c": 5}), "E-REQUEST", "/a~1b~0c"),
        (json!({"limit": 0}), "E-REQUEST", "/limit"),
        (json!({"limit": 1001}), "E-REQUEST", "/limit"),
        (json!({"limit": -1}), "E-REQUEST", "/limit"),
        (json!({"limit": 1.5}), "E-REQUEST", "/limit"),
        (json!({"limit": "5"}), "E-REQUEST", "/limit"),
        (json!({"limit": null}), "E-REQUEST", "/limit"),
        (json!({"max_bytes": 0}), "E-REQUEST", "/max_bytes"),
        (json!({"max_bytes": 524_289}), "E-REQUEST", "/max_bytes"),
        (json!({"from": "yesterday"}), "E-REQUEST", "/from"),
        (json!({"from": "2026-01-01"}), "E-REQUEST", "/from"),
        (json!({"from": 5}), "E-REQUEST", "/from"),
        (json!({"to": "2026-01-01T00:00:00"}), "E-REQUEST", "/to"),
        (json!({"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}), "E-REQUEST", "/to"),
        (json!({"after": theirs}), "E-REQUEST", "/after"),
        (json!({"after": ""}), "E-REQUEST", "/after"),
        (json!({"after": 1}), "E-REQUEST", "/after"),
        (json!({"after": format!("{good}A")}), "E-REQUEST", "/after"),
        (json!({"after": good.to_lowercase()}), "E-REQUEST", "/after"),
        (json!({"filters": {}}), "E-SCHEMA", "/filters"),
        (json!({"filters": [{"exact": {"nosuch": "x"}}]}), "E-SCHEMA", "/filters/0/exact/nosuch"),
        (json!({"filters": [{"exact": {"type": "x"}}, {"sql": "x"}]}), "E-SCHEMA", "/filters/1"),
        (json!({"filters": [deep]}), "E-SCHEMA", "/filters/0/not/not/not/not/not/not/not/not/not"),
        (json!({"where": 1}), "E-SCHEMA", "/where"),
        (json!({"where": "event.type"}), "E-SCHEMA", "/where"),
        (json!({"where": "event.type == "}), "E-SCHEMA", "/where"),
        (json!({"where": long}), "E-REQUEST", ""),
    ] {
        let (status, said) = scene.raw(READER, &scene.reader, &body).await.expect_err("is refused");
        let found = (status.as_str(), said["code"].as_str(), said["detail"][0]["path"].as_str());
        let shown: String = body.to_string().chars().take(100).collect();
        assert_eq!(found, ("400", Some(code), Some(path)), "{shown}: {said}");
    }
    for body in ["{", "[]", "7", "{\"limit\":1,\"limit\":2}", "\u{feff}{}"] {
        let answer =
            scene.reader.request(format!("ilo.svc.{READER}.replay"), body.into()).await.expect("answers");
        let said: Value = serde_json::from_slice(&answer.payload).expect("JSON");
        assert_eq!(said["code"], "E-JSON", "{body}");
    }
    assert_eq!(scene.page(&json!({"after": good})).await.messages.len(), 1, "and the cursor was good");
    // Nobody asks in another's name: the server lets the question go nowhere.
    let foreign = scene.reader.request("ilo.svc.de-bpol.replay", "{}".into()).await;
    assert!(foreign.is_err());
}
