//! `liaison simulate`: simulated officers and authorities against a running exchange, and what came of it.
//!
//! Results go to stdout and to a directory, words and progress to stderr.

mod certifying;
mod conclusion;
mod numbers;
mod place;
mod watching;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::numbers::{Rate, Span, burst};
use self::place::Where;
use super::exit::{line, words};
use super::{Exit, Failure, limits};
use crate::message::time::{self, Timestamp};
use crate::sim::log::Reader;
use crate::sim::plan::{Burst, Plan};
use crate::sim::report::Assertion;
use crate::sim::run::{Ended, Live, Play, RunError, Stop, dry, enrol};

/// What says what is played. It would mean nothing where nothing is.
const PLAYED: [&str; 11] = [
    "plan",
    "officers",
    "rate",
    "duration",
    "burst",
    "seed",
    "authorities",
    "analysts",
    "slow",
    "absent",
    "clock",
];

/// Arguments of `simulate`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub struct Args {
    /// Plan in TOML; `examples/plans/` has some. Without one: 500 officers, 100 messages a second, one minute.
    #[arg(long, env = "LIAISON_PLAN", value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Posts that publish, each with an identity and a connection of its own.
    #[arg(long, env = "LIAISON_OFFICERS", value_name = "N")]
    officers: Option<u32>,
    /// Messages a second: 500/s, 30/m, 2000/h.
    #[arg(long, env = "LIAISON_RATE", value_name = "RATE")]
    rate: Option<Rate>,
    /// How long messages are sent: 90s, 10m, 1h30m.
    #[arg(long, env = "LIAISON_DURATION", value_name = "SPAN")]
    duration: Option<Span>,
    /// More messages at a moment: 20000/10s@2m; without @ in the middle. May be given again; replaces those of the plan.
    #[arg(long, env = "LIAISON_BURST", value_name = "N/SPAN[@SPAN]", value_delimiter = ',')]
    burst: Vec<String>,
    /// What is random follows from it: the same seed and clock, the same bytes.
    #[arg(long, env = "LIAISON_SEED", value_name = "N")]
    seed: Option<u64>,
    /// Authorities that read their mailboxes while messages are sent; 0: all.
    #[arg(long, env = "LIAISON_AUTHORITIES", value_name = "N")]
    authorities: Option<u32>,
    /// Parties that replay everything they may, again and again.
    #[arg(long, env = "LIAISON_ANALYSTS", value_name = "N")]
    analysts: Option<u32>,
    /// Authorities that read slowly.
    #[arg(long, env = "LIAISON_SLOW", value_name = "N")]
    slow: Option<u32>,
    /// Authorities that read only when everything has been sent.
    #[arg(long, env = "LIAISON_ABSENT", value_name = "N")]
    absent: Option<u32>,
    /// The time of the first message as the messages tell it, RFC 3339; the last midnight (UTC) unless given.
    #[arg(long, env = "LIAISON_CLOCK", value_name = "RFC3339")]
    clock: Option<Timestamp>,
    #[command(flatten)]
    place: Where,
    /// Directory for log and results; ./liaison-runs/<start> unless given.
    #[arg(long, env = "LIAISON_OUT", value_name = "DIR")]
    out: Option<PathBuf>,
    /// What must hold: findings=0, receipt.p99<20ms. May be given again; exit 1 if one does not. With any of them the exit code is
    /// theirs alone: findings=0 asserts that the auditor found nothing.
    #[arg(long, env = "LIAISON_ASSERT", value_name = "EXPR", value_delimiter = ',')]
    assert: Vec<String>,
    /// The result as JSON on stdout instead of a table.
    #[arg(long, env = "LIAISON_JSON")]
    json: bool,
    /// No progress.
    #[arg(long, env = "LIAISON_QUIET")]
    quiet: bool,
    /// Send nothing: print what would be sent, a JSON line each.
    #[arg(long, env = "LIAISON_DRY_RUN", conflicts_with_all = ["audit", "assert", "out"])]
    dry_run: bool,
    /// Audit and report the log of a finished run again. The report goes to --out, or beside the log.
    #[arg(long, env = "LIAISON_AUDIT", value_name = "DIR", conflicts_with_all = PLAYED)]
    audit: Option<PathBuf>,
    #[command(flatten)]
    certified: certifying::Certified,
}

const AFTER: &str = "It writes messages into archive and mailboxes: never use it on a network that is in service. \
    Exit codes besides the usual: 1 an assertion does not hold or, without assertions, the auditor found something; \
    69 nothing runs there; 78 plan or registry.";

