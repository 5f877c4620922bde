//! An archive that this on-disk version wrote is kept in `tests/fixtures/archive-v2`: every later version reads it, or refuses it
//! in clear words. `LIAISON_WRITE_FIXTURE=DIR` writes one anew, which is only done for a new version.

use super::*;

const RECORDS: u64 = 24;

fn kept() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/archive-v2")
}

/// Messages plain and sealed, a correction, a release, and two erasures, one of each kind.
fn write(directory: &Path) {
    let (mut archive, _) = open(directory);
    fill(&mut archive, 1, 20, 4);
    let effect = |target, act| vec![Effect { target, act }];
    let correct = Act::Correct { kind: TypeId::parse("flow.observation").expect("well formed") };
    let released = draft(4);
    let release = Act::Release {
        digest: released.digest,
        sealed: released.seal,
        to: vec![Entry { party: party("es-pn"), why: Why::Named }],
        withheld: Vec::new(),
    };
    let erase = Act::Erase { ground: Ground::DataSubjectRequest, due_ms: 0, attest: true };
    archive.commit(vec![Draft { effects: effect(3, correct), ..draft(21) }]).expect("commits");
    archive.commit(vec![Draft { effects: effect(4, release), ..draft(22) }]).expect("commits");
    archive.commit(vec![Draft { effects: effect(5, erase.clone()), ..draft(23) }]).expect("commits");
    archive.commit(vec![Draft { effects: effect(6, erase), ..draft(24) }]).expect("commits");
    assert_eq!(archive.erase_ordered().expect("erases"), 2);
    archive.close().expect("closes");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "writing the fixture anew is the caller's wish")]
fn an_archive_of_this_version_is_read() {
    if let Ok(target) = std::env::var("LIAISON_WRITE_FIXTURE") {
        write(Path::new(&target));
        std::fs::remove_dir_all(Path::new(&target).join("sled")).expect("removes");
        return;
    }
    let directory = tempfile::tempdir().expect("temp dir");
    matrix::copy(&kept(), directory.path());
    for entry in std::fs::read_dir(directory.path().join("keys")).expect("lists") {
        use std::os::unix::fs::PermissionsExt as _;
        let file = entry.expect("lists").path();
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600))
            .expect("a repository keeps no modes");
    }
    let report = verify::messages(directory.path(), &verify::Against::default()).expect("reads");
    assert!(report.ok && report.records == RECORDS, "{report:?}");
    let (archive, _) = open(directory.path());
    let reader = archive.reader();
    for seq in 1..=RECORDS {
        let record = reader.get(seq).expect("reads").expect("there");
        assert_eq!(record.digest, draft(seq).digest, "{seq}");
        let opened = reader.open(&record).expect("opens");
        match seq {
            5 | 6 => assert_eq!(opened, Opened::Gone),
            _ => {
                let content = Content { payload: draft(seq).payload.into(), signature: None };
                assert_eq!(opened, Opened::Content(content));
            }
        }
    }
    assert!(reader.get(5).expect("reads").expect("there").is_sealed());
    assert_eq!(reader.fate(3).corrections, [21]);
    assert_eq!(reader.fate(4).released_to[0].party, party("es-pn"));
    let feed = reader.feed(&party("es-pn"), 0, 10, usize::MAX).expect("reads");
    assert_eq!(feed.iter().map(|item| item.record.seq).collect::<Vec<_>>(), [4]);
}
