//! The way between the servers of a cluster with `--tls`: a route speaks for every account, so nobody comes in by it with the
//! certificate of a party. Real servers on both sides; what the cluster is for is in `cluster.rs`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::harness::*;
use super::instances::free_ports;

/// A nats-server with a monitor.
struct Server {
    child: Child,
    monitor: u16,
    log: PathBuf,
}

impl Server {
    fn start(config: &Path, monitor: u16) -> Self {
        let program = word("LIAISON_NATS_SERVER").unwrap_or_else(|| "target/tools/nats-server".to_owned());
        let log = config.with_extension("log");
        let mut command = Command::new(program);
        command.arg("-c").arg(config).arg("-l").arg(&log).args(["-a", "127.0.0.1", "-m"]);
        let child = command.arg(monitor.to_string()).stdin(Stdio::null()).spawn().expect("starts");
        Self { child, monitor, log }
    }

    /// The servers that it has routes to; none while it does not answer.
    async fn routes(&self) -> BTreeSet<String> {
        let Ok(mut socket) = tokio::net::TcpStream::connect(("127.0.0.1", self.monitor)).await else {
            return BTreeSet::new();
        };
        socket.write_all(b"GET /routez HTTP/1.0\r\n\r\n").await.expect("writes");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.expect("reads");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        let told: Value = serde_json::from_str(body).expect("JSON");
        let names = told["routes"].as_array().into_iter().flatten().map(|route| &route["remote_name"]);
        names.map(|name| name.as_str().expect("a name").to_owned()).collect()
    }

    fn said(&self, words: &str) -> bool {
        std::fs::read_to_string(&self.log).unwrap_or_default().contains(words)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The configuration of a server that somebody makes who holds these files: it has all our accounts' names, and no keys at all.
fn intruder(place: &Path, certificate: &Path, keys: &Path, ports: [u16; 2], to: u16) -> PathBuf {
    let [clients, routes] = ports;
    let key = certificate.with_extension("key");
    let file = place.join("intruder.conf");
    let tls = format!(
        "tls {{ cert_file: {certificate:?}, key_file: {key:?}, ca_file: {:?}, verify: true, min_version: \"1.3\" }}",
        keys.join("tls/ca.crt")
    );
    let config = format!(
        "listen: \"127.0.0.1:{clients}\"\nserver_name: intruder\n\
         accounts {{ CORE: {{ users: [ {{ user: a, password: b }} ] }} }}\n\
         cluster {{ name: liaison, listen: \"127.0.0.1:{routes}\", routes: [ \"nats://127.0.0.1:{to}\" ], {tls} }}\n"
    );
    std::fs::write(&file, config).expect("writes");
    file
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partys_certificate_opens_no_route_and_the_servers_own_does() {
    let place = folder();
    let (directory, keys) = (place.path().join("nats"), place.path().join("keys"));
    let registry = place.path().join("network.toml");
    std::fs::write(&registry, few_parties()).expect("a registry");
    let ports = free_ports(12);
    let mut command = liaison();
    command.args(["nats-config", "--tls", "--registry"]).arg(&registry).arg("--keys").arg(&keys);
    command.arg("--store").arg(directory.join("store")).arg("--cluster").arg(&directory);
    for (at, name) in ["n1", "n2", "n3"].iter().enumerate() {
        command.arg("--server").arg(format!(
            "{name}=127.0.0.1:{},127.0.0.1:{}",
            ports[3 * at],
            ports[3 * at + 1]
        ));
    }
    let written = command.output().expect("runs");
    assert!(written.status.success(), "{written:?}");
    let servers =
        [0, 1, 2].map(|at| Server::start(&directory.join(format!("n{}.conf", at + 1)), ports[3 * at + 2]));
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    until("real routes", async || (servers[0].routes().await == names(&["n2", "n3"])).then_some(())).await;

    // Whoever has the certificate of a party, or the broker's, is cut off before it hears anything.
    for owner in ["it-moi", "broker"] {
        let own = keys.join(owner).join("tls.crt");
        let config = intruder(place.path(), &own, &keys, [ports[9], ports[10]], ports[1]);
        let intruder = Server::start(&config, ports[11]);
        let let_in = until("an end", async || {
            let let_in = !intruder.routes().await.is_empty();
            (let_in || servers[0].said("certificate not pinned")).then_some(let_in)
        })
        .await;
        assert!(!let_in && intruder.routes().await.is_empty(), "{owner} has a route");
        assert_eq!(servers[0].routes().await, names(&["n2", "n3"]), "{owner}");
        std::fs::write(&servers[0].log, []).expect("emptied");
    }
    // It is the certificate that it lacked, nothing else.
    let config = intruder(place.path(), &keys.join("tls/server.crt"), &keys, [ports[9], ports[10]], ports[1]);
    let server = Server::start(&config, ports[11]);
    until("a route", async || server.routes().await.contains("n1").then_some(())).await;
}
