//! `where` of subscriptions: the small family of CEL expressions that a simulation stores, evaluated a second time.
//!
//! `event.<attribute>` and `data.<member>...` compared with a text, a number or a truth value; `'text' in <list>`; `has(...)`
//! of one member; `startsWith`, `endsWith`, `contains`; joined with `&&`, `||`, `!` and brackets. Anything else is not
//! understood, and said to be so. What a message does not have is an error of the expression, and an error is no match.

use serde_json::Value;

/// A condition.
#[derive(Debug, PartialEq)]
pub(super) enum Condition {
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
    Not(Box<Condition>),
    Compare(Path, Sign, Literal),
    In(String, Path),
    Has(Path),
    Call(Path, Ask, String),
}

/// A member of the message: `event` or `data`, then names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path(Vec<String>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    Is,
    IsNot,
    Less,
    AtMost,
    More,
    AtLeast,
}

#[derive(Debug, PartialEq)]
pub(super) enum Literal {
    Text(String),
    Number(f64),
    Truth(bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Begins,
    Ends,
    Contains,
}

impl Path {
    fn find<'a>(&self, event: &'a Value) -> Option<&'a Value> {
        let (root, rest) = self.0.split_first()?;
        let start = if root == "data" { &event["data"] } else { event };
        rest.iter().try_fold(start, |value, name| value.as_object()?.get(name))
    }
}

