//! NATS: whether it is there, configured as it must be, on time, and whether intake and mailboxes are read.

use std::time::Duration;

use super::finding;
use super::finding::{Finding, Runbook, Severity};
use crate::broker::Trouble;
use crate::broker::survey::{Queue, Survey};
use crate::message::time::{self, Timestamp};
use crate::wire::Error;
use crate::wire::survey::{Server, Sync};

/// Messages in an intake stream that are more than a moment's work.
const LAG: u64 = 10_000;
/// How far clocks may be apart, milliseconds: beyond the first it is seen in the data, beyond the second rules refuse messages.
const SKEW_MS: u64 = 2_000;
const SKEW_BAD_MS: u64 = 60_000;
/// Nobody has read a mailbox for so long.
const UNREAD: Duration = Duration::from_secs(24 * 3600);
/// Days before the end of a certificate at which it is told, and at which it is urgent.
pub const CERTIFICATE_DAYS: i64 = 30;
const CERTIFICATE_URGENT_DAYS: i64 = 7;
/// Most letters that a reader may have without acknowledging one; then it gets no more.
const MOST_UNACKNOWLEDGED: u64 = 1_000;

/// All findings of a survey; `alive` if the broker runs.
pub fn nats(seen: &Survey, alive: bool) -> Vec<Finding> {
    let mut found = troubles(&seen.troubles);
    if let Some(server) = &seen.server {
        found.extend(of_server(server, time::now()));
    }
    found.extend(seen.unseen.as_ref().filter(|_| seen.troubles.is_empty()).map(|error| {
        finding(
            Severity::Notice,
            Runbook::SyncInterval,
            format!("nats-server could not be asked about itself: {error}"),
            "its sync_interval, certificate, clock and store are not seen",
            "put keys/broker/sys.nk there to see them",
        )
    }));
    found.extend(seen.intakes.iter().flat_map(|intake| of_intake(intake, alive)));
    found.extend(seen.mailboxes.iter().flat_map(|mailbox| of_mailbox(mailbox, time::now())));
    found
}

/// The same for every user is told once.
fn troubles(troubles: &[Trouble]) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for trouble in troubles {
        let (runbook, why, action) = explained(&trouble.error);
        let lines = match &trouble.error {
            Error::Unreachable(_) => vec![format!("NATS: {}", trouble.error)],
            _ => trouble.lines(),
        };
        for what in lines {
            if !found.iter().any(|finding| finding.what == what) {
                found.push(finding(Severity::Critical, runbook, what, why, action));
            }
        }
    }
    found
}

fn explained(error: &Error) -> (Runbook, &'static str, &'static str) {
    match error {
        Error::Unreachable(_) | Error::Server(_) | Error::Api { .. } => (
            Runbook::NatsDisconnected,
            "nothing is taken and nothing is delivered; what parties send is refused to them or waits",
            "look whether nats-server runs and listens there; then `[nats] url`",
        ),
        Error::Denied(_) | Error::Key { .. } | Error::NotDone(_) => (
            Runbook::Keys,
            "the broker is not let in, or not let do its work",
            "write the NATS configuration from the same keys and reload nats-server twice",
        ),
        Error::Fenced(_) => (
            Runbook::NatsDisconnected,
            "another instance of the cluster serves: this one writes nothing",
            "nothing, if it does; `liaison doctor` on its machine tells",
        ),
        Error::TooOld(_) => (
            Runbook::Streams,
            "older servers ignore settings that the promises stand on, without a word",
            "install nats-server 2.12.7 or later of that line, or 2.14 and later",
        ),
        Error::Drift(_) => (
            Runbook::Streams,
            "the broker does not start beside streams or consumers that are not as they must be",
            "set back what the line names, or let the broker make what is missing by starting it",
        ),
    }
}

