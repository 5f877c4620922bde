//! The keeper: one plain thread that brings judged messages into order, settles what needs the memory, and commits.
//!
//! It is the only writer of the archive and of the deployment table. It speaks to nobody outside: what it decided goes
//! on as [`Done`] to the senders of receipts and deliveries. A crash between commit and sending loses nothing: the
//! intake stream is acknowledged only after the receipt, so the message comes again and is recognised by its position.

mod answered;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use tokio::sync::mpsc;

use self::answered::{again, as_before};
use super::Shared;
use super::audit::Audit;
use super::drafts::{accepted, refused, reused, too_many};
use super::metrics::{Judged as JudgedLabel, Metrics};
use super::own;
use super::rate::{Buckets, Rate};
use super::recall::{Found, Waiting, recall};
use super::receipt::{Issuer, Receipt, receipt_of};
use super::replica::{self, Replica};
use super::routes::{self, Routes};
use super::space::Reserve;
use crate::archive::{Act, Archive, Archived, Draft, Error, Reader};
use crate::message::digest::Digest;
use crate::message::fault::{self, Spot};
use crate::message::names::{MessageId, PartyId};
use crate::message::outcome::{Code, Outcome, Refused};
use crate::message::raw::Position;
use crate::message::time::{self, Timestamp};
use crate::rules::judge::{Permitted, Refusal, Target};
use crate::rules::{Rules, deployments, settle};

/// Most messages in one commit.
pub const MOST_IN_COMMIT: usize = 512;

/// The shortest time between two commits of few messages. The first after a pause is committed at once; in a steady flow some
/// are gathered, for a commit of one costs the disk and both streams behind it nearly as much as one of ten.
const GATHER: Duration = Duration::from_millis(1);
/// So many are not gathered any longer.
const ENOUGH: usize = 64;

/// What stays known of a message whatever the verdict.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Whose intake stream.
    pub party: PartyId,
    /// Where in it.
    pub position: Position,
    /// NATS subject as stored.
    pub subject: String,
    /// When the stream took it.
    pub arrived: Timestamp,
    /// Digest of the received bytes.
    pub digest: Digest,
}

/// A message with its verdict.
#[derive(Debug)]
pub struct Judged {
    /// Where it came from.
    pub origin: Origin,
    /// The received bytes, kept only if quarantined; with the frame around them if that was broken.
    pub payload: bytes::Bytes,
    /// The stateless verdict.
    pub verdict: Result<Permitted, Box<Refusal>>,
}

/// What one commit decided.
#[derive(Debug, Default)]
pub struct Done {
    /// Receipts to send, in order.
    pub receipts: Vec<Receipt>,
    /// What is to be delivered.
    pub archived: Vec<Archived>,
    /// Up to where each party's intake may be acknowledged once the receipts are stored.
    pub acknowledge: BTreeMap<PartyId, Position>,
}

/// What the keeper is given.
pub enum Work {
    /// Judged messages, in the order of their intake streams.
    Judged(Vec<Judged>),
    /// Something of the house's own.
    Own(own::Request),
}

/// The keeper's own state.
pub struct Keeper {
    /// Nobody else writes.
    archive: Archive,
    /// The way of its frames to other instances, if there are any.
    replica: Option<Replica>,
    issuer: Issuer,
    rules: Arc<RwLock<Arc<Rules>>>,
    routes: Arc<RwLock<Routes>>,
    rate: Arc<RwLock<Rate>>,
    metrics: Arc<Metrics>,
    audit: Audit,
    reserve: Arc<Reserve>,
    buckets: Buckets,
    /// When the next small commit may be.
    rested: Instant,
    /// When it was last looked for what has outlived the years of its type, Unix milliseconds.
    years_ms: Option<i64>,
}

enum Step {
    /// Goes into the next frame.
    Keep(Box<Draft>),
    /// Is answered without being kept again.
    Answer(Box<Receipt>),
    /// Same as a message earlier in the batch that is not committed yet.
    SameAs(Box<(Origin, usize)>),
}

