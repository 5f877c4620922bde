//! Apache Parquet: the columns of CSV, typed, and the event as JSON text; zstd. Without arrow: the columns go through the
//! low-level writers.
//!
//! A row group is held in memory until it is full. Where it ends depends on the items alone, so that the same items give
//! the same file.

use std::io::Write;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};

use super::columns::{COLUMNS, Cell, Kind, Seen};
use super::{Content, Error, Item, TOOL};

/// Rows in a row group.
const ROWS: usize = 16_384;
/// Bytes of text in a row group: large narratives end it sooner.
const BYTES: usize = 16 << 20;
/// The column after those of CSV.
const EVENT: &str = "event";

/// The values of one column in this row group; levels as Dremel has them.
#[derive(Default)]
struct Held {
    integers: Vec<i64>,
    reals: Vec<f64>,
    texts: Vec<ByteArray>,
    defined: Vec<i16>,
    repeated: Vec<i16>,
}

/// A file in the making.
pub(super) struct Columns<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    held: Vec<Held>,
    rows: usize,
    bytes: usize,
}

impl<W: Write + Send> Columns<W> {
    /// Begins the file.
    pub(super) fn new(sink: W) -> Result<Self, Error> {
        let level = ZstdLevel::try_new(3).map_err(failed)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_writer_version(WriterVersion::PARQUET_1_0)
            .set_created_by(TOOL.to_owned())
            .set_max_row_group_row_count(None)
            .build();
        let writer = SerializedFileWriter::new(sink, schema()?, Arc::new(properties)).map_err(failed)?;
        Ok(Self { writer, held: fresh(), rows: 0, bytes: 0 })
    }

    /// Adds a row.
    pub(super) fn put(&mut self, item: &Item) -> Result<(), Error> {
        let seen = Seen::of(item);
        // What is no JSON (something quarantined may be none) must not stand where readers expect it.
        let event = match &item.content {
            Content::Event(bytes) if seen.is_json() => std::str::from_utf8(bytes).ok(),
            _ => None,
        };
        let event = event.map_or(Cell::None, |text| Cell::Text(text.to_owned()));
        let cells = COLUMNS.iter().map(|column| (column.kind, column.cell(&seen)));
        for (held, (kind, cell)) in self.held.iter_mut().zip(cells.chain([(Kind::Text, event)])) {
            self.bytes += held.push(kind, cell);
        }
        self.rows += 1;
        if self.rows >= ROWS || self.bytes >= BYTES { self.end_group() } else { Ok(()) }
    }

    /// Ends the file; gives the sink back.
    pub(super) fn finish(mut self) -> Result<W, Error> {
        if self.rows > 0 {
            self.end_group()?;
        }
        self.writer.into_inner().map_err(failed)
    }

    fn end_group(&mut self) -> Result<(), Error> {
        let held = std::mem::replace(&mut self.held, fresh());
        (self.rows, self.bytes) = (0, 0);
        let mut group = self.writer.next_row_group().map_err(failed)?;
        let kinds = COLUMNS.iter().map(|column| column.kind).chain([Kind::Text]);
        for (kind, held) in kinds.zip(held) {
            held.write(kind, &mut group)?;
        }
        group.close().map_err(failed)?;
        Ok(())
    }
}

fn fresh() -> Vec<Held> {
    std::iter::repeat_with(Held::default).take(COLUMNS.len() + 1).collect()
}

