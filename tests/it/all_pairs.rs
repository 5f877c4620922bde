//! Every party of the demo network against every other: subjects, mailboxes, receipts, consumers, streams, inboxes.
//!
//! The server itself must refuse each attempt, by name. `isolation` shows for one pair that nothing comes of it and that
//! the victim works on; here nobody is left out, neither an authority's own systems nor its officers.

use std::collections::BTreeMap;

use super::harness::{Exchange, api, stream, stream_info, streams};
use super::rawlink::Raw;

/// A party and its posts, as the registry file says.
struct Party {
    id: String,
    posts: Vec<String>,
}

fn parties(exchange: &Exchange) -> Vec<Party> {
    let text = std::fs::read_to_string(exchange.data.join("network.toml")).expect("a registry");
    let file: toml::Value = toml::from_str(&text).expect("TOML");
    let texts = |value: &toml::Value| -> Vec<String> {
        let list = value.as_array().expect("a list").iter();
        list.map(|item| item.as_str().expect("a text").to_owned()).collect()
    };
    let all = file["party"].as_array().expect("parties").iter();
    all.map(|party| Party {
        id: party["id"].as_str().expect("an id").to_owned(),
        posts: texts(&party["posts"]),
    })
    .collect()
}

/// Where nobody but this party, or the broker, may publish. `user` is one of its users.
fn closed(id: &str, user: &str) -> Vec<String> {
    let (intake, mailbox) = (stream("IN", id), stream("MBOX", id));
    let mut all = vec![
        format!("ilo.in.{id}.{user}.net.flow.observation.tn"),
        format!("ilo.svc.{id}.sub.put"),
        format!("ilo.svc.{id}.replay"),
        format!("$JS.API.DIRECT.GET.RCPT.ilo.rcpt.{id}.{user}.x"),
    ];
    all.extend(broker_only(id, user));
    let calls = [format!("CONSUMER.MSG.NEXT.{mailbox}.main"), format!("CONSUMER.INFO.{mailbox}.main")];
    all.extend(calls.iter().map(|call| format!("$JS.API.{call}")));
    all.push(format!("$JS.ACK.{mailbox}.main.1.1.1.1.1"));
    all.push(format!("$JS.API.CONSUMER.MSG.NEXT.{intake}.intake"));
    all
}

/// Where not even the party itself may publish.
fn broker_only(id: &str, user: &str) -> Vec<String> {
    let (intake, mailbox) = (stream("IN", id), stream("MBOX", id));
    let mut all = vec![
        format!("ilo.out.{id}.net.flow.observation.tn"),
        format!("ilo.rcpt.{id}.{user}.x"),
        format!("$KV.SUBS.{id}"),
        format!("_INBOX_{id}-{user}.x"),
        format!("$JS.ACK.{intake}.intake.1.1.1.1.1"),
        format!("$JS.API.CONSUMER.DELETE.{intake}.intake"),
        format!("$JS.API.CONSUMER.CREATE.{mailbox}.mine"),
        format!("$JS.API.CONSUMER.DELETE.{mailbox}.main"),
        format!("$JS.API.CONSUMER.LIST.{mailbox}"),
    ];
    for name in [&intake, &mailbox] {
        for call in ["INFO", "UPDATE", "PURGE", "DELETE", "MSG.GET", "MSG.DELETE", "SNAPSHOT"] {
            all.push(format!("$JS.API.STREAM.{call}.{name}"));
        }
    }
    all
}

/// What nobody but this party, or the broker, may hear.
fn deaf_to(id: &str, user: &str) -> Vec<String> {
    vec![
        format!("ilo.in.{id}.>"),
        format!("ilo.out.{id}.>"),
        format!("ilo.svc.{id}.>"),
        format!("ilo.rcpt.{id}.{user}.>"),
        format!("_INBOX_{id}-{user}.>"),
        format!("$JS.ACK.{}.>", stream("MBOX", id)),
    ]
}

