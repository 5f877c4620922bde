//! Letters that are changed on the way to a client: does it notice that what it got is not what was archived?
//!
//! Each change keeps the length, so that nothing else of the NATS protocol has to change, and is done to one letter, once: what is not
//! acknowledged comes again as it was. Everything else passes byte for byte.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf as _, Bytes, BytesMut};

use super::messages::{FALSE, TRUE};

/// The header of the running digest, whose value begins behind it.
const RUNNING: &[u8] = b"Ilo-Feed-Digest: ";

/// What is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A letter of the message itself.
    Bytes,
    /// A digit of the running digest.
    RunningDigest,
}

/// A letter that was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// What.
    pub change: Change,
    /// Where it would be acknowledged.
    pub reply: String,
}

/// What is to be changed, and what was.
#[derive(Debug, Default)]
pub struct Orders {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    order: Option<Change>,
    changed: Vec<Changed>,
}

impl Orders {
    /// Orders a change of the next letter that can be changed so.
    pub fn change_next(&self, change: Change) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).order = Some(change);
    }

    /// Those that were changed.
    #[must_use]
    pub fn changed(&self) -> Vec<Changed> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).changed.clone()
    }

    /// Forgets.
    pub fn clear(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
    }

    fn look(&self, reply: &str, headers: &mut [u8], payload: &mut [u8]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(change) = state.order else { return };
        let Some(running) = place(headers, RUNNING).map(|at| at + RUNNING.len()) else { return };
        match (change, place(payload, TRUE.as_bytes())) {
            (Change::Bytes, Some(at)) => payload[at..at + TRUE.len()].copy_from_slice(FALSE.as_bytes()),
            (Change::RunningDigest, _) => {
                headers[running] = if headers[running] == b'0' { b'1' } else { b'0' }
            }
            (Change::Bytes, None) => return,
        }
        state.order = None;
        state.changed.push(Changed { change, reply: reply.to_owned() });
    }
}

fn place(text: &[u8], of: &[u8]) -> Option<usize> {
    text.windows(of.len()).position(|window| window == of)
}

/// One connection's way from the server.
#[derive(Debug)]
pub struct Hand {
    orders: Arc<Orders>,
    bytes: BytesMut,
}

/// How long a line and what follows it are, and where the parts are.
struct Frame {
    reply: String,
    line: usize,
    headers: usize,
    size: usize,
}

impl Frame {
    /// `HMSG subject sid [reply] headers size`; a `MSG` has no headers, so it is no letter.
    fn read(line: &[u8]) -> Self {
        let plain = |size| Self { reply: String::new(), line: line.len(), headers: 0, size };
        let words: Vec<&str> =
            std::str::from_utf8(line).map(|line| line.split_ascii_whitespace().collect()).unwrap_or_default();
        let number = |word: &str| word.parse::<usize>().ok();
        match words[..] {
            // The payload's line break counts.
            ["MSG", .., size] => plain(number(size).map_or(0, |size| size + 2)),
            ["HMSG", _, _, reply, headers, size] => match (number(headers), number(size)) {
                (Some(headers), Some(size)) if headers <= size => {
                    Self { reply: reply.to_owned(), line: line.len(), headers, size: size + 2 }
                }
                _ => plain(0),
            },
            ["HMSG", .., size] => plain(number(size).map_or(0, |size| size + 2)),
            _ => plain(0),
        }
    }
}

impl Hand {
    /// Of a new connection.
    #[must_use]
    pub fn of(orders: Arc<Orders>) -> Self {
        Self { orders, bytes: BytesMut::new() }
    }

    /// Takes what came; gives what may go on, which is whole frames.
    pub fn pass(&mut self, bytes: &[u8]) -> Bytes {
        self.bytes.extend_from_slice(bytes);
        let mut ready = 0;
        while let Some(end) = self.bytes[ready..].iter().position(|byte| *byte == b'\n') {
            let frame = Frame::read(&self.bytes[ready..=ready + end]);
            let whole = frame.line + frame.size;
            if self.bytes.len() - ready < whole {
                break;
            }
            let body = &mut self.bytes[ready + frame.line..ready + whole];
            if frame.headers > 0 {
                let (headers, payload) = body.split_at_mut(frame.headers);
                self.orders.look(&frame.reply, headers, payload);
            }
            ready += whole;
        }
        self.bytes.copy_to_bytes(ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(title: &str) -> Vec<u8> {
        let headers = format!("NATS/1.0\r\nIlo-Feed-Seq: 7\r\nIlo-Feed-Digest: {}\r\n\r\n", "a1".repeat(32));
        let payload = format!("{{\"title\":\"{title}\"}}");
        let (first, all) = (headers.len(), headers.len() + payload.len());
        format!("HMSG mbox.x 3 $JS.ACK.7 {first} {all}\r\n{headers}{payload}\r\n").into_bytes()
    }

    #[test]
    fn one_letter_is_changed_and_everything_else_passes_however_it_is_cut() {
        let before = b"INFO {\"x\":\"HMSG\"}\r\nPONG\r\nMSG a 1 5\r\nHMSG \r\n+OK\r\nHMSG b 1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n";
        let server: Vec<u8> =
            [&before[..], &letter("other"), &letter(TRUE), &letter(TRUE), b"PING\r\n"].concat();
        let changed = [&before[..], &letter("other"), &letter(FALSE), &letter(TRUE), b"PING\r\n"].concat();
        for cut in 1..server.len() {
            let orders = Arc::new(Orders::default());
            orders.change_next(Change::Bytes);
            let mut hand = Hand::of(Arc::clone(&orders));
            let passed: Vec<u8> = server.chunks(cut).flat_map(|chunk| hand.pass(chunk)).collect();
            assert!(passed == changed, "cut into {cut}");
            assert_eq!(orders.changed(), [Changed { change: Change::Bytes, reply: "$JS.ACK.7".to_owned() }]);
        }
    }

    #[test]
    fn a_digit_of_the_running_digest_is_changed() {
        let orders = Arc::new(Orders::default());
        let mut hand = Hand::of(Arc::clone(&orders));
        assert!(hand.pass(&letter(TRUE)) == letter(TRUE), "nothing was ordered");
        orders.change_next(Change::RunningDigest);
        let text = String::from_utf8(hand.pass(&letter(TRUE)).to_vec()).expect("text");
        assert!(text.contains("Ilo-Feed-Digest: 01a1a1") && text.contains(TRUE), "{text}");
        assert!(hand.pass(&letter(TRUE)) == letter(TRUE), "once");
    }
}
