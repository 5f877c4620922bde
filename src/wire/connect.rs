//! Connections: one a role, because one socket and one task serve a client and heavy inbound starves outbound.
//!
//! Every user has its own inbox prefix: the server lets it listen nowhere else, so users of one account cannot hear
//! each other's answers.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use async_nats::Client;
use async_nats::connection::State;
use async_nats::{Auth, AuthError, ConnectErrorKind, ConnectOptions, Event};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Error;
use super::keys::Seed;
use super::tls::{self, Address};
use crate::message::names::{PartyId, PostId};

/// How long a connection attempt may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the server's "no" to a first subscription, which is on the way when it answers, may take to reach us.
const PROBE: Duration = Duration::from_millis(50);
/// A connection that does not answer two of these is dead: services and the looks into mailboxes hang until that is known.
const PING: Duration = Duration::from_secs(5);
/// Longest pause between two attempts to reconnect.
const PAUSE_MAX: Duration = Duration::from_secs(4);

/// What a user of the broker does. Each has only the rights that it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Makes streams and durables; connected only at start and on reload.
    Admin,
    /// Reads the intake streams.
    Intake,
    /// Writes mailboxes and receipts.
    Egress,
    /// Answers services, keeps subscriptions.
    Control,
    /// Carries the journal to other instances, holds the lease.
    Replica,
    /// An operator: asks for health and states, changes nothing.
    Operator,
    /// The server's own system account.
    System,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Admin, Self::Intake, Self::Egress, Self::Control, Self::Replica, Self::Operator, Self::System];

    /// The name of its key file and inbox.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Intake => "intake",
            Self::Egress => "egress",
            Self::Control => "control",
            Self::Replica => "replica",
            Self::Operator => "operator",
            Self::System => "sys",
        }
    }
}

/// Connects as a user of the broker.
///
/// # Errors
/// [`Error::Unreachable`], [`Error::Denied`].
pub async fn connect(to: &Address, seed: &str, role: Role) -> Result<Client, Error> {
    let name = format!("liaison/{} {}", env!("CARGO_PKG_VERSION"), role.as_str());
    open(to, seed, &name, &format!("_INBOX_{}", role.as_str()), Heard::default()).await
}

/// How a connection that is made anew whenever it broke gets made.
#[derive(Clone)]
pub struct Road {
    /// Where NATS is.
    pub to: Address,
    /// Seed of the user.
    pub seed: Seed,
}

impl std::fmt::Debug for Road {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Road").field("to", &self.to).finish_non_exhaustive()
    }
}

/// Connects as a user of the broker, once: the token is cancelled when the connection breaks, and the client library does
/// not get it back, so that nothing which it still held is sent later.
///
/// # Errors
/// [`Error::Unreachable`], [`Error::Denied`].
pub async fn connect_once(road: &Road, role: Role) -> Result<(Client, CancellationToken), Error> {
    let name = format!("liaison/{} {}", env!("CARGO_PKG_VERSION"), role.as_str());
    let heard = Heard { once: true, ..Heard::default() };
    let used = Arc::new(AtomicBool::new(false));
    let seed = road.seed.clone();
    // Without a signature for a second challenge a line that broke does not come back, whoever the library finds.
    let options = ConnectOptions::with_auth_callback(move |nonce| {
        let signed = if used.swap(true, Ordering::Relaxed) { None } else { sign(&seed, &nonce) };
        async move { signed.ok_or_else(|| AuthError::new("a line is made once")) }
    });
    let broken = heard.broken.clone();
    let inbox = format!("_INBOX_{}", role.as_str());
    Ok((open_with(options, &road.to, &name, &inbox, heard).await?, broken))
}

fn sign(seed: &str, nonce: &[u8]) -> Option<Auth> {
    let pair = nkeys::KeyPair::from_seed(seed).ok()?;
    let mut auth = Auth::new();
    auth.signature = Some(pair.sign(nonce).ok()?);
    auth.nkey = Some(pair.public_key());
    Some(auth)
}

