//! What routing needs besides the rules: who is deployed where, and who subscribed to what.
//!
//! Deployments are learned from accepted messages in archive order and rebuilt from the archive at start;
//! subscriptions come from the bucket that every broker instance sees.

use crate::message::outcome::Refused;
use crate::rules::Rules;
use crate::rules::audience::{self, Routing};
use crate::rules::deployments::Deployments;
use crate::rules::judge::{self, Permitted};
use crate::rules::settle;
use crate::rules::subscriptions::Subscriptions;

/// The changing half of the routing.
#[derive(Debug, Default)]
pub struct Routes {
    /// Where officers are.
    pub deployments: Deployments,
    /// What parties want of group messages.
    pub subscriptions: Subscriptions,
}

impl Routes {
    /// The rules that need the memory, then the recipients. `known` answers [`settle::needs`] in order.
    ///
    /// # Errors
    /// The refusal of the first failing rule.
    pub fn route(
        &self,
        rules: &Rules,
        permitted: &Permitted,
        known: &[Option<settle::Known>],
    ) -> Result<Routing, Refused> {
        settle::check(permitted.envelope(), permitted.data(), known, |target| {
            judge::new_data(rules, permitted, target)
        })?;
        self.recipients(rules, permitted)
    }

    /// The recipients alone, for a judgement without an archive.
    ///
    /// # Errors
    /// The refusal of the first failing rule.
    pub fn recipients(&self, rules: &Rules, permitted: &Permitted) -> Result<Routing, Refused> {
        // Again: the registry may have changed since the message was judged.
        let envelope = permitted.envelope();
        audience::check(&rules.registry, envelope, &envelope.purpose)?;
        audience::route(&rules.registry, &self.subscriptions, &self.deployments, &permitted.routed())
    }

    /// Learns from an accepted message.
    pub fn learn(&mut self, permitted: &Permitted) {
        let envelope = permitted.envelope();
        self.deployments.apply(&envelope.originator, envelope.kind.as_str(), permitted.data());
    }
}
