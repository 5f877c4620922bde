//! A road to NATS that can be cut: a TCP proxy on loopback, for trying how a client takes an outage.
//!
//! It changes no byte but those that were ordered (`altering.rs`). What the client sends is also shown to the tap. Where the line is
//! closed by TLS it is opened here and closed again. The server never notices anything but lost connections, and nobody else's
//! connection is touched.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::altering::{Hand, Orders};
use super::tap::{Reading, Tap};
use crate::wire::between::Between;

/// Bytes carried at once.
const CHUNK: usize = 16 * 1024;
/// Longest first line of a server; that of a cluster names its servers.
const INFO: usize = 64 * 1024;

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

/// Where a road leads, and who looks into it.
#[derive(Debug, Clone)]
pub struct Way {
    /// The server, `host:port`.
    pub server: String,
    /// With this, if the line is closed by TLS.
    pub between: Option<Between>,
    /// What the client sends.
    pub tap: Arc<Tap>,
    /// What is changed of what it gets.
    pub orders: Arc<Orders>,
}

/// The proxy, until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    secured: bool,
    weather: watch::Sender<Weather>,
    listening: JoinHandle<()>,
}

impl Proxy {
    /// Begins to listen on a free port of loopback.
    ///
    /// # Errors
    /// No port can be had.
    pub async fn start(way: Way) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (weather, seen) = watch::channel(Weather::Fair);
        let secured = way.between.is_some();
        let listening = tokio::spawn(async move {
            let mut roads = JoinSet::new();
            loop {
                let Ok((client, _)) = listener.accept().await else { return };
                while roads.try_join_next().is_some() {}
                roads.spawn(road(client, way.clone(), seen.clone()));
            }
        });
        Ok(Self { address, secured, weather, listening })
    }

    /// Its address as clients take it.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.secured { "tls" } else { "nats" };
        format!("{scheme}://{}", self.address)
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

async fn road(client: TcpStream, way: Way, mut weather: watch::Receiver<Weather>) {
    if *weather.borrow_and_update() == Weather::Refused {
        return;
    }
    let Ok(server) = TcpStream::connect(&way.server).await else { return };
    let seen = weather.clone();
    let opened = async {
        match &way.between {
            None => carry_both(client, server, &way, seen).await,
            Some(between) => {
                if let Ok((client, server)) = shake(between, client, server).await {
                    carry_both(client, server, &way, seen).await;
                }
            }
        }
    };
    tokio::select! {
        () = opened => {}
        _ = weather.wait_for(|weather| *weather == Weather::Refused) => {}
    }
}

/// Hands on what the server says in the clear, then closes both lines.
async fn shake(
    between: &Between,
    mut client: TcpStream,
    mut server: TcpStream,
) -> std::io::Result<(impl AsyncRead + AsyncWrite, impl AsyncRead + AsyncWrite)> {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') && line.len() < INFO {
        line.push(server.read_u8().await?);
    }
    client.write_all(&line).await?;
    between.shake(client, server).await
}

async fn carry_both(
    client: impl AsyncRead + AsyncWrite,
    server: impl AsyncRead + AsyncWrite,
    way: &Way,
    weather: watch::Receiver<Weather>,
) {
    let (from_client, to_client) = tokio::io::split(client);
    let (from_server, to_server) = tokio::io::split(server);
    let mut reading = Reading::of(Arc::clone(&way.tap));
    let mut hand = Hand::of(Arc::clone(&way.orders));
    let heard = |bytes: &[u8]| {
        reading.take(bytes);
        Bytes::copy_from_slice(bytes)
    };
    // Whatever ends first ends the road in both directions.
    tokio::select! {
        () = carry(from_client, to_server, weather.clone(), heard) => {}
        () = carry(from_server, to_client, weather, |bytes: &[u8]| hand.pass(bytes)) => {}
    }
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut weather: watch::Receiver<Weather>,
    mut through: impl FnMut(&[u8]) -> Bytes,
) {
    let mut chunk = vec![0; CHUNK];
    loop {
        let Ok(size @ 1..) = from.read(&mut chunk).await else { return };
        // Refused ends the road, and carries nothing that was held back.
        if weather.wait_for(|weather| *weather == Weather::Fair).await.is_err() {
            return;
        }
        let bytes = through(&chunk[..size]);
        // TLS keeps what it was given until it is flushed.
        if to.write_all(&bytes).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
}
