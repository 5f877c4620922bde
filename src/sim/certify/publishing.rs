//! The scenarios of a publisher: what it must do with receipts, refusals and outages.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use serde_json::Value;

use super::certificate::Check;
use super::driven::Driven;
use super::messages::{Message, Spoilt};
use super::proxy::Weather;
use super::stage::Stage;
use super::{CertifyError, Verdict};
use crate::message::digest::Digest;

/// Messages of the small scenarios.
const FEW: usize = 12;
/// How long the road is closed, and how long it is silent.
const CLOSED: Duration = Duration::from_secs(2);
/// How long a publisher may take to end when its input has ended. It may use it to do what it must not.
const GRACE: Duration = Duration::from_secs(5);

/// The last receipt that the publisher printed for each message, and how many.
fn receipts(said: &[Value]) -> BTreeMap<String, (usize, Value)> {
    let mut found: BTreeMap<String, (usize, Value)> = BTreeMap::new();
    for event in said {
        let Some(id) = event["data"]["target"]["id"].as_str() else { continue };
        let entry = found.entry(id.to_owned()).or_default();
        *entry = (entry.0 + 1, event["data"].clone());
    }
    found
}

fn all_told(messages: &[Message]) -> impl Fn(&[Value]) -> bool {
    let ids: HashSet<String> = messages.iter().map(|message| message.id.clone()).collect();
    move |said| {
        let told = said.iter().filter_map(|event| event["data"]["target"]["id"].as_str());
        told.filter(|id| ids.contains(*id)).collect::<HashSet<_>>().len() == ids.len()
    }
}

/// What a publisher said when it was over.
struct Played {
    said: Vec<Value>,
    /// How often each of the payloads went out.
    sent: HashMap<Digest, usize>,
    /// Subjects and digests of what nobody asked it to send.
    strange: Vec<String>,
}

async fn over(stage: &Stage, publisher: Driven, messages: &[Message]) -> Played {
    let said = publisher.said();
    publisher.end(GRACE).await;
    let asked: HashSet<(&str, Digest)> =
        messages.iter().map(|message| (message.subject.as_str(), message.digest)).collect();
    let (mut sent, mut strange) = (HashMap::new(), Vec::new());
    for heard in stage.tap.messages() {
        if asked.contains(&(heard.subject.as_str(), heard.digest)) {
            *sent.entry(heard.digest).or_default() += 1;
        } else {
            strange.push(format!(
                "{:?}: {} sha256:{} was not asked for",
                heard.at,
                heard.subject,
                heard.digest.hex()
            ));
        }
    }
    Played { said, sent, strange }
}

impl Played {
    fn unchanged(&self, messages: &[Message]) -> Check {
        let unsent = messages.iter().filter(|message| !self.sent.contains_key(&message.digest));
        let mut wrong: Vec<String> =
            unsent.map(|message| format!("{} was never sent byte for byte", message.id)).collect();
        wrong.extend(self.strange.iter().cloned());
        let seen = format!("{} publications, all as asked", self.sent.values().sum::<usize>());
        Check::without("sends what it was given, byte for byte and nothing else", wrong, seen)
    }

    /// Every message must have a receipt with one of these outcomes.
    fn told(&self, words: &'static str, messages: &[Message], outcomes: &[&str]) -> Check {
        let told = receipts(&self.said);
        let mut wrong = Vec::new();
        for message in messages {
            match told.get(&message.id).map(|(_, receipt)| receipt["outcome"].as_str().unwrap_or_default()) {
                None => wrong.push(format!("{}: no receipt was printed", message.id)),
                Some(outcome) if outcomes.contains(&outcome) => {}
                Some(outcome) => wrong.push(format!("{}: {outcome}", message.id)),
            }
        }
        let seqs = messages.iter().filter_map(|message| told.get(&message.id)?.1["seq"].as_u64());
        let (first, last) = (seqs.clone().min().unwrap_or_default(), seqs.max().unwrap_or_default());
        Check::without(words, wrong, format!("{} receipts, archive {first} to {last}", messages.len()))
    }
}

/// What the broker itself says became of these.
async fn known(stage: &Stage, messages: &[Message]) -> Check {
    let mut wrong = Vec::new();
    for message in messages {
        let outcome = stage.outcome(&message.id).await;
        if outcome.as_deref() != Some("accepted") {
            let found = outcome.unwrap_or_else(|| "unknown to the broker".to_owned());
            wrong.push(format!("{}: {found}", message.id));
        }
    }
    Check::without(
        "nothing is lost: the broker has every message",
        wrong,
        format!("{} accepted", messages.len()),
    )
}

fn valid_ones(stage: &Stage, count: usize) -> Vec<Message> {
    (0..count).map(|_| Message::report(&stage.own(), &stage.others[0].sender.party)).collect()
}

/// See [`super::Scenario::Valid`].
pub async fn valid(stage: &mut Stage) -> Result<Vec<Check>, CertifyError> {
    let messages = valid_ones(stage, FEW);
    let publisher = stage.publisher()?;
    messages.iter().for_each(|message| publisher.tell(&message.line()));
    publisher.until(stage.options.limit, all_told(&messages)).await;
    let played = over(stage, publisher, &messages).await;
    let again = messages.iter().filter_map(|message| {
        let times = played.sent.get(&message.digest).copied().unwrap_or_default();
        (times > 1).then(|| format!("{}: {times} times", message.id))
    });
    Ok(vec![
        played.told("awaits and prints the receipt of every message", &messages, &["accepted"]),
        played.unchanged(&messages),
        Check::without(
            "sends nothing twice that was answered",
            again.collect(),
            "each message once".to_owned(),
        ),
        known(stage, &messages).await,
    ])
}

