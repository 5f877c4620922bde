//! Replay equals the ledger: whatever is published, corrected, retracted, erased, passed on, suspended and killed, each party's
//! replay is exactly what a model in memory says, twice the same, with digests that recompute.
//!
//! The model shares no code with the broker. `LIAISON_STEPS` makes it long, `LIAISON_SEED` repeats a run.

use std::collections::{BTreeMap, BTreeSet};

use async_nats::Client;
use serde_json::{Value, json};

use super::control::{control, reference, send};
use super::harness::{Dice, Exchange, few_parties, setting, sha256};
use super::samples::report;

const PARTIES: [&str; 5] = ["de-bpol", "es-pn", "fr-dnpaf", "it-moi", "nl-dtv"];

/// A message as the model knows it.
struct Message {
    event: Value,
    bytes: Vec<u8>,
    holders: BTreeSet<&'static str>,
    corrections: Vec<usize>,
    withdrawn: Option<&'static str>,
}

#[derive(Default)]
struct Model {
    messages: Vec<Message>,
    /// What stands in each feed: indices of messages.
    feeds: BTreeMap<&'static str, Vec<usize>>,
    suspended: BTreeSet<&'static str>,
}

impl Model {
    /// A message was accepted and goes to these.
    fn accept(&mut self, event: &Value, to: &BTreeSet<&'static str>) -> usize {
        let at = self.messages.len();
        self.messages.push(Message {
            event: event.clone(),
            bytes: event.to_string().into_bytes(),
            holders: to.clone(),
            corrections: Vec::new(),
            withdrawn: None,
        });
        for party in to {
            self.feeds.entry(party).or_default().push(at);
        }
        at
    }

    fn active(&self, parties: &BTreeSet<&'static str>) -> BTreeSet<&'static str> {
        parties.difference(&self.suspended).copied().collect()
    }

    /// A message and its corrections.
    fn bundle(&self, at: usize) -> Vec<usize> {
        std::iter::once(at).chain(self.messages[at].corrections.iter().copied()).collect()
    }

    fn originator(&self, at: usize) -> &str {
        self.messages[at].event["originator"].as_str().expect("an originator")
    }
}

struct Run {
    exchange: Exchange,
    clients: BTreeMap<&'static str, Client>,
    model: Model,
    dice: Dice,
}

impl Run {
    async fn connect(&mut self) {
        self.clients.clear();
        for party in PARTIES {
            self.clients.insert(party, self.exchange.connect(party, "system").await);
        }
    }

