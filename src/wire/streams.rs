//! The streams and durables that liaison stands on: made if absent, compared if present.
//!
//! Older servers accept settings that they do not know without a word, and an operator may have changed one. So what
//! the server echoes is compared with what must be, and any difference keeps the house closed: all of them are told.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{self, Context, kv};
use futures_util::StreamExt as _;
use futures_util::stream;

use super::durables;
use super::led::led_info;
use super::subscriptions::BUCKET;
use super::{Error, intake_stream, journal, lease, mailbox_stream};
use crate::message::names::PartyId;
use crate::message::subject;

/// How long intake and receipt streams keep what they hold.
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
/// The shortest window that the server takes. De-duplication is the archive's, for its whole life; a long window would
/// let one post suppress another's message id.
const NO_WINDOW: Duration = Duration::from_millis(100);
/// Window for what the broker itself publishes. A courier looks how far its mailbox is before it sends anything again, so
/// only what a broken line still carries into the stream at that moment must fall into it; every id within it is in the
/// server's memory.
const WINDOW: Duration = Duration::from_secs(10);
/// The same where several servers hold a mailbox: a letter may wait in a leader for its followers, or in an instance that
/// hangs. Longer than a line is kept on which nobody answers (`accounts.rs`, 90 s): what comes still later does not come.
const WINDOW_REPLICATED: Duration = Duration::from_secs(120);
/// The largest message that an intake stream takes, headers included.
const INTAKE_MESSAGE_MAX: i32 = 512 * 1024;
/// Streams made or compared at the same time.
const AT_ONCE: usize = 16;

/// What an operator may choose.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Most bytes in one intake stream; what does not fit is refused to its sender.
    pub intake_bytes: i64,
    /// Most bytes in one mailbox; what does not fit waits in the archive.
    pub mailbox_bytes: i64,
    /// Servers that hold each stream. 1 leaves streams as an operator made them.
    pub replicas: usize,
    /// Whether the journal is replicated, and there is a lease on it.
    pub replicated: bool,
}

/// Refuses servers that do not do what we rely on.
///
/// # Errors
/// [`Error::TooOld`].
pub fn new_enough(client: &async_nats::Client) -> Result<(), Error> {
    let version = client.server_info().version;
    if super::server::is_new_enough(&version) { Ok(()) } else { Err(Error::TooOld(version)) }
}

/// Makes what is missing and compares the rest; gives the parties that a cluster did not answer for, whose streams are left as they are.
///
/// # Errors
/// [`Error::Drift`] with every difference, [`Error::TooOld`], or what JetStream said.
pub async fn ensure(
    client: &async_nats::Client,
    parties: &[PartyId],
    options: Options,
) -> Result<Vec<Unanswered>, Error> {
    run(client, parties, options, true).await
}

/// Compares only; what is missing is a difference.
///
/// # Errors
/// As [`ensure`].
pub async fn compare(
    client: &async_nats::Client,
    parties: &[PartyId],
    options: Options,
) -> Result<(), Error> {
    run(client, parties, options, false).await?.pop().map_or(Ok(()), |unanswered| Err(unanswered.error))
}

/// A party of which a stream, or the durable of its mailbox, could not be looked at: in a cluster a single one may be without a
/// leader for minutes while all others answer.
#[derive(Debug)]
pub struct Unanswered {
    /// Whose.
    pub party: PartyId,
    /// What came back.
    pub error: Error,
}

