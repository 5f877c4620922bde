//! Personal-looking canaries in messages of every fate, and then a look everywhere: logs, metrics, answers, headers,
//! archive, audit log, the store of nats-server.
//!
//! Looked for in UTF-8, UTF-16, base64, escaped as in JSON, and inside every zstd frame. That the search finds what is
//! there is shown by a report of the network plane, whose content the archive holds in the clear.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use futures_util::StreamExt as _;
use regex::bytes::{Regex, RegexBuilder};
use serde_json::{Value, json};

use super::harness::{
    Exchange, Letter, REPORT_SUBJECT, example, few_parties, fresh_id, is_alive, queue_with, report, shifted,
    stream, stream_info, until,
};
use super::rawlink::Raw;

/// Names in four scripts, numbers of a passport and of a telephone. All invented.
const PRIVATE: [&str; 6] = [
    "Kanarelli-Prüfstein",
    "Зиновия Канарейкина",
    "زنوبيا الكناري",
    "Ζηνοβία Καναρινού",
    "ZX9914477K",
    "+390559914477",
];
/// In a report that is accepted on the network plane: in the archive, and in no word about it.
const PUBLIC: &str = "Kanarienbericht";

/// All forms of some texts.
struct Forms(Regex);

impl Forms {
    fn of(texts: &[&str]) -> Self {
        let mut forms = BTreeSet::new();
        for text in texts {
            forms.insert(text.as_bytes().to_vec());
            forms.insert(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
            forms.insert(text.encode_utf16().flat_map(u16::to_be_bytes).collect());
            forms.insert(escaped(text, |unit| format!("\\u{unit:04x}")));
            forms.insert(escaped(text, |unit| format!("\\u{unit:04X}")));
            // Wherever it begins in a longer text: the middle, without the letters that its neighbours decide.
            for before in 0..3 {
                let padded = [vec![b'x'; before], text.as_bytes().to_vec()].concat();
                let whole = base64::engine::general_purpose::STANDARD_NO_PAD.encode(&padded);
                let middle = &whole[(before * 8).div_ceil(6)..padded.len() * 8 / 6];
                forms.insert(middle.as_bytes().to_vec());
            }
        }
        let hex = |form: &Vec<u8>| form.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
        let all: Vec<String> = forms.iter().map(hex).collect();
        Self(RegexBuilder::new(&all.join("|")).unicode(false).size_limit(1 << 26).build().expect("a pattern"))
    }

    /// What is found in these bytes, or inside a compressed frame among them.
    fn find(&self, bytes: &[u8]) -> Option<String> {
        let found = self.0.find(bytes).map(|found| String::from_utf8_lossy(found.as_bytes()).into_owned());
        found.or_else(|| {
            let frames = unpacked(bytes);
            let mut inside = frames.iter().filter_map(|frame| self.0.find(frame));
            inside.next().map(|found| format!("unpacked {}", String::from_utf8_lossy(found.as_bytes())))
        })
    }

    #[track_caller]
    fn nowhere(&self, what: &str, bytes: &[u8]) {
        if let Some(found) = self.find(bytes) {
            let shown: String = String::from_utf8_lossy(bytes).chars().take(400).collect();
            panic!("{what} holds {found:?}: {shown}");
        }
    }
}

/// A text as JSON may have it, in ASCII alone.
fn escaped(text: &str, one: fn(u16) -> String) -> Vec<u8> {
    let mut all = String::new();
    for letter in text.chars() {
        if letter.is_ascii() {
            all.push(letter);
        } else {
            all.extend(letter.encode_utf16(&mut [0; 2]).iter().map(|unit| one(*unit)));
        }
    }
    all.into_bytes()
}

/// The content of every zstd frame that begins anywhere in these bytes.
fn unpacked(bytes: &[u8]) -> Vec<Vec<u8>> {
    const MAGIC: &[u8] = b"\x28\xb5\x2f\xfd";
    let starts = (0..bytes.len().saturating_sub(4)).filter(|at| bytes[*at..].starts_with(MAGIC));
    starts
        .filter_map(|at| {
            let mut content = Vec::new();
            let mut frame = zstd::Decoder::new(&bytes[at..]).ok()?.single_frame();
            // As far as it goes: a frame that is cut is still looked at.
            drop(frame.read_to_end(&mut content));
            (!content.is_empty()).then_some(content)
        })
        .collect()
}

/// Every file below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The files that hold something of it.
fn holding(forms: &Forms, directory: &Path) -> Vec<String> {
    let all = files(directory).into_iter().filter_map(|path| {
        // A file may go while it is looked at: then it holds nothing.
        let bytes = std::fs::read(&path).ok()?;
        forms.find(&bytes).map(|found| format!("{}: {found}", path.display()))
    });
    all.collect()
}

fn case_message() -> (String, Value) {
    let file = example("valid/07-case-identity-request.json");
    let mut message = shifted(file["message"].clone());
    message["id"] = fresh_id().into();
    let data = &mut message["data"];
    data["person"]["familyName"] = PRIVATE[0].into();
    data["person"]["givenNames"] = PRIVATE[1].into();
    data["person"]["nameOriginalScript"] = PRIVATE[2].into();
    data["person"]["documents"][0]["number"] = PRIVATE[4].into();
    data["necessity"] =
        format!("{} can be reached at {}, says the consulate.", PRIVATE[3], PRIVATE[5]).into();
    (file["natsSubject"].as_str().expect("a subject").to_owned(), message)
}

/// Messages that are refused, each with canaries where they are wrong.
fn refused() -> Vec<(String, Vec<u8>)> {
    let on = |message: &Value| (REPORT_SUBJECT.to_owned(), message.to_string().into_bytes());
    let with = |pointer: &str, value: Value| {
        let mut message = report();
        super::judged::put(&mut message, &[(pointer, value)]);
        on(&message)
    };
    let (subject, mut case) = case_message();
    case["data"]["person"]["unheardof"] = PRIVATE[0].into();
    let mut kept = case_message().1;
    kept.as_object_mut().expect("an object").remove("eraseby");
    let words = format!("{} of {}, {}", PRIVATE[0], PRIVATE[3], PRIVATE[5]);
    vec![
        with("/data/narrative", words.clone().into()),
        with("/data/person", json!({"familyName": PRIVATE[0], "documentNumber": PRIVATE[4]})),
        with("/data/trend", PRIVATE[1].into()),
        with(&format!("/data/{}", PRIVATE[3]), json!(1)),
        with(&format!("/{}", PRIVATE[4]), json!(1)),
        with("/source", format!("/authority/{}", PRIVATE[0]).into()),
        with("/type", PRIVATE[2].into()),
        with("/id", PRIVATE[4].into()),
        (REPORT_SUBJECT.to_owned(), format!("{{\"id\":\"{}", PRIVATE[0]).into_bytes()),
        (REPORT_SUBJECT.to_owned(), format!("{{\"{0}\":1,\"{0}\":2}}", PRIVATE[3]).into_bytes()),
        (format!("ilo.in.it-moi.tn-01.net.{}.x.tn", PRIVATE[4]), report().to_string().into_bytes()),
        (subject.clone(), case.to_string().into_bytes()),
        (subject, kept.to_string().into_bytes()),
    ]
}

/// Everything that is said to anybody while the messages are on their way.
struct Heard {
    told: Vec<String>,
    listeners: Vec<async_nats::Subscriber>,
}

impl Heard {
    async fn listen(exchange: &Exchange) -> Self {
        let mut listeners = Vec::new();
        for party in ["it-moi", "nl-dtv", "de-bpol"] {
            let client = exchange.connect(party, "system").await;
            listeners.push(client.subscribe(format!("ilo.rcpt.{party}.>")).await.expect("subscribes"));
            client.flush().await.expect("flushes");
        }
        Self { told: Vec::new(), listeners }
    }

