//! The schemas in force: JSON Schema 2020-12, embedded, and those of a directory that add or override versions.
//!
//! Compiled with formats asserted and linear-time patterns; nothing is ever fetched; every text of an error is masked,
//! because the offending value may be personal data. A schema says its type and major version in `$id`:
//! `…/v<major>/<type>.json`.

use std::collections::BTreeMap;

use jsonschema::json::{Json, SerdeJson};
use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;

use super::catalogue::Catalogue;
use super::instance::Trees;
use super::lint::lint;
use crate::message::envelope::TYPE_PREFIX;
use crate::message::outcome::{Fault, Refused, is_tellable};
use crate::message::tree::Node;

/// The files of `schemas/`.
const EMBEDDED: &[(&str, &str)] = &[
    ("board.activityreport.json", include_str!("../../schemas/board.activityreport.json")),
    ("board.coverage.json", include_str!("../../schemas/board.coverage.json")),
    ("board.decision.json", include_str!("../../schemas/board.decision.json")),
    ("board.programme.json", include_str!("../../schemas/board.programme.json")),
    ("border.situation.json", include_str!("../../schemas/border.situation.json")),
    ("case.admission-identity.json", include_str!("../../schemas/case.admission-identity.json")),
    ("case.identity-request.json", include_str!("../../schemas/case.identity-request.json")),
    ("case.identity-response.json", include_str!("../../schemas/case.identity-response.json")),
    ("case.resettlement-identity.json", include_str!("../../schemas/case.resettlement-identity.json")),
    ("case.return-manifest.json", include_str!("../../schemas/case.return-manifest.json")),
    ("case.smuggling-lead.json", include_str!("../../schemas/case.smuggling-lead.json")),
    ("defs.json", include_str!("../../schemas/defs.json")),
    ("deployment.notice.json", include_str!("../../schemas/deployment.notice.json")),
    ("document.fraud.json", include_str!("../../schemas/document.fraud.json")),
    ("envelope.json", include_str!("../../schemas/envelope.json")),
    ("event.incident.json", include_str!("../../schemas/event.incident.json")),
    ("event.warning.json", include_str!("../../schemas/event.warning.json")),
    ("flow.observation.json", include_str!("../../schemas/flow.observation.json")),
    ("flow.route.json", include_str!("../../schemas/flow.route.json")),
    ("host.measure.json", include_str!("../../schemas/host.measure.json")),
    ("host.profile.json", include_str!("../../schemas/host.profile.json")),
    ("integration.predeparture.json", include_str!("../../schemas/integration.predeparture.json")),
    ("legal.channel.json", include_str!("../../schemas/legal.channel.json")),
    ("msg.correction.json", include_str!("../../schemas/msg.correction.json")),
    ("msg.erasure.json", include_str!("../../schemas/msg.erasure.json")),
    ("msg.receipt.json", include_str!("../../schemas/msg.receipt.json")),
    ("msg.release.json", include_str!("../../schemas/msg.release.json")),
    ("msg.retraction.json", include_str!("../../schemas/msg.retraction.json")),
    ("network.activity.json", include_str!("../../schemas/network.activity.json")),
    ("network.facilitator.json", include_str!("../../schemas/network.facilitator.json")),
    ("network.report.json", include_str!("../../schemas/network.report.json")),
    ("protection.access.json", include_str!("../../schemas/protection.access.json")),
    ("return.practice.json", include_str!("../../schemas/return.practice.json")),
    ("rfi.request.json", include_str!("../../schemas/rfi.request.json")),
    ("rfi.response.json", include_str!("../../schemas/rfi.response.json")),
    ("smuggling.modus.json", include_str!("../../schemas/smuggling.modus.json")),
    ("smuggling.network.json", include_str!("../../schemas/smuggling.network.json")),
    ("thb.pattern.json", include_str!("../../schemas/thb.pattern.json")),
];

struct File {
    kind: String,
    major: u32,
    id: String,
    value: Value,
    text: String,
}

/// One schema, compiled twice.
struct Check {
    /// Says whether a message is valid, without building values.
    quick: Validator<Trees>,
    /// Says what is wrong with one that is not.
    telling: Validator,
}

struct Live {
    check: Check,
    text: String,
}

/// The compiled set.
pub struct Schemas {
    envelope: Check,
    /// By type id, versions in rising order: a look-up borrows.
    types: BTreeMap<String, Vec<(u32, Live)>>,
}

impl std::fmt::Debug for Schemas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Schemas").field("types", &self.types.len()).finish_non_exhaustive()
    }
}

impl Schemas {
    /// The embedded set.
    ///
    /// # Errors
    /// Never with the embedded files, which a test compiles; the type is that of [`Schemas::load`].
    pub fn embedded() -> Result<Self, Vec<String>> {
        Self::load(&[])
    }

