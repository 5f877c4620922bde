//! What routing needs besides the rules: who is deployed where, and who subscribed to what.
//!
//! Deployments are learned from accepted messages in archive order and rebuilt from the archive at start;
//! subscriptions come from the bucket that every broker instance sees.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use parking_lot::RwLock;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::Error;
use crate::archive::Reader;
use crate::message::names::PartyId;
use crate::message::outcome::{Code, Outcome, Refused};
use crate::rules::audience::{self, Routing};
use crate::rules::deployments::{self, Deployments};
use crate::rules::judge::{self, Permitted};
use crate::rules::subscriptions::{Subscription, Subscriptions};
use crate::rules::{Rules, settle};
use crate::wire::subscriptions::{Bucket, Stored};

/// Pause before the bucket is followed again after an interruption.
const PAUSE: Duration = Duration::from_secs(2);

/// The changing half of the routing.
#[derive(Debug, Default)]
pub struct Routes {
    /// Where officers are.
    pub deployments: Deployments,
    /// What parties want of group messages.
    pub subscriptions: Subscriptions,
    /// The revision of each party's list: an echo of an older one changes nothing.
    revisions: HashMap<PartyId, u64>,
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

    /// The revision of a party's stored list; 0 if it stored none.
    #[must_use]
    pub fn revision(&self, party: &PartyId) -> u64 {
        self.revisions.get(party).copied().unwrap_or_default()
    }

    /// Puts a list in force that the bucket has taken at this revision.
    ///
    /// # Errors
    /// The refusal of the list; nothing changed then.
    pub fn replace(
        &mut self,
        party: &PartyId,
        list: Vec<Subscription>,
        revision: u64,
    ) -> Result<(), Refused> {
        if revision > self.revision(party) {
            self.subscriptions.replace_party(party.clone(), list)?;
            self.revisions.insert(party.clone(), revision);
        }
        Ok(())
    }

    fn subscribe(&mut self, stored: Stored) {
        let Stored { party, list, revision } = stored;
        if revision <= self.revision(&party) {
            return;
        }
        let unreadable = || Refused::new(Code::Schema, "", "must be a list");
        let items = list.as_array().ok_or_else(unreadable);
        let parsed: Result<Vec<Subscription>, Refused> =
            items.and_then(|items| items.iter().map(Subscription::parse).collect());
        if let Err(refused) = parsed.and_then(|list| self.replace(&party, list, revision)) {
            // A list that was once accepted and no longer parses must not turn into "everything".
            tracing::error!(%party, code = %refused.code,
                "stored subscriptions are not readable; the party gets no group messages");
            self.subscriptions.silence(party);
        }
    }
}

/// Deployments from the archive, subscriptions from the bucket.
pub(super) async fn rebuild(reader: &Reader, bucket: &Bucket) -> Result<Routes, Error> {
    let mut routes = Routes::default();
    for record in reader.scan_kinds(&deployments::KINDS)? {
        if let (Outcome::Accepted, Some(summary)) = (record.outcome, &record.summary)
            && let Ok(event) = serde_json::from_slice::<Value>(&record.payload)
        {
            routes.deployments.apply(&summary.originator, summary.kind.as_str(), &event["data"]);
        }
    }
    for stored in bucket.all().await.map_err(Error::Nats)? {
        routes.subscribe(stored);
    }
    Ok(routes)
}

/// Follows the bucket, so that what another instance stored takes effect here.
pub(super) async fn follow(bucket: Bucket, routes: Arc<RwLock<Routes>>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let mut watching = match bucket.watch().await {
            Ok(watching) => watching,
            Err(error) => {
                tracing::warn!(%error, "subscriptions cannot be followed; trying again");
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => continue,
                    () = stop.cancelled() => return,
                }
            }
        };
        loop {
            let next = tokio::select! { next = watching.next() => next, () = stop.cancelled() => return };
            let Some(stored) = next else { break };
            routes.write().subscribe(stored);
        }
    }
}
