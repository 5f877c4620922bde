//! Rows 1 to 33: bytes and JSON syntax.

use serde_json::{Value, json};

use super::super::harness::report;
use super::{CANARY, Refused, Row, Taken, row, set, text};

const COUNT: &str = "/data/count/value";

pub fn rows() -> Vec<Row> {
    let mut all = encodings();
    all.extend(texts());
    all.extend(shapes());
    all.extend(names());
    all.extend(numbers());
    all.extend(masses());
    all.extend(characters());
    all
}

fn utf16(message: &Value, order: fn(u16) -> [u8; 2]) -> Vec<u8> {
    message.to_string().encode_utf16().flat_map(order).collect()
}

/// The report with a byte for a letter of its title.
fn with_bytes(bytes: &[u8]) -> Vec<u8> {
    let whole = report().to_string().into_bytes();
    let at = whole.windows(6).position(|part| part == b"rising").expect("the trend");
    [&whole[..at], bytes, &whole[at + 6..]].concat()
}

fn encodings() -> Vec<Row> {
    let json = Refused("E-JSON", "");
    vec![
        row(1, "an empty payload", "", json),
        row(2, "spaces only", "    ", json),
        row(2, "a line feed only", "\n", json),
        row(3, "a byte order mark", format!("\u{feff}{}", report()), json),
        row(4, "UTF-16, little end first", utf16(&report(), u16::to_le_bytes), json),
        row(4, "UTF-16, big end first", utf16(&report(), u16::to_be_bytes), json),
        row(5, "a byte that is not UTF-8 in a text", with_bytes(b"\xff"), json),
        row(5, "a Latin-1 letter in a text", with_bytes(b"caf\xe9"), json),
        row(5, "one in a name", b"{\"\xe9\":1}".as_slice(), json),
        row(6, "an overlong slash", with_bytes(b"\xc0\xaf"), json),
        row(6, "a surrogate in UTF-8", with_bytes(b"\xed\xa0\x80"), json),
        row(10, "NUL behind the document", format!("{}\0", report()), json),
        row(11, "two documents", format!("{}{}", report(), report()), json),
        row(11, "two lines", format!("{}\n{}", report(), report()), json),
        row(11, "a word behind it", format!("{} x", report()), json),
    ]
}

fn texts() -> Vec<Row> {
    let at = |path| Refused("E-JSON", path);
    vec![
        text(7, "a lone surrogate", "rising", "\\ud800", at("/data/trend")),
        text(7, "a lone low one", "rising", "\\udc00", at("/data/trend")),
        text(7, "one in a name", "{", "{\"\\ud800\":1,", at("")),
        set(
            8,
            "NUL, escaped",
            &[("/data/narrative", json!("a\u{0}b"))],
            Refused("E-SCHEMA", "/data/narrative"),
        ),
        set(
            8,
            "NUL in an attribute",
            &[("/correlationid", json!("a\u{0}b"))],
            Refused("E-ENVELOPE", "/correlationid"),
        ),
        text(9, "a tab as it is", "rising", "ri\tsing", at("/data/trend")),
        text(9, "a line feed as it is", "rising", "ri\nsing", at("/data/trend")),
        text(9, "an escape as it is", "rising", "\x1b[31m", at("/data/trend")),
    ]
}

