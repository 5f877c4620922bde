//! One page: looks at a bounded piece of a feed and writes what matches, as bytes.
//!
//! Bodies are parsed only when a question cannot be answered without them. The received bytes go into the page as they
//! are, `event` last in its object, so that whoever reads carefully can recompute the digest.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::fate::{self, Gone};
use super::request::Asked;
use super::{Cursor, unreadable};
use crate::archive::{FeedItem, Reader, Record, Summary};
use crate::message::names::PartyId;
use crate::message::time::{self, Timestamp, rfc3339};
use crate::rules::Rules;
use crate::rules::audience::may_have;
use crate::rules::facets::Facets;
use crate::rules::filter::Subject;
use crate::rules::registry::Party;
use crate::wire::services::Failure;

/// Deliveries that one page looks at. Those of blocks that were skipped do not count: they cost nothing.
const SCAN: usize = 4_096;
/// Room for what stands behind the messages.
const END: usize = 112;

/// A page that was read.
#[derive(Debug)]
pub(super) struct Page {
    bytes: Vec<u8>,
    after: u64,
    upto: u64,
    count: u64,
    /// Bytes of bodies that were parsed.
    parsed: usize,
}

/// What is to be done with a message that stands in the feed.
enum Shown {
    /// It is not looked for.
    No,
    /// Its bytes.
    Event,
    /// Only that it is gone.
    Tombstone(Value),
}

/// Who asks, and what.
struct Reading<'a> {
    reader: &'a Reader,
    rules: &'a Rules,
    party: &'a Party,
    asked: &'a Asked,
    now_ms: i64,
}

impl Page {
    /// Reads one page; `between` is called between two blocks.
    ///
    /// # Errors
    /// 400 for a cursor that lies beyond the feed, 503 if the archive cannot be read.
    pub(super) fn read(
        reader: &Reader,
        rules: &Rules,
        party: &PartyId,
        asked: &Asked,
        between: impl Fn(),
    ) -> Result<Self, Failure> {
        if asked.after > reader.feed_head(party) {
            return Err(super::request::refuse("/after", "lies beyond the end of this feed"));
        }
        let known = rules.registry.party(party.as_str());
        let known = known.ok_or_else(|| Failure::new(403, "E-PARTY", "", "this party is not taking part"))?;
        let now_ms = time::now().as_millisecond();
        let reading = Reading { reader, rules, party: known, asked, now_ms };
        let mut page = Self { bytes: Vec::new(), after: asked.after, upto: asked.after, count: 0, parsed: 0 };
        page.bytes.extend_from_slice(b"{\"messages\":[");
        page.fill(&reading, between)?;
        let head = reader.feed_head(party);
        let cursor = Cursor::Feed.write(party, page.upto);
        let done = page.upto >= head;
        let end = format!("],\"cursor\":\"{cursor}\",\"done\":{done},\"head\":{head}}}");
        page.bytes.extend_from_slice(end.as_bytes());
        Ok(page)
    }

    fn fill(&mut self, reading: &Reading<'_>, between: impl Fn()) -> Result<(), Failure> {
        let asked = reading.asked;
        let mut looked = 0;
        loop {
            let stretch = reading.reader.stretch(&reading.party.id, self.upto, |block| asked.wants(block));
            let stretch = stretch.map_err(|_| unreadable())?;
            if stretch.upto == self.upto {
                return Ok(());
            }
            for item in &stretch.items {
                if self.count >= asked.limit as u64 || looked >= SCAN {
                    return Ok(());
                }
                let before = self.bytes.len();
                let shown = reading.look(&item.record, &mut self.parsed)?;
                self.put(item, &shown);
                if self.bytes.len() > before {
                    if self.count > 0 && self.bytes.len() + END > asked.max_bytes {
                        self.bytes.truncate(before);
                        return Ok(());
                    }
                    self.count += 1;
                }
                self.upto = item.feed_seq;
                looked += 1;
            }
            self.upto = stretch.upto;
            between();
        }
    }

