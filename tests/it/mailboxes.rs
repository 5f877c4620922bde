//! A mailbox that is full or gone keeps nobody waiting but its own party, and that party misses nothing.

use serde_json::{Value, json};

use super::auditor::mailbox;
use super::control::erase;
use super::harness::{Exchange, Letter, REPORT_SUBJECT, api, audit_feed, stream, until};
use super::load::message;

/// A report of it-moi that is accepted; its id.
pub async fn send(exchange: &Exchange, audience: &str) -> String {
    let post = exchange.connect("it-moi", "tn-01").await;
    let message = message("it-moi", "tn-01", audience, true);
    let receipt = exchange.publish(&post, REPORT_SUBJECT, message.to_string().into_bytes()).await;
    assert_eq!(receipt["data"]["outcome"], "accepted", "{receipt}");
    message["id"].as_str().expect("an id").to_owned()
}

/// The line of `/readyz` on mailboxes, once it names this party or no longer does.
async fn readyz_names(exchange: &Exchange, party: &str, named: bool) {
    until("the word of /readyz on mailboxes", async || {
        let (status, body) = exchange.get("/readyz").await;
        assert_eq!(status, 200, "one mailbox does not make the broker unready");
        let body: Value = serde_json::from_str(&body).expect("JSON");
        let line = body["checks"].as_array()?.iter().find(|check| check["check"] == "mailboxes")?.clone();
        (line["detail"].as_str()?.contains(party) == named).then_some(())
    })
    .await;
}