async fn run(
    client: &async_nats::Client,
    parties: &[PartyId],
    options: Options,
    make: bool,
) -> Result<Vec<Unanswered>, Error> {
    new_enough(client)?;
    let context = jetstream::new(client.clone());
    let parcels = super::server::takes_parcels(&client.server_info().version);
    let mut wanted = vec![(None, receipts())];
    wanted.extend(options.replicated.then(|| (None, replicated_journal(0))));
    for party in parties {
        wanted.push((Some(party.clone()), intake(party, options)));
        wanted.push((Some(party.clone()), mailbox(party, options, parcels)));
    }
    let checks = stream::iter(wanted).map(|(party, config): (Option<PartyId>, Config)| {
        let config = Config { num_replicas: options.replicas, ..config };
        let looked = one(&context, config, make);
        async move { (party, looked.await) }
    });
    let (mut faults, mut unanswered) = (Vec::new(), Vec::<Unanswered>::new());
    for (party, found) in checks.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await {
        match (found?, party) {
            (Looked::At(found), _) => faults.extend(found),
            (Looked::Unanswered(error), Some(party)) if options.replicas > 1 => {
                if unanswered.iter().all(|other| other.party != party) {
                    unanswered.push(Unanswered { party, error });
                }
            }
            (Looked::Unanswered(error), _) => return Err(error),
        }
    }
    let lease = options.replicated.then_some((lease::BUCKET, 1));
    for (name, history) in std::iter::once((BUCKET, HISTORY)).chain(lease) {
        faults.extend(bucket(&context, name, history, options.replicas, make).await?);
    }
    if faults.is_empty() {
        Ok(unanswered)
    } else {
        faults.sort();
        Err(Error::Drift(faults))
    }
}

/// Makes what instances need to agree on who serves, before one of them does.
///
/// # Errors
/// As [`ensure`].
pub async fn ensure_replication(client: &async_nats::Client, options: Options) -> Result<(), Error> {
    new_enough(client)?;
    let context = jetstream::new(client.clone());
    let journal = Config { num_replicas: options.replicas, ..replicated_journal(0) };
    let mut faults = match one(&context, journal, true).await? {
        Looked::At(faults) => faults,
        Looked::Unanswered(error) => return Err(error),
    };
    faults.extend(bucket(&context, lease::BUCKET, 1, options.replicas, true).await?);
    if faults.is_empty() { Ok(()) } else { Err(Error::Drift(faults)) }
}

fn base(name: String, subject: String) -> Config {
    Config {
        name,
        subjects: vec![subject],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        num_replicas: 1,
        max_messages: -1,
        max_messages_per_subject: -1,
        max_consumers: -1,
        max_bytes: -1,
        ..Config::default()
    }
}

fn intake(party: &PartyId, options: Options) -> Config {
    Config {
        discard: DiscardPolicy::New,
        max_age: WEEK,
        max_bytes: options.intake_bytes,
        max_message_size: INTAKE_MESSAGE_MAX,
        duplicate_window: NO_WINDOW,
        ..base(intake_stream(party), format!("ilo.in.{party}.>"))
    }
}

/// Unread letters never grow old: what the party acknowledged is swept away by its courier.
fn mailbox(party: &PartyId, options: Options, parcels: bool) -> Config {
    Config {
        discard: DiscardPolicy::New,
        max_bytes: options.mailbox_bytes,
        duplicate_window: if options.replicas > 1 { WINDOW_REPLICATED } else { WINDOW },
        allow_batch_publish: parcels,
        ..base(mailbox_stream(party), format!("ilo.out.{party}.>"))
    }
}

fn receipts() -> Config {
    Config {
        discard: DiscardPolicy::Old,
        max_age: WEEK,
        max_messages_per_subject: 1,
        allow_direct: true,
        duplicate_window: WINDOW,
        ..base("RCPT".to_owned(), "ilo.rcpt.>".to_owned())
    }
}

/// All of the journal for ever: an instance that has lost its disk is made anew from it.
fn replicated_journal(shard: u16) -> Config {
    let subject = subject::journal(shard);
    Config {
        discard: DiscardPolicy::New,
        duplicate_window: WINDOW,
        subjects: vec![subject.clone(), format!("{subject}.>")],
        ..base(journal::stream(shard), subject)
    }
}

