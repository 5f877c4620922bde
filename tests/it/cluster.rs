//! A cluster: an instance dies with its disk, hangs and wakes up, servers die under load; nothing receipted is lost.
//!
//! `LIAISON_DEATHS` says how many instances die one after the other, `LIAISON_LEADERS` how many servers that lead.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::auditor::audit;
use super::control::{CANARY, control, files_with, order, reference, send};
use super::crash::free_port;
use super::harness::{
    Dice, REPORT_SUBJECT, api, ends, example, fresh_id, liaison, log_of, report, setting, shifted, until,
};
use super::instances::{Instances, hang, journal, serve};
use super::load::Load;

/// Until another instance serves.
const TAKEOVER: Duration = Duration::from_secs(15);

/// Waits until what stands in one journal stands in another.
async fn caught_up(standby: &std::path::Path, serving: &std::path::Path) {
    let wanted = journal(serving);
    until("a standby that has followed", async || (journal(standby).len() >= wanted.len()).then_some(()))
        .await;
    assert!(journal(standby).starts_with(&wanted), "byte for byte");
}

fn verified(data: &std::path::Path) {
    let output = liaison().args(["archive", "verify"]).arg(data).output().expect("runs");
    assert!(output.status.success(), "{output:?}");
}

/// The instance that serves is killed, its directory removed; the standby serves in time.
async fn dies(instances: &mut Instances, load: &Load) {
    let receipted = load.receipted();
    instances.lose_with_its_disk();
    let killed = Instant::now();
    instances.taken_over().await;
    println!("{receipted} receipts, then the standby serves {:?} after the kill", killed.elapsed());
    assert!(killed.elapsed() < TAKEOVER, "{:?}", killed.elapsed());
}

/// The first takes over from one that died with its disk, the second was made anew from the stream alone, and takes over
/// from one that gave the lease back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_dies_with_its_disk_loses_nothing() {
    let mut dice = Dice::new("instances that die");
    let mut instances = Instances::on_one_server().await;
    instances.stand_by("b").await;
    let load = Load::begin(&instances.exchange).await;
    for death in 0..setting("LIAISON_DEATHS", 1) {
        load.more(20).await;
        // The moment of the kill is what is thrown; nothing is waited for.
        tokio::time::sleep(Duration::from_millis(dice.below(1_500))).await;
        dies(&mut instances, &load).await;
        instances.stand_by(if death % 2 == 0 { "a" } else { "b" }).await;
    }
    load.more(20).await;
    let asked = Instant::now();
    instances.exchange.signal("TERM");
    let (mut before, _) = instances.taken_over().await;
    println!("the next one serves {:?} after the stop was asked for", asked.elapsed());
    assert_eq!(before.wait().expect("waits").code(), Some(0));
    load.more(20).await;
    let books = load.end().await;
    verified(&instances.exchange.data);
    audit(&instances.exchange, &books).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_hung_and_wakes_up_writes_nothing() {
    let mut instances = Instances::on_one_server().await;
    instances.stand_by("b").await;
    let load = Load::begin(&instances.exchange).await;
    load.more(40).await;
    let hung = instances.exchange.data.clone();
    hang(&instances.exchange, true);
    let since = Instant::now();
    let (mut before, _) = instances.taken_over().await;
    println!("the standby serves {:?} after the other one hung", since.elapsed());
    load.more(40).await;
    super::harness::signal(before.id(), "CONT");
    let code = before.wait().expect("waits").code();
    assert_eq!(code, Some(1), "{}", super::harness::log_of(&hung));
    let (stale, serving) = (journal(&hung), journal(&instances.exchange.data));
    assert!(serving.starts_with(&stale), "it wrote nothing that is not in the journal of the other");
    assert!(serving.len() > stale.len());
    // Started again it follows.
    instances.stand_by("a").await;
    load.more(20).await;
    let books = load.end().await;
    caught_up(instances.standby_data(), &instances.exchange.data).await;
    audit(&instances.exchange, &books).await;
}