    /// The embedded set with these files (name, text) beside or instead of it.
    ///
    /// # Errors
    /// Every fault of every file.
    pub fn load(more: &[(String, String)]) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        let mut files: BTreeMap<String, File> = BTreeMap::new();
        let embedded = EMBEDDED.iter().map(|(name, text)| (*name, *text));
        for (name, text) in embedded.chain(more.iter().map(|(name, text)| (name.as_str(), text.as_str()))) {
            match read(name, text, &mut faults) {
                Some(file) => drop(files.insert(file.id.clone(), file)),
                None if faults.is_empty() => faults.push(format!("{name}: not readable")),
                None => {}
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        compile(&files)
    }

    /// What is wrong with the attributes; empty if nothing. Paths are those of the message.
    #[must_use]
    pub fn envelope(&self, message: Node<'_>) -> Vec<Fault> {
        self.envelope.faults(message, "")
    }

    /// What is wrong with the data of this type and version; `None` if it is not live. `prefix` is where the data
    /// stands in the message.
    #[must_use]
    pub fn data(&self, kind: &str, major: u32, data: Node<'_>, prefix: &str) -> Option<Vec<Fault>> {
        self.find(kind, major).map(|live| live.check.faults(data, prefix))
    }

    /// True if messages of this type and version are taken (S-24).
    #[must_use]
    pub fn is_live(&self, kind: &str, major: u32) -> bool {
        self.find(kind, major).is_some()
    }

    /// The text of a schema.
    #[must_use]
    pub fn text(&self, kind: &str, major: u32) -> Option<&str> {
        self.find(kind, major).map(|live| live.text.as_str())
    }

    /// Types and versions in force.
    #[must_use]
    pub fn list(&self) -> Vec<(&str, u32)> {
        let versions =
            self.types.iter().flat_map(|(kind, live)| live.iter().map(|(major, _)| (kind.as_str(), *major)));
        versions.collect()
    }

    fn find(&self, kind: &str, major: u32) -> Option<&Live> {
        self.types.get(kind)?.iter().find(|(live, _)| *live == major).map(|(_, live)| live)
    }
}

impl Check {
    fn faults(&self, instance: Node<'_>, prefix: &str) -> Vec<Fault> {
        if self.quick.is_valid(instance) {
            return Vec::new();
        }
        let mut faults = Vec::new();
        for error in self.telling.iter_errors(&instance.to_value()) {
            faults_of(&error, prefix, &mut faults);
            if faults.len() >= Refused::MOST_FAULTS {
                break;
            }
        }
        faults
    }
}

/// The places of one error. A missing or undeclared member is named by its own pointer: that is where a form shows it.
fn faults_of(error: &jsonschema::ValidationError<'_>, prefix: &str, faults: &mut Vec<Fault>) {
    use jsonschema::error::ValidationErrorKind as Kind;
    let at = format!("{prefix}{}", error.instance_path());
    let mut push = |path: String, message: String| {
        // A text that is wrong by pattern and by format is wrong at one place.
        if faults.last().is_none_or(|fault: &Fault| fault.path != path) {
            faults.push(Fault { path, message });
        }
    };
    match error.kind() {
        Kind::Required { property } => {
            push(format!("{at}/{}", property.as_str().unwrap_or_default()), "is required".to_owned());
        }
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            for name in unexpected {
                // A name that is no identifier may itself be personal data: only its place is told.
                let path = if is_tellable(name) { format!("{at}/{name}") } else { at.clone() };
                push(path, "is not a declared member".to_owned());
            }
        }
        _ => push(at, error.masked().to_string()),
    }
}

fn read(name: &str, text: &str, faults: &mut Vec<String>) -> Option<File> {
    let value: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(error) => {
            faults.push(format!("{name}: {error}"));
            return None;
        }
    };
    let Some(id) = value.get("$id").and_then(Value::as_str) else {
        faults.push(format!("{name}: no $id"));
        return None;
    };
    let mut parts = id.rsplit('/');
    let kind = parts.next().and_then(|file| file.strip_suffix(".json"));
    let major = parts.next().and_then(|part| part.strip_prefix('v')).and_then(|major| major.parse().ok());
    let (Some(kind), Some(major)) = (kind, major) else {
        faults.push(format!("{name}: $id must end in v<major>/<type>.json"));
        return None;
    };
    if !matches!(kind, "defs" | "envelope") && Catalogue::embedded().get(kind).is_none() {
        faults.push(format!("{name}: {kind} is no type of the catalogue"));
    }
    lint(name, &value, faults);
    Some(File {
        kind: kind.to_owned(),
        major,
        id: id.to_owned(),
        value: value.clone(),
        text: text.to_owned(),
    })
}

fn validator<F: Json>(
    registry: &jsonschema::Registry<'_>,
    schema: &Value,
) -> Result<Validator<F>, jsonschema::ValidationError<'static>> {
    jsonschema::options_for::<F>()
        .with_draft(Draft::Draft202012)
        .with_registry(registry)
        .should_validate_formats(true)
        .should_ignore_unknown_formats(false)
        .with_pattern_options(PatternOptions::regex())
        .build(schema)
}

