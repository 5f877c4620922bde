//! Several instances of one exchange: one nats-server or three, one broker that serves, others that stand by.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::harness::{
    Exchange, api, few_parties, folder, liaison, log_of, server_apart, signal, spawn, text, until, word,
};
use super::proxy::{Proxy, Weather};

/// So many messages a second that no publisher is ever refused for its rate, and what fell due is looked for in the time of a test.
const FAST: &str = "[rate]\nper_second = 100000\nburst = 100000\n[retention]\nevery_seconds = 5\n";

/// The servers, the instance that serves, and the one that stands by, if there is one.
pub struct Instances {
    pub exchange: Exchange,
    pub servers: Vec<Server>,
    /// The roads between servers, from one to another, if they go over proxies.
    roads: Vec<(usize, usize, Proxy)>,
    shared: PathBuf,
    standby: Option<Standby>,
    _folder: tempfile::TempDir,
}

/// An instance that stands by.
struct Standby {
    child: Child,
    data: PathBuf,
    /// How long its log was before it started.
    logged: usize,
}

impl Standby {
    /// Its window for operators, once it serves.
    fn serves(&self) -> Option<String> {
        let log = log_of(&self.data);
        let ready = log[self.logged..].lines().rev().find_map(|line| line.split_once(" ready address="));
        ready.map(|(_, http)| format!("http://{}", http.trim()))
    }
}

/// A nats-server that can be killed and started again.
pub struct Server {
    name: String,
    config: PathBuf,
    child: Child,
}

