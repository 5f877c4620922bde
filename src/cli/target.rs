//! Where an export goes: a file that is complete or not there, or a device, a pipe or stdout; and the manifest beside a file.

use std::fs::File;
use std::io::{IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use super::replacing::{self, Place};
use super::{Exit, Failure};
use crate::export::{Error, Export, Format, Item, Manifest, Provenance, Totals};

/// A file while it is written.
struct Growing {
    file: File,
    part: PathBuf,
    whole: PathBuf,
}

/// An export on its way out.
pub struct Target {
    format: Format,
    export: Export<Box<dyn Write + Send>>,
    growing: Option<Growing>,
}

/// The format asked for, or the one that the file's name ends with, or NDJSON.
#[must_use]
pub fn format_for(asked: Option<Format>, file: Option<&Path>) -> Format {
    let end = file.and_then(Path::extension).and_then(std::ffi::OsStr::to_str);
    asked.or_else(|| end.and_then(|end| end.parse().ok())).unwrap_or(Format::Ndjson)
}

impl Target {
    /// Begins to write: to `<file>.part` until it is complete, or to stdout; to a device or pipe as it is.
    ///
    /// # Errors
    /// Usage if the format is not built in, or would go to a terminal as bytes; I/O.
    pub fn open(format: Format, file: Option<&Path>) -> Result<Self, Failure> {
        let Some(whole) = file else {
            if format == Format::Parquet && std::io::stdout().is_terminal() {
                return Err(Failure::new(Exit::Usage, "Parquet is no text: name a file"));
            }
            let export = Export::new(format, Box::new(std::io::stdout()) as Box<dyn Write + Send>);
            return Ok(Self { format, export: export.map_err(failed)?, growing: None });
        };
        let whole = match replacing::place(whole).map_err(|error| at(whole, &error))? {
            Place::File(whole) => whole,
            Place::Stream => {
                let out = File::options().write(true).open(whole).map_err(|error| at(whole, &error))?;
                let export = Export::new(format, Box::new(out) as Box<dyn Write + Send>);
                return Ok(Self { format, export: export.map_err(failed)?, growing: None });
            }
        };
        let mut part = whole.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let made = File::create(&part).and_then(|file| Ok((file.try_clone()?, file)));
        let (file, out) = made.map_err(|error| at(&part, &error))?;
        let export = Export::new(format, Box::new(out) as Box<dyn Write + Send>);
        let export = export.inspect_err(|_| drop(std::fs::remove_file(&part))).map_err(failed)?;
        Ok(Self { format, export, growing: Some(Growing { file, part, whole }) })
    }

    /// Puts an item in; false if nobody reads any more.
    ///
    /// # Errors
    /// I/O.
    pub fn put(&mut self, item: &Item) -> Result<bool, Failure> {
        read_on(self.export.put(item))
    }

    /// Hands on what is there; false if nobody reads any more.
    ///
    /// # Errors
    /// I/O.
    pub fn flush(&mut self) -> Result<bool, Failure> {
        read_on(self.export.flush())
    }

    /// Ends the file and puts the manifest where it belongs: to `manifest` if that is given, else beside the file; gives it,
    /// and whether it was written. `None` if nobody reads any more.
    ///
    /// # Errors
    /// I/O.
    pub fn finish(
        self,
        provenance: Provenance,
        manifest: Option<&Path>,
    ) -> Result<Option<(Manifest, bool)>, Failure> {
        let totals: Totals = match self.export.finish() {
            Ok((totals, _)) => totals,
            Err(error) if error.is_broken_pipe() => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        if let Some(growing) = &self.growing {
            let ended = growing.file.sync_all().and_then(|()| std::fs::rename(&growing.part, &growing.whole));
            ended.map_err(|error| at(&growing.whole, &error))?;
        }
        let told = Manifest::new(self.format, provenance, &totals);
        let beside = self.growing.as_ref().map(|growing| {
            let mut name = growing.whole.as_os_str().to_owned();
            name.push(".manifest.json");
            PathBuf::from(name)
        });
        let place = manifest.map(Path::to_owned).or(beside);
        if let Some(place) = &place {
            std::fs::write(place, told.to_text()).map_err(|error| at(place, &error))?;
        }
        Ok(Some((told, place.is_some())))
    }
}

fn read_on(done: Result<(), Error>) -> Result<bool, Failure> {
    match done {
        Ok(()) => Ok(true),
        Err(error) if error.is_broken_pipe() => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

fn at(place: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Io, format!("{}: {error}", place.display()))
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of map_err")]
fn failed(error: Error) -> Failure {
    let exit = if matches!(error, Error::NotBuilt(_)) { Exit::Usage } else { Exit::Io };
    Failure::new(exit, error.to_string())
}
