//! What is erased here goes from the replicated journal too: all of it, and also when that could not be done at once. Who takes
//! over, and what it has then, is in `cluster.rs`.

use std::time::{Duration, Instant};

use liaison::wire::connect::Road;
use liaison::wire::journal::{Entry, Journal};
use liaison::wire::keys::read_seed;
use liaison::wire::lease::Term;
use liaison::wire::tls::Address;
use serde_json::{Value, json};

use super::control::{control, order, reference, send};
use super::harness::{example, fresh_id, log_of, shifted, until};
use super::instances::Instances;

const DELETE: &str = "\"$JS.API.STREAM.MSG.DELETE.JOURNAL_0\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_seed_of_a_slot_is_erased() {
    let instances = Instances::on_one_server().await;
    let exchange = &instances.exchange;
    let seed = read_seed(&exchange.key("broker", "replica")).expect("a key");
    let road = Road { to: Address::plain(exchange.nats.clone()), seed };
    let journal = Journal::open(&road, 0).await.expect("opens");
    let term = Term::default();
    term.renewed(Instant::now());
    let mut last = journal.last().await.expect("a number");
    // That of a holder that was refused, its successor's, and once more what the servers had lost.
    for (slot, bytes) in [(7, "refused"), (7, "kept"), (8, "another"), (7, "kept")] {
        let entry = Entry::Seed(slot, bytes.as_bytes().into());
        last = journal.append(last, &entry, &term).await.expect("stands there");
    }
    journal.erase_seeds(7).await.expect("erases");
    assert_eq!(journal.seed(7).await.expect("asks"), None);
    assert_eq!(journal.seed(8).await.expect("asks"), Some(last - 1));
    journal.erase_seeds(7).await.expect("nothing left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_erased_elsewhere_is_erased_at_a_later_sweep() {
    let instances = Instances::on_one_server().await;
    let exchange = &instances.exchange;
    let case = example("valid/07-case-identity-request.json");
    let mut sealed = shifted(case["message"].clone());
    sealed["id"] = fresh_id().into();
    sealed["audience"] = "de-bpol,fr-dnpaf".into();
    let holder = exchange.connect("nl-dtv", "system").await;
    let subject = case["natsSubject"].as_str().expect("a subject");
    assert_eq!(send(exchange, &holder, subject, &sealed).await["outcome"], "accepted");
    let admin = exchange.admin().await;
    // While a server takes its configuration anew, nobody answers for a moment.
    let seeds = async || {
        until("an answer", async || {
            let filter = json!({ "seq": 1, "next_by_subj": "ilo.journal.0.key.*" }).to_string();
            let answer = admin.request("$JS.API.STREAM.MSG.GET.JOURNAL_0", filter.into()).await.ok()?;
            let answer: Value = serde_json::from_slice(&answer.payload).expect("JSON");
            Some(!answer["message"].is_null())
        })
        .await
    };
    assert!(seeds().await, "a seed");

    instances.reconfigured(DELETE, "\"nothing\"");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let due = format!("{:.0}", jiff::Timestamp::now() + jiff::SignedDuration::from_hours(48));
    let data = json!({ "targets": [reference(&sealed)], "ground": "data-subject-request", "dueBy": due, "attest": true });
    let erasure = control("msg.erasure", "nl-dtv", "de-bpol,fr-dnpaf", data);
    order(exchange, &holder, "msg.erasure", &erasure).await;
    let words = "erased content stays in the replicated journal";
    assert!(log_of(&exchange.data).contains(words) && seeds().await, "it could not be deleted");

    instances.reconfigured("\"nothing\"", DELETE);
    until("the seed's end", async || (!seeds().await).then_some(())).await;
}
