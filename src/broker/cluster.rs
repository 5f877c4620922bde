//! Several instances with one archive: one serves, the others follow it and stand by.
//!
//! A standby reads the stream of the journal entry by entry into an archive of its own, and checks each frame as a start
//! would. When the lease is free it takes it, puts a word into the stream, which shuts everybody else out, and reads up to
//! its own word: what was receipted is then here. What it does from then on is the same as that of an instance alone,
//! except that its frames go into the stream first (`replica.rs`).

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::config::{ClusterSection, Config};
use super::lease::{Step, Watch};
use super::replica::{Replica, frame_upto};
use super::standbys::{Presence, Standbys};
use super::{Error, connections};
use crate::archive::{self, Archive, Seen};
use crate::message::time;
use crate::wire;
use crate::wire::connect::Role;
use crate::wire::journal::{Entry, Journal};
use crate::wire::lease::{Holder, LeaseKey, Term};

/// The only shard so far: it owns all parties.
pub(super) const SHARD: u16 = 0;
/// How often the lease is renewed.
const RENEW: Duration = Duration::from_secs(1);
/// How often a standby looks for new entries and at the lease.
const LOOK: Duration = Duration::from_millis(100);
/// How long nothing may succeed until a server is taken anew; in time for a lease that is believed in for nine seconds.
const STRANDED: Duration = Duration::from_secs(4);
/// How long giving the lease back may take.
const RELEASE: Duration = Duration::from_secs(3);

/// Rung when a stage ends that must not.
type Alarm = watch::Sender<Option<&'static str>>;

/// What the serving instance of a cluster has beside its archive.
pub(super) struct Seat {
    /// The way into the stream.
    pub(super) replica: Replica,
    /// Grows with every taking of the lease.
    pub(super) epoch: u64,
    /// Who stands by.
    pub(super) standbys: Standbys,
    /// The lease.
    pub(super) held: Held,
}

/// The lease, renewed until it is released.
pub(super) struct Held {
    /// How long it is to be believed in.
    pub(super) term: Term,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Held {
    /// Gives the lease back, so that nobody has to wait. Nothing may be written or sent afterwards.
    pub(super) async fn release(self) {
        self.stop.cancel();
        let stop = self.task.abort_handle();
        if tokio::time::timeout(RELEASE, self.task).await.is_err() {
            stop.abort();
        }
        self.term.end();
    }
}

/// Opens the archive; in a cluster it returns when this instance is the one that serves. `standing_by` is called when it
/// follows.
pub(super) async fn open(
    config: &Config,
    alarm: &Alarm,
    standing_by: impl FnOnce(),
) -> Result<(Archive, Option<Seat>), Error> {
    let root = config.archive.root_key()?;
    let (archive, recovery) = Archive::open(&config.archive.directory, &root)?;
    tracing::info!(records = recovery.records, cut_bytes = recovery.cut_bytes, rebuilt = recovery.rebuilt,
        took = ?recovery.took, why = ?recovery.why, "archive open");
    let Some(cluster) = &config.cluster else { return Ok((archive, None)) };
    connections::ensure_replication(config).await?;
    let stream = Journal::open(&connections::road(config, Role::Replica)?, SHARD).await?;
    let key = LeaseKey::new(stream.client(), SHARD);
    let mut follower = Follower::begin(archive, stream.clone()).await?;
    standing_by();
    let (holder, held) = follower.stand_by(&key, cluster, alarm).await?;
    let last = follower.claim(&holder, &held.term).await?;
    let standbys = Standbys::of(key.clone(), cluster.instance.clone());
    let mut replica = Replica::new(stream, key, held.term.clone(), last).await?;
    replica.catch_up(&follower.archive, follower.carried).await?;
    if let Err(error) = replica.erase_in_stream(&follower.archive).await {
        tracing::warn!(%error, "erased content stays in the replicated journal for now");
    }
    tracing::info!(epoch = holder.epoch, records = follower.archive.next() - 1, "this instance serves");
    Ok((follower.archive, Some(Seat { replica, epoch: holder.epoch, standbys, held })))
}

/// An archive that follows the stream.
struct Follower {
    archive: Archive,
    stream: Journal,
    /// The last stream sequence that was read.
    read: u64,
    /// The last archive sequence that was seen in the stream.
    carried: u64,
}

impl Follower {
    /// Finds where in the stream this archive ends.
    async fn begin(archive: Archive, stream: Journal) -> Result<Self, Error> {
        let head = archive.next() - 1;
        let mut follower = Self { archive, stream, read: 0, carried: 0 };
        // Whoever came first said which root key it has.
        if let Some(first) = follower.stream.behind(1).await?
            && let Entry::Term(words) = &first.entry
        {
            follower.is_ours(words)?;
        }
        if head > 0 {
            // Read again: it tells whether it is the same.
            let found = frame_upto(&follower.stream, head).await?;
            follower.read = found.map_or(0, |(at, _)| at - 1);
        }
        Ok(follower)
    }

