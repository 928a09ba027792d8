//! The runtimes a roster knows: the built-in ones, with its own over them.

use std::path::Path;

use super::load::read_text;
use super::parse::{Parsed, parse};
use super::suggest;
use crate::error::{Error, Result};
use crate::runtime::{RuntimeSpec, builtin};

/// One runtime, for use without a fleet: by the roster where there is one, else the built-in one.
/// Nothing but the roster's text is looked at, so agents whose directories are gone do not matter.
///
/// # Errors
/// Kind `Config`: the roster cannot be read or has problems, or no runtime has this name.
pub fn load_runtime(roster: &Path, name: &str) -> Result<RuntimeSpec> {
    let parsed = parse_if_any(roster)?;
    spec(&parsed, name).ok_or_else(|| {
        Error::config(format!("unknown runtime `{}`", suggest::clip(name)))
            .hint(known_runtimes(&parsed, Some(name)))
    })
}

/// A roster's text without problems; where there is none, that of an empty one.
///
/// # Errors
/// Kind `Config`: it cannot be read, or has problems.
pub(super) fn parse_if_any(roster: &Path) -> Result<Parsed> {
    let shown = roster.display().to_string();
    let text = match read_text(roster) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => "version: 1\nagents: []\n".to_owned(),
        Err(e) => {
            return Err(Error::config(format!("cannot read the roster `{shown}`")).because(e));
        }
    };
    let parsed = parse(&shown, &text);
    if let Some(error) = Error::all(parsed.problems.clone()) {
        return Err(error);
    }
    Ok(parsed)
}

/// The definition of a runtime: the roster's over the built-in one of its name, or of `like`.
pub(super) fn spec(parsed: &Parsed, name: &str) -> Option<RuntimeSpec> {
    let roster = parsed.roster.runtimes.as_ref();
    let own = |name: &str| roster.and_then(|r| r.get(name));
    match own(name) {
        None => builtin::get(name).cloned(),
        Some(runtime) => {
            let base = match (runtime.like.as_deref(), builtin::get(name)) {
                // What the roster changes in the built-in one holds for its likes too.
                (Some(like), _) if like != name => match (own(like), builtin::get(like)) {
                    (Some(changed), Some(base)) => Some(changed.spec.clone().over(base)),
                    (_, base) => base.cloned(),
                },
                (_, base) => base.cloned(),
            };
            Some(runtime.spec.clone().over(&base.unwrap_or_default()))
        }
    }
}

pub(super) fn known_runtimes(parsed: &Parsed, slip: Option<&str>) -> String {
    let own = parsed
        .roster
        .runtimes
        .iter()
        .flatten()
        .map(|(name, _)| name.as_str());
    let mut names: Vec<&str> = builtin::names().iter().copied().chain(own).collect();
    names.sort_unstable();
    names.dedup();
    match slip {
        Some(name) => suggest::hint(name, "runtimes", names),
        None => format!("known runtimes: {}", names.join(", ")),
    }
}
