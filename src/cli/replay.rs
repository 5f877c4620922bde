//! `liaison replay`: what a party may see of the archive, in the order of its feed; paced, resumable, into a file or on
//! stdout. Words, progress and the place to go on from are on stderr.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::data::Where;
use super::exit::words;
use super::flags::duration;
use super::publish::unreachable;
use super::replacing;
use super::selecting::Selection;
use super::target::{Target, format_for};
use super::{Exit, Failure};
use crate::client::replay::{Content, Message, Pace, Page, Place, Replay, Speed, Wanted};
use crate::export::query::Query;
use crate::export::{self, Format, Item, Provenance};
use crate::message::names::PartyId;
use crate::message::time::stopwatch;
use crate::wire::keys;

/// Arguments of `replay`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Where,
    /// Whose feed.
    #[arg(long = "as", env = "LIAISON_AS")]
    party: PartyId,
    #[command(flatten)]
    selection: Selection,
    /// Go on from this cursor, which an earlier replay has printed; the other flags must be the same.
    #[arg(long, env = "LIAISON_AFTER", value_name = "CURSOR")]
    after: Option<Place>,
    /// Keep the cursor in this file, and go on from it if it is there.
    #[arg(long, env = "LIAISON_CURSOR_FILE", value_name = "FILE")]
    cursor_file: Option<PathBuf>,
    /// How fast: 1x is as it was archived, 60x an hour in a minute, max without waiting.
    #[arg(long, env = "LIAISON_SPEED", default_value = "max")]
    speed: Speed,
    /// Go on with what arrives, until Ctrl-C or --limit.
    #[arg(long, env = "LIAISON_FOLLOW")]
    follow: bool,
    /// Format: ndjson, csv, geojson, parquet; default is what the file's name ends with, or ndjson.
    #[arg(long, env = "LIAISON_OUTPUT", value_name = "FORMAT")]
    output: Option<Format>,
    /// Write to this file, with a manifest beside it, instead of to stdout; - is stdout.
    #[arg(long, env = "LIAISON_TO_FILE", value_name = "FILE")]
    to_file: Option<PathBuf>,
    /// Where the manifest goes instead.
    #[arg(long, env = "LIAISON_MANIFEST", value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// How long to wait for a broker that does not answer, in seconds or with a unit: `30s`.
    #[arg(long, env = "LIAISON_TIMEOUT", default_value = "30s", value_parser = duration)]
    timeout: Duration,
}

/// How a replay came to its end.
#[derive(Debug)]
enum End {
    /// All that was asked for was there.
    Complete,
    /// By a signal.
    Interrupted,
    /// Nobody reads stdout any more.
    Unread,
    /// It could not go on.
    Failed(Failure),
}

/// Runs it.
pub async fn run(mut args: Args) -> Result<Exit, Failure> {
    args.to_file = args.to_file.filter(|file| file.as_path() != Path::new("-"));
    let format = format_for(args.output, args.to_file.as_deref());
    if args.follow && !format.is_open_ended() {
        return Err(Failure::new(Exit::Usage, "--follow: only ndjson and csv can be read before their end"));
    }
    let query = args.selection.for_feed()?;
    let seed = keys::read_seed(&args.place.key_file(&args.party, None))
        .map_err(|error| Failure::new(Exit::NotPermitted, error.to_string()))?;
    let to = args.place.address(&args.party)?;
    let place = match (args.after, &args.cursor_file) {
        (Some(place), _) => place,
        (None, Some(file)) => kept_in(file)?,
        (None, None) => Place::default(),
    };
    let asked = asked(&query, &args.party, &place);
    let wanted = wanted(&query, args.follow, args.timeout);
    let replay = Replay::connect(&to, &seed, &args.party, wanted, place.clone()).await;
    let mut replay = replay.map_err(unreachable)?;
    let mut course = Course {
        target: Target::open(format, args.to_file.as_deref())?,
        pace: Pace::new(args.speed),
        clock: stopwatch(),
        // Each line for itself where somebody waits for it, else a page at once.
        by_line: args.follow || args.speed != Speed::Max,
        // A file that is not whole yet holds nothing to go on behind.
        cursor_file: args.cursor_file.clone().filter(|_| args.to_file.is_none()),
        bar: bar(args.to_file.is_some()),
        sure: place.clone(),
        place,
    };
    let stop = std::pin::pin!(signalled());
    let end = course.follow(&mut replay, stop).await;
    drop(replay);
    course.bar.finish_and_clear();
    let unread = matches!(end, End::Unread);
    let place = if unread { &course.sure } else { &course.place }.to_string();
    let complete = matches!(end, End::Complete) || (args.follow && matches!(end, End::Interrupted));
    let provenance =
        Provenance { query: asked, complete, cursor: Some(place.clone()), ..Provenance::default() };
    course.target.finish(provenance, args.manifest.as_deref())?;
    if let Some(file) = &args.cursor_file {
        keep(file, &place)?;
    }
    words(&format!("cursor {place}\n"));
    match end {
        End::Failed(failure) => Err(failure),
        End::Interrupted if !complete => Ok(Exit::Failure),
        _ => Ok(Exit::Ok),
    }
}

