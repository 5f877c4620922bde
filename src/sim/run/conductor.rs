//! Sends each attempt when it is due, whatever became of those before it: open loop.
//!
//! It runs in a thread of its own, so that no reader's work delays a sending. An attempt waits for three things only: its
//! time, the receipt of the one that it refers to, and the return of its officer. How late it was is in the log.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::RunError;
use super::clock::{Clock, micros};
use super::desk::{Came, Desk, Due, mark};
use super::live::Live;
use super::scribe::{Note, Notes};
use super::station::{Connection, Event, Receipt, What};
use crate::message::digest::Digest;
use crate::message::subject;
use crate::sim::cast::Officer;
use crate::sim::log::{Stray, Tried};
use crate::sim::script::Attempt;

/// Attempts that may be under way or wait for one that is; beyond that nothing is sent, and the slip shows.
const MOST: usize = 200_000;
/// Things heard that are looked at before it is looked at the clock again.
const AT_ONCE: usize = 256;
/// How long nothing may be heard, after the last of the script, before nothing more is waited for; in microseconds.
const SILENCE: u64 = 120_000_000;
/// Receipts among which one that says "known already" means that this was all played before.
const FIRST: u64 = 200;

/// How the run is ended from outside.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Send nothing more that is new.
    pub sending: CancellationToken,
    /// End at once.
    pub all: CancellationToken,
}

/// The stages that others wait for.
#[derive(Debug, Clone, Default)]
pub struct Stages {
    /// Everything has been sent.
    pub sent: CancellationToken,
    /// Every attempt has its receipt, or was given up.
    pub settled: CancellationToken,
}

/// An attempt with the digest of its bytes.
pub type Prepared = (Attempt, Digest);

/// The sender.
pub struct Conductor {
    /// Who plays.
    pub officers: Vec<Officer>,
    /// Their connections; none while one is away.
    pub connections: Vec<Option<Connection>>,
    /// The clock of the run.
    pub clock: Clock,
    /// What the script brings, a little ahead.
    pub script: mpsc::Receiver<Prepared>,
    /// What officers hear.
    pub events: mpsc::Receiver<Event>,
    /// Keeps that way open while everybody is away.
    pub _told: mpsc::Sender<Event>,
    /// To the log.
    pub notes: Notes,
    /// For who watches.
    pub live: Arc<Live>,
    /// From outside.
    pub stop: Stop,
    /// For others.
    pub stages: Stages,
    /// Where everybody is.
    pub state: State,
}

/// Who waits for what.
#[derive(Debug, Default)]
pub struct State {
    desk: Desk,
    /// Due later, in order.
    waiting: BTreeMap<(u64, u32), Prepared>,
    /// Which of them is the last that the script brought: it brings no more before that one is sent.
    ahead: Option<(u64, u32)>,
    /// By the attempt whose receipt they wait for.
    held: HashMap<u32, Vec<Prepared>>,
    /// By officer who is away.
    outboxes: HashMap<usize, VecDeque<(Prepared, u64)>>,
    /// From the script, and no receipt yet.
    unsettled: HashSet<u32>,
    /// Never answered, or never sent: what refers to them is not sent either.
    dead: HashSet<u32>,
    /// Officers that drop off as soon as they have their receipts.
    leaving: HashSet<usize>,
    /// Attempts in `waiting`, `held` and `outboxes`.
    kept: usize,
    /// When something was heard last.
    last_heard: u64,
    script_ended: bool,
    finished: Vec<Tried>,
    strays: Vec<Stray>,
}