/// Connects as a user of a party: one of its posts, or its system user.
///
/// # Errors
/// [`Error::Unreachable`], [`Error::Denied`], also if the key is that of another user.
pub async fn connect_party(
    to: &Address,
    seed: &str,
    party: &PartyId,
    post: Option<&PostId>,
) -> Result<Client, Error> {
    let user = post.map_or("system", PostId::as_str);
    let (inbox, heard) = (format!("_INBOX_{party}-{user}"), Heard::default());
    let client = open(to, seed, &format!("{party} {user}"), &inbox, heard.clone()).await?;
    // Only the right user may listen there; without this look, another's key shows as answers that never come.
    let away = |words: String| Error::Unreachable(format!("{}: {words}", to.url));
    let probe = client.subscribe(format!("{inbox}.whose")).await.map_err(|error| away(error.to_string()))?;
    client.flush().await.map_err(|error| away(error.to_string()))?;
    let refused = tokio::time::timeout(PROBE, heard.denied.notified()).await.is_ok();
    drop(probe);
    if refused {
        return Err(Error::Denied(format!("this is not the key of {party} {user}")));
    }
    Ok(client)
}

/// What a connection tells of itself.
#[derive(Debug, Clone, Default)]
struct Heard {
    /// It is not to come back: that the library says so is no news.
    once: bool,
    /// It broke, whatever the library makes of it.
    broken: CancellationToken,
    /// The server refused something.
    denied: Arc<Notify>,
}

async fn open(to: &Address, seed: &str, name: &str, inbox: &str, heard: Heard) -> Result<Client, Error> {
    open_with(ConnectOptions::with_nkey(seed.to_owned()), to, name, inbox, heard).await
}

async fn open_with(
    options: ConnectOptions,
    to: &Address,
    name: &str,
    inbox: &str,
    heard: Heard,
) -> Result<Client, Error> {
    let once = heard.once;
    let options = to.closed(options)?;
    let options = options
        .name(name)
        .custom_inbox_prefix(inbox)
        .connection_timeout(CONNECT)
        .ping_interval(PING)
        .client_capacity(8_192)
        .reconnect_delay_callback(pause)
        .event_callback({
            let name = name.to_owned();
            move |event| {
                if matches!(event, Event::Disconnected | Event::Closed) {
                    heard.broken.cancel();
                }
                tell(&name, &event, heard.once);
                if matches!(&event, Event::ServerError(error) if error.to_string().contains("Permissions Violation")) {
                    heard.denied.notify_one();
                }
                async {}
            }
        });
    let url = &to.url;
    let urls: Vec<&str> = url.split(',').map(str::trim).collect();
    // The library tries for ever else, with all that it held and takes on, and dials the server every few seconds. Counted
    // anew from each connection; so many bring the first one to every server.
    let options = if once { options.max_reconnects(urls.len()) } else { options };
    // The library's future is large, and whoever starts a broker holds several.
    Box::pin(options.connect(urls)).await.map_err(|error| match error.kind() {
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
            Error::Denied(format!("{url} does not let this key in"))
        }
        _ => tls::explain(to, &error).unwrap_or_else(|| Error::Unreachable(format!("{url}: {error}"))),
    })
}

/// Permission errors come to nobody else: the request that caused one only times out.
fn tell(name: &str, event: &Event, once: bool) {
    match event {
        Event::ClientError(_) if once => tracing::debug!(connection = name, %event, "connection"),
        Event::Connected | Event::Draining | Event::Closed => {
            tracing::debug!(connection = name, %event, "connection")
        }
        Event::SlowConsumer(_) | Event::ServerError(_) | Event::ClientError(_) => {
            tracing::warn!(connection = name, %event, "connection");
        }
        _ => tracing::info!(connection = name, %event, "connection"),
    }
}

/// Doubling pauses with jitter, so that hundreds of clients do not come back in the same moment.
fn pause(attempts: usize) -> Duration {
    let base = Duration::from_millis(20).saturating_mul(1 << attempts.min(8)).min(PAUSE_MAX);
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_usize(attempts);
    let share = u32::try_from(hasher.finish() % 512).unwrap_or_default();
    base / 2 + base * share / 1_024
}

/// The state of one connection.
#[derive(Debug, Clone)]
pub struct Watch {
    client: Client,
}

impl Watch {
    /// Watches a client.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// True while the connection is up.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }
}