fn shapes() -> Vec<Row> {
    let json = |path| Refused("E-JSON", path);
    let whole = |change: fn(String) -> String| change(report().to_string());
    vec![
        row(12, "a comment", whole(|text| format!("/* x */{text}")), json("")),
        row(12, "a comma before the end", whole(|text| format!("{},}}", &text[..text.len() - 1])), json("")),
        row(12, "single quotes", whole(|text| text.replace('"', "'")), json("")),
        text(12, "NaN", "1240", "NaN", json(COUNT)),
        text(12, "Infinity", "1240", "-Infinity", json(COUNT)),
        text(12, "hexadecimal", "1240", "0x4d8", json("/data/count")),
        text(12, "a plus", "1240", "+1240", json(COUNT)),
        text(12, "a leading zero", "1240", "01240", json(COUNT)),
        row(13, "a list", whole(|text| format!("[{text}]")), json("")),
        row(13, "a text", "\"x\"", json("")),
        row(13, "a number", "17", json("")),
        row(13, "null", "null", json("")),
        row(
            14,
            "33 deep",
            format!("{}1{}", "{\"a\":".repeat(33), "}".repeat(33)),
            json("/a/a/a/a/a/a/a/a/a/a*"),
        ),
        row(
            14,
            "10,000 deep",
            format!("{}{}", "{\"a\":".repeat(10_000), "}".repeat(10_000)),
            json("/a/a/a/a/a*"),
        ),
        row(14, "100,000 lists", format!("{{\"a\":{}", "[".repeat(100_000)), json("/a/0/0/0/0*")),
        // Cut anywhere: `syntax`. Once through the broker.
        row(30, "cut in the middle", whole(|text| text[..text.len() / 2].to_owned()), json("*")),
        row(30, "without its last brace", whole(|text| text[..text.len() - 1].to_owned()), json("")),
    ]
}

fn names() -> Vec<Row> {
    let json = |path| Refused("E-JSON", path);
    let schema = |path| Refused("E-SCHEMA", path);
    vec![
        text(15, "a member twice, alike", "{", "{\"specversion\":\"1.0\",", json("/specversion")),
        text(15, "a member twice, wider", "{", "{\"audience\":\"@network\",", json("/audience")),
        text(15, "one of the body", "\"data\":{", "\"data\":{\"title\":\"x\",", json("/data/title")),
        text(16, "a member twice, once escaped", "{", "{\"\\u0069d\":\"x\",", json("/id")),
        // A name that is no identifier may be a person's: its object is named, not itself.
        set(17, "a name in NFC", &[("/data/titl\u{e9}", json!("x"))], schema("/data")),
        set(17, "the same in NFD", &[("/data/title\u{301}", json!("x"))], schema("/data")),
        set(18, "an empty name", &[("/data/", json!("x"))], schema("/data/")),
        set(18, "an empty name outside", &[("/", json!("x"))], Refused("E-ENVELOPE", "/")),
        set(19, "__proto__", &[("/data/__proto__", json!({"x": 1}))], schema("/data/__proto__")),
        set(
            19,
            "constructor",
            &[("/data/constructor", json!({"prototype": 1}))],
            schema("/data/constructor"),
        ),
        set(19, "__proto__ outside", &[("/__proto__", json!({}))], Refused("E-ENVELOPE", "/__proto__")),
    ]
}

fn numbers() -> Vec<Row> {
    let schema = Refused("E-SCHEMA", COUNT);
    let json = Refused("E-JSON", COUNT);
    let many = "1".repeat(100_000);
    vec![
        text(20, "2^63", "1240", "9223372036854775808", schema),
        text(20, "-2^63-1", "1240", "-9223372036854775809", schema),
        text(20, "10^19", "1240", "10000000000000000000", schema),
        text(20, "10^20", "1240", "100000000000000000000", schema),
        text(20, "a fraction for a count", "1240", "1240.5", schema),
        text(21, "1e400", "1240", "1e400", json),
        text(21, "-1e999", "1240", "-1e999", json),
        // A share is a fraction: what is nearer to it than can be written is taken, and its bytes are kept.
        text(22, "1e-999", "0.35", "1e-999", Taken),
        text(22, "more digits than a number has", "0.35", "0.350000000000000000005", Taken),
        // A whole number is one however it is written (JSON Schema 2020-12).
        text(23, "1240.0", "1240", "1240.0", Taken),
        text(23, "1.24e3", "1240", "1.24e3", Taken),
        text(24, "-0", "0.35", "-0", Taken),
        text(25, "100,000 digits", "1240", &many, json),
        text(25, "100,000 digits behind the point", "0.35", &format!("0.{many}"), Refused("E-SIZE", "")),
    ]
}

