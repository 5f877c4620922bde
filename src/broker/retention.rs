//! Which messages fall due, and what follows: reminder, erasure, the end of a type's days (A-11, A-13, `domain.md` section 4).
//!
//! One plan for the sweep and for its preview, made from the same facts, so that they cannot differ. It decides by dates
//! alone; it reads no clock and writes nothing.

use crate::archive::{Act, Due, Error, Fate, Reader, Record};

const DAY_MS: i64 = 24 * 3_600 * 1_000;
/// After a reminder that `reviewby` has passed, the originator has this long.
const REVIEW_MS: i64 = 14 * DAY_MS;
/// Years of 365.25 days, in milliseconds.
const YEAR_MS: i64 = 31_557_600_000;

/// What is known of a message that may be due.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Archive sequence.
    pub seq: u64,
    /// When it was archived, Unix milliseconds.
    pub archived_ms: i64,
    /// How long its type is kept, milliseconds; `None` for what was put aside, which has a date of its own.
    pub kept_ms: Option<i64>,
    /// Its own dates.
    pub due: Option<Due>,
    /// What was done to it.
    pub fate: Fate,
    /// True if others hold it and must be told.
    pub has_holders: bool,
}

/// What is done with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Its originator is reminded that `reviewby` has passed.
    Remind,
    /// Its content is erased, and its holders are told to erase theirs.
    Erase,
    /// Its content is erased here.
    Expire,
}

/// One thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Planned {
    /// Archive sequence.
    pub seq: u64,
    /// What.
    pub step: Step,
}

/// What is to be done at this time, in archive order.
#[must_use]
pub fn plan(subjects: &[Subject], now_ms: i64) -> Vec<Planned> {
    subjects
        .iter()
        .filter_map(|subject| step(subject, now_ms).map(|step| Planned { seq: subject.seq, step }))
        .collect()
}

fn step(subject: &Subject, now_ms: i64) -> Option<Step> {
    let Subject { fate, .. } = subject;
    if fate.erased.is_some() || fate.held {
        return None;
    }
    let erase_ms = subject.due.and_then(|due| due.erase_ms);
    let review_ms = fate.reviewed_until_ms.or_else(|| subject.due.and_then(|due| due.review_ms));
    let passed = |at: i64| at <= now_ms;
    if erase_ms.is_some_and(passed) || review_ms.is_some_and(|at| fate.reminded && passed(at + REVIEW_MS)) {
        return Some(if subject.has_holders { Step::Erase } else { Step::Expire });
    }
    if subject.kept_ms.is_some_and(|kept| passed(subject.archived_ms + kept)) {
        return Some(Step::Expire);
    }
    review_ms.filter(|at| !fate.reminded && passed(*at)).map(|_| Step::Remind)
}

/// How long a type is kept (`domain.md` section 4, "keep"), milliseconds.
#[must_use]
pub fn kept_ms(kind: &str) -> i64 {
    let years = match kind {
        "msg.receipt" => 1,
        "network.activity" | "network.facilitator" | "network.report" => 10,
        kind if kind.starts_with("board.") => 10,
        // Case messages have an `eraseby` within their type's limit (S-18) long before.
        _ => 5,
    };
    years * YEAR_MS
}

/// Everything that may be due at this time: by its own date, and if `years`, by the years of its type. To look for the latter
/// is work at a large archive, and what is counted in years need not be looked for every minute.
///
/// # Errors
/// The archive cannot be read.
pub fn subjects(reader: &Reader, now_ms: i64, years: bool) -> Result<Vec<Subject>, Error> {
    let mut seqs = reader.due_at(now_ms)?;
    if years {
        seqs.extend(reader.outlived(now_ms, kept_ms));
    }
    seqs.sort_unstable();
    seqs.dedup();
    let mut subjects = Vec::new();
    for seq in seqs {
        let fate = reader.fate(seq);
        if fate.erased.is_some() {
            continue;
        }
        if let Some(record) = reader.get(seq)? {
            subjects.push(subject(&record, fate, !reader.holders(&record).is_empty()));
        }
    }
    Ok(subjects)
}

fn corrected(record: &Record) -> Option<&str> {
    record.effects.iter().find_map(|effect| match &effect.act {
        Act::Correct { kind } => Some(kind.as_str()),
        _ => None,
    })
}

/// What is known of one record.
#[must_use]
pub fn subject(record: &Record, fate: Fate, has_holders: bool) -> Subject {
    let summary = record.summary.as_ref().filter(|_| !record.body.is_empty());
    Subject {
        seq: record.seq,
        archived_ms: record.archived_ms,
        // A correction is kept as long as what it corrects, or the wrong original would be left alone.
        kept_ms: summary.map(|summary| kept_ms(corrected(record).unwrap_or(summary.kind.as_str()))),
        due: Due::of(record),
        fate,
        has_holders,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(erase_ms: Option<i64>, review_ms: Option<i64>) -> Subject {
        Subject {
            seq: 1,
            archived_ms: 0,
            kept_ms: Some(5 * YEAR_MS),
            due: Some(Due { seq: 1, erase_ms, review_ms }),
            fate: Fate::default(),
            has_holders: true,
        }
    }

    fn at(subject: &Subject, now_ms: i64) -> Option<Step> {
        plan(std::slice::from_ref(subject), now_ms).first().map(|planned| planned.step)
    }

    #[test]
    fn dates_holds_and_reviews_decide() {
        let subject = due(Some(1_000), None);
        assert_eq!([at(&subject, 999), at(&subject, 1_000)], [None, Some(Step::Erase)]);
        let held = Subject { fate: Fate { held: true, ..Fate::default() }, ..subject.clone() };
        assert_eq!(at(&held, 1_000), None);
        let alone = Subject { has_holders: false, ..subject };
        assert_eq!(at(&alone, 1_000), Some(Step::Expire));

        let subject = due(None, Some(1_000));
        assert_eq!([at(&subject, 999), at(&subject, 1_000)], [None, Some(Step::Remind)]);
        let reminded = Subject { fate: Fate { reminded: true, ..Fate::default() }, ..subject };
        assert_eq!([at(&reminded, REVIEW_MS), at(&reminded, 1_000 + REVIEW_MS)], [None, Some(Step::Erase)]);
        let fate = Fate { reviewed_until_ms: Some(9_000), ..Fate::default() };
        let reviewed = Subject { fate, ..reminded };
        assert_eq!([at(&reviewed, 8_999), at(&reviewed, 9_000)], [None, Some(Step::Remind)]);

        let old = Subject { due: None, ..due(None, None) };
        assert_eq!([at(&old, 5 * YEAR_MS - 1), at(&old, 5 * YEAR_MS)], [None, Some(Step::Expire)]);
    }
}