fn main_durable() -> pull::Config {
    pull::Config {
        durable_name: Some("main".to_owned()),
        name: Some("main".to_owned()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: Duration::from_secs(60),
        max_deliver: -1,
        max_ack_pending: 1_000,
        // Across accounts a pull of two minutes or more never gets its message.
        max_expires: Duration::from_secs(60),
        ..pull::Config::default()
    }
}

/// JetStream's word for a stream or consumer that is not there.
const NOT_FOUND: usize = 404;

/// What came of a look.
enum Looked {
    /// The differences.
    At(Vec<String>),
    /// Nothing, for this reason.
    Unanswered(Error),
}

/// Looks at one stream and, for a mailbox, its durable. That something is missing and cannot be made is an error.
async fn one(context: &Context, wanted: Config, make: bool) -> Result<Looked, Error> {
    use async_nats::jetstream::context::GetStreamErrorKind as Kind;
    let name = wanted.name.clone();
    let call = format!("STREAM.INFO.{name}");
    let mut faults = Vec::new();
    let stream = match context.get_stream(&name).await {
        Ok(stream) => {
            let found = match led_info(&call, stream.cached_info()) {
                Ok(info) => &info.config,
                Err(error) => return Ok(Looked::Unanswered(error)),
            };
            let mut updated = found.clone();
            follow(&wanted, &mut updated);
            faults.extend(differences(&wanted, &updated));
            // What the operator sets in our own configuration follows it.
            updated.max_bytes = wanted.max_bytes;
            if wanted.num_replicas > 1 {
                updated.num_replicas = wanted.num_replicas;
            }
            if make && faults.is_empty() && updated != *found {
                context.update_stream(updated).await.map_err(|error| Error::api(&call, error))?;
            }
            stream
        }
        Err(error) if matches!(error.kind(), Kind::JetStream(ref why) if why.code() == NOT_FOUND) => {
            if !make {
                return Ok(Looked::At(vec![format!("{name}: is missing")]));
            }
            let made = context
                .create_stream(wanted.clone())
                .await
                .map_err(|error| Error::api(format!("STREAM.CREATE.{name}"), error))?;
            faults.extend(differences(&wanted, &made.cached_info().config));
            made
        }
        Err(error) => return Ok(Looked::Unanswered(Error::api(call, error))),
    };
    if name.starts_with("MBOX_") {
        match durable(&stream, make).await? {
            Looked::At(found) => faults.extend(found),
            unanswered @ Looked::Unanswered(_) if faults.is_empty() => return Ok(unanswered),
            Looked::Unanswered(_) => {}
        }
    }
    Ok(Looked::At(faults))
}

/// Mailboxes of an earlier version, or of a time with another number of replicas, are changed at the next start.
fn follow(wanted: &Config, found: &mut Config) {
    const OURS: [Duration; 2] = [WINDOW, WINDOW_REPLICATED];
    if OURS.contains(&wanted.duplicate_window) && OURS.contains(&found.duplicate_window) {
        found.duplicate_window = wanted.duplicate_window;
    }
    found.allow_batch_publish |= wanted.allow_batch_publish;
}

/// What differs, one line a setting. `max_bytes` is the operator's and follows our configuration.
fn differences(wanted: &Config, found: &Config) -> Vec<String> {
    let settings = |config: &Config| {
        vec![
            ("subjects", format!("{:?}", config.subjects)),
            ("retention", format!("{:?}", config.retention)),
            ("storage", format!("{:?}", config.storage)),
            ("discard", format!("{:?}", config.discard)),
            ("max_age", format!("{:?}", config.max_age)),
            ("max_msgs", config.max_messages.to_string()),
            ("max_msgs_per_subject", config.max_messages_per_subject.to_string()),
            ("max_msg_size", config.max_message_size.max(-1).to_string().replace("-1", "0")),
            ("duplicate_window", format!("{:?}", config.duplicate_window)),
            ("allow_rollup_hdrs", config.allow_rollup.to_string()),
            ("allow_direct", config.allow_direct.to_string()),
            ("allow_msg_ttl", config.allow_message_ttl.to_string()),
            ("allow_batched", config.allow_batch_publish.to_string()),
            ("allow_atomic", config.allow_atomic_publish.to_string()),
            ("allow_msg_schedules", config.allow_message_schedules.to_string()),
            ("no_ack", config.no_ack.to_string()),
            ("sealed", config.sealed.to_string()),
            ("republish", config.republish.is_some().to_string()),
            ("subject_transform", config.subject_transform.is_some().to_string()),
            ("mirror", config.mirror.is_some().to_string()),
            ("sources", config.sources.as_ref().is_some_and(|sources| !sources.is_empty()).to_string()),
        ]
    };
    compared(&wanted.name, settings(wanted), settings(found))
}

type Settings = Vec<(&'static str, String)>;

fn compared(name: &str, wanted: Settings, found: Settings) -> Vec<String> {
    wanted
        .into_iter()
        .zip(found)
        .filter(|(wanted, found)| wanted != found)
        .map(|((what, wanted), (_, found))| format!("{name}: {what} is {found}, must be {wanted}"))
        .collect()
}

/// The durable `main` of a mailbox.
async fn durable(stream: &jetstream::stream::Stream, make: bool) -> Result<Looked, Error> {
    use async_nats::jetstream::context::ConsumerInfoErrorKind as Kind;
    let name = format!("{}/main", stream.cached_info().config.name);
    let wanted = main_durable();
    let found = match stream.consumer_info("main").await {
        Ok(info) => info.config,
        Err(error) if error.kind() == Kind::NotFound => {
            if !make {
                return Ok(Looked::At(vec![format!("{name}: is missing")]));
            }
            durables::fresh(stream, &wanted).await?.cached_info().config.clone()
        }
        Err(error) => return Ok(Looked::Unanswered(Error::api(format!("CONSUMER.INFO {name}"), error))),
    };
    let settings = |ack: AckPolicy, wait: Duration, most: i64, pending: i64, filter: bool, paused: bool| {
        vec![
            ("ack_policy", format!("{ack:?}")),
            ("ack_wait", format!("{wait:?}")),
            ("max_deliver", most.to_string()),
            ("max_ack_pending", pending.to_string()),
            ("filter_subject", filter.to_string()),
            ("push", paused.to_string()),
        ]
    };
    let wanted = settings(
        wanted.ack_policy,
        wanted.ack_wait,
        wanted.max_deliver,
        wanted.max_ack_pending,
        false,
        false,
    );
    let filtered = !found.filter_subject.is_empty() || !found.filter_subjects.is_empty();
    let found = settings(
        found.ack_policy,
        found.ack_wait,
        found.max_deliver,
        found.max_ack_pending,
        filtered,
        found.deliver_subject.is_some(),
    );
    Ok(Looked::At(compared(&name, wanted, found)))
}

/// Versions of a party's subscriptions that are kept.
const HISTORY: i64 = 5;

/// A bucket. A setting that lets entries go is a difference: a party without its subscriptions has the default one, which takes
/// everything that it is entitled to.
async fn bucket(
    context: &Context,
    bucket: &str,
    history: i64,
    replicas: usize,
    make: bool,
) -> Result<Vec<String>, Error> {
    let name = format!("KV_{bucket}");
    match context.get_stream(&name).await {
        Ok(stream) => {
            let found = &stream.cached_info().config;
            let faults = kept(&name, bucket, history, found);
            if make && faults.is_empty() && replicas > 1 && found.num_replicas != replicas {
                let updated = Config { num_replicas: replicas, ..found.clone() };
                let call = format!("STREAM.UPDATE.{name}");
                context.update_stream(updated).await.map_err(|error| Error::api(call, error))?;
            }
            Ok(faults)
        }
        Err(_) if !make => Ok(vec![format!("{name}: is missing")]),
        Err(_) => {
            let config = kv::Config {
                bucket: bucket.to_owned(),
                history,
                num_replicas: replicas,
                ..kv::Config::default()
            };
            let made = context.create_key_value(config).await;
            made.map(|_| Vec::new()).map_err(|error| Error::api(format!("STREAM.CREATE.{name}"), error))
        }
    }
}

/// What of the bucket's stream is not as it must be for entries to stay.
fn kept(name: &str, bucket: &str, history: i64, found: &Config) -> Vec<String> {
    let wanted = Config {
        max_messages_per_subject: history,
        discard: DiscardPolicy::New,
        // As the library makes it; a full bucket refuses, and nothing goes by it.
        allow_rollup: true,
        allow_direct: true,
        duplicate_window: found.duplicate_window,
        ..base(name.to_owned(), format!("$KV.{bucket}.>"))
    };
    differences(&wanted, found)
}
