//! `mosaic fleet up`: from nothing to a proven fleet in one command.

use std::path::PathBuf;
use std::process::ExitCode;

use super::plan::Allow;
use super::{apply, init, install, status, verify};
use crate::cli::{Context, answer};
use crate::converge;
use crate::error::{Error, Result};
use crate::install::{Install, Mode};
use crate::plan::Scope;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Profile for a roster that does not exist yet: minimal, usc, demo, goosed, goose-pool, or a file
    #[arg(long, default_value = "minimal")]
    profile: String,
    /// Where the agents of a new roster work [default: the current directory]
    #[arg(long, value_name = "DIR")]
    working_directory: Option<PathBuf>,
    /// Run without a service manager: a supervisor in each pane
    #[arg(long)]
    no_systemd: bool,
    /// Leave the proof out
    #[arg(long)]
    no_verify: bool,
    #[command(flatten)]
    allow: Allow,
}

/// Runs it.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    if context.paths.roster.exists() {
        context
            .ui
            .status(format!("roster: {}", context.paths.roster.display()));
    } else {
        // A first roster for a fleet that runs would stop every agent that it does not name.
        let installed = crate::launch::installed(&context.paths);
        if !installed.is_empty() {
            return Err(Error::config(format!(
                "no roster at `{}`, but a fleet is installed: {}",
                context.paths.roster.display(),
                installed.join(", ")
            ))
            .because("a new roster would stop the agents that it does not name")
            .hint("bring the roster back, or name it with `--config`")
            .hint("to begin anew: `mosaic fleet uninstall`, or `mosaic fleet init` and a look at `mosaic fleet plan`"));
        }
        let directory = init::working_directory(args.working_directory.as_deref())?;
        let text = init::fill(context, &args.profile, &directory)?;
        init::write(context, &text, false)?;
    }
    let lock = converge::lock(&context.paths, "bring the fleet up")?;
    let fleet = context.roster()?;
    let mode = apply::choose_mode(context, args.no_systemd)?;
    let again = Install::load(&context.paths.state)?.is_none_or(|i| i.mode != mode);
    let install = context.resolve_install(&fleet, mode, again)?;
    // `up` means up: what was stopped by hand starts again.
    for agent in &fleet.agents {
        crate::record::release(&install.paths, agent.name.as_str())?;
    }
    let report = apply::converge(context, &install, &fleet, args.allow, Scope::All)?;
    drop(lock);
    if mode == Mode::Systemd {
        install::linger(context);
    }
    context.ui.line("");
    status::show(context, &install)?;
    if !report.ok() {
        return Ok(answer(false));
    }
    if args.no_verify {
        return Ok(ExitCode::SUCCESS);
    }
    context.ui.line("");
    let proven = verify::prove(context, &install, &fleet, false)?;
    if proven && let Some(first) = fleet.agents.iter().find(|a| a.enabled) {
        context.ui.hint(format!(
            "talk to it: `mosaic agent send {} -m 'hello'`",
            first.name
        ));
        context.ui.hint(format!(
            "watch it: `mosaic agent attach {}` (leave with C-b d)",
            first.name
        ));
    }
    Ok(answer(proven))
}
