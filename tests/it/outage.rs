//! nats-server goes away while much is under way: everything queued is receipted when it is back, and no connection that
//! broke dials on behind the ones that took its place.

use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use serde_json::Value;

use super::harness::{Exchange, REPORT_SUBJECT, until};

/// So many that all windows are full when the server goes: then every retry in the outage is one more send on a line that nobody
/// empties any more, and a client library's queue has room for 8,192.
const QUEUED: usize = 12_000;
/// Enough retries of each to fill that.
const AWAY: Duration = Duration::from_secs(5);
/// Connections that a quiet server may see come within the look; each one that dials on would add several.
const NEW: u64 = 3;
const LOOK: Duration = Duration::from_secs(10);

async fn receipts(exchange: &Exchange) -> u64 {
    let (_, metrics) = exchange.get("/metrics").await;
    let line = metrics.lines().find_map(|line| line.strip_prefix("liaison_receipts_total "));
    line.and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// Connections that the server has had since it was started.
async fn dialled(exchange: &Exchange) -> u64 {
    let system = exchange.connect_with(&exchange.key("broker", "sys"), "_INBOX_sys").await;
    let told = system.request("$SYS.REQ.SERVER.PING.VARZ", "".into()).await.expect("an answer");
    let told: Value = serde_json::from_slice(&told.payload).expect("JSON");
    told["data"]["total_connections"].as_u64().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_under_way_outlives_an_outage_and_no_broken_line_dials_on() {
    let mut exchange = Exchange::apart("").await;
    exchange.kill();
    let post = exchange.connect("it-moi", "tn-01").await;
    // Not even JSON: what they are does not matter, and refusing them is quick.
    let queued = stream::iter(0..QUEUED).map(|n| post.request(REPORT_SUBJECT, n.to_string().into()));
    let queued = queued.buffer_unordered(512).map(|answer| answer.expect("a PubAck")).count().await;
    assert_eq!(queued, QUEUED);
    drop(post);
    exchange.again().await;
    until("the first receipts", async || (receipts(&exchange).await > 500).then_some(())).await;
    exchange.kill_server();
    let before = receipts(&exchange).await;
    assert!(before < QUEUED as u64 - 4_096, "{before}: the outage must come while the windows are full");
    tokio::time::sleep(AWAY).await;
    exchange.start_server(&[]).await;
    until("all receipts", async || (receipts(&exchange).await >= QUEUED as u64).then_some(())).await;
    let first = dialled(&exchange).await;
    tokio::time::sleep(LOOK).await;
    let more = dialled(&exchange).await - first;
    assert!(more <= NEW, "{more} connections came in {LOOK:?} of quiet");
}
