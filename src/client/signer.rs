//! The secret half of a signing key: a file with a JWK (RFC 8037), which every JOSE library reads, and the signing with it.
//!
//! It never leaves its file but to sign, is wiped from memory afterwards, and is printed nowhere. A file that others may read
//! is refused. It is never the key of a connection: who steals that one cannot sign.

use std::fmt;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::message::names::KeyId;
use crate::message::signature::Detached;
use crate::wire::{Error, keys};

/// A key that can sign.
pub struct Signer {
    id: KeyId,
    key: SigningKey,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("id", &self.id).finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
struct Jwk {
    kty: String,
    crv: String,
    kid: String,
    #[serde(serialize_with = "write_secret", deserialize_with = "read_secret")]
    d: Zeroizing<String>,
    x: String,
}

fn write_secret<S: Serializer>(secret: &Zeroizing<String>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(secret)
}

fn read_secret<'de, D: Deserializer<'de>>(from: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(from).map(Zeroizing::new)
}

impl Signer {
    /// Reads a key.
    ///
    /// # Errors
    /// Missing, readable by others, no Ed25519 key as a JWK, or halves that do not belong together.
    pub fn read(file: &Path) -> Result<Self, Error> {
        let fault = |words: &str| keys::fault(file, words);
        keys::is_private(file)?;
        let text = std::fs::read_to_string(file).map(Zeroizing::new);
        let text = text.map_err(|error| fault(&error.to_string()))?;
        let jwk: Jwk = serde_json::from_str(&text)
            .map_err(|_| fault("holds no signing key: a JWK with kty, crv, kid, d and x is read"))?;
        if (&*jwk.kty, &*jwk.crv) != ("OKP", "Ed25519") {
            return Err(fault("holds a key that is no Ed25519 key"));
        }
        let id = KeyId::parse(&jwk.kid).map_err(|error| fault(&format!("kid: {error}")))?;
        let secret = URL_SAFE_NO_PAD.decode(jwk.d.as_bytes()).map(Zeroizing::new).ok();
        let secret = secret.and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok()).map(Zeroizing::new);
        let key = SigningKey::from_bytes(&*secret.ok_or_else(|| fault("d must be 32 bytes in base64url"))?);
        let signer = Self { id, key };
        if signer.public() != jwk.x {
            return Err(fault("d and x are not halves of one key"));
        }
        Ok(signer)
    }

    /// Makes a new key in a file that must not be there yet. From the first moment only its owner may read it.
    ///
    /// # Errors
    /// The file is there, or cannot be written.
    pub fn create(file: &Path, id: KeyId) -> Result<Self, Error> {
        let fault = |words: &dyn fmt::Display| keys::fault(file, words);
        if file.exists() {
            return Err(fault(&"is there already, and a key is never written over"));
        }
        // The seed of a fresh nkey: the system's random numbers, through the library that makes the other keys.
        let pair = nkeys::KeyPair::new_user();
        let seed = pair.seed().map(Zeroizing::new).map_err(|error| fault(&error))?;
        let (_, seed) = nkeys::decode_seed(&seed).map_err(|error| fault(&error))?;
        let seed = Zeroizing::new(seed);
        let signer = Self { id, key: SigningKey::from_bytes(&seed) };
        let jwk = Jwk {
            kty: "OKP".to_owned(),
            crv: "Ed25519".to_owned(),
            kid: signer.id.to_string(),
            d: Zeroizing::new(URL_SAFE_NO_PAD.encode(*seed)),
            x: signer.public(),
        };
        let text = serde_json::to_string(&jwk).map(Zeroizing::new).map_err(|error| fault(&error))?;
        let parent = file.parent().unwrap_or(Path::new("."));
        let written = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)
            .and_then(|()| keys::write_private(file, &[text.as_bytes(), b"\n"]));
        written.map_err(|error| fault(&error))?;
        Ok(signer)
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// Its public half as the registry has it.
    #[must_use]
    pub fn public(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.key.verifying_key().as_bytes())
    }

    /// Signs the bytes of a message.
    #[must_use]
    pub fn sign(&self, payload: &[u8]) -> Detached {
        Detached::sign(&self.key, &self.id, payload)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_private_and_read_again() {
        let directory = tempfile::tempdir().expect("temp dir");
        let file = directory.path().join("it-moi/tn-01.jwk");
        let id = KeyId::parse("tn-01-2026").expect("well formed");
        let made = Signer::create(&file, id.clone()).expect("makes");
        assert_eq!(std::fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
        let read = Signer::read(&file).expect("reads");
        assert_eq!((read.id(), read.public(), read.sign(b"{}")), (&id, made.public(), made.sign(b"{}")));
        assert_ne!(
            made.public(),
            Signer::create(&directory.path().join("other.jwk"), id.clone()).expect("makes").public()
        );
        assert!(Signer::create(&file, id).is_err(), "a key is never written over");
        let shown = format!("{made:?}");
        let text = std::fs::read_to_string(&file).expect("reads");
        let jwk: Jwk = serde_json::from_str(&text).expect("a JWK");
        assert!(!shown.contains(&*jwk.d) && shown.contains("tn-01-2026"), "{shown}");
        for (change, words) in [
            (text.replace(&jwk.x, &URL_SAFE_NO_PAD.encode([1; 32])), "halves"),
            (text.replace("Ed25519", "P-256"), "no Ed25519"),
            (text.replace("tn-01-2026", "TN 01"), "kid"),
            (text.replace(&*jwk.d, "AAAA"), "32 bytes"),
            ("SUAB".to_owned(), "no signing key"),
        ] {
            std::fs::write(&file, change).expect("writes");
            let told = Signer::read(&file).expect_err("refused").to_string();
            assert!(told.contains(words) && !told.contains(&*jwk.d), "{told}");
        }
        std::fs::write(&file, text).expect("writes");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).expect("chmod");
        assert!(Signer::read(&file).expect_err("refused").to_string().contains("others may read it"));
    }
}
