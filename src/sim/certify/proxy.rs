//! A road to NATS that can be cut: a TCP proxy on loopback, for trying how a client takes an outage.
//!
//! It changes no byte. What the client sends is also shown to the tap. The server never notices anything but lost
//! connections, and nobody else's connection is touched.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::tap::{Reading, Tap};

/// Bytes carried at once.
const CHUNK: usize = 16 * 1024;

/// How the road is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Open.
    Fair,
    /// Every connection is cut, and new ones are at once.
    Refused,
    /// Connections stay and take what is sent, and nothing arrives: half open.
    Silent,
}

/// The proxy, until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    listening: JoinHandle<()>,
}

impl Proxy {
    /// Begins to listen on a free port of loopback, for a server at `host:port`.
    ///
    /// # Errors
    /// No port can be had.
    pub async fn start(server: String, tap: Arc<Tap>) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (weather, seen) = watch::channel(Weather::Fair);
        let listening = tokio::spawn(async move {
            let mut roads = JoinSet::new();
            loop {
                let Ok((client, _)) = listener.accept().await else { return };
                while roads.try_join_next().is_some() {}
                roads.spawn(road(client, server.clone(), seen.clone(), Arc::clone(&tap)));
            }
        });
        Ok(Self { address, weather, listening })
    }

    /// Its address as clients take it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Changes the weather.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn road(client: TcpStream, server: String, mut weather: watch::Receiver<Weather>, tap: Arc<Tap>) {
    if *weather.borrow_and_update() == Weather::Refused {
        return;
    }
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (mut there, mut back) = (weather.clone(), weather.clone());
    // Whatever ends first ends the road in both directions.
    tokio::select! {
        () = carry(&mut from_client, &mut to_server, &mut there, Some(Reading::of(tap))) => {}
        () = carry(&mut from_server, &mut to_client, &mut back, None) => {}
        _ = weather.wait_for(|weather| *weather == Weather::Refused) => {}
    }
}

async fn carry(
    from: &mut tokio::net::tcp::OwnedReadHalf,
    to: &mut tokio::net::tcp::OwnedWriteHalf,
    weather: &mut watch::Receiver<Weather>,
    mut reading: Option<Reading>,
) {
    let mut chunk = vec![0; CHUNK];
    loop {
        let Ok(size @ 1..) = from.read(&mut chunk).await else { return };
        if weather.wait_for(|weather| *weather != Weather::Silent).await.is_err() {
            return;
        }
        if let Some(reading) = &mut reading {
            reading.take(&chunk[..size]);
        }
        if to.write_all(&chunk[..size]).await.is_err() {
            return;
        }
    }
}