fn of_server(server: &Server, now: Timestamp) -> Vec<Finding> {
    let mut found = Vec::new();
    let skew = server.ahead_ms.unsigned_abs();
    if skew > SKEW_MS {
        found.push(finding(
            if skew > SKEW_BAD_MS { Severity::Critical } else { Severity::Warning },
            Runbook::ClockSkew,
            format!("the clock of nats-server is {} ms from this machine's", server.ahead_ms),
            "arrival times, rate limits and deadlines are judged by both clocks",
            "let both machines follow the same time service",
        ));
    }
    found.extend(
        server.certificate_until.and_then(|until| ending("the certificate of nats-server", until, now)),
    );
    if let Some(Sync::Every(interval)) = server.sync.filter(|sync| *sync != Sync::Always) {
        found.push(finding(
            Severity::Notice,
            Runbook::SyncInterval,
            format!("nats-server puts streams on the disk every {} s", interval.as_secs()),
            "a power cut takes what was only queued in it since then; what was receipted is in the archive and is delivered again",
            "nothing, or `sync_interval: always` in its configuration at the price of speed",
        ));
    }
    let fills = |used: u64, most: u64| most > 0 && used > most - most / 5;
    if fills(server.stored, server.most_stored) {
        found.push(finding(
            Severity::Warning,
            Runbook::MailboxStalled,
            format!("JetStream holds {} of {} MiB", server.stored >> 20, server.most_stored >> 20),
            "when it is full, intake refuses messages and mailboxes take none",
            "raise max_file, or see which mailboxes are not read",
        ));
    }
    if fills(server.connections, server.most_connections) {
        found.push(finding(
            Severity::Warning,
            Runbook::NatsDisconnected,
            format!("{} of {} connections are open", server.connections, server.most_connections),
            "the next ones are turned away, the broker's own among them",
            "see who has so many; raise max_connections",
        ));
    }
    found
}

/// The end of a certificate, if it is near.
pub fn ending(whose: &str, until: Timestamp, now: Timestamp) -> Option<Finding> {
    let days = until.duration_since(now).as_hours() / 24;
    (days < CERTIFICATE_DAYS).then(|| {
        finding(
            if days < CERTIFICATE_URGENT_DAYS { Severity::Critical } else { Severity::Warning },
            Runbook::Certificate,
            format!("{whose} is valid until {}", time::rfc3339(until)),
            "after that nobody connects with it any more",
            "put a new certificate in its place; reload nats-server if it is the server's",
        )
    })
}

fn of_intake(intake: &Queue, alive: bool) -> Vec<Finding> {
    let Queue { party, stream, reader } = intake;
    let mut found = Vec::new();
    // Without a reader nobody has noted how far it was read: the broker makes it when it starts.
    let waiting = reader.map_or(0, |reader| reader.waiting);
    if alive && reader.is_none() && stream.messages > 0 {
        found.push(finding(
            Severity::Critical,
            Runbook::IntakeInterrupted,
            format!("nobody reads the intake of {party}, which holds {} messages", stream.messages),
            "its messages get no receipt",
            "the log names the party and the reason; the broker tries again by itself",
        ));
    }
    if waiting > LAG {
        found.push(finding(
            if alive { Severity::Warning } else { Severity::Critical },
            Runbook::IntakeLag,
            format!("{waiting} messages of {party} wait to be read"),
            "receipts and deliveries come late; after seven days a message that was never read is gone",
            "start the broker if it does not run; else see which of disk, processor and NATS is at its limit",
        ));
    }
    if is_nearly_full(stream.bytes, stream.most_bytes) && waiting > 0 {
        found.push(finding(
            Severity::Warning,
            Runbook::IntakeLag,
            format!("the intake of {party} is nearly full"),
            "what does not fit is refused to its sender",
            "see why it is not read; or raise `[nats] intake_bytes`",
        ));
    }
    found
}

fn of_mailbox(mailbox: &Queue, now: Timestamp) -> Vec<Finding> {
    let Queue { party, stream, reader } = mailbox;
    let mut found = Vec::new();
    let Some(reader) = reader else { return found }; // told as a difference
    if is_nearly_full(stream.bytes, stream.most_bytes) {
        found.push(finding(
            Severity::Warning,
            Runbook::MailboxStalled,
            format!(
                "the mailbox of {party} is nearly full: {} letters, {} MiB",
                stream.messages,
                stream.bytes >> 20
            ),
            "when it is full its deliveries wait in the archive; no other authority is affected",
            "the authority must read and acknowledge; or raise `[nats] mailbox_bytes`",
        ));
    }
    if reader.unacknowledged >= MOST_UNACKNOWLEDGED {
        found.push(finding(
            Severity::Warning,
            Runbook::MailboxNotRead,
            format!("{party} has {} letters and acknowledges none", reader.unacknowledged),
            "it gets no further ones until it does",
            "tell the authority that its program must acknowledge each letter that it has kept",
        ));
    }
    let since = reader.last_acknowledged.or(stream.oldest);
    let unread = since.is_some_and(|since| now.duration_since(since).unsigned_abs() > UNREAD && since < now);
    if reader.waiting > 0 && reader.pulls == 0 && unread {
        found.push(finding(
            Severity::Warning,
            Runbook::MailboxNotRead,
            format!("nobody has read the mailbox of {party} for a day; {} letters wait", reader.waiting),
            "warnings do not reach those they were written for",
            "call the authority; its deliveries are kept",
        ));
    }
    found
}

