//! An archive that follows another: the same bytes, the same answers, and nothing taken that does not follow.

use super::*;

/// Commits as the holder of a replicated journal does; what another instance would see of it.
fn carried(archive: &mut Archive, drafts: Vec<Draft>) -> (Vec<SeedCopy>, Vec<u8>) {
    let prepared = archive.prepare(drafts).expect("made");
    let seeds = archive.seeds_of(&prepared).expect("read");
    let frame = prepared.bytes().to_vec();
    archive.keep(prepared).expect("kept");
    (seeds, frame)
}

fn follow(archive: &mut Archive, (seeds, frame): (Vec<SeedCopy>, Vec<u8>)) {
    for seed in seeds {
        archive.take_seed(seed.slot, &seed.bytes).expect("taken");
    }
    archive.follow(frame).expect("followed");
}

fn erase(n: u64, targets: &[u64]) -> Draft {
    let act = Act::Erase { ground: Ground::DataSubjectRequest, due_ms: 0, attest: true };
    let effects = targets.iter().map(|target| Effect { target: *target, act: act.clone() });
    Draft { effects: effects.collect(), ..draft(n) }
}

fn journal_of(directory: &Path) -> Vec<u8> {
    std::fs::read(directory.join("journal/seg-00000000000000000001.liaj")).expect("readable")
}

#[test]
fn who_follows_has_the_same_bytes_and_gives_the_same_answers() {
    let (here, there) = (tempfile::tempdir().expect("temp dir"), tempfile::tempdir().expect("temp dir"));
    let ((mut holder, _), (mut other, _)) = (open(here.path()), open(there.path()));
    assert_eq!(holder.shared_word(), other.shared_word());
    for from in (1..=600).step_by(6) {
        let carried = carried(&mut holder, (from..from + 6).map(draft).collect());
        follow(&mut other, carried);
    }
    assert!(journal_of(here.path()) == journal_of(there.path()));
    audit(&other, 600);
    assert_eq!(other.reader().tree().root(), holder.reader().tree().root());
    // It goes on where the other one ended, and after a start as well.
    kill(other);
    let (mut other, _) = open(there.path());
    fill(&mut other, 601, 700, 7);
    audit(&other, 700);
}

#[test]
fn what_does_not_follow_is_not_taken() {
    let (here, there) = (tempfile::tempdir().expect("temp dir"), tempfile::tempdir().expect("temp dir"));
    let ((mut holder, _), (mut other, _)) = (open(here.path()), open(there.path()));
    let frames: Vec<_> = (1..=3).map(|n| carried(&mut holder, vec![draft(n)]).1).collect();
    other.follow(frames[0].clone()).expect("followed");
    let before = journal_of(there.path());
    assert!(matches!(other.follow(frames[2].clone()), Err(Error::Diverged(3))), "a gap");
    assert!(matches!(other.follow(frames[0].clone()), Err(Error::Diverged(1))), "again");
    let mut flipped = frames[1].clone();
    *flipped.last_mut().expect("not empty") ^= 1;
    assert!(matches!(other.follow(flipped), Err(Error::Corrupt(_))));
    assert!(matches!(other.follow(frames[1][..50].to_vec()), Err(Error::Corrupt(_))));
    let own = carried(&mut other, vec![draft(9)]);
    assert!(matches!(other.follow(frames[1].clone()), Err(Error::Diverged(2))), "another history");
    drop(own);
    assert!(journal_of(there.path()).starts_with(&before));
}

#[test]
fn an_order_to_erase_is_carried_out_by_who_follows_and_what_is_left_can_be_followed() {
    let places: Vec<_> = (0..3).map(|_| tempfile::tempdir().expect("temp dir")).collect();
    let (mut holder, _) = open(places[0].path());
    let (mut other, _) = open(places[1].path());
    let mut seen = Vec::new();
    // 5 is sealed, 6 is plain.
    for drafts in [(1..=4).map(draft).collect(), (5..=8).map(draft).collect(), vec![erase(9, &[5, 6])]] {
        let carried = carried(&mut holder, drafts);
        seen.push(carried.1.clone());
        follow(&mut other, carried);
    }
    assert_eq!(holder.erase_ordered().expect("erases"), 2);
    for archive in [&holder, &other] {
        for n in [5, 6] {
            let record = archive.reader().get(n).expect("reads").expect("there");
            assert_eq!(archive.reader().open(&record).expect("opens"), Opened::Gone, "{n}");
        }
        let traces = archive.traces_behind(0).expect("reads");
        assert_eq!((traces.upto, traces.slots, traces.frames), (9, vec![0], vec![5]));
        assert_eq!(archive.traces_behind(9).expect("reads").upto, 0);
    }
    // Made anew from what is left elsewhere: no seed, and the frame without the body.
    let (mut late, _) = open(places[2].path());
    late.follow(seen[0].clone()).expect("followed");
    let anew = holder.frame_bytes(5).expect("reads");
    assert_eq!(Seen::at(&anew).expect("a frame"), Seen::at(&seen[1]).expect("a frame"));
    assert!(anew != seen[1] && anew.len() == seen[1].len());
    late.follow(anew).expect("followed");
    late.follow(seen[2].clone()).expect("followed");
    let record = late.reader().get(5).expect("reads").expect("there");
    assert_eq!(late.reader().open(&record).expect("opens"), Opened::Gone);
    late.close().expect("closes");
    open(places[2].path());
    assert!(journal_of(places[0].path()) == journal_of(places[2].path()));
}

/// A holder that was refused has seeds that sealed nothing; those of its successor stand in their slots afterwards.
#[test]
fn seeds_of_a_frame_that_was_refused_are_replaced() {
    let (here, there) = (tempfile::tempdir().expect("temp dir"), tempfile::tempdir().expect("temp dir"));
    let ((mut old, _), (mut new, _)) = (open(here.path()), open(there.path()));
    drop(old.prepare(vec![draft(5)]).expect("made, and refused elsewhere"));
    let carried = carried(&mut new, vec![draft(10)]);
    follow(&mut old, carried);
    let record = old.reader().get(1).expect("reads").expect("there");
    assert_eq!(content(&old.reader(), &record), draft(10).payload);
}
