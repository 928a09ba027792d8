//! Tests of the roster as a whole: text in, fleet or rendered errors out.
#![allow(clippy::unwrap_used)]

mod errors;
mod fleet;
mod golden;
mod limits;
mod loading;
mod profiles;
mod properties;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use super::{Environment, Warning, parse, resolve};
use crate::error::Error;
use crate::fleet::Fleet;

/// A machine of the imagination: directories `/home/me`, `/home/me/work`, `/etc/mosaic`, and files.
#[derive(Default)]
struct Machine {
    files: BTreeMap<PathBuf, String>,
    any_directory: bool,
}

impl Machine {
    fn with(files: &[(&str, &str)]) -> Self {
        let files = files
            .iter()
            .map(|(path, text)| (PathBuf::from(path), (*text).to_owned()))
            .collect();
        Self {
            files,
            any_directory: false,
        }
    }

    fn resolve(&self, text: &str) -> Result<(Fleet, Vec<Warning>), Error> {
        let exists_dir = |path: &Path| {
            self.any_directory
                || [
                    "/home/me",
                    "/home/me/work",
                    "/etc/mosaic",
                    "/etc/mosaic/sub",
                ]
                .iter()
                .any(|d| Path::new(d) == path)
        };
        resolve(
            &parse("roster.yaml", text),
            &Environment {
                home: Path::new("/home/me"),
                roster_dir: Path::new("/etc/mosaic"),
                exists_dir: &exists_dir,
                exists_file: &|path| self.files.contains_key(path),
                read_file: &|path| match self.files.get(path).map(String::as_str) {
                    Some("UNREADABLE") => Err(io::ErrorKind::PermissionDenied.into()),
                    text => Ok(text.map(str::to_owned)),
                },
            },
        )
    }
}

/// The errors as the user sees them.
fn shown(error: &Error) -> String {
    let mut out = String::new();
    for error in std::iter::once(error).chain(&error.others) {
        writeln!(out, "error: {}", error.message).unwrap();
        for cause in &error.causes {
            writeln!(out, "caused by: {cause}").unwrap();
        }
        places(&mut out, &error.location, &error.hints);
    }
    out
}

fn shown_warnings(warnings: &[Warning]) -> String {
    let mut out = String::new();
    for warning in warnings {
        writeln!(out, "warning: {}", warning.message).unwrap();
        places(&mut out, &warning.location, &warning.hints);
    }
    out
}

fn places(out: &mut String, location: &[String], hints: &[String]) {
    for place in location {
        writeln!(out, "  --> {}", place.replace('\n', "\n   ")).unwrap();
    }
    for hint in hints {
        writeln!(out, "hint: {hint}").unwrap();
    }
}

/// Resolves a text that must be wrong.
fn errors_of(text: &str) -> String {
    errors_on(&Machine::default(), text)
}

fn errors_on(machine: &Machine, text: &str) -> String {
    match machine.resolve(text) {
        Ok((fleet, _)) => panic!("accepted: {fleet:?}"),
        Err(error) => {
            assert!(
                std::iter::once(&error)
                    .chain(&error.others)
                    .all(|e| e.kind == crate::error::Kind::Config)
            );
            shown(&error)
        }
    }
}

/// A roster with the given agents (YAML of the list items, indented by two).
fn with_agents(agents: &str) -> String {
    format!(
        "version: 1\ndefaults:\n  runtime: claude\n  working_directory: ~/work\nagents:\n{agents}"
    )
}
