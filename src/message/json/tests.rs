//! S-1 by example, and by comparison with the plain reader that builds owned values: same values, same refusals, same
//! places.

use proptest::prelude::*;

use super::*;

#[test]
fn duplicates_are_found_whatever_their_spelling() {
    let refused = read(br#"{"a":{"id":1,"\u0069d":2}}"#).expect_err("twice");
    assert_eq!((refused.code, refused.detail[0].path.as_str()), (Code::Json, "/a/id"));
}

#[test]
fn depth_counts_the_outer_object() {
    let nested = |n: usize| format!("{}{}{}", "{\"a\":".repeat(n - 1), "{}", "}".repeat(n - 1));
    assert!(read(nested(32).as_bytes()).is_ok());
    assert!(read(nested(33).as_bytes()).is_err());
    assert!(read("[".repeat(100_000).as_bytes()).is_err());
}

/// As many members as a message may have: found at once, not after a look at each for each.
#[test]
fn the_last_of_many_names_is_compared_with_all() {
    // In letters: a name with many digits is not told.
    let name =
        |at: usize| at.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect::<String>();
    let member = |at: usize| format!("\"{}\":{{}}", name(at));
    let mut members: Vec<String> = (0..MOST_NODES - 2).map(member).collect();
    let text = |members: &[String]| format!("{{{}}}", members.join(","));
    let tree = read(text(&members).as_bytes()).expect("all are different");
    assert_eq!(tree.root().members().len(), members.len());
    for at in [0, Names::FEW - 1, Names::FEW, 40_000] {
        members.push(member(at));
        let refused = read(text(&members).as_bytes()).expect_err("twice");
        assert_eq!(refused.detail[0].path, format!("/{}", name(at)));
        members.pop();
    }
}

/// Text that is nearly JSON: pieces of it in any order, and names that repeat.
fn nearly() -> impl Strategy<Value = String> {
    let pieces = vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"a\"",
        "\"\\u0061\"",
        "\"b\"",
        "\"\"",
        "\"~/\"",
        "1",
        "-0",
        "1.5e3",
        "1e999",
        "null",
        "true",
        "fals",
        " ",
        "\"\\ud800\"",
        "\"\\n\"",
        "{\"a\":1}",
        "\"a\":",
        "{\"a\":",
        "[1,",
    ];
    prop::collection::vec(prop::sample::select(pieces), 0..16).prop_map(|pieces| pieces.concat())
}

