//! What one party can do to another: nothing. Most of it the server stops; the rest the broker refuses.
//!
//! Each attempt is made with a party's real key. The server's own words are the proof that it was refused, and the
//! state of all streams before and after is the proof that nothing came of it.

use std::collections::BTreeMap;

use async_nats::Subscriber;
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::{Value, json};

use super::harness::{Exchange, REPORT_SUBJECT, Watched, fresh_id, report, stream_info, streams, until};

/// Sequences, contents and consumers of all streams, once every intake stream has its reader.
async fn state(operator: &async_nats::Client) -> BTreeMap<String, (u64, u64, u64)> {
    until("the readers of all intake streams", async || {
        let mut all = BTreeMap::new();
        for name in streams(operator).await {
            let info = stream_info(operator, &name).await;
            let number = |field: &str| info["state"][field].as_u64().expect("a number");
            // The bucket of subscriptions is followed by a consumer that comes and goes.
            let consumers = if name == "KV_SUBS" { 0 } else { number("consumer_count") };
            if name.starts_with("IN_") && consumers != 1 {
                return None;
            }
            all.insert(name, (number("messages"), number("last_seq"), consumers));
        }
        Some(all)
    })
    .await
}

/// Where neither `de-bpol` nor any post of it may publish. `id` is that of a message of `it-moi`.
fn forbidden(id: &str) -> Vec<String> {
    let mut all: Vec<String> = [
        "ilo.in.it-moi.system.net.flow.observation.tn",
        "ilo.in.it-moi.tn-01.net.flow.observation.tn",
        "ilo.in.it-moi.de-bpol.net.flow.observation.tn",
        "ilo.out.it-moi.net.flow.observation.tn",
        "ilo.out.de-bpol.net.flow.observation.tn",
        "ilo.journal.0",
        "ilo.svc.it-moi.status",
        "ilo.svc.it-moi.validate",
        "ilo.svc.it-moi.sub.put",
        "$KV.SUBS.it-moi",
        "$KV.SUBS.de-bpol",
        "$JS.ACK.MBOX_IT_MOI.main.1.1.1.1.1",
        "$SRV.PING.liaison",
        "$SRV.PING",
        "$SYS.REQ.SERVER.PING",
        "$SYS.REQ.USER.INFO",
        "_INBOX_it-moi-system.x",
        "_INBOX_it-moi-tn-01.x",
        "_R_.x",
    ]
    .map(str::to_owned)
    .to_vec();
    for call in [
        "INFO",
        "STREAM.LIST",
        "STREAM.NAMES",
        "STREAM.CREATE.MINE",
        "STREAM.INFO.IN_IT_MOI",
        "STREAM.INFO.MBOX_DE_BPOL",
        "STREAM.UPDATE.MBOX_DE_BPOL",
        "STREAM.DELETE.IN_IT_MOI",
        "STREAM.DELETE.IN_DE_BPOL",
        "STREAM.PURGE.MBOX_IT_MOI",
        "STREAM.PURGE.RCPT",
        "STREAM.MSG.GET.RCPT",
        "STREAM.MSG.DELETE.IN_IT_MOI",
        "CONSUMER.CREATE.MBOX_IT_MOI.mine",
        "CONSUMER.CREATE.MBOX_DE_BPOL.mine",
        "CONSUMER.DURABLE.CREATE.MBOX_DE_BPOL.mine",
        "CONSUMER.CREATE.RCPT",
        "CONSUMER.DELETE.MBOX_IT_MOI.main",
        "CONSUMER.DELETE.MBOX_DE_BPOL.main",
        "CONSUMER.LIST.MBOX_DE_BPOL",
        "CONSUMER.INFO.MBOX_IT_MOI.main",
        "CONSUMER.INFO.IN_DE_BPOL.intake",
        "CONSUMER.MSG.NEXT.MBOX_IT_MOI.main",
        "CONSUMER.MSG.NEXT.IN_DE_BPOL.intake",
        "DIRECT.GET.RCPT",
        "DIRECT.GET.KV_SUBS.$KV.SUBS.it-moi",
    ] {
        all.push(format!("$JS.API.{call}"));
    }
    all.push(format!("$JS.API.DIRECT.GET.RCPT.ilo.rcpt.it-moi.tn-01.{id}"));
    all.push(format!("ilo.rcpt.it-moi.tn-01.{id}"));
    all.push(format!("ilo.rcpt.de-bpol.tr-03.{id}"));
    all
}