impl Conductor {
    /// Sends until the script is at its end and everything has its receipt.
    ///
    /// # Errors
    /// The log cannot be written; or this was played before.
    pub async fn run(mut self) -> Result<(), RunError> {
        let mut heard = Vec::with_capacity(AT_ONCE);
        loop {
            self.send_due().await?;
            self.look_after().await?;
            self.write().await?;
            if self.state.script_ended && self.state.kept == 0 {
                self.stages.sent.cancel();
                if self.state.desk.len() == 0 {
                    break;
                }
            }
            if self.is_silent() {
                break; // whoever is away cannot come back any more
            }
            let wake = self.wake();
            let wants_more = self.wants_more();
            tokio::select! {
                biased;
                () = self.stop.all.cancelled() => break,
                () = self.stop.sending.cancelled(), if !self.state.script_ended => self.end_script(),
                next = self.script.recv(), if wants_more => self.take(next),
                count = self.events.recv_many(&mut heard, AT_ONCE) => {
                    if count == 0 {
                        return Err(RunError::Broken("the connections"));
                    }
                    self.state.last_heard = self.clock.now();
                    for event in heard.drain(..) {
                        self.hear(event).await?;
                    }
                }
                () = tokio::time::sleep_until(self.clock.moment(wake)) => {}
            }
        }
        self.give_up_all();
        self.write().await?;
        self.stages.sent.cancel();
        self.stages.settled.cancel();
        Ok(())
    }

    /// True if everything was sent that can be, everybody ought to be back, and nothing was heard for long.
    fn is_silent(&self) -> bool {
        let silent = self.clock.now().saturating_sub(SILENCE);
        let returns = self.officers.iter().filter_map(|who| who.away).map(|(_, to)| micros(to));
        self.state.script_ended
            && self.state.waiting.is_empty()
            && silent > self.state.last_heard
            && returns.max().is_none_or(|last| silent > last)
    }

    /// When there is something to do, if nothing comes.
    fn wake(&self) -> u64 {
        let next = self.state.waiting.keys().next().map(|(due, _)| *due);
        let deadline = self.state.desk.next_deadline();
        next.into_iter().chain(deadline).min().unwrap_or_else(|| self.clock.now() + 1_000_000)
    }

    /// Takes the next attempt of the script.
    fn take(&mut self, next: Option<Prepared>) {
        let Some((attempt, digest)) = next else {
            self.state.script_ended = true;
            return;
        };
        let state = &mut self.state;
        let no = attempt.no;
        if attempt.after.is_some_and(|after| state.dead.contains(&after)) {
            state.never(&attempt, micros(attempt.due));
            return;
        }
        state.unsettled.insert(no);
        state.kept += 1;
        match attempt.after.filter(|after| state.unsettled.contains(after)) {
            Some(after) => state.held.entry(after).or_default().push((attempt, digest)),
            None => {
                let key = (micros(attempt.due), no);
                state.ahead = Some(key);
                state.waiting.insert(key, (attempt, digest));
            }
        }
    }

    /// Sends what is due by now.
    async fn send_due(&mut self) -> Result<(), RunError> {
        loop {
            self.look_ahead();
            let Some(key) = self.state.waiting.keys().next().copied() else { return Ok(()) };
            if key.0 > self.clock.now() || self.stop.all.is_cancelled() {
                return Ok(());
            }
            let Some(prepared) = self.state.waiting.remove(&key) else { return Ok(()) };
            self.state.kept -= 1;
            if self.state.ahead == Some(key) {
                self.state.ahead = None;
            }
            self.first(prepared, key.0).await?;
        }
    }

    /// Takes what the script has ready, up to one that is not due yet.
    fn look_ahead(&mut self) {
        while self.wants_more() {
            match self.script.try_recv() {
                Ok(next) => self.take(Some(next)),
                Err(mpsc::error::TryRecvError::Disconnected) => self.take(None),
                Err(mpsc::error::TryRecvError::Empty) => return,
            }
        }
    }

    fn wants_more(&self) -> bool {
        let state = &self.state;
        !state.script_ended && state.ahead.is_none() && state.kept + state.desk.len() < MOST
    }