    fn pick(&mut self, parties: &[&'static str]) -> &'static str {
        parties[self.dice.below(parties.len() as u64) as usize]
    }

    fn some(&mut self, but: &str) -> BTreeSet<&'static str> {
        let mut found: BTreeSet<&'static str> =
            PARTIES.into_iter().filter(|party| *party != but && self.dice.below(2) == 0).collect();
        if found.is_empty() {
            found.extend(PARTIES.into_iter().find(|party| *party != but));
        }
        found
    }

    /// Publishes; true if accepted, which it must be unless its sender is suspended.
    async fn publish(&self, party: &'static str, subject: &str, event: &Value) -> bool {
        let receipt = send(&self.exchange, &self.clients[party], subject, event).await;
        let expected = if self.model.suspended.contains(party) { "rejected" } else { "accepted" };
        assert_eq!(receipt["outcome"], expected, "{receipt} {event}");
        expected == "accepted"
    }

    async fn report(&mut self) {
        let party = self.pick(&PARTIES);
        let to = self.some(party);
        let mut event = report();
        event["source"] = format!("/authority/{party}").into();
        event["originator"] = party.into();
        event["audience"] = to.iter().copied().collect::<Vec<_>>().join(",").into();
        if self.publish(party, &format!("ilo.in.{party}.system.net.flow.observation.tn"), &event).await {
            let to = self.model.active(&to);
            self.model.accept(&event, &to);
        }
    }

    /// An earlier report, its originator, and whether it was withdrawn.
    fn earlier(&mut self) -> Option<(usize, &'static str)> {
        let reports: Vec<usize> = (0..self.model.messages.len())
            .filter(|at| self.model.messages[*at].event["purpose"] != "ctl")
            .collect();
        // Those that something was done to already are the interesting ones.
        let corrected: Vec<usize> =
            reports.iter().copied().filter(|at| !self.model.messages[*at].corrections.is_empty()).collect();
        let among = if corrected.is_empty() || self.dice.below(2) == 0 { &reports } else { &corrected };
        let at = *among.get(self.dice.below(among.len().max(1) as u64) as usize)?;
        let owner = PARTIES.into_iter().find(|party| *party == self.model.originator(at))?;
        Some((at, owner))
    }

    async fn correct(&mut self) {
        let Some((at, owner)) = self.earlier().filter(|(at, _)| self.model.messages[*at].withdrawn.is_none())
        else {
            return;
        };
        let target = &self.model.messages[at];
        let data = json!({ "target": reference(&target.event), "reason": "counted anew", "newData": target.event["data"] });
        let event = control("msg.correction", owner, "@network", data);
        if self.publish(owner, &format!("ilo.in.{owner}.system.ctl.msg.correction.zz"), &event).await {
            let to = self.model.active(&self.model.messages[at].holders.clone());
            let correction = self.model.accept(&event, &to);
            self.model.messages[at].corrections.push(correction);
        }
    }

    async fn withdraw(&mut self, kind: &str, word: &'static str) {
        let Some((at, owner)) = self.earlier() else { return };
        let target = reference(&self.model.messages[at].event);
        let due = format!("{:.0}", jiff::Timestamp::now() + jiff::SignedDuration::from_hours(48));
        let data = match word {
            "erased" => json!({ "targets": [target], "ground": "unlawful", "dueBy": due }),
            _ => json!({ "target": target, "reason": "sent-in-error" }),
        };
        let event = control(kind, owner, "@network", data);
        if self.publish(owner, &format!("ilo.in.{owner}.system.ctl.{kind}.zz"), &event).await {
            // Who is suspended has what is recalled, and is told when it is back.
            let to = self.model.messages[at].holders.clone();
            self.model.accept(&event, &to);
            for gone in self.model.bundle(at) {
                let gone = &mut self.model.messages[gone].withdrawn;
                // Erased goes before retracted, whichever came first.
                *gone = if word == "erased" { Some(word) } else { gone.or(Some(word)) };
            }
        }
    }

    async fn release(&mut self) {
        let Some((at, owner)) = self.earlier().filter(|(at, _)| self.model.messages[*at].withdrawn.is_none())
        else {
            return;
        };
        let wider = self.some(owner);
        let data = json!({ "target": reference(&self.model.messages[at].event), "step": "grant", "reason": "asked for",
            "newAudience": wider.iter().copied().collect::<Vec<_>>().join(",") });
        let event = control("msg.release", owner, "@network", data);
        if self.publish(owner, &format!("ilo.in.{owner}.system.ctl.msg.release.zz"), &event).await {
            let holders = self.model.messages[at].holders.clone();
            let to = self.model.active(&holders);
            self.model.accept(&event, &to);
            let fresh: BTreeSet<&'static str> =
                self.model.active(&wider).difference(&holders).copied().collect();
            for passed in self.model.bundle(at) {
                for party in &fresh {
                    self.model.feeds.entry(party).or_default().push(passed);
                }
                self.model.messages[passed].holders.extend(&fresh);
            }
        }
    }

    /// A party is suspended, or takes part again.
    async fn registry(&mut self) {
        let party = self.pick(&PARTIES);
        if !self.model.suspended.remove(party) {
            self.model.suspended.insert(party);
        }
        let few = few_parties();
        let text: String = few
            .split_inclusive("[[party]]")
            .map(|block| {
                let suspended =
                    self.model.suspended.iter().any(|party| block.contains(&format!("id = \"{party}\"\n")));
                if suspended {
                    block.replace("participation = \"member-state\"", "participation = \"suspended\"")
                } else {
                    block.to_owned()
                }
            })
            .collect();
        std::fs::write(self.exchange.data.join("network.toml"), text).expect("a registry");
        assert!(self.exchange.reload().await);
    }

    async fn restart(&mut self) {
        self.exchange.kill();
        self.exchange.again().await;
        self.connect().await;
    }

    /// The whole replay of a party, page by page.
    async fn replay(&self, party: &str, limit: u64) -> Result<Vec<Value>, String> {
        let (mut items, mut cursor) = (Vec::new(), Value::Null);
        loop {
            let mut request = json!({ "limit": limit });
            if !cursor.is_null() {
                request["after"] = cursor;
            }
            let page = self
                .exchange
                .ask(&self.clients[party], party, "replay", &request)
                .await
                .map_err(|(code, _)| code)?;
            items.extend(page["messages"].as_array().expect("messages").iter().cloned());
            if page["done"] == true {
                return Ok(items);
            }
            cursor = page["cursor"].clone();
        }
    }

    /// Every replay against the model.
    async fn agree(&self) {
        for party in PARTIES {
            let replayed = self.replay(party, 7).await;
            if self.model.suspended.contains(party) {
                assert_eq!(replayed.expect_err("suspended"), "403");
                continue;
            }
            let replayed = replayed.expect("answers");
            assert_eq!(self.replay(party, 7).await.expect("answers"), replayed, "twice the same");
            assert_eq!(self.replay(party, 1_000).await.expect("answers"), replayed, "whatever the pages");
            let feed = self.model.feeds.get(party).map_or(&[][..], Vec::as_slice);
            assert_eq!(replayed.len(), feed.len(), "{party}: {replayed:#?}");
            for ((seq, item), at) in (1_u64..).zip(&replayed).zip(feed) {
                let message = &self.model.messages[*at];
                assert_eq!(item["seq"], seq);
                assert_eq!(item["digest"], format!("sha256:{}", sha256(&message.bytes)));
                match message.withdrawn {
                    None => assert_eq!(item["event"], message.event, "{party} {seq}"),
                    Some(word) => {
                        assert_eq!(item["tombstone"]["why"], word, "{party} {seq}: {item}");
                        assert_eq!(item["tombstone"]["id"], message.event["id"]);
                        assert!(item.get("event").is_none());
                    }
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_replay_is_what_the_ledger_says() {
    let exchange = Exchange::with(&[], |data| {
        std::fs::write(data.join("network.toml"), few_parties()).expect("a registry")
    })
    .await;
    let mut run = Run {
        exchange,
        clients: BTreeMap::new(),
        model: Model::default(),
        dice: Dice::new("replay equals the ledger"),
    };
    run.connect().await;
    for step in 0..setting("LIAISON_STEPS", 60) {
        match run.dice.below(20) {
            0..8 => run.report().await,
            8..11 => run.correct().await,
            11..13 => run.withdraw("msg.retraction", "retracted").await,
            13..15 => run.withdraw("msg.erasure", "erased").await,
            15..18 => run.release().await,
            18 => run.registry().await,
            _ => run.restart().await,
        }
        if step % 10 == 9 {
            run.agree().await;
        }
    }
    run.agree().await;
}
