//! Certificates for `--tls`: an authority of our own, one for the server, one for the broker and one a party.
//!
//! For demonstrations and for whoever has no authority. What an operator put in place is taken as it is and never written
//! over; only what is missing is made, and only while the authority's key is there. Nothing here is about identity.

use std::fs::{OpenOptions, Permissions};
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use async_nats::rustls::pki_types::pem::PemObject as _;
use async_nats::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use async_nats::rustls::server::ParsedCertificate;
use base64::Engine as _;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use zeroize::{Zeroize as _, Zeroizing};

use super::Error;
use super::accounts::Member;
use super::keys::{fault, is_private};
use super::tls::{End, Tls};
use crate::message::digest::Digest;
use crate::message::time;

/// Days for which a certificate is valid, and for which the authority is.
const DAYS: i64 = 397;
const AUTHORITY_DAYS: i64 = 3_650;
/// Clocks of other machines may be behind ours.
const HOUR: i64 = 3_600;
/// By these names clients call a server on their own machine.
pub const LOOPBACK: [&str; 3] = ["127.0.0.1", "::1", "localhost"];
/// The authority's name; certificates are tied to its key, not to this.
const AUTHORITY: &str = "liaison certificate authority";

/// Makes what is missing below the directory of the keys, looks at it, and gives the server's files.
///
/// # Errors
/// [`Error::Key`] that names the file: a key that others may read, a certificate of the server that cannot be used, or one
/// that is missing where the authority's key is not at hand.
pub fn ensure(keys: &Path, hosts: &[String], members: &[Member]) -> Result<Tls, Error> {
    let server = Tls::of_server(keys);
    let authority = authority(&server.ca, &keys.join("tls/ca.key"))?;
    certified(authority.as_ref(), &server, End::Server(hosts), "liaison nats-server")?;
    server.check(End::Server(hosts))?;
    for owner in ["broker"].into_iter().chain(members.iter().map(|member| member.party.as_str())) {
        let files = Tls::beside(keys, owner);
        certified(authority.as_ref(), &files, End::Client, owner)?;
        // A key that was handed over is not here any more, and need not be. What else is wrong with a certificate is told to
        // whoever connects with it: that of one party has run out is no trouble of the others.
        if files.key.exists() {
            is_private(&files.key)?;
        }
    }
    Ok(server)
}

/// What tells the server's key from every other, as nats-server wants it: the SHA-256 of its public key with its algorithm. A
/// certificate that is renewed with the same key keeps it.
///
/// # Errors
/// [`Error::Key`]: the certificate cannot be read.
pub fn pin(server: &Tls) -> Result<String, Error> {
    let chain = server.chain()?;
    let own = chain.first().ok_or_else(|| fault(&server.certificate, "holds no certificate".to_owned()))?;
    let own = ParsedCertificate::try_from(own);
    let own = own.map_err(|error| fault(&server.certificate, format!("is no certificate: {error}")))?;
    Ok(Digest::of(own.subject_public_key_info().as_ref()).hex())
}

/// The authority, made if nothing of it is there; none if its key is kept elsewhere.
fn authority(certificate: &Path, key: &Path) -> Result<Option<Issuer<'static, KeyPair>>, Error> {
    if certificate.exists() && !key.exists() {
        return Ok(None);
    }
    let pair = pair(key)?;
    let mut params = params(AUTHORITY, AUTHORITY_DAYS).map_err(|error| fault(key, error.to_string()))?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    if !certificate.exists() {
        let made = params.self_signed(&pair).map_err(|error| fault(certificate, error.to_string()))?;
        write(certificate, &pem("CERTIFICATE", made.der()), 0o644)?;
    }
    Ok(Some(Issuer::new(params, pair)))
}

