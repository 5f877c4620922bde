//! What a replay does not do: give what is no longer one's right, more at once or a second than one may, and pages that are
//! too large.

use serde_json::{Value, json};

use super::harness::{REPORT_SUBJECT, few_parties, fresh_id, until};
use super::replay::{READER, Scene, to_all};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_party_and_one_without_the_role_see_nothing_of_it_any_more() {
    let mut scene = Scene::start("").await;
    scene.publish(&[to_all("TN"), to_all("TN")]).await;
    let whole = scene.all(&json!({})).await;
    assert_eq!(whole.len(), 2);
    let file = scene.exchange.data.join("network.toml");
    let change = |what: &str, to: &str| {
        let registry = few_parties();
        let parts = registry.split("[[party]]").map(|block| {
            if block.contains(&format!("id = \"{READER}\"\n")) {
                replaced(block, what, to)
            } else {
                block.to_owned()
            }
        });
        std::fs::write(&file, parts.collect::<Vec<_>>().join("[[party]]")).expect("writes");
    };
    change("roles", "[\"supervisor\"]");
    assert!(scene.exchange.reload().await);
    let answer =
        scene.reader.request(format!("ilo.svc.{READER}.replay"), "{}".into()).await.expect("answers");
    let reply: Value = serde_json::from_slice(&answer.payload).expect("JSON");
    for (shown, before) in reply["messages"].as_array().expect("a list").iter().zip(&whole) {
        let stone = json!({"seq": before.seq, "archived_at": before.archived_at, "digest": before.digest,
            "tombstone": {"why": "not-entitled"}});
        assert_eq!(*shown, stone, "no hint of content");
    }
    assert_eq!((reply["messages"].as_array().map(Vec::len), &reply["done"]), (Some(2), &json!(true)));
    for subject in ["TN", "LY"] {
        let guess = json!({"filters": [{"exact": {"subject": subject}}]});
        let page = scene.raw(READER, &scene.reader, &guess).await.expect("answers");
        assert!(page.messages.is_empty(), "and nothing is learnt by asking");
    }
    change("participation", "\"suspended\"");
    assert!(scene.exchange.reload().await);
    let (status, said) = scene.raw(READER, &scene.reader, &json!({})).await.expect_err("is refused");
    assert_eq!((status.as_str(), &said["code"]), ("403", &json!("E-PARTY")));
    std::fs::write(&file, few_parties()).expect("writes");
    assert!(scene.exchange.reload().await);
    scene.reader = scene.exchange.connect(READER, "system").await;
    assert_eq!(scene.all(&json!({})).await, whole, "and everything again when the rights are back");
}

fn replaced(block: &str, member: &str, value: &str) -> String {
    let line = |line: &str| match line.split_once('=') {
        Some((name, _)) if name.trim() == member => format!("{member} = {value}"),
        _ => line.to_owned(),
    };
    block.lines().map(line).collect::<Vec<_>>().join("\n") + "\n"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_more_than_the_quota_waits_and_the_others_do_not() {
    let scene = Scene::start("[replay]\nbytes_per_second = 2000\n").await;
    scene.publish(&(0..20).map(|_| to_all("TN")).collect::<Vec<_>>()).await;
    let first = scene.page(&json!({"limit": 5})).await;
    assert!(first.size > 2_000, "more than a second's worth: {}", first.size);
    let (status, said) =
        scene.raw(READER, &scene.reader, &json!({"limit": 5})).await.expect_err("is refused");
    assert_eq!((status.as_str(), &said["code"]), ("429", &json!("E-QUOTA")));
    let wait = said["detail"][0]["retry_after_ms"].as_u64().expect("a number");
    assert!((1..60_000).contains(&wait), "{wait}");
    let german = scene.exchange.connect("de-bpol", "system").await;
    assert_eq!(scene.raw("de-bpol", &german, &json!({"limit": 1})).await.expect("its own").messages.len(), 1);
    let again =
        until("the quota", async || scene.raw(READER, &scene.reader, &json!({"limit": 5})).await.ok());
    assert_eq!(again.await.messages, first.messages);
    // A question that reads much and gives nothing is paid for too.
    let nothing = json!({"where": "data.routes.size() == 77"});
    until("the quota", async || scene.raw(READER, &scene.reader, &nothing).await.ok()).await;
    let (status, _) = scene.raw(READER, &scene.reader, &nothing).await.expect_err("is refused");
    assert_eq!(status, "429");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_pages_at_once_and_the_rest_is_told_to_come_again() {
    let scene = Scene::start("[replay]\nconcurrent = 1\n").await;
    scene.publish(&(0..40).map(|_| to_all("TN")).collect::<Vec<_>>()).await;
    let slow = json!({"where": "data.routes.size() == 77"});
    let pages = (0..24).map(|_| scene.raw(READER, &scene.reader, &slow));
    let answers = futures_util::future::join_all(pages).await;
    let good = answers.iter().filter(|answer| answer.is_ok()).count();
    let busy = answers.iter().filter_map(|answer| answer.as_ref().err());
    for (status, said) in busy {
        assert_eq!((status.as_str(), &said["code"]), ("429", &json!("E-BUSY")), "{said}");
        assert!(said["detail"][0]["retry_after_ms"].is_u64(), "{said}");
    }
    assert!((1..24).contains(&good), "{good} of 24 were read");
    assert_eq!(scene.all(&json!({})).await.len(), 40, "and then it is free again");
}

/// The largest messages are those of other planes; here the largest report.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_messages_pass_in_pages_of_the_largest_size() {
    let scene = Scene::start("").await;
    let blown_up = |message: &Value| {
        let text = message.to_string();
        format!("{}{}", text, " ".repeat(60_000 - text.len())).into_bytes()
    };
    let post = scene.exchange.connect("it-moi", "tn-01").await;
    let mut sent = Vec::new();
    for _ in 0..20 {
        let mut message = to_all("TN");
        message["id"] = fresh_id().into();
        let bytes = blown_up(&message);
        let receipt = scene.exchange.publish(&post, REPORT_SUBJECT, bytes.clone()).await;
        assert_eq!(receipt["data"]["outcome"], "accepted", "{receipt}");
        sent.push(bytes);
    }
    let page = scene.page(&json!({"limit": 1000})).await;
    assert_eq!(page.messages.len(), 8, "as many as fit");
    assert!((470_000..=524_288).contains(&page.size), "{}", page.size);
    let all = scene.all(&json!({"limit": 1000})).await;
    assert_eq!(all.into_iter().map(|shown| shown.bytes).collect::<Vec<_>>(), sent);
}
