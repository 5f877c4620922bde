//! Header blocks and subjects as raw bytes from the wire: what is taken for fine comes back as it was read.

use liaison::message::subject::{Publish, publisher};
use liaison::wire::suspects;

/// Worth putting anywhere.
pub const WORDS: &[&str] = &[
    "NATS/1.0",
    "\r\n",
    "\r",
    "\n",
    "\r\n\r\n",
    ": ",
    ":",
    " ",
    "\0",
    "Content-Type",
    "Nats-Rollup",
    "Nats-Expected-Last-Sequence",
    "ce-id",
    "\u{e9}",
    "NATS/1.0 503\r\n\r\n",
    "ilo.in.it-moi.tn-01.net.flow.observation.tn",
    "ilo.in.",
    "..",
    "*",
    ">",
    "$JS.API.",
];

/// A header block, or a subject.
pub fn run(bytes: &[u8]) {
    if let Some(headers) = suspects::headers(bytes) {
        let mut block = String::from("NATS/1.0\r\n");
        for (name, value) in &headers {
            assert!(
                !name.is_empty() && !value.contains(['\r', '\n', '\0']),
                "what breaks a connection is not fine"
            );
            block.push_str(&format!("{name}:{value}\r\n"));
        }
        block.push_str("\r\n");
        assert_eq!(
            suspects::headers(block.as_bytes()),
            Some(headers),
            "written and read again it is the same"
        );
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(Publish { party, post, plane, family, kind, country }) = Publish::parse(text) {
        assert_eq!(format!("ilo.in.{party}.{post}.{plane}.{family}.{kind}.{country}"), text);
        assert_eq!(publisher(text), Some((party, post)), "both tell the same publisher");
    }
}
