//! Checks of the live fleet. They only look.

use std::time::Duration;

use axum::http::StatusCode;

use super::{Journal, Seen};
use crate::converge::Convergence;
use crate::error::Result;
use crate::fleet::Fleet;
use crate::gateway::{ask, listen, secret};
use crate::host::manager::{Manager, Unit};
use crate::host::procfs;
use crate::host::tmux::{Pane, Tmux};
use crate::install::{Install, Mode};
use crate::paths;
use crate::plan::{Options, Scope, What};
use crate::record::Run;
use crate::resident::Resident;
use crate::services::Services;
use crate::terminal::holder::on_a_pane_of;

/// Process and session names of the user's default tmux server; `None` when there is none. The
/// question is asked with `-N`, so that it never starts one.
pub fn default_server(install: &Install) -> Option<(i32, Vec<String>)> {
    let tmpdir = std::env::var_os("TMUX_TMPDIR").map(std::path::PathBuf::from);
    let socket = paths::tmux_socket(
        "default",
        tmpdir.as_deref(),
        rustix::process::getuid().as_raw(),
    )
    .ok()?;
    let tmux = Tmux {
        program: install.tmux.clone(),
        socket,
    };
    let pid = tmux.server_pid().ok()?;
    let mut sessions: Vec<String> = tmux.panes().ok()?.into_iter().map(|p| p.session).collect();
    sessions.sort();
    sessions.dedup();
    Some((pid, sessions))
}

/// Makes the checks.
pub fn check(journal: &mut Journal<'_>, install: &Install, fleet: &Fleet) {
    let tmux = install.tmux();
    if install.mode == Mode::Systemd {
        let reached = journal.check("service manager answers", || {
            let manager = Manager::connect()?;
            Ok(Seen::pass(format!(
                "systemd {} over {}",
                manager.version()?,
                manager.transport()
            )))
        });
        if !reached {
            return;
        }
    }
    let up = journal.check("tmux server answers", || {
        let pid = tmux.server_pid()?;
        Ok(Seen::pass(format!(
            "pid {pid} on {}",
            install.socket.display()
        )))
    });
    if !up {
        return;
    }
    let name = match install.mode {
        Mode::Systemd => "holder unit owns the tmux server",
        Mode::Supervisor => "the tmux server is the fleet's own",
    };
    journal.check(name, || owns_server(install));
    journal.check("no stray tmux server on the socket's name", || {
        stray_servers(install, &tmux)
    });
    let looked = Services::connect(install).and_then(|s| Ok((s.details()?, tmux.panes()?)));
    match looked {
        Ok((units, panes)) => {
            for agent in crate::launch::installed(&install.paths) {
                let enabled = fleet
                    .agents
                    .iter()
                    .any(|a| a.name.as_str() == agent && a.enabled);
                journal.check(format!("agent {agent} is where it should be"), || {
                    Ok(agent_in_place(install, &agent, enabled, &units, &panes))
                });
            }
        }
        Err(e) => {
            journal.check("agents can be listed", || Err(e));
        }
    }
    if install.mode == Mode::Systemd {
        journal.check("limits are in force", || limits(install));
        journal.check("the fleet outlives the login (linger)", || {
            Ok(match crate::host::linger::missing_for() {
                None => Seen::pass("linger is on"),
                Some(user) => Seen::warn(format!("linger is off: `loginctl enable-linger {user}`")),
            })
        });
    }
    if fleet.routing.gateway {
        journal.check("the gateway answers, and only who has its secret", || {
            gateway(install)
        });
    }
    journal.check("no drift", || drift(install, fleet));
}

fn owns_server(install: &Install) -> Result<Seen> {
    let services = Services::connect(install)?;
    Ok(match services.foreign_server()? {
        None => Seen::pass("the process on the socket is the fleet's server"),
        Some(pid) => Seen::fail(format!(
            "process {pid} holds the socket and is not the fleet's server"
        )),
    })
}

/// A server that lost its socket file to another one is invisible to every client, and its panes
/// with it.
fn stray_servers(install: &Install, tmux: &Tmux) -> Result<Seen> {
    let own = tmux.server_pid()?;
    let socket = install.socket.to_string_lossy().into_owned();
    let strays: Vec<String> = procfs::tmux_servers()
        .into_iter()
        .filter(|(pid, words)| {
            let named = |w: &String| *w == socket || *w == install.socket_name;
            *pid != own && words.iter().any(named)
        })
        .map(|(pid, _)| pid.to_string())
        .collect();
    Ok(if strays.is_empty() {
        Seen::pass(format!("pid {own} is the only one"))
    } else {
        Seen::fail(format!("also: pid {}", strays.join(", ")))
    })
}

