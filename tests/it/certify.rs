//! Acceptance of a member-state system: our own client passes, and clients with bad habits fail where they must.
//!
//! The clients are small programs around the binary and nats-py, which know nothing of the certifier.

use std::path::Path;
use std::time::Duration;

use liaison::sim::certify::{Certificate, CertifyError, Options, Scenario, Verdict, run};

use super::foreign::{packages, python};
use super::harness::{Exchange, few_parties};

/// A command that runs one of the clients.
fn client(name: &str, habit: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clients").join(name);
    format!(
        "PYTHONPATH='{}' exec python3 '{}' '{}' {habit}",
        packages().to_string_lossy(),
        file.display(),
        env!("CARGO_BIN_EXE_liaison")
    )
}

fn options(exchange: &Exchange, habits: (&str, &str)) -> Options {
    Options {
        post: Some("tr-03".parse().expect("a post")),
        publisher: Some(client("publisher.py", habits.0)),
        subscriber: Some(client("subscriber.py", habits.1)),
        limit: Duration::from_secs(60),
        outage: 16,
        burst: 60,
        ..Options::new(exchange.data.clone(), "de-bpol".parse().expect("a party"))
    }
}

fn verdicts(certificate: &Certificate) -> Vec<(&str, Verdict)> {
    certificate.scenarios.iter().map(|shown| (shown.scenario, shown.verdict)).collect()
}

/// The checks of a scenario that failed.
fn failed<'a>(certificate: &'a Certificate, scenario: &str) -> Vec<&'a str> {
    let shown = certificate.scenarios.iter().find(|shown| shown.scenario == scenario).expect("was tried");
    let failed = shown.checks.iter().filter(|check| check.verdict == Verdict::Fail);
    failed.map(|check| check.words).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_own_client_is_accepted() {
    if python().is_none() {
        return;
    }
    let exchange = Exchange::small("").await;
    let options = options(&exchange, ("", ""));
    let certificate = run(options).await.expect("certifies");
    assert_eq!(certificate.verdict, Verdict::Pass, "{}", certificate.text());
    assert_eq!(certificate.scenarios.len(), Scenario::ALL.len());
    let document = certificate.to_json();
    assert_eq!(document["verdict"], "pass");
    assert_eq!(document["scenarios"][3]["scenario"], "outage");
    assert_eq!(document["scenarios"][5]["scenario"], "slow-consumer");
    assert!(certificate.markdown().contains("| outage | pass |"), "{}", certificate.markdown());
}

/// Over TLS the certifier stands between with the server's key; and a client that keeps the running digest finds out that it was changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_careful_client_is_accepted_over_tls() {
    if python().is_none() {
        return;
    }
    let registry =
        |data: &Path| std::fs::write(data.join("network.toml"), few_parties()).expect("a registry");
    let exchange = Exchange::with(&["--tls"], registry).await;
    let scenarios = vec![Scenario::Valid, Scenario::Outage, Scenario::Altered, Scenario::Erasure];
    let options = Options { scenarios, ..options(&exchange, ("", "careful")) };
    let certificate = run(options).await.expect("certifies");
    assert_eq!(certificate.verdict, Verdict::Pass, "{}", certificate.text());
    let altered = &certificate.scenarios[2];
    assert_eq!(altered.checks.len(), 5, "both changes were made: {}", certificate.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_habits_are_found() {
    if python().is_none() {
        return;
    }
    let exchange = Exchange::small("").await;
    let with = |habits, scenarios: &[Scenario], seconds| Options {
        scenarios: scenarios.to_vec(),
        limit: Duration::from_secs(seconds),
        burst: 30,
        ..options(&exchange, habits)
    };
    let stubborn = with(("stubborn", "deaf"), &[Scenario::Invalid, Scenario::Recall], 8);
    let certificate = run(stubborn).await.expect("certifies");
    assert_eq!(
        failed(&certificate, "invalid"),
        [
            "reports each refusal with its code",
            "does not send a refused message again unchanged more than once"
        ],
        "{}",
        certificate.text()
    );
    assert_eq!(failed(&certificate, "recall"), ["confirms that a retracted message is gone"]);

    let renaming = with(("new-id", "taker"), &[Scenario::Valid, Scenario::Outage, Scenario::Burst], 20);
    let certificate = run(renaming).await.expect("certifies");
    assert_eq!(
        verdicts(&certificate),
        [("valid", Verdict::Pass), ("outage", Verdict::Fail), ("burst", Verdict::Fail)],
        "{}",
        certificate.text()
    );
    let strange = "sends what it was given, byte for byte and nothing else";
    assert!(failed(&certificate, "outage").contains(&strange), "{}", certificate.text());
    assert_eq!(failed(&certificate, "burst"), ["acknowledges everything"], "{}", certificate.text());
    assert_eq!(certificate.verdict, Verdict::Fail);

    let trusting = with(("", "trusting"), &[Scenario::Altered, Scenario::Erasure], 20);
    let certificate = run(trusting).await.expect("certifies");
    let taken = [
        "takes no letter whose bytes are not those of its digest",
        "takes no letter whose running digest does not follow from the one before",
        "keeps the running digest of the feed, if it tells one",
    ];
    assert_eq!(failed(&certificate, "altered"), taken, "{}", certificate.text());
    assert_eq!(failed(&certificate, "erasure"), ["confirms that an erased message is gone"]);

    let eager = with(("", "eager"), &[Scenario::SlowConsumer], 20);
    let certificate = run(eager).await.expect("certifies");
    let early = "acknowledges no more than it could hand on";
    assert!(failed(&certificate, "slow-consumer").contains(&early), "{}", certificate.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_command_nothing_is_passed() {
    let exchange = Exchange::small("").await;
    // A post that does not exist is told at once, as a party is.
    let nobody = Options { post: Some("zz-99".parse().expect("a post")), ..options(&exchange, ("", "")) };
    let told = tokio::time::timeout(Duration::from_secs(10), run(nobody)).await.expect("at once");
    assert!(matches!(told, Err(CertifyError::Keys(_))), "{told:?}");
    // One whose commands end at once is waited for no longer.
    let gone = Options {
        publisher: Some("exit 1".to_owned()),
        subscriber: Some("exit 1".to_owned()),
        scenarios: vec![Scenario::Valid, Scenario::Outage, Scenario::Burst, Scenario::Recall],
        ..options(&exchange, ("", ""))
    };
    let certificate = tokio::time::timeout(Duration::from_secs(50), run(gone)).await.expect("soon");
    let certificate = certificate.expect("certifies");
    assert!(verdicts(&certificate).iter().all(|(_, verdict)| *verdict == Verdict::Fail), "{certificate:?}");
    let none = Options { publisher: None, subscriber: None, ..options(&exchange, ("", "")) };
    let certificate = run(none).await.expect("certifies");
    assert!(verdicts(&certificate).iter().all(|(_, verdict)| *verdict == Verdict::NotObserved));
    assert_eq!(certificate.verdict, Verdict::NotObserved);
}
