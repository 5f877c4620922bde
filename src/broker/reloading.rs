//! Taking new configuration, registry and schemas while the house runs.
//!
//! What is wrong changes nothing. Addresses and directories keep their values until the next start.

use std::sync::Arc;

use super::config::Config;
use super::{Broker, connections, rulebook};
use crate::archive::audit::{Entry, Object, What, Word};
use crate::message::names::PartyId;
use crate::message::time;

impl Broker {
    /// Counts how a reload ended, whoever found its faults.
    pub fn note_reload(&self, taken: bool) {
        self.shared.metrics.reload_successful.set(i64::from(taken));
        let now = time::now().as_millisecond();
        if taken {
            self.shared.metrics.reload_success_timestamp.set(now as f64 / 1_000.0);
        }
        let entry = Entry::of_broker(now, What::ConfigurationReloaded, Object::default());
        if !self.shared.audit.note(if taken { entry } else { entry.ending(Word::Failed) }) {
            tracing::error!("a reload could not be noted in the audit log");
        }
    }

    /// Takes new configuration, registry and schemas, or leaves the old in force. Addresses and directories keep
    /// their values until the next start.
    ///
    /// # Errors
    /// All faults found; nothing changed then.
    pub async fn reload(&mut self, config: Config) -> Result<(), Vec<String>> {
        let rules = rulebook::load(&config)?;
        let new: Vec<PartyId> = rules
            .registry
            .parties()
            .map(|party| party.id.clone())
            .filter(|party| !self.parties.contains(party))
            .collect();
        if !new.is_empty() {
            connections::ensure(&self.config, &new).await.map_err(|error| vec![error.to_string()])?;
        }
        // Before the rules are swapped: who is suspended reads nothing from the moment on in which its messages are refused.
        connections::hold_suspended(&self.config, &rules.registry)
            .await
            .map_err(|error| vec![error.to_string()])?;
        // Rules first: a new party's first message must meet the registry that knows it.
        *self.shared.rules.write() = Arc::new(rules);
        *self.shared.rate.write() = config.rate;
        *self.shared.replay.write() = config.replay;
        self.shared.reserve.resize(config.archive.reserve);
        for party in new {
            self.serve(party);
        }
        self.config = Config {
            planes: config.planes,
            rate: config.rate,
            replay: config.replay,
            drain: config.drain,
            ..self.config.clone()
        };
        Ok(())
    }
}
