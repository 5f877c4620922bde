//! The lines of a log: what is written down of a publication, a receipt that answers nothing, a letter, a replayed message, and of how
//! the broker is. Members that came later may be missing, so that older logs can still be read.

use serde::{Deserialize, Serialize};

/// One publication.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    /// Number of the attempt.
    pub no: u32,
    /// Id of the message, where it has one.
    pub id: Option<String>,
    /// When it had to be sent; later than the script says if it had to wait for `after`.
    pub due: u64,
    /// When it was handed to the connection; `None`: never.
    pub sent: Option<u64>,
    /// How often it was sent; more than once if no receipt came.
    pub sends: u32,
    /// When the PubAck came.
    pub acked: Option<u64>,
    /// Sequence in the intake stream that the first PubAck told.
    pub stream_seq: Option<u64>,
    /// When the receipt came.
    pub receipted: Option<u64>,
    /// Outcome in the receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Code in the receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Archive sequence in the receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Number of recipients in the receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipients: Option<u64>,
    /// SHA-256 in the receipt, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Last token of the receipt's subject, where that is not `id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The id in the receipt's target, where that is not `id`, or not empty where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Places of the receipt's detail that repeat the value which they are about.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub echoes: u32,
    /// How often it was sent again although a PubAck had come.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub resent: u32,
    /// Sequences in the intake stream of all sendings that had a PubAck, if it was sent more than once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sequences: Vec<u64>,
    /// Receipts that came for it, each counted once, if it was sent more than once and that could be found out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipts: Option<u32>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde wants")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// A receipt that answers nothing that was sent: none of its officer waited for these bytes, it was told for the first time, and
/// what it may be about was sent once only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stray {
    /// Whose connection it came to.
    pub party: String,
    /// The post.
    pub post: String,
    /// Last token of its subject.
    pub token: String,
    /// Outcome in it.
    pub outcome: String,
    /// SHA-256 in it, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// When it came.
    pub at: u64,
}

/// One letter from a mailbox, as often as it came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Read {
    /// Whose mailbox.
    pub party: String,
    /// Its subject.
    pub subject: String,
    /// `Ilo-Feed-Seq`.
    pub feed_seq: u64,
    /// `id` of the event.
    pub id: String,
    /// `source` of the event.
    pub source: String,
    /// SHA-256 of the payload, computed by the reader, hexadecimal.
    pub sha256: String,
    /// `Ilo-Digest` without `sha256:`.
    pub digest: String,
    /// `Ilo-Feed-Digest`.
    pub feed_digest: String,
    /// Its place in the stream of the mailbox: the same if it is only delivered again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_seq: Option<u64>,
    /// Its headers are not exactly those of `PROTOCOL.md` section 3.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub odd_headers: bool,
    /// When it was read.
    pub at: u64,
    /// Its authority read slowly or only afterwards: no measure of the broker.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
}

/// One message of a feed, replayed when everything was over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Replayed {
    /// Whose feed.
    pub party: String,
    /// Feed sequence.
    pub feed_seq: u64,
    /// Digest that the replay told, hexadecimal.
    pub digest: String,
    /// SHA-256 of the event's bytes, computed by the reader; `None` for a tombstone.
    pub sha256: Option<String>,
}

/// One replay of an analyst while the others worked, as far as it came.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Analysed {
    /// Whose feed.
    pub party: String,
    /// When it began.
    pub at: u64,
    /// Pages that came.
    pub pages: u64,
    /// Messages on them.
    pub messages: u64,
    /// It ended with an error.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
    /// Feed sequence of the last message.
    pub last: u64,
    /// Running digest of the feed up to there, made of the digests that were told, hexadecimal; none if the replay was not dense
    /// from the first message on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<String>,
}

/// How the broker was at a moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// When.
    pub at: u64,
    /// Resident memory of the broker, bytes.
    pub rss: u64,
    /// Its descriptors.
    pub descriptors: u64,
    /// Its threads.
    pub threads: u64,
    /// CPU time that it has used, in milliseconds.
    pub cpu_ms: u64,
    /// The same of nats-server, where it is a child.
    pub nats_rss: u64,
    /// CPU time of nats-server, in milliseconds.
    pub nats_cpu_ms: u64,
    /// Attempts sent that have no receipt yet.
    pub open: u64,
    /// Letters that all prompt readers have not read yet, as far as receipts told.
    pub unread: u64,
    /// Archive sequence by `/metrics`.
    pub archived: u64,
}
