//! Signatures of posts from end to end: made by a client, verified at intake, kept, delivered, verified again by who gets them;
//! and keys that are revoked while everything runs.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use async_nats::{Client, HeaderMap};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};

use super::harness::{
    Exchange, REPORT_SUBJECT, few_parties, queue_with, receipt_after, report, stored_receipt,
};

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A detached JWS, put together as RFC 7515 says and by no code of ours.
fn signature(key: &SigningKey, kid: &str, payload: &[u8]) -> String {
    let protected = encoded(json!({ "alg": "EdDSA", "kid": kid }).to_string().as_bytes());
    let signed = key.sign(format!("{protected}.{}", encoded(payload)).as_bytes());
    format!("{protected}..{}", encoded(&signed.to_bytes()))
}

fn table(id: &str, key: &SigningKey, more: &str) -> String {
    let public = encoded(key.verifying_key().as_bytes());
    format!(
        "\n[[signing_key]]\nparty = \"it-moi\"\nid = \"{id}\"\npublic = \"{public}\"\nfrom = \"2026-01-01T00:00:00Z\"\n{more}\n"
    )
}

fn add(data: &Path, text: &str) {
    let file = data.join("network.toml");
    let before = std::fs::read_to_string(&file).expect("a registry");
    std::fs::write(file, before + text).expect("writes");
}

fn registry() -> String {
    let parties = few_parties();
    let required = parties.replacen("id = \"it-moi\"", "id = \"it-moi\"\nsignatures = \"required\"", 1);
    assert_ne!(parties, required, "it-moi is among them");
    required + &table("tn-01-a", &key(1), "post = \"tn-01\"") + &table("moi", &key(2), "")
}

async fn start() -> Exchange {
    Exchange::with(&[], |data| {
        std::fs::write(data.join("network.toml"), registry()).expect("a registry");
    })
    .await
}

/// Publishes with these signatures; the data of the receipt.
async fn publish(post: &Client, payload: &[u8], signatures: &[&str]) -> Value {
    let mut headers = HeaderMap::new();
    for signature in signatures {
        headers.append("Ilo-Signature", *signature);
    }
    let event: Value = serde_json::from_slice(payload).expect("JSON");
    let id = event["id"].as_str().expect("an id").to_owned();
    let before = stored_receipt(post, REPORT_SUBJECT, &id).await.map_or(0, |(sequence, _)| sequence);
    queue_with(post, REPORT_SUBJECT, headers, payload.to_vec()).await;
    receipt_after(post, REPORT_SUBJECT, &[id], payload, before).await["data"].clone()
}

