//! The scenarios of a subscriber: what it must do with letters, lost connections and recalls.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde_json::Value;

use super::CertifyError;
use super::altering::{Change, Changed};
use super::certificate::Check;
use super::driven::Driven;
use super::messages::{FALSE, Message, Sender};
use super::proxy::Weather;
use super::stage::Stage;
use crate::message::digest::Digest;
use crate::message::names::PartyId;

/// Messages of the scenario in which the road is cut.
const FEW: usize = 60;
/// Messages of the scenario in which nobody reads: several times what [`PIPES`] hold.
const MANY: usize = 400;
/// Bytes that may stand between a subscriber and us: the pipes of a short pipeline, 64 KiB each.
const PIPES: usize = 4 * 64 * 1024;
/// Acknowledgements have come to a stop when there was none for so long; and how long that is waited for, which is well under the
/// minute after which letters come again.
const STANDS: Duration = Duration::from_secs(2);
const STANDS_MOST: Duration = Duration::from_secs(20);
/// How long the road is closed.
const CLOSED: Duration = Duration::from_secs(2);
/// What was under way when the connection broke comes again after a minute (`ack_wait` of the mailboxes), and then it must
/// be read.
const COMES_AGAIN: Duration = Duration::from_secs(60 + 30);
/// What a subscriber that has ended acknowledged before may still be under way.
const UNDER_WAY: Duration = Duration::from_secs(2);
/// How long a subscriber may take to end.
const GRACE: Duration = Duration::from_millis(200);

fn digest_of(line: &Value) -> Option<Digest> {
    Digest::parse(line["digest"].as_str()?)
}

/// Holds when so many of these messages were printed.
fn printed(messages: &[Message], least: usize) -> impl Fn(&[Value]) -> bool {
    let wanted: HashSet<Digest> = messages.iter().map(|message| message.digest).collect();
    move |said| {
        let found: HashSet<Digest> = said.iter().filter_map(digest_of).collect();
        wanted.intersection(&found).count() >= least
    }
}

/// All messages were printed, with their own digests and ids.
fn complete(said: &[Value], messages: &[Message]) -> Check {
    let found: BTreeMap<String, String> = said
        .iter()
        .filter_map(|line| Some((line["event"]["id"].as_str()?.to_owned(), digest_of(line)?.hex())))
        .collect();
    let mut wrong = Vec::new();
    for message in messages {
        match found.get(&message.id) {
            None => wrong.push(format!("{}: not printed", message.id)),
            Some(digest) if *digest != message.digest.hex() => {
                wrong.push(format!("{}: printed with digest {digest}", message.id));
            }
            Some(_) => {}
        }
    }
    let seen = format!("{} messages with the digests of the bytes that were sent", messages.len());
    Check::without("reads every message, with the digest of its bytes", wrong, seen)
}

/// Feed sequences are dense, and what comes again is the same.
fn dense(said: &[Value]) -> Check {
    let words = "reads the feed without a gap; what comes again is the same message";
    let mut feed: BTreeMap<u64, Option<Digest>> = BTreeMap::new();
    let mut wrong = Vec::new();
    let mut again = 0;
    for line in said {
        let Some(seq) = line["feed_seq"].as_u64() else {
            wrong.push("a line without feed_seq".to_owned());
            continue;
        };
        let digest = digest_of(line);
        if let Some(before) = feed.insert(seq, digest) {
            again += 1;
            if before != digest {
                wrong.push(format!("feed_seq {seq}: two messages"));
            }
        }
    }
    let gaps = feed.keys().zip(feed.keys().skip(1)).filter(|(one, next)| **one + 1 != **next);
    wrong.extend(gaps.map(|(one, next)| format!("nothing between feed_seq {one} and {next}")));
    let (Some(first), Some(last)) = (feed.keys().next(), feed.keys().last()) else {
        return Check::unseen(words, "nothing was printed".to_owned());
    };
    Check::without(words, wrong, format!("feed_seq {first} to {last}; {again} came again"))
}

async fn acknowledged(stage: &Stage, subscriber: &Driven, limit: Duration) -> Result<Check, CertifyError> {
    let left = tokio::select! {
        left = stage.emptied(limit) => left?,
        () = subscriber.over() => stage.emptied(UNDER_WAY.min(limit)).await?,
    };
    let (unread, unacknowledged) = left;
    let wrong = if (unread, unacknowledged) == (0, 0) {
        Vec::new()
    } else {
        vec![format!("{unread} were not read, {unacknowledged} read and not acknowledged")]
    };
    Ok(Check::without("acknowledges everything", wrong, "nothing is left in the mailbox".to_owned()))
}

