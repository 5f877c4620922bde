//! Frames that no client library can read, sent over raw TCP by an ordinary party: they are put aside with all their
//! bytes, everything behind them goes on, everybody else notices nothing, and the broker says how it is.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use async_nats::Client;
use base64::Engine as _;
use futures_util::StreamExt as _;
use serde_json::Value;

use super::harness::{Exchange, PATIENCE, REPORT_SUBJECT, is_alive, queue, report, stream_info, until};
use super::load::message;
use super::rawlink::Raw;

/// Good messages of each of the four posts; the poison stands among those of the first.
const GOOD: usize = 250;
const POSTS: [(&str, &str); 4] =
    [("it-moi", "tn-01"), ("de-bpol", "tr-03"), ("fr-dnpaf", "ne-02"), ("es-pn", "sn-02")];
/// What the network promises: nobody waits longer because somebody else sent poison, or he himself did.
const STALL: Duration = Duration::from_secs(10);

/// A kind of frame: what it is, subject, header block, and the code under which it is put aside.
struct Kind(&'static str, &'static [u8], Option<&'static [u8]>, &'static str);

const SUBJECT: &[u8] = REPORT_SUBJECT.as_bytes();

/// The eight kinds. The first seven break the connection or the task of the client library.
static KINDS: [Kind; 8] = [
    Kind("a subject not in UTF-8", b"ilo.in.it-moi.tn-01.net.\xff\xfe.observation.tn", None, "E-SUBJECT"),
    Kind("a control in a name", SUBJECT, Some(b"NATS/1.0\r\nA\x01: b\r\n\r\n"), "E-ENVELOPE"),
    Kind("a line without colon", SUBJECT, Some(b"NATS/1.0\r\nno colon here\r\n\r\n"), "E-ENVELOPE"),
    Kind("a value not in UTF-8", SUBJECT, Some(b"NATS/1.0\r\nA: \xff\xfe\r\n\r\n"), "E-ENVELOPE"),
    Kind("a name not in ASCII", SUBJECT, Some(b"NATS/1.0\r\n\xc3\xa9: b\r\n\r\n"), "E-ENVELOPE"),
    Kind("a bare line feed", SUBJECT, Some(b"NATS/1.0\r\nA: a\nb\r\n\r\n"), "E-ENVELOPE"),
    Kind("a lone carriage return", SUBJECT, Some(b"NATS/1.0\r\nA: a\rb\r\n\r\n"), "E-ENVELOPE"),
    Kind("a subject with NUL", b"ilo.in.it-moi.tn-01.net.flow.obser\0vation.tn", None, "E-SUBJECT"),
];

/// Publishes the good messages of a post one after the other and gives the longest wait for a receipt. `between` is
/// called before each.
async fn good(client: &Client, party: &str, post: &str, mut between: impl AsyncFnMut(usize)) -> Duration {
    let subject = format!("ilo.in.{party}.{post}.net.flow.observation.tn");
    let live = client.subscribe(format!("ilo.rcpt.{party}.{post}.>")).await.expect("subscribes");
    client.flush().await.expect("flushes");
    let sent = RefCell::new(std::collections::HashMap::new());
    let sending = async {
        for at in 0..GOOD {
            between(at).await;
            let message = message(party, post, "gr-hp,@agencies", true);
            let id = message["id"].as_str().expect("an id").to_owned();
            sent.borrow_mut().insert(id, Instant::now());
            queue(client, &subject, message.to_string().into_bytes()).await;
        }
    };
    let hearing = async {
        let (mut live, mut longest, mut left) = (live, Duration::ZERO, GOOD);
        while left > 0 {
            let heard = tokio::time::timeout(PATIENCE, live.next()).await.expect("a receipt in time");
            let receipt: Value = serde_json::from_slice(&heard.expect("open").payload).expect("JSON");
            let id = receipt["data"]["target"]["id"].as_str().expect("a text");
            // What was put aside has no id.
            let Some(began) = sent.borrow_mut().remove(id) else { continue };
            assert_eq!(receipt["data"]["outcome"], "accepted", "{receipt}");
            longest = longest.max(began.elapsed());
            left -= 1;
        }
        longest
    };
    tokio::join!(sending, hearing).1
}

async fn nothing(_: usize) {}

