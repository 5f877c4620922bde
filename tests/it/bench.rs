//! What a judgement costs. Not a test of speed, which depends on the machine: run it by name and read it.

use std::time::Instant;

use liaison::rules::judge::judge;

use super::examples::{self, RULES, now, raw};

#[test]
#[ignore = "prints a measurement; run with --release"]
fn the_cost_of_a_judgement() {
    for example in examples::all("valid") {
        let raw = raw(&example.publisher, &example.subject, &example.payload);
        let rounds = 20_000;
        let started = Instant::now();
        for _ in 0..rounds {
            assert!(judge(&RULES, raw.clone(), now()).is_ok());
        }
        let each = started.elapsed().as_secs_f64() * 1e6 / f64::from(rounds);
        println!("{} {} bytes: {each:.1} µs", example.name, example.payload.len());
    }
}
