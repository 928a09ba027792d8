//! Verbs about runtimes: what is known of an agent CLI, and how to get to know another one.

mod check;
mod learn;
mod list;
mod show;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use clap::Subcommand;

use super::Context;
use crate::error::{Error, Result};
use crate::install::Install;
use crate::launch::{Launch, installed};
use crate::roster::definitions::{Definition, definitions};
use crate::roster::suggest;

/// Verbs of `mosaic runtime`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List the runtimes: what is installed, and how far a message is proved
    List(list::Args),
    /// Print the whole definition of a runtime, and where each key comes from
    Show(show::Args),
    /// Check runtimes: program, version, rules, ways in
    Check(check::Args),
    /// Get to know a new agent CLI, and write its definition
    Learn(learn::Args),
}

/// Runs a verb.
pub fn run(context: &Context<'_>, verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::List(args) => list::run(context, &args),
        Verb::Show(args) => show::run(context, &args),
        Verb::Check(args) => check::run(context, &args),
        Verb::Learn(args) => learn::run(context, &args),
    }
}

/// The definitions of the roster, or of no roster.
fn all(context: &Context<'_>) -> Result<BTreeMap<String, Definition>> {
    definitions(&context.paths.roster)
}

fn unknown(name: &str, known: &BTreeMap<String, Definition>) -> Error {
    let names: BTreeSet<&str> = known.keys().map(String::as_str).collect();
    Error::usage(format!("unknown runtime `{name}`")).hint(suggest::hint(name, "runtimes", names))
}

/// Where programs are looked up: as the agents do, else as this shell does.
fn search_path(install: Option<&Install>) -> String {
    install.map_or_else(
        || std::env::var("PATH").unwrap_or_default(),
        |i| i.path.clone(),
    )
}

/// The installed agents by runtime.
fn users(context: &Context<'_>) -> BTreeMap<String, Vec<String>> {
    let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in installed(&context.paths) {
        if let Ok(launch) = Launch::load(&context.paths.launch(&name)) {
            users.entry(launch.agent.runtime).or_default().push(name);
        }
    }
    users
}

/// This program.
fn own_program() -> Result<std::path::PathBuf> {
    std::env::current_exe().map_err(|e| Error::io("cannot find mosaic's own program", e))
}