/// See [`super::Scenario::Burst`].
pub async fn burst(stage: &mut Stage) -> Result<Vec<Check>, CertifyError> {
    stage.drain().await?;
    let messages = stage.send(stage.options.burst).await?;
    let limit = stage.options.limit;
    let subscriber = stage.subscriber()?;
    subscriber.until(limit, printed(&messages, messages.len())).await;
    let acknowledged = acknowledged(stage, &subscriber, limit).await?;
    let said = subscriber.said();
    subscriber.end(GRACE).await;
    Ok(vec![complete(&said, &messages), dense(&said), acknowledged])
}

/// See [`super::Scenario::SlowConsumer`].
pub async fn slow_consumer(stage: &mut Stage) -> Result<Vec<Check>, CertifyError> {
    stage.drain().await?;
    let limit = stage.options.limit;
    let subscriber = stage.subscriber()?;
    subscriber.hold(true);
    let messages = stage.send(MANY).await?;
    let sent = messages.len() as u64;
    let acknowledged_held = standstill(stage, sent).await?;
    // A line has at least the bytes of its message; what has left it stands in pipes.
    let shortest = messages.iter().map(|message| message.payload.len()).min().unwrap_or(1).max(1);
    let handed_on = (PIPES / shortest) as u64 + 1;
    let words = "acknowledges no more than it could hand on";
    let wrong = (acknowledged_held > handed_on).then(|| {
        format!(
            "{acknowledged_held} of {sent} acknowledged while nobody read; there was room for {handed_on}"
        )
    });
    let seen = format!("{acknowledged_held} of {sent} acknowledged while nobody read");
    let held = Check::without(words, wrong.into_iter().collect(), seen);
    subscriber.hold(false);
    subscriber.until(limit, printed(&messages, messages.len())).await;
    let acknowledged = acknowledged(stage, &subscriber, limit).await?;
    let said = subscriber.said();
    subscriber.end(GRACE).await;
    Ok(vec![held, complete(&said, &messages), dense(&said), acknowledged])
}

