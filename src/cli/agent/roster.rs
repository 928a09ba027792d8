//! `mosaic agent roster`: who is in the roster.

use std::process::ExitCode;

use crate::cli::Context;
use crate::error::Result;
use crate::fleet::Persona;
use crate::ui::{Tone, cell, toned};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only agents of a class
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    /// JSON
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    let mut fleet = context.roster()?;
    if let Some(class) = &args.class {
        fleet.agents.retain(|a| a.class == *class);
    }
    if args.json {
        context.ui.json(&fleet.agents);
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<_> = fleet
        .agents
        .iter()
        .map(|a| {
            let persona = match a.persistent_persona {
                Persona::Persistent => "persistent",
                Persona::Semi => "semi",
                Persona::Free if a.reset_between_tasks => "reset between tasks",
                Persona::Free => "free",
            };
            vec![
                toned(a.name.as_str(), Tone::Strong),
                cell(&a.class),
                cell(&a.runtime),
                cell(if a.enabled { "yes" } else { "no" }),
                cell(persona),
                cell(a.model_hint.as_deref().unwrap_or("-")),
                cell(a.working_directory.display().to_string()),
            ]
        })
        .collect();
    context.ui.table(
        &[
            "AGENT",
            "CLASS",
            "RUNTIME",
            "ENABLED",
            "PERSONA",
            "MODEL",
            "WORKING DIRECTORY",
        ],
        &rows,
    );
    Ok(ExitCode::SUCCESS)
}
