//! Numbers as people read them.

use super::Mailbox;

/// With spaces between thousands: `12 345`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut words = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            words.push(' ');
        }
        words.push(digit);
    }
    words
}

/// Three significant digits, without an exponent; whole numbers as they are.
#[must_use]
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.01 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// A time in microseconds.
#[must_use]
pub fn time(micros: f64) -> String {
    match micros {
        span if span < 1_000.0 => format!("{} us", number(span)),
        span if span < 1_000_000.0 => format!("{} ms", number(span / 1_000.0)),
        span => format!("{} s", number(span / 1_000_000.0)),
    }
}

/// So many bytes.
#[must_use]
pub fn bytes(size: f64) -> String {
    match size.abs() {
        amount if amount < 1e3 => format!("{} B", number(size)),
        amount if amount < 1e6 => format!("{} KB", number(size / 1e3)),
        amount if amount < 1e9 => format!("{} MB", number(size / 1e6)),
        _ => format!("{} GB", number(size / 1e9)),
    }
}

/// A time in microseconds, or a dash.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "for people")]
pub fn maybe_time(micros: Option<u64>) -> String {
    micros.map_or_else(|| "-".to_owned(), |micros| time(micros as f64))
}

/// The row of an authority: who, letters, held, p50, p99, longest.
pub fn authority(party: &str, mailbox: &Mailbox) -> Vec<String> {
    let of = &mailbox.delivery;
    vec![
        party.to_owned(),
        count(mailbox.letters()),
        count(mailbox.held),
        maybe_time(of.percentile(50.0)),
        maybe_time(of.percentile(99.0)),
        maybe_time(of.longest()),
    ]
}