    /// Follows until the lease could be taken; the holder, and the lease with its renewal running.
    async fn stand_by(
        &mut self,
        key: &LeaseKey,
        cluster: &ClusterSection,
        alarm: &Alarm,
    ) -> Result<(Holder, Held), Error> {
        let mut watch = Watch::default();
        let presence = Presence::begin(key.clone(), cluster.instance.clone());
        let mut trouble: Option<Instant> = None;
        tracing::info!(instance = %cluster.instance, records = self.archive.next() - 1, "standing by");
        loop {
            match self.look(key, &mut watch, cluster, &presence).await {
                Ok(Some((holder, revision, term))) => {
                    let stop = CancellationToken::new();
                    let renewal =
                        Renewal { key: key.clone(), holder: holder.clone(), revision, term: term.clone() };
                    let task = tokio::spawn(renewal.run(alarm.clone(), stop.clone()));
                    return Ok((holder, Held { term, stop, task }));
                }
                Ok(None) => trouble = None,
                Err(Error::Wire(error @ wire::Error::Api { .. })) => {
                    if trouble.is_none() {
                        tracing::warn!(%error, "the replicated journal cannot be read; trying again");
                    }
                    leave_if_stranded(key, &mut trouble).await;
                }
                Err(error) => return Err(error),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Follows what is there, then looks at the lease and tries to take it if it is free.
    async fn look(
        &mut self,
        key: &LeaseKey,
        watch: &mut Watch,
        cluster: &ClusterSection,
        presence: &Presence,
    ) -> Result<Option<(Holder, u64, Term)>, Error> {
        self.advance(Some(presence)).await?;
        let found = key.look().await?;
        let Step::Take { revision, epoch } = watch.look(found.as_ref(), time::stopwatch()) else {
            return Ok(None);
        };
        let holder = Holder { instance: cluster.instance.clone(), epoch, released: false };
        let began = time::stopwatch();
        let taken = key.put(&holder, revision).await?;
        Ok(taken.map(|revision| {
            let term = Term::default();
            term.renewed(began);
            (holder, revision, term)
        }))
    }

    /// Shuts every earlier holder out and reads all that was written before; the stream sequence of the word that did it.
    async fn claim(&mut self, holder: &Holder, term: &Term) -> Result<u64, Error> {
        let words =
            json!({ "instance": holder.instance, "epoch": holder.epoch, "root": self.archive.shared_word() });
        let entry = Entry::Term(Bytes::from(words.to_string()));
        let mut claimed = None;
        loop {
            match self.advance(None).await {
                Err(Error::Wire(wire::Error::Api { .. })) if term.is_held() => {
                    tokio::time::sleep(LOOK).await;
                    continue;
                }
                advanced => advanced?,
            }
            if let Some(claimed) = claimed
                && self.read >= claimed
            {
                return Ok(claimed);
            }
            if claimed.is_none() {
                claimed = self.say(&entry, term).await?;
            }
        }
    }

    /// Tries to put a word behind what stands in the stream; `None` if the holder before was faster.
    async fn say(&self, entry: &Entry, term: &Term) -> Result<Option<u64>, Error> {
        let last = match self.stream.last().await {
            Ok(last) => last,
            Err(_) if term.is_held() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match self.stream.append(last, entry, term).await {
            Ok(at) => Ok(Some(at)),
            Err(wire::Error::Fenced(_)) if term.is_held() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Follows all that is there.
    async fn advance(&mut self, presence: Option<&Presence>) -> Result<(), Error> {
        let tell = |head| presence.into_iter().for_each(|presence| presence.kept(head));
        tell(self.archive.next() - 1);
        while let Some(placed) = self.stream.behind(self.read + 1).await? {
            match placed.entry {
                Entry::Term(words) => self.is_ours(&words)?,
                Entry::Seed(slot, bytes) => self.archive.take_seed(slot, &bytes)?,
                Entry::Frame(bytes) | Entry::Anew(_, bytes) => self.take(&bytes).await?,
            }
            self.read = placed.sequence;
            tell(self.archive.next() - 1);
        }
        Ok(())
    }

    /// Keeps a frame, or sees that it is here. Where frames are missing, bodies were taken from them, and what is left of
    /// them stands further behind.
    async fn take(&mut self, bytes: &Bytes) -> Result<(), Error> {
        let seen = Seen::at(bytes)?;
        self.carried = self.carried.max(seen.last);
        loop {
            let next = self.archive.next();
            if seen.last < next {
                let same = self.archive.frame_at(seen.first)?.is_some_and(|here| here == seen);
                return if same { Ok(()) } else { Err(archive::Error::Diverged(seen.first).into()) };
            }
            if seen.first == next {
                self.archive.follow(bytes.to_vec())?;
                return Ok(());
            }
            let anew = if seen.first > next { self.stream.anew(next).await? } else { None };
            let (_, anew) = anew.ok_or(archive::Error::Diverged(next))?;
            self.archive.follow(anew.to_vec())?;
        }
    }

    /// Refuses to follow an archive under another root key: nothing sealed in it could be opened here.
    fn is_ours(&self, words: &Bytes) -> Result<(), Error> {
        let words: serde_json::Value = serde_json::from_slice(words).unwrap_or_default();
        if words["root"] == self.archive.shared_word() {
            return Ok(());
        }
        let fault = "the root key is not that of the other instances: give all of them the same";
        Err(archive::Error::Keys(fault.to_owned()).into())
    }
}

/// Takes a server anew when nothing has succeeded for a while since `trouble` began, and begins to count again.
async fn leave_if_stranded(key: &LeaseKey, trouble: &mut Option<Instant>) {
    let since = trouble.get_or_insert_with(time::stopwatch);
    if since.elapsed() >= STRANDED {
        key.leave_server().await;
        *since = time::stopwatch();
    }
}

/// The renewal of a lease.
struct Renewal {
    key: LeaseKey,
    holder: Holder,
    revision: u64,
    term: Term,
}

impl Renewal {
    /// Renews until told to give it back. Rings if it is lost.
    async fn run(mut self, alarm: Alarm, stop: CancellationToken) {
        let mut trouble = None;
        let lost = loop {
            tokio::select! {
                () = tokio::time::sleep(RENEW) => {}
                () = stop.cancelled() => {
                    let released = Holder { released: true, ..self.holder };
                    if let Err(error) = self.key.put(&released, self.revision).await {
                        tracing::warn!(%error, "the lease could not be given back; it runs out");
                    }
                    return;
                }
            }
            match self.once().await {
                Err(words) => break words,
                Ok(true) => trouble = None,
                Ok(false) => leave_if_stranded(&self.key, &mut trouble).await,
            }
            if !self.term.is_held() {
                break "it could not be renewed in time";
            }
        };
        self.term.end();
        tracing::error!(why = lost, "the lease is lost; this instance stops");
        alarm.send_replace(Some("the lease"));
    }

    /// False if nobody knows whether it is renewed.
    async fn once(&mut self) -> Result<bool, &'static str> {
        let began = time::stopwatch();
        match self.key.put(&self.holder, self.revision).await {
            Ok(Some(revision)) => {
                self.revision = revision;
                self.term.renewed(began);
            }
            // An answer may have been lost: then it was this instance that wrote it.
            Ok(None) => match self.key.look().await {
                Ok(Some((revision, holder))) if holder == self.holder => self.revision = revision,
                // Told by a server that is cut off and does not know yet what this instance wrote since.
                Ok(Some((revision, _))) if revision < self.revision => return Ok(false),
                Ok(_) => return Err("another instance has it"),
                Err(error) => {
                    tracing::warn!(%error, "the lease cannot be looked at");
                    return Ok(false);
                }
            },
            Err(error) => {
                tracing::warn!(%error, "the lease is not renewed yet");
                return Ok(false);
            }
        }
        Ok(true)
    }
}
