//! Replay against a broker made of a list: whatever pages it gives, wherever one breaks off, nothing comes twice and nothing
//! is missing. Rests are counted, not slept.

use std::sync::Arc;

use parking_lot::Mutex;
use proptest::prelude::*;

use super::*;

/// A feed whose messages have the sequences of this list; some are tombstones. Pages are as small as it likes.
#[derive(Default)]
struct Fake {
    feed: Mutex<Vec<u64>>,
    page: usize,
    asked: Mutex<Vec<Value>>,
    /// Answers to give before the next page.
    refusals: Mutex<Vec<AskError>>,
    rests: Mutex<Vec<Duration>>,
}

fn refused(status: u16) -> AskError {
    AskError::Refused { status, code: "E-BUSY".to_owned(), words: String::new(), retry_after_ms: None }
}

impl Fake {
    fn of(feed: impl IntoIterator<Item = u64>, page: usize) -> Arc<Self> {
        Arc::new(Self { feed: Mutex::new(feed.into_iter().collect()), page, ..Self::default() })
    }

    fn answer(&self, asked: Value) -> Result<Bytes, AskError> {
        if let Some(error) = self.refusals.lock().pop() {
            return Err(error);
        }
        let after = asked["after"].as_str().map_or(0, |cursor| {
            cursor.strip_prefix("c-").and_then(|seq| seq.parse().ok()).expect("a cursor of mine")
        });
        let limit = usize::try_from(asked["limit"].as_u64().expect("a limit")).expect("small").min(self.page);
        self.asked.lock().push(asked);
        let feed = self.feed.lock();
        let rest: Vec<u64> = feed.iter().copied().filter(|seq| *seq > after).collect();
        let messages: Vec<Value> = rest.iter().take(limit).map(|seq| told(*seq)).collect();
        let last = rest.iter().take(limit).next_back().copied().unwrap_or(after);
        let page = json!({
            "messages": messages, "cursor": format!("c-{last}"), "done": rest.len() <= limit,
            "head": feed.last().copied().unwrap_or(0),
        });
        Ok(Bytes::from(page.to_string()))
    }

    fn replay(self: &Arc<Self>, wanted: Wanted, place: Place) -> Replay {
        let (asked, rested) = (Arc::clone(self), Arc::clone(self));
        let ask = move |body: Value| {
            let answer = asked.answer(body);
            async move { answer }
        };
        let rest = move |pause| {
            rested.rests.lock().push(pause);
            tokio::task::yield_now()
        };
        Replay::begin(wanted, place, ask, rest)
    }
}

fn told(seq: u64) -> Value {
    let at = Timestamp::from_second(1_700_000_000 + i64::try_from(seq).expect("small")).expect("a time");
    let mut told =
        json!({ "seq": seq, "archived_at": rfc3339(at), "digest": format!("sha256:{}", "0".repeat(64)) });
    if seq.is_multiple_of(5) {
        told["tombstone"] = json!({ "why": "erased" });
    } else {
        told["event"] = json!({ "n": seq });
    }
    told
}

/// Reads to the end, or breaks off after `most` messages; the sequences and where to go on.
async fn read_on(replay: &mut Replay, most: usize) -> (Vec<u64>, Place) {
    let (mut seqs, mut place) = (Vec::new(), Place::default());
    while let Some(page) = replay.next().await {
        let page = page.expect("a page");
        place = page.began.clone();
        for message in &page.messages {
            if seqs.len() == most {
                return (seqs, place);
            }
            seqs.push(message.seq);
            place = page.began.within(message.seq);
        }
        place = page.next;
    }
    (seqs, place)
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(work)
}

