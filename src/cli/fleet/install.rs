//! `mosaic fleet install-systemd`: units, drop-ins, launch files, links; nothing is started.

use std::process::ExitCode;

use super::apply;
use super::plan::Allow;
use crate::cli::{Context, answer};
use crate::converge;
use crate::error::Result;
use crate::host::manager::Manager;
use crate::install::{Install, Mode};
use crate::plan::Scope;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    allow: Allow,
}

/// Runs it.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    let _lock = converge::lock(&context.paths, "install the fleet")?;
    let fleet = context.roster()?;
    Manager::connect()?;
    let install = context.resolve_install(&fleet, Mode::Systemd, true)?;
    if let Some(old) = Install::load(&context.paths.state)?
        && old.mode == Mode::Supervisor
    {
        crate::terminal::supervised::stop_all(&old)?;
        context
            .ui
            .status("stopped the agents that ran without systemd");
    }
    let report = apply::converge(context, &install, &fleet, args.allow, Scope::Files)?;
    linger(context);
    if report.ok() {
        context.ui.hint("start the fleet: `mosaic fleet start`");
    }
    Ok(answer(report.ok()))
}

/// Says what to type when the fleet would end with the last login.
pub fn linger(context: &Context<'_>) {
    if let Some(user) = crate::host::linger::missing_for() {
        context.ui.warn("without linger the fleet stops about ten seconds after you log out, and does not start at boot");
        context.ui.hint(format!(
            "turn it on once: `loginctl enable-linger {user}` (may need sudo)"
        ));
    }
}
