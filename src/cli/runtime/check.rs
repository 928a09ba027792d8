//! `mosaic runtime check`: what keeps a runtime from being used to the full.

use std::process::ExitCode;

use serde::Serialize;

use crate::cli::{Context, answer};
use crate::error::Result;
use crate::install::Install;
use crate::runtime::survey::{self, Finding, Level};
use crate::ui::{Tone, cell, toned};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Runtimes; all that are installed or used, if none is named
    names: Vec<String>,
    /// JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Runtime {
    name: String,
    findings: Vec<Finding>,
}

/// Exit status 1 where something is wrong; what is merely not known is no problem.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    let definitions = super::all(context)?;
    for name in &args.names {
        if !definitions.contains_key(name) {
            return Err(super::unknown(name, &definitions));
        }
    }
    let users = super::users(context);
    let install = Install::load(&context.paths.state)?;
    let path = super::search_path(install.as_ref());
    let mosaic = super::own_program()?;
    let mut all = Vec::new();
    for (name, definition) in &definitions {
        if !args.names.is_empty() && !args.names.contains(name) {
            continue;
        }
        let found = survey::find(&definition.spec, &mosaic, &path);
        let used = users.contains_key(name) || args.names.contains(name);
        if found.path.is_some() || used {
            all.push(Runtime {
                findings: survey::check(&definition.spec, &found, used),
                name: name.clone(),
            });
        }
    }
    if args.json {
        context.ui.json(&all);
    } else {
        print(context, &all);
    }
    let wrong = |r: &Runtime| r.findings.iter().any(|f| f.level == Level::Problem);
    Ok(answer(!all.iter().any(wrong)))
}

fn print(context: &Context<'_>, all: &[Runtime]) {
    let rows: Vec<_> = all
        .iter()
        .flat_map(|r| {
            r.findings.iter().map(|f| {
                let (word, tone) = match f.level {
                    Level::Ok => ("ok", Tone::Good),
                    Level::Note => ("note", Tone::Attention),
                    Level::Problem => ("PROBLEM", Tone::Bad),
                };
                vec![
                    toned(word, tone),
                    toned(&r.name, Tone::Strong),
                    cell(f.subject),
                    cell(&f.seen),
                ]
            })
        })
        .collect();
    context.ui.table(&["", "RUNTIME", "SUBJECT", "SEEN"], &rows);
}
