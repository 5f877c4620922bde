//! A connection to nats-server that sends whatever bytes it is given, as an ordinary party: no client library would.
//!
//! It knows of the protocol what it takes to log in, to publish a frame and to hear how the server took it.

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::harness::{Exchange, PATIENCE};

/// A connection of one user.
pub struct Raw {
    socket: BufReader<TcpStream>,
}

impl Raw {
    /// Logs in with the key of a user.
    pub async fn connect(exchange: &Exchange, party: &str, user: &str) -> Self {
        let address = exchange.nats.trim_start_matches("nats://");
        let socket = BufReader::new(TcpStream::connect(address).await.expect("connects"));
        let mut raw = Self { socket };
        let line = raw.line().await.expect("INFO");
        let info: Value =
            serde_json::from_str(line.trim_start_matches("INFO ").trim()).expect("INFO in JSON");
        let seed = std::fs::read_to_string(exchange.key(party, user)).expect("a key");
        let pair = nkeys::KeyPair::from_seed(seed.trim()).expect("a seed");
        let signature = pair.sign(info["nonce"].as_str().expect("a nonce").as_bytes()).expect("signs");
        let connect = json!({
            "verbose": false, "pedantic": false, "headers": true, "no_responders": true, "lang": "raw",
            "version": "0", "nkey": pair.public_key(), "sig": base64url(&signature),
        });
        raw.send(format!("CONNECT {connect}\r\n").as_bytes()).await;
        assert_eq!(raw.fence().await, Vec::<String>::new(), "is let in");
        raw
    }

    /// Sends bytes; a server that has hung up by then is no fault of the test.
    pub async fn send(&mut self, bytes: &[u8]) {
        drop(self.socket.get_mut().write_all(bytes).await);
    }

    /// One frame: subject, header block, payload, each with any bytes.
    pub async fn publish(&mut self, subject: &[u8], block: Option<&[u8]>, payload: &[u8]) {
        self.send(&frame(subject, b"", block, payload)).await;
    }

    /// The same with a reply subject.
    pub async fn publish_to(&mut self, subject: &[u8], reply: &[u8], block: Option<&[u8]>, payload: &[u8]) {
        self.send(&frame(subject, reply, block, payload)).await;
    }

    /// Asks to hear a subject.
    pub async fn subscribe(&mut self, subject: &str, number: usize) {
        self.send(format!("SUB {subject} {number}\r\n").as_bytes()).await;
    }

    /// What the server complained of until it had dealt with everything sent; its last words if it hung up.
    pub async fn fence(&mut self) -> Vec<String> {
        self.send(b"PING\r\n").await;
        let mut said = Vec::new();
        loop {
            match self.line().await {
                None => return said,
                Some(line) if line.starts_with("PONG") => return said,
                Some(line) if line.starts_with("-ERR") => said.push(line.trim().to_owned()),
                Some(line) if line.starts_with("PING") => self.send(b"PONG\r\n").await,
                Some(_) => {}
            }
        }
    }

    /// The next line; none if the server hung up.
    async fn line(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        let read = tokio::time::timeout(PATIENCE, self.socket.read_until(b'\n', &mut bytes));
        match read.await.expect("the server answers") {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }
}

/// The bytes of a publication.
pub fn frame(subject: &[u8], reply: &[u8], block: Option<&[u8]>, payload: &[u8]) -> Vec<u8> {
    let (verb, size) = match block {
        Some(block) => ("HPUB ", format!("{} {}", block.len(), block.len() + payload.len())),
        None => ("PUB ", payload.len().to_string()),
    };
    let reply = if reply.is_empty() { Vec::new() } else { [&b" "[..], reply].concat() };
    let head = [verb.as_bytes(), subject, &reply, format!(" {size}\r\n").as_bytes()].concat();
    [head.as_slice(), block.unwrap_or_default(), payload, b"\r\n"].concat()
}

fn base64url(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}
