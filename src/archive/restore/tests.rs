//! Backups that are whole come back; anything else is refused, and leaves nothing behind.

use std::io::Write as _;

use super::*;
use crate::archive::backup::{Sink, backup};
use crate::archive::checkpoint::Checkpoint;
use crate::archive::note::{KeyName, Kind, Note, Signer};
use crate::archive::notebook::Notebook;
use crate::archive::tests::{fill as fill_archive, root};
use crate::archive::tree::Head;
use crate::archive::{Archive, Opened};
use crate::message::time;

struct Scene {
    place: tempfile::TempDir,
    data: PathBuf,
}

/// A data directory with 30 records, sealed ones among them, a checkpoint over 20 of them, and secrets.
fn scene() -> Scene {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let archive = data.join("archive");
    let (mut open, _) = Archive::open(&archive, &root()).unwrap();
    fill_archive(&mut open, 1, 20, 4);
    let signer = Signer::new(KeyName::parse("liaison-1").unwrap(), Kind::Log, &[1; 32]);
    let tree = open.reader().tree();
    let at = time::parse("2026-03-02T10:00:00Z").unwrap();
    let head = Head { size: tree.size(), root: tree.root() };
    let mut note = Note::new(Checkpoint::new(signer.verifier().name().clone(), head, at).text()).unwrap();
    note.add(signer.sign(note.text(), 0));
    Notebook::messages(&archive).keep(&note).unwrap();
    fill_archive(&mut open, 21, 30, 4);
    open.close().unwrap();
    std::fs::create_dir_all(data.join("keys/broker")).unwrap();
    std::fs::write(data.join("keys/broker/checkpoint.pub"), signer.verifier().to_string()).unwrap();
    std::fs::write(data.join("keys/broker/checkpoint.key"), "a secret").unwrap();
    std::fs::write(data.join("network.toml"), "invented = true\n").unwrap();
    Scene { place, data }
}

impl Scene {
    fn given(&self) -> Vec<(String, PathBuf)> {
        ["network.toml", "liaison.toml", "keys/broker/checkpoint.pub"]
            .map(|name| (name.to_owned(), self.data.join(name)))
            .into()
    }

    fn to_directory(&self) -> PathBuf {
        let to = self.place.path().join("backup");
        let manifest =
            backup(&self.data.join("archive"), &self.given(), Sink::directory(&to).unwrap()).unwrap();
        assert_eq!((manifest.records, manifest.checkpoint, manifest.files.len()), (30, 20, 5));
        to
    }

    fn restored(&self, source: Source) -> Result<(Restored, PathBuf), Refused> {
        let data = self.place.path().join("new");
        let restored = restore(source, &data, Some(&self.data.join("archive/keys/messages.liak")), None);
        assert_eq!(data.exists(), restored.is_ok());
        assert!(!self.place.path().join("new.restoring").exists());
        Ok((restored?, data))
    }
}

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

#[test]
fn a_backup_comes_back_whole_and_opens_with_the_keys() {
    let scene = scene();
    let (restored, data) = scene.restored(Source::Directory(scene.to_directory())).unwrap();
    assert!(restored.ok && restored.keys);
    assert_eq!((restored.messages.records, restored.messages.checkpoints.verified), (30, Some(2)));
    let (archive, recovery) = Archive::open(&data.join("archive"), &root()).unwrap();
    assert_eq!(recovery.records, 30);
    let reader = archive.reader();
    for seq in 1..=30 {
        let record = reader.get(seq).unwrap().unwrap();
        assert!(matches!(reader.open(&record).unwrap(), Opened::Content(_)), "record {seq}");
    }
}

#[test]
fn a_backup_brings_no_secret_and_nothing_that_opens_sealed_content() {
    let scene = scene();
    let backup = scene.to_directory();
    let mut found = Vec::new();
    files(&backup, &mut found);
    let names: Vec<_> =
        found.iter().map(|path| path.strip_prefix(&backup).unwrap().to_string_lossy().into_owned()).collect();
    assert!(
        names.iter().all(|name| !name.contains(".key") && !name.contains("liak") && !name.contains("sled")),
        "{names:?}"
    );
    for file in found {
        assert!(!String::from_utf8_lossy(&std::fs::read(&file).unwrap()).contains("a secret"), "{file:?}");
    }
    let data = scene.place.path().join("keyless");
    let restored = restore(Source::Directory(backup), &data, None, None).unwrap();
    assert!(!restored.keys);
    assert!(
        Archive::open(&data.join("archive"), &root()).is_err(),
        "sealed content without keys is not opened as if it were gone"
    );
}

