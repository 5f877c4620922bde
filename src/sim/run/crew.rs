//! Brings the officers to their places: connections, stations, the conductor's thread and that of the script.

use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::conductor::{Conductor, Prepared, Stages, State};
use super::network::{AT_ONCE, Network};
use super::readers::Box as Mailbox;
use super::scribe::Notes;
use super::station::{self, Opened, Station};
use super::{Clock, Play, RunError};
use crate::message::digest::Digest;
use crate::sim::cast::{Cast, Officer};
use crate::sim::plan::Plan;
use crate::sim::script::{Script, Setting};

/// Attempts that the script is ahead.
const AHEAD: usize = 4_096;
/// Things heard that wait for the conductor.
const EVENTS: usize = 65_536;

/// Who is connected, and what the script must know.
#[derive(Debug)]
pub struct Ready {
    /// The mailboxes of all authorities, with the last number of each feed.
    pub mailboxes: Vec<(Mailbox, u64)>,
    /// The connections of all officers.
    pub opened: Vec<Opened>,
    /// What the script must know.
    pub setting: Setting,
}

/// Connects all officers.
///
/// # Errors
/// One is not let in.
pub async fn connect(
    network: &Network,
    cast: &Cast,
    stop: &CancellationToken,
) -> Result<Vec<Opened>, RunError> {
    let road = &network.road;
    let connecting = stream::iter(cast.officers.iter().map(|who| station::open(road, who)));
    tokio::select! {
        () = stop.cancelled() => Err(RunError::NotReady("ended before the start".to_owned())),
        opened = connecting.buffered(AT_ONCE).try_collect() => opened,
    }
}

/// The script in a thread of its own, a bounded way ahead.
///
/// # Errors
/// The system gives no thread.
pub fn script(plan: &Plan, cast: &Cast, setting: Setting) -> Result<mpsc::Receiver<Prepared>, RunError> {
    let (send, script) = mpsc::channel(AHEAD);
    let (plan, cast) = (plan.clone(), cast.clone());
    let write = move || {
        for attempt in Script::new(&plan, &cast, setting) {
            let digest = Digest::of(&attempt.payload);
            if send.blocking_send((attempt, digest)).is_err() {
                return; // the sending was ended
            }
        }
    };
    let thread = std::thread::Builder::new().name("script".to_owned()).spawn(write);
    thread.map(|_| script).map_err(RunError::Thread)
}

/// Puts everybody at their stations and lets the conductor begin; its end. With the script comes whether nothing was published before.
///
/// # Errors
/// The system gives no thread.
pub fn conductor(
    play: &Play,
    cast: Cast,
    opened: Vec<Opened>,
    (script, fresh): (mpsc::Receiver<Prepared>, bool),
    clock: Clock,
    notes: Notes,
    stages: &Stages,
) -> Result<oneshot::Receiver<Result<(), RunError>>, RunError> {
    let (told, events) = mpsc::channel(EVENTS);
    let mut connections = Vec::with_capacity(opened.len());
    for (officer, (who, opened)) in cast.officers.iter().zip(opened).enumerate() {
        let (connection, answers) = opened.split();
        connections.push(Some(connection));
        let road = play.network.road.clone();
        let station = Station { officer, who: who.clone(), road, clock, events: told.clone() };
        tokio::spawn(station.attend(answers));
    }
    let officers: Vec<Officer> = cast.officers;
    let conductor = Conductor {
        officers,
        connections,
        clock,
        script,
        events,
        _told: told,
        notes,
        live: Arc::clone(&play.live),
        stop: play.stop.clone(),
        stages: stages.clone(),
        state: State::on(fresh),
    };
    let (done, ended) = oneshot::channel();
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let result = match runtime {
            Ok(runtime) => runtime.block_on(conductor.run()),
            Err(error) => Err(RunError::Thread(error)),
        };
        // Who waited is gone only if the whole run is.
        drop(done.send(result));
    };
    std::thread::Builder::new().name("conductor".to_owned()).spawn(work).map_err(RunError::Thread)?;
    Ok(ended)
}
