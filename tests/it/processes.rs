//! The processes of the tests: the binary under test, a nats-server beside it, what they were asked and how they end.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use async_nats::Client;
use serde_json::Value;

use super::harness::until;

/// How long a test waits for something that must come. Never slept through: every wait ends when it has come.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The binary under test.
pub fn liaison() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_liaison"));
    command.stdin(Stdio::null());
    // What a developer has set must not change a test.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LIAISON_")) {
        if name != "LIAISON_NATS_SERVER" {
            command.env_remove(name);
        }
    }
    command
}

/// A temp folder that stays where it is when the test fails, so that logs can be read.
pub fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("liaison-it-").tempdir().expect("a temp folder")
}

pub fn text(path: &Path) -> String {
    path.to_str().expect("a path in UTF-8").to_owned()
}

/// Sends a signal to a process.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status();
    assert!(status.expect("kill runs").success());
}

/// False for a process that is gone, or waits only for somebody to note its end.
pub fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z'))
}

/// The processes whose parent this is.
pub fn children(parent: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        after_name.split_whitespace().nth(1) == Some(&parent.to_string())
    })
    .collect()
}

pub fn log_of(data: &Path) -> String {
    std::fs::read_to_string(data.join("stderr.log")).unwrap_or_default()
}

/// Starts it. What stands in the data directory may make its life hard: a directory of faults, a note that its log is on a
/// full disk, or one that its archive has a small disk of its own, with the bytes in it.
pub fn spawn(data: &Path, args: &[String]) -> Child {
    let mut options = std::fs::OpenOptions::new();
    let log = match data.join(FULL_LOG).exists() {
        true => options.write(true).open("/dev/full"),
        false => options.create(true).append(true).open(data.join("stderr.log")),
    };
    drop(std::fs::remove_file(data.join("endpoints.json")));
    let small = std::fs::read_to_string(data.join(SMALL_DISK)).ok();
    let mut command = match small {
        Some(bytes) => on_small_disk(&bytes, &data.join("archive")),
        None => liaison(),
    };
    if data.join("faults").is_dir() {
        command.env("LIAISON_FAULTS", data.join("faults"));
    }
    command.args(args).stdout(Stdio::null()).stderr(log.expect("a log")).spawn().expect("starts")
}

/// See [`spawn`].
pub const FULL_LOG: &str = "log-is-full";
pub const SMALL_DISK: &str = "small-disk";

/// The binary under test in a mount namespace of its own, with a disk of this size under its archive.
fn on_small_disk(bytes: &str, archive: &Path) -> Command {
    std::fs::create_dir_all(archive).expect("a directory");
    let mut command = Command::new("unshare");
    command.args(small_disks().expect("looked at before")).args(["sh", "-c"]);
    command.arg("mount -t tmpfs -o size=$0 tmpfs \"$1\" && shift && exec \"$@\"").arg(bytes).arg(archive);
    let plain = liaison();
    command.arg(plain.get_program()).stdin(Stdio::null());
    for (name, _) in plain.get_envs() {
        command.env_remove(name);
    }
    command
}

/// How this machine lets us have disks of our own, if it does: as root, or in a user namespace.
pub fn small_disks() -> Option<&'static [&'static str]> {
    let ways: [&[&str]; 2] = [&["-m"], &["-Urm"]];
    ways.into_iter().find(|way| {
        let mut command = Command::new("unshare");
        command.args(*way).args(["sh", "-c", "mount -t tmpfs tmpfs /mnt"]).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    })
}

