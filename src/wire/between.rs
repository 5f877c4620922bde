//! TLS at both ends of a road that somebody looks into: towards a client as the server, towards the server as a party.
//!
//! Whoever stands here holds the server's key and a party's certificate, so this is for the machine of a `liaison up` and an
//! acceptance that a party agreed to. It takes nobody in whom the server would not: a client must show a certificate of the same
//! authority, over TLS 1.3, and who it is still says its nkey to the server itself.

use std::path::Path;
use std::sync::Arc;

use async_nats::rustls::pki_types::pem::PemObject as _;
use async_nats::rustls::pki_types::{PrivateKeyDer, ServerName};
use async_nats::rustls::server::WebPkiClientVerifier;
use async_nats::rustls::version::TLS13;
use async_nats::rustls::{ClientConfig, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::Error;
use super::keys::fault;
use super::tls::{End, Tls};

/// Both ends.
#[derive(Clone)]
pub struct Between {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
    /// The server's, which its certificate must have.
    name: ServerName<'static>,
}

impl std::fmt::Debug for Between {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Between").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Between {
    /// For the server of this host name or address, with the keys of a `liaison up --tls`, as this party.
    ///
    /// # Errors
    /// [`Error::Key`] that names a file that is missing or cannot be used.
    pub fn of(keys: &Path, host: &str, party: &str) -> Result<Self, Error> {
        let (server, party) = (Tls::of_server(keys), Tls::beside(keys, party));
        let hosts = [host.to_owned()];
        server.check(End::Server(&hosts))?;
        party.check(End::Client)?;
        let words = |error: &dyn std::fmt::Display| error.to_string();
        let verifier = WebPkiClientVerifier::builder(server.roots()?).build();
        let verifier = verifier.map_err(|error| fault(&server.ca, words(&error)))?;
        let accepts = ServerConfig::builder_with_protocol_versions(&[&TLS13])
            .with_client_cert_verifier(verifier)
            .with_single_cert(server.chain()?, key(&server)?)
            .map_err(|error| fault(&server.certificate, words(&error)))?;
        let connects = ClientConfig::builder_with_protocol_versions(&[&TLS13])
            .with_root_certificates(party.roots()?)
            .with_client_auth_cert(party.chain()?, key(&party)?)
            .map_err(|error| fault(&party.certificate, words(&error)))?;
        let name = ServerName::try_from(hosts[0].clone());
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(accepts)),
            connector: TlsConnector::from(Arc::new(connects)),
            name: name.map_err(|error| fault(&server.certificate, words(&error)))?,
        })
    }

    /// Shakes hands with both; the server has said its first line in the clear before, as NATS does.
    ///
    /// # Errors
    /// One of them does not want to.
    pub async fn shake(
        &self,
        client: TcpStream,
        server: TcpStream,
    ) -> std::io::Result<(server::TlsStream<TcpStream>, client::TlsStream<TcpStream>)> {
        // The client first: the server has nothing to hear from one that it would not take.
        let client = self.acceptor.accept(client).await?;
        Ok((client, self.connector.connect(self.name.clone(), server).await?))
    }
}

fn key(of: &Tls) -> Result<PrivateKeyDer<'static>, Error> {
    // What is wrong with the file was told by the look at it; the library's words may quote it.
    PrivateKeyDer::from_pem_file(&of.key)
        .map_err(|_| fault(&of.key, "holds no private key in PEM".to_owned()))
}
