//! The archive against a model in memory: whatever is committed, killed, torn, thrown away and opened again, both say
//! the same of every message, every feed and every place of a stream.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const SENDERS: [&str; 2] = ["de-bpol", "nl-knp"];
const READERS: [&str; 3] = ["eu-frontex", "fr-dnpaf", "it-moi"];

/// What happens to an archive.
#[derive(Debug, Clone)]
enum Step {
    /// Messages: sender, outcome 0-2, recipients as bits.
    Commit(Vec<(usize, u8, u8)>),
    /// The intake stream of a sender is made anew, sometimes with the clock set back.
    Anew(usize, i64),
    /// The files as a kill at this moment leaves them.
    Kill,
    /// The same, with a torn frame behind.
    Torn(usize),
    /// Closed in order.
    Close,
    /// sled is thrown away.
    WithoutSled,
}

fn step() -> impl Strategy<Value = Step> {
    let message = (0..SENDERS.len(), 0_u8..8, 0_u8..8);
    prop_oneof![
        6 => prop::collection::vec(message.clone(), 1..20).prop_map(Step::Commit),
        3 => prop::collection::vec(message, 100..400).prop_map(Step::Commit),
        1 => (0..SENDERS.len(), -50_i64..50).prop_map(|(sender, by)| Step::Anew(sender, by)),
        1 => Just(Step::Kill),
        1 => (1_usize..300).prop_map(Step::Torn),
        1 => Just(Step::Close),
        1 => Just(Step::WithoutSled),
    ]
}

#[derive(Default)]
struct Model {
    drafts: Vec<Draft>,
    streams: HashMap<usize, Position>,
}

impl Model {
    fn draft(&mut self, (sender, outcome, to): (usize, u8, u8)) -> Draft {
        let n = self.drafts.len() as u64 + 1;
        let position = self.streams.entry(sender).or_insert(Position { epoch: 1_000, sequence: 0 });
        position.sequence += 1;
        let base = draft(n);
        let outcome =
            [Outcome::Quarantined, Outcome::Rejected, Outcome::Accepted][usize::from(outcome.min(2))];
        let accepted = outcome == Outcome::Accepted;
        let target =
            RefusedTarget { source: "/authority/de-bpol".into(), id: Some(id(n)), post: "system".into() };
        let to = READERS.iter().enumerate().filter(|(at, _)| accepted && to & (1 << at) != 0);
        let draft = Draft {
            outcome,
            party: party(SENDERS[sender]),
            position: *position,
            summary: base.summary.filter(|_| accepted),
            target: Some(target).filter(|_| !accepted),
            recipients: to.map(|(_, name)| Entry { party: party(name), why: Why::Subscribed }).collect(),
            withheld: vec![Entry { party: party("at-bmi"), why: Why::NotSubscribed }],
            ..draft(n)
        };
        self.drafts.push(draft.clone());
        draft
    }

    /// Everything the model knows, asked of the archive.
    fn agrees(&self, archive: &Archive) {
        let reader = archive.reader();
        assert_eq!(reader.head_seq(), self.drafts.len() as u64);
        let mut heads = Feeds::default();
        for (seq, draft) in (1_u64..).zip(&self.drafts) {
            let record = reader.get(seq).expect("reads").expect("is there");
            let expected = Record::from_draft(draft.clone(), seq, record.archived_ms, record.body.clone());
            assert_eq!(*record, expected);
            assert_eq!(content(&reader, &record), draft.payload);
            let known = reader.find("/authority/de-bpol", &id(seq)).expect("reads").map(|record| record.seq);
            assert_eq!(known, Some(seq).filter(|_| draft.outcome != Outcome::Rejected), "{seq}");
            let owed: Vec<Delivery> = draft
                .recipients
                .iter()
                .map(|entry| {
                    let (feed_seq, feed_digest) = heads.push(&entry.party, draft.digest);
                    Delivery { party: entry.party.clone(), feed_seq, feed_digest, of: seq }
                })
                .collect();
            assert_eq!(reader.deliveries(seq).expect("reads"), owed);
        }
        assert_eq!(reader.get(self.drafts.len() as u64 + 1).expect("reads"), None);
        for name in READERS {
            self.feed_agrees(&reader, &party(name));
            assert_eq!(reader.feed_head(&party(name)), heads.head(&party(name)).0);
        }
        self.positions_agree(&reader);
    }

