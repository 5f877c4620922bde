//! SIGHUP: what is changed holds for the next message, a bad change changes nothing, and nobody is cut off.

use std::time::Duration;

use serde_json::{Value, json};

use super::auditor::mailbox;
use super::harness::{
    Exchange, REPORT_SUBJECT, example, fresh_id, next_letter, queue, receipt, shifted, stream_info, until,
};
use super::load::message;

/// Publishes a message made from the report; the receipt's data.
async fn send(exchange: &Exchange, party: &str, post: &str, audience: &str) -> Value {
    let client = exchange.connect(party, post).await;
    let subject = format!("ilo.in.{party}.{post}.net.flow.observation.tn");
    let bytes = message(party, post, audience, true).to_string().into_bytes();
    exchange.publish(&client, &subject, bytes).await["data"].clone()
}

/// Changes a file of the data directory.
fn edit(exchange: &Exchange, file: &str, change: impl FnOnce(String) -> String) {
    let path = exchange.data.join(file);
    let text = std::fs::read_to_string(&path).expect("readable");
    std::fs::write(&path, change(text)).expect("written");
}

async fn metric(exchange: &Exchange) -> bool {
    let (_, metrics) = exchange.get("/metrics").await;
    assert!(metrics.contains("liaison_config_last_reload_successful "), "{metrics}");
    metrics.contains("liaison_config_last_reload_successful 1\n")
}

/// `es-pn` takes part in this way.
fn takes_part(registry: &str, how: &str) -> String {
    let blocks = registry.split("[[party]]").skip(1).map(|block| {
        let lines = block.lines().map(|line| {
            if block.contains("id = \"es-pn\"") && line.starts_with("participation") {
                format!("participation = \"{how}\"\n")
            } else {
                format!("{line}\n")
            }
        });
        format!("[[party]]{}", lines.collect::<String>())
    });
    blocks.collect()
}

/// What waits in its mailbox is no delivery to a suspended party either, also not behind a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_mailbox_of_a_suspended_party_stands_still() {
    let mut exchange = Exchange::small("").await;
    assert_eq!(send(&exchange, "it-moi", "tn-01", "es-pn").await["outcome"], "accepted");
    let operator = exchange.operator().await;
    until("the letter in the mailbox", async || {
        (stream_info(&operator, "MBOX_ES_PN").await["state"]["messages"] == 1).then_some(())
    })
    .await;
    let system = exchange.connect("es-pn", "system").await;
    let second = Duration::from_secs(1);
    edit(&exchange, "network.toml", |text| takes_part(&text, "suspended"));
    assert!(exchange.reload().await);
    assert!(next_letter(&system, "es-pn", second).await.is_none(), "read while suspended");
    drop((system, operator));
    exchange.kill();
    exchange.again().await;
    let system = exchange.connect("es-pn", "system").await;
    assert!(next_letter(&system, "es-pn", second).await.is_none(), "read behind a restart");
    edit(&exchange, "network.toml", |text| takes_part(&text, "member-state"));
    assert!(exchange.reload().await);
    assert!(next_letter(&system, "es-pn", 10 * second).await.is_some(), "it waited");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_party_is_suspended_and_comes_back() {
    let exchange = Exchange::small("").await;
    assert_eq!(send(&exchange, "es-pn", "sn-02", "fr-dnpaf").await["outcome"], "accepted");
    edit(&exchange, "network.toml", |text| takes_part(&text, "suspended"));
    assert!(exchange.reload().await);
    let file = exchange.data.join("refused.json");
    std::fs::write(&file, message("es-pn", "sn-02", "fr-dnpaf", true).to_string()).expect("written");
    let file = file.to_str().expect("UTF-8");
    let published = exchange.run(&["publish", "--as", "es-pn", "--post", "sn-02", file]);
    assert_eq!(published.status.code(), Some(65), "{published:?}");
    let receipt: Value = serde_json::from_slice(&published.stdout).expect("a receipt");
    assert_eq!(receipt["data"]["code"], "E-PARTY", "{receipt}");
    let system = exchange.connect("es-pn", "system").await;
    let asked = exchange.ask(&system, "es-pn", "sub.list", &json!({})).await;
    assert_eq!(asked.expect_err("no service either").0, "403");
    assert_eq!(send(&exchange, "it-moi", "tn-01", "@ms").await["outcome"], "accepted");
    assert_eq!(mailbox(&exchange, "fr-dnpaf", 2).await.len(), 2);
    edit(&exchange, "network.toml", |text| takes_part(&text, "member-state"));
    assert!(exchange.reload().await);
    assert!(exchange.ask(&system, "es-pn", "sub.list", &json!({})).await.is_ok());
    assert_eq!(send(&exchange, "es-pn", "sn-02", "fr-dnpaf").await["outcome"], "accepted");
    let after = send(&exchange, "it-moi", "tn-01", "@ms").await;
    assert_eq!(after["outcome"], "accepted");
    let letters = mailbox(&exchange, "es-pn", 1).await;
    assert_eq!(letters.len(), 1, "nothing while it was suspended");
    assert_eq!(letters[0].id(), after["target"]["id"]);
}