    /// Sends an attempt for the first time, or lays it into the outbox of its officer.
    async fn first(&mut self, (attempt, digest): Prepared, due: u64) -> Result<(), RunError> {
        let officer = attempt.officer;
        let is_there = self.connections.get(officer).is_some_and(Option::is_some);
        if !is_there || self.state.leaving.contains(&officer) {
            self.state.kept += 1;
            self.state.outboxes.entry(officer).or_default().push_back(((attempt, digest), due));
            return Ok(());
        }
        let no = attempt.no;
        self.live.due(no, due);
        self.state.desk.take(attempt, digest, due);
        self.live.open.fetch_add(1, Relaxed);
        self.send(no).await;
        self.live.slip.store(self.clock.now().saturating_sub(due), Relaxed);
        Ok(())
    }

    /// Hands an attempt to the connection of its officer; if that is gone, it is tried again later.
    async fn send(&mut self, no: u32) {
        let Some(attempt) = self.state.desk.attempt(no) else { return };
        let (to, payload) = (attempt.subject.clone(), attempt.payload.clone());
        let connection = self.connections.get(attempt.officer).and_then(Option::as_ref);
        let Some(connection) = connection else { return self.state.desk.later(no, self.clock.now()) };
        let mark = mark(no, self.state.desk.sends(no));
        if let Err(error) = connection.pipeline.publish(mark, &to, payload).await {
            tracing::warn!(no, %error, "could not be sent");
        }
        self.live.sent.fetch_add(1, Relaxed);
        self.state.desk.sent(no, self.clock.now());
    }

    /// Looks after those whose receipts did not come.
    async fn look_after(&mut self) -> Result<(), RunError> {
        let now = self.clock.now();
        if self.state.desk.next_deadline().is_none_or(|at| at > now) {
            return Ok(());
        }
        let mut given_up = Vec::new();
        for due in self.state.desk.due(now, &mut given_up) {
            match due {
                Due::Again { no } => self.send(no).await,
                Due::Ask { mark, officer, token } => self.ask(mark, officer, &token).await,
            }
        }
        for tried in given_up {
            if tried.receipted.is_none() {
                self.live.given_up.fetch_add(1, Relaxed);
                self.live.open.fetch_sub(1, Relaxed);
                self.bury(tried.no);
            }
            self.state.finished.push(tried);
        }
        for officer in self.state.leaving.iter().copied().collect::<Vec<_>>() {
            self.let_go(officer);
        }
        Ok(())
    }

    async fn ask(&self, mark: u64, officer: usize, token: &str) {
        let connection = self.connections.get(officer).and_then(Option::as_ref);
        let (Some(connection), Some(who)) = (connection, self.officers.get(officer)) else { return };
        let receipt = subject::receipt(&who.party, who.post.as_str(), token);
        if let Err(error) = connection.pipeline.ask_stored(mark, &receipt).await {
            tracing::debug!(%error, "a receipt could not be looked up");
        }
    }

    async fn hear(&mut self, event: Event) -> Result<(), RunError> {
        let Event { officer, at, what } = event;
        let desk = &mut self.state.desk;
        let came = match what {
            What::Queued { mark, sequence } => desk.queued(mark, sequence, at),
            What::Receipt(receipt) => desk.receipt(officer, receipt, at),
            What::Stored { mark, receipt } => desk.stored(mark, receipt, at),
            What::NotQueued => Came::default(),
            What::Leaving => {
                self.state.leaving.insert(officer);
                Came::default()
            }
            What::Back(connection) => {
                self.come_back(officer, connection).await?;
                Came::default()
            }
        };
        if let Some(settled) = came.receipted {
            self.live.receipt(&self.clock, settled.took);
            self.live.open.fetch_sub(1, Relaxed);
            if settled.is_known && self.live.receipted.load(Relaxed) < FIRST {
                return Err(RunError::PlayedBefore);
            }
            self.state.unsettled.remove(&settled.no);
            self.release(settled.no);
        }
        if let Some(receipt) = came.stray {
            self.strayed(officer, at, receipt);
        }
        if let Some(tried) = came.finished {
            let promised = tried.recipients.filter(|_| tried.outcome.as_deref() == Some("accepted"));
            self.live.promised.fetch_add(promised.unwrap_or_default(), Relaxed);
            self.state.finished.push(tried);
        }
        self.let_go(officer);
        Ok(())
    }

