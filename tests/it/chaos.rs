//! The long form: rounds of faults that a seed throws, each on an exchange under load, each ending in the auditor.
//!
//! `scripts/chaos --minutes N [--seed S]` runs it. `LIAISON_SEED` repeats a run, `LIAISON_ROUND` one round of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::faults::Fault;
use super::harness::{Dice, setting};
use super::scene::{FAST, Scene};

/// Faults in a round: more in one would only make it harder to see which it was.
const MOST: u64 = 4;

/// What the rounds came to. Printed when it is dropped, so also at the first violation.
#[derive(Default)]
struct Table {
    rows: BTreeMap<String, u64>,
    striking: Option<String>,
    rounds: u64,
    receipted: usize,
    letters: usize,
}

impl Drop for Table {
    fn drop(&mut self) {
        let bad = std::thread::panicking();
        println!("\n{:<44} {:>5}  outcome", "fault", "runs");
        for (name, runs) in &self.rows {
            let here = bad && self.striking.as_ref() == Some(name);
            println!("{name:<44} {runs:>5}  {}", if here { "violation in its round" } else { "held" });
        }
        println!(
            "{} rounds without a violation: {} messages receipted, {} letters read",
            self.rounds, self.receipted, self.letters
        );
        match bad {
            true => println!("the next round: VIOLATION, see above"),
            false => println!("receipted and lost 0, misdelivered 0, unexplained stream sequences 0"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "as long as LIAISON_MINUTES says; scripts/chaos runs it"]
async fn rounds() {
    let mut dice = Dice::new("chaos");
    let end = Instant::now() + Duration::from_secs(60 * setting("LIAISON_MINUTES", 30));
    let only = setting("LIAISON_ROUND", 0);
    let mut table = Table::default();
    for round in 1.. {
        let seed = dice.seed();
        if only != 0 && only != round {
            continue;
        }
        if Instant::now() >= end {
            return;
        }
        let mut own = Dice::seeded(seed);
        let faults: Vec<Fault> = (0..1 + own.below(MOST)).map(|_| Fault::any(&mut own)).collect();
        println!("round {round}: {faults:?}");
        let mut scene = Scene::with(own, FAST, |_| {}).await;
        scene.more(super::scene::MORE).await;
        for fault in faults {
            table.striking = Some(fault.name());
            *table.rows.entry(fault.name()).or_default() += 1;
            fault.strike(&mut scene).await;
        }
        let audited = scene.end().await;
        table.rounds += 1;
        table.receipted += audited.receipted;
        table.letters += audited.letters;
        if only != 0 {
            return;
        }
    }
}
