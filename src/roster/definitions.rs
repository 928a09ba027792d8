//! The runtimes that a roster knows: the built-in ones, with what it changes in them, and its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::runtimes::{parse_if_any, spec};
use crate::error::Result;
use crate::runtime::{RuntimeSpec, builtin};

/// A runtime.
#[derive(Debug, Clone)]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// As it is used.
    pub spec: RuntimeSpec,
    /// What the roster says of it.
    pub own: Option<RuntimeSpec>,
    /// The built-in runtime that it is like.
    pub like: Option<String>,
}

impl Definition {
    /// Where a key comes from, for a person; `None` for a key that it does not have.
    pub fn origin(&self, key: &str) -> Option<String> {
        let has =
            |spec: &RuntimeSpec| serde_json::to_value(spec).is_ok_and(|v| v.get(key).is_some());
        let base = self.like.as_deref().unwrap_or(&self.name);
        let under = builtin::get(base).is_some_and(has);
        let own = self.own.as_ref().is_some_and(has);
        Some(match (own, under) {
            // Merged with what stands below it.
            (true, true) if key == "env" => format!("roster, over built-in {base}"),
            (true, _) => "roster".to_owned(),
            (false, true) if base == self.name => "built-in".to_owned(),
            (false, true) => format!("like {base}"),
            (false, false) => return None,
        })
    }
}

/// All of them, by name. Without a roster these are the built-in ones.
///
/// # Errors
/// Kind `Config`: the roster cannot be read, or its runtimes are wrong.
pub fn definitions(path: &Path) -> Result<BTreeMap<String, Definition>> {
    let parsed = parse_if_any(path)?;
    let own = parsed.roster.runtimes.clone().unwrap_or_default();
    let names: BTreeSet<String> = builtin::names()
        .iter()
        .map(|n| (*n).to_owned())
        .chain(own.keys().cloned())
        .collect();
    Ok(names
        .into_iter()
        .filter_map(|name| {
            let definition = Definition {
                spec: spec(&parsed, &name)?,
                own: own.get(&name).map(|r| r.spec.clone()),
                like: own.get(&name).and_then(|r| r.like.clone()),
                name: name.clone(),
            };
            Some((name, definition))
        })
        .collect())
}
