//! `liaison archive export`: the records of an archive as a file, with a manifest. Reads the journal only; changes
//! nothing but that it leaves a note for the audit log.

use std::path::{Path, PathBuf};

use super::super::exit::words;
use super::super::selecting::InArchive;
use super::super::target::{Target, format_for};
use super::super::{Exit, Failure};
use crate::archive::audit::Object;
use crate::export::source::{self, Next};
use crate::export::{Format, Provenance};
use crate::message::digest::Digest;
use crate::message::outcome::Outcome;

/// Arguments of `archive export`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Data directory of `liaison up`, or an archive directory.
    #[arg(long, env = "LIAISON_DATA", default_value = "./liaison-data")]
    data: PathBuf,
    #[command(flatten)]
    selection: InArchive,
    /// Format: ndjson, csv, geojson, parquet; default is what the file's name ends with, or ndjson.
    #[arg(long, env = "LIAISON_OUTPUT", value_name = "FORMAT")]
    output: Option<Format>,
    /// Where the manifest goes; default is beside the file, or stderr.
    #[arg(long, env = "LIAISON_MANIFEST", value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// The file, or - for stdout.
    #[arg(default_value = "-")]
    target: PathBuf,
}

/// Runs it.
pub fn run(args: Args) -> Result<Exit, Failure> {
    let personal = args.selection.personal;
    let source = args.selection.source(&args.data)?;
    let query = args.selection.query(&[Outcome::Accepted], None)?;
    let mut asked = query.to_json();
    asked["personal"] = personal.into();
    let filter = Some(Digest::of(asked.to_string().as_bytes()));
    super::note(&args.data, Object { filter, ..Object::default() });
    let file = Some(args.target.as_path()).filter(|file| *file != Path::new("-"));
    let mut target = Target::open(format_for(args.output, file), file)?;
    let left_out = source.search(&query, true, |record, opened| match source::item(record, opened) {
        Ok(item) => target.put(&item).map(|read| if read { Next::Taken } else { Next::Stop }),
        Err(next) => Ok(next),
    })?;
    let provenance = Provenance { query: asked, complete: true, cursor: None, left_out };
    if let Some((manifest, false)) = target.finish(provenance, args.manifest.as_deref())? {
        words(&manifest.to_text());
    }
    Ok(Exit::Ok)
}
