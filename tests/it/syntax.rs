//! S-1 as a table: what is JSON of this network and what is not.

use liaison::message::json::{MOST_NODES, read};
use liaison::message::outcome::Code;

use super::judged;

#[test]
fn what_is_json_is_read() {
    let deepest = format!("{}1{}", "{\"a\":".repeat(32), "}".repeat(32));
    for text in [
        "{}",
        " \t\r\n{ } \n",
        r#"{"":1}"#,
        r#"{"a":[]}"#,
        r#"{"a":-0}"#,
        r#"{"a":1e-999}"#,
        r#"{"a":1.000000000000000005}"#,
        r#"{"a":18446744073709551615,"b":-9223372036854775808,"c":1e300}"#,
        r#"{"a":"\ud83d\ude00"}"#,
        "{\"a\":\"\u{ffff}\u{10ffff}\u{2028}\"}",
        r#"{"a":"\u0000\u001f\/\b\f\n\r\t\"\\"}"#,
        r#"{"a":1,"A":2}"#,
        "{\"\u{e9}\":1,\"e\u{301}\":2}",
        r#"{"a":{"b":1},"c":{"b":1}}"#,
        r#"{"__proto__":{},"constructor":null}"#,
        r#"{"a":true,"b":false,"c":null}"#,
        "{\"a\":\"\x7f\"}",
        &deepest,
    ] {
        assert!(read(text.as_bytes()).is_ok(), "{text}");
    }
}

