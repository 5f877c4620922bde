//! CSV after RFC 4180: a header, one row an item, CRLF, UTF-8. Flat; what does not fit into a cell is in NDJSON.
//!
//! A spreadsheet takes a cell that begins with `=`, `+`, `-`, `@` for a formula and runs it. Text comes from outside, so
//! such cells get an apostrophe before them. Numbers and times are written by us and hold nothing but digits and signs.

use std::io::Write;

use super::columns::{COLUMNS, Cell, Seen, time_text};
use super::{Error, Item};

/// Between the members of a set in one cell.
const BETWEEN: &str = "|";

/// A table in the making.
pub(super) struct Table<W: Write> {
    out: csv::Writer<W>,
}

impl<W: Write> Table<W> {
    /// Writes the header.
    pub(super) fn new(sink: W) -> Result<Self, Error> {
        let mut out = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(sink);
        out.write_record(COLUMNS.iter().map(|column| column.name)).map_err(failed)?;
        Ok(Self { out })
    }

    /// Writes a row.
    pub(super) fn put(&mut self, item: &Item) -> Result<(), Error> {
        let seen = Seen::of(item);
        self.out.write_record(COLUMNS.iter().map(|column| text(&column.cell(&seen)))).map_err(failed)
    }

    /// Hands on the rows so far.
    pub(super) fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }

    /// Gives the sink back.
    pub(super) fn finish(self) -> Result<W, Error> {
        self.out.into_inner().map_err(|error| Error::Io(error.error().kind().into()))
    }
}

fn failed(error: csv::Error) -> Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => Error::Io(error),
        _ => Error::Io(std::io::Error::other("a row of another length")),
    }
}

fn text(cell: &Cell) -> String {
    match cell {
        Cell::None => String::new(),
        Cell::Integer(value) => value.to_string(),
        Cell::Real(value) => value.to_string(),
        Cell::Time(micros) => time_text(*micros),
        Cell::Text(text) => safe(text),
        Cell::List(list) => safe(&list.join(BETWEEN)),
    }
}

/// A text that no spreadsheet runs: the signs of OWASP's list, the full-width ones too. Control characters, which RFC 4180
/// does not have, become U+FFFD.
pub(super) fn safe(text: &str) -> String {
    let dangerous =
        |first: char| matches!(first, '=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠');
    let mark = if text.starts_with(dangerous) { "'" } else { "" };
    let kept = |c: char| if c.is_control() && !matches!(c, '\t' | '\r' | '\n') { '\u{fffd}' } else { c };
    mark.chars().chain(text.chars().map(kept)).collect()
}