    /// Closes the connection of an officer who is to drop off and waits for nothing any more.
    fn let_go(&mut self, officer: usize) {
        if self.state.leaving.contains(&officer)
            && self.state.desk.of_officer(officer) == 0
            && let Some(connection) = self.connections.get_mut(officer)
        {
            *connection = None;
        }
    }

    /// An officer is back: its outbox is sent, in order.
    async fn come_back(&mut self, officer: usize, connection: Connection) -> Result<(), RunError> {
        self.state.leaving.remove(&officer);
        if let Some(place) = self.connections.get_mut(officer) {
            *place = Some(connection);
        }
        for (prepared, due) in self.state.outboxes.remove(&officer).unwrap_or_default() {
            self.state.kept -= 1;
            self.first(prepared, due).await?;
        }
        Ok(())
    }

    /// What waited for this receipt is due now, or when the script says so.
    fn release(&mut self, no: u32) {
        let now = self.clock.now();
        for (attempt, digest) in self.state.held.remove(&no).unwrap_or_default() {
            let due = micros(attempt.due).max(now);
            self.state.waiting.insert((due, attempt.no), (attempt, digest));
        }
    }

    /// What refers to an attempt without a receipt is not sent.
    fn bury(&mut self, no: u32) {
        let mut gone = vec![no];
        while let Some(no) = gone.pop() {
            self.state.unsettled.remove(&no);
            self.state.dead.insert(no);
            for (attempt, _) in self.state.held.remove(&no).unwrap_or_default() {
                self.state.kept -= 1;
                self.state.never(&attempt, micros(attempt.due));
                gone.push(attempt.no);
            }
        }
    }

    /// Nothing more that is new is sent.
    fn end_script(&mut self) {
        self.script.close();
        let state = &mut self.state;
        state.script_ended = true;
        let waiting = std::mem::take(&mut state.waiting).into_values();
        let held = std::mem::take(&mut state.held).into_values().flatten();
        let outboxes = std::mem::take(&mut state.outboxes).into_values().flatten();
        let dropped = waiting.chain(held).chain(outboxes.map(|(prepared, _)| prepared));
        for (attempt, _) in dropped.collect::<Vec<_>>() {
            state.never(&attempt, micros(attempt.due));
        }
        state.kept = 0;
    }

    /// Nothing more is waited for.
    fn give_up_all(&mut self) {
        self.end_script();
        let (open, unclaimed) = self.state.desk.abandon();
        self.state.finished.extend(open);
        for (officer, at, receipt) in unclaimed {
            self.strayed(officer, at, receipt);
        }
    }

    /// Notes a receipt that answers nothing.
    fn strayed(&mut self, officer: usize, at: u64, receipt: Receipt) {
        let Some(who) = self.officers.get(officer) else { return };
        self.state.strays.push(Stray {
            party: who.party.to_string(),
            post: who.post.to_string(),
            token: receipt.token,
            outcome: receipt.outcome,
            sha256: receipt.digest.map(|digest| digest.hex()),
            at,
        });
    }

    async fn write(&mut self) -> Result<(), RunError> {
        for stray in self.state.strays.drain(..) {
            self.notes.send(Note::Stray(stray)).await.map_err(|_| RunError::Broken("the log"))?;
        }
        for tried in self.state.finished.drain(..) {
            self.notes.send(Note::Tried(tried)).await.map_err(|_| RunError::Broken("the log"))?;
        }
        Ok(())
    }
}

impl State {
    /// Before the start, on an archive on which nothing had been published before, or on another.
    #[must_use]
    pub fn on(fresh: bool) -> Self {
        Self { desk: Desk::on(fresh), ..Self::default() }
    }

    /// Notes an attempt that is not sent.
    fn never(&mut self, attempt: &Attempt, due: u64) {
        self.unsettled.remove(&attempt.no);
        self.dead.insert(attempt.no);
        let tried = Tried { no: attempt.no, id: attempt.id.clone(), due, ..Tried::default() };
        self.finished.push(tried);
    }
}
