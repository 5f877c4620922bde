//! The configuration of nats-server: an account a party, users with allow-lists, everything else closed.
//!
//! Subjects cross between a party's account and `CORE` by service import and export, so that the server rewrites reply
//! subjects: a publisher cannot make it write where it may not itself. Each user has an allow-list and an inbox prefix
//! of its own, because users of one account are not separated by the account. No secret is in the text.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::connect::Role;
use super::keyring::User;
use super::keys::Keys;
use super::tls::Tls;
use super::{intake_stream, mailbox_stream};
use crate::message::names::{PartyId, PostId};
use crate::message::subject;

/// A party and its posts, as far as the road needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The party.
    pub party: PartyId,
    /// Its posts.
    pub posts: Vec<PostId>,
}

/// What an operator may choose.
#[derive(Debug, Clone)]
pub struct Options {
    /// Address to listen on; port -1 takes a free one.
    pub listen: String,
    /// Directory of JetStream's store.
    pub store: PathBuf,
    /// Bytes that JetStream may reserve for streams; the sum of all streams' limits must fit.
    pub store_bytes: u64,
    /// Certificate and key of the server, and the authority of its clients'; without them lines are open.
    pub tls: Option<Tls>,
    /// Which server of a cluster it is; a server alone unless given.
    pub seat: Option<Seat>,
}

/// A server's place in a cluster.
#[derive(Debug, Clone)]
pub struct Seat {
    /// Its own name.
    pub name: String,
    /// Where it listens for the others.
    pub listen: String,
    /// Where the others do.
    pub routes: Vec<String>,
    /// The key by which its servers know each other (`certificates::pin`): with TLS nobody else comes in by the routes.
    pub pin: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:4222".to_owned(),
            store: "jetstream".into(),
            store_bytes: 1 << 40,
            seat: None,
            tls: None,
        }
    }
}

/// Largest payload that the server takes: beyond the largest message (256 KiB), so that one that is too large is
/// answered with a refusal instead of a cut connection, and enough for a page of a replay.
const MAX_PAYLOAD: usize = 1 << 20;
/// Connections that an account may have beside those of its posts.
const CONNECTIONS_SPARE: usize = 64;

/// The whole configuration.
///
/// A member without keys in `keys` gets no user and so cannot log in: its keys were revoked.
#[must_use]
pub fn configuration(members: &[Member], keys: &Keys, options: &Options) -> String {
    let mut text = String::new();
    put(
        &mut text,
        "# Written by `liaison nats-config` from the registry; changes here are lost. Public keys only.",
    );
    put(&mut text, &format!("listen: {}", quoted(&options.listen)));
    let name = options.seat.as_ref().map_or("liaison-nats", |seat| seat.name.as_str());
    put(&mut text, &format!("server_name: {}", quoted(name)));
    if let Some(tls) = &options.tls {
        closed(&mut text, tls, None);
    }
    if let Some(seat) = &options.seat {
        seated(&mut text, seat, options.tls.as_ref());
    }
    put(&mut text, &format!("max_payload: {MAX_PAYLOAD}"));
    put(&mut text, "max_connections: 65536");
    let store = options.store.display().to_string();
    put(
        &mut text,
        &format!(
            "jetstream {{ store_dir: {}, max_mem: 64MB, max_file: {} }}",
            quoted(&store),
            options.store_bytes
        ),
    );
    put(&mut text, "system_account: SYS");
    put(&mut text, "accounts {");
    put(&mut text, &format!("  SYS: {{ users: [ {{ nkey: {} }} ] }}", public(keys, Role::System)));
    // Without this decoy an account without JetStream answers CONSUMER.INFO itself, wrongly, before CORE does.
    put(&mut text, "  NOJS: { exports: [ { service: \"$JS.API.INFO\" } ] }");
    core(&mut text, members, keys);
    for member in members {
        account(&mut text, member, keys);
    }
    put(&mut text, "}");
    text
}

/// Between servers a silent line is closed after 20 s, not after 90: what is written to it meanwhile is lost, and who waits for an answer
/// waits as long. Much less closes lines of servers that are only busy (decision 0019).
const ROUTE_PINGS: &str = "ping_interval: \"5s\", ping_max: 3";