fn lines(output: &std::process::Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signature_is_verified_kept_delivered_and_verified_again() {
    let exchange = start().await;
    let post = exchange.connect("it-moi", "tn-01").await;
    let bytes = report().to_string().into_bytes();
    let good = signature(&key(1), "tn-01-a", &bytes);
    for (signatures, words) in [
        (vec![], "is not signed"),
        (vec![signature(&key(1), "tn-01-a", b"{}")], "does not fit"),
        (vec![signature(&key(3), "tn-01-a", &bytes)], "does not fit"),
        (vec![signature(&key(1), "nobody", &bytes)], "does not have"),
        (vec![good.clone(), good.clone()], "cannot be read"),
        (vec!["nonsense".to_owned()], "cannot be read"),
    ] {
        let given: Vec<&str> = signatures.iter().map(String::as_str).collect();
        let told = publish(&post, &bytes, &given).await;
        assert_eq!(
            (&told["outcome"], &told["code"]),
            (&json!("rejected"), &json!("E-ORIGIN")),
            "{words}: {told}"
        );
        assert!(
            told["detail"][0]["message"].as_str().is_some_and(|text| text.contains(words)),
            "{words}: {told}"
        );
    }
    // What was refused may be sent again, mended: the same bytes with the right signature.
    let told = publish(&post, &bytes, &[&good]).await;
    assert_eq!(told["outcome"], "accepted", "{told}");
    // By the key that may speak for all posts.
    let second = report().to_string().into_bytes();
    let other = signature(&key(2), "moi", &second);
    assert_eq!(publish(&post, &second, &[&other]).await["outcome"], "accepted");

    let read = ["subscribe", "--as", "fr-dnpaf", "--count", "2", "--verify", "--timeout", "20s"];
    let output = exchange.run(&read);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let letters = lines(&output);
    assert_eq!(letters[0]["signature"], good, "{}", letters[0]);
    assert_eq!(
        (&letters[0]["signed"]["key"], &letters[1]["signed"]["key"]),
        (&json!("tn-01-a"), &json!("moi"))
    );
    // Who has another registry trusts other keys.
    let foreign = exchange.data.join("foreign.toml");
    std::fs::write(
        &foreign,
        registry().replace(
            &encoded(key(1).verifying_key().as_bytes()),
            &encoded(key(9).verifying_key().as_bytes()),
        ),
    )
    .expect("writes");
    let read = [
        "subscribe",
        "--as",
        "de-bpol",
        "--count",
        "2",
        "--verify",
        "--timeout",
        "20s",
        "--registry",
        foreign.to_str().expect("UTF-8"),
    ];
    let output = exchange.run(&read);
    assert_eq!(output.status.code(), Some(65));
    assert!(
        lines(&output)[0]["signed"]["fault"].as_str().is_some_and(|words| words.contains("does not fit"))
    );

    let fr = exchange.connect("fr-dnpaf", "system").await;
    let page = exchange.ask(&fr, "fr-dnpaf", "replay", &json!({})).await.expect("a page");
    assert_eq!(page["messages"][0]["signature"], good, "{page}");
    let output = exchange.run(&["replay", "--as", "fr-dnpaf"]);
    assert_eq!(lines(&output)[0]["signature"], good);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_signs_nothing_from_then_on_and_what_it_signed_stays_signed() {
    let mut exchange = start().await;
    let post = exchange.connect("it-moi", "tn-01").await;
    let before = report().to_string().into_bytes();
    let old = signature(&key(1), "tn-01-a", &before);
    assert_eq!(publish(&post, &before, &[&old]).await["outcome"], "accepted");
    let now = jiff::Timestamp::now();
    add(
        &exchange.data,
        &format!(
            "\n[[revoked_key]]\nparty = \"it-moi\"\nid = \"tn-01-a\"\nat = \"{now:.3}\"\n{}",
            table("tn-01-b", &key(4), "post = \"tn-01\"")
        ),
    );
    assert!(exchange.reload().await);
    let after = report().to_string().into_bytes();
    let told = publish(&post, &after, &[&signature(&key(1), "tn-01-a", &after)]).await;
    assert_eq!(told["code"], "E-ORIGIN", "{told}");
    assert!(told["detail"][0]["message"].as_str().is_some_and(|text| text.contains("revoked")), "{told}");
    assert_eq!(
        publish(&post, &after, &[&signature(&key(4), "tn-01-b", &after)]).await["outcome"],
        "accepted"
    );
    // After a crash too: the signature is in the archive, not in what was in flight.
    exchange.kill();
    exchange.again().await;
    let read = ["subscribe", "--as", "fr-dnpaf", "--count", "2", "--verify", "--timeout", "20s"];
    let output = exchange.run(&read);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    let letters = lines(&output);
    assert_eq!(
        (&letters[0]["signed"]["key"], &letters[1]["signed"]["key"]),
        (&json!("tn-01-a"), &json!("tn-01-b"))
    );
    let kept = exchange.run(&["archive", "show", "--content"]);
    assert!(
        String::from_utf8_lossy(&kept.stdout).contains(&old),
        "{}",
        String::from_utf8_lossy(&kept.stderr)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publish_signs_with_the_key_beside_its_own_and_never_with_one_that_others_can_read() {
    let exchange = start().await;
    let file = exchange.key("it-moi", "tn-01").with_extension("jwk");
    let secret = key(1);
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "tn-01-a", "d": encoded(&secret.to_bytes()),
        "x": encoded(secret.verifying_key().as_bytes()) });
    std::fs::write(&file, jwk.to_string()).expect("writes");
    let message = exchange.data.join("message.json");
    std::fs::write(&message, report().to_string()).expect("writes");
    let send = ["publish", "--as", "it-moi", "--post", "tn-01", message.to_str().expect("UTF-8")];
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("chmod");
    let output = exchange.run(&send);
    assert_eq!(output.status.code(), Some(77));
    assert!(String::from_utf8_lossy(&output.stderr).contains("others may read it"));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("chmod");
    let output = exchange.run(&send);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    std::fs::remove_file(&file).expect("removes");
    std::fs::write(&message, report().to_string()).expect("writes");
    let output = exchange.run(&send);
    assert_eq!(output.status.code(), Some(65), "unsigned, it is refused");
}

/// As an operator does it: a key is made, another one beside it, the first one revoked; the broker knows each at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_keys_are_made_changed_and_revoked_while_it_runs() {
    let exchange = Exchange::small("").await;
    let whose = ["it-moi", "--post", "tn-01", "--signing"];
    let keys = |verb: &str, more: &[&str]| {
        let output = exchange.run(&[&["keys", verb], &whose[..], more].concat());
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), lines(&output), told)
    };
    let message = exchange.data.join("message.json");
    let send = || {
        std::fs::write(&message, report().to_string()).expect("writes");
        let to = ["publish", "--as", "it-moi", "--post", "tn-01", message.to_str().expect("UTF-8")];
        let output = exchange.run(&to);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    };
    let (code, made, told) = keys("new", &[]);
    assert_eq!((code, made.len()), (Some(0), 1), "{told}");
    assert_eq!(made[0]["kind"], "signing");
    let file = exchange.key("it-moi", "tn-01").with_extension("jwk");
    assert_eq!(std::fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
    let (first, secret) = (made[0]["id"].clone(), std::fs::read_to_string(&file).expect("reads"));
    let jwk: Value = serde_json::from_str(&secret).expect("a JWK");
    assert!(!told.contains(jwk["d"].as_str().expect("d")), "no secret is printed");
    send();
    let (code, _, told) = keys("new", &[]);
    assert_eq!(code, Some(65), "it has one: {told}");
    let (code, made, told) = keys("rotate", &[]);
    assert_eq!((code, made.len()), (Some(0), 1), "{told}");
    let second = made[0]["id"].clone();
    assert_ne!(first, second, "an id is never used again");
    send();
    // Whoever still has the first key may use it until it is revoked.
    let aside = exchange.data.join("first.jwk");
    std::fs::write(&aside, &secret).expect("writes");
    std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(0o600)).expect("chmod");
    let with_first = || {
        std::fs::write(&message, report().to_string()).expect("writes");
        let (message, key) = (message.to_str().expect("UTF-8"), aside.to_str().expect("UTF-8"));
        exchange
            .run(&["publish", "--as", "it-moi", "--post", "tn-01", "--sign-key", key, message])
            .status
            .code()
    };
    assert_eq!(with_first(), Some(0));
    let (code, ended, told) = keys("revoke", &["--old"]);
    assert_eq!((code, ended.len()), (Some(0), 1), "{told}");
    assert_eq!(ended[0]["id"], first);
    assert_eq!(with_first(), Some(65), "from now on it is refused");
    send();
    let listed = lines(&exchange.run(&["keys", "list", "it-moi", "--json"]));
    let of = |id: &Value| listed.iter().find(|key| key["id"] == *id).expect("listed").clone();
    assert_eq!((&of(&first)["let_in"], &of(&second)["let_in"]), (&json!(false), &json!(true)));
    assert_eq!(of(&second)["file"], file.display().to_string());
    // Everything that was signed still is, whatever became of the keys.
    let read = ["subscribe", "--as", "fr-dnpaf", "--count", "4", "--verify", "--timeout", "20s"];
    let output = exchange.run(&read);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    let by: Vec<Value> = lines(&output).iter().map(|line| line["signed"]["key"].clone()).collect();
    assert_eq!(by, [first.clone(), second.clone(), first, second.clone()]);
    let (code, _, told) = keys("revoke", &[]);
    assert_eq!(code, Some(0), "{told}");
    assert!(!file.exists(), "the secret half of a revoked key goes away");
    let foreign = encoded(key(7).verifying_key().as_bytes());
    let (code, made, told) = keys("new", &["--public-key", &foreign, "--id", "from-home"]);
    assert_eq!((code, &made[0]["public_key"]), (Some(0), &json!(foreign)), "{told}");
    assert!(!file.exists(), "its secret half is elsewhere");
    let (code, _, told) = keys("rotate", &["--public-key", "nonsense\"\n"]);
    assert_eq!(code, Some(78), "nothing is written that could not be read: {told}");
    assert!(exchange.reload().await);
}