fn compile(files: &BTreeMap<String, File>) -> Result<Schemas, Vec<String>> {
    let mut faults = Vec::new();
    let mut builder = jsonschema::Registry::new();
    for file in files.values() {
        builder = match builder.add(file.id.as_str(), &file.value) {
            Ok(builder) => builder,
            Err(error) => return Err(vec![format!("{}: {error}", file.id)]),
        };
    }
    let registry = builder.prepare().map_err(|error| vec![format!("schemas: {error}")])?;
    let build = |schema: &Value| {
        let quick = validator::<Trees>(&registry, schema)?;
        let telling = validator::<SerdeJson>(&registry, schema)?;
        Ok::<_, jsonschema::ValidationError<'static>>(Check { quick, telling })
    };
    let mut types: BTreeMap<String, Vec<(u32, Live)>> = BTreeMap::new();
    for file in files.values().filter(|file| !matches!(file.kind.as_str(), "defs" | "envelope")) {
        match build(&file.value) {
            Ok(check) => {
                let live = Live { check, text: file.text.clone() };
                types.entry(file.kind.clone()).or_default().push((file.major, live));
            }
            Err(error) => faults.push(format!("{}: {}", file.id, error.masked())),
        }
    }
    types.values_mut().for_each(|versions| versions.sort_by_key(|(major, _)| *major));
    let names: Vec<String> = types
        .iter()
        .flat_map(|(kind, versions)| {
            versions.iter().map(move |(major, _)| format!("{TYPE_PREFIX}{kind}.v{major}"))
        })
        .collect();
    let envelope =
        files.values().filter(|file| file.kind == "envelope").max_by_key(|file| file.major).map(|file| {
            let mut value = file.value.clone();
            value["properties"]["type"]["enum"] = names.into();
            build(&value)
        });
    match envelope {
        Some(Ok(envelope)) if faults.is_empty() => Ok(Schemas { envelope, types }),
        Some(Ok(_)) => Err(faults),
        Some(Err(error)) => {
            faults.push(format!("envelope: {}", error.masked()));
            Err(faults)
        }
        None => Err(vec!["no envelope schema".to_owned()]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tree::Tree;
    use serde_json::json;

    fn file(schema: &Value) -> Vec<(String, String)> {
        vec![("x.json".to_owned(), schema.to_string())]
    }

    #[test]
    fn every_embedded_schema_is_linted_and_live() {
        let schemas = Schemas::embedded().expect("the embedded schemas must compile");
        assert_eq!(schemas.list().len(), 36);
        for (kind, _) in Catalogue::embedded().types() {
            assert!(schemas.is_live(kind, 1), "{kind}");
        }
    }

    #[test]
    fn a_directory_adds_a_version_and_both_are_live() {
        let id = "https://ilonet.example/schemas/v2/host.measure.json";
        let second = file(&json!({"$id": id, "type": "object", "required": ["x"]}));
        let schemas = Schemas::load(&second).expect("a second version");
        assert!(schemas.is_live("host.measure", 1) && schemas.is_live("host.measure", 2));
        let faults = schemas.data("host.measure", 2, Tree::of(&json!({})).root(), "/data").expect("live");
        assert_eq!(faults[0].path, "/data/x");
    }

    #[test]
    fn bad_schemas_are_named_with_their_place() {
        let id = "https://ilonet.example/schemas/v2/host.measure.json";
        for (schema, words) in [
            (json!({"$id": id, "requird": []}), "#/requird: unknown keyword"),
            (json!({"$id": id, "properties": {"a": {"minimun": 1}}}), "#/properties/a/minimun"),
            (json!({"$id": id, "$ref": "nowhere.json"}), "nowhere"),
            (json!({"$id": id, "$ref": "http://example.org/remote.json"}), "example.org"),
            (json!({"$id": id, "pattern": "(?=x)"}), "host.measure"),
            (json!({"$id": id, "properties": {"a": {"pattern": "(?:a{1000}){1000}"}}}), "host.measure"),
            (json!({"$id": id, "$ref": "file:///etc/hostname"}), "hostname"),
            (json!({"$id": id, "$ref": "#"}), "#/$ref: leads back to itself"),
            (
                json!({"$id": id, "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}),
                "#/$defs/a/$ref: leads back to itself",
            ),
            (json!({"$id": id, "format": "no-such-format"}), "no-such-format"),
            (json!({"$id": "https://x/v1/no.such.json"}), "no type of the catalogue"),
            (json!({"type": "object"}), "no $id"),
        ] {
            let faults = Schemas::load(&file(&schema)).expect_err("must be refused").join("\n");
            assert!(faults.contains(words), "{words}: {faults}");
        }
    }

    #[test]
    fn errors_never_hold_the_value() {
        let schemas = Schemas::embedded().expect("compiles");
        let message =
            Tree::of(&json!({"specversion": "CANARY", "id": "CANARY", "type": "CANARY", "tlp": "CANARY"}));
        let faults = schemas.envelope(message.root());
        assert!(!faults.is_empty());
        assert!(faults.iter().all(|fault| !fault.message.contains("CANARY")), "{faults:?}");
    }
}
