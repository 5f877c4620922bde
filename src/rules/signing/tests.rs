//! Keys of the registry, and messages signed with them.

use ed25519_dalek::SigningKey as Secret;

use super::*;

const PARTY: &str = r#"
    [[party]]
    id = "it-moi"
    name = "invented"
    country = "IT"
    participation = "member-state"
    posts = ["tn-01", "ly-02"]
"#;

fn secret(number: u8) -> Secret {
    Secret::from_bytes(&[number; 32])
}

fn public(number: u8) -> String {
    URL_SAFE_NO_PAD.encode(secret(number).verifying_key().as_bytes())
}

fn key(id: &str, number: u8, more: &str) -> String {
    let public = public(number);
    format!(
        "[[signing_key]]\nparty = \"it-moi\"\nid = \"{id}\"\npublic = \"{public}\"\n\
         from = \"2026-01-01T00:00:00Z\"\n{more}\n"
    )
}

fn id(text: &str) -> KeyId {
    KeyId::parse(text).expect("well formed")
}

fn at(text: &str) -> Timestamp {
    time::parse(text).expect("a time")
}

fn verified(text: &str, source: &str, signature: Option<&str>, when: &str) -> Result<Option<KeyId>, Fault> {
    let registry = Registry::parse(text).expect("readable");
    let party = registry.party("it-moi").expect("registered");
    let source = Source::parse(source).expect("a source");
    verify(party, &source, b"{}", signature, at(when)).map(|key| key.map(|key| key.id.clone()))
}

#[test]
fn a_key_signs_for_its_post_and_in_its_time() {
    let text = format!(
        "{PARTY}{}{}{}[[revoked_key]]\nparty = \"it-moi\"\nid = \"lost\"\nat = \"2026-03-01T00:00:00Z\"\n",
        key("tn", 1, "post = \"tn-01\"\nuntil = \"2026-06-01T00:00:00Z\""),
        key("all", 2, ""),
        key("lost", 3, ""),
    );
    let (tn, ly, own) = ("/authority/it-moi/post/tn-01", "/authority/it-moi/post/ly-02", "/authority/it-moi");
    let by = |name: &str, number: u8| Detached::sign(&secret(number), &id(name), b"{}").as_str().to_owned();
    let march = "2026-03-02T10:00:00Z";
    for (source, signature, when, expected) in [
        (tn, Some(by("tn", 1)), march, Ok(Some("tn"))),
        (ly, Some(by("tn", 1)), march, Err(Fault::OtherPost)),
        (own, Some(by("tn", 1)), march, Err(Fault::OtherPost)),
        (tn, Some(by("all", 2)), march, Ok(Some("all"))),
        (own, Some(by("all", 2)), march, Ok(Some("all"))),
        (tn, Some(by("all", 1)), march, Err(Fault::Unfit)),
        (tn, Some(by("other", 1)), march, Err(Fault::Unknown)),
        (tn, Some("nonsense".to_owned()), march, Err(Fault::Unreadable)),
        (tn, None, march, Ok(None)),
        (tn, Some(by("tn", 1)), "2025-12-31T23:59:59.999Z", Err(Fault::Early)),
        (tn, Some(by("tn", 1)), "2026-01-01T00:00:00Z", Ok(Some("tn"))),
        (tn, Some(by("tn", 1)), "2026-05-31T23:59:59.999Z", Ok(Some("tn"))),
        (tn, Some(by("tn", 1)), "2026-06-01T00:00:00Z", Err(Fault::Late)),
        // What was signed before the revocation goes on verifying for those who ask about that time.
        (tn, Some(by("lost", 3)), "2026-02-28T23:59:59.999Z", Ok(Some("lost"))),
        (tn, Some(by("lost", 3)), "2026-03-01T00:00:00Z", Err(Fault::Revoked)),
    ] {
        let found = verified(&text, source, signature.as_deref(), when);
        assert_eq!(found, expected.map(|key| key.map(id)), "{source} {signature:?} {when}");
    }
}

#[test]
fn where_signatures_are_required_nothing_comes_without() {
    let required = PARTY.replace("posts", "signatures = \"required\"\nposts");
    let text = format!("{required}{}", key("all", 2, ""));
    let when = "2026-03-02T10:00:00Z";
    assert_eq!(verified(&text, "/authority/it-moi", None, when), Err(Fault::Missing));
    let signed = Detached::sign(&secret(2), &id("all"), b"{}");
    assert!(verified(&text, "/authority/it-moi", Some(signed.as_str()), when).is_ok());
}

#[test]
fn all_faults_of_keys_are_told_at_once_with_their_key() {
    let weak = URL_SAFE_NO_PAD.encode([0; 32]);
    let text = format!(
        "{}{}{}{}{}{}{}",
        PARTY.replace("posts", "signatures = \"required\"\nposts"),
        key("other-post", 1, "post = \"de-01\""),
        key("never", 1, "until = \"2025-01-01T00:00:00Z\""),
        key("odd", 1, "colour = \"blue\""),
        key("weak", 1, "").replace(&public(1), &weak),
        key("stranger", 1, "").replace("it-moi", "it-xyz"),
        "[[revoked_key]]\nparty = \"it-moi\"\nid = \"nobody\"\nat = \"yesterday\"\n",
    );
    let faults = Registry::parse(&text).expect_err("faults").join("\n");
    for words in [
        "signing key other-post of it-moi: the party has no such post",
        "signing key never of it-moi: until must be later",
        "signing key odd of it-moi: ",
        "signing key weak of it-moi: public must be",
        "signing key stranger of it-xyz: no such party",
        "revoked key nobody of it-moi: at must be a time",
        "it-moi: signatures are required, and it has no signing key",
    ] {
        assert!(faults.contains(words), "{words}\n---\n{faults}");
    }
    let twice = format!("{PARTY}{}{}", key("one", 1, ""), key("one", 2, ""));
    assert!(Registry::parse(&twice).expect_err("twice").join("").contains("given twice"));
}