/// Makes a certificate that is missing, for the key that is there or a new one.
fn certified(
    authority: Option<&Issuer<'static, KeyPair>>,
    files: &Tls,
    end: End<'_>,
    name: &str,
) -> Result<(), Error> {
    let file = &files.certificate;
    if file.exists() {
        return Ok(());
    }
    let Some(authority) = authority else {
        let words = "is missing, and the key of the authority is not here to make it: put it there";
        return Err(fault(file, words.to_owned()));
    };
    let mut pair = pair(&files.key)?;
    let made = params(name, DAYS).and_then(|mut params| {
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if let End::Server(hosts) = end {
            params.subject_alt_names = CertificateParams::new(hosts)?.subject_alt_names;
            // Servers of a cluster call each other, each with its own certificate.
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        params.signed_by(&pair, authority)
    });
    pair.zeroize();
    let made = made.map_err(|error| fault(file, error.to_string()))?;
    write(file, &pem("CERTIFICATE", made.der()), 0o644)
}

fn params(name: &str, days: i64) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    let mut called = DistinguishedName::new();
    called.push(DnType::CommonName, name);
    params.distinguished_name = called;
    let from = time::now().as_second() - HOUR;
    let at = |second: i64| date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(second.unsigned_abs());
    params.not_before = at(from);
    params.not_after = at(from + days * 24 * HOUR);
    Ok(params)
}

/// The key in a file, which is made if it is missing.
fn pair(file: &Path) -> Result<KeyPair, Error> {
    let words = |error: &dyn std::fmt::Display| fault(file, error.to_string());
    if !file.try_exists().map_err(|error| words(&error))? {
        let mut pair = KeyPair::generate().map_err(|error| words(&error))?;
        let text = Zeroizing::new(pem("PRIVATE KEY", pair.serialized_der()));
        pair.zeroize();
        write(file, &text, 0o600)?;
    }
    is_private(file)?;
    let mut key = PrivatePkcs8KeyDer::from_pem_file(file)
        .map(PrivateKeyDer::Pkcs8)
        .map_err(|_| fault(file, "holds no private key in PEM (PKCS #8)".to_owned()))?;
    let pair = KeyPair::try_from(&key);
    key.zeroize();
    pair.map_err(|error| words(&error))
}

fn pem(label: &str, bytes: &[u8]) -> String {
    let text = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(bytes));
    let mut lines = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        lines.extend(line.iter().copied().map(char::from));
        lines.push('\n');
    }
    lines + &format!("-----END {label}-----\n")
}

/// A crash must not leave half a file under the final name.
fn write(file: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let words = |error: std::io::Error| fault(file, error.to_string());
    if let Some(parent) = file.parent().filter(|parent| !parent.is_dir()) {
        std::fs::create_dir_all(parent).map_err(words)?;
        std::fs::set_permissions(parent, Permissions::from_mode(0o700)).map_err(words)?;
    }
    let mut fresh = file.as_os_str().to_owned();
    fresh.push(".new");
    // One that a crash left may have another mode.
    drop(std::fs::remove_file(&fresh));
    let new = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh);
    new.and_then(|mut new| new.write_all(text.as_bytes()).and_then(|()| new.sync_all()))
        .and_then(|()| std::fs::rename(&fresh, file))
        .map_err(words)
}