/// The state of a replay under way.
struct Course {
    target: Target,
    pace: Pace,
    clock: std::time::Instant,
    by_line: bool,
    cursor_file: Option<PathBuf>,
    bar: indicatif::ProgressBar,
    /// Behind what was written.
    place: Place,
    /// Behind what was handed on to a reader.
    sure: Place,
}

impl Course {
    /// Writes page after page until the end or `stop`.
    async fn follow(
        &mut self,
        replay: &mut Replay,
        mut stop: std::pin::Pin<&mut impl Future<Output = ()>>,
    ) -> End {
        loop {
            let page = tokio::select! {
                biased;
                () = stop.as_mut() => return End::Interrupted,
                page = replay.next() => page,
            };
            let page = match page {
                None => return End::Complete,
                Some(Err(error)) => return End::Failed(unreachable(error)),
                Some(Ok(page)) => page,
            };
            let written = self.write(&page, stop.as_mut()).await;
            match written {
                Ok(None) => {}
                Ok(Some(end)) => return end,
                Err(failure) => return End::Failed(failure),
            }
        }
    }

    /// Writes a page at its pace; the end, if it came.
    async fn write(
        &mut self,
        page: &Page,
        mut stop: std::pin::Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Option<End>, Failure> {
        self.bar.set_length(page.head);
        for message in &page.messages {
            let wait = self.pace.wait(message.archived_at, self.clock.elapsed());
            if !wait.is_zero() {
                tokio::select! {
                    biased;
                    () = stop.as_mut() => return Ok(Some(End::Interrupted)),
                    () = tokio::time::sleep(wait) => {}
                }
            }
            if !self.target.put(&item(message))? || (self.by_line && !self.target.flush()?) {
                return Ok(Some(End::Unread));
            }
            self.bar.set_position(message.seq);
            self.place = page.began.within(message.seq);
            if self.by_line {
                self.sure = self.place.clone();
            }
        }
        if !self.target.flush()? {
            return Ok(Some(End::Unread));
        }
        (self.place, self.sure) = (page.next.clone(), page.next.clone());
        if let Some(file) = &self.cursor_file {
            keep(file, &self.place.to_string())?;
        }
        Ok(None)
    }
}

fn wanted(query: &Query, follow: bool, patience: Duration) -> Wanted {
    Wanted {
        from: query.from,
        to: query.to,
        filters: query.to_filters(),
        condition: query.condition().map(str::to_owned),
        limit: query.limit,
        follow,
        patience,
    }
}

/// What was asked for, for the manifest.
fn asked(query: &Query, party: &PartyId, place: &Place) -> Value {
    let mut asked = query.to_json();
    asked["feed"] = party.as_str().into();
    if *place != Place::default() {
        asked["after"] = place.to_string().into();
    }
    asked
}

fn item(message: &Message) -> Item {
    let content = match &message.content {
        Content::Event(bytes) => export::Content::Event(bytes.clone()),
        Content::Tombstone(members) => export::Content::Tombstone(members.clone()),
    };
    let signature = message.signature.clone();
    Item { seq: message.seq, archived_at: message.archived_at, digest: message.digest, signature, content }
}

/// A bar on stderr: only on a terminal, and not between lines that go to the same one.
fn bar(to_file: bool) -> indicatif::ProgressBar {
    let lines_are_seen = !to_file && std::io::IsTerminal::is_terminal(&std::io::stdout());
    if lines_are_seen { indicatif::ProgressBar::hidden() } else { indicatif::ProgressBar::new(0) }
}

/// Ends with Ctrl-C or SIGTERM.
async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminated) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => if interrupted.is_err() { std::future::pending().await },
        _ = terminated.recv() => {}
    }
}

/// The cursor in a file; the beginning if there is no file yet.
fn kept_in(file: &Path) -> Result<Place, Failure> {
    let fault = |words: String| Failure::new(Exit::Io, format!("{}: {words}", file.display()));
    // Told before anything is read: its end is kept there.
    replacing::file(file).map_err(|error| fault(error.to_string()))?;
    match std::fs::read_to_string(file) {
        Ok(text) => text.trim().parse().map_err(|words: &str| fault(words.to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Place::default()),
        Err(error) => Err(fault(error.to_string())),
    }
}

/// Puts the cursor into a file, whole or not at all.
fn keep(file: &Path, place: &str) -> Result<(), Failure> {
    let kept = replacing::file(file).and_then(|file| {
        let mut new = file.as_os_str().to_owned();
        new.push(".new");
        std::fs::write(&new, format!("{place}\n")).and_then(|()| std::fs::rename(&new, file))
    });
    kept.map_err(|error| Failure::new(Exit::Io, format!("{}: {error}", file.display())))
}
