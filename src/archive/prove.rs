//! Makes a proof of one record from an archive that nobody else needs: reads the journal, builds the tree, climbs it.
//!
//! The whole journal is read, because the tree cannot be believed from an index; a million records take seconds. The proof is
//! as good as the latest checkpoint. See `proof` for the file.

use std::path::Path;

use bytes::Bytes;
use serde_json::{Value, json};

use super::Error;
use super::body::{Body, commitment};
use super::checkpoint::Checkpoint;
use super::journal;
use super::notebook::Notebook;
use super::pack::Pack;
use super::proof::{Leaf, Proof};
use super::record::Record;
use super::tree::{TILE, Tree};
use super::verify::{Finding, Walk, each_frame, each_record, walk};
use super::words::{Category, Plane};
use crate::message::digest::Digest;
use crate::message::names::MessageId;
use crate::message::outcome::Outcome;
use crate::message::time::{Timestamp, rfc3339};

/// Which record.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// The one at this archive sequence.
    Seq(u64),
    /// The one with this message id, of this source if given; an accepted one before a refused one.
    Message {
        /// The id.
        id: MessageId,
        /// The source.
        source: Option<String>,
    },
}

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum NoProof {
    /// No such record.
    #[error("no such record in the archive")]
    Unknown,
    /// Several sources used the id.
    #[error("more than one source has used this id: name the source")]
    Ambiguous,
    /// It is younger than the latest checkpoint.
    #[error(
        "record {seq} is not under a checkpoint yet: the latest covers {signed}; the broker signs every minute"
    )]
    Early {
        /// Its sequence.
        seq: u64,
        /// Size of the latest checkpoint.
        signed: u64,
    },
    /// The content is encrypted or gone.
    #[error(
        "the content of record {0} is encrypted under a key of its own, or gone; it cannot be shown in a proof"
    )]
    Closed(u64),
    /// The archive is not what was signed.
    #[error("the archive is not what was signed: {} from archive sequence {} on", .0.what, .0.first_bad)]
    Changed(Box<Finding>),
    /// It cannot be read.
    #[error("{0}")]
    Archive(#[from] Error),
}

struct Found {
    seq: u64,
    source: String,
    accepted: bool,
    leaf: Leaf,
}

/// Makes a proof from an archive, with the content if asked for.
///
/// # Errors
/// See [`NoProof`].
pub fn prove(archive: &Path, wanted: &Wanted, with_content: bool) -> Result<Proof, NoProof> {
    let notebook = Notebook::messages(archive);
    let note = notebook.latest()?.ok_or(Error::Corrupt("no checkpoint has been signed yet"))?;
    let checkpoint = Checkpoint::parse(note.text())?;
    let walked = walk(&archive.join("journal"))?;
    let (mut tree, mut found) = (Tree::default(), Vec::new());
    let bad = each_frame(
        &walked,
        |pack, first| look_for(wanted, pack, first),
        |_, leaves, seen| {
            for leaf in leaves {
                tree.push(leaf);
            }
            found.extend(seen);
            Ok(())
        },
    )?;
    let size = checkpoint.head.size;
    if let Some(finding) = bad.or(walked.finding.clone()).filter(|finding| finding.first_bad <= size) {
        return Err(NoProof::Changed(Box::new(finding)));
    }
    let fetch = |tile| leaves_of(&walked, tile);
    if size > tree.size() || tree.root_at(size, fetch)? != checkpoint.head.root {
        let (what, file) = ("a checkpoint signs other records", notebook.latest_file().to_owned());
        return Err(NoProof::Changed(Box::new(Finding {
            first_bad: 1,
            through: Some(size),
            what,
            file,
            offset: None,
        })));
    }
    let Found { seq, mut leaf, .. } = pick(found)?;
    if seq > size {
        return Err(NoProof::Early { seq, signed: size });
    }
    let body = leaf.body.take().unwrap_or_default();
    if with_content {
        match Body::read(&Bytes::from(body.clone()))? {
            Body::Plain { .. } => leaf.body = Some(body),
            _ => return Err(NoProof::Closed(seq)),
        }
    }
    let path = tree.inclusion(seq - 1, size, fetch)?;
    Ok(Proof { leaf, index: seq - 1, path, note })
}