/// What is written stays readable to the test.
#[derive(Clone, Default)]
struct Shared(std::sync::Arc<parking_lot::Mutex<Vec<u8>>>);

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_stream_is_the_same_backup_and_a_cut_one_is_refused() {
    let scene = scene();
    let out = Shared::default();
    backup(&scene.data.join("archive"), &scene.given(), Sink::stream(Box::new(out.clone()))).unwrap();
    let bytes = out.0.lock().clone();
    for end in [0, 511, 2_000, bytes.len() / 2, bytes.len() - 3_000] {
        let cut = std::io::Cursor::new(bytes[..end].to_vec());
        assert!(
            matches!(
                scene.restored(Source::Stream(Box::new(cut))),
                Err(Refused::Broken(_) | Refused::Archive(_))
            ),
            "cut at {end}"
        );
    }
    let mut evil = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(4);
    header.as_mut_bytes()[..14].copy_from_slice(b"archive/../abc");
    header.set_cksum();
    evil.append(&header, &b"evil"[..]).unwrap();
    let evil = std::io::Cursor::new(evil.into_inner().unwrap());
    assert!(matches!(scene.restored(Source::Stream(Box::new(evil))), Err(Refused::Broken(_))));
    let whole = std::io::Cursor::new(bytes);
    assert_eq!(scene.restored(Source::Stream(Box::new(whole))).unwrap().0.messages.records, 30);
}

#[test]
fn whatever_is_changed_in_a_backup_it_is_refused() {
    let scene = scene();
    let backup = scene.to_directory();
    let mut all = Vec::new();
    files(&backup, &mut all);
    for file in &all {
        let whole = std::fs::read(file).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        for changed in [Some(flipped), Some(whole[..whole.len() - 1].to_vec()), None] {
            match &changed {
                Some(bytes) => std::fs::write(file, bytes).unwrap(),
                None => std::fs::remove_file(file).unwrap(),
            }
            // The manifest's own closing words may change without a change of meaning; all else may not.
            let refused = scene.restored(Source::Directory(backup.clone())).is_err();
            assert!(refused, "{file:?} {:?}", changed.map(|bytes| bytes.len()));
        }
        std::fs::write(file, whole).unwrap();
    }
    // A forged manifest that fits forged files is found by the archive's own proof.
    let segment = backup.join("archive/journal/seg-00000000000000000001.liaj");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[300] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();
    let manifest = std::fs::read_to_string(backup.join(MANIFEST)).unwrap();
    let mut manifest: Manifest = serde_json::from_str(&manifest).unwrap();
    for member in manifest.files.iter_mut().filter(|member| member.name.ends_with("liaj")) {
        member.sha256 = Digest::of(&bytes).hex();
    }
    let mut file = File::create(backup.join(MANIFEST)).unwrap();
    file.write_all(&serde_json::to_vec(&manifest).unwrap()).unwrap();
    assert!(matches!(scene.restored(Source::Directory(backup)), Err(Refused::Changed { first_bad: 1, .. })));
}

#[test]
fn a_damaged_archive_is_not_backed_up_but_a_torn_tail_is_left_out() {
    let scene = scene();
    let archive = scene.data.join("archive");
    let segment = archive.join("journal/seg-00000000000000000001.liaj");
    let whole = std::fs::read(&segment).unwrap();
    std::fs::remove_file(archive.join("journal/HEAD")).unwrap();
    std::fs::write(&segment, &whole[..whole.len() - 1]).unwrap();
    let to = scene.place.path().join("torn");
    assert_eq!(backup(&archive, &[], Sink::directory(&to).unwrap()).unwrap().records, 28);
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    std::fs::write(&segment, flipped).unwrap();
    let to = scene.place.path().join("damaged");
    assert!(backup(&archive, &[], Sink::directory(&to).unwrap()).is_err());
    assert!(!to.join(MANIFEST).exists());
    assert!(Sink::directory(&to).is_err(), "nothing is mixed with what is there");
}
