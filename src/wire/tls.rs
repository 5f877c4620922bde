//! TLS on the road: whom we trust, who we are, and what a handshake that failed means, in one line.
//!
//! A certificate opens the line, no more: who somebody is says the nkey, as without TLS. The files are read anew for each
//! connection, so a renewed certificate needs no restart. Certificates are made elsewhere (`certificates.rs`).

use std::error::Error as _;
use std::io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_nats::rustls::client::WebPkiServerVerifier;
use async_nats::rustls::client::danger::ServerCertVerifier as _;
use async_nats::rustls::pki_types::pem::{self, PemObject as _};
use async_nats::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use async_nats::rustls::server::WebPkiClientVerifier;
use async_nats::rustls::{CertificateError, ClientConfig, Error as Fault, RootCertStore};
use async_nats::{ConnectError, ConnectOptions};

use super::Error;
use super::keys::{fault, is_private};
use crate::message::time::{self, Timestamp};

/// The scheme of an address at which nobody speaks without TLS.
const SCHEME: &str = "tls://";

/// Where NATS is, and how the line to it is closed to others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Address {
    /// Address of NATS, or those of a cluster's servers with commas between them.
    pub url: String,
    /// The files for TLS; without them the line is open.
    pub tls: Option<Tls>,
}

impl Address {
    /// One without TLS of ours.
    #[must_use]
    pub fn plain(url: impl Into<String>) -> Self {
        Self { url: url.into(), tls: None }
    }

    /// One that says by its scheme whether there is TLS; then with the files that lie with these keys for this owner.
    #[must_use]
    pub fn with_keys(url: impl Into<String>, keys: &Path, owner: &str) -> Self {
        let url = url.into();
        let tls = is_secured(&url).then(|| Tls::beside(keys, owner));
        Self { url, tls }
    }

    /// The options with what closes the line, after a look at the files: what is wrong with them is told better here than by
    /// a handshake that fails.
    pub(super) fn closed(&self, options: ConnectOptions) -> Result<ConnectOptions, Error> {
        let Some(tls) = &self.tls else { return Ok(options) };
        tls.check(End::Client)?;
        Ok(tls.over(options))
    }
}

/// True if the address asks for TLS; of several one is enough, for none of them is then spoken to without.
#[must_use]
pub fn is_secured(url: &str) -> bool {
    url.split(',').any(|url| url.trim().starts_with(SCHEME))
}

/// The same address, asking for TLS.
#[must_use]
pub fn secured(url: &str) -> String {
    format!("{SCHEME}{}", url.trim_start_matches("nats://").trim_start_matches(SCHEME))
}

/// The files of one end of a line, each in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Certificates of the authorities that the other end may be certified by.
    pub ca: PathBuf,
    /// Our own certificate, with those between it and its authority.
    pub certificate: PathBuf,
    /// Its private key, mode 0600.
    pub key: PathBuf,
}

/// Files that somebody named; the others are where they always are.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// See [`Tls::ca`].
    pub ca: Option<PathBuf>,
    /// See [`Tls::certificate`].
    pub certificate: Option<PathBuf>,
    /// See [`Tls::key`].
    pub key: Option<PathBuf>,
}

impl Given {
    /// An address with these files. TLS is wanted if the address says so, or if one was named.
    #[must_use]
    pub fn address(self, url: String, usual: impl FnOnce() -> Tls) -> Address {
        let named = [&self.ca, &self.certificate, &self.key].into_iter().any(Option::is_some);
        let tls = (named || is_secured(&url)).then(usual).map(|usual| Tls {
            ca: self.ca.unwrap_or(usual.ca),
            certificate: self.certificate.unwrap_or(usual.certificate),
            key: self.key.unwrap_or(usual.key),
        });
        Address { url, tls }
    }
}

/// What a certificate is looked at for.
#[derive(Debug, Clone, Copy)]
pub enum End<'a> {
    /// Ours, as a client. Its authority may be another one than the server's.
    Client,
    /// That of a server of these names, which its own authority must have certified.
    Server(&'a [String]),
}

impl Tls {
    /// Where the files of the broker, or of a party, lie beside its nkeys.
    #[must_use]
    pub fn beside(keys: &Path, owner: &str) -> Self {
        let own = keys.join(owner);
        Self { ca: keys.join("tls/ca.crt"), certificate: own.join("tls.crt"), key: own.join("tls.key") }
    }

    /// Where the files of the server lie beside the nkeys of a `liaison up --tls`.
    #[must_use]
    pub fn of_server(keys: &Path) -> Self {
        let own = keys.join("tls");
        Self { ca: own.join("ca.crt"), certificate: own.join("server.crt"), key: own.join("server.key") }
    }

    /// Looks whether the files can be used now.
    ///
    /// # Errors
    /// [`Error::Key`] that names the file: missing, a key that others may read, no certificate, a key that is not the
    /// certificate's, run out, for another use.
    pub fn check(&self, end: End<'_>) -> Result<(), Error> {
        is_private(&self.key)?;
        let (roots, chain) = (self.roots()?, self.chain()?);
        let key =
            PrivateKeyDer::from_pem_file(&self.key).map_err(|error| fault(&self.key, unread(&error)))?;
        let built = ClientConfig::builder().with_root_certificates(Arc::clone(&roots));
        built.with_client_auth_cert(chain.clone(), key).map_err(|error| {
            let words = format!("is not the key of {}: {error}", self.certificate.display());
            fault(&self.key, words)
        })?;
        self.judge(&roots, &chain, end, time::now())
    }

