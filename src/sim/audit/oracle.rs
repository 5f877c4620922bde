//! Who must get a message: `domain.md` 3.4 and 7 and `PROTOCOL.md` section 4, said a second time.
//!
//! Messages that correct, recall or release others go to those who hold these; that is `control`'s.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::AuditError;
use super::bits::Set;
use super::deployed::Deployed;
use super::parties::{Law, Network};
use super::sets::Sets;
use super::wants::Wants;
use crate::message::time;
use crate::sim::cast::Cast;

/// Whom a list of names means.
#[derive(Debug, Clone)]
pub(super) struct Meant {
    /// Those that it names.
    pub(super) named: Set,
    /// Those in the groups that it names.
    pub(super) grouped: Set,
}

impl Meant {
    /// True if it names the party or a group of it.
    pub(super) fn everybody(&self) -> Set {
        let mut all = self.named.clone();
        all.add(&self.grouped);
        all
    }
}

/// What routing asks of a message.
#[derive(Debug)]
pub(super) struct Head {
    /// Type id, without prefix and version.
    pub(super) kind: String,
    /// Place of the originator.
    pub(super) originator: usize,
    /// What its purpose asks for.
    pub(super) law: Law,
    /// Subject country.
    pub(super) country: Option<String>,
    /// The day on which it was recorded.
    pub(super) today: Date,
    /// Whom it excludes.
    pub(super) excluded: Set,
}

/// The oracle.
#[derive(Debug)]
pub(super) struct Oracle {
    pub(super) network: Network,
    wants: Wants,
    pub(super) deployed: Deployed,
    /// Nothing had been published before.
    fresh: bool,
}

impl Oracle {
    /// From a registry and what the cast subscribes to.
    pub(super) fn new(registry: &str, cast: &Cast, fresh: bool) -> Result<Self, AuditError> {
        let network = Network::read(registry)?;
        let wants = Wants::read(&network, cast)?;
        Ok(Self { network, wants, deployed: Deployed::default(), fresh })
    }

    /// Reads what routing asks of a message; the error is a sentence.
    pub(super) fn head(&self, event: &Value) -> Result<Head, String> {
        let text = |name: &str| event[name].as_str();
        let kind = text("type").and_then(|kind| kind.strip_prefix("eu.ilonet.")?.rsplit_once(".v"));
        let recorded = text("recordedtime").and_then(time::parse).ok_or("it has no recordedtime")?;
        let mut excluded = self.network.none();
        for id in text("exclude").into_iter().flat_map(|list| list.split(',')) {
            excluded.insert(self.network.place(id).ok_or("it excludes whom the registry does not know")?);
        }
        Ok(Head {
            kind: kind.ok_or("it has no type")?.0.to_owned(),
            originator: text("originator")
                .and_then(|id| self.network.place(id))
                .ok_or("the registry does not know its originator")?,
            law: Law::of(text("purpose").unwrap_or_default()),
            country: text("subject").map(str::to_owned),
            today: TimeZone::UTC.to_datetime(recorded).date(),
            excluded,
        })
    }

    /// Whom a list of names means, in a message at a place in the archive.
    pub(super) fn meant(
        &mut self,
        audience: &str,
        country: Option<&str>,
        today: Date,
        at: u64,
    ) -> Result<Meant, String> {
        let Self { network, deployed, fresh, .. } = self;
        let mut meant = Meant { named: network.none(), grouped: network.none() };
        for name in audience.split(',') {
            if name == "@local" {
                if !*fresh {
                    return Err("it is for @local, and nobody knows what was told before the run".to_owned());
                }
                let country = country.ok_or("it is for @local of no country")?;
                meant.grouped.add(&deployed.local(network, country, today, at));
            } else if name.starts_with('@') {
                meant.grouped.add(network.group(name).ok_or("it is for a group that there is not")?);
            } else {
                meant.named.insert(network.place(name).ok_or("it names whom the registry does not know")?);
            }
        }
        Ok(meant)
    }

    /// Who wants a message if it comes to a group.
    pub(super) fn whoever_wants(&self, event: &Value) -> Set {
        self.wants.whoever(event, &Sets::of(event))
    }

    /// Of those whom an audience means, who gets the message: named ones, and members of groups that want it, but for the
    /// originator, those excluded, those that take no part, and those whose roles do not let them.
    pub(super) fn cut(&self, meant: &Meant, wanting: &Set, head: &Cut<'_>) -> Set {
        let mut gets = meant.grouped.clone();
        gets.keep(wanting);
        gets.add(&meant.named);
        gets.remove(head.originator);
        gets.take(head.excluded);
        gets.take(&self.network.suspended);
        gets.take(&self.network.blind);
        gets.keep(self.network.entitled(head.law));
        gets
    }
}

/// What cuts an audience down.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut<'a> {
    pub(super) originator: usize,
    pub(super) excluded: &'a Set,
    pub(super) law: Law,
}
