//! What a party may still see of a message: the rights of today, and what was done to the message since.

use serde_json::{Value, json};

use super::unreadable;
use crate::archive::{Act, Content, Opened, Reader, Record, Summary, Withdrawn};
use crate::message::envelope::TYPE_PREFIX;
use crate::message::time::{Timestamp, rfc3339};
use crate::rules::Rules;
use crate::rules::audience::may_have;
use crate::rules::registry::Party;
use crate::wire::services::Failure;

/// True if the party may read content, and has the role that the purpose of the message asks for. A correction carries
/// content of the type that it corrects.
pub(super) fn may_see(rules: &Rules, party: &Party, record: &Record, summary: &Summary) -> bool {
    let corrects = record.effects.iter().filter_map(|effect| match &effect.act {
        Act::Correct { kind } => rules.catalogue.get(kind.as_str()),
        _ => None,
    });
    !party.reads_no_content()
        && may_have(party, &summary.purpose)
        && corrects.flat_map(|entry| &entry.purposes).all(|purpose| may_have(party, purpose))
}

/// The content of a message, or the tombstone that stands for it.
pub(super) fn open(
    reader: &Reader,
    record: &Record,
    summary: &Summary,
    now_ms: i64,
) -> Result<Result<Content, Value>, Failure> {
    let (why, at_ms) = match reader.withdrawn(record, now_ms) {
        Some(why @ (Withdrawn::Erased(by) | Withdrawn::Retracted(by))) => {
            let by = reader.get(by).map_err(|_| unreadable())?.ok_or_else(unreadable)?;
            (why.as_str(), by.archived_ms)
        }
        Some(why @ Withdrawn::Expired) => (why.as_str(), summary.expires_ms.unwrap_or(now_ms)),
        None => match reader.open(record).map_err(|_| unreadable())? {
            Opened::Content(content) => return Ok(Ok(content)),
            // Its key is destroyed, and the order that says so is not read yet; or damaged.
            Opened::Gone | Opened::Lost => (Withdrawn::Erased(record.seq).as_str(), now_ms),
        },
    };
    Ok(Err(json!({
        "why": why,
        "at": moment(at_ms),
        "source": summary.source,
        "id": summary.id,
        "type": format!("{TYPE_PREFIX}{}.v{}", summary.kind, summary.major),
    })))
}

/// RFC 3339 of Unix milliseconds.
pub(super) fn moment(ms: i64) -> String {
    rfc3339(Timestamp::from_millisecond(ms).unwrap_or_default())
}