/// What only the authority's own systems may do.
const NOT_A_POST: [&str; 7] = [
    "ilo.in.de-bpol.system.net.flow.observation.tn",
    "ilo.in.de-bpol.tn-02.net.flow.observation.tn",
    "ilo.svc.de-bpol.status",
    "ilo.svc.de-bpol.sub.put",
    "$JS.API.CONSUMER.MSG.NEXT.MBOX_DE_BPOL.main",
    "$JS.API.CONSUMER.INFO.MBOX_DE_BPOL.main",
    "$JS.API.DIRECT.GET.RCPT.ilo.rcpt.de-bpol.system.x",
];

const NOT_TO_HEAR: [&str; 14] = [
    ">",
    "*.>",
    "ilo.>",
    "ilo.in.>",
    "ilo.in.de-bpol.>",
    "ilo.out.>",
    "ilo.rcpt.>",
    "ilo.rcpt.it-moi.>",
    "ilo.svc.>",
    "_INBOX.>",
    "_INBOX_it-moi-system.>",
    "_R_.>",
    "$JS.>",
    "$SYS.>",
];

const NOT_FOR_A_POST: [&str; 3] =
    ["ilo.rcpt.de-bpol.>", "ilo.rcpt.de-bpol.tn-02.>", "_INBOX_de-bpol-system.>"];

