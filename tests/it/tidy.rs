//! House rules that a compiler does not know: imports go downwards only, files stay small and say why they exist.

use std::path::{Path, PathBuf};

/// The rooms and their ranks. This table is the law; `docs/ARCHITECTURE.md` prints it.
const RANKS: &[(&str, u8)] = &[
    ("message", 0),
    ("rules", 1),
    ("archive", 2),
    ("wire", 2),
    ("broker", 3),
    ("client", 3),
    ("export", 3),
    ("console", 4),
    ("sim", 4),
    ("cli", 5),
];

/// Longest file.
const LINES: usize = 450;

fn rank(room: &str) -> Option<u8> {
    RANKS.iter().find(|(name, _)| *name == room).map(|(_, rank)| *rank)
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

fn each_source(mut look: impl FnMut(&str, &str)) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 50);
    for file in files {
        let name = file.strip_prefix(&root).expect("below src").to_string_lossy().into_owned();
        look(&name, &std::fs::read_to_string(&file).expect("a source file"));
    }
}

/// The rooms that a source names after `crate::`, in whatever form of `use` or path.
fn rooms_named(source: &str) -> impl Iterator<Item = &str> {
    source.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

#[test]
fn imports_go_downwards_only() {
    each_source(|name, source| {
        let Some((room, _)) = name.split_once('/') else { return };
        let own = rank(room).unwrap_or_else(|| panic!("{room} has no rank"));
        assert!(!source.contains("use crate::{"), "{name}: one `use` a room, so that this test can read it");
        for other in rooms_named(source).filter(|other| *other != room) {
            let other_rank =
                rank(other).unwrap_or_else(|| panic!("{name} names crate::{other}, which is no room"));
            assert!(other_rank < own, "{name} (rank {own}) must not import {other} (rank {other_rank})");
        }
    });
}

#[test]
fn each_library_has_its_room() {
    let walls: [(&str, &[&str]); 8] = [
        ("sled::", &["archive/"]),
        ("async_nats::", &["wire/"]),
        ("clap", &["cli/"]),
        ("axum", &["console/"]),
        ("parquet::", &["export/"]),
        // Records for analysts, and the course of a simulation.
        ("csv::", &["export/", "sim/report/"]),
        ("hdrhistogram::", &["sim/"]),
        ("plotters::", &["sim/report/"]),
    ];
    each_source(|name, source| {
        for (library, rooms) in walls {
            let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
            let used = code.filter(|line| line.contains(library)).count() > 0;
            let home = rooms.iter().any(|room| name.starts_with(room));
            assert!(!used || home, "{name} uses {library}, which belongs to {}", rooms.join(" and "));
        }
    });
}

#[test]
fn files_are_small_and_say_why_they_exist() {
    each_source(|name, source| {
        assert!(source.starts_with("//! "), "{name} must begin with why it exists");
        assert!(source.lines().count() <= LINES, "{name} has {} lines", source.lines().count());
    });
}

#[test]
fn rules_are_pure() {
    let forbidden =
        ["async ", "std::fs", "tracing::", "time::now", "stopwatch", "std::env", "SystemTime", "Instant"];
    each_source(|name, source| {
        if name.starts_with("rules/") {
            let body = source.split("#[cfg(test)]").next().unwrap_or_default();
            for word in forbidden {
                let code = body.lines().filter(|line| !line.trim_start().starts_with("//"));
                assert!(code.filter(|line| line.contains(word)).count() == 0, "{name} uses {word}");
            }
        }
    });
}

/// What judges the broker must not be the broker: the auditor of a simulation has its own registry, routing and filters, and
/// of the simulation it knows only what was to be done and what was seen.
#[test]
fn the_auditor_shares_no_code_with_what_it_audits() {
    let mut looked_at = 0;
    each_source(|name, source| {
        if !name.starts_with("sim/audit/") || name.contains("/tests/") {
            return;
        }
        looked_at += 1;
        let body = source.split("#[cfg(test)]").next().unwrap_or_default();
        for room in rooms_named(body) {
            assert!(["message", "sim"].contains(&room), "{name} must not import crate::{room}");
        }
        let parts = |from: &'static str| body.split(from).skip(1);
        for part in parts("crate::sim::") {
            let known = ["plan", "cast", "script", "log"];
            assert!(known.iter().any(|known| part.starts_with(known)), "{name} imports of sim: {part:.20}");
        }
        assert!(!body.contains("super::run") && !body.contains("super::super"), "{name} looks elsewhere");
    });
    assert!(looked_at > 5, "the auditor is somewhere else");
}

#[test]
fn the_architecture_prints_the_ranks_as_they_are() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ARCHITECTURE.md");
    let text = std::fs::read_to_string(file).expect("docs/ARCHITECTURE.md");
    for (room, rank) in RANKS {
        let row = format!("| {rank} | `{room}/`");
        assert!(text.contains(&row), "docs/ARCHITECTURE.md lacks a row that begins with {row}");
    }
}

/// Each decision stands in the list once, in order, and nothing else does: a merge left its marks there once.
#[test]
fn the_list_of_decisions_is_that_of_the_files() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/decisions");
    let entries = std::fs::read_dir(&directory).expect("a directory");
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let mut files: Vec<String> = names.filter(|name| name != "README.md").collect();
    files.sort();
    let list = std::fs::read_to_string(directory.join("README.md")).expect("a list");
    let rows: Vec<&str> = list.lines().skip_while(|line| !line.starts_with("|---")).skip(1).collect();
    let named: Vec<&str> = rows.iter().map(|row| row.split(['(', ')']).nth(1).unwrap_or(row)).collect();
    assert_eq!(named, files);
}
