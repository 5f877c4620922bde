//! What a simulation does: how many, how often, how badly. A TOML file, the command line over it, defaults under both.
//!
//! It holds intentions only. Who plays is in `cast`, what is said in `script`; both follow from a plan, a registry and a
//! seed alone, so that the same seed gives the same bytes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::message::time::Timestamp;

/// Most posts, authorities and messages of one simulation.
const MOST: (u32, u32, u64) = (5_000, 200, 50_000_000);

/// A plan. Unknown members are errors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Plan {
    /// One line for the report.
    pub name: String,
    /// What is random follows from it.
    pub seed: u64,
    /// Posts that publish, each with an identity and a connection of its own.
    pub officers: u32,
    /// Authorities that read their mailboxes; 0: all of the registry.
    pub authorities: u32,
    /// Parties that replay everything they may, again and again, while the simulation runs.
    pub analysts: u32,
    /// Messages a second, on average over a day if `rhythm` is `day`.
    pub rate: f64,
    /// How long messages are sent, in seconds.
    #[serde(with = "seconds")]
    pub duration: Duration,
    /// Whether the rate follows the hours of a day, which is pressed into `duration`.
    pub rhythm: Rhythm,
    /// The time of the first message as the messages tell it, RFC 3339. Unless given: the last midnight (UTC) before
    /// the start, so that two runs of one day send the same bytes.
    pub clock: Option<Timestamp>,
    /// More messages than `rate` at certain moments.
    pub burst: Vec<Burst>,
    /// Weights of the kinds of messages; they need not sum to one.
    pub mix: Mix,
    /// Shares of what is not an ordinary new message.
    pub faults: Faults,
    /// Officers that drop off and come back with an outbox.
    pub outages: Outages,
    /// Authorities that do not read as they should.
    pub readers: Readers,
}

/// The course of the rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rhythm {
    /// The same all the time.
    Constant,
    /// Little at night, most before noon.
    Day,
}

/// So many messages besides the rate, evenly within a span.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Burst {
    /// When it begins, in seconds from the start.
    #[serde(with = "seconds")]
    pub at: Duration,
    /// How many messages.
    pub messages: u32,
    /// Within how many seconds.
    #[serde(with = "seconds")]
    pub within: Duration,
}

/// Weights of the kinds of messages (`domain.md` section 11).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mix {
    /// Observations of flows.
    pub flow: f64,
    /// Routes, with geometries.
    pub route: f64,
    /// Modi operandi of smugglers.
    pub modus: f64,
    /// Incidents and warnings.
    pub event: f64,
    /// Document fraud.
    pub document: f64,
    /// Other types of the network plane.
    pub other: f64,
    /// Requests for information, and the answers of those who got them.
    pub rfi: f64,
    /// Deployments and the networks of liaison officers.
    pub deployment: f64,
    /// Messages for the steering board.
    pub board: f64,
    /// Corrections, retractions and releases of earlier messages.
    pub control: f64,
    /// Messages of the case plane; only where the broker has it on.
    pub case: f64,
}

/// Shares of all messages, 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// Invalid ones, spread over all refusal codes.
    pub invalid: f64,
    /// Earlier ones sent again, the same bytes.
    pub resent: f64,
    /// Other bytes under an id that was used.
    pub reused: f64,
    /// Recorded more than seven days ago.
    pub late: f64,
}

/// Officers that drop off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Outages {
    /// Share of the officers that drop off once, 0 to 1.
    pub share: f64,
    /// For how long, in seconds; what they write meanwhile they send, in order, when they are back.
    #[serde(with = "seconds")]
    pub length: Duration,
}

/// Authorities that do not read as they should.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Readers {
    /// How many read slowly.
    pub slow: u32,
    /// Messages a second that a slow one takes.
    pub slow_rate: f64,
    /// How many are not there until everything has been sent.
    pub absent: u32,
    /// How many store subscriptions of their own instead of getting all.
    pub subscribed: f64,
    /// Most subscriptions that one of them stores. One alone is for a part of the world: a report then reaches some five
    /// authorities, with three some 25.
    pub desks: u32,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            name: "five hundred officers".to_owned(),
            seed: 1,
            officers: 500,
            authorities: 0,
            analysts: 0,
            rate: 100.0,
            duration: Duration::from_secs(60),
            rhythm: Rhythm::Constant,
            clock: None,
            burst: Vec::new(),
            mix: Mix::default(),
            faults: Faults::default(),
            outages: Outages::default(),
            readers: Readers::default(),
        }
    }
}

