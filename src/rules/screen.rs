//! Looks for personal data that have a form, in one text: machine-readable zones, e-mail addresses, handles, telephone
//! numbers, bank accounts, document numbers (S-11).
//!
//! Tuned for reports: years, counts, coordinates, file numbers, hashes and references pass. It is a net with a known
//! mesh, not a proof; names of persons go through. It never returns what it found.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

use super::marks::is_group;
use super::{numbers, papers};

/// What a text seems to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// A line of a machine-readable zone, ICAO 9303.
    Mrz,
    /// An e-mail address.
    Email,
    /// The name of an account.
    Handle,
    /// A telephone number.
    Phone,
    /// A bank account.
    Iban,
    /// The number of a document.
    Document,
}

impl Found {
    /// What the refusal says.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Mrz => "seems to hold a machine-readable zone",
            Self::Email => "seems to hold an e-mail address",
            Self::Handle => "seems to hold the name of an account",
            Self::Phone => "seems to hold a telephone number",
            Self::Iban => "seems to hold a bank account",
            Self::Document => "seems to hold the number of a document",
        }
    }
}

/// No number that means a person has fewer.
const FEWEST_DIGITS: usize = 5;

/// What is in a text at all: most texts have too little of anything to be looked at twice.
struct Tally {
    digits: usize,
    angles: usize,
    at: bool,
    bracket: bool,
}

impl Tally {
    fn of(text: &str) -> Self {
        let mut tally = Self { digits: 0, angles: 0, at: false, bracket: false };
        for byte in text.bytes() {
            match byte {
                b'0'..=b'9' => tally.digits += 1,
                b'<' => tally.angles += 1,
                b'@' => tally.at = true,
                b'(' | b'[' | b'{' => tally.bracket = true,
                _ => {}
            }
        }
        tally
    }
}

/// True if a text cannot hold anything: letters of Europe with hardly a digit and no sign that addresses or zones need.
/// Most texts of a body are codes and end here.
pub(super) fn is_plain(text: &str) -> bool {
    let mut digits = 0_usize;
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' => digits += 1,
            b'<' | b'@' | b'(' | b'[' | b'{' => return false,
            // Bytes behind a first one that was let through: U+00C0 to U+033F, U+0380 to U+04FF. Folding leaves these
            // Latin, Greek and Cyrillic letters as they are.
            0x80..=0xBF | 0xC3..=0xCC | 0xCE..=0xD3 => {}
            0xC0.. => return false,
            _ => {}
        }
    }
    digits < FEWEST_DIGITS
}

/// Looks at free text.
pub(super) fn find(text: &str) -> Option<Found> {
    let text = fold(text);
    let tally = Tally::of(&text);
    if let Some(found) = addresses(&text, &tally) {
        return Some(found);
    }
    if papers::has_mrz(&text, tally.angles, tally.digits) {
        return Some(Found::Mrz);
    }
    if tally.digits < FEWEST_DIGITS {
        return None;
    }
    if tally.digits >= 8 && papers::has_iban(&text) {
        return Some(Found::Iban);
    }
    if tally.digits >= 7 && numbers::has_phone(&text) {
        return Some(Found::Phone);
    }
    papers::has_document_number(&text).then_some(Found::Document)
}

/// Looks at a reference to a thing: its digits are the sender's own. Addresses in it are a person's all the same, and so is
/// what can be nothing else: a bank account, whose check digits agree, and a telephone number with its `+` or scheme.
pub(super) fn reference(text: &str) -> Option<Found> {
    let text = fold(text).replace("%40", "@").replace("%2B", "+").replace("%2b", "+");
    let tally = Tally::of(&text);
    let scheme = text.split_once(':').map(|(scheme, _)| scheme.trim_start().to_ascii_lowercase());
    match scheme.as_deref() {
        Some("tel" | "sms") => return Some(Found::Phone),
        Some("mailto") => return Some(Found::Email),
        _ => {}
    }
    if tally.digits >= 8 && papers::has_iban(&text) {
        return Some(Found::Iban);
    }
    if tally.digits >= 7 && text.starts_with('+') && numbers::has_phone(&text) {
        return Some(Found::Phone);
    }
    if let Some(found) = addresses(&text, &tally) {
        return Some(found);
    }
    papers::has_mrz(&text, tally.angles, 0).then_some(Found::Mrz)
}

static EMAIL: LazyLock<Regex> = LazyLock::new(|| {
    let at = r"(?:\s?@\s?|\s*[(\[{]\s*(?i:at|@)\s*[)\]}]\s*)";
    let dot = r"(?:\.|\s*[(\[{]\s*(?i:dot|\.)\s*[)\]}]\s*)";
    let pattern =
        format!(r"[^\s@<>()\[\]{{}},;:]{at}[^\s@<>()\[\]{{}},;:.]+{dot}[^\s@<>()\[\]{{}},;:.]{{2}}");
    Regex::new(&pattern).expect("a fixed pattern must compile")
});

static HANDLE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?:^|[^\w.%+@-])(@[\w][\w.-]{2,})").expect("a fixed pattern must compile"));

fn addresses(text: &str, tally: &Tally) -> Option<Found> {
    if !tally.at && !tally.bracket {
        return None;
    }
    if EMAIL.is_match(text) {
        return Some(Found::Email);
    }
    // A report may speak of the groups of this network: they are nobody's account.
    let mut handles = HANDLE.captures_iter(text).filter_map(|found| found.get(1));
    (tally.at && handles.any(|found| !is_group(found.as_str().trim_end_matches(['.', '-']))))
        .then_some(Found::Handle)
}

/// Code points of the digit zero in the scripts that reports are written in. Nine more follow each.
const ZEROS: [u32; 18] = [
    0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6, 0x0D66, 0x0E50,
    0x0ED0, 0x0F20, 0x1040, 0x17E0, 0x1810,
];

/// The text with what hides a number made plain: digits of other scripts, full-width forms, invisible characters, the
/// many spaces and dashes.
fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().filter_map(plain).collect())
}

fn plain(character: char) -> Option<char> {
    let code = u32::from(character);
    Some(match code {
        0..0x80 => character,
        0xAD
        | 0x34F
        | 0x61C
        | 0x115F
        | 0x1160
        | 0x180B..=0x180E
        | 0x200B..=0x200F
        | 0x202A..=0x202E
        | 0x2060..=0x206F
        | 0x3164
        | 0xFE00..=0xFE0F
        | 0xFEFF
        | 0xFFA0
        | 0xE0000..=0xE01EF => return None,
        0x2010..=0x2015 | 0x2212 | 0xFE58 | 0xFE63 => '-',
        0xB7 | 0x2022 | 0x2024 | 0x3002 | 0xFF61 => '.',
        0xFE6B => '@',
        0xFF01..=0xFF5E => char::from_u32(code - 0xFEE0)?,
        0x1D7CE..=0x1D7FF => char::from_digit((code - 0x1D7CE) % 10, 10)?,
        _ if character.is_whitespace() => ' ',
        _ => match ZEROS.iter().find(|zero| (**zero..**zero + 10).contains(&code)) {
            Some(zero) => char::from_digit(code - zero, 10)?,
            None => character,
        },
    })
}

#[cfg(test)]
mod tests;
