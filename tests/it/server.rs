//! A nats-server apart from the broker, that can be killed, stopped, named otherwise and started again on its port.

use std::path::PathBuf;

use super::harness::*;

impl Exchange {
    /// The process id of the nats-server beside the broker.
    pub fn server_pid(&self) -> u32 {
        self.server.as_ref().expect("a nats-server apart").id()
    }

    /// Kills it as a power cut of the process would.
    pub fn kill_server(&mut self) {
        let server = self.server.as_mut().expect("a nats-server apart");
        server.kill().expect("kills");
        server.wait().expect("waits");
    }

    /// Lets it end in order: what it knows is in its files.
    pub fn stop_server(&mut self) {
        signal(self.server_pid(), "TERM");
        self.server.as_mut().expect("a nats-server apart").wait().expect("waits");
    }

    /// Starts it again on the same port and the same store.
    pub async fn start_server(&mut self, more: &[&str]) {
        let port = self.nats.rsplit(':').next().expect("a port").to_owned();
        let args = [&["-p", port.as_str()], more].concat();
        let (server, url) = server_on(&self.data, &args).await;
        assert!(url.ends_with(&port), "{url}");
        self.server = Some(server);
    }

    /// Where JetStream keeps a stream of the broker.
    pub fn stream_files(&self, stream: &str) -> PathBuf {
        self.data.join("nats/store/jetstream/CORE/streams").join(stream)
    }

    /// The last block of a stream.
    pub fn last_block(&self, stream: &str) -> PathBuf {
        let directory = self.stream_files(stream).join("msgs");
        let files = std::fs::read_dir(&directory).expect("a stream").flatten().map(|entry| entry.path());
        let blocks = files.filter(|path| path.extension().is_some_and(|end| end == "blk"));
        let number = |path: &PathBuf| path.file_stem()?.to_str()?.parse::<u64>().ok();
        blocks.max_by_key(number).expect("a block")
    }
}
