//! A detached signature of a message as it travels: a JWS in compact form without its payload (RFC 7515, appendix F),
//! Ed25519 (RFC 8037). The payload is the message, byte for byte.
//!
//! This file reads and writes the form. Whose key it is and whether it may sign is the registry's word (`rules::signing`).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature as Bytes, Signer as _, SigningKey, VerifyingKey};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::names::KeyId;

/// The header that carries it, on a publication and on a delivery.
pub const HEADER: &str = "Ilo-Signature";
/// No signature of ours is longer; what is longer is not read.
const LONGEST: usize = 1_024;

/// A signature that is well formed. Nothing is proved by having one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detached {
    text: String,
    key: KeyId,
    signature: [u8; 64],
}

/// The protected header. Members that it may not have are named here to be refused: a key or a certificate that comes
/// along proves nothing, and an extension that must be understood is understood by nobody here.
#[derive(Deserialize)]
struct Protected {
    alg: String,
    kid: String,
    crit: Option<IgnoredAny>,
    b64: Option<IgnoredAny>,
    jwk: Option<IgnoredAny>,
    jku: Option<IgnoredAny>,
    x5c: Option<IgnoredAny>,
    x5u: Option<IgnoredAny>,
}

impl Protected {
    /// `EdDSA` is what libraries write, `Ed25519` its successor (RFC 9864).
    fn is_ours(&self) -> bool {
        let carries = [&self.crit, &self.b64, &self.jwk, &self.jku, &self.x5c, &self.x5u];
        matches!(&*self.alg, "EdDSA" | "Ed25519") && carries.iter().all(|member| member.is_none())
    }
}

impl Detached {
    /// Takes a header's value if it is one signature in compact form, with `alg` and `kid`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let (protected, signature) = text.split_once("..")?;
        let header = URL_SAFE_NO_PAD.decode(protected).ok()?;
        let header: Protected = serde_json::from_slice(&header).ok()?;
        let key = KeyId::parse(&header.kid).ok().filter(|_| header.is_ours())?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?.try_into().ok()?;
        Some(Self { text: text.to_owned(), key, signature })
    }

    /// Signs the bytes of a message.
    #[must_use]
    pub fn sign(key: &SigningKey, id: &KeyId, payload: &[u8]) -> Self {
        let header = serde_json::json!({ "alg": "EdDSA", "kid": id }).to_string();
        let protected = URL_SAFE_NO_PAD.encode(header);
        let signature = key.sign(&input(&protected, payload)).to_bytes();
        let text = format!("{protected}..{}", URL_SAFE_NO_PAD.encode(signature));
        Self { text, key: id.clone(), signature }
    }

    /// As it travels.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The key that it names.
    #[must_use]
    pub fn key(&self) -> &KeyId {
        &self.key
    }

    /// True if this key made it over these bytes. Strict: neither a weak key nor a second form of the same signature counts.
    #[must_use]
    pub fn is_of(&self, key: &VerifyingKey, payload: &[u8]) -> bool {
        let protected = self.text.split("..").next().unwrap_or_default();
        key.verify_strict(&input(protected, payload), &Bytes::from_bytes(&self.signature)).is_ok()
    }
}