impl Keeper {
    /// A keeper for an opened archive.
    #[must_use]
    pub(super) fn new(archive: Archive, replica: Option<Replica>, shared: &Shared, issuer: Issuer) -> Self {
        Self {
            archive,
            replica,
            issuer,
            rules: Arc::clone(&shared.rules),
            routes: Arc::clone(&shared.routes),
            rate: Arc::clone(&shared.rate),
            metrics: Arc::clone(&shared.metrics),
            audit: shared.audit.clone(),
            reserve: Arc::clone(&shared.reserve),
            buckets: Buckets::default(),
            rested: time::stopwatch(),
            years_ms: None,
        }
    }

    /// Runs until the senders hang up, then closes the archive.
    ///
    /// # Errors
    /// The archive could not write: no receipt is given from then on, the caller must end the process.
    pub fn run(mut self, mut inbox: mpsc::Receiver<Work>, outbox: &mpsc::Sender<Done>) -> Result<(), Error> {
        let mut next = inbox.blocking_recv();
        while let Some(work) = next.take() {
            let done = match work {
                Work::Judged(mut batch) => {
                    if batch.len() < ENOUGH {
                        std::thread::sleep(self.rested.saturating_duration_since(time::stopwatch()));
                    }
                    while batch.len() < MOST_IN_COMMIT {
                        match inbox.try_recv() {
                            Ok(Work::Judged(more)) => batch.extend(more),
                            other => {
                                next = other.ok();
                                break;
                            }
                        }
                    }
                    self.rested = time::stopwatch() + GATHER;
                    self.keep(batch)?
                }
                Work::Own(request) => {
                    let done = self.keep_own(request.own)?;
                    // Nobody may be waiting any more; it is kept all the same.
                    request.done.send(done.archived.len()).unwrap_or_default();
                    done
                }
            };
            fault::point(Spot::Kept);
            if outbox.blocking_send(done).is_err() {
                break;
            }
            next = next.or_else(|| inbox.blocking_recv());
        }
        self.archive.close()
    }

    /// The archive.
    pub(super) fn archive(&self) -> &Archive {
        &self.archive
    }

    /// True if it is time to look for what has outlived its years: at the first sweep, and then once a day.
    pub(super) fn looked_at_years(&mut self, now_ms: i64) -> bool {
        const DAY_MS: i64 = 24 * 3_600 * 1_000;
        let due = self.years_ms.is_none_or(|last| now_ms - last >= DAY_MS);
        if due {
            self.years_ms = Some(now_ms);
        }
        due
    }

    /// The last look found more than was done.
    pub(super) fn look_again(&mut self) {
        self.years_ms = None;
    }