    fn note(&mut self, what: impl std::fmt::Debug) {
        self.told.push(format!("{what:?}"));
    }

    /// The receipts that have come, whole with subject and headers; how many.
    async fn receipts(&mut self, wanted: usize) {
        let (told, listeners) = (&mut self.told, &mut self.listeners);
        let mut all = futures_util::stream::select_all(listeners.iter_mut());
        for _ in 0..wanted {
            let next = tokio::time::timeout(super::harness::PATIENCE, all.next()).await;
            let message = next.expect("a receipt").expect("a receipt");
            told.push(format!("{} {:?}", message.subject, message.headers));
            told.push(String::from_utf8_lossy(&message.payload).into_owned());
        }
    }
}

/// Sends everything; how many receipts must come.
async fn send_all(exchange: &Exchange, heard: &mut Heard) -> usize {
    let mut sent = 0;
    let (case_subject, case) = case_message();
    let dutch = exchange.connect("nl-dtv", "system").await;
    let italian = exchange.connect("it-moi", "tn-01").await;
    let mut public = report();
    public["data"]["title"] = format!("{PUBLIC} from the coast").into();
    let mut other = case.clone();
    other["data"]["caseRef"] = "OTHER-1".into();
    let mut cell = shifted(example("invalid/33-small-cell.json")["message"].clone());
    cell["id"] = fresh_id().into();
    cell["data"]["narrative"] = format!("{} was seen", PRIVATE[0]).into();
    let mut messages = vec![
        (case_subject.clone(), case.to_string().into_bytes()),
        (case_subject.clone(), case.to_string().into_bytes()),
        (case_subject, other.to_string().into_bytes()),
        (REPORT_SUBJECT.to_owned(), public.to_string().into_bytes()),
        ("ilo.in.it-moi.tn-01.net.thb.pattern.tn".to_owned(), cell.to_string().into_bytes()),
    ];
    messages.extend(refused());
    for (subject, payload) in messages {
        let client = if subject.contains("nl-dtv") { &dutch } else { &italian };
        queue_with(client, &subject, async_nats::HeaderMap::new(), payload).await;
        sent += 1;
    }
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Content-Type", format!("text/{}", PRIVATE[4]).as_str());
    headers.insert("X-Name", PRIVATE[1]);
    queue_with(&italian, REPORT_SUBJECT, headers, report().to_string().into_bytes()).await;
    // A broken frame, with canaries in header block and payload.
    let mut raw = Raw::connect(exchange, "it-moi", "tn-01").await;
    let block = format!("NATS/1.0\r\nX-{}: {}\rx\r\n\r\n", PRIVATE[4], PRIVATE[0]);
    raw.publish(REPORT_SUBJECT.as_bytes(), Some(block.as_bytes()), PRIVATE[2].as_bytes()).await;
    heard.note(raw.fence().await);
    sent + 2
}

/// Questions about it, whose answers hold nothing of it either. The audit log notes each.
async fn ask_all(exchange: &Exchange, heard: &mut Heard) {
    let dutch = exchange.connect("nl-dtv", "system").await;
    let german = exchange.connect("de-bpol", "system").await;
    let (_, mut dry) = case_message();
    dry["data"]["person"]["sex"] = PRIVATE[1].into();
    let condition = format!("data.person.familyName == \"{}\"", PRIVATE[0]);
    for (client, party, verb, body) in [
        (&dutch, "nl-dtv", "validate", dry),
        (&dutch, "nl-dtv", "status", json!({"id": PRIVATE[4]})),
        (&german, "de-bpol", "explain", json!({"id": fresh_id(), "party": PRIVATE[0]})),
        (&german, "de-bpol", "replay", json!({"where": format!("{condition} &&")})),
        (&german, "de-bpol", "sub.put", json!({"name": PRIVATE[0]})),
        (&german, "de-bpol", "sub.put", json!({"name": "x", "where": format!("{condition} &&")})),
    ] {
        let asked = client.request(format!("ilo.svc.{party}.{verb}"), body.to_string().into()).await;
        let answer = asked.expect("answers");
        heard.note((verb, &answer.headers));
        heard.told.push(String::from_utf8_lossy(&answer.payload).into_owned());
    }
    // One that is right gives the content to its recipient, and leaves a note of itself without it.
    let found =
        exchange.ask(&german, "de-bpol", "replay", &json!({"where": condition})).await.expect("a page");
    assert_eq!(found["messages"].as_array().map(Vec::len), Some(1), "{found}");
}

fn headers_of(letters: &[Letter]) -> String {
    letters.iter().map(|letter| format!("{} {:?}\n", letter.subject, letter.headers)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn canaries_are_nowhere_but_where_they_were_sent() {
    let (private, public) = (Forms::of(&PRIVATE), Forms::of(&[PUBLIC]));
    let mut exchange = Exchange::with(&["--enable-case-plane", "--log", "trace"], |data| {
        std::fs::write(data.join("network.toml"), few_parties()).expect("a registry");
    })
    .await;
    let mut heard = Heard::listen(&exchange).await;
    let wanted = send_all(&exchange, &mut heard).await;
    heard.receipts(wanted).await;
    let letters = exchange.letters("de-bpol").await;
    assert!(letters.iter().any(|letter| private.find(&letter.payload).is_some()), "its recipient has it");
    heard.told.push(headers_of(&letters));
    ask_all(&exchange, &mut heard).await;
    let shown = exchange.run(&["archive", "show", "--limit", "1000"]);
    heard.told.push(String::from_utf8_lossy(&shown.stdout).into_owned());
    heard.told.push(String::from_utf8_lossy(&shown.stderr).into_owned());
    for path in ["/metrics", "/readyz"] {
        heard.told.push(exchange.get(path).await.1);
    }
    for told in &heard.told {
        private.nowhere("an answer", told.as_bytes());
        public.nowhere("an answer", told.as_bytes());
    }
    in_the_clear_nowhere(&exchange, &private).await;
    // No core file, though it ends as if it had one to write.
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", exchange.pid())).expect("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a line");
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    exchange.signal("ABRT");
    let pid = exchange.pid();
    until("its end", async || (!is_alive(pid)).then_some(())).await;
    exchange.kill();
    let data = exchange.data.clone();
    assert!(!files(&data).iter().any(|file| file.ends_with("core")), "a core file");
    for forms in [&private, &public] {
        forms.nowhere("the log", exchange.log().as_bytes());
        let nats: Vec<String> = files(&data.join("nats"))
            .iter()
            .filter(|file| !file.starts_with(data.join("nats/store")))
            .filter_map(|file| {
                forms.find(&std::fs::read(file).ok()?).map(|found| format!("{}: {found}", file.display()))
            })
            .collect();
        assert!(nats.is_empty(), "{nats:?}");
    }
    assert_eq!(holding(&private, &data.join("archive")), Vec::<String>::new());
    assert!(!holding(&public, &data.join("archive")).is_empty(), "the search finds what is there");
    for directory in ["keys", "archive/audit", "archive/checkpoints"] {
        assert_eq!(holding(&public, &data.join(directory)), Vec::<String>::new());
    }
}

/// The store of nats-server. What came on the case plane, what was refused as personal data and what was put aside is
/// overwritten in the intake streams soon after its receipt, and in the mailbox once it was acknowledged. What was
/// refused for another reason waits there as it was sent until it is a week old: the broker does not know what is in it.
async fn in_the_clear_nowhere(exchange: &Exchange, private: &Forms) {
    let streams = exchange.data.join("nats/store/jetstream/CORE/streams");
    let case = streams.join(stream("IN", "nl-dtv"));
    assert!(case.exists(), "the store is somewhere else");
    until("the overwriting of the case plane's intake", async || {
        holding(private, &case).is_empty().then_some(())
    })
    .await;
    let mailbox = streams.join(stream("MBOX", "de-bpol"));
    let operator = exchange.operator().await;
    until("the sweeping of the mailbox", async || holding(private, &mailbox).is_empty().then_some(())).await;
    let info = stream_info(&operator, &stream("MBOX", "de-bpol")).await;
    println!("mailbox after the sweeping: {}", info["state"]);
    for name in ["RCPT", "KV_SUBS"] {
        assert_eq!(holding(private, &streams.join(name)), Vec::<String>::new());
    }
    println!("left for a week: {:?}", holding(private, &streams));
    let others = holding(private, &streams);
    let reports = streams.join(stream("IN", "it-moi")).display().to_string();
    assert!(others.iter().all(|file| file.starts_with(&reports)), "{others:?}");
}
