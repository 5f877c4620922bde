//! Telephone numbers in plain text, part of the screen S-11.
//!
//! Runs of digits are taken whole before they are judged, so that a part of a longer number, of an identifier or of a
//! date is never mistaken for one. The text is folded to ASCII digits beforehand.

use std::sync::LazyLock;

use regex::Regex;

/// Words that announce a number.
const ANNOUNCED: [&str; 20] = [
    "cell",
    "fax",
    "gsm",
    "handy",
    "mob",
    "mobil",
    "mobile",
    "phone",
    "sms",
    "tel",
    "telefon",
    "telefono",
    "telegram",
    "telephone",
    "tlf",
    "viber",
    "whatsapp",
    "هاتف",
    "واتساب",
    "جوال",
];

static DATE: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"(?:^|[^0-9])(?:[0-3]?[0-9][./-][01]?[0-9][./-](?:19|20)[0-9]{2}|(?:19|20)[0-9]{2}[./-][01]?[0-9][./-][0-3]?[0-9])(?:$|[^0-9])";
    Regex::new(pattern).expect("a fixed pattern must compile")
});

/// True if the text holds a run of digits that is a telephone number.
pub(super) fn has_phone(text: &str) -> bool {
    let mut from = 0;
    while let Some(run) = Run::next(text, from) {
        if run.is_phone() {
            return true;
        }
        from = run.end;
    }
    false
}

/// Digits with what people write between them.
struct Run<'a> {
    text: &'a str,
    start: usize,
    end: usize,
    digits: Vec<u8>,
}

impl<'a> Run<'a> {
    /// The next run at or after a byte.
    fn next(text: &'a str, from: usize) -> Option<Self> {
        let bytes = text.as_bytes();
        let first = from + bytes.get(from..)?.iter().position(u8::is_ascii_digit)?;
        let opens = |at: usize| at > from && matches!(bytes[at - 1], b'+' | b'(');
        let mut start = first;
        while opens(start) {
            start -= 1;
        }
        let mut end = first;
        let mut digits = Vec::new();
        let mut at = first;
        while at < bytes.len() {
            if bytes[at].is_ascii_digit() {
                digits.push(bytes[at]);
                at += 1;
                end = at;
            } else {
                match bytes[at..].iter().position(u8::is_ascii_digit) {
                    Some(gap) if joins(&bytes[at..at + gap]) => at += gap,
                    _ => break,
                }
            }
        }
        Some(Self { text, start, end, digits })
    }

    fn is_phone(&self) -> bool {
        let count = self.digits.len();
        let written = &self.text[self.start..self.end];
        if written.starts_with(['+', '(']) && written.trim_start_matches('(').starts_with('+') {
            return count >= 8;
        }
        if count < 7
            || self.is_attached()
            || DATE.is_match(written)
            || only_years(written)
            || is_decimal(written)
        {
            return false;
        }
        let national = self.digits[0] == b'0' && self.digits[1] != b'0' && (9..=12).contains(&count);
        let abroad = self.digits.starts_with(b"00") && self.digits[2] != b'0' && (10..=17).contains(&count);
        let written_so = written.starts_with('(') && (9..=11).contains(&count);
        national || abroad || written_so || self.is_announced() || unbroken(written)
    }

    /// True if the run is a part of an identifier, a path or a word: joined to it without a space.
    fn is_attached(&self) -> bool {
        let before = &self.text.as_bytes()[..self.start];
        let joined = match before {
            [.., other, b'-' | b'_' | b'/' | b'=' | b'#' | b'*'] => other.is_ascii_alphanumeric(),
            [.., other] => other.is_ascii_alphanumeric() || *other == b'.',
            [] => false,
        };
        let after = self.text.as_bytes().get(self.end);
        joined || after.is_some_and(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'*'))
    }

    /// True if one of the two words before it announces a number.
    fn is_announced(&self) -> bool {
        let before = &self.text[..self.start];
        let mut words =
            before.rsplit(|character: char| !character.is_alphabetic()).filter(|word| !word.is_empty());
        words.by_ref().take(2).any(|word| {
            let word = word.to_lowercase();
            ANNOUNCED.contains(&word.as_str())
        })
    }
}

/// True for what may stand between the digits of one number.
fn joins(gap: &[u8]) -> bool {
    match gap {
        [one] => matches!(one, b' ' | b'.' | b'-' | b'/' | b'(' | b')'),
        [one, other] => matches!((one, other), (b' ', b'(') | (b')', b' ' | b'-' | b'/')),
        [b' ', middle, b' '] => *middle == b'-',
        _ => false,
    }
}

/// True if the groups are years and nothing else.
fn only_years(written: &str) -> bool {
    let mut groups =
        written.split(|character: char| !character.is_ascii_digit()).filter(|group| !group.is_empty());
    groups.all(|group| group.len() == 4 && matches!(&group[..2], "19" | "20"))
}

/// Ten or more digits in one piece are no count; they may be a day and a time.
fn unbroken(written: &str) -> bool {
    let mut pieces = written.split(|character: char| !character.is_ascii_digit());
    pieces.any(|piece| piece.len() >= 10 && !compact_day(piece))
}

/// A share or a coordinate: one point, and many digits after it.
fn is_decimal(written: &str) -> bool {
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    written.split_once('.').is_some_and(|(whole, part)| {
        whole.len() <= 3 && part.len() >= 5 && all_digits(whole) && all_digits(part)
    })
}

fn compact_day(piece: &str) -> bool {
    let within = |range: std::ops::Range<usize>, least: &str, most: &str| {
        piece.get(range).is_some_and(|part| (least..=most).contains(&part))
    };
    within(0..2, "19", "20") && within(4..6, "01", "12") && within(6..8, "01", "31")
}
