//! Whether the detail of a refusal repeats what it is about: it must tell places, never values, which may be personal data.

use serde_json::Value;

/// Shorter values may stand in any sentence.
const SHORTEST: usize = 4;

/// A word of a vocabulary, `contact` or `TLP:CLEAR`, may stand in a sentence about the vocabulary: a single word of the envelope,
/// and in the body one of small letters.
fn is_word(path: &str, value: &str) -> bool {
    let is_plain = |value: &str| value.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-');
    if path.starts_with("/data/") { is_plain(value) } else { !value.contains(' ') }
}

/// How many places of a detail repeat the value which stands there in the message.
pub fn echoes(payload: &[u8], detail: &[(String, String)]) -> u32 {
    if detail.is_empty() {
        return 0;
    }
    let Ok(event) = serde_json::from_slice::<Value>(payload) else { return 0 };
    let repeats = |(path, words): &&(String, String)| {
        let value = match event.pointer(path) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => return false,
        };
        value.chars().count() >= SHORTEST && !is_word(path, &value) && words.contains(&value)
    };
    u32::try_from(detail.iter().filter(repeats).count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_in_the_words_about_its_place_is_an_echo_and_a_place_is_none() {
        let payload =
            br#"{"type":"x","datacategory":"contact","tlp":"TLP:CLEAR","handlingnote":"For Ms Example","data":{"title":"A secret name","count":123456}}"#;
        let detail = |path: &str, words: &str| vec![(path.to_owned(), words.to_owned())];
        assert_eq!(echoes(payload, &detail("/data/title", "\"A secret name\" is too long")), 1);
        assert_eq!(echoes(payload, &detail("/data/count", "123456 is more than 99999")), 1);
        assert_eq!(echoes(payload, &detail("/data/title", "is too long")), 0);
        assert_eq!(echoes(payload, &detail("/type", "x is short enough to stand anywhere")), 0);
        assert_eq!(echoes(payload, &detail("/data/other", "A secret name")), 0, "not what it is about");
        let declared = "declares contact data that are not there";
        assert_eq!(echoes(payload, &detail("/datacategory", declared)), 0, "a word of the vocabulary");
        assert_eq!(echoes(payload, &detail("/tlp", "TLP:CLEAR is for PUBLIC only")), 0, "and another");
        assert_eq!(echoes(payload, &detail("/handlingnote", "For Ms Example is no note")), 1);
        assert_eq!(echoes(b"no JSON", &detail("", "no JSON")), 0);
    }
}
