//! A bad road: a TCP proxy on loopback, in this process, whose weather a test changes while connections stand.
//!
//! It delays, slices, stops one way or both, cuts and resets; it never changes a byte. Sizes of slices are thrown from a seed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::harness::Dice;

/// Bytes carried at once.
const CHUNK: usize = 16 * 1024;
/// Longest slice.
const SLICE: u64 = 7;
/// Roads that the test of their ends cuts.
const ENDS: usize = 2_000;
/// So many bytes of a chunk come in slices; the rest follows at once, or a test would take minutes.
const SLICED: usize = 256;

/// How the road is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Open.
    Fair,
    /// Each piece takes this long.
    Slow(Duration),
    /// What comes arrives in slices of a few bytes.
    Sliced,
    /// Connections stay, and nothing arrives on either side until the weather changes.
    Silent,
    /// Nothing arrives at the server.
    SilentThere,
    /// Nothing arrives at the client.
    SilentBack,
    /// Connections that stand are never heard of again, and nobody is told; new ones are fair.
    Lost,
    /// Connections are closed, new ones at once.
    Cut,
    /// The same with a reset.
    Reset,
}

/// The proxy, until it is dropped.
pub struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    listening: JoinHandle<()>,
    roads: Arc<AtomicUsize>,
}

impl Proxy {
    /// Begins to listen on a free port, for a server at this address.
    pub async fn start(server: &str, seed: u64) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (weather, seen) = watch::channel(Weather::Fair);
        let roads = Arc::<AtomicUsize>::default();
        let (server, made) = (server.trim_start_matches("nats://").to_owned(), Arc::clone(&roads));
        let listening = tokio::spawn(async move {
            let mut all = JoinSet::new();
            loop {
                let Ok((client, _)) = listener.accept().await else { return };
                while all.try_join_next().is_some() {}
                let number = made.fetch_add(1, Ordering::SeqCst) as u64;
                all.spawn(road(client, server.clone(), seen.clone(), seed.wrapping_add(number)));
            }
        });
        Self { address, weather, listening, roads }
    }

    /// Its address as clients take it.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Changes the weather.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Loses the roads that stand, and lets new ones be fair.
    pub fn lose(&self) {
        self.set(Weather::Lost);
    }

    /// Roads made so far.
    pub fn roads(&self) -> usize {
        self.roads.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn road(client: TcpStream, server: String, mut weather: watch::Receiver<Weather>, seed: u64) {
    let born = *weather.borrow_and_update();
    if matches!(born, Weather::Cut | Weather::Reset) {
        return;
    }
    let Ok(server) = TcpStream::connect(server).await else { return };
    // A test of small pieces must not have them put together again.
    drop(server.set_nodelay(true).and(client.set_nodelay(true)));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let there = Carrier { from: from_client, to: to_server, weather: weather.clone(), born, there: true };
    let back = Carrier { from: from_server, to: to_client, weather: weather.clone(), born, there: false };
    // Both halves stay alive until the road ends, so that nothing is closed before.
    let (mut there, mut back) = (there, back);
    // The weather is looked at first: what is sent after it changed is not carried any more.
    let ended = tokio::select! {
        biased;
        changed = ends(&mut weather) => changed,
        () = there.carry(Dice::seeded(seed)) => None,
        () = back.carry(Dice::seeded(!seed)) => None,
    };
    match ended {
        Some(Weather::Lost) => std::future::pending::<()>().await,
        Some(Weather::Reset) => {
            // Without lingering a close is a reset.
            for stream in
                [there.from.reunite(back.to).ok(), back.from.reunite(there.to).ok()].into_iter().flatten()
            {
                drop(stream.set_zero_linger());
            }
        }
        _ => {}
    }
}

/// Resolves when the weather changes to one that no connection outlives.
async fn ends(weather: &mut watch::Receiver<Weather>) -> Option<Weather> {
    loop {
        weather.changed().await.ok()?;
        let now = *weather.borrow_and_update();
        if matches!(now, Weather::Cut | Weather::Reset | Weather::Lost) {
            return Some(now);
        }
    }
}

struct Carrier {
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    weather: watch::Receiver<Weather>,
    /// When its road was made.
    born: Weather,
    /// From client to server.
    there: bool,
}

impl Carrier {
    async fn carry(&mut self, mut dice: Dice) {
        let mut chunk = vec![0; CHUNK];
        loop {
            let Ok(size @ 1..) = self.from.read(&mut chunk).await else { return };
            let silent = if self.there { Weather::SilentThere } else { Weather::SilentBack };
            // An end carries nothing: it may come between the look at it and this one, and `ends` resolves at the next.
            let speaks = |weather: &Weather| match *weather {
                Weather::Cut | Weather::Reset => false,
                Weather::Lost => self.born == Weather::Lost,
                other => other != Weather::Silent && other != silent,
            };
            let Ok(weather) = self.weather.wait_for(speaks).await.map(|weather| *weather) else { return };
            let mut rest = &chunk[..size];
            match weather {
                Weather::Slow(pause) => tokio::time::sleep(pause).await,
                Weather::Sliced => {
                    let mut left = SLICED;
                    while !rest.is_empty() && left > 0 {
                        let many = usize::try_from(1 + dice.below(SLICE)).expect("small").min(rest.len());
                        if self.to.write_all(&rest[..many]).await.is_err() {
                            return;
                        }
                        tokio::task::yield_now().await;
                        (rest, left) = (&rest[many..], left.saturating_sub(many));
                    }
                }
                _ => {}
            }
            if self.to.write_all(rest).await.is_err() {
                return;
            }
        }
    }
}

#[tokio::test]
async fn the_road_carries_cuts_and_is_silent_as_it_is_told() {
    let server = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let proxy = Proxy::start(&server.local_addr().expect("an address").to_string(), 1).await;
    let address = proxy.url().trim_start_matches("nats://").to_owned();
    let mut client = TcpStream::connect(&address).await.expect("connects");
    let (mut other, _) = server.accept().await.expect("accepts");
    let text = vec![7_u8; 3 * SLICED];
    let mut heard = vec![0; text.len()];
    for weather in
        [Weather::Fair, Weather::Sliced, Weather::Slow(Duration::from_millis(5)), Weather::SilentThere]
    {
        proxy.set(weather);
        other.write_all(&text).await.expect("sends");
        client.read_exact(&mut heard).await.expect("arrives");
        assert!(heard == text);
        heard.fill(0);
    }
    client.write_all(b"x").await.expect("taken");
    let nothing = tokio::time::timeout(Duration::from_millis(100), other.read_u8()).await;
    assert!(nothing.is_err(), "silent there");
    proxy.set(Weather::Fair);
    assert_eq!(other.read_u8().await.expect("arrives now"), b'x');
    proxy.set(Weather::Reset);
    let end = client.read_u8().await.expect_err("reset");
    assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
    let mut client = TcpStream::connect(&address).await.expect("connects");
    assert_eq!(client.read_u8().await.expect_err("cut").kind(), std::io::ErrorKind::UnexpectedEof);
    proxy.set(Weather::Fair);
    let mut client = TcpStream::connect(&address).await.expect("connects");
    let (mut other, _) = server.accept().await.expect("accepts");
    proxy.lose();
    client.write_all(b"x").await.expect("taken");
    let nothing = tokio::time::timeout(Duration::from_millis(100), other.read_u8()).await;
    assert!(nothing.is_err(), "lost, and nobody was told");
    let mut fresh = TcpStream::connect(&address).await.expect("connects");
    let (mut other, _) = server.accept().await.expect("accepts");
    fresh.write_all(b"y").await.expect("taken");
    assert_eq!(other.read_u8().await.expect("a new road is fair"), b'y');
    assert_eq!(proxy.roads(), 4);
}

/// What is sent into silence is never carried by the end of the road, however close behind it comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_silenced_is_lost_when_the_road_is_cut() {
    let server = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let proxy = Proxy::start(&server.local_addr().expect("an address").to_string(), 1).await;
    let address = proxy.url().trim_start_matches("nats://").to_owned();
    let mut carried = 0;
    for _ in 0..ENDS {
        let mut client = TcpStream::connect(&address).await.expect("connects");
        let (mut other, _) = server.accept().await.expect("accepts");
        proxy.set(Weather::SilentThere);
        client.write_all(b"x").await.expect("taken");
        proxy.set(Weather::Cut);
        carried += usize::from(matches!(other.read_u8().await, Ok(b'x')));
        proxy.set(Weather::Fair);
    }
    assert_eq!(carried, 0, "of {ENDS}");
}
