//! Reads what the rules are made from: registry, schemas, policy. All faults at once, none of them in force.

use super::config::Config;
use crate::archive::note::{Kind, Verifier};
use crate::rules::Rules;
use crate::rules::catalogue::Catalogue;
use crate::rules::policy::Policy;
use crate::rules::registry::{Party, Registry};
use crate::rules::schemas::Schemas;

/// Loads the rules that a configuration names.
///
/// # Errors
/// Every fault of every file, each with its file.
pub fn load(config: &Config) -> Result<Rules, Vec<String>> {
    let mut faults = Vec::new();
    let registry = read_registry(config).map_err(|found| faults.extend(found)).ok();
    let schemas = read_schemas(config).map_err(|found| faults.extend(found)).ok();
    let policy = Policy::new(&config.policy.ceiling, config.planes.case);
    let policy = policy.map_err(|fault| faults.push(fault)).ok();
    match (registry, schemas, policy) {
        (Some(registry), Some(schemas), Some(policy)) if faults.is_empty() => {
            Ok(Rules { catalogue: Catalogue::embedded().clone(), schemas, registry, policy })
        }
        _ => Err(faults),
    }
}

fn read_registry(config: &Config) -> Result<Registry, Vec<String>> {
    let file = &config.registry.file;
    let text = std::fs::read_to_string(file).map_err(|error| vec![format!("{}: {error}", file.display())])?;
    let place = |fault: String| format!("{}: {fault}", file.display());
    let registry =
        Registry::parse(&text).map_err(|faults| faults.into_iter().map(place).collect::<Vec<_>>())?;
    let faults: Vec<String> =
        registry.parties().filter_map(|party| witness_fault(party)).map(place).collect();
    if faults.is_empty() { Ok(registry) } else { Err(faults) }
}

/// A witness whose key cannot be used would be no witness, and nobody would notice.
fn witness_fault(party: &Party) -> Option<String> {
    let words = match Verifier::parse(party.witness.as_deref()?) {
        Ok(key) if key.kind() == Kind::Witness => return None,
        Ok(_) => "a key for another use".to_owned(),
        Err(error) => error.to_string(),
    };
    Some(format!("{}: witness: {words}", party.id))
}

fn read_schemas(config: &Config) -> Result<Schemas, Vec<String>> {
    let Some(directory) = &config.schemas.directory else { return Schemas::embedded() };
    let fault = |error: std::io::Error| vec![format!("{}: {error}", directory.display())];
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(fault)? {
        let path = entry.map_err(fault)?.path();
        if path.extension().is_some_and(|ending| ending == "json") {
            let text = std::fs::read_to_string(&path).map_err(fault)?;
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            files.push((name, text));
        }
    }
    files.sort();
    Schemas::load(&files)
}