fn look_for(wanted: &Wanted, pack: &Pack, first: u64) -> Result<Vec<Found>, u64> {
    let mut found = Vec::new();
    each_record(pack, first, |at, record| {
        let (source, id) = named(record);
        let is_wanted = match wanted {
            Wanted::Seq(seq) => record.seq == *seq,
            Wanted::Message { id: wanted, source: from } => {
                id == Some(wanted) && from.as_deref().is_none_or(|from| from == source)
            }
        };
        if is_wanted {
            let (head, body) = (pack.head(at).to_vec(), pack.body(at).to_vec());
            let leaf = Leaf { head, commitment: commitment(&body), body: Some(body) };
            let accepted = record.outcome == Outcome::Accepted;
            found.push(Found { seq: record.seq, source: source.to_owned(), accepted, leaf });
        }
    })?;
    Ok(found)
}

/// `source` and `id` as far as they could be read.
fn named(record: &Record) -> (&str, Option<&MessageId>) {
    match (&record.summary, &record.target) {
        (Some(summary), _) => (&summary.source, Some(&summary.id)),
        (None, Some(target)) => (&target.source, target.id.as_ref()),
        (None, None) => ("", None),
    }
}

fn pick(found: Vec<Found>) -> Result<Found, NoProof> {
    let accepted = found.iter().any(|found| found.accepted);
    let mut found: Vec<Found> = found.into_iter().filter(|found| found.accepted == accepted).collect();
    let first = found.first().ok_or(NoProof::Unknown)?;
    if found.iter().any(|other| other.source != first.source) {
        return Err(NoProof::Ambiguous);
    }
    Ok(found.swap_remove(0))
}

/// Leaf hashes of a tile, from the frames that hold its records.
fn leaves_of(walked: &Walk, tile: u64) -> Result<Vec<Digest>, Error> {
    let (first, last) = (tile * TILE + 1, (tile + 1) * TILE);
    let start = walked.places.partition_point(|place| place.header.last() < first);
    let mut leaves = Vec::new();
    for place in walked.places[start..].iter().take_while(|place| place.header.first <= last) {
        let frame = journal::read(&walked.segments, place)?.leaves()?;
        let inside = (place.header.first..).zip(frame).filter(|(seq, _)| (first..=last).contains(seq));
        leaves.extend(inside.map(|(_, leaf)| leaf));
    }
    Ok(leaves)
}

/// What a proof that holds says of its record, as JSON for people and programs.
///
/// # Errors
/// [`Error::Corrupt`]: head or content cannot be read, or are of another record.
pub fn describe(proof: &Proof, checkpoint: &Checkpoint) -> Result<Value, Error> {
    let record: Record = postcard::from_bytes(&proof.leaf.head)
        .map_err(|_| Error::Corrupt("a record's head of another version of liaison"))?;
    if record.seq != proof.index + 1 {
        return Err(Error::Corrupt("a record that stands at another place than its sequence says"));
    }
    let shown = proof.leaf.body.as_ref().map(|body| Body::read(&Bytes::from(body.clone()))).transpose()?;
    let content = match &shown {
        Some(body @ Body::Plain { .. }) => {
            let content = body.content().ok_or(Error::Corrupt("content that cannot be read"))?;
            if Digest::of(&content.payload) != record.digest {
                return Err(Error::Corrupt("content with another SHA-256 than the record says"));
            }
            Some(content)
        }
        _ => None,
    };
    let (source, id) = named(&record);
    let known = content.is_some() || digest_is_open(&record);
    let summary = record.summary.as_ref();
    Ok(json!({
        "proven": true,
        "seq": record.seq,
        "outcome": record.outcome,
        "party": record.party,
        "source": source,
        "id": id,
        "type": summary.map(|summary| &summary.kind),
        "originator": summary.map(|summary| &summary.originator),
        "archived": Timestamp::from_millisecond(record.archived_ms).map(rfc3339).ok(),
        // Of sealed content the archive holds the digest only behind a mask.
        "sha256": known.then(|| record.digest.hex()),
        "content": content.as_ref().map(|content| String::from_utf8_lossy(&content.payload)),
        "signature": content.as_ref().and_then(|content| content.signature.as_deref()),
        "checkpoint": {
            "origin": checkpoint.origin.as_str(),
            "size": checkpoint.head.size,
            "time": checkpoint.time().map(rfc3339),
        },
    }))
}

/// Whether the digest in a head is that of the message itself. Sealed is what has personal data and what is quarantined; of
/// what was rejected nothing is kept that could be sealed.
fn digest_is_open(record: &Record) -> bool {
    match (record.outcome, &record.summary) {
        (Outcome::Accepted, Some(summary)) => {
            summary.plane != Plane::Case && summary.category == Category::None
        }
        (Outcome::Quarantined, _) => false,
        _ => true,
    }
}