/// The lease says who tries; this is what holds when two try all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stream_itself_refuses_who_does_not_know_its_end() {
    use liaison::wire::connect::Road;
    use liaison::wire::journal::{Entry, Journal};
    use liaison::wire::keys::read_seed;
    use liaison::wire::lease::Term;
    use liaison::wire::tls::Address;
    let instances = Instances::on_one_server().await;
    let exchange = &instances.exchange;
    let seed = read_seed(&exchange.key("broker", "replica")).expect("a key");
    let road = Road { to: Address::plain(exchange.nats.clone()), seed };
    let (old, new) =
        (Journal::open(&road, 0).await.expect("opens"), Journal::open(&road, 0).await.expect("opens"));
    let term = Term::default();
    term.renewed(Instant::now());
    let last = old.last().await.expect("a number");
    let words = |words: &'static str| Entry::Term(words.as_bytes().into());
    let at = new.append(last, &words("new"), &term).await.expect("the first");
    assert_eq!(at, last + 1);
    let refused = old.append(last, &words("old"), &term).await.expect_err("fenced").to_string();
    assert!(refused.contains("another instance"), "{refused}");
    // The same again is the same: an answer that was lost.
    assert_eq!(new.append(last, &words("new"), &term).await.expect("stands there"), at);
    assert_eq!(new.last().await.expect("a number"), at);
    term.end();
    assert!(new.append(at, &words("late"), &term).await.is_err(), "without a lease nothing is tried");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_lead_die_under_load_and_then_the_instance_with_its_disk() {
    let mut dice = Dice::new("servers that lead");
    let mut instances = Instances::on_three_servers().await;
    instances.stand_by("b").await;
    let load = Load::begin(&instances.exchange).await;
    load.more(30).await;
    let mut replaced = 0;
    for kill in 0..setting("LIAISON_LEADERS", 2) {
        // Whatever leads: mostly the journal, now and then what stands around it.
        let led = if kill % 2 == 0 { "JOURNAL_0" } else { dice.pick(&["KV_LEASE", "RCPT", "IN_IT_MOI"]) };
        let leader = instances.leader(led).await;
        let since = Instant::now();
        instances.servers[leader].kill();
        load.more(20).await;
        println!("20 receipts more {:?} after the leader of {led} was killed", since.elapsed());
        instances.servers[leader].again();
        load.more(20).await;
        replaced += u64::from(instances.replaced().await);
    }
    println!("the lease went over {replaced} times, without any instance having been killed");
    dies(&mut instances, &load).await;
    load.more(20).await;
    let books = load.end().await;
    verified(&instances.exchange.data);
    audit(&instances.exchange, &books).await;
}

async fn message_at(instances: &Instances, sequence: u64) -> Option<Value> {
    let client = instances.exchange.admin().await;
    let found = api(&client, "STREAM.MSG.GET.JOURNAL_0", &json!({ "seq": sequence })).await;
    found.get("message").cloned()
}

async fn last(instances: &Instances) -> u64 {
    let client = instances.exchange.admin().await;
    let info = api(&client, "STREAM.INFO.JOURNAL_0", &json!({})).await;
    info["state"]["last_seq"].as_u64().expect("a sequence")
}

/// What is erased is gone from the stream too, and an instance made anew from the stream follows all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_erased_is_gone_from_the_replicated_journal() {
    let mut instances = Instances::on_one_server().await;
    instances.stand_by("b").await;
    let exchange = &instances.exchange;
    let post = exchange.connect("it-moi", "tn-01").await;
    let mut plain = report();
    plain["audience"] = "de-bpol,fr-dnpaf".into();
    plain["data"]["narrative"] = format!("seen by {CANARY} and others").into();
    assert_eq!(send(exchange, &post, REPORT_SUBJECT, &plain).await["outcome"], "accepted");
    let frame = last(&instances).await;
    let case = example("valid/07-case-identity-request.json");
    let mut sealed = shifted(case["message"].clone());
    sealed["id"] = fresh_id().into();
    sealed["audience"] = "de-bpol,fr-dnpaf".into();
    let holder = exchange.connect("nl-dtv", "system").await;
    let subject = case["natsSubject"].as_str().expect("a subject");
    assert_eq!(send(exchange, &holder, subject, &sealed).await["outcome"], "accepted");
    let seed = last(&instances).await - 1;
    let stored = message_at(&instances, seed).await.expect("a seed")["subject"].to_string();
    assert!(stored.contains("ilo.journal.0.key."), "{stored}");
    let due = format!("{:.0}", jiff::Timestamp::now() + jiff::SignedDuration::from_hours(48));
    let erasure = |message: &Value, party: &str, ground: &str| {
        let data = json!({ "targets": [reference(message)], "ground": ground, "dueBy": due, "attest": true });
        control("msg.erasure", party, "de-bpol,fr-dnpaf", data)
    };
    let system = exchange.connect("it-moi", "system").await;
    order(exchange, &system, "msg.erasure", &erasure(&plain, "it-moi", "unlawful")).await;
    let by = erasure(&sealed, "nl-dtv", "data-subject-request");
    order(exchange, &holder, "msg.erasure", &by).await;
    assert!(message_at(&instances, frame).await.is_none(), "the frame with the content is gone");
    assert!(message_at(&instances, seed).await.is_none(), "the seed is gone");
    let everything = instances.exchange.data.parent().expect("the shared directory").to_owned();
    until("the canary's end", async || files_with(&everything, CANARY.as_bytes()).is_empty().then_some(()))
        .await;
    // Made anew from what is left.
    instances.lose_with_its_disk();
    instances.taken_over().await;
    instances.stand_by("c").await;
    caught_up(instances.standby_data(), &instances.exchange.data).await;
    let post = instances.exchange.connect("it-moi", "tn-01").await;
    let mut more = report();
    more["audience"] = "de-bpol".into();
    assert_eq!(send(&instances.exchange, &post, REPORT_SUBJECT, &more).await["outcome"], "accepted");
    instances.lose_with_its_disk();
    instances.taken_over().await;
    verified(&instances.exchange.data);
    let holder = instances.exchange.connect("nl-dtv", "system").await;
    let asked = json!({ "id": sealed["id"], "source": sealed["source"] });
    let told = instances.exchange.ask(&holder, "nl-dtv", "ledger", &asked).await.expect("answers");
    assert_eq!(told["fate"]["erased"]["content"], "destroyed");
}

