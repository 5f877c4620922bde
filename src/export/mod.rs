//! Files for analysts: a stream of items becomes NDJSON, CSV, GeoJSON or Parquet, with a manifest beside it.
//!
//! It holds one item at a time, Parquet one row group: how much is exported does not decide how much memory is needed.
//! No time of day goes into a file or its manifest, so the same items give the same bytes. It decides about no right:
//! what must not be seen must not be put in.

#[cfg(feature = "parquet")]
mod columnar;
mod columns;
mod geometry;
mod lines;
mod manifest;
mod map;
pub mod query;
pub mod source;
mod table;

#[cfg(test)]
mod tests;

use std::io::{BufWriter, Write};

use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use sha2::Digest as _;

pub use self::lines::{Line, read_line};
pub use self::manifest::{Manifest, Provenance, TOOL};

use crate::message::digest::Digest;
use crate::message::time::Timestamp;

/// Why an export could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The target cannot be written.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// This binary was built without the format.
    #[error("this liaison was built without the cargo feature `{0}`")]
    NotBuilt(&'static str),
    /// The Parquet writer.
    #[error("parquet: {0}")]
    Parquet(String),
    /// The archive.
    #[error("{0}")]
    Archive(#[from] crate::archive::Error),
}

impl Error {
    /// True if nobody reads the target any more, which is no failure.
    #[must_use]
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
    }
}

/// A format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line; the truth: the received bytes can be had back from it.
    Ndjson,
    /// RFC 4180, one row an item.
    Csv,
    /// RFC 7946, a feature a place or leg that has coordinates.
    Geojson,
    /// Apache Parquet, typed columns, zstd.
    Parquet,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ndjson, Self::Csv, Self::Geojson, Self::Parquet];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
            Self::Geojson => "geojson",
            Self::Parquet => "parquet",
        }
    }

    /// True if what is written so far is of use before the end: these may follow a feed that does not end.
    #[must_use]
    pub fn is_open_ended(self) -> bool {
        matches!(self, Self::Ndjson | Self::Csv)
    }
}

impl std::str::FromStr for Format {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|format| format.as_str() == text);
        found.ok_or("is one of ndjson, csv, geojson, parquet")
    }
}

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What an item holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// The bytes of the event.
    Event(Bytes),
    /// There is none to be seen any more; `why` says which of the reasons it is.
    Tombstone(Map<String, Value>),
}

impl Content {
    /// A tombstone with nothing but a reason.
    #[must_use]
    pub fn tombstone(why: &str) -> Self {
        Self::Tombstone(std::iter::once(("why".to_owned(), why.into())).collect())
    }
}

/// One message of an archive or a feed.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Archive sequence, or feed sequence in a replay; it grows from item to item.
    pub seq: u64,
    /// When it was archived.
    pub archived_at: Timestamp,
    /// SHA-256 of the received bytes.
    pub digest: Digest,
    /// The signature over them, a detached JWS. Only NDJSON has it: only there are the bytes that it is over.
    pub signature: Option<String>,
    /// The event or what stands in its place.
    pub content: Content,
}

/// What went into a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events.
    pub count: u64,
    /// Tombstones.
    pub tombstones: u64,
    /// Sequence of the first item.
    pub first: Option<u64>,
    /// Sequence of the last item.
    pub last: Option<u64>,
    /// Features, in GeoJSON.
    pub features: u64,
    /// Events without any coordinates, which GeoJSON therefore lacks.
    pub unlocated: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// SHA-256 of the file.
    pub digest: Digest,
}

/// Counts and digests what goes through.
struct Counted<W: Write> {
    inner: W,
    hash: sha2::Sha256,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

/// Bytes handed on at once.
const PIECE: usize = 64 << 10;

type Sink<W> = BufWriter<Counted<W>>;

enum Writer<W: Write + Send> {
    Lines(Sink<W>),
    Table(Box<table::Table<Sink<W>>>),
    Map(map::Features<Sink<W>>),
    #[cfg(feature = "parquet")]
    Columns(Box<columnar::Columns<Sink<W>>>),
}

/// A file in the making.
pub struct Export<W: Write + Send> {
    writer: Writer<W>,
    totals: Totals,
}

impl<W: Write + Send> Export<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// [`Error::NotBuilt`], or the target cannot be written.
    pub fn new(format: Format, target: W) -> Result<Self, Error> {
        let counted = Counted { inner: target, hash: sha2::Sha256::new(), bytes: 0 };
        let sink = BufWriter::with_capacity(PIECE, counted);
        let writer = match format {
            Format::Ndjson => Writer::Lines(sink),
            Format::Csv => Writer::Table(Box::new(table::Table::new(sink)?)),
            Format::Geojson => Writer::Map(map::Features::new(sink)?),
            #[cfg(feature = "parquet")]
            Format::Parquet => Writer::Columns(Box::new(columnar::Columns::new(sink)?)),
            #[cfg(not(feature = "parquet"))]
            Format::Parquet => return Err(Error::NotBuilt("parquet")),
        };
        Ok(Self { writer, totals: Totals::default() })
    }

    /// Puts one item in. Items come in the order of their sequences.
    ///
    /// # Errors
    /// The target cannot be written.
    pub fn put(&mut self, item: &Item) -> Result<(), Error> {
        match &mut self.writer {
            Writer::Lines(sink) => lines::put(sink, item)?,
            Writer::Table(table) => table.put(item)?,
            Writer::Map(map) => {
                let features = map.put(item)?;
                self.totals.features += features;
                self.totals.unlocated +=
                    u64::from(features == 0 && matches!(item.content, Content::Event(_)));
            }
            #[cfg(feature = "parquet")]
            Writer::Columns(columns) => columns.put(item)?,
        }
        match item.content {
            Content::Event(_) => self.totals.count += 1,
            Content::Tombstone(_) => self.totals.tombstones += 1,
        }
        self.totals.first = self.totals.first.or(Some(item.seq));
        self.totals.last = Some(item.seq);
        Ok(())
    }

    /// Hands on what is complete so far, for a reader who waits for it.
    ///
    /// # Errors
    /// The target cannot be written.
    pub fn flush(&mut self) -> Result<(), Error> {
        match &mut self.writer {
            Writer::Lines(sink) => sink.flush()?,
            Writer::Table(table) => table.flush()?,
            Writer::Map(map) => map.flush()?,
            // A row group that is ended early would be another file for the same items.
            #[cfg(feature = "parquet")]
            Writer::Columns(_) => {}
        }
        Ok(())
    }

    /// Ends the file; gives what went in, and the target.
    ///
    /// # Errors
    /// The target cannot be written.
    pub fn finish(self) -> Result<(Totals, W), Error> {
        let mut totals = self.totals;
        let sink = match self.writer {
            Writer::Lines(sink) => sink,
            Writer::Table(table) => table.finish()?,
            Writer::Map(map) => map.finish()?,
            #[cfg(feature = "parquet")]
            Writer::Columns(columns) => columns.finish()?,
        };
        let mut counted = sink.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        counted.flush()?;
        totals.bytes = counted.bytes;
        totals.digest = Digest(counted.hash.finalize().into());
        Ok((totals, counted.inner))
    }
}
