//! `liaison archive backup` and `restore`: a copy beside the running broker, and the drill that shows it can be used.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::super::exit::{line, words};
use super::super::{Exit, Failure};
use super::{archive_in, failed};
use crate::archive::backup::{self, Sink};
use crate::archive::keyfile;
use crate::archive::restore::{self, Refused, Source};
use crate::broker::config::Config;

/// Arguments of `archive backup`.
#[derive(Debug, clap::Args)]
pub struct BackupArgs {
    /// Data directory of `liaison up`.
    #[arg(long, env = "LIAISON_DATA", default_value = "./liaison-data")]
    data: PathBuf,
    /// Configuration file of `liaison serve`, which says where archive, registry, schemas and public key are; goes before --data.
    #[arg(long, env = "LIAISON_CONFIG")]
    config: Option<PathBuf>,
    /// A new directory, or `-` for a tar stream to stdout.
    to: PathBuf,
}

/// Arguments of `archive restore`.
#[derive(Debug, clap::Args)]
pub struct RestoreArgs {
    /// A directory that `backup` wrote, a tar file, or `-` for a tar stream from stdin.
    from: PathBuf,
    /// The new data directory; it must not be there.
    #[arg(long, env = "LIAISON_DATA")]
    data: PathBuf,
    /// The archive's keys/messages.liak from where you keep it; without it sealed content stays closed.
    #[arg(long, env = "LIAISON_MESSAGE_KEYS")]
    keys: Option<PathBuf>,
    /// The broker's public key, or a file with it; default is the one in the backup.
    #[arg(long, env = "LIAISON_CHECKPOINT_KEY")]
    key: Option<PathBuf>,
}

/// Runs `archive backup`.
pub fn backup(args: &BackupArgs) -> Result<Exit, Failure> {
    let Parts { archive, given } = parts(args)?;
    let stream = args.to == Path::new("-");
    let sink = if stream {
        Sink::stream(Box::new(std::io::stdout()))
    } else {
        Sink::directory(&args.to).map_err(failed)?
    };
    let manifest = backup::backup(&archive, &given, sink).map_err(failed)?;
    let told = json!({
        "records": manifest.records,
        "audit_entries": manifest.audit_entries,
        "checkpoint": manifest.checkpoint,
        "files": manifest.files.len(),
        "bytes": manifest.files.iter().map(|member| member.bytes).sum::<u64>(),
    });
    if stream {
        words(&format!("{told}\n"));
    } else {
        line(&told)?;
    }
    Ok(Exit::Ok)
}

/// What belongs together.
struct Parts {
    archive: PathBuf,
    /// Configuration and public keys, nothing secret: name in the backup, file.
    given: Vec<(String, PathBuf)>,
}

/// In the data directory of `liaison up`, or where the configuration of `liaison serve` says.
fn parts(args: &BackupArgs) -> Result<Parts, Failure> {
    let (file, config) = match &args.config {
        Some(file) => {
            let config = Config::read(file).map_err(|fault| Failure::new(Exit::Configuration, fault))?;
            (file.clone(), config)
        }
        None => {
            let mut config = Config::default();
            config.archive.directory = archive_in(&args.data);
            config.registry.file = args.data.join("network.toml");
            config.nats.keys = args.data.join("keys");
            config.schemas.directory = Some(args.data.join("schemas")).filter(|schemas| schemas.is_dir());
            (args.data.join("liaison.toml"), config)
        }
    };
    let mut given: Vec<(String, PathBuf)> = vec![
        ("keys/broker/checkpoint.pub".to_owned(), config.nats.keys.join("broker/checkpoint.pub")),
        ("liaison.toml".to_owned(), file),
        ("network.toml".to_owned(), config.registry.file),
    ];
    for (name, file) in &given {
        if !file.is_file() {
            words(&format!("liaison: the backup is without {name}: {} is not there\n", file.display()));
        }
    }
    if let Some(schemas) = config.schemas.directory {
        let io = |error: std::io::Error| Failure::new(Exit::Io, format!("{}: {error}", schemas.display()));
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&schemas).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if path.extension().is_some_and(|ending| ending == "json") {
                let name = path.file_name().map(|name| format!("schemas/{}", name.to_string_lossy()));
                found.extend(name.map(|name| (name, path)));
            }
        }
        found.sort();
        given.extend(found);
    }
    Ok(Parts { archive: config.archive.directory, given })
}

/// Runs `archive restore`.
pub fn restore(args: &RestoreArgs) -> Result<Exit, Failure> {
    let key = args.key.as_deref().map(keyfile::read_verifier).transpose();
    let key = key.map_err(|error| Failure::new(Exit::Configuration, error.to_string()))?;
    let source = if args.from == Path::new("-") {
        Source::Stream(Box::new(std::io::stdin()))
    } else if args.from.is_file() {
        let file = std::fs::File::open(&args.from);
        let file =
            file.map_err(|error| Failure::new(Exit::Io, format!("{}: {error}", args.from.display())))?;
        Source::Stream(Box::new(std::io::BufReader::new(file)))
    } else {
        Source::Directory(args.from.clone())
    };
    let restored =
        restore::restore(source, &args.data, args.keys.as_deref(), key.as_ref()).map_err(|refused| {
            let exit = if matches!(refused, Refused::Archive(crate::archive::Error::Io(_))) {
                Exit::Io
            } else {
                Exit::DataInvalid
            };
            Failure::new(exit, refused.to_string())
        })?;
    line(&json!(restored))?;
    if key.is_none() && !args.data.join("keys/broker/checkpoint.pub").is_file() {
        words("signatures were not verified: the backup holds no public key, and there is no --key\n");
    }
    if !restored.keys {
        words(
            "without --keys, content that was sealed cannot be opened, and no broker starts if there is any\n",
        );
    }
    Ok(Exit::Ok)
}