/// See [`super::Scenario::Invalid`].
pub async fn invalid(stage: &mut Stage) -> Result<Vec<Check>, CertifyError> {
    let to = stage.others[0].sender.party.clone();
    let good = valid_ones(stage, Spoilt::ALL.len());
    let bad = Spoilt::ALL.map(|how| Message::spoilt(&stage.own(), &to, how));
    let all: Vec<Message> =
        bad.iter().zip(&good).flat_map(|(bad, good)| [bad.clone(), good.clone()]).collect();
    let publisher = stage.publisher()?;
    all.iter().for_each(|message| publisher.tell(&message.line()));
    publisher.until(stage.options.limit, all_told(&all)).await;
    let played = over(stage, publisher, &all).await;
    let told = receipts(&played.said);
    let (mut unreported, mut repeated) = (Vec::new(), Vec::new());
    for (how, message) in Spoilt::ALL.into_iter().zip(&bad) {
        let code = told.get(&message.id).and_then(|(_, receipt)| receipt["code"].as_str());
        if code != Some(how.code()) {
            unreported.push(format!(
                "{}: {} instead of {}",
                message.id,
                code.unwrap_or("nothing"),
                how.code()
            ));
        }
        let times = played.sent.get(&message.digest).copied().unwrap_or_default();
        if times > 2 {
            repeated.push(format!("{}: sent {times} times", message.id));
        }
    }
    let codes = Spoilt::ALL.map(Spoilt::code).join(", ");
    Ok(vec![
        Check::without("reports each refusal with its code", unreported, codes),
        Check::without(
            "does not send a refused message again unchanged more than once",
            repeated,
            "at most twice each".to_owned(),
        ),
        played.told("goes on with the messages after a refusal", &good, &["accepted"]),
        played.unchanged(&all),
    ])
}

/// See [`super::Scenario::Duplicate`].
pub async fn duplicate(stage: &mut Stage) -> Result<Vec<Check>, CertifyError> {
    let messages = valid_ones(stage, 2);
    let publisher = stage.publisher()?;
    // The same bytes twice, and something after them.
    for message in [&messages[0], &messages[0], &messages[1]] {
        publisher.tell(&message.line());
    }
    publisher.until(stage.options.limit, all_told(&messages)).await;
    let played = over(stage, publisher, &messages).await;
    let mut checks = vec![
        played.told("prints a receipt of a success", &messages[..1], &["accepted", "duplicate"]),
        played.told("goes on after a duplicate", &messages[1..], &["accepted"]),
        played.unchanged(&messages),
    ];
    let times = played.sent.get(&messages[0].digest).copied().unwrap_or_default();
    if times == 1 && checks.iter().all(|check| check.verdict == Verdict::Pass) {
        checks.push(Check {
            words: "gets a receipt for a duplicate",
            verdict: Verdict::Pass,
            evidence: vec!["it knew the message and sent it once: that is as good".to_owned()],
        });
    }
    Ok(checks)
}

/// Waits until so many messages went out, or no more can.
async fn under_way(stage: &Stage, publisher: &Driven, count: usize) {
    tokio::select! {
        _ = stage.tap.messages_at_least(count, stage.options.limit) => {}
        () = publisher.over() => {}
    }
}

/// See [`super::Scenario::Outage`].
pub async fn outage(stage: &mut Stage) -> Result<Vec<Check>, CertifyError> {
    let limit = stage.options.limit;
    let messages = valid_ones(stage, stage.options.outage);
    let publisher = stage.publisher()?;
    let (quarter, half) = (messages.len() / 4, messages.len() / 2);
    let give = |from: usize, to: usize| {
        messages[from..to].iter().for_each(|message| publisher.tell(&message.line()));
    };
    give(0, quarter);
    publisher.until(limit, all_told(&messages[..quarter])).await;
    // The road is closed as soon as the first of the next quarter is under way.
    let before = stage.tap.messages().len();
    give(quarter, half);
    under_way(stage, &publisher, before + 1).await;
    stage.proxy.set(Weather::Refused);
    tokio::time::sleep(CLOSED).await;
    stage.proxy.set(Weather::Fair);
    publisher.until(limit, all_told(&messages[..half])).await;
    // And then it swallows what is sent before it breaks.
    let before = stage.tap.messages().len();
    give(half, messages.len());
    under_way(stage, &publisher, before + 1).await;
    stage.proxy.set(Weather::Silent);
    tokio::time::sleep(CLOSED).await;
    stage.proxy.set(Weather::Refused);
    tokio::time::sleep(CLOSED / 4).await;
    stage.proxy.set(Weather::Fair);
    publisher.until(limit, all_told(&messages)).await;
    let played = over(stage, publisher, &messages).await;
    let more = played.sent.values().sum::<usize>().saturating_sub(messages.len());
    let words = "keeps every message until its receipt, through two outages";
    let mut told = played.told(words, &messages, &["accepted", "duplicate"]);
    told.evidence.push(format!("{more} were sent again"));
    Ok(vec![told, played.unchanged(&messages), known(stage, &messages).await])
}