/// An instance under another root key could open nothing; one with another history must not be overwritten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_does_not_belong_does_not_stand_by() {
    let mut instances = Instances::on_one_server().await;
    instances.stand_by("b").await;
    let post = instances.exchange.connect("it-moi", "tn-01").await;
    assert_eq!(send(&instances.exchange, &post, REPORT_SUBJECT, &report()).await["outcome"], "accepted");
    let other = instances.standby_data().with_file_name("other");
    std::fs::create_dir_all(&other).expect("a directory");
    let config = std::fs::read_to_string(instances.standby_data().join("liaison.toml")).expect("readable");
    std::fs::write(other.join("liaison.toml"), config.replace("\"b\"", "\"other\"")).expect("writes");
    std::fs::write(other.with_file_name("other.root-key"), format!("{}\n", "5a".repeat(32))).expect("a key");
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(other.with_file_name("other.root-key"), std::fs::Permissions::from_mode(0o600))
        .expect("its mode");
    let args = serve(&other);
    let (code, words) = ends(&args.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(code, Some(78), "{words}");
    assert!(words.contains("root key is not that of the other instances"), "{words}");
}

/// What the serving instance tells of its standbys: the count, and the check of `/readyz` with the status beside it.
async fn told_of_standbys(instances: &Instances) -> (String, String, String) {
    let (_, metrics) = instances.exchange.get("/metrics").await;
    let (status, ready) = instances.exchange.get("/readyz").await;
    assert_eq!(status, 200, "never unready for it: {ready}");
    let ready: Value = serde_json::from_str(&ready).expect("JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let line = ready["checks"].as_array().expect("checks").iter().find(|line| line["check"] == "standby");
    let count = metrics.lines().find_map(|line| line.strip_prefix("liaison_cluster_standbys "));
    let count = count.expect("the metric").to_owned();
    (count, text(&ready["status"]), text(&line.expect("a line")["detail"]))
}

/// Starts a standby and waits until it is seen.
async fn stands_by(instances: &mut Instances) {
    instances.stand_by("b").await;
    until("a standby that is seen", async || {
        let (count, status, words) = told_of_standbys(instances).await;
        (count == "1" && status == "ok" && words == "1 stand by: b").then_some(())
    })
    .await;
}

/// A standby has no window, and the doctor does not take it for dead.
fn doctor_knows_a_standby(instances: &Instances) {
    let data = instances.standby_data();
    let config = std::fs::read_to_string(data.join("liaison.toml")).expect("readable");
    let window = format!("127.0.0.1:{}", free_port());
    std::fs::write(data.join("doctor.toml"), format!("{config}[http]\nlisten = \"{window}\"\n"))
        .expect("writes");
    let doctor = liaison().args(["doctor", "--config"]).arg(data.join("doctor.toml")).output().expect("runs");
    let said = String::from_utf8_lossy(&doctor.stdout);
    assert!(said.contains("this instance stands by and has 1 records; `a` serves"), "{said}");
    assert!(!said.contains("no broker runs"), "{said}");
}

/// An operator sees who stands by, that nobody does any more, and that somebody does again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_nobody_stands_by_is_seen() {
    let mut instances = Instances::on_one_server().await;
    let (_, status, words) = told_of_standbys(&instances).await;
    assert!(status == "ok" && words.starts_with("nobody stands by"), "nobody is missed yet: {words}");
    stands_by(&mut instances).await;
    let post = instances.exchange.connect("it-moi", "tn-01").await;
    let sent = send(&instances.exchange, &post, REPORT_SUBJECT, &report()).await;
    assert_eq!(sent["outcome"], "accepted");
    until("a standby that has everything", async || {
        let (_, metrics) = instances.exchange.get("/metrics").await;
        metrics.contains("liaison_cluster_behind_records 0\n").then_some(())
    })
    .await;
    doctor_knows_a_standby(&instances);
    instances.standby_dies();
    until("nobody", async || (told_of_standbys(&instances).await.0 == "0").then_some(())).await;
    // The same configuration with the port that was taken.
    let data = &instances.exchange.data;
    let config = std::fs::read_to_string(data.join("liaison.toml")).expect("readable");
    let window = instances.exchange.http.trim_start_matches("http://").to_owned();
    std::fs::write(data.join("doctor.toml"), format!("{config}[http]\nlisten = \"{window}\"\n"))
        .expect("writes");
    let mut doctor = liaison();
    let doctor = doctor.args(["doctor", "--json", "--config"]).arg(data.join("doctor.toml"));
    let doctor = doctor.output().expect("runs");
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("LiaisonNoStandby"), "{doctor:?}");
    until("a degraded broker", async || (told_of_standbys(&instances).await.1 == "degraded").then_some(()))
        .await;
    stands_by(&mut instances).await;
}

