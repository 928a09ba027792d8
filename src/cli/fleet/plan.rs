//! `mosaic fleet plan`: what would change, and why.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::{Context, answer};
use crate::converge::Convergence;
use crate::error::Result;
use crate::host::files;
use crate::host::manager::Manager;
use crate::install::{Install, Mode};
use crate::plan::{Options, Plan, Scope, What};
use crate::ui::{Tone, cell, toned};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
    /// Write the plan to a file for `mosaic fleet apply FILE`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    pub allow: Allow,
}

/// What a plan may do.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Allow {
    /// Restart or stop agents although they work, or nobody can tell
    #[arg(long)]
    pub force: bool,
    /// End sessions that mosaic did not make and that have an agent's name
    #[arg(long)]
    pub replace: bool,
}

impl Allow {
    /// As the planner takes it.
    pub fn options(self, scope: Scope) -> Options {
        Options {
            scope,
            force: self.force,
            replace: self.replace,
        }
    }
}

/// Runs it.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    let fleet = context.roster()?;
    let mode = match Install::load(&context.paths.state)? {
        Some(install) => install.mode,
        // What `up` would choose.
        None if Manager::connect().is_ok() => Mode::Systemd,
        None => Mode::Supervisor,
    };
    let install = context.resolve_install(&fleet, mode, false)?;
    let convergence = Convergence::new(&install, &fleet)?;
    let plan = convergence.plan(args.allow.options(Scope::All))?;
    if let Some(path) = &args.out {
        files::write_atomic(path, files::to_json(&plan).as_bytes(), files::PRIVATE)?;
        context
            .ui
            .status(format!("plan written to {}", path.display()));
    }
    if args.json {
        context.ui.json(&plan);
    } else {
        print(context, &plan);
        if !plan.in_sync() {
            context.ui.hint("`mosaic fleet apply` does this");
        }
    }
    Ok(answer(plan.in_sync()))
}

/// Prints a plan as a table.
pub fn print(context: &Context<'_>, plan: &Plan) {
    if plan.in_sync() {
        context.ui.line("in sync: nothing to do");
        return;
    }
    let rows: Vec<_> = plan
        .actions
        .iter()
        .map(|a| {
            let (verb, object) = a.what.words();
            let tone = match a.what {
                What::Blocked { .. } => Tone::Bad,
                What::Deferred { .. } => Tone::Attention,
                _ => Tone::Plain,
            };
            let reason = match &a.what {
                What::Blocked { hint, .. } => format!("{}; {hint}", a.reason),
                _ => a.reason.clone(),
            };
            vec![toned(verb, tone), cell(object), cell(reason)]
        })
        .collect();
    context.ui.table(&["ACTION", "OBJECT", "REASON"], &rows);
}