impl Default for Mix {
    fn default() -> Self {
        Self {
            flow: 0.44,
            route: 0.15,
            modus: 0.12,
            event: 0.10,
            document: 0.08,
            other: 0.04,
            rfi: 0.03,
            deployment: 0.01,
            board: 0.01,
            control: 0.02,
            case: 0.0,
        }
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self { invalid: 0.05, resent: 0.03, reused: 0.01, late: 0.01 }
    }
}

impl Default for Outages {
    fn default() -> Self {
        Self { share: 0.05, length: Duration::from_secs(10) }
    }
}

impl Default for Readers {
    fn default() -> Self {
        Self { slow: 0, slow_rate: 5.0, absent: 0, subscribed: 1.0, desks: 1 }
    }
}

impl Plan {
    /// Reads a plan from TOML.
    ///
    /// # Errors
    /// Every fault, a line each.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let plan: Self = toml::from_str(text).map_err(|error| vec![error.to_string()])?;
        let faults = plan.faults();
        if faults.is_empty() { Ok(plan) } else { Err(faults) }
    }

    /// What is wrong with it; empty if nothing is.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut must = |holds: bool, words: String| {
            if !holds {
                faults.push(words);
            }
        };
        let share = |value: f64| (0.0..=1.0).contains(&value);
        must((1..=MOST.0).contains(&self.officers), format!("officers must be 1 to {}", MOST.0));
        must(self.authorities <= MOST.1, format!("authorities must be at most {}", MOST.1));
        must(self.analysts <= 64, "analysts must be at most 64".to_owned());
        must((0.0..=100_000.0).contains(&self.rate), "rate must be 0 to 100000".to_owned());
        must(self.duration <= Duration::from_hours(48), "duration must be at most 48 hours".to_owned());
        must(self.duration >= Duration::from_secs(1), "duration must be at least one second".to_owned());
        must(self.messages() <= MOST.2, format!("there must be at most {} messages", MOST.2));
        must(self.messages() > 0, "there must be at least one message".to_owned());
        for burst in &self.burst {
            must(burst.at <= self.duration, "a burst must begin within the duration".to_owned());
            must(burst.messages > 0 && !burst.within.is_zero(), "a burst must not be empty".to_owned());
        }
        let weights = self.mix.weights();
        must(
            weights.iter().all(|weight| *weight >= 0.0 && weight.is_finite()),
            "mix: no weight may be negative".to_owned(),
        );
        must(weights.iter().sum::<f64>() > 0.0, "mix: some weight must be positive".to_owned());
        let Faults { invalid, resent, reused, late } = self.faults;
        must(
            [invalid, resent, reused, late].into_iter().all(share) && invalid + resent + reused + late <= 0.9,
            "faults: shares must be 0 to 1, and at most 0.9 together".to_owned(),
        );
        must(share(self.outages.share), "outages.share must be 0 to 1".to_owned());
        must(share(self.readers.subscribed), "readers.subscribed must be 0 to 1".to_owned());
        must((1..=16).contains(&self.readers.desks), "readers.desks must be 1 to 16".to_owned());
        let Readers { slow, slow_rate, absent, .. } = self.readers;
        must(slow_rate > 0.0 && slow_rate.is_finite(), "readers.slow_rate must be positive".to_owned());
        must(
            self.authorities == 0 || slow.saturating_add(absent) <= self.authorities,
            "readers: no more can be slow or absent than there are authorities".to_owned(),
        );
        faults
    }

    /// How many messages are sent, about.
    #[must_use]
    pub fn messages(&self) -> u64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded by `faults`")]
        let steady = (self.rate * self.duration.as_secs_f64()) as u64;
        steady + self.burst.iter().map(|burst| u64::from(burst.messages)).sum::<u64>()
    }
}