/// Letters fly to a mailbox while the server that leads it dies; what the intake, the journal and the receipts need lives on, so
/// the letters go on. None may be left out, and none be put in twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mailboxes_whose_leader_dies_get_neither_a_hole_nor_a_double() {
    let mut instances = Instances::on_three_servers().await;
    instances.stand_by("b").await;
    let load = Load::begin(&instances.exchange).await;
    load.more(20).await;
    for kill in 0..usize::try_from(setting("LIAISON_LEADERS", 2)).expect("a few") {
        let victim = 1 + kill % 2;
        instances.lead_mailboxes(victim).await;
        load.more(20).await;
        let since = Instant::now();
        instances.servers[victim].kill();
        // Longer than an election takes.
        tokio::time::sleep(Duration::from_secs(12)).await;
        instances.servers[victim].again();
        load.more(20).await;
        println!("{} receipts {:?} after the kill", load.receipted(), since.elapsed());
        instances.replaced().await;
    }
    let books = load.end().await;
    audit(&instances.exchange, &books).await;
}

/// What the administrator may ask, and the same without one durable.
const ALL: &str = "allow: [\"$JS.API.>\", \"$SRV.>\"]";
const BUT_ONE: &str =
    "allow: [\"$JS.API.>\", \"$SRV.>\"], deny: [\"$JS.API.CONSUMER.INFO.MBOX_DE_BPOL.main\"]";

/// Whoever takes over serves all others although the cluster does not answer for one mailbox; when it does, that is looked at too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mailbox_that_is_not_answered_for_keeps_nobody_else_waiting() {
    let mut instances = Instances::on_three_servers().await;
    instances.reconfigured(ALL, BUT_ONE);
    instances.stand_by("b").await;
    let load = Load::begin(&instances.exchange).await;
    load.more(20).await;
    instances.lose_with_its_disk();
    // If it waited for the one mailbox it would never serve: that answers only when the rights are given back, below.
    let took = instances.taken_over().await.1;
    println!("took over in {took:?} without an answer for one mailbox");
    load.more(20).await;
    let log = log_of(&instances.exchange.data);
    assert!(log.contains("serving the others party=de-bpol"), "{log}");
    assert!(!log.contains("all streams have been looked at"), "{log}");
    instances.reconfigured(BUT_ONE, ALL);
    let data = instances.exchange.data.clone();
    until("a look at it", async || log_of(&data).contains("all streams have been looked at").then_some(()))
        .await;
    audit(&instances.exchange, &load.end().await).await;
}

/// What could not be looked at when an instance took over, and is not as it must be, ends the daemon when it is looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_looked_at_later_is_looked_at_as_strictly() {
    let mut instances = Instances::on_three_servers().await;
    let changed = json!({
        "stream_name": "MBOX_DE_BPOL",
        "action": "update",
        "config": { "durable_name": "main", "name": "main", "ack_policy": "explicit", "ack_wait": 60_000_000_000_u64, "max_ack_pending": 7 },
    });
    let update = "CONSUMER.CREATE.MBOX_DE_BPOL.main";
    until("another durable", async || {
        let answer = api(&instances.exchange.admin().await, update, &changed).await;
        (answer["config"]["max_ack_pending"] == 7).then_some(())
    })
    .await;
    instances.reconfigured(ALL, BUT_ONE);
    instances.stand_by("b").await;
    instances.lose_with_its_disk();
    instances.taken_over().await;
    instances.reconfigured(BUT_ONE, ALL);
    let data = instances.exchange.data.clone();
    until("the end", async || log_of(&data).contains("the comparison of streams ended").then_some(())).await;
    assert_eq!(instances.exchange.wait(), Some(1));
    let log = log_of(&data);
    assert!(log.contains("MBOX_DE_BPOL/main: max_ack_pending is 7, must be"), "{log}");
}