fn is_nearly_full(used: u64, most: Option<u64>) -> bool {
    most.is_some_and(|most| most > 0 && used > most - most / 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::names::PartyId;
    use crate::wire::survey::{Reader, Stream};

    fn now() -> Timestamp {
        "2026-03-02T10:00:00Z".parse().expect("an instant")
    }

    fn server() -> Server {
        Server {
            version: "2.15.1".to_owned(),
            ahead_ms: 3,
            sync: Some(Sync::Always),
            certificate_until: None,
            connections: 5,
            most_connections: 100,
            stored: 1,
            most_stored: 100,
        }
    }

    fn queue(stream: Stream, reader: Option<Reader>) -> Queue {
        Queue { party: PartyId::parse("de-bpol").expect("well formed"), stream, reader }
    }

    fn told(findings: &[Finding]) -> Vec<(Severity, &'static str)> {
        findings.iter().map(|finding| (finding.severity, finding.runbook.heading())).collect()
    }

    #[test]
    fn a_server_is_told_what_it_lacks() {
        assert!(of_server(&server(), now()).is_empty());
        let at = |text: &str| text.parse().ok();
        let seconds = |seconds| Some(Sync::Every(Duration::from_secs(seconds)));
        let cases = [
            (Server { ahead_ms: -2_500, ..server() }, Severity::Warning, "LiaisonClockSkew"),
            (Server { ahead_ms: 3_600_000, ..server() }, Severity::Critical, "LiaisonClockSkew"),
            (Server { sync: seconds(120), ..server() }, Severity::Notice, "Sync interval"),
            (
                Server { certificate_until: at("2026-03-20T00:00:00Z"), ..server() },
                Severity::Warning,
                "Certificate runs out",
            ),
            (
                Server { certificate_until: at("2026-02-20T00:00:00Z"), ..server() },
                Severity::Critical,
                "Certificate runs out",
            ),
            (Server { stored: 90, ..server() }, Severity::Warning, "LiaisonMailboxStalled"),
            (Server { connections: 90, ..server() }, Severity::Warning, "LiaisonNatsDisconnected"),
        ];
        for (server, severity, heading) in cases {
            assert_eq!(told(&of_server(&server, now())), [(severity, heading)], "{server:?}");
        }
        let valid = Server { certificate_until: at("2027-03-20T00:00:00Z"), ..server() };
        assert!(of_server(&valid, now()).is_empty());
    }

    #[test]
    fn intake_and_mailboxes_are_told_when_nobody_reads_them() {
        let stream = Stream { messages: 5, bytes: 50, most_bytes: Some(1_000), oldest: Some(now()) };
        let reader = Reader { waiting: 0, unacknowledged: 0, pulls: 1, last_acknowledged: None };
        let long_ago = "2026-02-02T10:00:00Z".parse().ok();
        assert!(of_intake(&queue(stream, Some(reader)), true).is_empty());
        assert_eq!(
            told(&of_intake(&queue(stream, None), true)),
            [(Severity::Critical, "LiaisonIntakeInterrupted")]
        );
        assert!(of_intake(&queue(stream, None), false).is_empty(), "a dead broker reads nothing");
        let behind = Reader { waiting: LAG + 1, ..reader };
        assert_eq!(
            told(&of_intake(&queue(stream, Some(behind)), true)),
            [(Severity::Warning, "LiaisonSlowArchive")]
        );
        assert!(of_mailbox(&queue(stream, Some(reader)), now()).is_empty());
        let cases = [
            (Stream { bytes: 950, ..stream }, reader, "LiaisonMailboxStalled"),
            (stream, Reader { waiting: 1_000, unacknowledged: 1_000, ..reader }, "LiaisonMailboxNotRead"),
            (
                stream,
                Reader { waiting: 5, pulls: 0, last_acknowledged: long_ago, ..reader },
                "LiaisonMailboxNotRead",
            ),
            (
                Stream { oldest: long_ago, ..stream },
                Reader { waiting: 5, pulls: 0, ..reader },
                "LiaisonMailboxNotRead",
            ),
        ];
        for (stream, reader, heading) in cases {
            let found = of_mailbox(&queue(stream, Some(reader)), now());
            assert_eq!(told(&found), [(Severity::Warning, heading)], "{stream:?} {reader:?}");
        }
    }
}
