//! Where clients find address and keys: the data directory of `liaison up`, or what the flags say.

use std::path::{Path, PathBuf};

use super::tls::ClientTls;
use super::{Exit, Failure};
use crate::client::Address;
use crate::export::{Line, read_line};
use crate::message::names::{PartyId, PostId};

/// Flags that every client command has.
#[derive(Debug, clap::Args)]
pub struct Where {
    /// Data directory of `liaison up`.
    #[arg(long, env = "LIAISON_DATA", default_value = "./liaison-data")]
    pub data: PathBuf,
    /// Address of NATS; default from endpoints.json in the data directory.
    #[arg(long, env = "LIAISON_NATS")]
    pub nats: Option<String>,
    /// File with the nkey seed; default from the data directory.
    #[arg(long, env = "LIAISON_KEY")]
    pub key: Option<PathBuf>,
    #[command(flatten)]
    tls: ClientTls,
}

impl Where {
    /// The address of NATS for a party, with what is needed for TLS if there is any.
    pub fn address(&self, party: &PartyId) -> Result<Address, Failure> {
        Ok(self.tls.address(self.url()?, &self.data.join("keys"), party.as_str()))
    }

    fn url(&self) -> Result<String, Failure> {
        if let Some(url) = &self.nats {
            return Ok(url.clone());
        }
        let file = self.data.join("endpoints.json");
        let text = std::fs::read_to_string(&file).map_err(|error| {
            Failure::new(
                Exit::Unreachable,
                format!("{}: {error}; is `liaison up` running there?", file.display()),
            )
        })?;
        let value: serde_json::Value = serde_json::from_str(&text)
            .map_err(|error| Failure::new(Exit::Io, format!("{}: {error}", file.display())))?;
        value["nats"]
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| Failure::new(Exit::Io, format!("{}: no address of NATS in it", file.display())))
    }

    /// The seed file of a party's user.
    #[must_use]
    pub fn key_file(&self, party: &PartyId, post: Option<&PostId>) -> PathBuf {
        self.key.clone().unwrap_or_else(|| key_file(&self.data, party, post))
    }

    /// The signing key of a party's user in the data directory, if one was made.
    #[must_use]
    pub fn signing_key_file(&self, party: &PartyId, post: Option<&PostId>) -> PathBuf {
        key_file(&self.data, party, post).with_extension("jwk")
    }
}

fn key_file(data: &Path, party: &PartyId, post: Option<&PostId>) -> PathBuf {
    let user = post.map_or("system", PostId::as_str);
    data.join("keys").join(party.as_str()).join(format!("{user}.nk"))
}

/// Reads messages from files or `-`: one JSON document a file, or NDJSON. Bytes are passed on untouched. Lines of an export,
/// of `replay` or of `subscribe` wrap a message: it is taken out of them; their tombstones are nothing to send.
pub fn read_messages(files: &[PathBuf]) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let mut messages = Vec::new();
    for file in files {
        let name = file.display().to_string();
        let bytes = if name == "-" {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes).map(|_| bytes)
        } else {
            std::fs::read(file)
        }
        .map_err(|error| Failure::new(Exit::Io, format!("{name}: {error}")))?;
        split(&name, &bytes, &mut messages);
    }
    messages.retain_mut(|(_, bytes)| match read_line(bytes) {
        Some(Line::Event(event)) => {
            *bytes = event;
            true
        }
        Some(Line::Tombstone) => false,
        None => true,
    });
    Ok(messages)
}

/// NDJSON if the first line is a document of its own and more follow; else the whole file is one message.
fn split(name: &str, bytes: &[u8], messages: &mut Vec<(String, Vec<u8>)>) {
    let mut lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let first_is_whole =
        lines.next().is_some_and(|line| serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok());
    if first_is_whole && lines.next().is_some() {
        let lines = bytes.split(|byte| *byte == b'\n').enumerate();
        for (at, line) in lines.filter(|(_, line)| !line.trim_ascii().is_empty()) {
            messages.push((format!("{name}:{}", at + 1), line.trim_ascii().to_vec()));
        }
    } else {
        messages.push((name.to_owned(), bytes.to_vec()));
    }
}
