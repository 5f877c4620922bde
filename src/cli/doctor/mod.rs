//! `liaison doctor`: what is wrong with an exchange and what to do about it.
//!
//! It looks from outside, as an operator would at three in the morning: files, disk, NATS, the broker's own window. It starts
//! nothing, changes nothing, and needs no broker. What keeps a broker from starting is `check`'s knowledge and is asked of the
//! same functions; the doctor adds what is wrong while it runs.

mod finding;
mod house;
mod memory;
mod road;
mod window;

use std::path::PathBuf;

use serde_json::json;

use self::finding::{Finding, Runbook, Severity};
use self::window::Window;
use super::exit::{line, print, words};
use super::serve::Root;
use super::tls::ClientTls;
use super::{Exit, Failure};
use crate::broker::config::Config;
use crate::broker::{rulebook, survey};
use crate::client::exchange::Endpoints;
use crate::message::names::PartyId;
use crate::message::time;

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Data directory of `liaison up`.
    #[arg(long, env = "LIAISON_DATA", default_value = "./liaison-data")]
    data: PathBuf,
    /// Configuration file of `liaison serve`; goes before --data.
    #[arg(long, env = "LIAISON_CONFIG")]
    config: Option<PathBuf>,
    /// Print one JSON document.
    #[arg(long, env = "LIAISON_JSON")]
    json: bool,
    #[command(flatten)]
    root: Root,
    #[command(flatten)]
    tls: ClientTls,
}

/// Runs it: exit 0 if nothing is wrong, 1 if something is.
pub async fn run(args: Args) -> Result<Exit, Failure> {
    let file = args.config.clone().unwrap_or_else(|| args.data.join("liaison.toml"));
    let mut found = Vec::new();
    match Config::read(&file) {
        Ok(mut config) => {
            args.root.over(&mut config)?;
            args.tls.over(&mut config);
            found.extend(examine(config, &file, args.config.is_none()).await);
        }
        Err(fault) => {
            found.push(house::configuration(fault));
            // Without a configuration nothing else is known but what a running broker tells of itself.
            found
                .extend(Window::look(Endpoints::beside(&file), None, args.config.is_none()).await.findings());
        }
    }
    found.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let wrong = found.iter().any(|finding| finding.severity > Severity::Notice);
    tell(&found, wrong, args.json)?;
    Ok(if wrong { Exit::Failure } else { Exit::Ok })
}

/// `of_up`: the directory is that of a `liaison up`, whose NATS lives and dies with it.
async fn examine(mut config: Config, file: &std::path::Path, of_up: bool) -> Vec<Finding> {
    let beside = Endpoints::beside(file);
    let mut found = Vec::new();
    let parties: Vec<PartyId> = match rulebook::load(&config) {
        Ok(rules) => rules.registry.parties().map(|party| party.id.clone()).collect(),
        Err(faults) => {
            found.extend(faults.into_iter().map(house::configuration));
            Vec::new()
        }
    };
    let window = Window::look(beside.clone(), Some(&config), of_up).await;
    if let Some(running) = beside.filter(|_| window.is_alive()) {
        config.nats.url = running.nats;
    }
    let standby = if window.is_alive() { None } else { survey::stands_by(&config).await };
    let alive = window.is_alive() || standby.is_some();
    found.extend(house::files(&config, file));
    found.extend(house::certificate(&config, time::now()));
    found.extend(house::descriptors(window.pid(), parties.len()));
    found.extend(memory::archive(&config, alive));
    match standby {
        Some(standby) => found.push(window::of_standby(&standby)),
        None => found.extend(window.findings()),
    }
    if alive || !of_up {
        found.extend(road::nats(&survey::survey(&config, &parties).await, alive));
    }
    found
}

fn tell(found: &[Finding], wrong: bool, as_json: bool) -> Result<(), Failure> {
    if as_json {
        let findings: Vec<_> = found.iter().map(Finding::json).collect();
        return line(&json!({ "wrong": wrong, "findings": findings })).map(|_| ());
    }
    let text: String = found.iter().map(Finding::text).collect();
    print(text.as_bytes())?;
    if wrong {
        words("runbooks: docs/ops/RUNBOOKS.md\n");
    } else {
        words("nothing wrong was found; `liaison archive verify` proves the archive, which takes longer\n");
    }
    Ok(())
}

/// A finding in one call.
fn finding(
    severity: Severity,
    runbook: Runbook,
    what: impl Into<String>,
    why: &'static str,
    action: &'static str,
) -> Finding {
    Finding { severity, what: what.into(), why, action, runbook }
}