impl Condition {
    /// Reads an expression.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let mut reading = Reading { words: words(text)?, at: 0 };
        let condition = reading.either()?;
        match reading.peek() {
            None => Ok(condition),
            Some(_) => Err(reading.lost()),
        }
    }

    /// True if it surely holds.
    pub(super) fn holds(&self, event: &Value) -> bool {
        self.value(event) == Some(true)
    }

    /// `None` is an error.
    fn value(&self, event: &Value) -> Option<bool> {
        match self {
            Self::And(left, right) => match (left.value(event), right.value(event)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Self::Or(left, right) => match (left.value(event), right.value(event)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            Self::Not(inner) => inner.value(event).map(|value| !value),
            Self::Compare(path, sign, literal) => compare(path.find(event)?, *sign, literal),
            Self::In(text, path) => match path.find(event)? {
                Value::Array(items) => Some(items.iter().any(|item| item == text.as_str())),
                Value::Object(members) => Some(members.contains_key(text)),
                _ => None,
            },
            Self::Has(path) => Some(path.find(event).is_some()),
            Self::Call(path, ask, wanted) => {
                let text = path.find(event)?.as_str()?;
                Some(match ask {
                    Ask::Begins => text.starts_with(wanted.as_str()),
                    Ask::Ends => text.ends_with(wanted.as_str()),
                    Ask::Contains => text.contains(wanted.as_str()),
                })
            }
        }
    }
}

fn compare(value: &Value, sign: Sign, literal: &Literal) -> Option<bool> {
    let order = match (value, literal) {
        (Value::String(text), Literal::Text(wanted)) => Some(text.as_str().cmp(wanted.as_str())),
        (Value::Number(number), Literal::Number(wanted)) => number.as_f64()?.partial_cmp(wanted),
        (Value::Bool(truth), Literal::Truth(wanted)) => Some(truth.cmp(wanted)),
        // Values of different kinds are not equal, and have no order.
        _ => {
            return match sign {
                Sign::Is => Some(false),
                Sign::IsNot => Some(true),
                _ => None,
            };
        }
    }?;
    Some(match sign {
        Sign::Is => order.is_eq(),
        Sign::IsNot => order.is_ne(),
        Sign::Less => order.is_lt(),
        Sign::AtMost => order.is_le(),
        Sign::More => order.is_gt(),
        Sign::AtLeast => order.is_ge(),
    })
}

#[derive(Debug, Clone, PartialEq)]
enum Word {
    Text(String),
    Number(f64),
    Name(String),
    Mark(&'static str),
}

/// Longest first.
const MARKS: [&str; 12] = ["&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "(", ")", "."];

fn words(text: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first == '\'' || first == '"' {
            let end = rest[1..].find(first).ok_or("a condition with a text that does not end")?;
            let inner = &rest[1..=end];
            if inner.contains('\\') {
                return Err("a condition with an escaped character".to_owned());
            }
            words.push(Word::Text(inner.to_owned()));
            end + 2
        } else if first.is_ascii_digit()
            || (first == '-' && rest[1..].starts_with(|c: char| c.is_ascii_digit()))
        {
            let end =
                rest[1..].find(|c: char| !c.is_ascii_digit() && c != '.').map_or(rest.len(), |at| at + 1);
            words.push(Word::Number(rest[..end].parse().map_err(|_| "a condition with a strange number")?));
            end
        } else if first.is_ascii_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            words.push(Word::Name(rest[..end].to_owned()));
            end
        } else {
            let mark = MARKS.iter().find(|mark| rest.starts_with(**mark));
            let mark = mark.ok_or_else(|| format!("a condition with the sign {first:?}"))?;
            words.push(Word::Mark(mark));
            mark.len()
        };
        rest = rest[length..].trim_start();
    }
    Ok(words)
}

struct Reading {
    words: Vec<Word>,
    at: usize,
}

impl Reading {
    fn peek(&self) -> Option<&Word> {
        self.words.get(self.at)
    }

    fn next(&mut self) -> Option<Word> {
        let word = self.peek().cloned();
        self.at += 1;
        word
    }

    fn takes(&mut self, mark: &'static str) -> bool {
        let found = self.peek() == Some(&Word::Mark(mark));
        self.at += usize::from(found);
        found
    }

    fn lost(&self) -> String {
        format!("a condition of another form, at its word {}", self.at + 1)
    }

    fn needs(&mut self, mark: &'static str) -> Result<(), String> {
        if self.takes(mark) { Ok(()) } else { Err(self.lost()) }
    }

    fn either(&mut self) -> Result<Condition, String> {
        let mut left = self.both()?;
        while self.takes("||") {
            left = Condition::Or(Box::new(left), Box::new(self.both()?));
        }
        Ok(left)
    }

    fn both(&mut self) -> Result<Condition, String> {
        let mut left = self.one()?;
        while self.takes("&&") {
            left = Condition::And(Box::new(left), Box::new(self.one()?));
        }
        Ok(left)
    }

    fn one(&mut self) -> Result<Condition, String> {
        if self.takes("!") {
            return Ok(Condition::Not(Box::new(self.one()?)));
        }
        if self.takes("(") {
            let inner = self.either()?;
            self.needs(")")?;
            return Ok(inner);
        }
        match self.next() {
            Some(Word::Text(text)) if self.peek() == Some(&Word::Name("in".to_owned())) => {
                self.at += 1;
                let (path, call) = self.path()?;
                if call.is_some() { Err(self.lost()) } else { Ok(Condition::In(text, path)) }
            }
            Some(Word::Name(name)) if name == "has" => {
                self.needs("(")?;
                let (path, call) = self.path()?;
                // Of a member of a member that is not there CEL says an error, so only the plain form is taken.
                if call.is_some() || path.0.len() != 2 {
                    return Err(self.lost());
                }
                self.needs(")")?;
                Ok(Condition::Has(path))
            }
            Some(Word::Name(_)) => {
                self.at -= 1;
                let (path, call) = self.path()?;
                match call {
                    Some(ask) => self.argument(path, ask),
                    None => self.comparison(path),
                }
            }
            _ => Err(self.lost()),
        }
    }

    /// A path, and the function that is called on it, if one is.
    fn path(&mut self) -> Result<(Path, Option<Ask>), String> {
        let mut names = Vec::new();
        loop {
            let Some(Word::Name(name)) = self.next() else { return Err(self.lost()) };
            if self.peek() == Some(&Word::Mark("(")) {
                let ask = match name.as_str() {
                    "startsWith" => Ask::Begins,
                    "endsWith" => Ask::Ends,
                    "contains" => Ask::Contains,
                    _ => return Err(format!("a condition with the function {name:?}")),
                };
                return Ok((Path(self.rooted(names)?), Some(ask)));
            }
            names.push(name);
            if !self.takes(".") {
                return Ok((Path(self.rooted(names)?), None));
            }
        }
    }

    fn rooted(&self, names: Vec<String>) -> Result<Vec<String>, String> {
        let known = names.len() > 1
            && (names[0] == "data" || (names[0] == "event" && names.len() == 2 && names[1] != "data"));
        if known { Ok(names) } else { Err(self.lost()) }
    }

    fn argument(&mut self, path: Path, ask: Ask) -> Result<Condition, String> {
        self.needs("(")?;
        let Some(Word::Text(text)) = self.next() else { return Err(self.lost()) };
        self.needs(")")?;
        Ok(Condition::Call(path, ask, text))
    }

    fn comparison(&mut self, path: Path) -> Result<Condition, String> {
        let sign = match self.next() {
            Some(Word::Mark("==")) => Sign::Is,
            Some(Word::Mark("!=")) => Sign::IsNot,
            Some(Word::Mark("<")) => Sign::Less,
            Some(Word::Mark("<=")) => Sign::AtMost,
            Some(Word::Mark(">")) => Sign::More,
            Some(Word::Mark(">=")) => Sign::AtLeast,
            _ => return Err(self.lost()),
        };
        let literal = match self.next() {
            Some(Word::Text(text)) => Literal::Text(text),
            Some(Word::Number(number)) => Literal::Number(number),
            Some(Word::Name(name)) if name == "true" => Literal::Truth(true),
            Some(Word::Name(name)) if name == "false" => Literal::Truth(false),
            _ => return Err(self.lost()),
        };
        Ok(Condition::Compare(path, sign, literal))
    }
}
