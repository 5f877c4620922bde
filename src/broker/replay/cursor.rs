//! A cursor: how far a reading has come, for the party that reads. It is all that a request remembers of the last one.
//!
//! The check is no secret: it tells a cursor from garbage and one party's or one list's from another's. A party that
//! forges one for itself only chooses where it reads its own list.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::message::names::PartyId;

/// Version of the bytes.
const VERSION: u8 = 1;
/// Version, sequence, check.
const LENGTH: usize = 1 + 8 + 8;

/// Which list a cursor belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cursor {
    /// The feed of the party.
    Feed,
    /// The audit log, read by the party.
    Audit,
}

impl Cursor {
    /// A cursor behind a sequence.
    #[must_use]
    pub fn write(self, party: &PartyId, seq: u64) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&seq.to_be_bytes());
        bytes.extend_from_slice(&self.check(party, seq));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The sequence of a cursor; `None` if it is not one of this party and list.
    #[must_use]
    pub fn read(self, party: &PartyId, text: &str) -> Option<u64> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok().filter(|bytes| bytes.len() == LENGTH)?;
        let (version, rest) = bytes.split_first()?;
        let (seq, check) = rest.split_first_chunk::<8>()?;
        let seq = u64::from_be_bytes(*seq);
        (*version == VERSION && check == self.check(party, seq)).then_some(seq)
    }

    fn check(self, party: &PartyId, seq: u64) -> [u8; 8] {
        let list = match self {
            Self::Feed => "feed",
            Self::Audit => "audit",
        };
        let hash = Sha256::new()
            .chain_update([VERSION])
            .chain_update(list)
            .chain_update([0])
            .chain_update(party.as_str())
            .chain_update(seq.to_be_bytes())
            .finalize();
        let mut check = [0; 8];
        check.copy_from_slice(&hash[..8]);
        check
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_good_for_its_party_and_list_alone() {
        let party = |id: &str| PartyId::parse(id).expect("well formed");
        let (ours, theirs) = (party("de-bpol"), party("fr-dnpaf"));
        for seq in [0, 1, 4_096, u64::MAX] {
            let text = Cursor::Feed.write(&ours, seq);
            assert_eq!(Cursor::Feed.read(&ours, &text), Some(seq));
            assert_eq!(Cursor::Feed.read(&theirs, &text), None);
            assert_eq!(Cursor::Audit.read(&ours, &text), None);
            for at in 0..text.len() {
                let mut other = text.clone().into_bytes();
                other[at] = if other[at] == b'A' { b'B' } else { b'A' };
                let other = String::from_utf8(other).expect("ASCII");
                assert_eq!(Cursor::Feed.read(&ours, &other), None, "{other}");
            }
            for bad in [&text[1..], &text[..22], "", "=", "%%%", &format!("{text}="), &format!("{text}AAAA")]
            {
                assert_eq!(Cursor::Feed.read(&ours, bad), None, "{bad}");
            }
        }
    }
}
