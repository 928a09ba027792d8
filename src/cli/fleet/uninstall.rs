//! `mosaic fleet uninstall`: stops everything and removes what mosaic wrote, but the roster.

use std::process::ExitCode;
use std::time::Duration;

use crate::apply;
use crate::cli::{Context, answer};
use crate::converge::{self, Convergence};
use crate::delivery::mailbox::Mailbox;
use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::host::files;
use crate::host::manager::Verb;
use crate::install::Install;
use crate::inventory;
use crate::plan::{Options, Scope};
use crate::resident::Resident;

/// How long the target may take to stop; everything in it has stopped before.
const TARGET_TIMEOUT: Duration = Duration::from_secs(30);

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Remove conversations, reports, secrets, messages and the event log, too
    #[arg(long)]
    purge: bool,
}

/// Runs it.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    let install = context.install()?;
    if let Some(waiting) = waiting(&install).filter(|n| *n > 0) {
        context.ui.status(match args.purge {
            true => format!("{waiting} messages that wait in the mailbox are lost with `--purge`"),
            false => format!(
                "{waiting} messages wait in the mailbox: they stay, and are delivered if the fleet comes up again"
            ),
        });
    }
    if !args.yes {
        if !context.ui.interactive() {
            return Err(Error::usage("uninstall stops every agent")
                .hint("say `--yes` to do it without being asked"));
        }
        if !context.ui.confirm("stop every agent and remove the units?") {
            return Err(Error::no("not confirmed: nothing was done"));
        }
    }
    let _lock = converge::lock(&install.paths, "uninstall the fleet")?;
    let persons = super::jobs::persons_sessions(&install);
    if !persons.is_empty() {
        return Err(Error::no(format!(
            "mosaic did not make {} on the fleet's tmux server",
            persons.join(", ")
        ))
        .hint("end these sessions first: they would end with the server"));
    }
    let nobody = Fleet {
        socket_name: install.socket_name.clone(),
        holder_session: install.holder_session.clone(),
        agents: Vec::new(),
        routing: Default::default(),
    };
    let mut convergence = Convergence::new(&install, &nobody)?;
    // A fleet that wants no file at all: the plan then removes every one that mosaic wrote.
    convergence.desired.files.clear();
    convergence.desired.links.clear();
    let mut plan = convergence.plan(Options {
        scope: Scope::All,
        force: true,
        replace: false,
    })?;
    for action in &mut plan.actions {
        "uninstall".clone_into(&mut action.reason);
    }
    let (stops, rest): (Vec<_>, Vec<_>) = plan.actions.iter().cloned().partition(|a| {
        matches!(
            a.what,
            crate::plan::What::Stop { .. } | crate::plan::What::Close { .. }
        )
    });
    let part = |actions| crate::plan::Plan {
        actions,
        ..plan.clone()
    };
    let mut report = apply::apply(
        &part(stops),
        &convergence.desired,
        convergence.services(),
        &|| false,
    );
    for which in [Resident::Gateway, Resident::Courier] {
        convergence.services().stop_resident(which)?;
    }
    convergence.services().stop_server()?;
    if let Some(manager) = convergence.services().manager() {
        // What is active or failed stays listed without its file.
        manager.jobs(Verb::Stop, &[install.target_unit()], TARGET_TIMEOUT)?;
        let agents = crate::launch::installed(&install.paths);
        let units: Vec<_> = agents.iter().map(|a| install.agent_unit(a)).collect();
        manager.reset_failed(&units)?;
        manager.reset_failed(&[install.courier_unit(), install.gateway_unit()])?;
    }
    report.outcomes.extend(
        apply::apply(
            &part(rest),
            &convergence.desired,
            convergence.services(),
            &|| false,
        )
        .outcomes,
    );
    for unit in crate::unit::templates(&install) {
        let path = install.paths.units.join(&unit.path);
        if files::read_optional(&path)?.is_some_and(|t| t.starts_with(crate::desired::MARK)) {
            files::remove(&path)?;
        }
    }
    files::remove_dir_if_empty(
        &install
            .paths
            .units
            .join(format!("{}.wants", install.target_unit())),
    );
    if let Some(manager) = convergence.services().manager() {
        manager.reload()?;
    }
    files::remove(&inventory::reload_mark(&install))?;
    files::remove(&install.paths.tmux_conf())?;
    files::remove(&install.paths.routing_policy())?;
    super::apply::print(context, &report);
    if report.ok() {
        files::remove(&install.paths.install())?;
        // Locks, marks and records of processes that are gone.
        remove_all(&install.paths.runtime)?;
        if args.purge {
            remove_all(&install.paths.state)?;
        } else {
            context.ui.status(format!(
                "conversations, the mailbox, pins and the event log stay in {} (`--purge` removes them)",
                install.paths.state.display()
            ));
        }
        context.ui.status(format!(
            "the roster stays: {}",
            context.paths.roster.display()
        ));
    }
    Ok(answer(report.ok()))
}

fn remove_all(dir: &std::path::Path) -> Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(format!("cannot remove `{}`", dir.display()), e))
        }
        _ => Ok(()),
    }
}

/// How many messages wait; `None` where there is no mailbox that can be read.
fn waiting(install: &Install) -> Option<usize> {
    if !install.paths.mailbox().exists() {
        return None;
    }
    Mailbox::open(&install.paths).and_then(|m| m.check()).ok()
}
