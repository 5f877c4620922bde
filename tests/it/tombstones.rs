//! What was withdrawn, expired or released, seen in a replay: the feed keeps its numbers, and content goes and comes
//! only as the originator says.

use async_nats::Client;
use serde_json::{Value, json};

use super::harness::{Exchange, fresh_id, report};

struct Scene {
    exchange: Exchange,
    post: Client,
}

impl Scene {
    async fn start() -> Self {
        let exchange = Exchange::small("").await;
        let post = exchange.connect("it-moi", "tn-01").await;
        Self { exchange, post }
    }

    async fn publish(&self, message: &Value) -> Value {
        let kind = message["type"].as_str().expect("a type");
        let kind = kind.trim_start_matches("eu.ilonet.").trim_end_matches(".v1");
        let plane = if kind.starts_with("msg.") { "ctl" } else { "net" };
        let subject = format!("ilo.in.it-moi.tn-01.{plane}.{kind}.tn");
        let receipt = self.exchange.publish(&self.post, &subject, message.to_string().into_bytes()).await;
        assert_eq!(receipt["data"]["outcome"], "accepted", "{receipt}");
        receipt["data"].clone()
    }

    async fn replay(&self, party: &str, body: &Value) -> Vec<Value> {
        let client = self.exchange.connect(party, "system").await;
        let page = self.exchange.ask(&client, party, "replay", body).await.expect("answers");
        assert_eq!(page["done"], true);
        page["messages"].as_array().expect("a list").clone()
    }
}

fn to(audience: &str) -> Value {
    let mut message = report();
    message["audience"] = audience.into();
    message
}

/// A control message about an earlier one.
fn control(kind: &str, target: &Value, data: Value) -> Value {
    let mut message = target.clone();
    message["id"] = fresh_id().into();
    message["type"] = format!("eu.ilonet.msg.{kind}.v1").into();
    message["purpose"] = "ctl".into();
    message["data"] = data;
    message
}

fn reference(target: &Value) -> Value {
    json!({ "source": target["source"], "id": target["id"] })
}

fn ids(shown: &[Value]) -> Vec<&str> {
    shown.iter().map(|shown| shown["event"]["id"].as_str().unwrap_or("gone")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawn_message_leaves_its_place_and_nothing_else() {
    let mut scene = Scene::start().await;
    let mut messages = [to("fr-dnpaf"), to("fr-dnpaf"), to("fr-dnpaf"), to("fr-dnpaf")];
    messages[3]["expirytime"] =
        format!("{:.3}", jiff::Timestamp::now() + jiff::SignedDuration::from_secs(4)).into();
    for message in &messages {
        scene.publish(message).await;
    }
    let before = scene.replay("fr-dnpaf", &json!({})).await;
    assert_eq!(ids(&before), messages.each_ref().map(|message| message["id"].as_str().expect("an id")));
    let retraction = control(
        "retraction",
        &messages[0],
        json!({"target": reference(&messages[0]), "reason": "false-information"}),
    );
    let due = format!("{:.3}", jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24));
    let erasure = json!({"targets": [reference(&messages[1])], "ground": "unlawful", "dueBy": due});
    let erasure = control("erasure", &messages[1], erasure);
    scene.publish(&retraction).await;
    scene.publish(&erasure).await;
    let expired = async || {
        let shown = scene.replay("fr-dnpaf", &json!({})).await;
        (shown[3]["tombstone"]["why"] == "expired").then_some(shown)
    };
    let shown = super::harness::until("the expiry", expired).await;
    let [_, _, whole, _] = &messages;
    assert_eq!(ids(&shown)[..4], ["gone", "gone", whole["id"].as_str().expect("an id"), "gone"]);
    assert_eq!(
        ids(&shown)[4..],
        [retraction["id"].as_str(), erasure["id"].as_str()].map(|id| id.expect("an id"))
    );
    for (at, why) in [(0, "retracted"), (1, "erased"), (3, "expired")] {
        let (stone, was) = (&shown[at], &before[at]);
        for member in ["seq", "digest", "archived_at"] {
            assert_eq!(stone[member], was[member], "{member}");
        }
        assert!(stone["event"].is_null(), "{stone}");
        let when = &stone["tombstone"]["at"];
        let expected = json!({"why": why, "at": when, "source": messages[at]["source"], "id": messages[at]["id"],
            "type": messages[at]["type"]});
        assert_eq!(stone["tombstone"], expected);
        assert!(when.as_str() > was["archived_at"].as_str(), "{stone}");
    }
    // A question about content finds no withdrawn content, and one about the envelope finds what fits it.
    let by_type = json!({"filters": [{"exact": {"type": messages[0]["type"]}}]});
    assert_eq!(scene.replay("fr-dnpaf", &by_type).await, shown[..4]);
    let elsewhere = json!({"filters": [{"exact": {"subject": "LY"}}]});
    assert!(scene.replay("fr-dnpaf", &elsewhere).await.is_empty());
    scene.exchange.kill();
    scene.exchange.again().await;
    assert_eq!(scene.replay("fr-dnpaf", &json!({})).await, shown, "and so it stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_released_message_stands_where_it_was_released() {
    let scene = Scene::start().await;
    let early = to("fr-dnpaf");
    scene.publish(&early).await;
    let between: Vec<Value> = (0..3).map(|_| to("fr-dnpaf,de-bpol")).collect();
    for message in &between {
        scene.publish(message).await;
    }
    assert_eq!(scene.replay("de-bpol", &json!({})).await.len(), 3);
    let grant = json!({"target": reference(&early), "step": "grant", "newAudience": "de-bpol", "reason": "neighbours"});
    scene.publish(&control("release", &early, grant)).await;
    let shown = scene.replay("de-bpol", &json!({})).await;
    let early_id = early["id"].as_str().expect("an id");
    assert_eq!(ids(&shown)[3..], [early_id]);
    assert_eq!(shown[3]["seq"], 4);
    let by_id = json!({"filters": [{"exact": {"id": early_id}}]});
    assert_eq!(scene.replay("de-bpol", &by_id).await, shown[3..]);
    assert_eq!(scene.exchange.letters("de-bpol").await.len(), 4, "as in the mailbox");
}