    fn put(&mut self, item: &FeedItem, shown: &Shown) {
        if matches!(shown, Shown::No) {
            return;
        }
        let record = &item.record;
        let comma = if self.count > 0 { "," } else { "" };
        let head = format!(
            "{comma}{{\"seq\":{},\"archived_at\":\"{}\",\"digest\":\"sha256:{}\",",
            item.feed_seq,
            moment(record.archived_ms),
            record.digest.hex()
        );
        self.bytes.reserve(head.len() + record.payload.len() + 16);
        self.bytes.extend_from_slice(head.as_bytes());
        match shown {
            Shown::Tombstone(tombstone) => {
                self.bytes.extend_from_slice(format!("\"tombstone\":{tombstone}").as_bytes());
            }
            Shown::Event | Shown::No => {
                self.bytes.extend_from_slice(b"\"event\":");
                self.bytes.extend_from_slice(&record.payload);
            }
        }
        self.bytes.push(b'}');
    }

    /// The feed sequences that were looked at: first and last. The first is the larger if there were none.
    pub(super) fn looked(&self) -> (u64, u64) {
        (self.after + 1, self.upto)
    }

    /// Messages and tombstones in it.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// What it counts for in the quota: bytes given out, and bytes read for nothing but the question.
    pub(super) fn cost(&self) -> usize {
        self.bytes.len() + self.parsed
    }

    /// The reply.
    pub(super) fn into_bytes(self) -> Bytes {
        Bytes::from(self.bytes)
    }
}

impl Reading<'_> {
    /// What the party is shown of a message that stands in its feed. Whatever the outline of a message excludes is left
    /// out, gone or not; of what is gone no more is asked, because nobody may find out by questions what is no longer told.
    fn look(&self, record: &Record, parsed: &mut usize) -> Result<Shown, Failure> {
        let summary = record.summary.as_ref().ok_or_else(unreadable)?;
        if !self.asked.covers(record.archived_ms) {
            return Ok(Shown::No);
        }
        let might = self.asked.might(summary);
        if !might.hold {
            return Ok(Shown::No);
        }
        if !self.may_see(record, summary)? {
            return Ok(Shown::Tombstone(json!({ "why": "not-entitled" })));
        }
        if let Some(gone) = fate::gone(self.reader, record, self.now_ms) {
            return Ok(Shown::Tombstone(tombstone(gone, summary)));
        }
        if !might.fail {
            return Ok(Shown::Event);
        }
        *parsed += record.payload.len();
        let event: Value = serde_json::from_slice(&record.payload).map_err(|_| unreadable())?;
        let priority = event["priority"].as_str().unwrap_or("routine");
        let facets = Facets::of(summary.country.as_deref(), priority, &event["data"]);
        let matches = self.asked.query.matches(Subject { event: &event, facets: &facets });
        Ok(if matches { Shown::Event } else { Shown::No })
    }

    /// The rights of today: the party may read content, and has the role that the purpose asks for.
    fn may_see(&self, record: &Record, summary: &Summary) -> Result<bool, Failure> {
        if self.party.reads_no_content() {
            return Ok(false);
        }
        let entry = self.rules.catalogue.get(summary.kind.as_str());
        if entry.is_some_and(|entry| entry.purposes.iter().all(|purpose| may_have(self.party, purpose))) {
            return Ok(true);
        }
        /// The one attribute that is needed here.
        #[derive(Deserialize)]
        struct Purpose<'a> {
            #[serde(borrow)]
            purpose: std::borrow::Cow<'a, str>,
        }
        let read: Purpose<'_> = serde_json::from_slice(&record.payload).map_err(|_| unreadable())?;
        Ok(may_have(self.party, &read.purpose))
    }
}

fn tombstone(gone: Gone, summary: &Summary) -> Value {
    json!({
        "why": gone.why.as_str(),
        "at": moment(gone.at_ms),
        "source": summary.source,
        "id": summary.id,
        "type": format!("{}{}.v{}", crate::message::envelope::TYPE_PREFIX, summary.kind, summary.major),
    })
}

fn moment(ms: i64) -> String {
    rfc3339(Timestamp::from_millisecond(ms).unwrap_or_default())
}