impl Held {
    /// Adds a cell; how many bytes of text it has.
    fn push(&mut self, kind: Kind, cell: Cell) -> usize {
        let mut bytes = 0;
        let list = kind == Kind::List;
        let mut text = |texts: &mut Vec<ByteArray>, text: String| {
            bytes += text.len();
            texts.push(text.into_bytes().into());
        };
        match cell {
            Cell::None => self.levels(0, 0),
            Cell::Integer(value) | Cell::Time(value) => {
                self.integers.push(value);
                self.levels(1, 0);
            }
            Cell::Real(value) => {
                self.reals.push(value);
                self.levels(1, 0);
            }
            Cell::Text(value) => {
                text(&mut self.texts, value);
                self.levels(if list { 2 } else { 1 }, 0);
            }
            // A set that is there but empty.
            Cell::List(values) if values.is_empty() => self.levels(1, 0),
            Cell::List(values) => {
                for (at, value) in values.into_iter().enumerate() {
                    text(&mut self.texts, value);
                    self.levels(2, i16::from(at > 0));
                }
            }
        }
        bytes
    }

    fn levels(&mut self, defined: i16, repeated: i16) {
        self.defined.push(defined);
        self.repeated.push(repeated);
    }

    fn write<W: Write + Send>(
        self,
        kind: Kind,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), Error> {
        let column = group.next_column().map_err(failed)?;
        let mut column = column.ok_or_else(|| Error::Parquet("a column too many".to_owned()))?;
        let defined = Some(self.defined.as_slice());
        match kind {
            Kind::Integer | Kind::Time => {
                column.typed::<Int64Type>().write_batch(&self.integers, defined, None)
            }
            Kind::Real => column.typed::<DoubleType>().write_batch(&self.reals, defined, None),
            Kind::Text => column.typed::<ByteArrayType>().write_batch(&self.texts, defined, None),
            Kind::List => {
                let repeated = Some(self.repeated.as_slice());
                column.typed::<ByteArrayType>().write_batch(&self.texts, defined, repeated)
            }
        }
        .map_err(failed)?;
        column.close().map_err(failed)
    }
}

/// Every column may be empty: a tombstone has hardly any.
fn schema() -> Result<TypePtr, Error> {
    let mut fields = Vec::new();
    for column in COLUMNS {
        fields.push(Arc::new(field(column.name, column.kind)?));
    }
    let event = Type::primitive_type_builder(EVENT, Physical::BYTE_ARRAY)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(Some(LogicalType::Json))
        .build();
    fields.push(Arc::new(event.map_err(failed)?));
    Type::group_type_builder("liaison").with_fields(fields).build().map(Arc::new).map_err(failed)
}

fn field(name: &str, kind: Kind) -> Result<Type, Error> {
    let text = |name: &str, repetition| {
        Type::primitive_type_builder(name, Physical::BYTE_ARRAY)
            .with_repetition(repetition)
            .with_logical_type(Some(LogicalType::String))
            .build()
    };
    let plain = |physical| Type::primitive_type_builder(name, physical).with_repetition(Repetition::OPTIONAL);
    let built = match kind {
        Kind::Integer => plain(Physical::INT64).build(),
        Kind::Real => plain(Physical::DOUBLE).build(),
        Kind::Time => {
            let moment = LogicalType::timestamp(true, TimeUnit::MICROS);
            plain(Physical::INT64).with_logical_type(Some(moment)).build()
        }
        Kind::Text => text(name, Repetition::OPTIONAL),
        // The three levels that readers expect of a list.
        Kind::List => text("element", Repetition::REQUIRED).and_then(|element| {
            let list = Type::group_type_builder("list").with_repetition(Repetition::REPEATED);
            let list = list.with_fields(vec![Arc::new(element)]).build()?;
            Type::group_type_builder(name)
                .with_repetition(Repetition::OPTIONAL)
                .with_logical_type(Some(LogicalType::List))
                .with_fields(vec![Arc::new(list)])
                .build()
        }),
    };
    built.map_err(failed)
}

fn failed(error: parquet::errors::ParquetError) -> Error {
    match error {
        parquet::errors::ParquetError::External(cause) => match cause.downcast::<std::io::Error>() {
            Ok(error) => Error::Io(*error),
            Err(cause) => Error::Parquet(cause.to_string()),
        },
        other => Error::Parquet(other.to_string()),
    }
}
