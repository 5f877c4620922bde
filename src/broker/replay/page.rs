//! One page: looks at a bounded piece of a feed and writes what matches, as bytes.
//!
//! Bodies are parsed only when a question cannot be answered without them. The received bytes go into the page as they
//! are, `event` last in its object, so that whoever reads carefully can recompute the digest.

use bytes::Bytes;
use serde_json::{Value, json};

use super::fate::{self, moment};
use super::request::Asked;
use super::{Cursor, unreadable};
use crate::archive::{Content, FeedItem, Reader, Record};
use crate::message::names::PartyId;
use crate::message::time;
use crate::message::tree::Tree;
use crate::rules::Rules;
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
    /// Its bytes and their signature.
    Event(Content),
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
        let (name, content) = match shown {
            Shown::No => return,
            Shown::Event(content) => ("event", content.payload.clone()),
            Shown::Tombstone(tombstone) => ("tombstone", Bytes::from(tombstone.to_string())),
        };
        let signature = match shown {
            // Base64 and full stops: nothing in it that JSON would escape.
            Shown::Event(Content { signature: Some(text), .. }) => format!("\"signature\":\"{text}\","),
            _ => String::new(),
        };
        let head = format!(
            "{}{{\"seq\":{},\"archived_at\":\"{}\",\"digest\":\"sha256:{}\",{signature}\"{name}\":",
            if self.count > 0 { "," } else { "" },
            item.feed_seq,
            moment(item.record.archived_ms),
            item.record.digest.hex()
        );
        self.bytes.reserve(head.len() + content.len() + 1);
        self.bytes.extend_from_slice(head.as_bytes());
        self.bytes.extend_from_slice(&content);
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
    /// What the party is shown of a message that stands in its feed. Of what it may not read it learns nothing by
    /// questions. What the outline of a message excludes is left out, gone or not; of what is gone no more is asked.
    fn look(&self, record: &Record, parsed: &mut usize) -> Result<Shown, Failure> {
        let summary = record.summary.as_ref().ok_or_else(unreadable)?;
        if !self.asked.covers(record.archived_ms) {
            return Ok(Shown::No);
        }
        if !fate::may_see(self.rules, self.party, record, summary) {
            // Not even whether it would match.
            let asks = !self.asked.query.is_empty();
            return Ok(if asks { Shown::No } else { Shown::Tombstone(json!({ "why": "not-entitled" })) });
        }
        let might = self.asked.might(summary);
        if !might.hold {
            return Ok(Shown::No);
        }
        let content = match fate::open(self.reader, record, summary, self.now_ms)? {
            Ok(content) => content,
            Err(tombstone) => return Ok(Shown::Tombstone(tombstone)),
        };
        if !might.fail {
            return Ok(Shown::Event(content));
        }
        *parsed += content.payload.len();
        let tree = Tree::lenient(&content.payload).ok_or_else(unreadable)?;
        let event = tree.root();
        let priority = event.at("priority").as_str().unwrap_or("routine");
        let facets = Facets::of(summary.country.as_deref(), priority, event.at("data"));
        let matches = self.asked.query.matches(Subject { event, facets: &facets });
        Ok(if matches { Shown::Event(content) } else { Shown::No })
    }
}
