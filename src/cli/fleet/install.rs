//! `mosaic fleet install-systemd`: units, drop-ins, launch files, links; nothing is started.

use std::process::ExitCode;

use super::apply;
use super::plan::Allow;
use crate::cli::{Context, answer};
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
    let fleet = context.roster()?;
    Manager::connect()?;
    if let Some(old) = Install::load(&context.paths.state)?
        && old.mode == Mode::Supervisor
    {
        crate::terminal::supervised::stop_all(&old)?;
        context.ui.status("stopped the agents that ran without systemd");
    }
    let install = context.resolve_install(&fleet, Mode::Systemd, true)?;
    let report = apply::converge(context, &install, &fleet, args.allow, Scope::Files)?;
    linger(context);
    if report.ok() {
        context.ui.hint("start the fleet: `mosaic fleet start`");
    }
    Ok(answer(report.ok()))
}

/// Says what to type when the fleet would end with the last login.
pub fn linger(context: &Context<'_>) {
    if let Some(user) = without_linger() {
        context.ui.warn("without linger the fleet stops about ten seconds after you log out, and does not start at boot");
        context.ui.hint(format!("turn it on once: `loginctl enable-linger {user}` (may need sudo)"));
    }
}

/// The user's name when linger is off; `None` when it is on. It is a file, so that no bus is needed.
pub fn without_linger() -> Option<String> {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).ok().or_else(user_name)?;
    (!std::path::Path::new("/var/lib/systemd/linger").join(&user).exists()).then_some(user)
}

fn user_name() -> Option<String> {
    let uid = rustix::process::getuid().as_raw().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    })
}
