//! What was decided before: the same publication read again, and the same bytes sent again.
//!
//! It looks up and answers; what is new is the keeper's to decide.

use std::sync::Arc;

use super::Origin;
use crate::archive::{Error, Reader, Record};
use crate::broker::receipt::{Receipt, receipt_of};
use crate::message::outcome::Outcome;

/// The record of the very same publication, if it was already decided before a crash or a lost acknowledgement. The bytes
/// must be the same too: a stream that was made anew twice in one second has the same positions with other messages.
pub(super) fn again(reader: &Reader, origin: &Origin) -> Result<Option<Arc<Record>>, Error> {
    let Some(last) = reader.last_position(&origin.party) else { return Ok(None) };
    if last.epoch != origin.position.epoch || origin.position.sequence > last.sequence {
        return Ok(None);
    }
    let record = reader.at_position(&origin.party, origin.position)?;
    Ok(record.filter(|record| record.digest == origin.digest))
}

/// The same bytes again: what was put aside stays put aside, of what was accepted the outcome stands, and the answer is a
/// success.
pub(super) fn as_before(record: &Record, origin: &Origin) -> Receipt {
    let outcome = match record.outcome {
        Outcome::Accepted => Outcome::Duplicate,
        outcome => outcome,
    };
    receipt_of(record, outcome, origin.position)
}
