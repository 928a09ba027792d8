//! `mosaic fleet start|stop|restart`.

use std::process::ExitCode;

use crate::apply::run_jobs;
use crate::cli::context::Selection;
use crate::cli::{Context, answer};
use crate::converge;
use crate::error::{Error, Result};
use crate::host::manager::Verb;
use crate::install::Install;
use crate::launch::{Launch, installed as installed_agents};
use crate::resident::Resident;
use crate::routing::policy::Policy;
use crate::services::Services;
use crate::ui::{Tone, cell, toned};

/// Arguments of `start`.
#[derive(Debug, clap::Args)]
pub struct StartArgs {
    #[command(flatten)]
    selection: Selection,
    /// End a session that mosaic did not make and that has an agent's name
    #[arg(long)]
    replace: bool,
}

/// Arguments of `stop`.
#[derive(Debug, clap::Args)]
pub struct StopArgs {
    #[command(flatten)]
    selection: Selection,
}

/// Arguments of `restart`.
#[derive(Debug, clap::Args)]
pub struct RestartArgs {
    #[command(flatten)]
    selection: Selection,
    /// Restart agents although they work, or nobody can tell
    #[arg(long)]
    force: bool,
}

/// Starts agents; the whole fleet when none is named.
pub fn start(context: &Context<'_>, args: &StartArgs) -> Result<ExitCode> {
    let _lock = converge::lock(&context.paths, "start agents")?;
    let install = context.install()?;
    let mut agents = context.select(&args.selection)?;
    if agents.is_empty() {
        // What the roster says now is not applied here: `start` starts what is installed.
        agents = enabled(&install)?;
        for agent in &agents {
            crate::record::release(&install.paths, agent)?;
        }
    }
    let services = Services::connect(&install)?;
    refuse_foreign(&install, &services, &agents, args.replace)?;
    services.start_server()?;
    let code = drive(context, &services, Verb::Start, &agents)?;
    super::apply::residents(context, &services, gateway(&install)?);
    Ok(code)
}

/// Stops agents; the whole fleet with its tmux server when none is named.
pub fn stop(context: &Context<'_>, args: &StopArgs) -> Result<ExitCode> {
    let _lock = converge::lock(&context.paths, "stop agents")?;
    let install = context.install()?;
    let agents = context.select(&args.selection)?;
    let services = Services::connect(&install)?;
    if agents.is_empty() {
        let all = installed_agents(&install.paths);
        let code = drive(context, &services, Verb::Stop, &all)?;
        hold(&install, &all)?;
        let persons = persons_sessions(&install);
        if !persons.is_empty() {
            context.ui.warn(format!(
                "the tmux server stays up: mosaic did not make {}",
                persons.join(", ")
            ));
            context
                .ui
                .hint("end these sessions, then `mosaic fleet stop` once more");
            return Ok(code);
        }
        services.stop_resident(Resident::Gateway)?;
        services.stop_resident(Resident::Courier)?;
        services.stop_server()?;
        context.ui.status("the fleet's tmux server is stopped");
        return Ok(code);
    }
    let code = drive(context, &services, Verb::Stop, &agents)?;
    hold(&install, &agents)?;
    Ok(code)
}

/// Restarts agents; all enabled ones when none is named. Spares those that work.
pub fn restart(context: &Context<'_>, args: &RestartArgs) -> Result<ExitCode> {
    let _lock = converge::lock(&context.paths, "restart agents")?;
    let install = context.install()?;
    let mut agents = context.select(&args.selection)?;
    let named = !agents.is_empty();
    if !named {
        agents = enabled(&install)?;
    }
    let services = Services::connect(&install)?;
    services.start_server()?;
    let mut spared = false;
    if !args.force {
        let panes = install.tmux().panes()?;
        let units = services.agents()?;
        agents.retain(|agent| {
            let unit = install.agent_unit(agent);
            let up = units.iter().any(|u| u.name == unit && u.active == "active");
            let busy = up
                .then(|| converge::occupied(&install, agent, &panes))
                .flatten();
            if let Some(state) = &busy {
                spared = true;
                context
                    .ui
                    .warn(format!("`{agent}` is {state} and was not restarted"));
                context.ui.hint(format!(
                    "`mosaic fleet restart {agent} --force` restarts it all the same"
                ));
            }
            busy.is_none()
        });
    }
    let code = drive(context, &services, Verb::Restart, &agents)?;
    super::apply::residents(context, &services, gateway(&install)?);
    Ok(if spared { answer(false) } else { code })
}

/// Sessions on the fleet's server that mosaic did not make: they would end with it.
pub fn persons_sessions(install: &Install) -> Vec<String> {
    let panes = install.tmux().panes().unwrap_or_default();
    let mut sessions: Vec<String> = panes
        .iter()
        .filter(|p| p.session != install.holder_session)
        .filter(|p| {
            !panes
                .iter()
                .any(|q| q.session == p.session && !q.agent.is_empty())
        })
        .map(|p| format!("session `{}`", p.session))
        .collect();
    sessions.sort();
    sessions.dedup();
    sessions
}

/// Marks agents as stopped by hand, so that the next plan leaves them down.
fn hold(install: &Install, agents: &[String]) -> Result<()> {
    for agent in agents {
        crate::record::hold(&install.paths, agent)?;
    }
    Ok(())
}

/// Whether the fleet that is installed has a gateway.
fn gateway(install: &Install) -> Result<bool> {
    Ok(Policy::load(&install.paths)?.gateway)
}

fn enabled(install: &Install) -> Result<Vec<String>> {
    let mut agents = Vec::new();
    for name in installed_agents(&install.paths) {
        if Launch::load(&install.paths.launch(&name))?.agent.enabled {
            agents.push(name);
        }
    }
    if agents.is_empty() {
        return Err(
            Error::config("no agent is installed and enabled").hint("run `mosaic fleet apply`")
        );
    }
    Ok(agents)
}

fn refuse_foreign(
    install: &Install,
    services: &Services<'_>,
    agents: &[String],
    replace: bool,
) -> Result<()> {
    if let Some(pid) = services.foreign_server()? {
        return Err(crate::terminal::holder::foreign_server(install, pid));
    }
    let Ok(panes) = install.tmux().panes() else {
        return Ok(());
    };
    for agent in agents {
        if crate::terminal::pane::find(&panes, agent) == crate::terminal::pane::Found::Foreign {
            if !replace {
                return Err(crate::terminal::pane::foreign(install, agent));
            }
            install.tmux().kill_session(agent)?;
        }
    }
    Ok(())
}

/// Runs the jobs and prints one line each. The caller holds the fleet's lock.
fn drive(
    context: &Context<'_>,
    services: &Services<'_>,
    verb: Verb,
    agents: &[String],
) -> Result<ExitCode> {
    let results = run_jobs(services, verb, agents)?;
    let rows: Vec<_> = results
        .iter()
        .map(|(agent, result)| match result {
            Ok(text) => vec![cell(agent), toned(text, Tone::Good)],
            Err(e) => vec![cell(agent), toned(format!("FAILED: {e}"), Tone::Bad)],
        })
        .collect();
    if !rows.is_empty() {
        context.ui.table(&["AGENT", "RESULT"], &rows);
    }
    let ok = results.iter().all(|(_, r)| r.is_ok());
    if !ok {
        context.ui.hint("`mosaic fleet events` says how they ended");
    }
    Ok(answer(ok))
}