impl Server {
    fn spawn(name: &str, config: &Path) -> Child {
        let program = word("LIAISON_NATS_SERVER").unwrap_or_else(|| "target/tools/nats-server".to_owned());
        Command::new(program)
            .arg("-c")
            .arg(config)
            .arg("-l")
            .arg(config.with_file_name(format!("{name}.log")))
            .stdin(Stdio::null())
            .spawn()
            .expect("nats-server starts")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn kill(&mut self) {
        self.child.kill().expect("kills");
        self.child.wait().expect("waits");
    }

    pub fn again(&mut self) {
        self.child = Self::spawn(&self.name, &self.config);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Instances {
    /// One nats-server, and an instance that serves.
    pub async fn on_one_server() -> Self {
        let (folder, shared) = shared();
        let (child, url) = server_apart(&shared).await;
        let server = Server { name: "alone".to_owned(), config: shared.join("nats/nats-server.conf"), child };
        Self::with(folder, shared, vec![server], &url, 1).await
    }

    /// Three nats-servers that hold each stream together, and an instance that serves.
    pub async fn on_three_servers() -> Self {
        Self::on_three(false, None).await
    }

    /// The same, and the first server and the first instance are one machine: this is its disk.
    pub async fn on_three_servers_and_a_disk(disk: &Path) -> Self {
        Self::on_three(false, Some(disk)).await
    }

    /// The same, and servers can be parted from each other.
    pub async fn on_three_servers_that_part() -> Self {
        Self::on_three(true, None).await
    }

    async fn on_three(part: bool, disk: Option<&Path>) -> Self {
        let (folder, shared) = shared();
        let (config, ports) = (shared.join("nats"), free_ports(6));
        let addresses: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let mut command = liaison();
        command.args(["nats-config", "--registry"]).arg(shared.join("network.toml"));
        command.arg("--keys").arg(shared.join("keys")).arg("--store").arg(config.join("store"));
        command.arg("--cluster").arg(&config);
        let names = ["n1", "n2", "n3"];
        for (name, pair) in names.iter().zip(addresses.chunks(2)) {
            command.arg("--server").arg(format!("{name}={},{}", pair[0], pair[1]));
        }
        let written = command.output().expect("runs");
        assert!(written.status.success(), "{written:?}");
        let mut roads = Vec::new();
        for (from, name) in names.iter().enumerate().filter(|_| part) {
            let file = config.join(format!("{name}.conf"));
            // What servers tell each other of their addresses would lead around the proxies.
            let mut text = read(&file).replace("routes:", "advertise: \"127.0.0.1:9\", routes:");
            for to in (0..names.len()).filter(|to| *to != from) {
                let listen = &addresses[2 * to + 1];
                let road = Proxy::start(listen, (10 * from + to) as u64).await;
                text = text.replace(&format!("nats://{listen}"), &road.url());
                roads.push((from, to, road));
            }
            std::fs::write(&file, text).expect("writes");
        }
        if let Some(disk) = disk {
            let file = config.join("n1.conf");
            let moved = read(&file).replace(&text(&config.join("store/n1")), &text(&disk.join("store")));
            std::fs::write(&file, moved).expect("writes");
            std::fs::create_dir(disk.join("a")).expect("a directory");
            for name in ["a", "a.root-key"] {
                std::os::unix::fs::symlink(disk.join(name), shared.join(name)).expect("a link");
            }
            // What an instance looks for beside its directory.
            for name in ["keys", "network.toml"] {
                std::os::unix::fs::symlink(shared.join(name), disk.join(name)).expect("a link");
            }
        }
        let start = |name: &&str| {
            let config = config.join(format!("{name}.conf"));
            Server { name: (*name).to_owned(), child: Server::spawn(name, &config), config }
        };
        let servers = names.iter().map(start).collect();
        let urls: Vec<String> =
            addresses.iter().step_by(2).map(|address| format!("nats://{address}")).collect();
        until("a server that answers", async || {
            tokio::net::TcpStream::connect(&addresses[0]).await.ok().map(drop)
        })
        .await;
        let mut all = Self::with(folder, shared, servers, &urls.join(","), 3).await;
        all.roads = roads;
        all
    }

    /// How the roads between this server and the others are from now on; clients reach it all the same.
    pub fn part(&self, server: usize, weather: Weather) {
        let its = self.roads.iter().filter(|(from, to, _)| [from, to].contains(&&server));
        its.for_each(|(_, _, road)| road.set(weather));
    }

    /// Changes a part of the servers' configuration, which they take while they run.
    pub fn reconfigured(&self, from: &str, to: &str) {
        for server in &self.servers {
            let text = read(&server.config);
            assert!(text.contains(from), "{}", server.config.display());
            std::fs::write(&server.config, text.replace(from, to)).expect("writes");
            signal(server.child.id(), "HUP");
        }
    }

    /// How the roads between two servers are from now on; the third sees both.
    pub fn estrange(&self, pair: [usize; 2], weather: Weather) {
        let its = self.roads.iter().filter(|(from, to, _)| pair.contains(from) && pair.contains(to));
        its.for_each(|(_, _, road)| road.set(weather));
    }

    async fn with(
        folder: tempfile::TempDir,
        shared: PathBuf,
        servers: Vec<Server>,
        urls: &str,
        replicas: usize,
    ) -> Self {
        let list: Vec<&str> = urls.split(',').collect();
        let nats = format!("[nats]\nurl = {}\nkeys = \"../keys\"\nreplicas = {replicas}\n", json!(list));
        let planes = "[planes]\ncase = true\n";
        let registry = "[registry]\nfile = \"../network.toml\"\n";
        std::fs::write(shared.join("common.toml"), format!("{FAST}{nats}{planes}{registry}"))
            .expect("writes");
        let first = instance(&shared, "a");
        let exchange = Exchange::serving(&first, urls).await;
        std::fs::copy(shared.join("a.root-key"), shared.join("root-key")).expect("a root key");
        Self { exchange, servers, roads: Vec::new(), shared, standby: None, _folder: folder }
    }

    /// Starts an instance that stands by.
    pub async fn stand_by(&mut self, name: &str) {
        assert!(self.standby.is_none());
        let data = instance(&self.shared, name);
        let logged = log_of(&data).len();
        let child = spawn(&data, &serve(&data));
        until("a standby", async || log_of(&data)[logged..].contains("standing by").then_some(())).await;
        self.standby = Some(Standby { child, data, logged });
    }

    /// The directory of the instance that stands by.
    pub fn standby_data(&self) -> &Path {
        &self.standby.as_ref().expect("a standby").data
    }

    /// The process of the instance that stands by.
    pub fn standby_pid(&self) -> u32 {
        self.standby.as_ref().expect("a standby").child.id()
    }

    /// Kills the instance that stands by.
    pub fn standby_dies(&mut self) {
        let Standby { mut child, .. } = self.standby.take().expect("a standby");
        child.kill().expect("kills");
        child.wait().expect("waits");
    }

    /// Waits until the standby serves; it is the exchange then. Gives the process that was, and how long it took.
    pub async fn taken_over(&mut self) -> (Child, Duration) {
        let since = Instant::now();
        let standby = self.standby.take().expect("a standby");
        let http = until("the other instance", async || standby.serves()).await;
        (self.exchange.moved(standby.child, standby.data, http), since.elapsed())
    }

    /// If the standby serves although nobody killed the other one, that one is started again as the standby, as its
    /// supervisor would; true then.
    pub async fn replaced(&mut self) -> bool {
        if self.standby.as_ref().is_none_or(|standby| standby.serves().is_none()) {
            return false;
        }
        let name = text(Path::new(self.exchange.data.file_name().expect("a name")));
        let (mut before, _) = self.taken_over().await;
        assert_eq!(before.wait().expect("waits").code(), Some(1), "it lost its lease");
        self.stand_by(&name).await;
        true
    }

    /// Kills the instance that serves, and nothing is left of its directory.
    pub fn lose_with_its_disk(&mut self) {
        self.exchange.kill();
        std::fs::remove_dir_all(&self.exchange.data).expect("removed");
    }

    /// Which server leads a stream.
    pub async fn leader(&self, stream: &str) -> usize {
        let named = until("a leader", async || {
            let client = self.exchange.admin().await;
            let answer = client.request(format!("$JS.API.STREAM.INFO.{stream}"), "".into()).await.ok()?;
            let info: Value = serde_json::from_slice(&answer.payload).ok()?;
            info["cluster"]["leader"].as_str().map(str::to_owned)
        })
        .await;
        self.servers.iter().position(|server| server.name == named).expect("one of ours")
    }
}

impl Instances {
    /// Has this server lead all mailboxes, and the first one everything that a receipt needs.
    pub async fn lead_mailboxes(&self, victim: usize) {
        let admin = self.exchange.admin().await;
        let names = api(&admin, "STREAM.NAMES", &json!({})).await;
        let names: Vec<String> = serde_json::from_value(names["streams"].clone()).expect("names");
        for name in names {
            let wanted = if name.starts_with("MBOX_") { victim } else { 0 };
            until("a leader where it is wanted", async || {
                let leads = self.leader(&name).await;
                let to = json!({ "placement": { "preferred": self.servers[wanted].name } });
                let call = format!("$JS.API.STREAM.LEADER.STEPDOWN.{name}");
                if leads != wanted {
                    admin.request(call, to.to_string().into()).await.ok();
                }
                (leads == wanted).then_some(())
            })
            .await;
        }
    }
}

impl Instances {
    /// Does what a supervisor does, until this much time went by: whoever ended is started again.
    pub async fn supervised(&mut self, span: Duration) {
        let end = Instant::now() + span;
        while Instant::now() < end {
            if self.exchange.revive() {
                println!("{} is started again", self.exchange.data.display());
            }
            let standby = self.standby.as_mut().expect("a standby");
            if standby.child.try_wait().expect("is asked").is_some() {
                println!("{} is started again", standby.data.display());
                standby.logged = log_of(&standby.data).len();
                standby.child = spawn(&standby.data, &serve(&standby.data));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The instance that serves is the exchange, the other one stands by, whoever was what.
    pub async fn sorted_out(&mut self) {
        let standby = self.standby.as_mut().expect("a standby");
        let http = until("an instance that serves", async || {
            if let Some(http) = standby.serves()
                && standby.child.try_wait().expect("is asked").is_none()
            {
                return Some(Some(http));
            }
            let log = log_of(&self.exchange.data);
            let stood_by = log.rfind(" standing by ").unwrap_or_default();
            log[stood_by..].contains(" ready address=").then_some(None)
        })
        .await;
        if let Some(http) = http {
            let standby = self.standby.take().expect("a standby");
            let data = self.exchange.data.clone();
            let logged = log_of(&data).rfind(" standing by ").unwrap_or_default();
            let child = self.exchange.moved(standby.child, standby.data, http);
            self.standby = Some(Standby { child, data, logged });
        }
    }

    /// Where clients of parties connect from now on: to all servers but this one.
    pub fn clients_avoid(&mut self, server: usize, all: &str) {
        let rest = all.split(',').enumerate().filter(|(at, _)| *at != server).map(|(_, url)| url);
        self.exchange.nats = rest.collect::<Vec<_>>().join(",");
    }
}

impl Drop for Instances {
    fn drop(&mut self) {
        if let Some(Standby { child, data, .. }) = &mut self.standby {
            if std::thread::panicking() {
                eprintln!("--- {} ---\n{}", data.display(), log_of(data));
            }
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).expect("readable")
}

fn shared() -> (tempfile::TempDir, PathBuf) {
    let folder = folder();
    let shared = folder.path().join("shared");
    std::fs::create_dir_all(&shared).expect("a directory");
    std::fs::write(shared.join("network.toml"), few_parties()).expect("a registry");
    (folder, shared)
}

/// The directory of an instance: its own archive, the same keys and registry.
fn instance(shared: &Path, name: &str) -> PathBuf {
    let data = shared.join(name);
    std::fs::create_dir_all(&data).expect("a directory");
    let common = std::fs::read_to_string(shared.join("common.toml")).expect("what all have");
    std::fs::write(data.join("liaison.toml"), format!("{common}[cluster]\ninstance = \"{name}\"\n"))
        .expect("a configuration");
    if !data.join("keys").exists() {
        std::os::unix::fs::symlink("../keys", data.join("keys")).expect("a link");
    }
    let (root, own) = (shared.join("root-key"), shared.join(format!("{name}.root-key")));
    if root.exists() && !own.exists() {
        std::fs::copy(root, own).expect("copied");
    }
    data
}

/// The command line of an instance.
pub fn serve(data: &Path) -> Vec<String> {
    vec!["serve".to_owned(), "--config".to_owned(), text(&data.join("liaison.toml"))]
}

/// Ports that are free now; the servers of a cluster must know each other's before they start.
pub fn free_ports(count: usize) -> Vec<u16> {
    let bind = |_| std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let listeners: Vec<std::net::TcpListener> = (0..count).map(bind).collect();
    listeners.iter().map(|listener| listener.local_addr().expect("an address").port()).collect()
}

/// Stops a process as a machine that hangs does, or lets it go on.
pub fn hang(exchange: &Exchange, on: bool) {
    signal(exchange.pid(), if on { "STOP" } else { "CONT" });
}

/// The journal of an archive, all segments in one.
pub fn journal(data: &Path) -> Vec<u8> {
    let entries = std::fs::read_dir(data.join("archive/journal")).expect("a journal").flatten();
    let mut segments: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "liaj"))
        .collect();
    segments.sort();
    segments.iter().flat_map(|segment| std::fs::read(segment).expect("readable")).collect()
}
