//! `where`: an optional CEL expression of a subscription over `event` (attributes) and `data`.
//!
//! Checked once, when it is put: size, names, functions, types, and that it yields a boolean. At run time a missing
//! member or an unsuitable value makes it not match; it never makes it match everything.
//!
//! The crate evaluates but has no type checker; the one here knows what our expressions can be made of and refuses
//! what it does not know.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};

use cel::common::ast::{Expr, IdedExpr, LiteralValue};
use cel::{Context, Env, Program, Value as CelValue};

use super::filter::ATTRIBUTES;
use crate::message::outcome::{Code, Refused};
use crate::message::tree::Node;

/// Longest expression, bytes.
const LONGEST: usize = 1_000;
/// Most nodes of its tree.
const MOST_NODES: usize = 200;

/// A checked expression.
pub struct Where {
    text: String,
    program: Program,
    anchor: Option<(String, String)>,
    event: Members,
    data: Members,
}

/// The members of `event` or `data` that an expression looks at: no others are made into CEL values, which was the larger
/// half of routing.
#[derive(Debug)]
enum Members {
    Only(BTreeSet<String>),
    All,
}

impl Members {
    /// As CEL sees them; what is no object is seen as it is.
    fn of(&self, node: Node<'_>, but: Option<&str>) -> Option<CelValue> {
        let Some(members) = node.as_object() else { return cel::to_value(node).ok() };
        let seen: BTreeMap<&str, Node<'_>> = match self {
            Self::All => members.filter(|(name, _)| Some(*name) != but).collect(),
            Self::Only(names) => {
                names.iter().filter_map(|name| Some((name.as_str(), node.get(name)?))).collect()
            }
        };
        cel::to_value(&seen).ok()
    }

    fn see(&mut self, name: &str) {
        if let Self::Only(names) = self {
            names.insert(name.to_owned());
        }
    }
}

impl std::fmt::Debug for Where {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Where").field(&self.text).finish()
    }
}

/// What an expression evaluates to, as far as can be told beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    Number,
    Text,
    List,
    Map,
    Null,
    /// From `data`: known only at run time.
    Any,
}

impl Kind {
    fn may_be(self, other: Self) -> bool {
        self == other || self == Self::Any || other == Self::Any
    }
}

static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

impl Where {
    /// Reads and checks an expression.
    ///
    /// # Errors
    /// `E-SCHEMA` at `/where`.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        let refuse = |words: String| Refused::new(Code::Schema, "/where", words);
        if text.len() > LONGEST {
            return Err(refuse(format!("must have at most {LONGEST} bytes")));
        }
        let program = ENV.compile(text).map_err(|_| refuse("is no CEL expression".to_owned()))?;
        let mut check = Check::new();
        match check.kind(program.expression()).map_err(refuse)? {
            Kind::Bool => {}
            _ => return Err(refuse("must be boolean: compare with ==, <, in, or ask with has()".to_owned())),
        }
        let anchor = anchor(program.expression());
        Ok(Self { text: text.to_owned(), program, anchor, event: check.event, data: check.data })
    }

    /// The expression as given.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// An attribute that must have this value for the expression to hold, if one can be told.
    #[must_use]
    pub fn anchor(&self) -> Option<(&str, &str)> {
        self.anchor.as_ref().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// True if it holds for a message. An error at run time is not a match.
    #[must_use]
    pub fn holds(&self, event: Node<'_>) -> bool {
        let seen = self.event.of(event, Some("data")).zip(self.data.of(event.at("data"), None));
        let Some((attributes, data)) = seen else { return false };
        let mut context = Context::with_env(Arc::clone(&ENV));
        context.add_variable_from_value("event", attributes);
        context.add_variable_from_value("data", data);
        matches!(self.program.execute(&context), Ok(CelValue::Bool(true)))
    }
}

/// `event.<attribute> == '<text>'`, alone or in a conjunction.
fn anchor(expression: &IdedExpr) -> Option<(String, String)> {
    let Expr::Call(call) = &expression.expr else { return None };
    match (call.func_name.as_str(), call.args.as_slice()) {
        ("_&&_", args) => args.iter().find_map(anchor),
        ("_==_", [left, right]) => {
            let attribute = |side: &IdedExpr| match &side.expr {
                Expr::Select(select) if matches!(&select.operand.expr, Expr::Ident(name) if name == "event") => {
                    Some(select.field.clone())
                }
                _ => None,
            };
            let literal = |side: &IdedExpr| match &side.expr {
                Expr::Literal(LiteralValue::String(text)) => Some(text.inner().to_owned()),
                _ => None,
            };
            attribute(left).zip(literal(right)).or_else(|| attribute(right).zip(literal(left)))
        }
        _ => None,
    }
}

