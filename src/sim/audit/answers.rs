//! What the run saw of each attempt, kept small: the lines of `attempts` in a table by number.

use super::book::Book;
use super::{AuditError, Kind};
use crate::message::digest::Digest;
use crate::message::outcome::Code;
use crate::sim::log::{Reader, Tried};

/// The outcome that a receipt told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    Accepted,
    Duplicate,
    Quarantined,
    Rejected,
    /// A word that receipts of publications do not have.
    Other,
}

impl Said {
    fn read(word: &str) -> Self {
        match word {
            "accepted" => Self::Accepted,
            "duplicate" => Self::Duplicate,
            "quarantined" => Self::Quarantined,
            "rejected" => Self::Rejected,
            _ => Self::Other,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Quarantined => "quarantined",
            Self::Rejected => "rejected",
            Self::Other => "something else",
        }
    }
}

/// The code that a receipt told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coded {
    None,
    Known(Code),
    Other,
}

/// What came of one attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    /// When it was handed to the connection.
    pub(super) sent: u64,
    /// True if it was sent more than once: then only the last receipt, or the first, was seen.
    pub(super) again: bool,
    /// Sequence in the intake stream; 0: no PubAck.
    pub(super) stream: u64,
    /// `None`: no receipt.
    pub(super) said: Option<Said>,
    pub(super) code: Coded,
    /// Archive sequence; 0: none told.
    pub(super) seq: u64,
    pub(super) recipients: Option<u32>,
    pub(super) sha256: Option<Digest>,
    /// The receipt came on the subject of another message, or is about another one.
    pub(super) misaddressed: bool,
    /// Its detail repeats what it is about.
    pub(super) echoes: bool,
    /// It was sent more than once, and not every sending that had a PubAck has a receipt of its own.
    pub(super) swallowed: bool,
}

impl Answer {
    fn of(tried: &Tried) -> Option<Self> {
        Some(Self {
            sent: tried.sent?,
            again: tried.sends > 1,
            stream: tried.stream_seq.unwrap_or_default(),
            said: tried.receipted.map(|_| tried.outcome.as_deref().map_or(Said::Other, Said::read)),
            code: match tried.code.as_deref() {
                None => Coded::None,
                Some(code) => code.parse().map_or(Coded::Other, Coded::Known),
            },
            seq: tried.seq.unwrap_or_default(),
            recipients: tried.recipients.map(|count| u32::try_from(count).unwrap_or(u32::MAX)),
            sha256: tried.sha256.as_deref().and_then(Digest::parse),
            misaddressed: is_misaddressed(tried),
            echoes: tried.echoes > 0,
            swallowed: tried.receipts.is_some_and(|count| (count as usize) < tried.sequences.len()),
        })
    }

    /// True if the receipt says that it is archived. One that was sent more than once may be told to be a duplicate of itself.
    pub(super) fn is_kept(&self) -> bool {
        match self.said {
            Some(Said::Accepted) => true,
            Some(Said::Duplicate) => self.again,
            _ => false,
        }
    }
}

/// A receipt must come on the subject of the id of its message and name it; where there is none to be read, on that of the
/// place in the intake stream.
fn is_misaddressed(tried: &Tried) -> bool {
    let token = tried.token.as_deref();
    let astray = match &tried.id {
        Some(_) => token.is_some(),
        None => token.is_some_and(|token| {
            let place = token.strip_prefix("unreadable-").and_then(|place| place.parse::<u64>().ok());
            let mut places = tried.stream_seq.iter().chain(&tried.sequences).peekable();
            place.is_none_or(|place| places.peek().is_some() && !places.any(|known| *known == place))
        }),
    };
    astray || tried.target.is_some()
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Answers(Vec<Option<Answer>>);

/// More attempts than any plan has: a number behind it is a fault of the log, not one of ours.
const MOST: u32 = 100_000_000;

impl Answers {
    /// Reads the log.
    pub(super) fn read(log: &Reader, book: &mut Book) -> Result<Self, AuditError> {
        let mut answers = Self::default();
        let mut seen: Vec<bool> = Vec::new();
        for tried in log.attempts()? {
            let tried = tried?;
            let at = tried.no as usize;
            if tried.no >= MOST || seen.get(at).copied().unwrap_or_default() {
                book.note(Kind::Unexpected, Some(tried.no), None, || {
                    "the log tells of this attempt twice, or its number is absurd".to_owned()
                });
                continue;
            }
            if answers.0.len() <= at {
                answers.0.resize(at + 1, None);
                seen.resize(at + 1, false);
            }
            seen[at] = true;
            book.found.resent += u64::from(tried.resent > 0);
            let answer = Answer::of(&tried);
            if let Some(said) = answer.and_then(|answer| answer.said) {
                book.receipt(said.word(), tried.code.as_deref());
            }
            answers.0[at] = answer;
        }
        Ok(answers)
    }

    /// What came of an attempt; `None` if it was never sent.
    pub(super) fn of(&self, no: u32) -> Option<&Answer> {
        self.0.get(no as usize)?.as_ref()
    }

    /// Its place in the archive, if a receipt told it.
    pub(super) fn place(&self, no: u32) -> Option<u64> {
        self.of(no).filter(|answer| answer.is_kept() && answer.seq > 0).map(|answer| answer.seq)
    }

    /// The numbers that are not below this one: of no attempt in the script.
    pub(super) fn beyond(&self, attempts: usize) -> impl Iterator<Item = u32> + '_ {
        (attempts..self.0.len()).filter(|at| self.0[*at].is_some()).filter_map(|at| u32::try_from(at).ok())
    }
}