/// What is signed, RFC 7515 section 5.1.
fn input(protected: &str, payload: &[u8]) -> Vec<u8> {
    let mut input = String::with_capacity(protected.len() + 1 + payload.len().div_ceil(3) * 4);
    input.push_str(protected);
    input.push('.');
    URL_SAFE_NO_PAD.encode_string(payload, &mut input);
    input.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> (SigningKey, KeyId) {
        (SigningKey::from_bytes(&[7; 32]), KeyId::parse("tn-01-2026").expect("well formed"))
    }

    fn with(header: &str, payload: &[u8]) -> String {
        let (key, _) = key();
        let protected = URL_SAFE_NO_PAD.encode(header);
        let signature = key.sign(&input(&protected, payload)).to_bytes();
        format!("{protected}..{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The example of RFC 8037, appendix A.4: the same key, header and payload give the same signature.
    #[test]
    fn it_is_the_jws_that_others_write() {
        let secret = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").expect("base64");
        let key = SigningKey::from_bytes(&secret.try_into().expect("32 bytes"));
        let public = URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes());
        assert_eq!(public, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        let signature = key.sign(&input("eyJhbGciOiJFZERTQSJ9", b"Example of Ed25519 signing"));
        let expected =
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        assert_eq!(URL_SAFE_NO_PAD.encode(signature.to_bytes()), expected);
    }

    #[test]
    fn what_was_signed_verifies_and_nothing_else() {
        let (key, id) = key();
        let made = Detached::sign(&key, &id, b"{}");
        let read = Detached::parse(made.as_str()).expect("well formed");
        assert_eq!((&read, read.key()), (&made, &id));
        assert!(read.is_of(&key.verifying_key(), b"{}"));
        assert!(!read.is_of(&key.verifying_key(), b"{} "), "a changed byte");
        assert!(!read.is_of(&SigningKey::from_bytes(&[8; 32]).verifying_key(), b"{}"), "another key");
        // Another protected header over the same bytes is another signature.
        let moved = with(r#"{"alg":"Ed25519","kid":"tn-01-2026"}"#, b"{}");
        let halves =
            (moved.split("..").next().expect("header"), made.as_str().split("..").nth(1).expect("rest"));
        let moved = Detached::parse(&format!("{}..{}", halves.0, halves.1)).expect("well formed");
        assert!(!moved.is_of(&key.verifying_key(), b"{}"));
    }

    #[test]
    fn forms_that_could_mean_something_else_are_not_read() {
        let good = r#"{"alg":"EdDSA","kid":"k"}"#;
        assert!(Detached::parse(&with(good, b"{}")).is_some());
        assert!(Detached::parse(&with(r#"{"alg":"EdDSA","kid":"k","typ":"JOSE"}"#, b"{}")).is_some());
        for header in [
            r#"{"alg":"none","kid":"k"}"#,
            r#"{"alg":"HS256","kid":"k"}"#,
            r#"{"alg":"ES256","kid":"k"}"#,
            r#"{"kid":"k"}"#,
            r#"{"alg":"EdDSA"}"#,
            r#"{"alg":"EdDSA","kid":"Not A Key"}"#,
            r#"{"alg":"EdDSA","kid":7}"#,
            r#"{"alg":"EdDSA","alg":"none","kid":"k"}"#,
            r#"{"alg":"EdDSA","kid":"k","crit":["b64"],"b64":false}"#,
            r#"{"alg":"EdDSA","kid":"k","b64":false}"#,
            r#"{"alg":"EdDSA","kid":"k","crit":[]}"#,
            r#"{"alg":"EdDSA","kid":"k","jwk":{"kty":"OKP"}}"#,
            r#"{"alg":"EdDSA","kid":"k","jku":"https://example.invalid/"}"#,
            r#"{"alg":"EdDSA","kid":"k","x5c":[]}"#,
            r#"{"alg":"EdDSA","kid":"k","x5u":"https://example.invalid/"}"#,
            "[]",
            "not JSON",
        ] {
            assert!(Detached::parse(&with(header, b"{}")).is_none(), "{header}");
        }
        let text = with(good, b"{}");
        let (header, signature) = text.split_once("..").expect("compact");
        let padded = format!("{header}=..{signature}");
        let attached = format!("{header}.e30.{signature}");
        let twice = format!("{text},{text}");
        let short = text[..text.len() - 4].to_owned();
        let loose = format!("{}B", &text[..text.len() - 1]);
        for bad in [String::new(), "..".into(), padded, attached, twice, short, loose, format!("{text}A")] {
            assert!(Detached::parse(&bad).is_none(), "{bad}");
        }
        let long = format!(r#"{{"alg":"EdDSA","kid":"k","x":"{}"}}"#, "x".repeat(LONGEST));
        assert!(Detached::parse(&with(&long, b"{}")).is_none());
    }

    /// Project Wycheproof's kinds of trouble: weak keys, S not reduced, R that is no point, all zero.
    #[test]
    fn weak_keys_and_second_forms_do_not_verify() {
        let (key, id) = key();
        let made = Detached::sign(&key, &id, b"{}");
        let whole = made.signature;
        // The order of the group, little endian (RFC 8032, section 5.1): S + L is the same scalar.
        let order: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let mut doubled = whole;
        let mut carry = 0_u16;
        for (byte, more) in doubled[32..].iter_mut().zip(order) {
            carry += u16::from(*byte) + u16::from(more);
            *byte = carry.to_le_bytes()[0];
            carry >>= 8;
        }
        let (mut no_point, mut flipped) = (whole, whole);
        no_point[..32].fill(0xff);
        flipped[0] ^= 1;
        for signature in [doubled, no_point, flipped, [0; 64]] {
            let bad = Detached { signature, ..made.clone() };
            assert!(!bad.is_of(&key.verifying_key(), b"{}"));
        }
        // With the neutral element as key and as R, S = 0 satisfies the plain equation for every message.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let weak = VerifyingKey::from_bytes(&neutral).expect("a point");
        let mut forged = [0; 64];
        forged[..32].copy_from_slice(&neutral);
        let forged = Detached { signature: forged, ..made };
        assert!(weak.is_weak() && !forged.is_of(&weak, b"{}"));
    }
}
