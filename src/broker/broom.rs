//! Sweeps a mailbox: what its party has acknowledged goes, but for the last letter, and personal data are overwritten first.
//!
//! It runs beside the courier, who goes on delivering: nothing that is swept is still to be read. Each mailbox has its
//! own moment within the interval, or sixty would be swept at once and every delivery would wait for that.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use crate::message::names::PartyId;
use crate::message::time;
use crate::wire::Error;
use crate::wire::inspect::{Inspector, Standing};
use crate::wire::mailbox_stream;

/// Pause after a message was overwritten, in times of how long that took: the server writes a whole block anew for each, up
/// to 8 MiB, and holds its stream meanwhile.
pub const REST: u32 = 5;

/// What may hold personal data: a plane, or a type on one.
const PERSONAL: [(&str, Option<&str>); 3] =
    [("case", None), ("coord", Some("deployment.notice")), ("ctl", Some("msg.correction"))];

/// True for what a broom overwrites by itself once it is acknowledged, before the rest is swept.
pub(super) fn is_overwritten(plane: &str, kind: &str) -> bool {
    PERSONAL.iter().any(|(on, named)| *on == plane && named.is_none_or(|named| named == kind))
}

/// One mailbox's.
#[derive(Debug, Clone)]
pub struct Broom {
    party: PartyId,
    inspector: Inspector,
}

/// What a sweeping saw and did.
#[derive(Debug)]
pub struct Swept {
    /// How the mailbox stands.
    pub standing: Result<Standing, Error>,
    /// The stream sequence before which it is swept.
    pub upto: Result<u64, Error>,
}

impl Broom {
    /// That of a party's mailbox.
    #[must_use]
    pub fn new(party: PartyId, inspector: Inspector) -> Self {
        Self { party, inspector }
    }

    /// When the first sweeping of an interval is.
    #[must_use]
    pub fn first(&self, interval: Duration) -> Duration {
        let mut hasher = DefaultHasher::new();
        self.party.hash(&mut hasher);
        interval.mul_f64(f64::from((hasher.finish() % 1_000) as u16) / 1_000.0)
    }

    /// Removes what the party has acknowledged, but for the last letter. Everything before `from` is swept already. Only with
    /// the case plane open can a correction hold personal data (Art. 10).
    pub async fn sweep(self, from: u64, case_plane: bool) -> Swept {
        let stream = mailbox_stream(&self.party);
        let standing = self.inspector.standing(&stream).await;
        let acknowledged = standing.as_ref().map_or(0, |standing| standing.acknowledged);
        let upto = if acknowledged <= from.max(1) {
            Ok(from)
        } else {
            self.clear(&stream, (from, acknowledged), case_plane).await.map(|()| acknowledged)
        };
        Swept { standing, upto }
    }

    async fn clear(&self, stream: &str, (from, before): (u64, u64), case_plane: bool) -> Result<(), Error> {
        let kinds = if case_plane { &PERSONAL[..] } else { &PERSONAL[..2] };
        self.overwrite(stream, kinds, (from, before - 1)).await?;
        self.inspector.sweep(stream, before).await
    }

    /// Overwrites personal data among what was acknowledged: a purge leaves bytes in the files of nats-server until a whole
    /// block of them is old, which may be long after their `eraseby`.
    async fn overwrite(
        &self,
        stream: &str,
        kinds: &[(&str, Option<&str>)],
        (from, upto): (u64, u64),
    ) -> Result<(), Error> {
        for (plane, kind) in kinds {
            let kind = kind.map_or_else(|| ">".to_owned(), |kind| format!("{kind}.*"));
            let filter = format!("ilo.out.{}.{plane}.{kind}", self.party);
            let mut at = from;
            while let Some(found) = self.inspector.next(stream, &filter, at, upto).await? {
                let began = time::stopwatch();
                self.inspector.delete(stream, found).await?;
                at = found + 1;
                tokio::time::sleep(began.elapsed() * REST).await;
            }
        }
        Ok(())
    }
}
