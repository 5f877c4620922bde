//! The judgement: schemas, the rule table, parties and roles, audience, subscriptions, verdict.
//!
//! Pure: no I/O, no clock, no logging. `now` and everything remembered come in as arguments, so the daemon, the
//! service `validate` and `liaison validate` cannot differ. The rules have the numbers of the network's rule table,
//! S-1 to S-24 (`docs/DOMAIN.md`).

pub mod audience;
pub mod catalogue;
pub mod cel;
pub mod compatibility;
pub mod control;
pub mod deployments;
pub mod facets;
pub mod filter;
mod geo;
mod instance;
pub mod judge;
mod lint;
mod marks;
mod numbers;
mod papers;
mod personal;
mod places;
pub mod policy;
pub mod query;
mod ranges;
pub mod registry;
pub mod schemas;
mod screen;
mod semantics;
pub mod settle;
pub mod signing;
pub mod subscriptions;
mod times;
pub mod verdict;

/// Everything that a judgement needs besides the message and the time. Replaced as a whole on reload.
#[derive(Debug)]
pub struct Rules {
    /// The message types.
    pub catalogue: catalogue::Catalogue,
    /// The schemas in force.
    pub schemas: schemas::Schemas,
    /// The parties.
    pub registry: registry::Registry,
    /// What the operator decides.
    pub policy: policy::Policy,
}