/// Runs it.
pub async fn run(args: Args) -> Result<Exit, Failure> {
    let assertions = assertions(&args.assert)?;
    if let Some(directory) = &args.audit {
        let out = args.out.as_ref().unwrap_or(directory);
        return conclusion::conclude(&Reader::of(directory), out, &assertions, args.json);
    }
    let out = args.out.clone().unwrap_or_else(|| Path::new("liaison-runs").join(stamp(time::now())));
    if let Some(party) = args.certified.party.clone() {
        args.place.network()?;
        let data = args.place.data().to_owned();
        return certifying::run(party, args.certified, data, &out, args.json).await;
    }
    let plan = plan(&args)?;
    if args.dry_run {
        return dry_run(&plan, &args.place.registry_offline()?);
    }
    limits::raise_descriptors();
    let mut network = args.place.network()?;
    if args.place.is_local()
        && enrol(&mut network, &args.place.registry_file(), &plan).await.map_err(failed)?
    {
        words(&format!(
            "posts were enrolled for this simulation; the registry before it is kept as {}.before-simulation\n",
            args.place.registry_file().display()
        ));
    }
    let stop = Stop::default();
    let told = "nothing more is sent; waiting for what is under way. Once more ends at once\n";
    watching::obey_signals(stop.clone(), told)?;
    let live = Arc::new(Live::default());
    let play = Play { plan, network, out: out.clone(), stop: stop.clone(), live: Arc::clone(&live) };
    let prepared = tokio::select! {
        prepared = play.prepare() => prepared.map_err(failed)?,
        () = stop.sending.cancelled() => {
            return Err(Failure::new(Exit::Failure, "ended before anything was sent"));
        }
    };
    let left_out = prepared.left_out();
    if !left_out.is_empty() {
        let told: Vec<String> = left_out.iter().map(|(code, why)| format!("{code} ({why})")).collect();
        words(&format!("refusals that are not played: {}\n", told.join(", ")));
    }
    let mut watch = None;
    let ended = prepared.play(|clock| watch = (!args.quiet).then(|| watching::watch(live, clock))).await;
    if let Some(watch) = watch {
        watch.end().await;
    }
    let Ended { interrupted, complete, remarks } = ended.map_err(failed)?;
    for remark in &remarks {
        words(&format!("liaison: {remark}\n"));
    }
    if interrupted {
        words("the simulation was broken off: what was not sent is counted, and no fault\n");
    }
    let concluded = conclusion::conclude(&Reader::of(&out), &out, &assertions, args.json)?;
    words(&format!("log and report: {}\n", out.display()));
    Ok(if complete { concluded } else { Exit::Failure })
}

fn assertions(given: &[String]) -> Result<Vec<Assertion>, Failure> {
    let parsed = given.iter().map(|text| {
        Assertion::parse(text).map_err(|error| Failure::new(Exit::Usage, format!("--assert {text}: {error}")))
    });
    parsed.collect()
}

/// The plan of the file, with the flags over it.
fn plan(args: &Args) -> Result<Plan, Failure> {
    let mut plan = match &args.plan {
        None => Plan::default(),
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .map_err(|error| Failure::new(Exit::Configuration, format!("{}: {error}", file.display())))?;
            Plan::parse(&text).map_err(|faults| {
                let lines = faults.iter().map(|fault| format!("{}: {fault}", file.display()));
                Failure::new(Exit::Configuration, lines.collect::<Vec<_>>().join("\n"))
            })?
        }
    };
    fn put<T: Copy>(place: &mut T, given: Option<T>) {
        *place = given.unwrap_or(*place);
    }
    put(&mut plan.officers, args.officers);
    put(&mut plan.rate, args.rate.map(|rate| rate.0));
    put(&mut plan.duration, args.duration.map(|span| span.0));
    put(&mut plan.seed, args.seed);
    put(&mut plan.authorities, args.authorities);
    put(&mut plan.analysts, args.analysts);
    put(&mut plan.readers.slow, args.slow);
    put(&mut plan.readers.absent, args.absent);
    plan.clock = args.clock.or(plan.clock);
    if !args.burst.is_empty() {
        let bursts: Result<Vec<Burst>, String> =
            args.burst.iter().map(|text| burst(text, plan.duration)).collect();
        plan.burst = bursts.map_err(|words| Failure::new(Exit::Usage, words))?;
    }
    let faults = plan.faults();
    if faults.is_empty() { Ok(plan) } else { Err(Failure::new(Exit::Usage, faults.join("\n"))) }
}

fn dry_run(plan: &Plan, registry: &str) -> Result<Exit, Failure> {
    for told in dry::lines(plan, registry).map_err(failed)? {
        if !line(&told)? {
            break;
        }
    }
    Ok(Exit::Ok)
}

/// `20260302T100000Z`
fn stamp(at: Timestamp) -> String {
    time::rfc3339(at).chars().filter(|c| !matches!(c, '-' | ':')).take(15).chain(['Z']).collect()
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of map_err")]
fn failed(error: RunError) -> Failure {
    let exit = match &error {
        RunError::Client(_) | RunError::NotReady(_) => Exit::Unreachable,
        RunError::Wire(crate::wire::Error::Denied(_) | crate::wire::Error::Key { .. }) => Exit::NotPermitted,
        RunError::Wire(_) => Exit::Unreachable,
        RunError::Cast(_) | RunError::NoCasePlane => Exit::Configuration,
        RunError::Log(_) | RunError::Io { .. } | RunError::Thread(_) => Exit::Io,
        RunError::PlayedBefore => Exit::Usage,
        RunError::Mailbox(..) | RunError::Broken(_) => Exit::Failure,
    };
    Failure::new(exit, error.to_string())
}
