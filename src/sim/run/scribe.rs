//! Who writes the log: one thread behind one bounded channel, so that a slow disk is seen as such and bends no order.

use tokio::sync::mpsc;

use super::RunError;
use crate::sim::log::{Analysed, LogError, Read, Replayed, Run, Sample, Stray, Tried, Writer};

/// Notes that may wait for the disk; letters and replayed messages come many to a note.
const WAITING: usize = 8_192;

/// What is noted.
#[derive(Debug)]
pub enum Note {
    /// A publication of which nothing more is expected.
    Tried(Tried),
    /// Letters of a mailbox.
    Letters(Vec<Read>),
    /// Replayed messages of a feed.
    Replayed(Vec<Replayed>),
    /// How the broker is.
    Sample(Sample),
    /// A receipt that answers nothing.
    Stray(Stray),
    /// A replay of an analyst.
    Analysed(Analysed),
}

/// The way to the scribe.
pub type Notes = mpsc::Sender<Note>;

/// The thread.
#[derive(Debug)]
pub struct Scribe {
    thread: std::thread::JoinHandle<Result<Writer, LogError>>,
}

impl Scribe {
    /// Begins to write.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn begin(writer: Writer) -> Result<(Self, Notes), RunError> {
        let (notes, mut waiting) = mpsc::channel(WAITING);
        let thread = std::thread::Builder::new().name("scribe".to_owned()).spawn(move || {
            let mut writer = writer;
            while let Some(note) = waiting.blocking_recv() {
                write(&mut writer, note)?;
            }
            Ok(writer)
        });
        Ok((Self { thread: thread.map_err(RunError::Thread)? }, notes))
    }

    /// Ends the log, when all ways to the scribe are gone.
    ///
    /// # Errors
    /// Something could not be written.
    pub fn finish(self, run: &Run) -> Result<(), RunError> {
        let writer = self.thread.join().map_err(|_| RunError::Broken("the scribe"))??;
        Ok(writer.finish(run)?)
    }
}

fn write(writer: &mut Writer, note: Note) -> Result<(), LogError> {
    match note {
        Note::Tried(line) => writer.tried(&line),
        Note::Letters(lines) => lines.iter().try_for_each(|line| writer.read(line)),
        Note::Replayed(lines) => lines.iter().try_for_each(|line| writer.replayed(line)),
        Note::Sample(line) => writer.sample(&line),
        Note::Stray(line) => writer.stray(&line),
        Note::Analysed(line) => writer.analysed(&line),
    }
}
