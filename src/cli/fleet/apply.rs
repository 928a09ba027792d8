//! `mosaic fleet apply`: brings the machine in line with the roster.

use std::path::PathBuf;
use std::process::ExitCode;

use super::plan::Allow;
use crate::apply::Report;
use crate::cli::{Context, answer};
use crate::converge::{self, Convergence};
use crate::error::{Error, Result};
use crate::host::files;
use crate::host::interrupt::Interrupt;
use crate::install::{Install, Mode};
use crate::plan::{self, Plan, Scope, What};
use crate::resident::Resident;
use crate::services::Services;
use crate::ui::{Tone, cell, toned};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A plan written by `mosaic fleet plan --out`; refused when something has changed since
    plan: Option<PathBuf>,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    allow: Allow,
}

/// Runs it.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    let _lock = converge::lock(&context.paths, "apply the roster")?;
    let fleet = context.roster()?;
    let old = Install::load(&context.paths.state)?.ok_or_else(|| {
        Error::config("the fleet is not installed")
            .hint("run `mosaic fleet up`, or `mosaic fleet install-systemd`")
    })?;
    let install = context.resolve_install(&fleet, old.mode, false)?;
    warn_lost(context, &install, &fleet);
    let convergence = Convergence::new(&install, &fleet)?;
    let interrupt = Interrupt::listen()?;
    let (report, deferred) = match &args.plan {
        Some(path) => {
            let stored: Plan = files::read_json(path)?
                .ok_or_else(|| Error::config(format!("no plan `{}`", path.display())))?;
            if stored.version > plan::VERSION {
                return Err(
                    Error::config("the plan was made by a newer mosaic").hint("upgrade mosaic")
                );
            }
            let deferred = deferred(&stored);
            (
                convergence.apply_stored(&stored, &|| interrupt.is_set())?,
                deferred,
            )
        }
        None => {
            let plan = convergence.plan(args.allow.options(Scope::All))?;
            let deferred = deferred(&plan);
            (convergence.apply(&plan, &|| interrupt.is_set()), deferred)
        }
    };
    if args.json {
        context.ui.json(&report);
    } else {
        print(context, &report);
    }
    finish(context, &report)?;
    residents(context, convergence.services(), fleet.routing.gateway);
    if deferred > 0 {
        context
            .ui
            .hint("deferred agents take the change at their next restart; `--force` does it now");
    }
    Ok(answer(report.ok()))
}

fn deferred(plan: &Plan) -> usize {
    plan.actions
        .iter()
        .filter(|a| matches!(a.what, What::Deferred { .. }))
        .count()
}

/// Says which agents ask for what only units can give.
pub fn warn_lost(context: &Context<'_>, install: &Install, fleet: &crate::fleet::Fleet) {
    if install.mode != Mode::Supervisor {
        return;
    }
    for agent in fleet.agents.iter().filter(|a| a.enabled) {
        let mut lost = Vec::new();
        if agent.sandbox != crate::fleet::Sandbox::Off {
            lost.push("sandbox");
        }
        if agent.limits != crate::fleet::Limits::default() {
            lost.push("limits");
        }
        if !lost.is_empty() {
            context.ui.warn(format!(
                "without systemd `{}` runs without its {}",
                agent.name,
                lost.join(" and ")
            ));
        }
    }
}

/// Converges without a table of files: what `up`, `install-systemd` and `start` do.
///
/// The caller holds the fleet's lock.
///
/// # Errors
/// The manager does not answer.
pub fn converge(
    context: &Context<'_>,
    install: &Install,
    fleet: &crate::fleet::Fleet,
    allow: Allow,
    scope: Scope,
) -> Result<Report> {
    warn_lost(context, install, fleet);
    let convergence = Convergence::new(install, fleet)?;
    let interrupt = Interrupt::listen()?;
    let plan = convergence.plan(allow.options(scope))?;
    let report = convergence.apply(&plan, &|| interrupt.is_set());
    print(context, &report);
    finish(context, &report)?;
    if scope == Scope::All {
        residents(context, convergence.services(), fleet.routing.gateway);
    }
    Ok(report)
}