/// Objects with names of few letters, some written with escapes, many of them twice.
fn repeating() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        "[ab]{0,2}".prop_map(|name| format!("\"{name}\"")),
        "[a-f]{3}".prop_map(|name| format!("\"{name}\"")),
        Just("\"\\u0061\"".to_owned()),
    ];
    let leaf = prop::sample::select(vec!["1", "\"x\"", "[]", "null"]).prop_map(str::to_owned);
    let value = leaf.prop_recursive(3, 40, 40, move |inner| {
        prop_oneof![
            prop::collection::vec((name.clone(), inner.clone()), 0..40).prop_map(|members| {
                let members: Vec<String> =
                    members.into_iter().map(|(name, value)| format!("{name}:{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
            prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(","))),
        ]
    });
    value.prop_map(|value| format!("{{\"x\":{value}}}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn both_readers_agree(text in prop_oneof![nearly(), repeating()]) {
        prop_assert_eq!(read(text.as_bytes()).map(|tree| tree.to_value()), plain::read(text.as_bytes()));
    }
}

/// The reader as it was before there were trees.
mod plain {
    use serde_json::map::Entry;
    use serde_json::{Map, Number, Value};

    use super::*;

    pub fn read(bytes: &[u8]) -> Result<Value, Refused> {
        let refuse = |path: String, message: String| Refused::many(Code::Json, vec![Fault { path, message }]);
        if bytes.is_empty() {
            return Err(refuse(String::new(), "the payload is empty".into()));
        }
        if bytes.starts_with(b"\xef\xbb\xbf") {
            return Err(refuse(String::new(), "begins with a byte order mark".into()));
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|error| refuse(String::new(), format!("not UTF-8 at byte {}", error.valid_up_to())))?;
        let mut place = Place { path: Vec::new(), nodes: 0, fault: None };
        let mut reader = serde_json::Deserializer::from_str(text);
        let read = Node { place: &mut place }
            .deserialize(&mut reader)
            .and_then(|value| reader.end().map(|()| value));
        match read {
            Ok(value @ Value::Object(_)) => Ok(value),
            Ok(_) => Err(refuse(String::new(), "the outermost value must be an object".into())),
            Err(error) => Err(match place.fault {
                Some(fault) => refuse(place.pointer(), fault.into()),
                None => refuse(
                    place.pointer(),
                    format!("{} at line {} column {}", syntax(&error), error.line(), error.column()),
                ),
            }),
        }
    }

    enum Step {
        Member(String),
        Item(usize),
    }

    struct Place {
        path: Vec<Step>,
        nodes: usize,
        fault: Option<&'static str>,
    }

    impl Place {
        fn pointer(&self) -> String {
            use fmt::Write as _;
            let mut text = String::new();
            for step in &self.path {
                match step {
                    Step::Member(name) if is_tellable(name) => text.push_str(&format!("/{name}")),
                    Step::Member(_) => break,
                    Step::Item(at) => write!(text, "/{at}").expect("writing to a String must not fail"),
                }
            }
            text
        }

        fn fail<E: serde::de::Error>(&mut self, fault: &'static str) -> E {
            self.fault = Some(fault);
            E::custom(fault)
        }
    }

    struct Node<'a> {
        place: &'a mut Place,
    }

    impl<'de> DeserializeSeed<'de> for Node<'_> {
        type Value = Value;

        fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
            self.place.nodes += 1;
            if self.place.nodes > MOST_NODES {
                return Err(self.place.fail("too many values"));
            }
            deserializer.deserialize_any(self)
        }
    }

    impl<'de> Visitor<'de> for Node<'_> {
        type Value = Value;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON value")
        }

        fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
            Ok(Value::Bool(value))
        }

        fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
            Ok(Value::Number(value.into()))
        }

        fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
            Ok(Value::Number(value.into()))
        }

        fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
            Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
        }

        fn visit_str<E>(self, value: &str) -> Result<Value, E> {
            Ok(Value::String(value.to_owned()))
        }

        fn visit_string<E>(self, value: String) -> Result<Value, E> {
            Ok(Value::String(value))
        }

        fn visit_unit<E>(self) -> Result<Value, E> {
            Ok(Value::Null)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
            if self.place.path.len() >= DEEPEST {
                return Err(self.place.fail("nested deeper than 32"));
            }
            let mut list = Vec::new();
            loop {
                self.place.path.push(Step::Item(list.len()));
                let Some(item) = items.next_element_seed(Node { place: self.place })? else { break };
                self.place.path.pop();
                list.push(item);
            }
            self.place.path.pop();
            Ok(Value::Array(list))
        }

        fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
            if self.place.path.len() >= DEEPEST {
                return Err(self.place.fail("nested deeper than 32"));
            }
            let mut map = Map::new();
            while let Some(name) = members.next_key::<String>()? {
                self.place.path.push(Step::Member(name));
                let value = members.next_value_seed(Node { place: self.place })?;
                let Some(Step::Member(name)) = self.place.path.pop() else { continue };
                match map.entry(name) {
                    Entry::Vacant(place) => {
                        place.insert(value);
                    }
                    Entry::Occupied(twice) => {
                        self.place.path.push(Step::Member(twice.key().clone()));
                        return Err(self.place.fail("member given twice"));
                    }
                }
            }
            Ok(Value::Object(map))
        }
    }
}
