//! What a script knows from the start and never changes: posts with their countries, authorities with their roles, which
//! groups a type goes to.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde_json::Value;

use super::Setting;
use super::places;
use crate::message::names::{PartyId, PostId};
use crate::rules::registry::{Participation, Party, Role};
use crate::sim::cast::Cast;
use crate::sim::plan::Plan;

/// A post that publishes.
pub(super) struct Post {
    pub(super) party: PartyId,
    pub(super) post: PostId,
    /// Its `source`.
    pub(super) source: String,
    /// Place of its authority.
    pub(super) authority: usize,
    /// Place of its host country in `places`.
    pub(super) country: usize,
    /// When it is not connected, microseconds.
    away: Option<(u64, u64)>,
}

impl Post {
    /// When it is back, if it is not there at this instant.
    pub(super) fn back(&self, at: u64) -> Option<u64> {
        self.away.filter(|(from, to)| (*from..*to).contains(&at)).map(|(_, to)| to)
    }
}

/// Everything that does not change.
pub(super) struct World {
    pub(super) setting: Setting,
    pub(super) weights: [f64; 11],
    pub(super) posts: Vec<Post>,
    /// A post of a suspended authority, the last of `posts` if there is one.
    pub(super) suspended: Option<usize>,
    /// All authorities by id.
    pub(super) parties: Vec<Arc<Party>>,
    /// Posts of each authority.
    pub(super) posts_of: Vec<Vec<usize>>,
    /// Authorities that are named in messages: those that take part.
    pub(super) named: Vec<usize>,
    /// Their ids.
    pub(super) ids: Vec<String>,
    /// Before this, microseconds, it is told who is deployed where; after it, `@local` is used.
    pub(super) settled: u64,
}

impl World {
    pub(super) fn new(plan: &Plan, cast: &Cast, setting: Setting) -> Self {
        let parties: Vec<Arc<Party>> = cast.registry.parties().cloned().collect();
        let mut posts_of = vec![Vec::new(); parties.len()];
        let mut posts = Vec::with_capacity(cast.officers.len());
        let mut suspended = None;
        for (at, officer) in cast.officers.iter().enumerate() {
            let authority = parties.iter().position(|party| party.id == officer.party).unwrap_or_default();
            let host = officer.post.as_str().get(..2).unwrap_or_default();
            let micros = |span: std::time::Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
            posts.push(Post {
                party: officer.party.clone(),
                post: officer.post.clone(),
                source: format!("/authority/{}/post/{}", officer.party, officer.post),
                authority,
                country: places::find(host).unwrap_or(at % places::all().len()),
                away: officer.away.map(|(from, to)| (micros(from), micros(to))),
            });
            if parties[authority].is_suspended() {
                suspended = Some(at);
            } else {
                posts_of[authority].push(at);
            }
        }
        let takes_part = |party: &Party| {
            !matches!(party.participation, Participation::Observer | Participation::Suspended)
                && !party.reads_no_content()
        };
        let named: Vec<usize> = (0..parties.len()).filter(|at| takes_part(&parties[*at])).collect();
        let mut weights = plan.mix.weights();
        if !setting.case_plane {
            weights[10] = 0.0;
        }
        if weights.iter().sum::<f64>() <= 0.0 {
            weights[0] = 1.0;
        }
        let settled = u64::try_from(plan.duration.as_micros() / 10).unwrap_or(u64::MAX);
        let ids = named.iter().map(|at| parties[*at].id.to_string()).collect();
        Self { setting, weights, posts, suspended, parties, posts_of, named, ids, settled }
    }

    /// Officers that write ordinary messages.
    pub(super) fn ordinary(&self) -> usize {
        self.posts.len() - usize::from(self.suspended.is_some())
    }

    /// The id of an authority.
    pub(super) fn id(&self, authority: usize) -> &str {
        self.parties[authority].id.as_str()
    }

    /// Authorities that take part and have a role, other than one.
    pub(super) fn with_role(&self, role: Role, but: usize) -> Vec<usize> {
        let has = |at: &&usize| self.parties[**at].has(role) && **at != but;
        self.named.iter().filter(has).copied().collect()
    }

    /// The audience that a client pre-fills for a type, as far as this registry has it.
    pub(super) fn usual(&self, kind: &str) -> String {
        let usual = USUAL.get(kind).map(Vec::as_slice).unwrap_or_default();
        let known = |name: &&String| name.starts_with('@') || self.ids.contains(*name);
        let names: Vec<&str> = usual.iter().filter(known).map(String::as_str).collect();
        if names.is_empty() { "@network".to_owned() } else { names.join(",") }
    }
}

/// Default audiences of the catalogue, without `@local`: where it may be written is the script's decision.
static USUAL: LazyLock<BTreeMap<String, Vec<String>>> = LazyLock::new(|| {
    let catalogue: BTreeMap<String, Value> =
        serde_json::from_str(include_str!("../../../schemas/catalogue.json"))
            .expect("the embedded catalogue must be readable");
    let names = |entry: &Value| {
        let text = entry["default"].as_str().unwrap_or_default();
        let text = text.split([';', ' ']).next().unwrap_or_default();
        let is_name =
            |name: &&str| name.starts_with('@') && *name != "@local" || PartyId::parse(name).is_ok();
        text.split(',').filter(is_name).map(str::to_owned).collect()
    };
    catalogue.iter().map(|(kind, entry)| (kind.clone(), names(entry))).collect()
});
