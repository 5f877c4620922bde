//! Assertions about a report, `receipt.p99<20ms`: they make the exit code of a simulation.
//!
//! A number without data fails whatever is said of it. Units must fit the number, so that nobody compares milliseconds
//! with megabytes, and a time without a unit is refused rather than guessed.

use super::measure::{Measure, Measures};
use super::{Report, words};

/// Why a text is no assertion.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssertionError {
    /// No operator.
    #[error(
        "{0:?} is no assertion: write a name, one of < <= = >= > !=, and a value, as in receipt.p99<20ms"
    )]
    Form(String),
    /// A name that is none.
    #[error("{0:?} is not measured; there are: {known}", known = Measure::names())]
    Name(String),
    /// No number.
    #[error("{0:?} does not begin with a number")]
    Number(String),
    /// A unit that does not fit, or none where one must be.
    #[error("{name} cannot be compared with {value:?}: its units are {units}")]
    Unit {
        /// Of what.
        name: String,
        /// As written.
        value: String,
        /// Those that fit.
        units: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Less,
    AtMost,
    Equal,
    AtLeast,
    More,
    Not,
}

/// As written; longer ones first, so that `<=` is not read as `<`.
const RELATIONS: [(&str, Relation); 7] = [
    ("<=", Relation::AtMost),
    (">=", Relation::AtLeast),
    ("!=", Relation::Not),
    ("==", Relation::Equal),
    ("<", Relation::Less),
    (">", Relation::More),
    ("=", Relation::Equal),
];

const TIMES: &[(&str, f64)] = &[("us", 1.0), ("µs", 1.0), ("ms", 1e3), ("s", 1e6)];
const SIZES: &[(&str, f64)] = &[
    ("B", 1.0),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
];
const COUNTS: &[(&str, f64)] = &[("", 1.0)];
const RATES: &[(&str, f64)] = &[("/s", 1.0)];

/// Something that must hold of a report.
#[derive(Debug, Clone, PartialEq)]
pub struct Assertion {
    text: String,
    measure: Measure,
    relation: Relation,
    value: f64,
    percent: bool,
}

/// What became of an assertion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// It holds.
    pub holds: bool,
    /// The assertion and the measured value, for people.
    pub line: String,
}

impl Assertion {
    /// Reads one, `delivery.p99.9<=40ms`.
    ///
    /// # Errors
    /// See [`AssertionError`].
    pub fn parse(text: &str) -> Result<Self, AssertionError> {
        let form = || AssertionError::Form(text.to_owned());
        let at = text.find(['<', '>', '=', '!']).ok_or_else(form)?;
        let (name, rest) = (text[..at].trim(), &text[at..]);
        let (sign, relation) =
            RELATIONS.into_iter().find(|(sign, _)| rest.starts_with(sign)).ok_or_else(form)?;
        let measure = Measure::named(name).ok_or_else(|| AssertionError::Name(name.to_owned()))?;
        let value = rest[sign.len()..].trim();
        let (value, percent) = read(name, measure, value)?;
        Ok(Self { text: text.trim().to_owned(), measure, relation, value, percent })
    }

    /// Whether it holds.
    #[must_use]
    pub fn check(&self, report: &Report) -> Outcome {
        let Some(measured) = self.measure.of(report, self.percent) else {
            return Outcome { holds: false, line: format!("FAILED  {}  (no data)", self.text) };
        };
        let holds = self.relation.holds(measured, self.value);
        let word = if holds { "holds " } else { "FAILED" };
        Outcome { holds, line: format!("{word}  {}  (measured {})", self.text, self.shown(measured)) }
    }

    fn shown(&self, value: f64) -> String {
        if self.percent {
            return format!("{} %/h", words::number(value));
        }
        let shown = match self.measure.measures() {
            Measures::Time => words::time(value),
            Measures::Bytes => words::bytes(value),
            Measures::Count => words::number(value),
            Measures::Rate => format!("{}/s", words::number(value)),
        };
        if self.measure.grows() { format!("{shown}/h") } else { shown }
    }
}

impl Relation {
    #[expect(
        clippy::float_cmp,
        reason = "counts are whole, and who asks for an equal time gets what was asked"
    )]
    fn holds(self, measured: f64, value: f64) -> bool {
        match self {
            Self::Less => measured < value,
            Self::AtMost => measured <= value,
            Self::Equal => measured == value,
            Self::AtLeast => measured >= value,
            Self::More => measured > value,
            Self::Not => measured != value,
        }
    }
}

/// The value in the units of the measure, and whether it is a share.
fn read(name: &str, measure: Measure, text: &str) -> Result<(f64, bool), AssertionError> {
    let digit = |c: char| c.is_ascii_digit() || c == '.';
    let sign = usize::from(text.starts_with('-'));
    let end = text[sign..].find(|c| !digit(c)).map_or(text.len(), |at| at + sign);
    let number: f64 = text[..end].parse().map_err(|_| AssertionError::Number(text.to_owned()))?;
    let mut unit = text[end..].trim();
    let known = match measure.measures() {
        Measures::Time => TIMES,
        Measures::Bytes => SIZES,
        Measures::Count => COUNTS,
        Measures::Rate => RATES,
    };
    let wrong = || {
        let mut names: Vec<String> = known.iter().map(|(unit, _)| (*unit).to_owned()).collect();
        if measure.grows() {
            names.iter_mut().for_each(|unit| unit.push_str("/h"));
            names.push("%/h".to_owned());
        }
        names.iter_mut().filter(|unit| unit.is_empty()).for_each(|unit| "none".clone_into(unit));
        AssertionError::Unit { name: name.to_owned(), value: text.to_owned(), units: names.join(" ") }
    };
    if measure.grows() {
        unit = unit.strip_suffix("/h").ok_or_else(wrong)?;
        if unit == "%" {
            return Ok((number, true));
        }
    }
    let (_, factor) = known.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    Ok((number * factor, false))
}
