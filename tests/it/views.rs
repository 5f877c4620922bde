//! What a party sees does not depend on what others send each other (T11): the same messages for it, once alone and once among
//! many that are not for it, look the same from its side.
//!
//! Left out, because the contract gives it away: the archive sequence in a party's own receipts, and the size of the signed tree
//! that a witness asks for.

use serde_json::{Value, json};

use super::auditor::mailbox;
use super::harness::{Dice, Exchange, Letter};
use super::load::message;

const READER: &str = "gr-hp";
const FAST: &str = "[rate]\nper_second = 1e6\nburst = 1e6\n";
const FOR_IT: [&str; 3] = ["gr-hp", "de-bpol,gr-hp", "@ms"];
const NOT_FOR_IT: [&str; 4] = ["de-bpol", "@agencies", "eu-frontex,no-pu", "fr-dnpaf,es-pn"];

/// A message and who sends it, with whether it is for the reader.
struct Sent {
    message: Value,
    party: &'static str,
    post: &'static str,
    accepted: bool,
    is_for_it: bool,
}

fn sent(dice: &mut Dice, is_for_it: bool) -> Sent {
    let pick = |dice: &mut Dice, from: &[&'static str]| {
        from[usize::try_from(dice.below(from.len() as u64)).expect("small")]
    };
    let (party, post) = if dice.below(2) == 0 { ("it-moi", "tn-01") } else { ("fr-dnpaf", "ne-02") };
    let audience = pick(dice, if is_for_it { &FOR_IT } else { &NOT_FOR_IT });
    // Some of the noise is refused.
    let accepted = is_for_it || dice.below(4) > 0;
    let audience = if audience.contains(party) { "eu-com" } else { audience };
    Sent { message: message(party, post, audience, accepted), party, post, accepted, is_for_it }
}

/// All that the reader can see of these.
async fn seen(all: &[Sent], noise: bool) -> Vec<String> {
    let exchange = Exchange::small(FAST).await;
    for sent in all.iter().filter(|sent| noise || sent.is_for_it) {
        let post = exchange.connect(sent.party, sent.post).await;
        let subject = format!("ilo.in.{}.{}.net.flow.observation.tn", sent.party, sent.post);
        let receipt = exchange.publish(&post, &subject, sent.message.to_string().into_bytes()).await;
        let wanted = if sent.accepted { "accepted" } else { "rejected" };
        assert_eq!(receipt["data"]["outcome"], wanted, "{receipt}");
    }
    let count = all.iter().filter(|sent| sent.is_for_it).count();
    let mut views: Vec<String> = mailbox(&exchange, READER, count).await.into_iter().map(letter).collect();
    let reader = exchange.connect(READER, "system").await;
    let ask = async |verb: &str, body: Value| {
        let answer = exchange.ask(&reader, READER, verb, &body).await;
        format!("{verb} {body}: {}", timeless(answer.unwrap_or_else(|(code, words)| json!([code, words]))))
    };
    let mut after = Value::Null;
    for _ in 0..=count / 3 {
        let body = match after.is_null() {
            true => json!({ "limit": 3 }),
            false => json!({ "limit": 3, "after": after }),
        };
        let page = exchange.ask(&reader, READER, "replay", &body).await.expect("a page");
        after = page["cursor"].clone();
        views.push(timeless(page).to_string());
    }
    views.push(ask("sub.list", json!({})).await);
    // Whether a message of others exists must not be told to who asks for it.
    for sent in all {
        let (id, source) = (&sent.message["id"], &sent.message["source"]);
        for verb in ["status", "ledger"] {
            views.push(ask(verb, json!({ "id": id, "source": source })).await);
            views.push(ask(verb, json!({ "id": id })).await);
        }
        views.push(ask("explain", json!({ "id": id, "source": source, "party": READER })).await);
        if !sent.is_for_it {
            views.push(ask("confirm", json!({ "id": id, "source": source })).await);
            views.push(ask("hold", json!({ "id": id, "source": source, "on": true })).await);
        }
    }
    views
}

fn letter(letter: Letter) -> String {
    let Letter { subject, headers, payload } = letter;
    let mut headers: Vec<(String, String)> =
        headers.into_iter().filter(|(name, _)| name != "Ilo-Archived-At").collect();
    headers.sort(); // the client library does not keep their order
    format!("{subject} {headers:?} {}", String::from_utf8_lossy(&payload))
}

/// The moment of archiving is another one in each world.
fn timeless(mut value: Value) -> Value {
    if let Some(messages) = value.get_mut("messages").and_then(Value::as_array_mut) {
        messages.iter_mut().for_each(|message| message["archived_at"] = Value::Null);
    }
    value
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_send_each_other_changes_nothing_that_a_party_sees() {
    let mut dice = Dice::new("views");
    let all: Vec<Sent> = (0..40)
        .map(|_| {
            let is_for_it = dice.below(4) == 0;
            sent(&mut dice, is_for_it)
        })
        .collect();
    let (alone, among_others) = (seen(&all, false).await, seen(&all, true).await);
    for (alone, among_others) in alone.iter().zip(&among_others) {
        assert_eq!(alone, among_others);
    }
    assert_eq!(alone.len(), among_others.len());
}