/// Not text, not UTF-8, or another encoding; compressed bytes; what stands around the document.
const BYTES: &[(&[u8], &str)] = &[
    (b"", ""),
    (b"   ", ""),
    (b"\n", ""),
    (b"\xef\xbb\xbf{}", ""),
    (b"{\xef\xbb\xbf}", ""),
    (b"\xff\xfe{\x00}\x00", ""),
    (b"\x00{\x00}", ""),
    (b"{}\x00", ""),
    (b"{\x0b}", ""),
    (b"{\xc2\xa0}", ""),
    (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", ""),
    (b"\x28\xb5\x2f\xfd", ""),
];

/// Texts with bad bytes, bad escapes, lone surrogates, raw controls.
const TEXTS: &[(&[u8], &str)] = &[
    (b"{\"a\":\"\xff\"}", ""),
    (b"{\"a\":\"\xc0\xaf\"}", ""),
    (b"{\"a\":\"\xed\xa0\x80\"}", ""),
    (b"{\"\xe9\":1}", ""),
    (br#"{"a":"\ud800"}"#, "/a"),
    (br#"{"a":"\udc00"}"#, "/a"),
    (br#"{"a":"\ud800\u0041"}"#, "/a"),
    (br#"{"\ud800":1}"#, ""),
    (br#"{"a":"\uD83D\uD83D"}"#, "/a"),
    (br#"{"a":"\x41"}"#, "/a"),
    (br#"{"a":"\u12"}"#, "/a"),
    (br#"{"a":"\u00g0"}"#, "/a"),
    (b"{\"a\":\"\x00\"}", "/a"),
    (b"{\"a\":\"\x1f\"}", "/a"),
    (b"{\"a\":\"\n\"}", "/a"),
    (b"{\"a\":\"\t\"}", "/a"),
];

/// What is no object, or not well formed.
const SHAPES: &[(&[u8], &str)] = &[
    (b"{}{}", ""),
    (b"{} x", ""),
    (b"{},", ""),
    (b"{}]", ""),
    (b"[]", ""),
    (b"[{}]", ""),
    (b"\"a\"", ""),
    (b"1", ""),
    (b"null", ""),
    (b"true", ""),
    (b"nul", ""),
    (b"{\"a\":1,}", ""),
    (b"{,\"a\":1}", ""),
    (b"{\"a\" 1}", "/a"),
    (b"{\"a\":}", "/a"),
    (b"{\"a\":1 \"b\":2}", ""),
    (b"{a:1}", ""),
    (b"{'a':1}", ""),
    (b"{\"a\":'1'}", "/a"),
    (b"{1:1}", ""),
    (b"{\"a\":[1,]}", "/a/1"),
    (b"{\"a\":[,1]}", "/a/0"),
    (b"{\"a\":[1 2]}", "/a/1"),
    (b"{\"a\":[1}", "/a/1"),
    (b"{/**/}", ""),
    (b"// x\n{}", ""),
    (b"{} # x", ""),
    (b"<xml/>", ""),
];

/// Numbers and literals that JSON does not have.
const NUMBERS: &[(&[u8], &str)] = &[
    (b"{\"a\":NaN}", "/a"),
    (b"{\"a\":Infinity}", "/a"),
    (b"{\"a\":-Infinity}", "/a"),
    (b"{\"a\":1e400}", "/a"),
    (b"{\"a\":-1e999}", "/a"),
    (b"{\"a\":+1}", "/a"),
    (b"{\"a\":01}", "/a"),
    (b"{\"a\":-01}", "/a"),
    (b"{\"a\":.5}", "/a"),
    (b"{\"a\":5.}", "/a"),
    (b"{\"a\":1e}", "/a"),
    (b"{\"a\":1e+}", "/a"),
    (b"{\"a\":-}", "/a"),
    (b"{\"a\":0x10}", ""),
    (b"{\"a\":1_000}", ""),
    (b"{\"a\":TRUE}", "/a"),
    (b"{\"a\":tru}", "/a"),
    (b"{\"a\":undefined}", "/a"),
];

/// Members given twice, whatever their spelling.
const TWICE: &[(&[u8], &str)] = &[
    (br#"{"a":1,"a":1}"#, "/a"),
    (br#"{"a":1,"a":2}"#, "/a"),
    (br#"{"id":1,"\u0069d":2}"#, "/id"),
    (br#"{"a":[{"b":1},{"b":1,"b":2}]}"#, "/a/1/b"),
    (br#"{"":1,"":2}"#, "/"),
    // What is no identifier may be personal data: the object around it is named.
    (br#"{"a/b~":1,"a/b~":2}"#, ""),
    (br#"{"a":{"ZX9914477K":1,"ZX9914477K":2}}"#, "/a"),
    (br#"{"data":{"purpose":1,"x":{"y":1,"y":{"z":1}}}}"#, "/data/x/y"),
];

#[test]
fn what_is_not_is_refused_at_its_place() {
    let tables = [BYTES, TEXTS, SHAPES, NUMBERS, TWICE];
    assert!(tables.iter().map(|table| table.len()).sum::<usize>() >= 60);
    let mut wrong = Vec::new();
    for (bytes, path) in tables.into_iter().flatten() {
        let shown = String::from_utf8_lossy(bytes).into_owned();
        let refused = read(bytes).expect_err(&shown);
        assert_eq!(refused.code, Code::Json, "{shown}");
        if refused.detail[0].path != *path {
            wrong.push(format!("{shown}: {:?}, not {path:?}", refused.detail));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_nested_deeper_than_32_is_refused_where_it_goes_too_deep() {
    let deep = |n: usize| format!("{}1{}", "{\"a\":".repeat(n), "}".repeat(n));
    for text in [deep(33), deep(10_000), deep(100_000)] {
        let refused = read(text.as_bytes()).expect_err("too deep");
        assert_eq!((refused.code, refused.detail[0].path.as_str()), (Code::Json, "/a".repeat(32).as_str()));
    }
    let lists = format!("{{\"a\":{}", "[".repeat(100_000));
    let refused = read(lists.as_bytes()).expect_err("too deep");
    assert_eq!(refused.detail[0].path, format!("/a{}", "/0".repeat(31)));
}

#[test]
fn a_message_cut_at_any_byte_is_refused() {
    for example in judged::all("valid") {
        for end in 0..example.payload.len() {
            let refused = read(&example.payload[..end]).expect_err("cut");
            assert_eq!(refused.code, Code::Json, "{} at {end}", example.name);
        }
    }
}

#[test]
fn a_refusal_says_nothing_of_what_was_in_the_message() {
    for text in [r#"{"a":CANARY}"#, r#"{"a":"CANARY"#, r#"{"a":"CANARY\ud800"}"#, "{\"a\":1}CANARY"] {
        let refused = read(text.as_bytes()).expect_err(text);
        assert!(!format!("{refused:?}").contains("CANARY"), "{refused:?}");
    }
}

#[test]
fn more_values_than_a_message_may_have_are_refused() {
    let many = |n: usize| format!("{{\"a\":[{}]}}", vec!["1"; n].join(","));
    assert!(read(many(MOST_NODES - 2).as_bytes()).is_ok());
    assert_eq!(read(many(MOST_NODES).as_bytes()).expect_err("too many").code, Code::Json);
}
