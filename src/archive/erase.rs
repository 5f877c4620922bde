//! Carrying out orders to erase: the content goes from every place where this archive keeps it.
//!
//! A sealed body goes with its key, from backups and replicas too. A plain one is taken out of its frame of the journal and out of its
//! block in sled, whose old bytes lose their key. Orders stand in the journal before anything is destroyed, and a mark
//! says how far they were carried out, so a crash in between only means that the next start goes on. Who may order
//! what is the rules' business.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::body::Body;
use super::journal::sync_directory;
use super::pack::Pack;
use super::{Archive, Archived, Error, Record, redact, torn};
use crate::message::time;

/// Beside the journal: sequence of the last record whose orders were carried out.
const MARK: &str = "erased-upto";

impl Archive {
    /// Carries out every order to erase that was not yet; gives how many messages that concerned.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Keys`]: then nothing is marked as done, and the caller must not say that it was.
    pub fn erase_ordered(&mut self) -> Result<usize, Error> {
        let mark = self.directory.join(MARK);
        let orders = self.reader.index.read().fates.erasures_behind(self.erased_upto()).to_vec();
        let Some(last) = orders.last().map(|(by, _)| *by) else { return Ok(0) };
        let targets: Vec<u64> = orders.iter().map(|(_, target)| *target).collect();
        self.destroy(&targets).inspect_err(|_| self.journal.poison())?;
        // Whose content half a frame holds cannot be told: it may be that of these.
        torn::forget(&self.directory.join("journal"))?;
        note(&mark, last)?;
        Ok(targets.len())
    }

    /// The same at a start, for orders that a crash came before, or that it interrupted: a block may have been sealed anew, and the old
    /// key have stayed, or be destroyed in the kernel's memory alone.
    ///
    /// # Errors
    /// As [`Archive::erase_ordered`].
    pub(super) fn erase_interrupted(&mut self) -> Result<usize, Error> {
        if !self.reader.index.read().fates.erasures_behind(self.erased_upto()).is_empty() {
            self.reader.forget_unused(time::now().as_millisecond())?;
        }
        self.erase_ordered()
    }

    /// Archive sequence of the last record whose orders were carried out.
    fn erased_upto(&self) -> u64 {
        let text = std::fs::read_to_string(self.directory.join(MARK)).ok();
        text.and_then(|text| text.trim().parse().ok()).unwrap_or_default()
    }

    /// Destroys the content of these records.
    fn destroy(&mut self, targets: &[u64]) -> Result<(), Error> {
        let now_ms = time::now().as_millisecond();
        let mut slots = Vec::new();
        let mut plain = Vec::new();
        for seq in targets {
            match self.reader.get(*seq)?.map(|record| record.body.clone()) {
                Some(Body::Sealed { slot, .. }) => slots.push(slot),
                Some(Body::Plain { .. }) => plain.push(*seq),
                Some(Body::None | Body::Redacted(_)) | None => {}
            }
        }
        if !slots.is_empty() {
            self.vault.destroy(&slots, now_ms)?;
        }
        if !plain.is_empty() {
            // What is handed over to the sealing thread would be put into sled behind our back.
            self.sealer.settle()?;
            self.take_away(&plain, now_ms)?;
        }
        Ok(())
    }

    /// Takes plain bodies out of journal, memory and sled, in this order: the journal is the truth.
    fn take_away(&mut self, plain: &[u64], now_ms: i64) -> Result<(), Error> {
        let mut by_frame: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        let reader = self.reader.clone();
        {
            let _nobody_reads = reader.rewriting.write();
            for seq in plain {
                let (frames, _) = reader.index.read().frames(*seq, *seq);
                let first = frames.first().ok_or(Error::Corrupt("a record without a frame"))?.first;
                let at = usize::try_from(seq - first).map_err(|_| Error::Corrupt("a frame beyond memory"))?;
                by_frame.entry(first).or_default().push(at);
            }
            for (first, gone) in &by_frame {
                let (frames, segments) = reader.index.read().frames(*first, *first);
                let frame = frames.first().ok_or(Error::Corrupt("a record without a frame"))?;
                let fresh = redact::redact(&segments, &frame.place(&segments)?, gone)?;
                reader.index.write().frames.replace(&fresh);
            }
        }
        for (first, gone) in &by_frame {
            self.filling.take_away(*first, gone)?;
        }
        reader.take_away(plain, now_ms)
    }
}

impl super::Reader {
    /// The same in memory and in sled.
    fn take_away(&self, plain: &[u64], now_ms: i64) -> Result<(), Error> {
        let mut blocks = BTreeMap::new();
        for seq in plain {
            let mut index = self.index.write();
            if let Some(kept) = index.in_tail_mut(*seq) {
                *kept = Archived {
                    record: Arc::new(without_body(&kept.record)),
                    deliveries: Arc::clone(&kept.deliveries),
                };
            }
            if let Some(gist) = index.gist_of(*seq) {
                blocks.insert(gist.first, gist);
            }
        }
        for gist in blocks.values() {
            self.cache.forget(gist.first);
            let mut bodies = Vec::new();
            for pack in self.packs(gist.first, gist.last)? {
                for at in 0..pack.len() {
                    let seq = pack.entry::<Record>(at)?.seq;
                    if (gist.first..=gist.last).contains(&seq) {
                        bodies.push(pack.body_with_len(at).to_vec());
                    }
                }
            }
            self.replace_bodies(gist.first, &bodies, now_ms)?;
            self.cache.forget(gist.first); // one may have been read in between
        }
        Ok(())
    }
}

fn without_body(record: &Record) -> Record {
    match &record.body {
        Body::Plain { .. } => Record { body: record.body.redacted(), ..record.clone() },
        _ => record.clone(),
    }
}

impl super::filling::Filling {
    /// Takes bodies out of the records that wait for their block.
    fn take_away(&mut self, first: u64, gone: &[usize]) -> Result<(), Error> {
        let mut fresh: Option<Arc<Pack>> = None;
        for pending in self.waiting_mut() {
            let begins = pending.kept.record.seq - pending.at as u64;
            if begins != first {
                continue;
            }
            let pack = match &fresh {
                Some(pack) => Arc::clone(pack),
                None => Arc::clone(fresh.insert(Arc::new(pending.pack.without_bodies(gone)?))),
            };
            pending.pack = pack;
            if gone.contains(&pending.at) {
                pending.kept.record = Arc::new(without_body(&pending.kept.record));
            }
        }
        Ok(())
    }
}

/// Notes how far orders were carried out, so that it stands there after a crash.
fn note(mark: &Path, upto: u64) -> Result<(), Error> {
    let fresh = mark.with_extension("new");
    let write = std::fs::write(&fresh, format!("{upto}\n"))
        .and_then(|()| std::fs::File::open(&fresh)?.sync_all())
        .and_then(|()| std::fs::rename(&fresh, mark));
    write.map_err(|error| Error::at(mark, error))?;
    sync_directory(mark.parent().unwrap_or(Path::new(".")))
}
