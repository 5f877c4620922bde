//! Servers of a cluster that are all alive and do not see each other.
//!
//! The one that is alone believes for a while that it leads what it led; whoever is connected to it gets no further. The others
//! go on without it. Parties are connected to those; the instances to any. Two may also not see each other while the third sees both.

use std::time::{Duration, Instant};

use super::auditor::audit;
use super::harness::{Dice, setting};
use super::instances::Instances;
use super::load::Load;
use super::proxy::Weather;

/// Until receipts come again. Leaders are chosen anew, the lease may go over, and an instance that lost it starts anew.
const AGAIN: Duration = Duration::from_secs(120);

/// One server after the other is alone for a while. Receipts go on meanwhile, and nothing is lost or put in twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_alone_holds_nothing_up_for_long() {
    let mut dice = Dice::new("servers that part");
    let mut instances = Instances::on_three_servers_that_part().await;
    let all = instances.exchange.nats.clone();
    instances.stand_by("b").await;
    let mut audited = Vec::new();
    for round in 0..setting("LIAISON_PARTINGS", 1) {
        let alone = match round {
            0 => instances.leader("JOURNAL_0").await,
            _ => usize::try_from(dice.below(3)).expect("one of three"),
        };
        instances.clients_avoid(alone, &all);
        let load = Load::begin(&instances.exchange).await;
        load.more(20).await;
        let weather = if round % 2 == 0 { Weather::Silent } else { Weather::Cut };
        instances.part(alone, weather);
        let (since, receipted) = (Instant::now(), load.receipted());
        while load.receipted() < receipted + 100 {
            assert!(since.elapsed() < AGAIN, "{} receipts more", load.receipted() - receipted);
            instances.supervised(Duration::from_millis(200)).await;
        }
        println!("{weather:?} around n{}: 100 receipts after {:?}", alone + 1, since.elapsed());
        // Longer than a server that is alone believes that it leads.
        instances.supervised(Duration::from_secs(20).saturating_sub(since.elapsed())).await;
        load.more(20).await;
        instances.part(alone, Weather::Fair);
        instances.supervised(Duration::from_secs(3)).await;
        load.more(20).await;
        audited.push(load.end().await);
    }
    instances.sorted_out().await;
    let mut books = audited.pop().expect("one at least");
    audited.into_iter().for_each(|more| books.add(more));
    audit(&instances.exchange, &books).await;
}

/// How long two servers do not see each other.
const ESTRANGED: Duration = Duration::from_secs(40);

/// The leader of the journal and another server do not see each other, the third sees both. Whatever goes on meanwhile, nothing is
/// lost or put in twice, and afterwards receipts come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_that_do_not_see_each_other_lose_nothing() {
    let mut dice = Dice::new("servers that do not see each other");
    let mut instances = Instances::on_three_servers_that_part().await;
    instances.stand_by("b").await;
    let mut audited = Vec::new();
    for round in 0..setting("LIAISON_PARTINGS", 1) {
        let one = instances.leader("JOURNAL_0").await;
        let other = (one + 1 + usize::try_from(dice.below(2)).expect("one of two")) % 3;
        let load = Load::begin(&instances.exchange).await;
        load.more(20).await;
        let weather = if round % 2 == 0 { Weather::Cut } else { Weather::Silent };
        instances.estrange([one, other], weather);
        let receipted = load.receipted();
        instances.supervised(ESTRANGED).await;
        let meanwhile = load.receipted() - receipted;
        instances.estrange([one, other], Weather::Fair);
        let (since, receipted) = (Instant::now(), load.receipted());
        while load.receipted() < receipted + 100 {
            assert!(since.elapsed() < AGAIN, "{} receipts more", load.receipted() - receipted);
            instances.supervised(Duration::from_millis(200)).await;
        }
        println!(
            "{weather:?} between n{} and n{}: {meanwhile} receipts in {ESTRANGED:?}, then 100 after {:?}",
            one + 1,
            other + 1,
            since.elapsed()
        );
        audited.push(load.end().await);
    }
    instances.sorted_out().await;
    let mut books = audited.pop().expect("one at least");
    audited.into_iter().for_each(|more| books.add(more));
    audit(&instances.exchange, &books).await;
}
