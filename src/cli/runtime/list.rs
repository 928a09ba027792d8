//! `mosaic runtime list`: every runtime in one table.

use std::process::ExitCode;

use serde::Serialize;

use crate::cli::Context;
use crate::error::Result;
use crate::install::Install;
use crate::runtime::survey::{self, Found, Tested};
use crate::ui::{Tone, cell, toned};

/// Version of the JSON document.
const VERSION: u32 = 1;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    version: u32,
    runtimes: Vec<Runtime>,
}

#[derive(Serialize)]
struct Runtime {
    name: String,
    description: Option<String>,
    /// `built-in`, `built-in, changed by the roster`, or `roster`.
    origin: &'static str,
    installed: Found,
    agents: Vec<String>,
}

/// Runs it. Versions are asked for at the same time: each program takes its while.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    let definitions = super::all(context)?;
    let mut users = super::users(context);
    let install = Install::load(&context.paths.state)?;
    let path = super::search_path(install.as_ref());
    let mosaic = super::own_program()?;
    let found: Vec<Found> = std::thread::scope(|scope| {
        let asked: Vec<_> = definitions
            .values()
            .map(|d| scope.spawn(|| survey::find(&d.spec, &mosaic, &path)))
            .collect();
        asked
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .map_err(|_| crate::error::Error::bug("the look at a runtime panicked"))
            })
            .collect::<Result<_>>()
    })?;
    let runtimes: Vec<Runtime> = definitions
        .into_values()
        .zip(found)
        .map(|(d, installed)| Runtime {
            origin: match (&d.own, crate::runtime::builtin::get(&d.name)) {
                (None, _) => "built-in",
                (Some(_), Some(_)) => "built-in, changed by the roster",
                (Some(_), None) => "roster",
            },
            agents: users.remove(&d.name).unwrap_or_default(),
            description: d.spec.description.clone(),
            name: d.name,
            installed,
        })
        .collect();
    if args.json {
        context.ui.json(&Document {
            version: VERSION,
            runtimes,
        });
    } else {
        print(context, &runtimes);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(context: &Context<'_>, runtimes: &[Runtime]) {
    let dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let rows: Vec<_> = runtimes
        .iter()
        .map(|r| {
            let found = &r.installed;
            let tone = match found.tested {
                Tested::Ok => Tone::Good,
                Tested::Untested | Tested::Older => Tone::Attention,
                Tested::Unknown => Tone::Faint,
            };
            let channels: Vec<&str> = found.channels.iter().map(|c| c.as_str()).collect();
            vec![
                toned(&r.name, Tone::Strong),
                match &found.path {
                    Some(_) => toned("installed", Tone::Good),
                    None => toned("missing", Tone::Faint),
                },
                cell(dash(found.version.clone())),
                toned(found.tested.as_str(), tone),
                cell(match channels.is_empty() {
                    true => "-".to_owned(),
                    false => channels.join(", "),
                }),
                cell(found.receipt.unwrap_or("-")),
                cell(r.origin),
                cell(match r.agents.is_empty() {
                    true => "-".to_owned(),
                    false => r.agents.join(", "),
                }),
                cell(dash(found.path.as_ref().map(|p| p.display().to_string()))),
            ]
        })
        .collect();
    context.ui.table(
        &[
            "RUNTIME", "PROGRAM", "VERSION", "RULES", "CHANNELS", "RECEIPT", "ORIGIN", "AGENTS",
            "PATH",
        ],
        &rows,
    );
}
