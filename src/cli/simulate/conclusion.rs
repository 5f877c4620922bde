//! What came of a run: the auditor's findings, the report in all its forms, the assertions, and the exit code.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use crate::cli::exit::{print, words};
use crate::cli::{Exit, Failure};
use crate::sim::audit::{AuditError, Findings, audit};
use crate::sim::log::{LogError, Reader};
use crate::sim::report::{Assertion, Report};

/// Audits and reports a log, writes the files and prints the result.
pub fn conclude(log: &Reader, out: &Path, assertions: &[Assertion], json: bool) -> Result<Exit, Failure> {
    let findings = match audit(log) {
        Ok(findings) => Some(findings),
        Err(AuditError::Unfinished) => {
            words("liaison: the run was not finished: nothing was audited\n");
            None
        }
        Err(error) => return Err(Failure::new(exit_of(&error), error.to_string())),
    };
    let clean = findings.as_ref().is_some_and(Findings::is_clean);
    let report = Report::of(log, findings).map_err(|error| Failure::new(Exit::Io, error.to_string()))?;
    write(&report, out)?;
    if json {
        print(format!("{:#}\n", report.to_json()).as_bytes())?;
    } else {
        print(report.table().as_bytes())?;
    }
    let outcomes: Vec<_> = assertions.iter().map(|assertion| assertion.check(&report)).collect();
    for outcome in &outcomes {
        words(&format!("{}\n", outcome.line));
    }
    let holds = if outcomes.is_empty() { clean } else { outcomes.iter().all(|outcome| outcome.holds) };
    Ok(if holds { Exit::Ok } else { Exit::Failure })
}

fn exit_of(error: &AuditError) -> Exit {
    match error {
        AuditError::Log(LogError::Io(..)) => Exit::Io,
        AuditError::Log(LogError::Line(..)) | AuditError::Script(_) => Exit::DataInvalid,
        AuditError::Unfinished => Exit::Failure,
    }
}

/// Writes report.json, report.html, series.csv and latency.hlog.
fn write(report: &Report, out: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(out)
        .map_err(|error| Failure::new(Exit::Io, format!("{}: {error}", out.display())))?;
    let file = |name: &str, fill: &dyn Fn(&mut BufWriter<File>) -> std::io::Result<()>| {
        let path = out.join(name);
        let written = File::create(&path).and_then(|file| {
            let mut to = BufWriter::new(file);
            fill(&mut to)?;
            to.flush()
        });
        written.map_err(|error| Failure::new(Exit::Io, format!("{}: {error}", path.display())))
    };
    file("report.json", &|to| writeln!(to, "{:#}", report.to_json()))?;
    file("report.html", &|to| to.write_all(report.html().as_bytes()))?;
    file("series.csv", &|to| report.csv(to))?;
    file("latency.hlog", &|to| report.hdr_log(to))
}
