//! The message types: plane, purposes, data category, need for an evaluation (`schemas/catalogue.json`).
//!
//! It knows no schema; which versions of a type are live is the schema set's word.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

/// One of the five planes, a NATS token each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Plane {
    /// Reports under Art. 3(4): no personal data.
    Net,
    /// Deployments, local networks, requests for information: at most contact data of officers.
    Coord,
    /// Documents of the steering board.
    Board,
    /// Personal data under Art. 3(6) and 10; named recipients; off by default.
    Case,
    /// Corrections, retractions, erasure, release, receipts.
    Ctl,
}

impl Plane {
    /// The NATS token.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Net => "net",
            Self::Coord => "coord",
            Self::Board => "board",
            Self::Case => "case",
            Self::Ctl => "ctl",
        }
    }

    /// The plane of a NATS token.
    #[must_use]
    pub fn parse(token: &str) -> Option<Self> {
        [Self::Net, Self::Coord, Self::Board, Self::Case, Self::Ctl]
            .into_iter()
            .find(|plane| plane.as_str() == token)
    }

    /// Most bytes of a message on this plane (S-2).
    #[must_use]
    pub fn limit(self) -> usize {
        match self {
            Self::Net | Self::Coord => 64 * 1024,
            Self::Board | Self::Case | Self::Ctl => 256 * 1024,
        }
    }
}

/// One type.
#[derive(Debug, Clone, Deserialize)]
pub struct TypeEntry {
    /// Its plane.
    pub plane: Plane,
    /// What it is called.
    pub title: String,
    /// Points of the Regulation under which it may be sent (S-10).
    pub purposes: Vec<String>,
    /// Data categories it may carry (S-20).
    pub datacat: Vec<String>,
    /// True if evaluation and handling must be given (S-16).
    pub evalreq: bool,
}

/// All types.
#[derive(Debug, Clone)]
pub struct Catalogue {
    types: BTreeMap<String, TypeEntry>,
}

impl Catalogue {
    /// The catalogue of the network.
    ///
    /// # Panics
    /// Never: the embedded text is read in a test.
    #[must_use]
    pub fn embedded() -> &'static Self {
        static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
            let types = serde_json::from_str(include_str!("../../schemas/catalogue.json"))
                .expect("the embedded catalogue must be readable");
            Catalogue { types }
        });
        &CATALOGUE
    }

    /// The entry of a type id.
    #[must_use]
    pub fn get(&self, kind: &str) -> Option<&TypeEntry> {
        self.types.get(kind)
    }

    /// All type ids with their entries, in alphabetical order.
    pub fn types(&self) -> impl Iterator<Item = (&str, &TypeEntry)> {
        self.types.iter().map(|(kind, entry)| (kind.as_str(), entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_has_36_types_on_five_planes() {
        let catalogue = Catalogue::embedded();
        assert_eq!(catalogue.types().count(), 36);
        let on = |plane| catalogue.types().filter(|(_, entry)| entry.plane == plane).count();
        assert_eq!(
            [Plane::Net, Plane::Coord, Plane::Board, Plane::Case, Plane::Ctl].map(on),
            [15, 6, 4, 6, 5]
        );
    }
}