fn agent_in_place(
    install: &Install,
    agent: &str,
    enabled: bool,
    units: &[Unit],
    panes: &[Pane],
) -> Seen {
    let unit_name = install.agent_unit(agent);
    let unit = units.iter().find(|u| u.name == unit_name);
    let active = unit.map_or("inactive", |u| u.active.as_str());
    if !enabled {
        return Seen::when(
            active != "active",
            format!("not in the roster or disabled, {active}"),
        );
    }
    if crate::record::held(&install.paths, agent) && active != "active" {
        return Seen::skip("stopped by hand");
    }
    let Some(unit) = unit.filter(|u| u.active == "active" && u.main_pid > 0) else {
        return Seen::fail(format!("unit is {active}"));
    };
    let pid = unit.main_pid;
    if install.mode == Mode::Systemd {
        match procfs::cgroup(pid) {
            Some(group) if group.rsplit('/').next() == Some(&unit_name) => {}
            Some(group) => {
                return Seen::fail(format!("main process {pid} is in control group {group}"));
            }
            None => return Seen::fail(format!("main process {pid} is gone")),
        }
    }
    if !on_a_pane_of(agent, pid, panes) {
        return Seen::fail(format!("main process {pid} is on no pane of `{agent}`"));
    }
    let recorded = Run::load(&install.paths, agent).ok().flatten();
    if recorded.is_none_or(|r| r.pid != pid) {
        return Seen::fail(format!("main process {pid} did not record its start"));
    }
    let pane = panes
        .iter()
        .find(|p| p.agent == agent)
        .map_or("?", |p| p.id.as_str());
    Seen::pass(match install.mode {
        Mode::Systemd => format!("pid {pid} in {unit_name}, on pane {pane}"),
        Mode::Supervisor => format!("pid {pid} on pane {pane}"),
    })
}

/// Compares the limits written to the drop-ins with what the kernel enforces, where it can be read.
fn limits(install: &Install) -> Result<Seen> {
    let services = Services::connect(install)?;
    let mut seen = 0;
    for unit in services.agents()? {
        let Some(agent) = install.agent_of_unit(&unit.name) else {
            continue;
        };
        let Ok(launch) = crate::launch::Launch::load(&install.paths.launch(agent)) else {
            continue;
        };
        let Some(wanted) = launch.agent.limits.memory_max else {
            continue;
        };
        if unit.main_pid == 0 {
            continue;
        }
        match procfs::memory_limit(unit.main_pid) {
            // The kernel counts in pages.
            Some(limit) if limit.abs_diff(wanted) < 65_536 => seen += 1,
            Some(limit) => {
                return Ok(Seen::fail(format!(
                    "{agent}: memory_max is {wanted}, the kernel enforces {limit}"
                )));
            }
            None => {
                return Ok(Seen::warn(format!(
                    "{agent}: memory_max is not enforced: the memory controller is not delegated to this user's manager"
                )));
            }
        }
    }
    Ok(if seen == 0 {
        Seen::skip("no agent has a memory limit")
    } else {
        Seen::pass(format!("memory limits of agents: {seen}"))
    })
}

/// It answers whoever asks whether it is up, and nothing else without its secret.
fn gateway(install: &Install) -> Result<Seen> {
    /// It answers this by itself, in milliseconds.
    const WAIT: Duration = Duration::from_secs(3);
    let Some(record) = Resident::Gateway.running(install) else {
        return Ok(Seen::fail("it does not run"));
    };
    let Some(at) = record.listens else {
        return Ok(Seen::fail(listen::port_is_taken(install).map_or_else(
            || "it does not listen yet".to_owned(),
            |e| e.to_string(),
        )));
    };
    let secret = secret::obtain(&install.paths)?;
    let up = ask::get(&at, "/status", None, WAIT)?.status;
    let without = ask::get(&at, "/metrics", None, WAIT)?.status;
    let with = ask::get(&at, "/metrics", Some(&secret), WAIT)?.status;
    Ok(Seen::when(
        up.is_success() && without == StatusCode::UNAUTHORIZED && with.is_success(),
        format!(
            "{}, pid {}: status {}, without the secret {}, with it {}",
            at.url,
            record.pid,
            up.as_u16(),
            without.as_u16(),
            with.as_u16()
        ),
    ))
}

fn drift(install: &Install, fleet: &Fleet) -> Result<Seen> {
    let convergence = Convergence::new(install, fleet)?;
    let plan = convergence.plan(Options {
        scope: Scope::All,
        force: false,
        replace: false,
    })?;
    let deferred = plan
        .actions
        .iter()
        .filter(|a| matches!(a.what, What::Deferred { .. }))
        .count();
    Ok(if plan.in_sync() {
        Seen::pass("plan is empty")
    } else if deferred == plan.actions.len() {
        Seen::warn(format!(
            "{deferred} agents wait for a change until they are idle"
        ))
    } else {
        Seen::fail(format!(
            "actions pending: {} (`mosaic fleet plan` shows them)",
            plan.actions.len()
        ))
    })
}
