//! Machine-readable zones, bank accounts and document numbers in plain text, part of the screen S-11.
//!
//! Each has a checkable form, which keeps ordinary text out: fillers and fixed fields, a check number, the mix of
//! capitals and digits. The text is folded to ASCII beforehand.

use std::sync::LazyLock;

use regex::Regex;

fn fixed(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a fixed pattern must compile")
}

/// Second lines of ICAO 9303 zones, TD3 and TD2, then TD1: fields of fixed place, wherever fillers are missing.
static SECOND_LINE: LazyLock<Regex> = LazyLock::new(|| {
    fixed(
        r"(?i)[A-Z0-9<]{9}[0-9<][A-Z<]{3}[0-9]{7}[MFX<][0-9]{7}|[0-9]{7}[MFX<][0-9]{7}[A-Z<]{3}[A-Z0-9<]{4}",
    )
});

/// True if the text holds a line of a machine-readable zone.
pub(super) fn has_mrz(text: &str, angles: usize, digits: usize) -> bool {
    (angles >= 2 && (runs(text, false) || (angles >= 5 && runs(text, true))))
        || (digits >= 14 && SECOND_LINE.is_match(text))
}

/// A run of the alphabet of zones with fillers in it. With spaces between the characters it must be longer and have
/// more fillers, for capitals and comparisons are ordinary text.
fn runs(text: &str, spaced: bool) -> bool {
    let (least, fillers) = if spaced { (24, 5) } else { (20, 2) };
    let (mut length, mut angles, mut doubled, mut last) = (0, 0, false, b' ');
    for byte in text.bytes() {
        match byte {
            b'<' => {
                angles += 1;
                doubled |= last == b'<';
                length += 1;
                last = byte;
            }
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => {
                length += 1;
                last = byte;
            }
            b' ' if spaced => {}
            _ => (length, angles, doubled, last) = (0, 0, false, b' '),
        }
        if length >= least && angles >= fillers && doubled {
            return true;
        }
    }
    false
}

static IBAN: LazyLock<Regex> =
    LazyLock::new(|| fixed(r"(?i)(?-u:\b)[A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]{1,4}){3,8}"));

/// Lengths of ISO 13616 accounts by country.
const LENGTHS: &str = "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BR29BY28CH21CR22CY28CZ24DE22DK18DO28EE20EG29ES24FI18FO18FR27\
    GB22GE22GI23GL18GR27GT28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MR27\
    MT31MU30NL18NO15PK24PL28PS29PT25QA29RO24RS22SA24SC31SD18SE24SI19SK24SM27SN28ST25SV28TL23TN24TR26UA29VA22VG24XK20";

/// True if the text holds a bank account whose check number is right (ISO 7064, mod 97-10).
pub(super) fn has_iban(text: &str) -> bool {
    IBAN.find_iter(text).filter(|found| begins_word(text, found.start())).any(|found| {
        let compact: String = found
            .as_str()
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_uppercase())
            .collect();
        let entries = LENGTHS.as_bytes().chunks_exact(4);
        let mut country = entries.filter(|entry| entry.starts_with(&compact.as_bytes()[..2]));
        let length =
            country.next().map(|entry| usize::from(entry[2] - b'0') * 10 + usize::from(entry[3] - b'0'));
        length.and_then(|length| compact.get(..length)).is_some_and(checks)
    })
}

/// True if no letter or digit of any script stands before. The patterns look for borders of ASCII words only: for those of
/// all scripts the library leaves its fast way as soon as a text has one other letter, which took half of the judgement.
fn begins_word(text: &str, at: usize) -> bool {
    let before = text.get(..at).and_then(|before| before.chars().next_back());
    before.is_none_or(|before| !before.is_alphanumeric() && before != '_')
}

fn checks(account: &str) -> bool {
    let (head, tail) = account.split_at(4);
    let mut rest = 0_u32;
    for character in tail.chars().chain(head.chars()) {
        let Some(value) = character.to_digit(36) else { return false };
        rest = (rest * if value < 10 { 10 } else { 100 } + value) % 97;
    }
    rest == 1
}

static ANNOUNCED: LazyLock<Regex> = LazyLock::new(|| {
    fixed(
        r"(?i)(?-u:\b)(?:passports?|passeport|pass|identity card|id card|id|laissez-passer|travel document|document|visa|residence permit|permit)(?-u:\b)\s*(?:(no|nr|num|number|n°|№|#)[.:]*)?[\s:]*([A-Z]{0,3}[ -]?[0-9][0-9 -]{3,16}[0-9])(?:$|[^0-9A-Za-z/*])",
    )
});

/// True if the text holds a number of the form that documents have, or one that is announced as such.
pub(super) fn has_document_number(text: &str) -> bool {
    tokens(text).any(|(token, next)| next != Some(b'*') && is_document(token)) || announced(text)
}

fn announced(text: &str) -> bool {
    let begins = |found: &regex::Captures<'_>| found.get(0).is_some_and(|all| begins_word(text, all.start()));
    ANNOUNCED.captures_iter(text).filter(begins).any(|found| {
        let number = found.get(2).map_or("", |number| number.as_str());
        let mut groups =
            number.split(|character: char| !character.is_ascii_digit()).filter(|part| !part.is_empty());
        let years = groups.clone().all(|group| group.len() == 4 && matches!(&group[..2], "19" | "20"));
        let is_date = groups.next().is_some_and(|first| first.len() == 4) && number.matches('-').count() == 2;
        let digits = number.bytes().filter(u8::is_ascii_digit).count();
        digits >= 6 && !years && !is_date
    })
}

/// Words of letters and digits, each with the byte after it.
fn tokens(text: &str) -> impl Iterator<Item = (&str, Option<u8>)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let start = rest.find(|character: char| character.is_ascii_alphanumeric())?;
        let word = &rest[start..];
        let end = word.find(|character: char| !character.is_alphanumeric()).unwrap_or(word.len());
        rest = &word[end..];
        Some((&word[..end], rest.bytes().next()))
    })
}

/// Eight to ten capitals and digits, five digits at least, one capital at least: the form of passports and cards.
/// Sums of money, vessels and grid references look alike and are told apart by their heads.
fn is_document(token: &str) -> bool {
    let digits = token.bytes().filter(u8::is_ascii_digit).count();
    let capitals = token.bytes().filter(u8::is_ascii_uppercase).count();
    if !(8..=10).contains(&token.len()) || digits < 5 || capitals == 0 || digits + capitals != token.len() {
        return false;
    }
    let money = [
        "EUR", "USD", "GBP", "CHF", "TRY", "MAD", "DZD", "TND", "EGP", "NGN", "XOF", "XAF", "LYD", "JOD",
        "LBP",
    ];
    let vessels = ["IMO", "MMSI"];
    !money.iter().chain(&vessels).any(|head| token.starts_with(head)) && !is_grid(token)
}

/// A reference of the Military Grid Reference System: zone, band, square, an even number of digits.
fn is_grid(token: &str) -> bool {
    let zone = token.bytes().take_while(u8::is_ascii_digit).count();
    let letters = token.bytes().skip(zone).take_while(u8::is_ascii_uppercase).count();
    (1..=2).contains(&zone) && letters == 3 && (token.len() - zone - letters).is_multiple_of(2)
}