/// Tries all and wants each refused by name; how many.
async fn refused(raw: &mut Raw, who: &str, publish: &[String], hear: &[String]) -> usize {
    for subject in publish {
        raw.publish(subject.as_bytes(), None, b"{}").await;
    }
    for (number, subject) in hear.iter().enumerate() {
        raw.subscribe(subject, number + 1).await;
    }
    let said = raw.fence().await;
    let wanted = publish.iter().map(|subject| ("publish", subject));
    let wanted = wanted.chain(hear.iter().map(|subject| ("subscription", subject)));
    // In order, one by one: a word too few or too many is somebody let through, or somebody refused his own.
    for (words, (what, subject)) in said.iter().zip(wanted) {
        let words = words.to_lowercase();
        let named = words.contains(&format!("for {what} to \"{}\"", subject.to_lowercase()));
        assert!(words.contains("permissions violation") && named, "{who}, {what} {subject}: {words}");
    }
    assert_eq!(said.len(), publish.len() + hear.len(), "{who}: {:?}", said.last());
    said.len()
}

/// Messages and last sequence of every stream but the bucket, which the broker itself touches.
async fn state(operator: &async_nats::Client) -> BTreeMap<String, (u64, u64)> {
    let mut all = BTreeMap::new();
    for name in streams(operator).await.into_iter().filter(|name| name != "KV_SUBS") {
        let info = stream_info(operator, &name).await;
        let number = |field: &str| info["state"][field].as_u64().expect("a number");
        all.insert(name, (number("messages"), number("last_seq")));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_reaches_anything_of_anybody_else() {
    let exchange = Exchange::start().await;
    let (operator, all) = (exchange.operator().await, parties(&exchange));
    assert!(all.len() > 50, "the whole network");
    let before = state(&operator).await;
    let (mut attempts, mut users) = (0, 0);
    for attacker in &all {
        for user in std::iter::once("system").chain(attacker.posts.iter().map(String::as_str)) {
            users += 1;
            let who = format!("{} {user}", attacker.id);
            let mut raw = Raw::connect(&exchange, &attacker.id, user).await;
            for victim in all.iter().filter(|victim| victim.id != attacker.id) {
                let whose = victim.posts.first().map_or("system", String::as_str);
                let (publish, hear) = (closed(&victim.id, whose), deaf_to(&victim.id, whose));
                attempts += refused(&mut raw, &who, &publish, &hear).await;
            }
            attempts += at_home(&mut raw, &who, attacker, user).await;
        }
    }
    println!("{users} users, {attempts} attempts, each refused by the server");
    assert_eq!(state(&operator).await, before);
    assert_eq!(exchange.stats()["records"], 0);
    let info = api(&exchange.admin().await, "INFO", &serde_json::json!({})).await;
    assert!(info["streams"].as_u64().is_some_and(|count| count as usize == before.len() + 1), "{info}");
}

/// The same in its own account: what is the broker's alone, and for a post what is another user's.
async fn at_home(raw: &mut Raw, who: &str, party: &Party, user: &str) -> usize {
    let id = &party.id;
    let mut attempts = 0;
    if user != "system" {
        for other in std::iter::once("system").chain(party.posts.iter().map(String::as_str)) {
            if other != user {
                attempts += refused(raw, who, &closed(id, other), &deaf_to(id, other)).await;
            }
        }
        return attempts;
    }
    let hear: Vec<String> = deaf_to(id, user)
        .into_iter()
        .filter(|subject| !subject.starts_with("ilo.rcpt.") && !subject.starts_with("_INBOX"))
        .collect();
    attempts += refused(raw, who, &broker_only(id, user), &hear).await;
    // And it is let do what is its own: the refusals above are no deaf server's.
    let (own, inbox) =
        (format!("$JS.API.DIRECT.GET.RCPT.ilo.rcpt.{id}.system.none"), format!("_INBOX_{id}-system.x"));
    raw.publish_to(own.as_bytes(), inbox.as_bytes(), None, b"").await;
    assert_eq!(raw.fence().await, Vec::<String>::new(), "{who} on its own");
    attempts
}
