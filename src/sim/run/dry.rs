//! The script without a network: what would be sent, a JSON line each. The same plan gives the same lines.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::clock::micros;
use super::{RunError, midnight};
use crate::sim::cast::{self, Cast};
use crate::sim::plan::Plan;
use crate::sim::script::{Attempt, Expect, Script, Setting};

/// First attempts that are looked for to see whether a script was played before.
const FIRST: usize = 8;

/// The lines of a script, for a network on which nothing was published before.
///
/// # Errors
/// The registry gives no cast.
pub fn lines(plan: &Plan, registry: &str) -> Result<impl Iterator<Item = Value> + use<>, RunError> {
    let enrolled = cast::enrol(plan, registry).map_err(RunError::Cast)?;
    let cast = Cast::choose(plan, enrolled.as_deref().unwrap_or(registry)).map_err(RunError::Cast)?;
    let setting =
        Setting { clock: plan.clock.unwrap_or_else(midnight), case_plane: plan.mix.case > 0.0, fresh: true };
    let script = Script::new(plan, &cast, setting);
    Ok(script.map(move |attempt| line(&cast, &attempt)))
}

/// Officer's place and id of the first attempts that have one.
#[must_use]
pub fn first(plan: &Plan, cast: &Cast, setting: Setting) -> Vec<(usize, String)> {
    let script = Script::new(plan, cast, setting).take(4 * FIRST);
    script.filter_map(|attempt| Some((attempt.officer, attempt.id?))).take(FIRST).collect()
}

fn line(cast: &Cast, attempt: &Attempt) -> Value {
    let who = cast.officers.get(attempt.officer);
    let expect = match attempt.expect {
        Expect::Accepted => "accepted".to_owned(),
        Expect::Duplicate(of) => format!("duplicate:{of}"),
        Expect::Quarantined(code) => format!("quarantined:{}", code.as_str()),
        Expect::Rejected(code) => format!("rejected:{}", code.as_str()),
    };
    let mut line = json!({
        "no": attempt.no,
        "due_us": micros(attempt.due),
        "party": who.map(|who| who.party.as_str()),
        "post": who.map(|who| who.post.as_str()),
        "subject": attempt.subject,
        "id": attempt.id,
        "expect": expect,
        "after": attempt.after,
    });
    match std::str::from_utf8(&attempt.payload) {
        Ok(text) => line["payload"] = text.into(),
        Err(_) => line["payload_base64"] = STANDARD.encode(&attempt.payload).into(),
    }
    line
}