fn masses() -> Vec<Row> {
    let schema = |path| Refused("E-SCHEMA", path);
    let padded = |bytes: usize| {
        let text = report().to_string();
        format!("{}{}}}", &text[..text.len() - 1], " ".repeat(bytes - text.len()))
    };
    let members = |count: usize| -> Value {
        // Alike in length, first and last letter: whatever looks at those alone compares all with all.
        (0..count).map(|at| (format!("a{at:06}a"), json!(1))).collect::<serde_json::Map<_, _>>().into()
    };
    vec![
        set(
            26,
            "8,001 characters",
            &[("/data/narrative", json!("x".repeat(8_001)))],
            schema("/data/narrative"),
        ),
        set(
            26,
            "300 KiB in one text",
            &[("/data/narrative", json!("x".repeat(300 * 1024)))],
            Refused("E-SIZE", ""),
        ),
        row(26, "65,536 bytes", padded(65_536), Taken),
        row(26, "65,537 bytes", padded(65_537), Refused("E-SIZE", "")),
        row(26, "300 KiB of nothing", vec![b' '; 300 * 1024], Refused("E-SIZE", "")),
        set(
            27,
            "60,000 values",
            &[("/data/more", json!(vec![1; 60_000]))],
            Refused("E-JSON", "/data/more/*"),
        ),
        set(27, "20,000 members", &[("/data/more", members(20_000))], Refused("E-SIZE", "")),
        set(
            28,
            "5,000 wrong items",
            &[("/data/composition", json!(vec![1; 5_000]))],
            schema("/data/composition*"),
        ),
        set(29, "2,000 members that look alike", &[("/data/more", members(2_000))], schema("/data/more")),
    ]
}

fn characters() -> Vec<Row> {
    let envelope = |path| Refused("E-ENVELOPE", path);
    let narrative = |text: &str| vec![("/data/narrative", json!(text))];
    vec![
        set(31, "right to left in a text", &narrative("a\u{202e}b\u{2066}c\u{200b}d\u{200d}e"), Taken),
        set(
            31,
            "a Cyrillic letter in an id",
            &[("/originator", json!("\u{456}t-moi"))],
            envelope("/originator"),
        ),
        set(31, "one in the audience", &[("/audience", json!("de-bp\u{43e}l"))], envelope("/audience")),
        set(
            31,
            "a zero-width space in the source",
            &[("/source", json!("/authority/it-moi/post/tn-01\u{200b}"))],
            envelope("/source"),
        ),
        set(
            31,
            "full-width digits in a time",
            &[("/time", json!("２026-03-02T08:15:00Z"))],
            envelope("/time"),
        ),
        set(32, "the last characters that there are", &narrative("😀 \u{ffff} \u{10ffff} \u{2028}"), Taken),
        set(
            32,
            "one of them in an attribute",
            &[("/correlationid", json!("a\u{ffff}"))],
            envelope("/correlationid"),
        ),
        set(32, "a noncharacter", &[("/handlingnote", json!("a\u{fdd0}b"))], envelope("/handlingnote")),
        set(32, "another plane's", &[("/handlingnote", json!("a\u{1fffe}b"))], envelope("/handlingnote")),
        set(
            32,
            "a control that is no C0",
            &[("/correlationid", json!("a\u{7f}b"))],
            envelope("/correlationid"),
        ),
        set(
            33,
            "escapes and commands",
            &narrative("\u{1b}[31m ${jndi:ldap://x} <script>alert(1)</script> ' OR 1=1 -- %s%n {{7*7}}"),
            Taken,
        ),
        set(
            50,
            "a long wrong value",
            &[("/data/trend", json!(CANARY.repeat(400)))],
            Refused("E-SCHEMA", "/data/trend"),
        ),
        set(
            50,
            "a wrong value in a list",
            &[("/data/routes", json!([CANARY]))],
            Refused("E-SCHEMA", "/data/routes/0"),
        ),
    ]
}
