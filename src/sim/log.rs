//! The log of a run: what was seen, nothing concluded. A directory that can be read with `zstdcat` and any JSON reader.
//!
//! `run.json` says what was played; `attempts`, `letters` and `replayed` (`.ndjson.zst`) hold a line for each
//! publication, each letter read from a mailbox, and each message replayed at the end; `strays` one for each receipt that answers
//! nothing, `analysed` one for each replay of an analyst, `samples` a line a second. Times are
//! microseconds from the start. Lines are in the order in which things were seen. A run that was killed leaves a log
//! without `ended` in `run.json`.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::plan::Plan;
use crate::message::time::Timestamp;

mod lines;

pub use self::lines::{Analysed, Read, Replayed, Sample, Stray, Tried};

/// How hard it is pressed: it must not take the machine from what is measured.
const LEVEL: i32 = 1;

/// Why a log could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// I/O.
    #[error("{0}: {1}")]
    Io(PathBuf, std::io::Error),
    /// A line that is none of ours.
    #[error("{0}: line {1}: {2}")]
    Line(PathBuf, u64, serde_json::Error),
}

/// What was played.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// Of the program.
    pub version: String,
    /// The plan, with what the command line put over it.
    pub plan: Plan,
    /// Text of the registry that was in force.
    pub registry: String,
    /// The time that the messages call the start.
    pub clock: Timestamp,
    /// When the first message was due.
    pub started: Timestamp,
    /// When everything had been looked at; `None` while it runs, and if it was killed.
    pub ended: Option<Timestamp>,
    /// Broken off by a signal: what comes later in the script was never meant to be sent.
    #[serde(default)]
    pub interrupted: bool,
    /// True if the broker took messages of the case plane.
    pub case_plane: bool,
    /// True if nothing had been published before: only then is it known who is deployed where.
    pub fresh: bool,
}

/// A log that is being written.
pub struct Writer {
    directory: PathBuf,
    attempts: Lines,
    letters: Lines,
    replayed: Lines,
    samples: Lines,
    strays: Lines,
    analysed: Lines,
}

/// One file of it.
struct Lines {
    path: PathBuf,
    to: zstd::Encoder<'static, File>,
}

impl Lines {
    fn create(directory: &Path, name: &str) -> Result<Self, LogError> {
        let path = directory.join(format!("{name}.ndjson.zst"));
        let io = |error| LogError::Io(path.clone(), error);
        let to = zstd::Encoder::new(File::create(&path).map_err(io)?, LEVEL).map_err(io)?;
        Ok(Self { path, to })
    }

    fn put(&mut self, line: &impl Serialize) -> Result<(), LogError> {
        let written = serde_json::to_writer(&mut self.to, line).map_err(std::io::Error::from);
        written
            .and_then(|()| self.to.write_all(b"\n"))
            .map_err(|error| LogError::Io(self.path.clone(), error))
    }

    fn finish(self) -> Result<(), LogError> {
        let ended = self.to.finish().and_then(|file| file.sync_all());
        ended.map_err(|error| LogError::Io(self.path, error))
    }
}

impl Writer {
    /// Begins a log in a directory, which is made; one that holds a log already is refused.
    ///
    /// # Errors
    /// I/O.
    pub fn create(directory: &Path, run: &Run) -> Result<Self, LogError> {
        std::fs::create_dir_all(directory).map_err(|error| LogError::Io(directory.to_owned(), error))?;
        let file = directory.join("run.json");
        if file.exists() {
            let there = std::io::Error::other("holds the log of a run already; choose another directory");
            return Err(LogError::Io(directory.to_owned(), there));
        }
        write_run(directory, run)?;
        Ok(Self {
            directory: directory.to_owned(),
            attempts: Lines::create(directory, "attempts")?,
            letters: Lines::create(directory, "letters")?,
            replayed: Lines::create(directory, "replayed")?,
            samples: Lines::create(directory, "samples")?,
            strays: Lines::create(directory, "strays")?,
            analysed: Lines::create(directory, "analysed")?,
        })
    }

    /// Notes a publication, when nothing more is expected of it.
    ///
    /// # Errors
    /// I/O.
    pub fn tried(&mut self, line: &Tried) -> Result<(), LogError> {
        self.attempts.put(line)
    }

    /// Notes a letter.
    ///
    /// # Errors
    /// I/O.
    pub fn read(&mut self, line: &Read) -> Result<(), LogError> {
        self.letters.put(line)
    }

    /// Notes a replayed message.
    ///
    /// # Errors
    /// I/O.
    pub fn replayed(&mut self, line: &Replayed) -> Result<(), LogError> {
        self.replayed.put(line)
    }