/// Starts and waits until it is ready; process, address of NATS (of `up`), address of the operators' window.
pub async fn launch(data: &Path, args: &[String]) -> (Child, String, String) {
    let logged = log_of(data).len();
    let mut child = spawn(data, args);
    let until = Instant::now() + PATIENCE;
    loop {
        if let Ok(text) = std::fs::read_to_string(data.join("endpoints.json")) {
            let value: Value = serde_json::from_str(&text).expect("endpoints.json is JSON");
            assert_eq!(
                value["pid"].as_u64(),
                Some(u64::from(child.id())),
                "endpoints.json is of this process"
            );
            let text = |name: &str| value[name].as_str().expect("an address").to_owned();
            return (child, text("nats"), text("http"));
        }
        let ready = log_of(data)[logged..]
            .lines()
            .find_map(|line| line.split_once(" ready address=").map(|(_, http)| http.to_owned()));
        if let Some(http) = ready {
            return (child, String::new(), format!("http://{}", http.trim()));
        }
        if let Some(status) = child.try_wait().expect("waits") {
            panic!("liaison ended with {status}:\n{}", log_of(data));
        }
        assert!(Instant::now() < until, "liaison is not ready:\n{}", log_of(data));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Writes what `liaison nats-config` says for the registry of a data directory; where to.
pub fn write_nats_config(data: &Path) -> PathBuf {
    let written = liaison()
        .args(["nats-config", "--listen", "127.0.0.1:-1", "--registry"])
        .arg(data.join("network.toml"))
        .arg("--keys")
        .arg(data.join("keys"))
        .arg("--store")
        .arg(data.join("nats/store"))
        .output()
        .expect("runs");
    assert!(written.status.success(), "{written:?}");
    let file = data.join("nats/nats-server.conf");
    std::fs::write(&file, written.stdout).expect("a configuration");
    file
}

/// A nats-server with that configuration; the process and its address.
pub async fn server_apart(data: &Path) -> (Child, String) {
    server_on(data, &[]).await
}

/// The same with more arguments.
pub async fn server_on(data: &Path, more: &[&str]) -> (Child, String) {
    let place = data.join("nats");
    std::fs::create_dir_all(&place).expect("a directory");
    let config = write_nats_config(data);
    let program = word("LIAISON_NATS_SERVER").unwrap_or_else(|| "target/tools/nats-server".to_owned());
    let child = Command::new(program)
        .arg("-c")
        .arg(config)
        .arg("--ports_file_dir")
        .arg(&place)
        .arg("-l")
        .arg(place.join("nats-server.log"))
        .args(more)
        .stdin(Stdio::null())
        .spawn()
        .expect("nats-server starts");
    let ports = place.join(format!("nats-server_{}.ports", child.id()));
    let url = until("the ports of nats-server", async || {
        let value: Value = serde_json::from_str(&std::fs::read_to_string(&ports).ok()?).ok()?;
        Some(value["nats"][0].as_str()?.to_owned())
    })
    .await;
    (child, url)
}

/// Runs `liaison` where it must end by itself: exit code and stderr.
pub async fn ends(args: &[&str]) -> (Option<i32>, String) {
    let mut child =
        liaison().args(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut pipe = child.stderr.take().expect("a pipe");
    let words = std::thread::spawn(move || {
        let mut words = String::new();
        std::io::Read::read_to_string(&mut pipe, &mut words).map(|_| words)
    });
    let until = Instant::now() + PATIENCE;
    let code = loop {
        if let Some(status) = child.try_wait().expect("waits") {
            break status.code();
        }
        if Instant::now() > until {
            drop(child.kill());
            panic!("{args:?} does not end");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    (code, words.join().expect("reads").expect("UTF-8"))
}

/// The demo registry with a few parties of each kind.
pub fn few_parties() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/rules/demo-network.toml");
    let demo = std::fs::read_to_string(file).expect("the demo registry");
    let wanted = |block: &&str| FEW.iter().any(|id| block.contains(&format!("id = \"{id}\"\n")));
    demo.split("[[party]]").filter(wanted).map(|block| format!("[[party]]{block}")).collect()
}

/// The parties of [`few_parties`].
pub const FEW: [&str; 10] =
    ["de-bpol", "fr-dnpaf", "it-moi", "es-pn", "nl-dtv", "gr-hp", "no-pu", "eu-com", "eu-frontex", "eu-euaa"];

/// A word from the environment of the test run.
pub fn word(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A number from the environment of the test run, which makes it longer or repeats it.
pub fn setting(name: &str, default: u64) -> u64 {
    word(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

/// Small, seeded, printed: SplitMix64.
pub struct Dice(u64);

impl Dice {
    /// Seeded by `LIAISON_SEED`, or by the clock; says so.
    pub fn new(what: &str) -> Self {
        let clock = u64::try_from(jiff::Timestamp::now().as_millisecond()).expect("after 1970");
        let seed = setting("LIAISON_SEED", clock);
        println!("{what}: LIAISON_SEED={seed}");
        Self(seed)
    }

    /// With this seed.
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// A seed for something else.
    pub fn seed(&mut self) -> u64 {
        self.below(u64::MAX)
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).expect("small")]
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// A call of JetStream's API.
pub async fn api(client: &Client, call: &str, body: &Value) -> Value {
    let answer = client.request(format!("$JS.API.{call}"), body.to_string().into()).await.expect("answers");
    serde_json::from_slice(&answer.payload).expect("an answer in JSON")
}

/// The name of a stream of a party.
pub fn stream(kind: &str, party: &str) -> String {
    format!("{kind}_{}", party.to_uppercase().replace('-', "_"))
}
