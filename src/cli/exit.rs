//! How commands end: the exit codes of `docs/PROTOCOL.md` section 7, and one line that says what is wrong.

use std::io::Write as _;
use std::process::ExitCode;

/// An exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0
    Ok,
    /// 1
    Failure,
    /// 2
    Usage,
    /// 65
    DataInvalid,
    /// 69
    Unreachable,
    /// 74
    Io,
    /// 77
    NotPermitted,
    /// 78
    Configuration,
}

impl Exit {
    fn number(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::DataInvalid => 65,
            Self::Unreachable => 69,
            Self::Io => 74,
            Self::NotPermitted => 77,
            Self::Configuration => 78,
        }
    }
}

/// A command that could not do its work.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    words: String,
}

impl Failure {
    /// A failure in words for stderr.
    #[must_use]
    pub fn new(exit: Exit, words: impl Into<String>) -> Self {
        Self { exit, words: words.into() }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.words)
    }
}

/// Turns an end into an exit code; words go to stderr.
#[must_use]
pub fn code(ended: Result<Exit, Failure>) -> ExitCode {
    match ended {
        Ok(exit) => ExitCode::from(exit.number()),
        Err(failure) => {
            // Nothing better than stderr is left to tell that stderr is gone.
            drop(writeln!(std::io::stderr(), "liaison: {}", failure.words));
            ExitCode::from(failure.exit.number())
        }
    }
}

/// Words for people on stderr. If nobody reads them, nothing better is left to tell.
pub fn words(text: &str) {
    drop(write!(std::io::stderr(), "{text}"));
}

/// Writes to stdout and flushes. A reader that went away is no failure.
pub fn print(bytes: &[u8]) -> Result<Exit, Failure> {
    put(bytes).map(|_| Exit::Ok)
}

/// One JSON line on stdout; false if nobody reads any more.
pub fn line(value: &serde_json::Value) -> Result<bool, Failure> {
    put(format!("{value}\n").as_bytes())
}

/// Writes to stdout and flushes; false if nobody reads any more.
pub fn put(bytes: &[u8]) -> Result<bool, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(Exit::Io, format!("stdout: {error}"))),
    }
}
