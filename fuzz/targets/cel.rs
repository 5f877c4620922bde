//! CEL conditions of subscriptions: whatever passes the check can be evaluated over any message, in bounded time, and an anchor
//! must hold where the condition holds.

use liaison::message::tree::Tree;
use liaison::rules::cel::Where;

use super::seen::MESSAGE;

/// Worth putting anywhere.
pub const WORDS: &[&str] = &[
    "event.type",
    "event.subject",
    "data.count.value",
    "data.routes",
    "data.narrative",
    " == ",
    " != ",
    " && ",
    " || ",
    "!",
    " in ",
    "has(data.x)",
    ".exists(x, ",
    ".all(x, ",
    ".exists_one(x, ",
    ".filter(x, ",
    ".map(x, ",
    "x",
    "(",
    ")",
    "[",
    "]",
    "'a'",
    "\"b\"",
    "1",
    "-9223372036854775808",
    "9223372036854775807",
    "18446744073709551615u",
    " + ",
    " - ",
    " * ",
    " / ",
    " % ",
    "0",
    "1e308",
    "null",
    "true",
    " ? ",
    " : ",
    "size(",
    "int(",
    "double(",
    "string(",
    ".startsWith(",
    ".contains(",
    "data.deep.a.b[1]",
    "data.none",
    "data.empty",
    "data.count.most",
    "data.count.least",
    "@result",
    "r'\\'",
    "b'x'",
    "'\\u00e9'",
    ".?x",
    "[?",
    "optional",
];

/// An expression; behind a NUL, if there is one, the message as JSON.
pub fn run(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let Some(Ok(text)) = parts.next().map(std::str::from_utf8) else { return };
    let Ok(condition) = Where::parse(text) else { return };
    assert_eq!(condition.text(), text, "kept as given");
    holds(&condition, &MESSAGE);
    let given = parts.next().and_then(Tree::lenient);
    if let Some(tree) = given.filter(|tree| tree.root().is_object()) {
        holds(&condition, &tree);
    }
}

fn holds(condition: &Where, message: &Tree) {
    let holds = condition.holds(message.root());
    assert_eq!(condition.holds(message.root()), holds, "the same question has the same answer");
    if let Some((name, value)) = condition.anchor().filter(|_| holds) {
        assert_eq!(message.root().at(name).as_str(), Some(value), "held although its anchor does not");
    }
}
