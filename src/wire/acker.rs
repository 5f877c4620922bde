//! Acknowledging intake: what each party's durable has delivered, and up to where everything is archived and receipted.
//!
//! It decides nothing: who stored the receipts says how far that is. One acknowledgement covers everything before it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use async_nats::{Client, Subject};
use bytes::Bytes;
use parking_lot::Mutex;

use crate::message::names::PartyId;
use crate::message::raw::Position;

/// Acknowledges intake, party by party.
#[derive(Debug, Clone, Default)]
pub struct Acker {
    lines: Arc<Mutex<HashMap<PartyId, Line>>>,
    /// The floors that an earlier life of the broker noted.
    before: Arc<BTreeMap<PartyId, Position>>,
}

/// What a party's durable has delivered and not yet got acknowledged, batch by batch.
#[derive(Debug)]
struct Line {
    client: Client,
    epoch: i64,
    /// The run of nats-server that these places were read from. One that is started again may have lost the end of the stream, and
    /// given the places in it to other messages since.
    server: String,
    reach: Reach,
    waiting: VecDeque<(u64, Subject)>,
}

/// How far a line has come.
#[derive(Debug, Clone, Copy)]
struct Reach {
    /// It has read up to here.
    read: u64,
    /// Everything up to here is archived and receipted, whether or not an acknowledgement came through: the connection
    /// may have broken right behind the messages.
    done: u64,
}

impl Reach {
    /// Receipts are stored up to a place. Of what an earlier line read they do not count here: a server that lost the end of a stream gives
    /// those places to other messages, and this line reads whatever stands there.
    fn done(&mut self, upto: u64) {
        self.done = self.done.max(upto.min(self.read));
    }
}

impl Reach {
    /// True while receipts of what was read are on their way.
    fn owes(&self) -> bool {
        self.done < self.read
    }
}

impl Line {
    fn floor(&self) -> Position {
        Position { epoch: self.epoch, sequence: self.reach.done }
    }
}

impl Acker {
    /// One that goes on from the floors of an earlier life.
    #[must_use]
    pub fn behind(floors: BTreeMap<PartyId, Position>) -> Self {
        Self { before: Arc::new(floors), ..Self::default() }
    }

    /// Up to where everything is archived and receipted, of each party; of those that are not read yet, as it was noted before.
    #[must_use]
    pub fn floors(&self) -> BTreeMap<PartyId, Position> {
        let mut floors = (*self.before).clone();
        let lines = self.lines.lock();
        floors.extend(lines.iter().map(|(party, line)| (party.clone(), line.floor())));
        floors
    }

    /// That of one party, in this life of the stream, whatever became of the stream since.
    pub(super) fn noted(&self, party: &PartyId, epoch: i64) -> Option<u64> {
        let now = self.lines.lock().get(party).map(Line::floor);
        let floor = now.or_else(|| self.before.get(party).copied());
        floor.filter(|floor| floor.epoch == epoch).map(|floor| floor.sequence)
    }

    /// Acknowledges everything up to a place in the stream. A lost acknowledgement is made good by the next one, or by
    /// the next beginning.
    pub async fn acknowledge(&self, party: &PartyId, upto: Position) {
        let found = {
            let mut lines = self.lines.lock();
            let Some(line) = lines.get_mut(party).filter(|line| line.epoch == upto.epoch) else { return };
            line.reach.done(upto.sequence);
            let mut last = None;
            while line.waiting.front().is_some_and(|(at, _)| *at <= upto.sequence) {
                last = line.waiting.pop_front();
            }
            last.map(|(_, reply)| (line.client.clone(), reply))
        };
        if let Some((client, reply)) = found
            && let Err(error) = client.publish(reply, Bytes::from_static(b"+ACK")).await
        {
            tracing::debug!(%party, %error, "an acknowledgement was not sent");
        }
    }

    /// A batch was read up to a place, and is acknowledged by this reply if it has one.
    pub(super) fn expect(&self, party: &PartyId, sequence: u64, reply: Option<Subject>) {
        if let Some(line) = self.lines.lock().get_mut(party) {
            line.reach.read = line.reach.read.max(sequence);
            line.waiting.extend(reply.map(|reply| (sequence, reply)));
        }
    }

    /// Notes that everything up to a place in the stream is archived and receipted; the acknowledgement may follow later.
    pub fn done(&self, party: &PartyId, upto: Position) {
        if let Some(line) = self.lines.lock().get_mut(party).filter(|line| line.epoch == upto.epoch) {
            line.reach.done(upto.sequence);
        }
    }

    /// Up to where everything is archived and receipted in this life of the stream, as far as this process knows from this run of
    /// the server.
    pub(super) fn known(&self, party: &PartyId, epoch: i64, server: &str) -> u64 {
        let lines = self.lines.lock();
        lines
            .get(party)
            .filter(|line| line.epoch == epoch && line.server == server)
            .map_or(0, |line| line.reach.done)
    }

    /// True while receipts are on their way of what another run of the server gave. If that one lost the end of the stream, they would
    /// count for whatever stands at those places now: nothing is read from this one before they are stored.
    pub(super) fn owes(&self, party: &PartyId, server: &str) -> bool {
        let lines = self.lines.lock();
        lines.get(party).is_some_and(|line| line.server != server && line.reach.owes())
    }

    /// Reading begins anew behind a place: replies to earlier deliveries must not be used any more.
    pub(super) fn begin(&self, party: &PartyId, client: Client, epoch: i64, done: u64) {
        let server = client.server_info().server_id;
        let reach = Reach { read: done, done };
        self.lines
            .lock()
            .insert(party.clone(), Line { client, epoch, server, reach, waiting: VecDeque::new() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_of_what_an_earlier_line_read_do_not_count_for_what_this_one_has_not() {
        // The stream ended at 100, and ends at 90 since its server lost its power.
        let mut reach = Reach { read: 85, done: 85 };
        reach.done(100);
        assert_eq!(reach.done, 85);
        reach.read = 93; // three of them new
        reach.done(90);
        assert_eq!(reach.done, 90);
        reach.done(93);
        assert_eq!(reach.done, 93);
        reach.done(91);
        assert_eq!(reach.done, 93);
    }

    #[test]
    fn what_is_read_is_owed_until_its_receipts_are_stored() {
        let mut reach = Reach { read: 85, done: 85 };
        assert!(!reach.owes());
        reach.read = 100;
        reach.done(99);
        assert!(reach.owes());
        reach.done(100);
        assert!(!reach.owes());
    }
}