/// Sees to it that the courier runs, and the gateway where the fleet has one. A fleet without them is a
/// fleet, so that a failure only warns.
pub fn residents(context: &Context<'_>, services: &Services<'_>, gateway: bool) {
    resident(context, services, Resident::Courier, || {
        "messages that wait are not delivered by themselves".to_owned()
    });
    if gateway {
        let install = services.install();
        resident(context, services, Resident::Gateway, || {
            let why = crate::gateway::listen::port_is_taken(install);
            why.map_or_else(
                || "clients find no node of the fleet".to_owned(),
                |e| e.to_string(),
            )
        });
    } else if let Err(e) = services.stop_resident(Resident::Gateway) {
        context.ui.warn(format!("the gateway does not end: {e}"));
    }
}

fn resident(
    context: &Context<'_>,
    services: &Services<'_>,
    which: Resident,
    lost: impl FnOnce() -> String,
) {
    let install = services.install();
    let here = match install.mode {
        // An installation of before there was one.
        Mode::Systemd => install.paths.units.join(which.unit(install)).exists(),
        Mode::Supervisor => install.tmux().server_pid().is_ok(),
    };
    if !here {
        return;
    }
    if let Err(e) = services.start_resident(which) {
        context.ui.warn(format!("{e}: {}", lost()));
        for hint in &e.hints {
            context.ui.hint(hint);
        }
    }
}

/// Warns of what was left out.
fn finish(context: &Context<'_>, report: &Report) -> Result<()> {
    if report.interrupted {
        return Err(
            Error::busy("interrupted: the rest of the plan was not begun")
                .hint("run the same command again"),
        );
    }
    if !report.ok() {
        context
            .ui
            .hint("`mosaic fleet events` and `mosaic fleet doctor` say more");
    }
    Ok(())
}

/// Prints what was done; files in one line each kind, agents one by one.
pub fn print(context: &Context<'_>, report: &Report) {
    if report.outcomes.is_empty() {
        context.ui.line("in sync: nothing to do");
        return;
    }
    let rows: Vec<_> = report
        .outcomes
        .iter()
        .map(|o| {
            let (verb, object) = o.action.what.words();
            let tone = match (&o.action.what, o.ok) {
                (_, false) => Tone::Bad,
                (What::Deferred { .. }, _) => Tone::Attention,
                _ => Tone::Good,
            };
            let detail = match (&o.action.what, o.ok) {
                (What::Deferred { .. }, _) => format!("deferred: {}", o.action.reason),
                (_, true) => format!("{} ({})", o.detail, o.action.reason),
                (_, false) => format!("FAILED: {}", o.detail),
            };
            vec![cell(verb), cell(object), toned(detail, tone)]
        })
        .collect();
    context.ui.table(&["ACTION", "OBJECT", "RESULT"], &rows);
    let hints: std::collections::BTreeSet<&String> = report
        .outcomes
        .iter()
        .filter_map(|o| o.hint.as_ref())
        .collect();
    for hint in hints {
        context.ui.hint(hint);
    }
}

/// The mode of an installation, or the one this machine allows.
///
/// # Errors
/// Installed as units, while this is asked to go without: two sets of agents must not run.
pub fn choose_mode(context: &Context<'_>, no_systemd: bool) -> Result<Mode> {
    let old = Install::load(&context.paths.state)?.map(|i| i.mode);
    match (old, no_systemd) {
        (Some(Mode::Systemd), true) => {
            Err(Error::config("the fleet is installed as systemd units")
                .hint("run `mosaic fleet uninstall` first, or leave `--no-systemd` out"))
        }
        (_, true) => Ok(Mode::Supervisor),
        (Some(mode), false) => Ok(mode),
        (None, false) => match crate::host::manager::Manager::connect() {
            Ok(_) => Ok(Mode::Systemd),
            Err(e) => {
                context
                    .ui
                    .warn(format!("no systemd user manager ({e}): running without it"));
                context.ui.warn("lost without it: limits, sandbox, start at boot, and a restart of the tmux server");
                Ok(Mode::Supervisor)
            }
        },
    }
}
