//! Erased messages leave the streams of nats-server too: the publication in the intake stream and the letters that wait in
//! mailboxes are deleted and overwritten, and the same bytes where they were sent again before the order.
//!
//! A letter that is not stored yet needs no deleting, for its courier sends a tombstone in its place; one that is in the
//! air when the order comes is waited for. How far that is done is noted, so that a crash only means doing it again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::couriers::Couriers;
use super::metrics::Metrics;
use crate::archive::{Delivery, Error, Reader, Record};
use crate::message::digest::Digest;
use crate::message::names::PartyId;
use crate::wire::inspect::Inspector;
use crate::wire::{self, intake_stream, mailbox_stream};

/// Pause between two looks at the orders.
const PAUSE: Duration = Duration::from_millis(500);
/// Publications on the subject of an erased one that are looked at, for the same bytes may have been sent again.
const MOST_LOOKS: usize = 1_000;
/// In the archive directory: sequence of the last record whose orders have reached every mailbox.
const MARK: &str = "withdrawn-upto";

/// The one who takes letters back.
pub struct Withdrawals {
    /// Where orders are read.
    pub reader: Reader,
    /// How mailboxes are reached.
    pub inspector: Inspector,
    /// How far couriers have come.
    pub couriers: Arc<RwLock<Couriers>>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// The archive's directory.
    pub directory: PathBuf,
}

/// One copy to be taken back.
struct Letter {
    /// Record that orders it.
    by: u64,
    place: Place,
}

enum Place {
    /// A letter in a mailbox.
    Mailbox(Delivery),
    /// A publication in the intake stream of a party, and what was sent again behind it.
    Intake(Publication),
}

/// Copies of one publication. None that is not answered yet may go, or its sender would wait for ever.
struct Publication {
    party: PartyId,
    subject: String,
    /// Where it stood.
    from: u64,
    /// How far the stream was certainly answered when the order came.
    upto: u64,
    digest: Digest,
}

impl Withdrawals {
    /// Those of an archive in this directory.
    pub(super) fn new(shared: &Shared, inspector: Inspector, directory: PathBuf) -> Self {
        Self {
            reader: shared.reader.clone(),
            inspector,
            couriers: Arc::clone(&shared.couriers),
            metrics: Arc::clone(&shared.metrics),
            directory,
        }
    }

    /// Runs until stopped.
    pub async fn run(self, stop: CancellationToken) {
        let mark = self.directory.join(MARK);
        let mut done =
            std::fs::read_to_string(&mark).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let (mut seen, mut open) = (done, Vec::new());
        loop {
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = stop.cancelled() => return,
            }
            match self.fresh(seen) {
                Ok((upto, letters)) => {
                    seen = upto;
                    open.extend(letters);
                }
                Err(error) => {
                    tracing::error!(%error, "orders to erase cannot be read; letters may still wait")
                }
            }
            let mut left = Vec::new();
            for letter in open.drain(..) {
                if !self.take_back(&letter.place).await {
                    left.push(letter);
                }
            }
            open = left;
            self.metrics.letters_to_withdraw.set(i64::try_from(open.len()).unwrap_or(i64::MAX));
            let upto = open.iter().map(|letter| letter.by - 1).min().unwrap_or(seen);
            if upto > done && note(&mark, upto).is_ok() {
                done = upto;
            }
        }
    }

    /// The letters that orders behind a sequence name, and the last of these orders.
    fn fresh(&self, seen: u64) -> Result<(u64, Vec<Letter>), Error> {
        let mut letters = Vec::new();
        let mut upto = seen;
        for (by, target) in self.reader.erasures_behind(seen) {
            upto = by;
            let releases = self.reader.fate(target).releases;
            for seq in std::iter::once(target).chain(releases) {
                let owed = self.reader.deliveries(seq)?.into_iter().filter(|delivery| delivery.of == target);
                letters.extend(owed.map(|delivery| Letter { by, place: Place::Mailbox(delivery) }));
            }
            // A stream that was made anew has another's publication at this place, perhaps one that is not archived yet.
            let still_there = |record: &Record| {
                let last = self.reader.last_position(&record.party)?;
                (!record.is_own() && last.epoch == record.position.epoch).then(|| Publication {
                    party: record.party.clone(),
                    subject: record.subject.clone(),
                    from: record.position.sequence,
                    upto: last.sequence,
                    digest: record.digest,
                })
            };
            let published = self.reader.get(target)?.and_then(|record| still_there(&record));
            letters.extend(published.map(|published| Letter { by, place: Place::Intake(published) }));
        }
        Ok((upto, letters))
    }

    /// True if the letter is surely not in the mailbox any more.
    async fn take_back(&self, place: &Place) -> bool {
        let delivery = match place {
            Place::Mailbox(delivery) => delivery,
            Place::Intake(published) => return told(&published.party, self.unpublish(published).await),
        };
        let progress = self.couriers.read().progress(&delivery.party);
        // A party that left the registry has no courier; its mailbox stream is the operator's to remove.
        let Some(progress) = progress else { return true };
        if progress.last_stored() < delivery.feed_seq {
            return false;
        }
        let Some(at) = progress.stream_sequence_of(delivery.feed_seq) else { return true };
        // A tombstone stays: it says what became of the message.
        let (party, but) = (&delivery.party, ".ctl.msg.receipt.zz");
        let stream = mailbox_stream(party);
        told(party, self.inspector.delete_letter(&stream, at, delivery.feed_seq, but).await)
    }
}

impl Withdrawals {
    /// Deletes a publication and the same bytes that were sent again on its subject: they were answered as duplicates and have no
    /// record, so they are looked for.
    async fn unpublish(&self, published: &Publication) -> Result<(), wire::Error> {
        let Publication { party, subject, from, upto, digest } = published;
        let stream = intake_stream(party);
        self.inspector.delete_publication(&stream, *from, *digest).await?;
        let mut behind = from + 1;
        for _ in 0..MOST_LOOKS {
            let Some(at) = self.inspector.next(&stream, subject, behind, *upto).await? else { break };
            self.inspector.delete_publication(&stream, at, *digest).await?;
            behind = at + 1;
        }
        Ok(())
    }
}

/// True if it is done.
fn told(party: &PartyId, deleted: Result<(), wire::Error>) -> bool {
    deleted.inspect_err(|error| tracing::warn!(%party, %error, "a copy cannot be taken back yet")).is_ok()
}

fn note(mark: &Path, upto: u64) -> std::io::Result<()> {
    let fresh = mark.with_extension("new");
    std::fs::write(&fresh, format!("{upto}\n"))?;
    std::fs::rename(&fresh, mark)
}