const NEW_PARTY: &str = "
[[party]]
id = \"pl-new\"
name = \"New\"
country = \"PL\"
participation = \"member-state\"
roles = [\"deployer\", \"lea\"]
posts = [\"tn-09\"]
";

/// The new party publishes and receives; `other` was connected before and still is.
async fn takes_part_at_once(exchange: &Exchange, other: &async_nats::Client) {
    let receipt = send(exchange, "pl-new", "tn-09", "de-bpol").await;
    assert_eq!(receipt["outcome"], "accepted", "{receipt}");
    let bytes = message("it-moi", "tn-01", "pl-new", true).to_string().into_bytes();
    let receipt = exchange.publish(other, REPORT_SUBJECT, bytes).await;
    assert_eq!(receipt["data"]["outcome"], "accepted", "{receipt}");
    assert_eq!(mailbox(exchange, "pl-new", 1).await.len(), 1);
    let connects = other.statistics().connects.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(connects, 1, "other connections live on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_party_takes_part_and_nobody_is_cut_off() {
    let exchange = Exchange::small("").await;
    let other = exchange.connect("it-moi", "tn-01").await;
    edit(&exchange, "network.toml", |text| text + NEW_PARTY);
    assert!(exchange.reload().await);
    takes_part_at_once(&exchange, &other).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_party_takes_part_beside_a_nats_of_its_own_too() {
    let exchange = Exchange::apart("").await;
    let other = exchange.connect("it-moi", "tn-01").await;
    edit(&exchange, "network.toml", |text| text + NEW_PARTY);
    exchange.reload_server().await;
    assert!(exchange.reload().await, "{}", exchange.log());
    takes_part_at_once(&exchange, &other).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_case_plane_and_the_rate_follow_the_configuration() {
    let exchange = Exchange::small("").await;
    let case = example("valid/07-case-identity-request.json");
    let subject = case["natsSubject"].as_str().expect("a subject").to_owned();
    let client = exchange.connect("nl-dtv", "system").await;
    let fresh = || {
        let mut message = shifted(case["message"].clone());
        message["id"] = fresh_id().into();
        (message["id"].as_str().expect("an id").to_owned(), message.to_string().into_bytes())
    };
    let publish = async || exchange.publish(&client, &subject, fresh().1).await["data"].clone();
    assert_eq!(publish().await["code"], "E-PLANE");
    edit(&exchange, "liaison.toml", |_| "[planes]\ncase = true\n".to_owned());
    assert!(exchange.reload().await);
    let (id, bytes) = fresh();
    let accepted = exchange.publish(&client, &subject, bytes.clone()).await;
    assert_eq!(accepted["data"]["outcome"], "accepted", "{accepted}");
    edit(&exchange, "liaison.toml", |_| "[rate]\nper_second = 0.001\nburst = 1\n".to_owned());
    assert!(exchange.reload().await);
    assert_eq!(publish().await["code"], "E-PLANE", "off again");
    // What was accepted stays so: the publisher sends again because it may have missed the receipt.
    queue(&client, &subject, bytes.clone()).await;
    until("the answer to a duplicate", async || {
        let receipt = receipt(&client, &subject, &id, &bytes).await;
        (receipt["data"]["outcome"] == "duplicate").then_some(())
    })
    .await;
    assert_eq!(send(&exchange, "fr-dnpaf", "ne-02", "de-bpol").await["outcome"], "accepted");
    assert_eq!(send(&exchange, "fr-dnpaf", "ne-02", "de-bpol").await["code"], "E-RATE");
    edit(&exchange, "liaison.toml", |_| "[rate]\nper_second = 100000\nburst = 100\n".to_owned());
    assert!(exchange.reload().await);
    assert_eq!(send(&exchange, "fr-dnpaf", "ne-02", "de-bpol").await["outcome"], "accepted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_reload_leaves_the_old_in_force_and_says_so() {
    let exchange = Exchange::small("").await;
    std::fs::create_dir(exchange.data.join("types")).expect("a directory");
    std::fs::write(exchange.data.join("types/bad.json"), "{\"type\": 7}").expect("written");
    let registry = std::fs::read_to_string(exchange.data.join("network.toml")).expect("readable");
    let faults: [(&str, String, &str); 4] = [
        ("network.toml", registry.replace("country = \"IT\"", "county = \"IT\""), "county"),
        ("network.toml", "[[party]\n".to_owned(), "network.toml"),
        ("liaison.toml", "[planes]\ncases = true\n".to_owned(), "cases"),
        ("liaison.toml", "[schemas]\ndirectory = \"types\"\n".to_owned(), "bad.json"),
    ];
    assert!(metric(&exchange).await);
    for (file, text, words) in faults {
        let good = std::fs::read_to_string(exchange.data.join(file)).expect("readable");
        edit(&exchange, file, |_| text);
        let logged = exchange.log().len();
        assert!(!exchange.reload().await, "{words}");
        let log = exchange.log()[logged..].to_owned();
        assert!(log.contains("not reloaded") && log.contains(words), "{words}: {log}");
        assert!(!metric(&exchange).await, "{words}");
        assert_eq!(send(&exchange, "it-moi", "tn-01", "de-bpol").await["outcome"], "accepted", "{words}");
        edit(&exchange, file, |_| good);
        assert!(exchange.reload().await);
        assert!(metric(&exchange).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_version_of_a_type_is_taken_after_a_reload() {
    let exchange = Exchange::small("").await;
    let client = exchange.connect("it-moi", "tn-01").await;
    let second = async || {
        let mut message = message("it-moi", "tn-01", "de-bpol", true);
        message["type"] = "eu.ilonet.flow.observation.v2".into();
        message["data"]["title"] = "A title as the second version asks for it".into();
        exchange.publish(&client, REPORT_SUBJECT, message.to_string().into_bytes()).await["data"].clone()
    };
    assert_eq!(second().await["code"], "E-TYPE");
    let shown = exchange.run(&["schema", "show", "flow.observation"]);
    let text = String::from_utf8(shown.stdout).expect("UTF-8");
    assert!(text.contains("/v1/flow.observation.json"), "{text}");
    std::fs::create_dir(exchange.data.join("types")).expect("a directory");
    let text = text.replace("/v1/flow.observation.json", "/v2/flow.observation.json");
    let text = text.replace("\"defs.json#", "\"https://ilonet.example/schemas/v1/defs.json#");
    std::fs::write(exchange.data.join("types/flow.observation.json"), text).expect("written");
    edit(&exchange, "liaison.toml", |_| "[schemas]\ndirectory = \"types\"\n".to_owned());
    assert!(exchange.reload().await, "{}", exchange.log());
    let accepted = second().await;
    assert_eq!(accepted["outcome"], "accepted", "{accepted}");
    assert_eq!(
        send(&exchange, "it-moi", "tn-01", "de-bpol").await["outcome"],
        "accepted",
        "the first lives on"
    );
}