/// Waits until no more is acknowledged; how many are.
async fn standstill(stage: &Stage, sent: u64) -> Result<u64, CertifyError> {
    let end = tokio::time::Instant::now() + STANDS_MOST;
    let (mut known, mut since) = (u64::MAX, tokio::time::Instant::now());
    loop {
        let (unread, unacknowledged) = stage.left().await?;
        let now = sent.saturating_sub(unread + unacknowledged);
        if now != known {
            (known, since) = (now, tokio::time::Instant::now());
        }
        if since.elapsed() >= STANDS || tokio::time::Instant::now() >= end {
            return Ok(known);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// See [`super::Scenario::Interrupted`].
pub async fn interrupted(stage: &mut Stage) -> Result<Vec<Check>, CertifyError> {
    stage.drain().await?;
    let limit = stage.options.limit;
    let subscriber = stage.subscriber()?;
    let mut messages = stage.send(FEW / 3).await?;
    subscriber.until(limit, printed(&messages, 1)).await;
    stage.proxy.set(Weather::Silent);
    messages.extend(stage.send(FEW / 3).await?);
    stage.proxy.set(Weather::Refused);
    tokio::time::sleep(CLOSED).await;
    messages.extend(stage.send(FEW / 3).await?);
    stage.proxy.set(Weather::Fair);
    let limit = limit.max(COMES_AGAIN);
    subscriber.until(limit, printed(&messages, messages.len())).await;
    let acknowledged = acknowledged(stage, &subscriber, limit).await?;
    let said = subscriber.said();
    subscriber.end(GRACE).await;
    Ok(vec![complete(&said, &messages), dense(&said), acknowledged])
}

/// See [`super::Scenario::Altered`].
pub async fn altered(stage: &mut Stage) -> Result<Vec<Check>, CertifyError> {
    stage.drain().await?;
    let limit = stage.options.limit.max(COMES_AGAIN);
    let subscriber = stage.subscriber()?;
    let mut messages = stage.send(1).await?;
    subscriber.until(stage.options.limit, printed(&messages, 1)).await;
    let keeps = |said: &[Value]| said.iter().any(|line| line["feed_digest"].is_string());
    let changes = [Change::Bytes, Change::RunningDigest];
    let asked = if keeps(&subscriber.said()) { &changes[..] } else { &changes[..1] };
    for change in asked {
        stage.orders.change_next(*change);
        messages.extend(stage.send(1).await?);
        // The next is read before another is changed: one that keeps the running digest has what the changed one must follow.
        let next = stage.send(1).await?;
        subscriber.until(stage.options.limit, printed(&next, 1)).await;
        messages.extend(next);
    }
    subscriber.until(limit, printed(&messages, messages.len())).await;
    let acknowledged = acknowledged(stage, &subscriber, limit).await?;
    let said = subscriber.said();
    subscriber.end(GRACE).await;
    let changed = stage.orders.changed();
    let taken = asked.iter().map(|change| not_taken(stage, *change, &changed, &said));
    Ok(taken.chain([complete(&said, &messages), running(&said), acknowledged]).collect())
}

/// A changed letter was neither acknowledged nor, if it is the message that was changed, handed on.
fn not_taken(stage: &Stage, change: Change, changed: &[Changed], said: &[Value]) -> Check {
    let words = match change {
        Change::Bytes => "takes no letter whose bytes are not those of its digest",
        Change::RunningDigest => "takes no letter whose running digest does not follow from the one before",
    };
    let Some(letter) = changed.iter().find(|letter| letter.change == change) else {
        return Check::unseen(words, "no letter came that could be changed".to_owned());
    };
    let mut wrong = Vec::new();
    if stage.tap.heard().iter().any(|heard| heard.takes && heard.subject == letter.reply) {
        wrong.push("acknowledged it".to_owned());
    }
    if change == Change::Bytes && said.iter().any(|line| line["event"]["data"]["title"] == FALSE) {
        wrong.push("printed it".to_owned());
    }
    Check::without(words, wrong, "it was not acknowledged".to_owned())
}

/// The running digests that it tells are those of the letters that it tells.
fn running(said: &[Value]) -> Check {
    let words = "keeps the running digest of the feed, if it tells one";
    let feed: BTreeMap<u64, (Digest, Digest)> = said
        .iter()
        .filter_map(|line| {
            let running = Digest::parse(line["feed_digest"].as_str()?)?;
            Some((line["feed_seq"].as_u64()?, (running, digest_of(line)?)))
        })
        .collect();
    let pairs = feed.iter().zip(feed.iter().skip(1)).filter(|((seq, _), (next, _))| **seq + 1 == **next);
    let wrong: Vec<String> = pairs
        .clone()
        .filter(|((_, (before, _)), (_, (running, own)))| before.feed(*own) != *running)
        .map(|(_, (seq, _))| format!("feed_seq {seq}: not what follows from the one before"))
        .collect();
    let seen =
        if feed.is_empty() { "it tells none".to_owned() } else { format!("{} followed", pairs.count()) };
    Check::without(words, wrong, seen)
}

/// See [`super::Scenario::Recall`].
pub async fn recall(stage: &mut Stage) -> Result<Vec<Check>, CertifyError> {
    withdrawn(stage, Message::retraction, "confirms that a retracted message is gone").await
}

/// See [`super::Scenario::Erasure`].
pub async fn erasure(stage: &mut Stage) -> Result<Vec<Check>, CertifyError> {
    withdrawn(stage, Message::erasure, "confirms that an erased message is gone").await
}

async fn withdrawn(
    stage: &mut Stage,
    by: fn(&Sender, &PartyId, &Message) -> Message,
    words: &'static str,
) -> Result<Vec<Check>, CertifyError> {
    stage.drain().await?;
    let limit = stage.options.limit;
    let party = stage.options.party.clone();
    let subscriber = stage.subscriber()?;
    let sender = stage.others[0].sender.clone();
    let message = Message::report(&sender, &party);
    let order = by(&sender, &party, &message);
    stage.others[0].send(&message).await?;
    subscriber.until(limit, printed(std::slice::from_ref(&message), 1)).await;
    stage.others[0].send(&order).await?;
    subscriber.until(limit, printed(std::slice::from_ref(&order), 1)).await;
    let wait = |limit| tokio::time::timeout(limit, confirmed(stage, &message, party.as_str()));
    let confirmed = tokio::select! {
        confirmed = wait(limit) => confirmed.ok(),
        () = subscriber.over() => wait(UNDER_WAY.min(limit)).await.ok(),
    };
    let said = subscriber.said();
    subscriber.end(GRACE).await;
    let confirmation = match confirmed {
        Some(evidence) => Check::without(words, Vec::new(), evidence),
        None => Check::without(words, vec![stood(stage, &message).await], String::new()),
    };
    Ok(vec![complete(&said, &[message, order]), confirmation])
}

/// Waits until the ledger has the confirmation of a party; what it says.
async fn confirmed(stage: &Stage, message: &Message, party: &str) -> String {
    loop {
        if let Some(ledger) = stage.others[0].ledger(&message.id).await {
            let recipients = ledger["recipients"].as_array().cloned().unwrap_or_default();
            let own = recipients.into_iter().find(|recipient| recipient["party"] == party);
            if let Some(own) = own.filter(|own| !own["confirmed"].is_null() && own["confirmed"] != false) {
                return format!("{}: confirmed: {}", message.id, own["confirmed"]);
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What was seen of a confirmation that did not count.
async fn stood(stage: &Stage, message: &Message) -> String {
    let calls = stage.tap.heard().into_iter().filter(|heard| heard.subject.ends_with(".confirm")).count();
    let fate = stage.others[0].ledger(&message.id).await.map(|ledger| ledger["fate"].clone());
    format!(
        "{}: no confirmation counted; {calls} calls of `confirm` were seen; its fate: {}",
        message.id,
        fate.unwrap_or_default()
    )
}