/// Notes the word of `/readyz` until dropped; a broker that is not ready at all fails the test.
async fn watch(exchange: &Exchange, words: &RefCell<BTreeSet<String>>) {
    loop {
        let (status, body) = exchange.get("/readyz").await;
        assert_eq!(status, 200, "{body}");
        words.borrow_mut().insert(status_of(&body));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn status_of(body: &str) -> String {
    let value: Value = serde_json::from_str(body).expect("JSON");
    value["status"].as_str().expect("a word").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_kinds_of_poison_among_a_thousand_good_messages() {
    let exchange = Exchange::small("").await;
    let pid = exchange.pid();
    let mut raw = Raw::connect(&exchange, "it-moi", "tn-01").await;
    let mut clients = Vec::new();
    for (party, post) in POSTS {
        clients.push(exchange.connect(party, post).await);
    }
    let bodies: Vec<Vec<u8>> = KINDS.iter().map(|_| report().to_string().into_bytes()).collect();
    let words = RefCell::default();
    let poisoning = async |at: usize| {
        // One kind after every thirty good ones.
        if at % 30 == 15
            && let Some(Kind(_, subject, block, _)) = KINDS.get(at / 30)
        {
            raw.publish(subject, *block, &bodies[at / 30]).await;
            assert_eq!(raw.fence().await, Vec::<String>::new(), "the server takes it");
        }
    };
    let work = async {
        tokio::join!(
            good(&clients[0], POSTS[0].0, POSTS[0].1, poisoning),
            good(&clients[1], POSTS[1].0, POSTS[1].1, nothing),
            good(&clients[2], POSTS[2].0, POSTS[2].1, nothing),
            good(&clients[3], POSTS[3].0, POSTS[3].1, nothing),
        )
    };
    let waits = tokio::select! {
        () = watch(&exchange, &words) => unreachable!("it watches until it is dropped"),
        waits = work => waits,
    };
    println!("8 poisonous frames among 1,000 good ones; longest waits for a receipt: {waits:?}");
    for wait in [waits.0, waits.1, waits.2, waits.3] {
        assert!(wait <= STALL, "{waits:?}");
    }
    assert!(words.borrow().contains("degraded"), "{words:?}");
    until("the broker to be well", async || {
        (status_of(&exchange.get("/readyz").await.1) == "ok").then_some(())
    })
    .await;
    assert!(is_alive(pid) && exchange.pid() == pid, "the process lives");
    put_aside(&exchange, &bodies).await;
}

/// Each sequence of the poisoned stream has one record, and those of the poison hold all that was sent.
async fn put_aside(exchange: &Exchange, bodies: &[Vec<u8>]) {
    let shown = records(exchange, bodies.len() + GOOD).await;
    let mut aside: Vec<&Value> = shown.iter().filter(|record| record["outcome"] == "quarantined").collect();
    assert_eq!(aside.len(), KINDS.len(), "{aside:#?}");
    aside.sort_by_key(|record| record["stream_sequence"].as_u64());
    for ((Kind(name, subject, block, code), body), record) in KINDS.iter().zip(bodies).zip(aside) {
        assert_eq!(record["code"], *code, "{name}: {record}");
        let kept = record["raw"].as_str().unwrap_or_else(|| panic!("{name}: {record}"));
        let kept = base64::engine::general_purpose::STANDARD.decode(kept).expect("base64");
        let (given, rest) = kept.split_at(kept.windows(2).position(|two| two == b"\r\n").expect("a line"));
        assert_eq!(&rest[2..], [block.unwrap_or_default(), body].concat(), "{name}");
        // The server says a subject in JSON and replaces what is no UTF-8 there.
        let replaced = String::from_utf8_lossy(subject);
        assert!(given == *subject || String::from_utf8_lossy(given) == replaced, "{name}: {given:?}");
    }
}

/// The records of the poisoned stream, one a sequence.
async fn records(exchange: &Exchange, sent: usize) -> Vec<Value> {
    let operator = exchange.operator().await;
    let last = stream_info(&operator, "IN_IT_MOI").await["state"]["last_seq"].as_u64();
    assert_eq!(last, Some(sent as u64));
    until("every sequence in the archive", async || {
        let show = exchange.run(&["archive", "show", "--limit", "100000", "--content", "--personal"]);
        assert!(show.status.success(), "{}", String::from_utf8_lossy(&show.stderr));
        let text = String::from_utf8(show.stdout).expect("UTF-8");
        let records = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let records: Vec<Value> = records.filter(|record| record["party"] == "it-moi").collect();
        let mut sequences: Vec<u64> =
            records.iter().filter_map(|record| record["stream_sequence"].as_u64()).collect();
        sequences.sort_unstable();
        sequences.dedup();
        assert_eq!(sequences.len(), records.len(), "a sequence with two outcomes");
        (records.len() == sent).then_some(records)
    })
    .await
}

/// Behind the floor stands nothing but what the broker itself overwrote, more of it than is read at once, and then poison.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_behind_many_empty_places_keeps_nobody_waiting() {
    const EMPTY: usize = 80;
    let mut exchange = Exchange::apart("").await;
    let client = exchange.connect("it-moi", "tn-01").await;
    let good = || report().to_string().into_bytes();
    exchange.publish(&client, REPORT_SUBJECT, good()).await;
    let case = "ilo.in.it-moi.tn-01.case.identity-request.tn";
    for _ in 0..EMPTY {
        queue(&client, case, br#"{"type":"eu.ilonet.case.identity-request.v1"}"#.to_vec()).await;
    }
    let operator = exchange.operator().await;
    until("the case messages to be overwritten", async || {
        (stream_info(&operator, "IN_IT_MOI").await["state"]["messages"] == 1).then_some(())
    })
    .await;
    drop(client);
    // A server that is alone forgets how far it was read.
    exchange.kill();
    exchange.stop_server();
    exchange.start_server(&[]).await;
    let mut raw = Raw::connect(&exchange, "it-moi", "tn-01").await;
    let Kind(_, subject, block, _) = KINDS[2];
    raw.publish(subject, block, &good()).await;
    assert_eq!(raw.fence().await, Vec::<String>::new(), "the server takes it");
    exchange.again().await;
    let client = exchange.connect("it-moi", "tn-01").await;
    let began = Instant::now();
    let behind = exchange.publish(&client, REPORT_SUBJECT, good()).await;
    assert_eq!(behind["data"]["outcome"], "accepted", "{behind}");
    assert!(began.elapsed() <= STALL, "{:?}", began.elapsed());
}

/// A status of the server's own, forged by a publisher (row 85 of the bad inputs). The server writes
/// that line anew when it delivers, so nothing of it is seen: the message is judged like any other, and what stands
/// behind it waits for nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_status_is_no_word_of_the_server() {
    const FORGED: [&str; 8] = [
        "NATS/1.0 100 Idle Heartbeat",
        "NATS/1.0 100",
        "NATS/1.0 404 No Messages",
        "NATS/1.0 408 Request Timeout",
        "NATS/1.0 409 Consumer Deleted",
        "NATS/1.0 503",
        "NATS/1.0 999",
        "NATS/1.0 nonsense",
    ];
    let exchange = Exchange::small("").await;
    let client = exchange.connect("it-moi", "tn-01").await;
    let mut raw = Raw::connect(&exchange, "it-moi", "tn-01").await;
    let mut longest = Duration::ZERO;
    for first in FORGED {
        let block = format!("{first}\r\nNats-Consumer-Stalled: x\r\n\r\n");
        raw.publish(SUBJECT, Some(block.as_bytes()), report().to_string().as_bytes()).await;
        assert_eq!(raw.fence().await, Vec::<String>::new(), "{first}");
        let began = Instant::now();
        let behind = exchange.publish(&client, REPORT_SUBJECT, report().to_string().into_bytes()).await;
        assert_eq!(behind["data"]["outcome"], "accepted", "behind {first}: {behind}");
        longest = longest.max(began.elapsed());
    }
    println!("longest wait behind a forged status: {longest:?}");
    assert!(longest <= STALL);
    let records = records(&exchange, 2 * FORGED.len()).await;
    let taken = records.iter().filter(|record| record["outcome"] == "accepted").count();
    assert_eq!(taken, 2 * FORGED.len());
    assert_eq!(exchange.get("/metrics").await.1.matches("liaison_intakes_interrupted 0").count(), 1);
}
