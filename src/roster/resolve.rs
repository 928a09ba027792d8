//! A parsed roster to a [`Fleet`]: defaults and runtimes applied, paths made absolute and looked at,
//! the overrides of `agents/NAME.env` read. The file system is asked through [`Environment`] alone.

use std::io;
use std::path::Path;

use serde::Serialize;

use super::agent::Resolver;
use super::document::{DEFAULT_HOLDER, DEFAULT_SOCKET, Defaults};
use super::parse::{MAX_PROBLEMS, Parsed};
use super::warn;
use crate::error::Error;
use crate::fleet::Fleet;
use crate::routing::policy::Policy;

/// What resolving needs to know of the machine.
#[derive(Clone, Copy)]
pub struct Environment<'a> {
    /// The user's home directory, for `~`.
    pub home: &'a Path,
    /// The directory of the roster, absolute; relative paths start there.
    pub roster_dir: &'a Path,
    /// Whether a directory is there.
    pub exists_dir: &'a dyn Fn(&Path) -> bool,
    /// Whether a file that can be read is there.
    pub exists_file: &'a dyn Fn(&Path) -> bool,
    /// The text of a file; `None` where it is not there.
    pub read_file: &'a dyn Fn(&Path) -> io::Result<Option<String>>,
}

/// Something allowed that is probably not meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// A lower-case fragment without a full stop.
    pub message: String,
    /// As in [`Error::location`].
    pub location: Vec<String>,
    /// What to type.
    pub hints: Vec<String>,
}

/// Decides everything about every agent.
///
/// # Errors
/// Every problem of the text and of what it names, in one error of kind `Config`.
pub fn resolve(
    parsed: &Parsed,
    environment: &Environment<'_>,
) -> Result<(Fleet, Vec<Warning>), Error> {
    let mut errors = parsed.problems.clone();
    let mut resolver = Resolver {
        parsed,
        environment,
        errors: Vec::new(),
        warnings: Vec::new(),
    };
    let mut agents = Vec::new();
    let mut routing = Policy::default();
    if !parsed.fatal {
        let none = Defaults::default();
        let defaults = parsed.roster.defaults.as_ref().unwrap_or(&none);
        for (index, entry) in parsed.roster.agents.iter().flatten().enumerate() {
            // Nobody reads more, and resolving nothing further is certain: there is an error.
            if errors.len() + resolver.errors.len() > MAX_PROBLEMS {
                break;
            }
            agents.extend(resolver.agent(index, entry, defaults));
        }
        routing = resolver.policy();
        errors.append(&mut resolver.errors);
    }
    errors.sort_by_key(|e| line_of(e, parsed.source.name()));
    if errors.len() > MAX_PROBLEMS {
        errors.truncate(MAX_PROBLEMS);
        errors.push(Error::config(
            "there may be more problems: these are the first",
        ));
    }
    if let Some(error) = Error::all(errors) {
        return Err(error);
    }
    if agents.len() != parsed.roster.agents.iter().flatten().count() {
        return Err(Error::bug(
            "an agent of the roster was lost without an error",
        ));
    }
    let tmux = parsed.roster.tmux.clone().unwrap_or_default();
    let fleet = Fleet {
        socket_name: tmux
            .socket_name
            .unwrap_or_else(|| DEFAULT_SOCKET.to_owned()),
        holder_session: tmux
            .holder_session
            .unwrap_or_else(|| DEFAULT_HOLDER.to_owned()),
        agents,
        routing,
    };
    let mut warnings = resolver.warnings;
    warnings.extend(warn::of_fleet(parsed, &fleet));
    Ok((fleet, warnings))
}

/// The line of the roster at which an error shows first; errors elsewhere come last.
fn line_of(error: &Error, name: &str) -> usize {
    let place = error
        .location
        .first()
        .and_then(|place| place.strip_prefix(name)?.strip_prefix(':'));
    let line = place.and_then(|rest| rest.split(':').next()?.parse().ok());
    line.unwrap_or(usize::MAX)
}
