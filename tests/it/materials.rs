//! The bill of materials that `scripts/sbom` writes: CycloneDX as its readers want it, and all of what the program is built of.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn lines_of<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \"")?.strip_suffix('"'))
}

/// Name and version of every package in the lock file, with its digest.
fn locked() -> BTreeMap<(String, String), Option<String>> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock"))
        .expect("Cargo.lock");
    let packages = text.split("[[package]]").skip(1).map(|block| {
        let word = |name| lines_of(block, name).map(str::to_owned);
        ((word("name").expect("a name"), word("version").expect("a version")), word("checksum"))
    });
    packages.collect()
}

/// What is built into the program, as cargo itself says: name and version.
fn built() -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for target in ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"] {
        let tree = Command::new(env!("CARGO"))
            .args([
                "tree",
                "--locked",
                "--offline",
                "--prefix",
                "none",
                "--edges",
                "normal,build",
                "--target",
                target,
            ])
            .args(["--format", "{p}"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("cargo runs");
        assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
        let text = String::from_utf8(tree.stdout).expect("UTF-8");
        found.extend(text.lines().filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?.to_owned(), words.next()?.trim_start_matches('v').to_owned()))
        }));
    }
    found.retain(|(name, _)| name != "liaison");
    assert!(found.len() > 100);
    found
}

#[test]
fn the_bill_of_materials_is_complete() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/sbom");
    let write = || {
        let output = Command::new(&script).env("CARGO_NET_OFFLINE", "true").output().expect("runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let bytes = write();
    assert!(bytes == write(), "the same lock file gives the same bill");
    let bill: Value = serde_json::from_slice(&bytes).expect("JSON");
    assert_eq!(
        (&bill["bomFormat"], &bill["specVersion"], &bill["version"]),
        (&"CycloneDX".into(), &"1.6".into(), &1.into())
    );
    let number =
        bill["serialNumber"].as_str().and_then(|text| text.strip_prefix("urn:uuid:")).expect("a number");
    uuid::Uuid::parse_str(number).expect("a UUID");
    assert_eq!(bill["metadata"]["component"]["name"], "liaison");
    let (locked, mut named, mut refs) = (locked(), BTreeSet::new(), BTreeSet::new());
    for component in bill["components"].as_array().expect("components") {
        let text =
            |name: &str| component[name].as_str().unwrap_or_else(|| panic!("{name}: {component}")).to_owned();
        let key = (text("name"), text("version"));
        assert_eq!(component["type"], "library");
        assert_eq!(text("purl"), format!("pkg:cargo/{}@{}", key.0, key.1));
        assert_eq!(component["hashes"][0]["content"].as_str(), locked[&key].as_deref(), "{key:?}");
        let licence = component["licenses"][0]["expression"].as_str().expect("a licence");
        assert!(!licence.is_empty() && !licence.contains('/'), "{licence} is no SPDX expression");
        assert!(refs.insert(text("bom-ref")), "{key:?} twice");
        named.insert(key);
    }
    // No file but what cargo says; cargo knows what a feature and a platform need.
    assert_eq!(named, built());
    refs.insert(bill["metadata"]["component"]["bom-ref"].as_str().expect("a reference").to_owned());
    let mut told = BTreeSet::new();
    for dependency in bill["dependencies"].as_array().expect("dependencies") {
        told.insert(dependency["ref"].as_str().expect("a reference").to_owned());
        for on in dependency["dependsOn"].as_array().expect("a list") {
            assert!(refs.contains(on.as_str().expect("a reference")), "{on} is in no component");
        }
    }
    assert_eq!(told, refs, "every component tells what it needs");
}
