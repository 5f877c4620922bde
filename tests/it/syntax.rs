//! S-1 as a table: what is JSON of this network and what is not.

use liaison::message::json::{MOST_NODES, read};
use liaison::message::outcome::Code;

use super::examples;

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

#[test]
fn what_is_not_is_refused_at_its_place() {
    let deep = |n: usize| format!("{}1{}", "{\"a\":".repeat(n), "}".repeat(n));
    let (deep_33, far, open) = (deep(33), deep(100_000), "[".repeat(100_000));
    let at_33 = "/a".repeat(32);
    let cases: Vec<(&[u8], &str)> = vec![
        (b"", ""),
        (b"   ", ""),
        (b"\n", ""),
        (b"\xef\xbb\xbf{}", ""),
        (b"{\xef\xbb\xbf}", ""),
        (b"\xff\xfe{\x00}\x00", ""),
        (b"\x00{\x00}", ""),
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
        (b"{}\x00", ""),
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
        (b"{/**/}", ""),
        (b"// x\n{}", ""),
        (b"{} # x", ""),
        (b"{\x0b}", ""),
        (b"{\xc2\xa0}", ""),
        (br#"{"a":1,"a":1}"#, "/a"),
        (br#"{"a":1,"a":2}"#, "/a"),
        (br#"{"id":1,"\u0069d":2}"#, "/id"),
        (br#"{"a":[{"b":1},{"b":1,"b":2}]}"#, "/a/1/b"),
        (br#"{"":1,"":2}"#, "/"),
        (br#"{"a/b~":1,"a/b~":2}"#, "/a~1b~0"),
        (br#"{"data":{"purpose":1,"x":{"y":1,"y":{"z":1}}}}"#, "/data/x/y"),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", ""),
        (b"\x28\xb5\x2f\xfd", ""),
        (b"<xml/>", ""),
        (deep_33.as_bytes(), &at_33),
        (far.as_bytes(), &at_33[..64]),
        (open.as_bytes(), ""),
    ];
    assert!(cases.len() >= 60);
    let mut wrong = Vec::new();
    for (bytes, path) in cases {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        let refused = read(bytes).expect_err(&shown);
        assert_eq!(refused.code, Code::Json, "{shown}");
        if shown.starts_with("[[[") {
            assert!(refused.detail[0].path.starts_with("/0/0/0"), "{:?}", refused.detail);
        } else if refused.detail[0].path != path {
            wrong.push(format!("{shown}: {:?}, not {path:?}", refused.detail));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_message_cut_at_any_byte_is_refused() {
    for example in examples::all("valid") {
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
