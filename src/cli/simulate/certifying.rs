//! `liaison simulate --certify`: the acceptance of a member-state system, from the commands that it is.

use std::path::{Path, PathBuf};

use super::PLAYED;
use crate::cli::exit::print;
use crate::cli::simulate::watching::obey_signals;
use crate::cli::{Exit, Failure};
use crate::message::names::{PartyId, PostId};
use crate::sim::certify::{self, CertifyError, Options, Scenario, Verdict};
use crate::sim::run::Stop;

/// It is made on a `liaison up` of this machine, and has verdicts of its own.
const ELSEWHERE: [&str; 8] = ["audit", "dry_run", "assert", "nats", "keys", "registry", "http", "for_tests"];

/// Flags of the acceptance.
#[derive(Debug, clap::Args)]
pub struct Certified {
    /// Instead of a run: lead a member-state system of this party through the scenarios of an acceptance.
    #[arg(long = "certify", env = "LIAISON_CERTIFY", value_name = "PARTY", conflicts_with_all = PLAYED, conflicts_with_all = ELSEWHERE)]
    pub party: Option<PartyId>,
    /// The post that it publishes as; the system user unless given. Of no meaning without --certify.
    // Not `requires`: the variable may be set for the other commands.
    #[arg(long, env = "LIAISON_POST")]
    post: Option<PostId>,
    /// Command that publishes the lines which it reads, and prints a receipt a line.
    #[arg(long, env = "LIAISON_PUBLISHER", value_name = "CMD", requires = "party")]
    publisher: Option<String>,
    /// Command that reads the mailbox and prints a letter a line.
    #[arg(long, env = "LIAISON_SUBSCRIBER", value_name = "CMD", requires = "party")]
    subscriber: Option<String>,
    /// Only this: valid, invalid, duplicate, outage, burst, slow-consumer, interrupted, altered, recall, erasure. May be given
    /// again.
    #[arg(long, env = "LIAISON_SCENARIO", value_name = "NAME", value_delimiter = ',', value_parser = scenario, requires = "party")]
    scenario: Vec<Scenario>,
}

fn scenario(text: &str) -> Result<Scenario, String> {
    let found = Scenario::ALL.into_iter().find(|scenario| scenario.as_str() == text);
    found.ok_or_else(|| format!("{text:?} is no scenario"))
}

/// Certifies, writes the certificate and prints it.
pub async fn run(
    party: PartyId,
    flags: Certified,
    data: PathBuf,
    out: &Path,
    json: bool,
) -> Result<Exit, Failure> {
    if flags.publisher.is_none() && flags.subscriber.is_none() {
        return Err(Failure::new(Exit::Usage, "--certify needs --publisher, --subscriber or both"));
    }
    let options = Options {
        post: flags.post,
        publisher: flags.publisher,
        subscriber: flags.subscriber,
        scenarios: flags.scenario,
        ..Options::new(data, party)
    };
    let stop = Stop::default();
    obey_signals(stop.clone(), "the commands are ended\n")?;
    // Dropped, the commands go too: nobody else would end them.
    let certificate = tokio::select! {
        certificate = Box::pin(certify::run(options)) => certificate.map_err(failed)?,
        () = stop.sending.cancelled() => {
            return Err(Failure::new(Exit::Failure, "broken off: nothing is certified"));
        }
    };
    let io = |error: std::io::Error| Failure::new(Exit::Io, format!("{}: {error}", out.display()));
    std::fs::create_dir_all(out).map_err(io)?;
    std::fs::write(out.join("certificate.json"), format!("{:#}\n", certificate.to_json())).map_err(io)?;
    std::fs::write(out.join("certificate.md"), certificate.markdown()).map_err(io)?;
    if json {
        print(format!("{:#}\n", certificate.to_json()).as_bytes())?;
    } else {
        print(certificate.text().as_bytes())?;
    }
    Ok(if certificate.verdict == Verdict::Pass { Exit::Ok } else { Exit::Failure })
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of map_err")]
fn failed(error: CertifyError) -> Failure {
    let exit = match &error {
        CertifyError::Data(..) | CertifyError::NoSender(_) => Exit::Configuration,
        CertifyError::Keys(_) => Exit::NotPermitted,
        CertifyError::Client(_) => Exit::Unreachable,
        CertifyError::Start(..) | CertifyError::Own(_) => Exit::Failure,
    };
    Failure::new(exit, error.to_string())
}