    fn feed_agrees(&self, reader: &Reader, party: &PartyId) {
        let mut expected = (1_u64..).zip(&self.drafts).filter(|(_, draft)| {
            draft.outcome == Outcome::Accepted && draft.recipients.iter().any(|entry| entry.party == *party)
        });
        let (mut after, mut digest) = (0, Digest::default());
        loop {
            let items = reader.feed(party, after, 97, 100_000).expect("reads");
            if items.is_empty() {
                break;
            }
            for item in items {
                after += 1;
                digest = digest.feed(item.record.digest);
                assert_eq!((item.feed_seq, item.feed_digest), (after, digest));
                assert_eq!(Some(item.record.seq), expected.next().map(|(seq, _)| seq));
            }
        }
        assert!(expected.next().is_none(), "the feed of {party} ends too early");
    }

    /// Only the last life of a stream is asked for: nothing else can come again.
    fn positions_agree(&self, reader: &Reader) {
        for (sender, now) in &self.streams {
            let party = party(SENDERS[*sender]);
            let of_now = |draft: &&Draft| draft.party == party && draft.position.epoch == now.epoch;
            let last = self.drafts.iter().rfind(of_now).map(|draft| draft.position);
            if last.is_some() {
                assert_eq!(reader.last_position(&party), last);
            }
            for (seq, draft) in (1_u64..).zip(&self.drafts).filter(|(_, draft)| of_now(draft)) {
                let found = reader.at_position(&party, draft.position).expect("reads");
                assert_eq!(found.map(|record| record.seq), Some(seq));
            }
            let never = Position { epoch: now.epoch, sequence: now.sequence + 1 };
            assert!(reader.at_position(&party, never).expect("reads").is_none());
        }
    }
}

/// The files as they are now, while the archive has them open; then the archive ends as it likes.
fn leave_as_killed(archive: Archive, directory: tempfile::TempDir) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("temp dir");
    for part in ["journal", "sled", "keys"] {
        std::fs::create_dir(copy.path().join(part)).expect("creates");
        for file in std::fs::read_dir(directory.path().join(part)).expect("lists") {
            let file = file.expect("lists");
            if file.file_type().expect("stat").is_file() {
                std::fs::copy(file.path(), copy.path().join(part).join(file.file_name())).expect("copies");
            }
        }
    }
    kill(archive);
    drop(directory);
    copy
}

fn tear(directory: &Path, bytes: usize) {
    use std::io::Write as _;
    let journal = directory.join("journal");
    let found: journal::Found = journal::walk(&journal).expect("walks");
    let torn: Vec<u8> = b"LIAF\x01\0\0\0".iter().copied().cycle().take(bytes).collect();
    let last = found.segments.last().expect("a segment");
    let mut file = std::fs::OpenOptions::new().append(true).open(last).expect("opens");
    file.write_all(&torn).expect("writes");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn the_archive_says_what_the_model_says(steps in prop::collection::vec(step(), 4..16)) {
        let mut directory = tempfile::tempdir().expect("temp dir");
        let mut model = Model::default();
        let (mut archive, _) = open(directory.path());
        for step in steps {
            match step {
                Step::Commit(messages) => {
                    let drafts = messages.into_iter().map(|message| model.draft(message)).collect();
                    archive.commit(drafts).expect("commits");
                    continue;
                }
                Step::Anew(sender, by) => {
                    let epoch = model.streams.get(&sender).map_or(1_000, |position| position.epoch);
                    let by = if by == 0 { 1 } else { by };
                    // Never back to a second in which there was a stream before: that would be the same life.
                    let epoch = (1..).map(|n| epoch + n * by).find(|epoch| {
                        !model.drafts.iter().any(|draft| draft.position.epoch == *epoch)
                    });
                    let epoch = epoch.expect("there is always another second");
                    model.streams.insert(sender, Position { epoch, sequence: 0 });
                    continue;
                }
                Step::Kill => directory = leave_as_killed(archive, directory),
                Step::Torn(bytes) => {
                    directory = leave_as_killed(archive, directory);
                    tear(directory.path(), bytes);
                }
                Step::Close => archive.close().expect("closes"),
                Step::WithoutSled => {
                    kill(archive);
                    std::fs::remove_dir_all(directory.path().join("sled")).expect("removes");
                }
            }
            (archive, _) = open(directory.path());
            model.agrees(&archive);
        }
        model.agrees(&archive);
    }
}
