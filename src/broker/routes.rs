//! What routing needs besides the rules: who is deployed where, and who subscribed to what.
//!
//! Deployments are learned from accepted messages in archive order and rebuilt from the archive at start;
//! subscriptions come from the bucket that every broker instance sees.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use parking_lot::RwLock;
use tokio_util::sync::CancellationToken;

use super::Error;
use crate::archive::{self, Act, Draft, Opened, Reader};
use crate::message::names::PartyId;
use crate::message::outcome::{Code, Outcome, Refused};
use crate::message::tree::Tree;
use crate::rules::audience::{self, Routing};
use crate::rules::control::{self, Decision};
use crate::rules::deployments::{self, Deployments};
use crate::rules::judge::{self, Permitted};
use crate::rules::subscriptions::{Subscription, Subscriptions};
use crate::rules::{Rules, settle};
use crate::wire::connect::Client;
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
    ) -> Result<Decision, Refused> {
        settle::check(permitted.envelope(), permitted.data(), known, |target| {
            judge::new_data(rules, permitted, target)
        })?;
        self.decide(rules, permitted, known)
    }

    /// The recipients alone, for a judgement without an archive.
    ///
    /// # Errors
    /// The refusal of the first failing rule.
    pub fn recipients(&self, rules: &Rules, permitted: &Permitted) -> Result<Routing, Refused> {
        self.decide(rules, permitted, &[]).map(|decision| decision.routing)
    }

    fn decide(
        &self,
        rules: &Rules,
        permitted: &Permitted,
        known: &[Option<settle::Known>],
    ) -> Result<Decision, Refused> {
        // Again: the registry may have changed since the message was judged.
        let envelope = permitted.envelope();
        audience::check(&rules.registry, envelope, &envelope.purpose)?;
        let Self { subscriptions, deployments, .. } = self;
        let table = control::Table { registry: &rules.registry, subscriptions, deployments };
        control::decide(&table, &permitted.routed(), known)
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
pub(super) async fn rebuild(reader: &Reader, control: &Client) -> Result<(Bucket, Routes), Error> {
    let bucket = Bucket::open(control.clone()).await.map_err(Error::Nats)?;
    let mut routes = Routes { deployments: deployments(reader)?, ..Routes::default() };
    for stored in bucket.all().await.map_err(Error::Nats)? {
        routes.subscribe(stored);
    }
    Ok((bucket, routes))
}

/// The deployments that the archive tells of: what was accepted and not taken back, and its corrections, each at its place.
///
/// # Errors
/// The archive cannot be read.
pub(super) fn deployments(reader: &Reader) -> Result<Deployments, archive::Error> {
    let mut deployments = Deployments::default();
    let mut telling = reader.scan_kinds(&deployments::KINDS)?;
    for seq in reader.corrections_of(&deployments::KINDS) {
        telling.extend(reader.get(seq)?);
    }
    telling.sort_by_key(|record| record.seq);
    for record in telling {
        let accepted = record.outcome == Outcome::Accepted;
        let Some(summary) = record.summary.as_ref().filter(|_| accepted) else { continue };
        let fate = reader.fate(record.seq);
        if fate.erased.is_some() || fate.retracted.is_some() {
            continue;
        }
        let content = match reader.open(&record)? {
            Opened::Content(content) => content,
            Opened::Gone => continue,
            Opened::Lost => {
                tracing::warn!(record.seq, "its key is damaged; a deployment is left out");
                continue;
            }
        };
        let Some(event) = Tree::lenient(&content.payload) else { continue };
        let data = event.root().at("data");
        let corrects = record.effects.iter().find_map(|effect| match &effect.act {
            Act::Correct { kind } => Some(kind.as_str()),
            _ => None,
        });
        match corrects {
            Some(kind) => deployments.apply(&summary.originator, kind, data.at("newData")),
            None => deployments.apply(&summary.originator, summary.kind.as_str(), data),
        }
    }
    Ok(deployments)
}

/// Whether something that tells of deployments is taken back by these. What is not in the archive yet may be.
///
/// # Errors
/// The archive cannot be read.
pub(super) fn takes_back_deployments(reader: &Reader, drafts: &[Draft]) -> Result<bool, archive::Error> {
    let effects = drafts.iter().flat_map(|draft| &draft.effects);
    for effect in effects.filter(|effect| matches!(effect.act, Act::Erase { .. } | Act::Retract)) {
        let Some(record) = reader.get(effect.target)? else { return Ok(true) };
        let corrects = record.effects.iter().find_map(|effect| match &effect.act {
            Act::Correct { kind } => Some(kind),
            _ => None,
        });
        let own = record.summary.as_ref().map(|summary| &summary.kind);
        if corrects.or(own).is_some_and(|kind| deployments::KINDS.contains(&kind.as_str())) {
            return Ok(true);
        }
    }
    Ok(false)
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