struct Check {
    left: usize,
    loops: usize,
    names: HashMap<String, Kind>,
    event: Members,
    data: Members,
}

impl Check {
    fn new() -> Self {
        let nothing = || Members::Only(BTreeSet::new());
        Self { left: MOST_NODES, loops: 0, names: HashMap::new(), event: nothing(), data: nothing() }
    }

    /// `event` or `data`, if the expression is one of these.
    fn root(&mut self, expression: &IdedExpr) -> Option<&mut Members> {
        match &expression.expr {
            Expr::Ident(name) if name == "event" => Some(&mut self.event),
            Expr::Ident(name) if name == "data" => Some(&mut self.data),
            _ => None,
        }
    }

    fn kind(&mut self, expression: &IdedExpr) -> Result<Kind, String> {
        self.left = self.left.checked_sub(1).ok_or("is too large")?;
        match &expression.expr {
            Expr::Literal(literal) => Ok(match literal {
                LiteralValue::Boolean(_) => Kind::Bool,
                LiteralValue::Double(_) | LiteralValue::Int(_) | LiteralValue::UInt(_) => Kind::Number,
                LiteralValue::String(_) => Kind::Text,
                LiteralValue::Null => Kind::Null,
                LiteralValue::Bytes(_) => return Err("must not use bytes".to_owned()),
            }),
            Expr::Ident(name) => match self.root(expression) {
                Some(members) => {
                    *members = Members::All;
                    Ok(Kind::Map)
                }
                None => {
                    self.names.get(name).copied().ok_or_else(|| "knows only `event` and `data`".to_owned())
                }
            },
            Expr::Select(select) => self.select(&select.operand, &select.field, select.test),
            Expr::List(list) => {
                for element in &list.elements {
                    self.kind(element)?;
                }
                Ok(Kind::List)
            }
            Expr::Call(call) => {
                let mut kinds = Vec::new();
                for argument in call.target.as_deref().into_iter().chain(&call.args) {
                    kinds.push(self.kind(argument)?);
                }
                call_kind(&call.func_name, &kinds)
            }
            Expr::Comprehension(each) => self.comprehension(each),
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => Err("must not build maps".to_owned()),
        }
    }

    fn select(&mut self, operand: &IdedExpr, field: &str, test: bool) -> Result<Kind, String> {
        let of_event = matches!(&operand.expr, Expr::Ident(name) if name == "event");
        let kind = match self.root(operand) {
            Some(members) => {
                members.see(field);
                Kind::Map
            }
            None => self.kind(operand)?,
        };
        if of_event && !ATTRIBUTES.contains(&field) && field != "priority" && field != "handlingnote" {
            return Err("asks for an attribute that envelopes do not have".to_owned());
        }
        if !kind.may_be(Kind::Map) {
            return Err("asks a value for a member that can have none".to_owned());
        }
        Ok(match (test, of_event) {
            (true, _) => Kind::Bool,
            (false, true) => Kind::Text,
            (false, false) => Kind::Any,
        })
    }

    /// `all`, `exists`, `exists_one`, `filter`, `map`: one inside another is refused, so that the work stays linear
    /// in the size of a message.
    fn comprehension(&mut self, each: &cel::common::ast::ComprehensionExpr) -> Result<Kind, String> {
        if self.loops > 0 {
            return Err("must not nest one list question in another".to_owned());
        }
        if !self.kind(&each.iter_range)?.may_be(Kind::List) {
            return Err("asks a list question of what is no list".to_owned());
        }
        let start = self.kind(&each.accu_init)?;
        self.loops += 1;
        let variables = [Some(each.iter_var.clone()), each.iter_var2.clone()];
        for name in variables.into_iter().flatten() {
            if matches!(name.as_str(), "event" | "data") {
                return Err("must not rename `event` or `data`".to_owned());
            }
            self.names.insert(name, Kind::Any);
        }
        self.names.insert(each.accu_var.clone(), start);
        self.kind(&each.loop_cond)?;
        self.kind(&each.loop_step)?;
        let result = self.kind(&each.result)?;
        self.names.clear();
        self.loops -= 1;
        Ok(result)
    }
}

