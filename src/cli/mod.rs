//! The door: what an operator or an integrator types. Data goes to stdout, words to stderr.
//!
//! Each command is a file. None of them holds a rule or touches sled or NATS directly.

mod allocator;
mod archive;
mod audit;
mod data;
mod doctor;
mod exit;
mod flags;
mod keys;
mod limits;
mod nats_config;
mod publish;
mod replacing;
mod replay;
mod schema;
mod selecting;
mod serve;
mod simulate;
mod subscribe;
mod target;
mod tls;
mod up;
mod validate;
mod witness;

use std::path::PathBuf;

use clap::{FromArgMatches as _, Parser, Subcommand};

use crate::wire::server;

pub use exit::{Exit, Failure};

/// Information exchange broker of the European network of immigration liaison officers.
#[derive(Debug, Parser)]
#[command(name = "liaison", version, propagate_version = true, max_term_width = 110, after_help = EXIT_CODES)]
pub struct Cli {
    /// How much to log: error, warn, info, debug, or a tracing filter.
    #[arg(long, global = true, env = "LIAISON_LOG", default_value = "info")]
    log: String,
    /// Log as JSON lines.
    #[arg(long, global = true, env = "LIAISON_LOG_JSON")]
    log_json: bool,
    /// Directory of faults that tests make.
    #[cfg(debug_assertions)]
    #[arg(long, global = true, hide = true, env = "LIAISON_FAULTS")]
    faults: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 ok, 1 failure, 2 usage, 65 data invalid, 69 NATS or daemon unreachable, \
    74 I/O, 77 not permitted, 78 configuration.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything on one machine: registry, keys, nats-server, streams, broker.
    Up(up::Args),
    /// The daemon against an existing NATS.
    Serve(serve::Args),
    /// Check configuration, registry, schemas, archive and NATS; all faults at once.
    Check(serve::CheckArgs),
    /// What is wrong with an exchange and what to do about it; changes nothing, and works when the broker is dead.
    Doctor(doctor::Args),
    /// Publish JSON or NDJSON messages and print one receipt a line.
    Publish(publish::Args),
    /// Read a mailbox, one NDJSON line a message.
    Subscribe(subscribe::Args),
    /// Read what a party may see of the archive: paced, resumable, as NDJSON, CSV, GeoJSON or Parquet.
    Replay(Box<replay::Args>),
    /// Simulated officers and authorities: latencies, and an audit of every message. Only on a network for tests.
    Simulate(Box<simulate::Args>),
    /// Sign, as a witness, that a party saw the archive's checkpoint and that nothing before it changed.
    Witness(witness::Args),
    /// Judge messages offline with the daemon's own code.
    Validate(validate::Args),
    /// The schemas that are built into this binary.
    #[command(subcommand)]
    Schema(schema::Command),
    /// Write nats-server configuration and keys from the registry.
    NatsConfig(nats_config::Args),
    /// Keys of parties and posts: make, replace, refuse, list.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Read the audit log, offline or as a supervisor.
    Audit(audit::Args),
    /// Look into a data directory offline.
    #[command(subcommand)]
    Archive(archive::Command),
    /// Print shell completions.
    Completion {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Become another program that ends with its parent; for `up` alone.
    #[command(name = server::GUARD, hide = true)]
    ChildGuard {
        /// Process id of the parent.
        parent: u32,
        /// The program.
        program: PathBuf,
        /// Its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<std::ffi::OsString>,
    },
    /// Write manual pages to a directory, or the main page to stdout.
    Man {
        /// Directory for all pages.
        directory: Option<PathBuf>,
    },
}

/// Runs the command line and says how to exit.
#[must_use]
pub fn run() -> std::process::ExitCode {
    let cli = Cli::from_arg_matches(&flags::command().get_matches()).unwrap_or_else(|error| error.exit());
    #[cfg(debug_assertions)]
    if let Some(directory) = &cli.faults {
        crate::message::fault::arm(directory.clone());
    }
    start_log(&cli);
    if matches!(cli.command, Command::Up(_) | Command::Serve(_)) {
        allocator::give_back_soon();
    }
    let ended = match cli.command {
        Command::Up(args) => block_on(up::run(args)),
        Command::Serve(args) => block_on(serve::run(args)),
        Command::Check(args) => block_on(serve::check(args)),
        Command::Doctor(args) => block_on(doctor::run(args)),
        Command::Publish(args) => block_on(publish::run(args)),
        Command::Subscribe(args) => block_on(subscribe::run(args)),
        Command::Replay(args) => block_on(replay::run(*args)),
        Command::Simulate(args) => block_on(simulate::run(*args)),
        Command::Witness(args) => block_on(witness::run(args)),
        Command::Validate(args) => validate::run(&args),
        Command::Schema(command) => schema::run(&command),
        Command::NatsConfig(args) => nats_config::run(&args),
        Command::Keys(command) => block_on(keys::run(command)),
        Command::Archive(command) => archive::run(command),
        Command::Audit(args) => block_on(audit::run(args)),
        Command::Completion { shell } => completion(shell),
        Command::ChildGuard { parent, program, args } => {
            let error = server::guard(parent, &program, &args);
            Err(Failure::new(Exit::Failure, format!("{}: {error}", program.display())))
        }
        Command::Man { directory } => man(directory.as_deref()),
    };
    exit::code(ended)
}

fn start_log(cli: &Cli) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_new(format!("{},async_nats=off,sled=warn", cli.log))
        .unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // It would tell on standard error that standard error takes nothing, and panic in whatever thread had something to say.
        .log_internal_errors(false)
        .with_target(false);
    if cli.log_json {
        log.json().init();
    } else {
        let colour = std::io::IsTerminal::is_terminal(&std::io::stderr()) && no_colour().is_none();
        log.with_ansi(colour).init();
    }
}

#[expect(clippy::disallowed_methods, reason = "NO_COLOR is a convention of its own, not a flag of ours")]
fn no_colour() -> Option<std::ffi::OsString> {
    std::env::var_os("NO_COLOR")
}

fn block_on(work: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Io, format!("starting the runtime: {error}")))?;
    runtime.block_on(work)
}

fn completion(shell: clap_complete::Shell) -> Result<Exit, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut flags::command(), "liaison", &mut text);
    exit::print(&text)
}

fn man(directory: Option<&std::path::Path>) -> Result<Exit, Failure> {
    let Some(directory) = directory else {
        let mut text = Vec::new();
        clap_mangen::Man::new(flags::command())
            .render(&mut text)
            .map_err(|error| Failure::new(Exit::Io, error.to_string()))?;
        return exit::print(&text);
    };
    std::fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(flags::command(), directory))
        .map_err(|error| Failure::new(Exit::Io, format!("{}: {error}", directory.display())))?;
    Ok(Exit::Ok)
}
