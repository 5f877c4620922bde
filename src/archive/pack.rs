//! A pack: records put together byte by byte, as they stand in a frame and, taken apart, in a block.
//!
//! It knows where head and body of each record begin, so that blocks and proofs are made by copying and no record is written
//! out twice. It neither compresses nor touches a file.

use bytes::Bytes;
use serde::Serialize;

use super::Error;
use super::body::{Body, commitment};
use super::record::Record;
use super::tree::hash_record;
use super::vault::Mask;
use crate::message::digest::Digest;

/// Where a record stands in a pack.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    /// Where the head ends; the length of the body stands behind it.
    head: usize,
    end: usize,
}

/// Records put together: what a payload holds when it is unpacked.
#[derive(Debug, Default)]
pub struct Pack {
    raw: Bytes,
    spans: Vec<Span>,
}

impl Pack {
    /// Writes records out, one after the other.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a record cannot be written, which postcard's rules exclude for this type.
    pub fn of(records: &[impl AsRef<Record>], mask: &Mask) -> Result<Self, Error> {
        let mut writer = Writer::with_capacity(records.len());
        for record in records {
            let record = record.as_ref();
            let masked = record.has_masked().then(|| {
                let mut masked = record.clone();
                masked.mask(mask);
                masked
            });
            writer.push(masked.as_ref().unwrap_or(record), |to| record.body.write(to))?;
        }
        Ok(writer.done())
    }

    /// Entries that have no body.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if one cannot be written.
    pub fn of_entries(entries: &[impl Serialize]) -> Result<Self, Error> {
        let mut writer = Writer::with_capacity(entries.len());
        for entry in entries {
            writer.push(entry, |_| ())?;
        }
        Ok(writer.done())
    }

    /// Finds the records in bytes that were written by [`Pack::of`].
    ///
    /// # Errors
    /// [`Error::Corrupt`] if lengths do not fit.
    pub fn parse(raw: Bytes) -> Result<Self, Error> {
        let len_at = |at: usize| {
            let bytes = raw.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            bytes
                .map(|bytes| u32::from_le_bytes(bytes) as usize)
                .ok_or(Error::Corrupt("a record's length is cut"))
        };
        let mut spans = Vec::new();
        let mut start = 0;
        while start < raw.len() {
            let head = start + 4 + len_at(start)?;
            let end = head + 4 + len_at(head)?;
            if end > raw.len() {
                return Err(Error::Corrupt("a record is cut"));
            }
            spans.push(Span { start, head, end });
            start = end;
        }
        Ok(Self { raw, spans })
    }

    /// All bytes.
    #[must_use]
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// Number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// A record's head with its length before it, ready to be copied into a block.
    #[must_use]
    pub fn head_with_len(&self, at: usize) -> &[u8] {
        &self.raw[self.spans[at].start..self.spans[at].head]
    }

    /// A record's body with its length before it.
    #[must_use]
    pub fn body_with_len(&self, at: usize) -> &[u8] {
        &self.raw[self.spans[at].head..self.spans[at].end]
    }

    /// A record's head as it is on disk.
    #[must_use]
    pub fn head(&self, at: usize) -> &[u8] {
        &self.head_with_len(at)[4..]
    }

    /// A record's body as it is on disk.
    #[must_use]
    pub fn body(&self, at: usize) -> &[u8] {
        &self.body_with_len(at)[4..]
    }

    /// How many bodies are plain.
    #[must_use]
    pub fn plain(&self) -> usize {
        (0..self.len()).filter(|at| super::body::is_plain(self.body(*at))).count()
    }

    /// Bytes of a record.
    #[must_use]
    pub fn size(&self, at: usize) -> usize {
        self.spans[at].end - self.spans[at].start
    }

    /// The leaf hashes of its records, as they stand in every Merkle tree of the archive.
    ///
    /// # Errors
    /// [`Error::Corrupt`]: a head beyond 4 GiB.
    pub fn leaves(&self) -> Result<Vec<Digest>, Error> {
        (0..self.len()).map(|at| hash_record(self.head(at), &commitment(self.body(at)))).collect()
    }

    /// Reads the records. Without a mask the digests of sealed ones stay masked.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if one cannot be read.
    pub fn records(&self, mask: Option<&Mask>) -> Result<Vec<Record>, Error> {
        (0..self.len())
            .map(|at| {
                let span = self.spans[at];
                let mut record: Record = self.entry(at)?;
                record.body = Body::read(&self.raw.slice(span.head + 4..span.end))?;
                if let Some(mask) = mask.filter(|_| record.has_masked()) {
                    record.mask(mask);
                }
                Ok(record)
            })
            .collect()
    }

    /// Reads one head.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if it cannot be read.
    pub fn entry<T: serde::de::DeserializeOwned>(&self, at: usize) -> Result<T, Error> {
        postcard::from_bytes(self.head(at)).map_err(|_| Error::Corrupt("a record that cannot be read"))
    }

    /// The same records with these bodies taken away.
    pub(super) fn without_bodies(&self, gone: &[usize]) -> Result<Self, Error> {
        let mut raw = Vec::with_capacity(self.raw.len());
        for at in 0..self.len() {
            raw.extend_from_slice(self.head_with_len(at));
            let body = Body::read(&Bytes::copy_from_slice(self.body(at)))?;
            let takes = gone.contains(&at) && matches!(body, Body::Plain { .. });
            put_body(&mut raw, |to| if takes { body.redacted().write(to) } else { body.write(to) })?;
        }
        Self::parse(raw.into())
    }
}

/// Puts a pack together.
struct Writer {
    raw: Vec<u8>,
    spans: Vec<Span>,
}

impl Writer {
    fn with_capacity(records: usize) -> Self {
        Self { raw: Vec::with_capacity(records * 2_048), spans: Vec::with_capacity(records) }
    }

    fn push(&mut self, head: &impl Serialize, body: impl FnOnce(&mut Vec<u8>)) -> Result<(), Error> {
        let start = self.raw.len();
        let mut raw = std::mem::take(&mut self.raw);
        raw.extend_from_slice(&[0; 4]);
        raw =
            postcard::to_extend(head, raw).map_err(|_| Error::Corrupt("a record that cannot be written"))?;
        set_len(&mut raw, start)?;
        let head = raw.len();
        put_body(&mut raw, body)?;
        self.spans.push(Span { start, head, end: raw.len() });
        self.raw = raw;
        Ok(())
    }

    fn done(self) -> Pack {
        Pack { raw: self.raw.into(), spans: self.spans }
    }
}

fn put_body(raw: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) -> Result<(), Error> {
    let at = raw.len();
    raw.extend_from_slice(&[0; 4]);
    body(raw);
    set_len(raw, at)
}

/// Writes the length of what stands behind `at` and its four bytes.
fn set_len(raw: &mut [u8], at: usize) -> Result<(), Error> {
    let len = u32::try_from(raw.len() - at - 4).map_err(|_| Error::Corrupt("a record beyond 4 GiB"))?;
    raw[at..at + 4].copy_from_slice(&len.to_le_bytes());
    Ok(())
}