/// Matches no key: who has TLS and no pin has no routes rather than open ones.
const NOBODY: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Where the servers of a cluster find each other, with TLS between them if there is any for clients. A route speaks for every
/// account without an nkey, and the authority certified the parties too: so one certificate is let in here, that of the servers.
fn seated(text: &mut String, seat: &Seat, tls: Option<&Tls>) {
    let routes: Vec<String> = seat.routes.iter().map(|route| quoted(&format!("nats://{route}"))).collect();
    let (listen, routes) = (quoted(&seat.listen), routes.join(", "));
    // A line of which nothing is heard is closed after 90 s, also one between servers: what a process that hung still holds
    // must not come when the ids of what was sent in its place are forgotten (`streams.rs`).
    put(text, "ping_interval: \"30s\"");
    put(text, "ping_max: 2");
    put(text, &format!("cluster {{ name: liaison, listen: {listen}, {ROUTE_PINGS}, routes: [ {routes} ]"));
    if let Some(tls) = tls {
        closed(text, tls, seat.pin.as_deref().or(Some(NOBODY)));
    }
    put(text, "}");
}

/// TLS 1.3 alone, and no client without a certificate, or without this one. The handshake has time enough for five hundred at
/// once on a busy machine.
fn closed(text: &mut String, tls: &Tls, pin: Option<&str>) {
    let path = |path: &Path| quoted(&path.display().to_string());
    put(text, "tls {");
    put(text, &format!("  cert_file: {}", path(&tls.certificate)));
    put(text, &format!("  key_file: {}", path(&tls.key)));
    put(text, &format!("  ca_file: {}", path(&tls.ca)));
    put(text, "  verify: true");
    if let Some(pin) = pin {
        put(text, &format!("  pinned_certs: [ {} ]", quoted(pin)));
    }
    put(text, "  min_version: \"1.3\"");
    put(text, "  timeout: 5");
    put(text, "}");
}

