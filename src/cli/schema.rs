//! `liaison schema`: which schemas are built in (those of a `[schemas] directory` are the broker's, and not looked at), their text, and whether a new one still takes what the old one took.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::exit::{line, print};
use super::{Exit, Failure};
use crate::message::envelope::split_type;
use crate::rules::compatibility;
use crate::rules::schemas::Schemas;

/// Subcommands.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List types and live versions, one JSON line each.
    List,
    /// Print one schema.
    Show {
        /// `flow.observation`, or the full CloudEvents type.
        r#type: String,
    },
    /// Compare two schema files: what the new one refuses that the old one took, and the other way round.
    Diff {
        /// The old file.
        old: PathBuf,
        /// The new file.
        new: PathBuf,
    },
}

/// Runs it.
pub fn run(command: &Command) -> Result<Exit, Failure> {
    let schemas =
        Schemas::embedded().map_err(|faults| Failure::new(Exit::Configuration, faults.join("\n")))?;
    match command {
        Command::List => {
            for (kind, major) in schemas.list() {
                if !line(
                    &json!({ "type": format!("eu.ilonet.{kind}.v{major}"), "id": kind, "major": major }),
                )? {
                    break;
                }
            }
            Ok(Exit::Ok)
        }
        Command::Show { r#type } => {
            let (kind, major) = split_type(r#type)
                .map_or_else(|| (r#type.clone(), 1), |(kind, major)| (kind.to_string(), major));
            match schemas.text(&kind, major) {
                Some(text) => print(format!("{}\n", text.trim_end()).as_bytes()),
                None => Err(Failure::new(Exit::Failure, "no such type in force; see `liaison schema list`")),
            }
        }
        Command::Diff { old, new } => {
            let (old, new) = (read(old)?, read(new)?);
            let differences = compatibility::compare(&old, &new);
            let breaking = differences.iter().any(|difference| difference.breaks);
            for difference in &differences {
                line(
                    &json!({ "path": difference.path, "change": difference.change, "breaks": difference.breaks }),
                )?;
            }
            Ok(if breaking { Exit::DataInvalid } else { Exit::Ok })
        }
    }
}

fn read(file: &std::path::Path) -> Result<Value, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::new(Exit::Io, format!("{}: {error}", file.display())))?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::new(Exit::DataInvalid, format!("{}: {error}", file.display())))
}
