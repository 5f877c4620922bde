//! The rules of a body, in their order: S-7 to S-9, S-11 to S-13, S-15 to S-19.
//!
//! Serves a message and the new data of a correction alike: a correction follows all rules of its target's type. It
//! walks the body once and sorts what it finds by rule. What a rule says is in the file of the rule.

use super::catalogue::TypeEntry;
use super::places::{Faults, Order, walk};
use super::{Rules, audience, geo, marks, personal, ranges, times};
use crate::message::envelope::Envelope;
use crate::message::outcome::{Code, Refused};
use crate::message::tree::Node;

/// A body and what it is judged by.
pub(super) struct Body<'a> {
    /// The rules in force.
    pub(super) rules: &'a Rules,
    /// The envelope that it came in.
    pub(super) envelope: &'a Envelope,
    /// The whole message.
    pub(super) event: Node<'a>,
    /// The type whose rules it follows: that of the message, or that of the message being corrected.
    pub(super) kind: &'a str,
    /// Its entry in the catalogue.
    pub(super) entry: &'a TypeEntry,
    /// The body.
    pub(super) data: Node<'a>,
    /// Where it stands in the message.
    pub(super) prefix: &'a str,
}

/// What one walk over a body found, by rule.
#[derive(Default)]
pub(super) struct Found {
    unreadable: Faults,
    ranges: Faults,
    geo: Faults,
    personal: Faults,
    sensitive: Faults,
}

impl Found {
    fn is_empty(&self) -> bool {
        let Self { unreadable, ranges, geo, personal, sensitive } = self;
        [unreadable, ranges, geo, personal, sensitive].into_iter().all(Faults::is_empty)
    }
}

/// Walks the body.
///
/// # Errors
/// `code` for what a schema cannot say and is of its kind all the same: leap seconds, NUL in a text.
pub(super) fn survey(body: &Body<'_>, code: Code) -> Result<Found, Refused> {
    let mut found = look(body, Order::Document);
    if !found.is_empty() {
        found = look(body, Order::Names);
    }
    std::mem::take(&mut found.unreadable).refuse(code)?;
    Ok(found)
}

fn look(body: &Body<'_>, order: Order) -> Found {
    let mut found = Found::default();
    let screened = body.envelope.category == "none";
    walk(body.prefix, body.data, order, &mut |path, value| {
        if let Some(text) = value.as_str() {
            times::visit(path, text, &mut found.unreadable);
            if text.contains('\0') {
                found.unreadable.add(|| path.pointer(), "must not hold NUL");
            }
            if screened {
                personal::text(path, text, &mut found.personal);
            }
        } else {
            ranges::visit(path, value, body.rules.policy.votes, &mut found.ranges);
            geo::visit(path, value, &mut found.geo);
            personal::sensitive(path, value, &mut found.sensitive);
        }
    });
    found
}

/// S-7 to S-19, save what the judge has asked before.
///
/// # Errors
/// The code of the first rule that is broken, with all its places.
pub(super) fn check(body: &Body<'_>, found: Found) -> Result<(), Refused> {
    let registry = &body.rules.registry;
    found.ranges.refuse(Code::Range)?;
    found.geo.refuse(Code::Geo)?;
    times::deadlines(body.envelope, body.data, body.prefix)?;
    personal::undeclared(body, found.personal)?;
    personal::small_cells(body)?;
    marks::red(body.envelope)?;
    audience::check(registry, body.envelope, purpose(body))?;
    marks::release(registry, body)?;
    marks::evaluation(body.entry, body.envelope)?;
    marks::third_country(registry, body)?;
    marks::retention(body)?;
    personal::category(body, found.sensitive)
}

/// The purpose that decides who may have the body. A correction is sent under `ctl`, which asks for no role: its
/// recipients must have the role that the corrected message asks for, or it would carry a passenger list past S-15.
fn purpose<'a>(body: &Body<'a>) -> &'a str {
    let own = body.envelope.purpose.as_str();
    match body.entry.purposes.as_slice() {
        [only] if own == "ctl" => only,
        _ => own,
    }
}