fn put(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn public(keys: &Keys, role: Role) -> &str {
    keys.of_broker(role).unwrap_or_default()
}

/// `{nkey: …, permissions: {publish: {allow: […]}, subscribe: {allow: […]}}}`
fn user(text: &mut String, key: &str, publish: &[String], subscribe: &[String]) {
    let list = |subjects: &[String]| {
        subjects.iter().fold(String::new(), |mut list, subject| {
            if !list.is_empty() {
                list.push_str(", ");
            }
            list.push_str(&quoted(subject));
            list
        })
    };
    let result = writeln!(
        text,
        "      {{ nkey: {key}, permissions: {{\n          publish: {{ allow: [{}] }},\n          subscribe: {{ allow: [{}] }} }} }}",
        list(publish),
        list(subscribe)
    );
    result.expect("writing to a String must not fail");
}

fn core(text: &mut String, members: &[Member], keys: &Keys) {
    put(text, "  CORE: {");
    put(text, "    jetstream: enabled");
    put(text, "    users: [");
    for (role, publish, subscribe) in broker_rights(members) {
        user(text, public(keys, role), &publish, &subscribe);
    }
    put(text, "    ]");
    put(text, "    exports: [");
    for member in members {
        let account = format!("A_{}", subject::upper(&member.party));
        for (kind, subject) in shared(&member.party) {
            let response = if kind == Shared::Letters { ", response_type: stream" } else { "" };
            put(
                text,
                &format!(
                    "      {{ {}: {}{response}, accounts: [{account}] }}",
                    kind.word(),
                    quoted(&subject)
                ),
            );
        }
    }
    put(text, "    ]");
    put(text, "  }");
}

/// The rights of each user of the broker.
fn broker_rights(members: &[Member]) -> Vec<(Role, Vec<String>, Vec<String>)> {
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    // Each party's intake is read over a connection of its own, and nats-server keeps a copy of these rights for each: what
    // is listed by party counts squared. So only what makes a stream readable is: none but an intake stream has a consumer
    // of this name.
    let mut intake = texts(&["$JS.API.STREAM.INFO.*", "$JS.ACK.*.intake.>"]);
    for call in ["CONSUMER.MSG.NEXT", "CONSUMER.INFO", "CONSUMER.DELETE"] {
        intake.push(format!("$JS.API.{call}.*.intake"));
    }
    let mut egress = texts(&["ilo.out.>", "ilo.rcpt.>", "$JS.API.STREAM.MSG.GET.RCPT"]);
    for member in members {
        let (stream, mailbox) = (intake_stream(&member.party), mailbox_stream(&member.party));
        intake.push(format!("$JS.API.CONSUMER.CREATE.{stream}.intake"));
        intake.push(format!("$JS.API.STREAM.MSG.GET.{stream}"));
        for call in ["STREAM.INFO", "STREAM.MSG.GET", "STREAM.MSG.DELETE", "STREAM.PURGE"] {
            egress.push(format!("$JS.API.{call}.{mailbox}"));
        }
        // Personal data do not wait in the intake stream until they are a week old.
        for call in ["STREAM.MSG.GET", "STREAM.MSG.DELETE"] {
            egress.push(format!("$JS.API.{call}.{stream}"));
        }
        egress.push(format!("$JS.API.CONSUMER.INFO.{mailbox}.main"));
    }
    let mut replica = texts(&["ilo.journal.>", "$KV.LEASE.>"]);
    for call in ["STREAM.INFO", "STREAM.MSG.GET", "STREAM.MSG.DELETE"] {
        replica.push(format!("$JS.API.{call}.JOURNAL_0"));
    }
    replica.push("$JS.API.STREAM.MSG.GET.KV_LEASE".to_owned());
    // `_R_.>` is where the server expects answers to requests from other accounts.
    let mut control = texts(&["_R_.>", "_INBOX_operator.>", "_INBOX_admin.>", "$KV.SUBS.>"]);
    for call in
        ["STREAM.INFO.KV_SUBS", "STREAM.MSG.GET.KV_SUBS", "DIRECT.GET.KV_SUBS", "DIRECT.GET.KV_SUBS.>"]
    {
        control.push(format!("$JS.API.{call}"));
    }
    // The client makes nameless ordered consumers to list and to follow the bucket.
    control.push("$JS.API.CONSUMER.CREATE.KV_SUBS".to_owned());
    for call in ["CREATE", "DELETE", "INFO"] {
        control.push(format!("$JS.API.CONSUMER.{call}.KV_SUBS.>"));
    }
    control.push("$JS.FC.KV_SUBS.>".to_owned());
    vec![
        (Role::Admin, texts(&["$JS.API.>", "$SRV.>"]), texts(&["_INBOX_admin.>"])),
        (Role::Intake, intake, texts(&["_INBOX_intake.>"])),
        (Role::Egress, egress, texts(&["_INBOX_egress.>"])),
        (Role::Control, control, texts(&["_INBOX_control.>", "ilo.svc.>", "$SRV.>"])),
        (Role::Replica, replica, texts(&["_INBOX_replica.>"])),
        (
            Role::Operator,
            texts(&[
                "$SRV.>",
                "$JS.API.INFO",
                "$JS.API.STREAM.INFO.*",
                "$JS.API.STREAM.NAMES",
                "$JS.API.CONSUMER.INFO.*.*",
            ]),
            texts(&["_INBOX_operator.>"]),
        ),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shared {
    /// Request and one answer.
    Service,
    /// A pull and many answers. Only here: every such request leaves a reply mapping in `CORE` for a while.
    Letters,
    /// Live receipts.
    Stream,
}

impl Shared {
    fn word(self) -> &'static str {
        match self {
            Self::Service | Self::Letters => "service",
            Self::Stream => "stream",
        }
    }
}

/// What `CORE` shares with the account of a party.
fn shared(party: &PartyId) -> [(Shared, String); 7] {
    let mailbox = mailbox_stream(party);
    [
        (Shared::Service, format!("ilo.in.{party}.>")),
        (Shared::Service, format!("ilo.svc.{party}.>")),
        (Shared::Letters, format!("$JS.API.CONSUMER.MSG.NEXT.{mailbox}.main")),
        (Shared::Service, format!("$JS.API.CONSUMER.INFO.{mailbox}.main")),
        (Shared::Service, format!("$JS.ACK.{mailbox}.main.>")),
        (Shared::Service, format!("$JS.API.DIRECT.GET.RCPT.ilo.rcpt.{party}.>")),
        (Shared::Stream, format!("ilo.rcpt.{party}.>")),
    ]
}

fn account(text: &mut String, member: &Member, keys: &Keys) {
    let party = &member.party;
    let connections = CONNECTIONS_SPARE + 4 * member.posts.len();
    put(text, &format!("  A_{}: {{", subject::upper(party)));
    put(
        text,
        &format!("    limits: {{ max_connections: {connections}, max_subscriptions: {} }}", connections * 8),
    );
    put(text, "    users: [");
    let shared = shared(party);
    let of = |post: Option<&PostId>| User { party: party.clone(), post: post.cloned() };
    // More than one while a new key takes the place of an old one: the same rights for both.
    for key in keys.of_party(&of(None)) {
        let publish: Vec<String> = shared
            .iter()
            .filter(|(kind, _)| *kind != Shared::Stream)
            .map(|(_, subject)| subject.clone())
            .collect();
        let inbox = format!("_INBOX_{party}-system.>");
        user(text, key.as_str(), &publish, &[inbox, format!("ilo.rcpt.{party}.>")]);
    }
    for post in &member.posts {
        let receipts = format!("ilo.rcpt.{party}.{post}.>");
        let publish = [format!("ilo.in.{party}.{post}.>"), format!("$JS.API.DIRECT.GET.RCPT.{receipts}")];
        for key in keys.of_party(&of(Some(post))) {
            user(text, key.as_str(), &publish, &[format!("_INBOX_{party}-{post}.>"), receipts.clone()]);
        }
    }
    put(text, "    ]");
    put(text, "    imports: [");
    put(text, "      { service: { account: NOJS, subject: \"$JS.API.INFO\" } }");
    for (kind, subject) in &shared {
        put(text, &format!("      {{ {}: {{ account: CORE, subject: {} }} }}", kind.word(), quoted(subject)));
    }
    put(text, "    ]");
    put(text, "  }");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each account imports nothing but what bears its own token, and every user has an allow-list.
    #[test]
    fn an_account_imports_only_its_own() {
        let member = |party: &str, posts: &[&str]| Member {
            party: PartyId::parse(party).expect("well formed"),
            posts: posts.iter().map(|post| PostId::parse(post).expect("well formed")).collect(),
        };
        let members = [member("de-bpol", &["tr-03"]), member("fr-dnpaf", &[])];
        let directory = tempfile::tempdir().expect("temp dir");
        let keys = super::super::keys::ensure(directory.path(), &members).expect("makes keys");
        let text = configuration(&members, &keys, &Options::default());
        let block = text.split("  A_DE_BPOL: {").nth(1).expect("an account");
        let block = block.split("\n  }\n").next().expect("its end");
        let imports = block.split("imports: [").nth(1).expect("imports");
        for line in imports.lines().filter(|line| line.contains("subject:")) {
            let own =
                line.contains("de-bpol") || line.contains("MBOX_DE_BPOL") || line.contains("account: NOJS");
            assert!(own, "{line}");
        }
        assert!(!block.contains("fr-dnpaf") && !block.contains("FR_DNPAF"));
        assert_eq!(
            text.matches("nkey:").count(),
            text.matches("permissions:").count() + 1,
            "only SYS has none"
        );
        assert_eq!(block.matches("nkey:").count(), 2);
        for seed in ["SU", "SA"] {
            assert!(!text.split('"').any(|part| part.len() == 58 && part.starts_with(seed)), "a seed");
        }
    }

    /// Accounts, users and rights are those of a server alone, on each server of a cluster.
    #[test]
    fn servers_of_a_cluster_differ_in_their_places_alone() {
        let directory = tempfile::tempdir().expect("temp dir");
        let keys = super::super::keys::ensure(directory.path(), &[]).expect("makes keys");
        let seat = Seat {
            name: "n2".to_owned(),
            listen: "10.0.0.2:6222".to_owned(),
            routes: vec!["10.0.0.1:6222".to_owned(), "10.0.0.3:6222".to_owned()],
            pin: None,
        };
        let alone = configuration(&[], &keys, &Options::default());
        let one_of_three = configuration(&[], &keys, &Options { seat: Some(seat), ..Options::default() });
        let known: Vec<&str> = alone.lines().collect();
        let new: Vec<&str> = one_of_three.lines().filter(|line| !known.contains(line)).collect();
        let routes = "routes: [ \"nats://10.0.0.1:6222\", \"nats://10.0.0.3:6222\" ]";
        let listen = "listen: \"10.0.0.2:6222\", ping_interval: \"5s\", ping_max: 3";
        let cluster = format!("cluster {{ name: liaison, {listen}, {routes}");
        assert_eq!(new, ["server_name: \"n2\"", "ping_interval: \"30s\"", "ping_max: 2", cluster.as_str()]);
    }

    /// Routes speak for all accounts: with TLS only the servers' own key opens them, and without that key nobody's does.
    #[test]
    fn routes_are_for_one_certificate_and_clients_are_for_many() {
        let directory = tempfile::tempdir().expect("temp dir");
        let keys = super::super::keys::ensure(directory.path(), &[]).expect("makes keys");
        let pin = "5a".repeat(32);
        let seat = |pin: Option<&str>| Seat {
            name: "n1".to_owned(),
            listen: "10.0.0.1:6222".to_owned(),
            routes: Vec::new(),
            pin: pin.map(str::to_owned),
        };
        for (given, wanted) in [(Some(pin.as_str()), pin.as_str()), (None, NOBODY)] {
            let tls = Some(Tls::of_server(directory.path()));
            let text =
                configuration(&[], &keys, &Options { seat: Some(seat(given)), tls, ..Options::default() });
            let (clients, routes) = text.split_once("cluster {").expect("a cluster");
            assert!(clients.contains("verify: true") && !clients.contains("pinned_certs"), "{clients}");
            let routes = routes.split("max_payload").next().expect("its end");
            assert!(routes.contains(&format!("pinned_certs: [ \"{wanted}\" ]")), "{routes}");
        }
        let open = configuration(&[], &keys, &Options { seat: Some(seat(None)), ..Options::default() });
        assert!(!open.contains("tls {"), "{open}");
    }
}