    /// Notes how the broker is.
    ///
    /// # Errors
    /// I/O.
    pub fn sample(&mut self, line: &Sample) -> Result<(), LogError> {
        self.samples.put(line)
    }

    /// Notes a receipt that answers nothing.
    ///
    /// # Errors
    /// I/O.
    pub fn stray(&mut self, line: &Stray) -> Result<(), LogError> {
        self.strays.put(line)
    }

    /// Notes a replay of an analyst.
    ///
    /// # Errors
    /// I/O.
    pub fn analysed(&mut self, line: &Analysed) -> Result<(), LogError> {
        self.analysed.put(line)
    }

    /// Ends the log.
    ///
    /// # Errors
    /// I/O.
    pub fn finish(self, run: &Run) -> Result<(), LogError> {
        for lines in [self.attempts, self.letters, self.replayed, self.samples, self.strays, self.analysed] {
            lines.finish()?;
        }
        write_run(&self.directory, run)
    }
}

fn write_run(directory: &Path, run: &Run) -> Result<(), LogError> {
    let file = directory.join("run.json");
    let io = |error| LogError::Io(file.clone(), error);
    let text = serde_json::to_string_pretty(run).map_err(|error| io(error.into()))?;
    let fresh = directory.join("run.json.new");
    std::fs::write(&fresh, text + "\n").and_then(|()| std::fs::rename(&fresh, &file)).map_err(io)
}

/// A log that is read.
#[derive(Debug, Clone)]
pub struct Reader {
    directory: PathBuf,
}

impl Reader {
    /// The log in a directory.
    #[must_use]
    pub fn of(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// What was played.
    ///
    /// # Errors
    /// There is no log, or it cannot be read.
    pub fn run(&self) -> Result<Run, LogError> {
        let file = self.directory.join("run.json");
        let text = std::fs::read_to_string(&file).map_err(|error| LogError::Io(file.clone(), error))?;
        serde_json::from_str(&text).map_err(|error| LogError::Line(file, 1, error))
    }

    /// The publications.
    ///
    /// # Errors
    /// The file cannot be opened; a line that cannot be read is an item.
    pub fn attempts(&self) -> Result<impl Iterator<Item = Result<Tried, LogError>> + use<>, LogError> {
        self.lines("attempts")
    }

    /// The letters.
    ///
    /// # Errors
    /// As [`Self::attempts`].
    pub fn letters(&self) -> Result<impl Iterator<Item = Result<Read, LogError>> + use<>, LogError> {
        self.lines("letters")
    }

    /// What was replayed.
    ///
    /// # Errors
    /// As [`Self::attempts`].
    pub fn replayed(&self) -> Result<impl Iterator<Item = Result<Replayed, LogError>> + use<>, LogError> {
        self.lines("replayed")
    }

    /// How the broker was.
    ///
    /// # Errors
    /// As [`Self::attempts`].
    pub fn samples(&self) -> Result<impl Iterator<Item = Result<Sample, LogError>> + use<>, LogError> {
        self.lines("samples")
    }

    /// Receipts that answer nothing; older logs have none.
    ///
    /// # Errors
    /// As [`Self::attempts`].
    pub fn strays(&self) -> Result<impl Iterator<Item = Result<Stray, LogError>> + use<>, LogError> {
        self.later_lines("strays")
    }

    /// Replays of analysts; older logs have none.
    ///
    /// # Errors
    /// As [`Self::attempts`].
    pub fn analysed(&self) -> Result<impl Iterator<Item = Result<Analysed, LogError>> + use<>, LogError> {
        self.later_lines("analysed")
    }

    /// The lines of a file that older logs do not have.
    fn later_lines<T: DeserializeOwned>(
        &self,
        name: &str,
    ) -> Result<impl Iterator<Item = Result<T, LogError>> + use<T>, LogError> {
        let is_there = self.file(name).exists();
        Ok(is_there.then(|| self.lines(name)).transpose()?.into_iter().flatten())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.ndjson.zst"))
    }

    fn lines<T: DeserializeOwned>(
        &self,
        name: &str,
    ) -> Result<impl Iterator<Item = Result<T, LogError>> + use<T>, LogError> {
        let path = self.file(name);
        let opened = File::open(&path).and_then(zstd::Decoder::new);
        let from = BufReader::new(opened.map_err(|error| LogError::Io(path.clone(), error))?);
        Ok((1..).zip(from.lines()).map(move |(number, line)| {
            let line = line.map_err(|error| LogError::Io(path.clone(), error))?;
            serde_json::from_str(&line).map_err(|error| LogError::Line(path.clone(), number, error))
        }))
    }
}