impl Mix {
    /// The weights, in the order of the members.
    #[must_use]
    pub fn weights(&self) -> [f64; 11] {
        let Self { flow, route, modus, event, document, other, rfi, deployment, board, control, case } =
            *self;
        [flow, route, modus, event, document, other, rfi, deployment, board, control, case]
    }
}

/// Durations as seconds, or as words such as `10m`.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Span {
        Number(f64),
        Words(String),
    }

    pub fn serialize<S: Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(span.as_secs_f64())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let wrong = |words: String| serde::de::Error::custom(words);
        match Span::deserialize(from)? {
            Span::Number(number) => {
                Duration::try_from_secs_f64(number).map_err(|error| wrong(error.to_string()))
            }
            Span::Words(words) => {
                super::span(&words).ok_or_else(|| wrong(format!("{words:?} is no duration such as \"10m\"")))
            }
        }
    }
}

/// A duration in words: `90s`, `10m`, `1h30m`.
#[must_use]
pub fn span(words: &str) -> Option<Duration> {
    Duration::try_from(words.parse::<jiff::SignedDuration>().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_needs_nothing_and_says_everything_when_written() {
        let plan = Plan::parse("").expect("an empty plan is the default one");
        assert_eq!(plan, Plan::default());
        let text = "officers = 12\nduration = \"1h30m\"\nrhythm = \"day\"\n[[burst]]\nat = 30\nmessages = 7\nwithin = \"500ms\"\n[faults]\nlate = 0.5\n";
        let plan = Plan::parse(text).expect("a plan");
        assert_eq!((plan.officers, plan.duration), (12, Duration::from_secs(5_400)));
        assert_eq!(
            (plan.burst[0].at, plan.burst[0].within),
            (Duration::from_secs(30), Duration::from_millis(500))
        );
        assert_eq!(plan.faults, Faults { late: 0.5, ..Faults::default() });
        let written = toml::to_string(&plan).expect("plans can be written");
        assert_eq!(Plan::parse(&written), Ok(plan));
    }

    #[test]
    fn what_is_unknown_or_impossible_is_a_fault() {
        for (text, words) in [
            ("oficers = 1", "unknown field"),
            ("[mix]\nflows = 1", "unknown field"),
            ("[[burst]]\nat = 1\nmessages = 1\nwithin = 1\nof = 2", "unknown field"),
            ("duration = \"soon\"", "no duration"),
            ("duration = -1", "duration"),
            ("rhythm = \"week\"", "unknown variant"),
            ("officers = 0", "officers must be"),
            ("authorities = 201", "authorities must be"),
            ("analysts = 65", "analysts must be"),
            ("rate = -1", "rate must be"),
            ("rate = nan", "rate must be"),
            ("rate = 0", "at least one message"),
            ("rate = 100000\nduration = \"48h\"", "at most 50000000 messages"),
            ("duration = \"49h\"", "48 hours"),
            ("duration = 0.5", "one second"),
            ("[[burst]]\nat = \"2m\"\nmessages = 1\nwithin = 1", "within the duration"),
            ("[[burst]]\nat = 1\nmessages = 0\nwithin = 1", "must not be empty"),
            ("[mix]\nflow = -1", "no weight may be negative"),
            ("[faults]\ninvalid = 0.6\nresent = 0.4", "at most 0.9"),
            ("[outages]\nshare = 2", "outages.share"),
            ("[readers]\nsubscribed = 2", "readers.subscribed"),
            ("[readers]\ndesks = 0", "readers.desks"),
            ("[readers]\nslow_rate = 0", "slow_rate"),
            ("authorities = 3\n[readers]\nslow = 2\nabsent = 2", "no more can be slow"),
        ] {
            let faults = Plan::parse(text).expect_err(text).join("\n");
            assert!(faults.contains(words), "{text}: {faults}");
        }
        let faults = Plan::parse("officers = 0\nanalysts = 99").expect_err("two faults");
        assert_eq!(faults.len(), 2, "all faults at once");
    }
}
