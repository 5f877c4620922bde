//! What reports say, in the languages and scripts of the places that they are about (`phrases.toml`).
//!
//! Sentences that mean nothing in particular, put together until a text is long enough. No word in them names a person.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use serde::Deserialize;

use super::dice::Dice;
use super::places::{Country, Spot};

/// The sentences, by what they are for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Phrases {
    pub(super) titles: Vec<String>,
    pub(super) labels: Vec<String>,
    pub(super) features: Vec<String>,
    pub(super) indicators: Vec<String>,
    pub(super) reasons: Vec<String>,
    pub(super) questions: Vec<String>,
    /// Words for "example": no person is called so.
    pub(super) persons: Vec<String>,
    narratives: BTreeMap<String, Vec<String>>,
}

static PHRASES: LazyLock<Phrases> =
    LazyLock::new(|| toml::from_str(include_str!("phrases.toml")).expect("phrases.toml must be readable"));

/// All sentences.
pub(super) fn phrases() -> &'static Phrases {
    &PHRASES
}

/// Sentences of a language; none if none were written.
fn sentences(language: &str) -> &'static [String] {
    PHRASES.narratives.get(language).map(Vec::as_slice).unwrap_or_default()
}

/// The language that a report from this country is written in: English in most, else one that is spoken there or at
/// home.
pub(super) fn language(dice: &mut Dice, country: &Country, home: &str) -> &'static str {
    let spoken = *dice.pick(&country.languages);
    let language = match dice.below(100) {
        0..35 => spoken,
        35..45 => of_state(home),
        _ => "en",
    };
    if sentences(language).is_empty() { "en" } else { language }
}

/// The language in which authorities of a state may write.
fn of_state(state: &str) -> &'static str {
    match state {
        "AT" | "CH" | "DE" | "LI" => "de",
        "CY" | "GR" => "el",
        "BE" | "FR" | "LU" => "fr",
        "ES" => "es",
        "IT" => "it",
        "PL" => "pl",
        "PT" => "pt",
        "RO" => "ro",
        _ => "en",
    }
}

/// A sentence with its gaps filled.
pub(super) fn tell(dice: &mut Dice, sentence: &str, spot: &Spot) -> String {
    let mut text = String::with_capacity(sentence.len() + 24);
    append(&mut text, dice, sentence, spot);
    text
}

fn append(text: &mut String, dice: &mut Dice, sentence: &str, spot: &Spot) {
    let mut parts = sentence.split('{');
    text.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (gap, rest) = part.split_once('}').unwrap_or((part, ""));
        match gap {
            "place" => text.push_str(spot.name),
            "own" => text.push_str(spot.own),
            "m" => write!(text, "{}", dice.between(60, 400)).expect("writing to a String must not fail"),
            _ => write!(text, "{}", dice.between(2, 52)).expect("writing to a String must not fail"),
        }
        text.push_str(rest);
    }
}

/// A text of about so many characters in this language, with quotations in what is spoken there. Never longer than
/// `most` characters.
pub(super) fn text(
    dice: &mut Dice,
    language: &str,
    country: &Country,
    spot: &Spot,
    about: usize,
    most: usize,
) -> String {
    let own = sentences(language);
    let quoted = if matches!(country.code, "MA" | "DZ" | "NE" | "ML" | "LY") && dice.chance(0.3) {
        "tifinagh"
    } else {
        *dice.pick(&country.languages)
    };
    let (mut text, mut length) = (String::with_capacity(about * 2), 0);
    let mut sentence = String::new();
    loop {
        let of = if own.is_empty() || dice.chance(0.2) { sentences(quoted) } else { own };
        let of = if of.is_empty() { sentences("en") } else { of };
        sentence.clear();
        let chosen = dice.pick(of);
        append(&mut sentence, dice, chosen, spot);
        let more = sentence.chars().count() + 1;
        if length + more > most {
            if length == 0 {
                return sentence.chars().take(most).collect();
            }
            return text;
        }
        if length > 0 {
            text.push(if dice.chance(0.1) { '\n' } else { ' ' });
        }
        text.push_str(&sentence);
        length += more;
        if length >= about {
            return text;
        }
    }
}
