//! Looks for letters that a mailbox lost in its middle: behind a damaged block of a stream nats-server goes on as if nothing had stood
//! there, and the party could take the gap for an erasure.
//!
//! It only tells. A letter cannot be put where it stood, and behind later ones it would be out of order; whoever runs the exchange has
//! the whole feed put in anew (RUNBOOKS, LiaisonMailboxDamaged). What is missing at the end of a mailbox the courier puts in again; at
//! its beginning nothing tells what was lost from what was read and swept.

use super::broom;
use crate::archive::{FeedItem, Reader};
use crate::message::names::PartyId;
use crate::message::time;
use crate::wire::inspect::Inspector;
use crate::wire::mailbox_stream;

/// Letters looked up at once, and their bytes.
const AT_ONCE: usize = 256;
const AT_ONCE_BYTES: usize = 1 << 20;

/// Letters that stood in a mailbox, that its party has not acknowledged and that nobody took out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost {
    /// Feed sequence of the first.
    pub(super) first: u64,
    /// How many.
    pub(super) count: u64,
}

/// What a mailbox lost in its middle, if anything. `read` is the feed sequence up to which its party is known to have acknowledged,
/// 0 if that is not known yet.
///
/// # Errors
/// In words: the mailbox cannot be asked, or the archive not be read.
pub(super) async fn lost(
    inspector: &Inspector,
    reader: &Reader,
    party: &PartyId,
    read: u64,
) -> Result<Option<Lost>, String> {
    let stream = mailbox_stream(party);
    let gaps = inspector.gaps(&stream).await.map_err(|error| error.to_string())?;
    if gaps.is_empty() {
        return Ok(None);
    }
    let standing = inspector.standing(&stream).await.map_err(|error| error.to_string())?;
    let mut lost: Option<Lost> = None;
    // What was acknowledged may be half swept.
    for gap in gaps.into_iter().filter(|gap| read > 0 || gap.upto > standing.acknowledged) {
        let is_swept = |item: &FeedItem| {
            let summary = item.record.summary.as_ref();
            gap.upto <= standing.acknowledged
                && summary.is_none_or(|of| broom::is_overwritten(of.plane.as_str(), of.kind.as_str()))
        };
        let mut at = gap.before.max(read);
        while at + 1 < gap.behind {
            let items = reader.feed(party, at, AT_ONCE, AT_ONCE_BYTES).map_err(|error| error.to_string())?;
            let Some(last) = items.last() else { break };
            at = last.feed_seq;
            let now = time::now().as_millisecond();
            for item in items.iter().filter(|item| item.feed_seq < gap.behind) {
                if reader.withdrawn(&item.record, now).is_none() && !is_swept(item) {
                    lost.get_or_insert(Lost { first: item.feed_seq, count: 0 }).count += 1;
                }
            }
        }
    }
    Ok(lost)
}