fn patient() -> Wanted {
    Wanted { patience: Duration::from_secs(30), ..Wanted::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whoever_breaks_off_goes_on_exactly_there(
        gaps in prop::collection::vec(1..4_u64, 0..40),
        pages in prop::collection::vec(1..9_usize, 1..6),
        breaks in prop::collection::vec((0..15_usize, prop::option::of(0..12_u64)), 0..8),
    ) {
        let feed: Vec<u64> = gaps.iter().scan(0, |seq, gap| { *seq += gap; Some(*seq) }).collect();
        let all = block_on(async {
            let (mut all, mut place) = (Vec::new(), Place::default());
            // The last one reads to the end. Each run may get other pages, and writes its place down as text.
            let runs = breaks.iter().copied().chain([(usize::MAX, None)]);
            for ((most, limit), page) in runs.zip(pages.iter().cycle()) {
                let wanted = Wanted { limit, ..patient() };
                let (seqs, stopped) = read_on(&mut Fake::of(feed.clone(), *page).replay(wanted, place), most).await;
                prop_assert!(limit.is_none_or(|limit| seqs.len() as u64 <= limit));
                all.extend(seqs);
                place = if limit == Some(0) { Place::default() } else { stopped };
                if limit == Some(0) { all.clear(); }
                place = place.to_string().parse().expect("a place");
            }
            Ok(all)
        })?;
        prop_assert_eq!(all, feed);
    }
}

#[tokio::test]
async fn following_has_no_gap_and_no_double_at_the_seam() {
    let fake = Fake::of(1..=7, 3);
    let mut replay = fake.replay(Wanted { follow: true, limit: Some(12), ..patient() }, Place::default());
    let mut seqs = Vec::new();
    while let Some(page) = replay.next().await {
        let page = page.expect("a page");
        seqs.extend(page.messages.iter().map(|message| message.seq));
        // While the end of the archive is being read, more arrives; and once more when all of that was read.
        if page.done {
            let mut feed = fake.feed.lock();
            let last = *feed.last().expect("some");
            feed.extend(last + 1..=last + 2);
        }
    }
    assert_eq!(seqs, (1..=12).collect::<Vec<_>>());
    assert!(!fake.rests.lock().is_empty(), "it rests at the end of the feed");
}

#[tokio::test]
async fn a_busy_broker_is_asked_again_and_a_refusal_is_not() {
    let fake = Fake::of(1..=3, 10);
    let soon = match refused(429) {
        AskError::Refused { status, code, words, .. } => {
            AskError::Refused { status, code, words, retry_after_ms: Some(7) }
        }
        other => other,
    };
    *fake.refusals.lock() = vec![soon, AskError::NoAnswer("nobody".to_owned()), refused(503)];
    let (seqs, _) = read_on(&mut fake.replay(patient(), Place::default()), usize::MAX).await;
    let rests = [250, 500, 7].map(Duration::from_millis);
    assert_eq!((seqs, fake.rests.lock().as_slice()), (vec![1, 2, 3], rests.as_slice()));
    for (error, rests) in [(refused(400), 0), (refused(403), 0), (refused(503), 1)] {
        let fake = Fake::of(1..=3, 10);
        *fake.refusals.lock() = vec![refused(503), error];
        let short = Wanted { patience: Duration::from_millis(1), ..Wanted::default() };
        let ended = fake.replay(short, Place::default()).next().await;
        assert!(matches!(ended, Some(Err(Error::Ask(AskError::Refused { .. })))), "{ended:?}");
        assert_eq!(fake.rests.lock().len(), rests);
    }
}

#[tokio::test]
async fn what_is_asked_is_what_the_protocol_says() {
    let fake = Fake::of(1..=5, 2);
    let at = |text| time::parse(text);
    let wanted = Wanted {
        from: at("2026-03-02T10:00:00Z"),
        to: at("2026-03-03T10:00:00Z"),
        filters: vec![json!({ "exact": { "country": "TN" } })],
        condition: Some("true".to_owned()),
        limit: Some(3),
        ..patient()
    };
    let (seqs, place) = read_on(&mut fake.replay(wanted, Place::default()), usize::MAX).await;
    assert_eq!((seqs, place.to_string()), (vec![1, 2, 3], "c-3".to_owned()));
    let asked = fake.asked.lock();
    assert_eq!(
        asked[0],
        json!({
            "from": "2026-03-02T10:00:00.000Z", "to": "2026-03-03T10:00:00.000Z", "limit": 3, "max_bytes": 524_288,
            "filters": [{ "exact": { "country": "TN" } }], "where": "true",
        })
    );
    assert_eq!((&asked[1]["after"], &asked[1]["limit"]), (&"c-2".into(), &1.into()));
}

#[tokio::test]
async fn an_answer_that_must_not_be_is_an_error() {
    let page = |messages: Value, cursor: &str, done: bool| {
        json!({ "messages": messages, "cursor": cursor, "done": done, "head": 9 }).to_string()
    };
    let both = json!({ "seq": 1, "archived_at": "2026-03-02T10:00:00Z", "digest": "0".repeat(64), "event": {}, "tombstone": {} });
    for answer in [
        "{}".to_owned(),
        page(json!([told(2), told(1)]), "c", true),
        page(json!([told(1), told(1)]), "c", true),
        page(json!([both]), "c", true),
        page(json!([{ "seq": 1, "archived_at": "now", "digest": "0".repeat(64), "event": {} }]), "c", true),
        page(
            json!([{ "seq": 1, "archived_at": "2026-03-02T10:00:00Z", "digest": "0", "event": {} }]),
            "c",
            true,
        ),
        page(json!([]), "same", false),
        page(json!([told(1)]), "same", true),
    ] {
        let given = Bytes::from(answer.clone());
        let ask = move |_| std::future::ready(Ok(given.clone()));
        let mut replay =
            Replay::begin(patient(), Place::at("same".to_owned()), ask, |_| std::future::ready(()));
        let ended = replay.next().await;
        assert!(matches!(ended, Some(Err(Error::Answer(_)))), "{answer}: {ended:?}");
    }
}

#[test]
fn messages_come_as_far_apart_as_they_were_archived() {
    let at = |second: i64| Timestamp::from_second(1_700_000_000 + second).expect("a time");
    let second = Duration::from_secs;
    let mut pace = Pace::new("10x".parse().expect("a speed"));
    // A stopwatch that ran three seconds before the first message came.
    assert_eq!(pace.wait(at(0), second(3)), second(0));
    assert_eq!(pace.wait(at(60), second(3)), second(6));
    assert_eq!(pace.wait(at(60), second(9)), second(0));
    assert_eq!(pace.wait(at(100), second(12)), second(1), "what was late does not make the next one later");
    assert_eq!(pace.wait(at(200), second(40)), second(0), "who is behind does not wait");
    assert_eq!(pace.wait(at(50), second(40)), second(0), "a clock that was set back");
    let mut pace = Pace::new("max".parse().expect("a speed"));
    assert_eq!((pace.wait(at(0), second(0)), pace.wait(at(9_999), second(0))), (second(0), second(0)));
    let speeds = ["1x", "10x", "60x", "0.5x", "max"].map(|text| text.parse::<Speed>().is_ok());
    assert_eq!(speeds, [true; 5]);
    for bad in ["", "x", "1", "0x", "-1x", "fast", "NaNx", "1e9x"] {
        assert!(bad.parse::<Speed>().is_err(), "{bad}");
    }
}

#[test]
fn places_are_read_as_they_are_written() {
    for text in ["", "c-7", "c-7~9", "~9", "a~b~12"] {
        assert_eq!(text.parse::<Place>().expect("a place").to_string(), text);
    }
    assert!("a~b".parse::<Place>().is_err());
}