/// The names by which a server that listens there is called, unless the operator says so: those of the machine itself.
///
/// # Errors
/// It listens for other machines, and by which name they call it is not known; in words.
pub fn hosts(listen: &str, named: &[String]) -> Result<Vec<String>, String> {
    let host = listen.rsplit_once(':').map_or(listen, |(host, _)| host).trim_matches(['[', ']']);
    let ip = host.parse::<IpAddr>().ok();
    let mut hosts = named.to_vec();
    if hosts.is_empty() && ip.is_some_and(|ip| ip.is_unspecified()) {
        return Err(format!("{listen} is for other machines: say by --tls-host how they call this one"));
    }
    let own = LOOPBACK.map(str::to_owned);
    let listened = (!ip.is_some_and(|ip| ip.is_unspecified())).then(|| host.to_owned());
    for host in listened.into_iter().chain(own) {
        if !hosts.contains(&host) && !host.is_empty() {
            hosts.push(host);
        }
    }
    Ok(hosts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::names::PartyId;

    #[test]
    fn certificates_are_for_their_use_and_end_in_a_year() {
        let place = tempfile::tempdir().expect("temp dir");
        let party = Member { party: PartyId::parse("de-bpol").expect("well formed"), posts: Vec::new() };
        let hosts = ["nats.example.org".to_owned(), "127.0.0.1".to_owned()];
        let server = ensure(place.path(), &hosts, &[party]).expect("makes");
        let client = Tls::beside(place.path(), "de-bpol");
        client.check(End::Client).expect("a client's");
        server.check(End::Client).expect("servers of a cluster are clients of each other");
        let words = client.check(End::Server(&hosts)).expect_err("no server's").to_string();
        assert!(words.contains("tls.crt: is "), "{words}");
        let words =
            server.check(End::Server(&["elsewhere".to_owned()])).expect_err("not its name").to_string();
        assert!(words.contains("is not for elsewhere"), "{words}");
        let days = |days: i64| time::now() + jiff::SignedDuration::from_hours(24 * days);
        assert_eq!(client.runs_out(days(DAYS - 1)), None);
        let until = client.runs_out(days(DAYS + 1)).expect("ends before");
        assert!(until > days(DAYS - 1) && until <= days(DAYS), "{until}");
    }

    #[test]
    fn a_renewed_certificate_has_the_pin_of_its_key() {
        let place = tempfile::tempdir().expect("temp dir");
        let hosts = ["127.0.0.1".to_owned()];
        let server = ensure(place.path(), &hosts, &[]).expect("makes");
        let first = pin(&server).expect("a pin");
        assert!(first.len() == 64 && first.bytes().all(|byte| byte.is_ascii_hexdigit()), "{first}");
        assert_ne!(pin(&Tls::beside(place.path(), "broker")).expect("a pin"), first);
        std::fs::remove_file(&server.certificate).expect("run out");
        ensure(place.path(), &hosts, &[]).expect("makes it anew");
        assert_eq!(pin(&server).expect("a pin"), first, "the key stayed");
        std::fs::remove_file(&server.certificate).expect("run out");
        std::fs::remove_file(&server.key).expect("lost");
        ensure(place.path(), &hosts, &[]).expect("makes both");
        assert_ne!(pin(&server).expect("a pin"), first);
        std::fs::write(&server.certificate, "no certificate").expect("writes");
        assert!(pin(&server).expect_err("nothing to pin").to_string().contains("server.crt"));
    }

    #[test]
    fn a_server_of_another_authority_is_none() {
        let [one, other] = [(), ()].map(|()| tempfile::tempdir().expect("temp dir"));
        let hosts = ["127.0.0.1".to_owned()];
        let own = ensure(one.path(), &hosts, &[]).expect("makes");
        let stranger = ensure(other.path(), &hosts, &[]).expect("makes");
        let mixed = Tls { ca: own.ca, ..stranger };
        let words = mixed.check(End::Server(&hosts)).expect_err("another's").to_string();
        assert!(words.contains("was not made by the authority of"), "{words}");
        // Clients may be certified by another authority than servers are.
        mixed.check(End::Client).expect("a client's");
    }

    #[test]
    fn a_server_for_other_machines_needs_a_name() {
        let own = ["127.0.0.1", "::1", "localhost"];
        assert_eq!(hosts("127.0.0.1:4222", &[]).expect("names"), own);
        assert_eq!(hosts("10.0.0.2:4222", &[]).expect("names")[0], "10.0.0.2");
        assert!(hosts("0.0.0.0:4222", &[]).is_err() && hosts("[::]:4222", &[]).is_err());
        let named = hosts("0.0.0.0:4222", &["nats.example.org".to_owned()]).expect("names");
        assert_eq!((named[0].as_str(), named.len()), ("nats.example.org", 4));
    }
}