    /// The end of the certificate's time, if that is before `at`.
    #[must_use]
    pub fn runs_out(&self, at: Timestamp) -> Option<Timestamp> {
        let (roots, chain) = (self.roots().ok()?, self.chain().ok()?);
        match verified(&roots, &chain, End::Client, at) {
            Err(Fault::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
                Timestamp::from_second(i64::try_from(not_after.as_secs()).ok()?).ok()
            }
            _ => None,
        }
    }

    /// What the client library needs.
    fn over(&self, options: ConnectOptions) -> ConnectOptions {
        options
            .require_tls(true)
            .add_root_certificates(self.ca.clone())
            .add_client_certificate(self.certificate.clone(), self.key.clone())
    }

    pub(super) fn chain(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        certificates(&self.certificate)
    }

    pub(super) fn roots(&self) -> Result<Arc<RootCertStore>, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.ca)? {
            let added = roots.add(certificate);
            added.map_err(|error| fault(&self.ca, format!("is no certificate of an authority: {error}")))?;
        }
        Ok(Arc::new(roots))
    }

    fn judge(
        &self,
        roots: &Arc<RootCertStore>,
        chain: &[CertificateDer<'static>],
        end: End<'_>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let words = match (verified(roots, chain, end, now), end) {
            (Ok(()), _) => return Ok(()),
            (Err(Fault::InvalidCertificate(why)), end) => match (why, end) {
                (CertificateError::UnknownIssuer | CertificateError::BadSignature, End::Client) => {
                    return Ok(());
                }
                (CertificateError::UnknownIssuer | CertificateError::BadSignature, End::Server(_)) => {
                    format!("was not made by the authority of {}", self.ca.display())
                }
                (why, _) => in_words(&why),
            },
            (Err(error), _) => error.to_string(),
        };
        Err(fault(&self.certificate, words))
    }
}

fn verified(
    roots: &Arc<RootCertStore>,
    chain: &[CertificateDer<'static>],
    end: End<'_>,
    at: Timestamp,
) -> Result<(), Fault> {
    let Some((own, between)) = chain.split_first() else { return Err(Fault::NoCertificatesPresented) };
    let seconds = u64::try_from(at.as_second()).unwrap_or_default();
    let at = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let other = |error: &dyn std::fmt::Display| Fault::General(error.to_string());
    match end {
        End::Client => {
            let verifier =
                WebPkiClientVerifier::builder(Arc::clone(roots)).build().map_err(|error| other(&error))?;
            verifier.verify_client_cert(own, between, at).map(drop)
        }
        End::Server(names) => {
            let verifier =
                WebPkiServerVerifier::builder(Arc::clone(roots)).build().map_err(|error| other(&error))?;
            names.iter().try_for_each(|name| {
                let name = ServerName::try_from(name.as_str()).map_err(|error| other(&error))?;
                verifier.verify_server_cert(own, between, &name, &[], at).map(drop)
            })
        }
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let read = read.map_err(|error| fault(file, unread(&error)))?;
    if read.is_empty() { Err(fault(file, "holds no certificate in PEM".to_owned())) } else { Ok(read) }
}

fn unread(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        // The library's words quote lines of the file, which may be a key.
        _ => "holds nothing in PEM that can be used here".to_owned(),
    }
}

fn in_words(why: &CertificateError) -> String {
    let at = |time: &UnixTime| {
        let second = i64::try_from(time.as_secs()).ok().and_then(|at| Timestamp::from_second(at).ok());
        second.map(time::rfc3339).unwrap_or_default()
    };
    match why {
        CertificateError::ExpiredContext { not_after, .. } => format!("has run out on {}", at(not_after)),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("is valid from {} on, later than this clock", at(not_before))
        }
        CertificateError::NotValidForNameContext { expected, .. } => {
            format!("is not for {}", expected.to_str())
        }
        CertificateError::InvalidPurposeContext { .. } => "is for another use".to_owned(),
        other => format!("is no good: {other:?}"),
    }
}

/// What a connection that failed means, if it failed for TLS.
pub(super) fn explain(address: &Address, error: &ConnectError) -> Option<Error> {
    let url = &address.url;
    let inner = error.source()?.downcast_ref::<std::io::Error>()?;
    let found = inner.get_ref().and_then(|inner| inner.downcast_ref::<Fault>());
    match (found, &address.tls) {
        (Some(Fault::InvalidCertificate(_)), None) => {
            let words = "wants TLS: give its authority and our certificate (--tls-ca, --tls-cert, --tls-key; `[nats] tls_ca` …)";
            Some(Error::Unreachable(format!("{url} {words}")))
        }
        (
            Some(Fault::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)),
            Some(tls),
        ) => {
            let words = "has a certificate of another authority than that of";
            Some(Error::Unreachable(format!(
                "{url} {words} {}: somebody else may be there",
                tls.ca.display()
            )))
        }
        (Some(Fault::InvalidCertificate(why)), Some(_)) => {
            Some(Error::Unreachable(format!("{url}: the certificate of nats-server {}", in_words(why))))
        }
        (Some(Fault::AlertReceived(alert)), Some(tls)) => {
            let file = tls.certificate.display();
            Some(Error::Denied(format!("{url} does not take the certificate {file}: {alert:?}")))
        }
        (Some(other), _) => Some(Error::Unreachable(format!("{url}: TLS: {other}"))),
        // The refusal is lost if the line is closed while we still write.
        (None, Some(tls)) if matches!(inner.kind(), ConnectionReset | BrokenPipe | UnexpectedEof) => {
            let file = tls.certificate.display();
            let words = format!("{url}: {inner}; perhaps it does not take the certificate {file}");
            Some(Error::Unreachable(words))
        }
        (None, _) => None,
    }
}
