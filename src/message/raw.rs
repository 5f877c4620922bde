//! What came in from the road, before anybody looked at it.

use bytes::Bytes;

use super::names::PartyId;
use super::time::Timestamp;

/// A message as received. `party` is whose intake stream it came in on: the account that the server let publish
/// there. It is the identity; nothing in the payload or the headers is.
#[derive(Debug, Clone)]
pub struct Raw {
    /// Whose account published.
    pub party: PartyId,
    /// The NATS subject as stored, not yet checked.
    pub subject: String,
    /// The bytes, untouched.
    pub payload: Bytes,
    /// The value of the `Content-Type` header, if any. No header is looked at for identity.
    pub content_type: Option<String>,
    /// The value of the `Ilo-Signature` header, if any; several with commas between, which no signature has in it.
    pub signature: Option<String>,
    /// True if a header whose name begins with `ce-` (any case) came along: CloudEvents binary mode, which is refused.
    pub binary_mode: bool,
    /// When the intake stream took it.
    pub arrived: Timestamp,
    /// Where in the intake stream it stands.
    pub position: Position,
    /// Whether it came through whole.
    pub frame: Frame,
}

/// How the NATS frame around a message looked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Frame {
    /// As the protocol wants it.
    #[default]
    Whole,
    /// A subject or header block that no client library can read, or a subject with NUL: it was sent to break something.
    Broken {
        /// All that came, for whoever looks into it: subject, CR LF, header block, payload.
        bytes: Bytes,
    },
}

impl Raw {
    /// What is kept if the message is put aside: the payload, or all that came where the frame itself was broken.
    #[must_use]
    pub fn evidence(&self) -> Bytes {
        match &self.frame {
            Frame::Whole => self.payload.clone(),
            Frame::Broken { bytes } => bytes.clone(),
        }
    }
}

/// A place in an intake stream. `epoch` is the stream's creation time in Unix milliseconds: a stream that was wiped and
/// made anew counts from 1 again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// Creation time of the stream, Unix milliseconds.
    pub epoch: i64,
    /// Stream sequence, from 1.
    pub sequence: u64,
}