    /// The rules in force.
    pub(super) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read())
    }

    /// Who signs what the keeper says by itself.
    pub(super) fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// Commits, and carries out what the commit ordered before anybody is told of it.
    pub(super) fn commit(&mut self, drafts: Vec<Draft>) -> Result<Done, Error> {
        let mut done = Done::default();
        if drafts.is_empty() {
            return Ok(done);
        }
        let erases = drafts.iter().any(erases);
        let relearn = routes::takes_back_deployments(&self.archive.reader(), &drafts)?;
        done.archived = match &mut self.replica {
            None => self.archive.commit(drafts)?,
            Some(replica) => replicated(&mut self.archive, replica, drafts)?,
        };
        self.audit.took(&done.archived);
        if erases {
            self.archive.erase_ordered()?;
            self.erase_elsewhere()?;
        }
        if relearn {
            let deployments = routes::deployments(&self.archive.reader())?;
            self.routes.write().deployments = deployments;
        }
        Ok(done)
    }

    /// Takes away from the replicated journal what is erased here, also what could not be taken away before.
    pub(super) fn erase_elsewhere(&mut self) -> Result<(), Error> {
        self.replica.as_mut().map_or(Ok(()), |replica| replica.erase(&self.archive))
    }

    fn keep(&mut self, batch: Vec<Judged>) -> Result<Done, Error> {
        let rules = Arc::clone(&self.rules.read());
        let reader = self.archive.reader();
        let mut done = Done::default();
        let mut drafts: Vec<Draft> = Vec::with_capacity(batch.len());
        let mut fresh: HashMap<(String, MessageId), usize> = HashMap::new();
        let mut same: Vec<(Origin, usize)> = Vec::new();
        for judged in batch {
            // In the order of the stream; a stream that was made anew counts from 1 again.
            done.acknowledge.insert(judged.origin.party.clone(), judged.origin.position);
            match self.settle(&rules, &reader, &drafts, &mut fresh, judged)? {
                Step::Keep(draft) => drafts.push(*draft),
                Step::Answer(receipt) => done.receipts.push(*receipt),
                Step::SameAs(same_as) => same.push(*same_as),
            }
        }
        let started = time::now();
        if !drafts.is_empty() {
            #[expect(clippy::cast_precision_loss, reason = "at most 512")]
            self.metrics.commit_messages.observe(drafts.len() as f64);
            fault::point(Spot::Settled);
            self.reserve.wait_for_room(&self.metrics);
            done.archived = self.commit(drafts)?.archived;
        }
        for archived in &done.archived {
            let record = archived.record();
            let arrived = Timestamp::from_millisecond(record.arrived_ms).unwrap_or(started);
            self.metrics.archive_seconds.observe(time::now().duration_since(arrived).as_secs_f64().max(0.0));
            self.metrics.last_sequence.set(record.seq);
            done.receipts.push(receipt_of(record, record.outcome, record.position));
        }
        for (origin, at) in same {
            if let Some(archived) = done.archived.get(at) {
                done.receipts.push(as_before(archived.record(), &origin));
            }
        }
        // In the order of each intake stream: the last receipt on a subject answers the last publication.
        done.receipts.sort_by(|a, b| (&a.party, a.position.sequence).cmp(&(&b.party, b.position.sequence)));
        self.count(&done.receipts);
        self.audit.count(&done.receipts);
        Ok(done)
    }

    fn count(&self, receipts: &[Receipt]) {
        for receipt in receipts {
            let label = JudgedLabel {
                outcome: receipt.outcome.as_str(),
                code: receipt.code.map_or("", Code::as_str),
            };
            self.metrics.messages.get_or_create(&label).inc();
        }
    }

    fn settle(
        &mut self,
        rules: &Rules,
        reader: &Reader,
        drafts: &[Draft],
        fresh: &mut HashMap<(String, MessageId), usize>,
        judged: Judged,
    ) -> Result<Step, Error> {
        let Judged { origin, payload, verdict } = judged;
        if let Some(record) = again(reader, &origin)? {
            return Ok(Step::Answer(Box::new(receipt_of(&record, record.outcome, origin.position))));
        }
        let permitted = match verdict {
            Ok(permitted) => permitted,
            Err(refusal) => {
                // It costs a token if there is one; a refusal for its own reason goes before one for the rate.
                let token = self.buckets.take(*self.rate.read(), &origin.party, origin.arrived);
                return self.refuse(reader, origin, *refusal, &payload, token);
            }
        };
        let key = (permitted.envelope().source_text.clone(), permitted.envelope().id.clone());
        if let Some(at) = fresh.get(&key).copied() {
            if drafts[at].digest == origin.digest {
                return Ok(Step::SameAs(Box::new((origin, at))));
            }
            return Ok(Step::Keep(Box::new(reused(origin, &permitted))));
        }
        if let Some(record) = reader.find(&key.0, &key.1)? {
            if record.digest == origin.digest {
                return Ok(Step::Answer(Box::new(as_before(&record, &origin))));
            }
            return Ok(Step::Keep(Box::new(reused(origin, &permitted))));
        }
        if let Err(wait) = self.buckets.take(*self.rate.read(), &origin.party, origin.arrived) {
            return Ok(Step::Keep(Box::new(too_many(origin, Target::of(&permitted), wait))));
        }
        let waiting = Waiting { first: self.archive.next(), drafts, fresh: Some(fresh) };
        let found = recall(reader, waiting, &permitted, time::now().as_millisecond())?;
        Ok(match self.route(rules, &found, &origin, &permitted) {
            Ok(draft) => {
                fresh.insert(key, drafts.len());
                Step::Keep(draft)
            }
            Err(refused_as) => {
                let target = Target::of(&permitted);
                let put_aside = refused_as.outcome() == Outcome::Quarantined;
                let keep = if put_aside { payload.to_vec() } else { Vec::new() };
                // Under its id nothing else is taken, so who sends it again in the same commit is told the same.
                fresh.extend(put_aside.then_some((key, drafts.len())));
                Step::Keep(Box::new(refused(origin, refused_as, target, keep)))
            }
        })
    }

    /// A refusal. A message that this party sent before is answered as it was then, though it would be refused today:
    /// the publisher sends again because it has not seen that answer. Under the id of a quarantined one nothing else is
    /// taken.
    fn refuse(
        &self,
        reader: &Reader,
        origin: Origin,
        refusal: Refusal,
        payload: &[u8],
        token: Result<(), Duration>,
    ) -> Result<Step, Error> {
        let Refusal { refused: reason, target } = refusal;
        // Then it is not the message that is refused, but the place where it was put.
        let misplaced = matches!(reason.code, Code::Origin | Code::Subject);
        let before = match &target.id {
            Some(id) => reader.find(&target.source, id)?,
            None => None,
        };
        let before = before.filter(|record| record.party == origin.party && !misplaced);
        if let Some(record) = &before
            && record.digest == origin.digest
        {
            return Ok(Step::Answer(Box::new(as_before(record, &origin))));
        }
        let put_aside = reason.outcome() == Outcome::Quarantined;
        if before.is_some() && put_aside {
            let words = "this source has already used this id for other bytes";
            let reason = Refused::new(Code::Dup, "/id", words);
            return Ok(Step::Keep(Box::new(refused(origin, reason, target, Vec::new()))));
        }
        // What is put aside takes room on everybody's disk, so it must come within the rate.
        if let Some(wait) = token.err().filter(|_| put_aside) {
            return Ok(Step::Keep(Box::new(too_many(origin, target, wait))));
        }
        // Spillage and refused personal data are not stored; only what a supervisor is to look at.
        let keep = if put_aside { payload.to_vec() } else { Vec::new() };
        Ok(Step::Keep(Box::new(refused(origin, reason, target, keep))))
    }

    fn route(
        &mut self,
        rules: &Rules,
        found: &[Option<Found>],
        origin: &Origin,
        permitted: &Permitted,
    ) -> Result<Box<Draft>, Refused> {
        let known: Vec<_> =
            found.iter().map(|found| found.as_ref().map(|found| found.known.clone())).collect();
        let decision = self.routes.read().route(rules, permitted, &known)?;
        self.learn(permitted, &known);
        Ok(Box::new(accepted(origin, permitted, &decision, found)))
    }

    /// Deployments are learned from what tells of them, and from its corrections. One that is taken back leaves no trace in
    /// the table, so then the table is made anew when the recall is committed.
    fn learn(&mut self, permitted: &Permitted, known: &[Option<settle::Known>]) {
        let kind = permitted.envelope().kind.as_str();
        let tells = |kind: &str| deployments::KINDS.contains(&kind);
        if tells(kind) {
            self.routes.write().learn(permitted);
        } else if let Some(target) = known.iter().flatten().find(|known| tells(known.kind.as_str()))
            && kind == "msg.correction"
        {
            let data = permitted.data().at("newData");
            self.routes.write().deployments.apply(&target.originator, target.kind.as_str(), data);
        }
    }
}

/// Keeps what the replicated journal has taken.
fn replicated(
    archive: &mut Archive,
    replica: &mut Replica,
    drafts: Vec<Draft>,
) -> Result<Vec<Archived>, Error> {
    let mut kept = Vec::with_capacity(drafts.len());
    for part in replica::parts(drafts) {
        let prepared = archive.prepare(part)?;
        replica.carry(archive, &prepared)?;
        kept.extend(archive.keep(prepared)?);
    }
    Ok(kept)
}

fn erases(draft: &Draft) -> bool {
    draft.effects.iter().any(|effect| matches!(effect.act, Act::Erase { .. }))
}