fn call_kind(function: &str, kinds: &[Kind]) -> Result<Kind, String> {
    let all = |wanted: Kind| kinds.iter().all(|kind| kind.may_be(wanted));
    let mixed = || Err("compares or joins values of different kinds".to_owned());
    match (function, kinds) {
        ("_&&_" | "_||_" | "!_" | "@not_strictly_false", _) => {
            if all(Kind::Bool) {
                Ok(Kind::Bool)
            } else {
                Err("uses a value that is not boolean as one".to_owned())
            }
        }
        ("_==_" | "_!=_", [left, right]) => {
            if left.may_be(*right) || *left == Kind::Null || *right == Kind::Null {
                Ok(Kind::Bool)
            } else {
                mixed()
            }
        }
        ("_<_" | "_<=_" | "_>_" | "_>=_", [left, right]) => {
            let ordered = all(Kind::Number) || all(Kind::Text);
            if left.may_be(*right) && ordered { Ok(Kind::Bool) } else { mixed() }
        }
        ("@in", [_, list]) => {
            if list.may_be(Kind::List) || *list == Kind::Map {
                Ok(Kind::Bool)
            } else {
                mixed()
            }
        }
        ("_+_", [left, right]) => {
            if !left.may_be(*right) {
                return mixed();
            }
            Ok(if *left == Kind::Any { *right } else { *left })
        }
        ("_-_" | "_*_" | "_/_" | "_%_" | "-_", _) => {
            if all(Kind::Number) {
                Ok(Kind::Number)
            } else {
                mixed()
            }
        }
        ("_?_:_", [condition, yes, no]) => {
            if !condition.may_be(Kind::Bool) || !yes.may_be(*no) {
                return mixed();
            }
            Ok(if *yes == Kind::Any { *no } else { *yes })
        }
        ("_[_]", [of, _]) => {
            if of.may_be(Kind::List) || *of == Kind::Map {
                Ok(Kind::Any)
            } else {
                mixed()
            }
        }
        ("startsWith" | "endsWith" | "contains", [_, _]) => {
            if all(Kind::Text) {
                Ok(Kind::Bool)
            } else {
                mixed()
            }
        }
        ("size", [_]) => Ok(Kind::Number),
        ("int" | "double", [_]) => Ok(Kind::Number),
        ("string", [_]) => Ok(Kind::Text),
        _ => Err("uses a function that is not offered".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tree::Tree;
    use serde_json::json;

    fn holds(text: &str) -> bool {
        let event = Tree::of(&json!({"type": "eu.ilonet.flow.observation.v1", "subject": "TN",
            "data": {"count": {"value": 1240}, "transport": ["metal-boat"], "trend": "rising"}}));
        Where::parse(text).unwrap_or_else(|refused| panic!("{text}: {refused:?}")).holds(event.root())
    }

    #[test]
    fn expressions_see_attributes_and_data() {
        for (text, expected) in [
            ("data.count.value > 1000", true),
            ("data.count.value > 1000 && event.subject == 'LY'", false),
            ("has(data.impact)", false),
            ("'metal-boat' in data.transport", true),
            ("data.transport.exists(t, t.startsWith('metal'))", true),
            ("data.transport.all(t, t == 'foot')", false),
            ("data.nosuch == 'x'", false),
            ("data.nosuch != 'x' || true", true),
            ("event.type.startsWith('eu.ilonet.flow.') && data.trend == 'rising'", true),
            ("data.transport.exists_one(t, t == 'metal-boat')", true),
            ("size(data.transport) == 1", true),
            ("event.subject in ['TN', 'LY']", true),
            ("'trend' in data && size(data) == 3", true),
            ("data['trend'] == 'rising' && data.trend == 'rising'", true),
            ("'data' in event || !('subject' in event)", false),
        ] {
            assert_eq!(holds(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_boolean_unknown_or_unbounded_is_refused() {
        let long = format!("event.subject in [{}]", vec!["'x'"; 300].join(","));
        for bad in [
            "",
            "1 + 1",
            "event.subject",
            "data.flag",
            "nosuch == 1",
            "event.nosuch == 'x'",
            "event.subject == 1",
            "'a' < 1",
            "!'x'",
            "data.a.exists(x, data.b.exists(y, x == y))",
            "data.matches('x')",
            "f(1) == 2",
            "(((",
            "'x' && true",
            "{'a': 1} == data",
            "data.a.exists(event, event == 1)",
            &long,
        ] {
            assert!(Where::parse(bad).is_err(), "{bad}");
        }
    }
}