fn silent(listeners: &mut [Subscriber]) {
    for listener in listeners {
        assert!(!matches!(listener.next().now_or_never(), Some(Some(_))), "heard what is not for it");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_stops_what_a_party_may_not_do() {
    let exchange = Exchange::start().await;
    let victim = exchange.connect("it-moi", "tn-01").await;
    let system = exchange.connect("it-moi", "system").await;
    let mut heard = system.subscribe("ilo.rcpt.it-moi.>").await.expect("subscribes");
    system.flush().await.expect("flushes");
    let mut message = report();
    message["audience"] = "de-bpol".into();
    exchange.publish(&victim, REPORT_SUBJECT, bytes(&message)).await;
    let receipt = heard.next().await.expect("its own receipt");
    let id = message["id"].as_str().expect("an id");
    let operator = exchange.operator().await;
    let arrived =
        async || (stream_info(&operator, "MBOX_DE_BPOL").await["state"]["last_seq"] == 1).then_some(());
    until("the delivery", arrived).await;

    for (user, more, more_to_hear) in
        [("system", &[][..], &[][..]), ("tr-03", &NOT_A_POST[..], &NOT_FOR_A_POST[..])]
    {
        let before = state(&operator).await;
        let attacker = Watched::connect(&exchange, "de-bpol", user).await;
        let subjects: Vec<String> =
            forbidden(id).into_iter().chain(more.iter().map(|text| (*text).to_owned())).collect();
        for subject in &subjects {
            let (reply, body) = (attacker.client.new_inbox(), receipt.payload.clone());
            attacker.client.publish_with_reply(subject.clone(), reply, body).await.expect("sends");
        }
        let refused = attacker.refused(subjects.len()).await;
        for subject in &subjects {
            assert!(
                refused.iter().any(|words| words.contains(&format!("\"{subject}\""))),
                "{user} may publish on {subject}"
            );
        }
        let mut listeners = Vec::new();
        for subject in NOT_TO_HEAR.iter().chain(more_to_hear) {
            listeners.push(attacker.client.subscribe(*subject).await.expect("asks"));
        }
        attacker.refused(listeners.len()).await;
        assert_eq!(state(&operator).await, before, "as {user}");
        // The victim works on, and nobody hears it.
        let mut alone = report();
        alone["audience"] = "it-moi".into();
        let receipt = exchange.publish(&victim, REPORT_SUBJECT, bytes(&alone)).await;
        assert_eq!(receipt["data"]["outcome"], "accepted", "{receipt}");
        let live = heard.next().await.expect("its own receipt");
        assert!(
            live.subject.ends_with(alone["id"].as_str().expect("an id")),
            "a forged receipt: {}",
            live.subject
        );
        attacker.refused(0).await;
        silent(&mut listeners);
        let now = state(&operator).await;
        let changed: Vec<&String> = now.keys().filter(|name| now.get(*name) != before.get(*name)).collect();
        assert_eq!(changed, ["IN_IT_MOI", "RCPT"]);
        assert_eq!(
            exchange.stats()["records"],
            now["IN_IT_MOI"].1,
            "only what the victim published was taken"
        );
    }
    silent(&mut [heard]);
}

/// Reply subjects are rewritten by the server: what is answered cannot be sent anywhere else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_subject_is_no_weapon() {
    let exchange = Exchange::start().await;
    let operator = exchange.operator().await;
    let victim = exchange.connect("it-moi", "system").await;
    let inbox = victim.new_inbox();
    let mut heard = [
        victim.subscribe("ilo.rcpt.it-moi.>").await.expect("subscribes"),
        victim.subscribe(inbox.clone()).await.expect("subscribes"),
    ];
    victim.flush().await.expect("flushes");
    let before = state(&operator).await;
    let replies = [
        "ilo.in.it-moi.system.net.flow.observation.tn",
        "ilo.in.de-bpol.tn-02.net.flow.observation.tn",
        "ilo.out.it-moi.net.flow.observation.tn",
        "ilo.rcpt.it-moi.tn-01.x",
        "ilo.svc.it-moi.sub.del",
        "$JS.API.STREAM.DELETE.IN_IT_MOI",
        "$JS.API.STREAM.DELETE.IN_DE_BPOL",
        "$JS.API.STREAM.PURGE.RCPT",
        "$JS.API.CONSUMER.MSG.NEXT.MBOX_DE_BPOL.main",
        "$JS.API.CONSUMER.DELETE.MBOX_IT_MOI.main",
        inbox.as_str(),
    ];
    let mut sent = 0;
    for user in ["system", "tr-03"] {
        let attacker = Watched::connect(&exchange, "de-bpol", user).await;
        let mut message = report();
        message["originator"] = "de-bpol".into();
        message["source"] = if user == "system" {
            json!("/authority/de-bpol")
        } else {
            json!("/authority/de-bpol/post/tr-03")
        };
        message["audience"] = "de-bpol".into();
        let subject = format!("ilo.in.de-bpol.{user}.net.flow.observation.tn");
        let mut last = Vec::new();
        for reply in replies {
            message["id"] = fresh_id().into();
            last = message.to_string().into_bytes();
            attacker
                .client
                .publish_with_reply(subject.clone(), reply.to_owned(), last.clone().into())
                .await
                .expect("sends");
            if user == "system" {
                for call in ["ilo.svc.de-bpol.sub.list", "$JS.API.CONSUMER.INFO.MBOX_DE_BPOL.main"] {
                    attacker
                        .client
                        .publish_with_reply(call, reply.to_owned(), "{}".into())
                        .await
                        .expect("sends");
                }
            }
            let own = format!("$JS.API.DIRECT.GET.RCPT.ilo.rcpt.de-bpol.{user}.none");
            attacker.client.publish_with_reply(own, reply.to_owned(), "".into()).await.expect("sends");
        }
        // The same bytes once more, with an honest reply: behind all that was sent before.
        let receipt = exchange.publish(&attacker.client, &subject, last).await;
        assert_eq!(receipt["data"]["outcome"], "duplicate", "{receipt}");
        attacker.refused(0).await;
        sent += u64::try_from(replies.len()).expect("few") + 1;
    }
    let now = state(&operator).await;
    assert_eq!(now["IN_DE_BPOL"].1, sent, "what was published, and no answer among it");
    let changed: Vec<&String> = now.keys().filter(|name| now.get(*name) != before.get(*name)).collect();
    assert_eq!(changed, ["IN_DE_BPOL", "RCPT"]);
    assert_eq!(now.len(), before.len(), "no stream was deleted");
    silent(&mut heard);
}

fn bytes(message: &Value) -> Vec<u8> {
    message.to_string().into_bytes()
}

/// The server cannot read envelopes: what is claimed there is the broker's to refuse.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envelope_that_claims_another_is_refused() {
    let exchange = Exchange::start().await;
    let system = exchange.connect("it-moi", "system").await;
    let post = exchange.connect("it-moi", "tn-01").await;
    let own_system = "ilo.in.it-moi.system.net.flow.observation.tn";
    let of = |source: &str, originator: &str| {
        let mut message = report();
        message["source"] = source.into();
        message["originator"] = originator.into();
        message
    };
    let (authority, own) = ("/authority/it-moi", "/authority/it-moi/post/tn-01");
    for (client, subject, message, code, path) in [
        (&system, own_system, of("/authority/de-bpol", "de-bpol"), "E-ORIGIN", "/originator"),
        (&system, own_system, of("/authority/de-bpol", "it-moi"), "E-ORIGIN", "/source"),
        (&system, own_system, of(authority, "de-bpol"), "E-ORIGIN", "/originator"),
        (&post, REPORT_SUBJECT, of("/authority/de-bpol/post/tn-01", "it-moi"), "E-ORIGIN", "/source"),
        (&post, REPORT_SUBJECT, of("/broker/liaison-1", "it-moi"), "E-ORIGIN", "/source"),
        (&post, REPORT_SUBJECT, of("/authority/it-moi/post/ly-02", "it-moi"), "E-SUBJECT", "/source"),
        (&post, REPORT_SUBJECT, of(authority, "it-moi"), "E-SUBJECT", "/source"),
        (&system, own_system, of(own, "it-moi"), "E-SUBJECT", "/source"),
        (&post, "ilo.in.it-moi.tn-01.net.flow.observation.ly", of(own, "it-moi"), "E-SUBJECT", "/subject"),
        (&post, "ilo.in.it-moi.tn-01.net.flow.observation.zz", of(own, "it-moi"), "E-SUBJECT", "/subject"),
        (&post, "ilo.in.it-moi.tn-01.net.flow.route.tn", of(own, "it-moi"), "E-SUBJECT", "/type"),
        (&post, "ilo.in.it-moi.tn-01.case.flow.observation.tn", of(own, "it-moi"), "E-SUBJECT", "/type"),
        (&post, "ilo.in.it-moi.tn-01.net.flow.observation.tn.more", of(own, "it-moi"), "E-SUBJECT", ""),
        (&post, "ilo.in.it-moi.tn-01.net.flow.observation", of(own, "it-moi"), "E-SUBJECT", ""),
        (&post, "ilo.in.it-moi.tn-01.net.flow.observation.TN", of(own, "it-moi"), "E-SUBJECT", ""),
        (&post, "ilo.in.it-moi.tn-01.net.*.>.tn", of(own, "it-moi"), "E-SUBJECT", ""),
    ] {
        let receipt = exchange.publish(client, subject, bytes(&message)).await;
        let data = &receipt["data"];
        assert_eq!(
            (&data["outcome"], &data["code"]),
            (&json!("rejected"), &json!(code)),
            "{subject}: {receipt}"
        );
        assert_eq!(data["detail"][0]["path"], path, "{subject}: {receipt}");
    }
    let watched = Watched::connect(&exchange, "it-moi", "tn-01").await;
    for other in ["system", "ly-02", "eg-02"] {
        let subject = format!("ilo.in.it-moi.{other}.net.flow.observation.tn");
        watched.client.publish(subject, bytes(&report()).into()).await.expect("sends");
    }
    watched.refused(3).await;
    for (party, letters) in exchange.mailboxes(&["fr-dnpaf", "de-bpol", "eu-frontex"]).await {
        assert!(letters.is_empty(), "{party} got a message of somebody who is not its originator");
    }
}