fn ids(letters: &[Letter]) -> Vec<String> {
    letters.iter().map(Letter::id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_mailbox_waits_alone_and_gets_everything_in_order() {
    let exchange = Exchange::small("[nats]\nmailbox_bytes = 20000\n").await;
    let mut sent = Vec::new();
    for _ in 0..16 {
        sent.push(send(&exchange, "fr-dnpaf").await);
    }
    readyz_names(&exchange, "fr-dnpaf", true).await;
    let other = send(&exchange, "de-bpol").await;
    assert_eq!(ids(&mailbox(&exchange, "de-bpol", 1).await), [other], "others go on at once");
    let (_, metrics) = exchange.get("/metrics").await;
    assert!(metrics.contains("liaison_mailboxes_stalled 1\n"), "{metrics}");
    // Reading makes room: sweeping waits for no clock but that of the courier's next attempt.
    let letters = mailbox(&exchange, "fr-dnpaf", sent.len()).await;
    audit_feed(&letters);
    assert_eq!(ids(&letters), sent);
    readyz_names(&exchange, "fr-dnpaf", false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_mailbox_is_told_and_filled_anew_by_the_next_start() {
    let mut exchange = Exchange::small("").await;
    let mut sent = vec![send(&exchange, "de-bpol,fr-dnpaf").await];
    assert_eq!(ids(&mailbox(&exchange, "fr-dnpaf", 1).await), sent);
    let call = format!("STREAM.DELETE.{}", stream("MBOX", "fr-dnpaf"));
    let deleted = api(&exchange.admin().await, &call, &json!({})).await;
    assert_eq!(deleted["success"], true, "{deleted}");
    sent.push(send(&exchange, "de-bpol,fr-dnpaf").await);
    assert_eq!(ids(&mailbox(&exchange, "de-bpol", 2).await), sent, "others go on");
    readyz_names(&exchange, "fr-dnpaf", true).await;
    exchange.signal("TERM");
    assert_eq!(exchange.wait(), Some(0), "a missing mailbox does not hold up the end");
    exchange.again().await;
    sent.push(send(&exchange, "fr-dnpaf").await);
    // Only the mailbox knew what the party had taken: all of its feed is delivered again, with the same digests.
    let letters = mailbox(&exchange, "fr-dnpaf", sent.len()).await;
    audit_feed(&letters);
    assert_eq!(ids(&letters), sent);
    readyz_names(&exchange, "fr-dnpaf", false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purged_mailbox_goes_on_where_it_was() {
    let mut exchange = Exchange::small("").await;
    send(&exchange, "fr-dnpaf").await;
    assert_eq!(mailbox(&exchange, "fr-dnpaf", 1).await.len(), 1);
    let call = format!("STREAM.PURGE.{}", stream("MBOX", "fr-dnpaf"));
    let purged = api(&exchange.admin().await, &call, &json!({})).await;
    assert_eq!(purged["success"], true, "{purged}");
    exchange.kill();
    exchange.again().await;
    let second = send(&exchange, "fr-dnpaf").await;
    let letters = mailbox(&exchange, "fr-dnpaf", 1).await;
    assert_eq!(ids(&letters), [second], "what was read and swept does not come again");
    assert_eq!(letters[0].feed_seq(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_intake_stream_made_anew_begins_an_epoch_of_its_own() {
    let mut exchange = Exchange::small("").await;
    let first = send(&exchange, "fr-dnpaf").await;
    let call = format!("STREAM.DELETE.{}", stream("IN", "it-moi"));
    let deleted = api(&exchange.admin().await, &call, &json!({})).await;
    assert_eq!(deleted["success"], true, "{deleted}");
    exchange.kill();
    exchange.again().await;
    // The same stream sequence as the first, but another publication.
    let second = send(&exchange, "fr-dnpaf").await;
    let letters = mailbox(&exchange, "fr-dnpaf", 2).await;
    audit_feed(&letters);
    assert_eq!(ids(&letters), [first, second]);
}

/// The place and the feed number of each letter that stands in a mailbox.
async fn places(exchange: &Exchange, party: &str) -> Vec<(u64, u64)> {
    let standing = super::auditor::standing(&exchange.admin().await, &stream("MBOX", party)).await;
    let number = |text: &String| text.parse().expect("a number");
    standing.iter().map(|[at, feed, _]| (number(at), number(feed))).collect()
}

/// The last letter of a mailbox is lost by its server: it comes again. From then on letters do not stand where their number says, and an
/// erasure must find its own all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mailbox_that_lost_its_last_letter_gets_it_again_and_an_erasure_finds_its_own() {
    let mut exchange = Exchange::small("").await;
    let post = exchange.connect("it-moi", "tn-01").await;
    let erased = message("it-moi", "tn-01", "fr-dnpaf", true);
    let receipt = exchange.publish(&post, REPORT_SUBJECT, erased.to_string().into_bytes()).await;
    assert_eq!(receipt["data"]["outcome"], "accepted", "{receipt}");
    send(&exchange, "fr-dnpaf").await;
    until("two letters", async || (places(&exchange, "fr-dnpaf").await.len() == 2).then_some(())).await;
    let call = format!("STREAM.MSG.DELETE.{}", stream("MBOX", "fr-dnpaf"));
    let deleted = api(&exchange.admin().await, &call, &json!({ "seq": 2 })).await;
    assert_eq!(deleted["success"], true, "{deleted}");
    exchange.signal("TERM");
    assert_eq!(exchange.wait(), Some(0));
    exchange.again().await;
    send(&exchange, "fr-dnpaf").await;
    let again = [(1, 1), (3, 2), (4, 3)];
    until("the lost one again", async || (places(&exchange, "fr-dnpaf").await == again).then_some(())).await;
    erase(&exchange, &erased, "fr-dnpaf").await;
    until("the erased one gone, and no other", async || {
        (places(&exchange, "fr-dnpaf").await == [(3, 2), (4, 3), (5, 4)]).then_some(())
    })
    .await;
}

/// What the metric on damaged mailboxes says.
async fn damaged(exchange: &Exchange) -> Option<String> {
    let (_, metrics) = exchange.get("/metrics").await;
    Some(metrics.lines().find_map(|line| line.strip_prefix("liaison_mailboxes_damaged "))?.to_owned())
}

/// nats-server loses a letter in the middle of a mailbox. An erased one is missing too, and is none of that. Made anew the mailbox is
/// whole again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mailbox_that_lost_letters_in_its_middle_is_told_of() {
    let mut exchange = Exchange::small("").await;
    let post = exchange.connect("it-moi", "tn-01").await;
    let erased = message("it-moi", "tn-01", "fr-dnpaf", true);
    for message in [&message("it-moi", "tn-01", "fr-dnpaf", true), &erased] {
        let receipt = exchange.publish(&post, REPORT_SUBJECT, message.to_string().into_bytes()).await;
        assert_eq!(receipt["data"]["outcome"], "accepted", "{receipt}");
    }
    let ids: Vec<String> = [send(&exchange, "fr-dnpaf").await, send(&exchange, "fr-dnpaf").await].into();
    erase(&exchange, &erased, "fr-dnpaf").await;
    let erasure = [(1, 1), (3, 3), (4, 4), (5, 5)];
    until("the erasure", async || (places(&exchange, "fr-dnpaf").await == erasure).then_some(())).await;
    let restart = async |exchange: &mut Exchange| {
        exchange.signal("TERM");
        assert_eq!(exchange.wait(), Some(0));
        exchange.again().await;
    };
    restart(&mut exchange).await;
    send(&exchange, "fr-dnpaf").await;
    // Looked for before the first letter.
    until("one more", async || (places(&exchange, "fr-dnpaf").await.len() == 5).then_some(())).await;
    assert_eq!(damaged(&exchange).await.as_deref(), Some("0"), "an erasure is no damage");
    let stream = stream("MBOX", "fr-dnpaf");
    let deleted =
        api(&exchange.admin().await, &format!("STREAM.MSG.DELETE.{stream}"), &json!({ "seq": 3 })).await;
    assert_eq!(deleted["success"], true, "{deleted}");
    restart(&mut exchange).await;
    until("the word on it", async || (damaged(&exchange).await? == "1").then_some(())).await;
    assert!(exchange.log().contains("the mailbox has lost letters; the archive has them party=fr-dnpaf stream=\"MBOX_FR_DNPAF\" first=3 count=1"));
    let doctor = exchange.run(&["doctor"]);
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("1 mailboxes have lost letters"), "{doctor:?}");
    let deleted = api(&exchange.admin().await, &format!("STREAM.DELETE.{stream}"), &json!({})).await;
    assert_eq!(deleted["success"], true, "{deleted}");
    restart(&mut exchange).await;
    let letters = mailbox(&exchange, "fr-dnpaf", 6).await;
    assert_eq!(letters.iter().map(Letter::feed_seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert_eq!([letters[2].id(), letters[3].id()].as_slice(), ids);
    assert_eq!(damaged(&exchange).await.as_deref(), Some("0"));
}

/// What makes a hole where letters are sent one by one without waiting: one is refused, the one behind it is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parcel_is_taken_from_the_front_on_or_not_at_all() {
    use liaison::wire::connect::Road;
    use liaison::wire::egress::{Letter, Publisher};
    use liaison::wire::keys::read_seed;
    use liaison::wire::tls::Address;
    let exchange = Exchange::small("[nats]\nmailbox_bytes = 4000\n").await;
    let seed = read_seed(&exchange.key("broker", "egress")).expect("a key");
    let road = Road { to: Address::plain(exchange.nats.clone()), seed };
    let publisher = Publisher::open(road, None).await.expect("connects");
    let line = publisher.line();
    assert_eq!(line.parcel_of(256), 256, "the tests' server knows parcels");
    let letter = |bytes: usize| -> Letter {
        ("ilo.out.gr-hp.net.flow.observation.tn".to_owned(), Vec::new(), vec![b'x'; bytes].into())
    };
    let admin = exchange.admin().await;
    let taken = async || super::auditor::taken(&admin, &stream("MBOX", "gr-hp")).await;
    let parcel = |sizes: &[usize]| line.parcel(sizes.iter().map(|size| letter(*size)).collect());
    assert_eq!(parcel(&[100, 100, 100]).await.await.expect("room enough"), 3);
    let refused = parcel(&[100, 5_000, 100]).await.await.expect_err("does not fit").to_string();
    assert!(refused.contains("maximum bytes exceeded"), "{refused}");
    assert_eq!(taken().await, 4, "the first of the three, and nothing behind the one that does not fit");
    assert_eq!(parcel(&[100, 100]).await.await.expect("goes on"), 6);
    // One by one, for comparison.
    let (one, two, three) = (parcel(&[100]).await, parcel(&[5_000]).await, parcel(&[100]).await);
    assert_eq!(one.await.expect("fits"), 7);
    two.await.expect_err("does not fit");
    assert_eq!(three.await.expect("passed it"), 8);
}
