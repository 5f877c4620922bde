//! The flags that say which messages are meant: the same for `archive stats`, `show`, `export` and for `replay`.

use std::path::Path;

use serde_json::Value;

use super::archive::archive_in;
use super::serve::Root;
use super::{Exit, Failure};
use crate::archive::{Archive, Plane, ReadOnly};
use crate::export::query::{Country, Pattern, Query};
use crate::export::source::Source;
use crate::message::names::{MessageId, PartyId};
use crate::message::outcome::{Outcome, Refused};
use crate::message::time::{self, Timestamp};

/// What an analyst may ask of an archive and of a feed.
#[derive(Debug, clap::Args)]
pub struct Selection {
    /// Archived at or after this, RFC 3339. In an archive also a number: the first sequence.
    #[arg(long, env = "LIAISON_FROM")]
    from: Option<Start>,
    /// Archived before this, RFC 3339.
    #[arg(long, env = "LIAISON_TO", value_parser = moment)]
    to: Option<Timestamp>,
    /// Type: flow.observation, eu.ilonet.flow.observation.v1, or several of them: flow.*
    #[arg(long = "type", env = "LIAISON_TYPE", value_delimiter = ',', value_name = "TYPE")]
    kinds: Vec<Pattern>,
    /// Country that the message names, as its subject or in its body: TN
    #[arg(long = "country", env = "LIAISON_COUNTRY", value_delimiter = ',', value_name = "CC")]
    countries: Vec<Country>,
    /// Authority that answers for the content.
    #[arg(long = "originator", env = "LIAISON_ORIGINATOR", value_delimiter = ',', value_name = "PARTY")]
    originators: Vec<PartyId>,
    /// CEL expression over `event` and `data`, as in subscriptions.
    #[arg(long = "where", env = "LIAISON_WHERE", value_name = "CEL")]
    condition: Option<String>,
    /// Filter of a subscription, as JSON: {"prefix":{"type":"eu.ilonet.flow."}}; more of them must all match.
    #[arg(long = "filter", env = "LIAISON_FILTER", value_name = "JSON", value_parser = json)]
    filters: Vec<Value>,
    /// At most so many.
    #[arg(long, env = "LIAISON_LIMIT")]
    limit: Option<u64>,
}

/// What may be asked of an archive only.
#[derive(Debug, clap::Args)]
pub struct InArchive {
    #[command(flatten)]
    selection: Selection,
    /// With a sequence above this.
    #[arg(long, env = "LIAISON_AFTER", value_name = "SEQ")]
    after: Option<u64>,
    /// `source`, whole.
    #[arg(long = "source", env = "LIAISON_SOURCE", value_delimiter = ',', value_name = "SOURCE")]
    sources: Vec<String>,
    /// Message id.
    #[arg(long = "id", env = "LIAISON_ID", value_delimiter = ',', value_name = "ID")]
    ids: Vec<MessageId>,
    /// Plane: net, coord, board, case, ctl.
    #[arg(long = "plane", env = "LIAISON_PLANE", value_delimiter = ',', value_parser = plane)]
    planes: Vec<Plane>,
    /// Outcome: accepted, quarantined, rejected.
    #[arg(long = "outcome", env = "LIAISON_OUTCOME", value_delimiter = ',', value_parser = outcome)]
    outcomes: Vec<Outcome>,
    /// Open what is sealed too: the case plane, contacts, personal data, what is quarantined. Needs the root key.
    #[arg(long, env = "LIAISON_PERSONAL")]
    pub personal: bool,
    #[command(flatten)]
    root: Root,
}

impl InArchive {
    /// The archive in a data directory, with its keys if personal data are asked for.
    pub fn archive(&self, data: &Path) -> Result<ReadOnly, Failure> {
        let directory = archive_in(data);
        let archive = Archive::read_only(&directory)?;
        if !self.personal {
            return Ok(archive);
        }
        Ok(archive.unlocked(&self.root.of_archive(data, &directory)?)?)
    }
}

/// Where to begin.
#[derive(Debug, Clone, Copy)]
enum Start {
    Time(Timestamp),
    Sequence(u64),
}

impl std::str::FromStr for Start {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self::Sequence).or_else(|_| moment(text).map(Self::Time))
    }
}

impl Selection {
    /// The query for a replay.
    ///
    /// # Errors
    /// Usage: a filter or expression that cannot be read.
    pub fn for_feed(self) -> Result<Query, Failure> {
        if let Some(Start::Sequence(_)) = self.from {
            return Err(Failure::new(Exit::Usage, "--from: must be a time here; --after takes a cursor"));
        }
        self.query(Query::default())
    }

    fn is_everything(&self) -> bool {
        let lists = self.kinds.is_empty() && self.countries.is_empty() && self.originators.is_empty();
        let body = self.filters.is_empty() && self.condition.is_none();
        lists && body && self.from.is_none() && self.to.is_none() && self.limit.is_none()
    }

    fn query(self, query: Query) -> Result<Query, Failure> {
        let mut query = query;
        match self.from {
            Some(Start::Time(at)) => query.from = Some(at),
            Some(Start::Sequence(first)) => query.after = query.after.max(first.checked_sub(1)),
            None => {}
        }
        (query.to, query.kinds, query.countries) = (self.to, self.kinds, self.countries);
        (query.originators, query.limit) = (self.originators, self.limit);
        // A list of filters given as one is the list.
        let filters = self.filters.into_iter().flat_map(|filter| match filter {
            Value::Array(all) => all,
            one => vec![one],
        });
        query.with_body(filters.collect(), self.condition).map_err(|refused| unreadable(&refused))
    }
}

impl InArchive {
    /// The archive in a data directory, to be searched.
    pub fn source(&self, data: &Path) -> Result<Source, Failure> {
        Ok(Source::new(self.archive(data)?, time::now().as_millisecond()))
    }

    /// True if nothing was asked for.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        let own = self.sources.is_empty() && self.ids.is_empty() && self.planes.is_empty();
        own && self.outcomes.is_empty() && self.after.is_none() && self.selection.is_everything()
    }

    /// The query; `outcomes` and `limit` are those meant if none is given.
    ///
    /// # Errors
    /// Usage: a filter or expression that cannot be read.
    pub fn query(self, outcomes: &[Outcome], limit: Option<u64>) -> Result<Query, Failure> {
        let mut query = Query::default();
        (query.after, query.sources, query.ids, query.planes) =
            (self.after, self.sources, self.ids, self.planes);
        query.outcomes = if self.outcomes.is_empty() { outcomes.to_vec() } else { self.outcomes };
        query = self.selection.query(query)?;
        query.limit = query.limit.or(limit);
        Ok(query)
    }
}

fn unreadable(refused: &Refused) -> Failure {
    let places = refused.detail.iter().map(|fault| format!("{} {}", fault.path, fault.message));
    Failure::new(Exit::Usage, format!("--filter, --where: {}", places.collect::<Vec<_>>().join("; ")))
}

/// An RFC 3339 text.
pub fn moment(text: &str) -> Result<Timestamp, String> {
    time::parse(text).ok_or_else(|| "is no time such as 2026-03-02T10:00:00Z".to_owned())
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn plane(text: &str) -> Result<Plane, &'static str> {
    Plane::parse(text).ok_or("is one of net, coord, board, case, ctl")
}

fn outcome(text: &str) -> Result<Outcome, &'static str> {
    let all = [Outcome::Accepted, Outcome::Quarantined, Outcome::Rejected];
    let found = all.into_iter().find(|outcome| outcome.as_str() == text);
    found.ok_or("is one of accepted, quarantined, rejected")
}
