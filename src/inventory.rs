//! What is on the machine now, as plain data: the planner's other input.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::desired::MARK;
use crate::error::Result;
use crate::host::files;
use crate::host::manager::Unit;
use crate::host::tmux::{Pane, TmuxError};
use crate::install::{Install, Mode};
use crate::record::Run;
use crate::services::Services;

/// A file found where mosaic has, or wants, one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FoundFile {
    /// Digest of its content.
    pub digest: String,
    /// mosaic wrote it.
    pub ours: bool,
}

/// What an agent looks like from outside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FoundAgent {
    /// The unit, or the supervisor's equal; default when there is none.
    pub unit: Unit,
    /// Digest recorded by the process that runs now; `None` when none runs, or it recorded none.
    pub digest: Option<String>,
    /// A pane that mosaic made.
    pub pane: Option<String>,
    /// A session of its name that mosaic did not make.
    pub foreign: bool,
    /// Why it must not be disturbed; `None` when it is known to be idle.
    pub occupied: Option<String>,
    /// Stopped by hand.
    pub held: bool,
}

impl FoundAgent {
    /// Running, or on its way.
    pub fn up(&self) -> bool {
        matches!(
            self.unit.active.as_str(),
            "active" | "activating" | "reloading"
        )
    }
}

/// The whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inventory {
    /// By path: those wanted, and those left from earlier rosters.
    pub files: BTreeMap<PathBuf, FoundFile>,
    /// Links in the directories mosaic links in.
    pub links: BTreeMap<PathBuf, PathBuf>,
    /// By name: those wanted, and those left over.
    pub agents: BTreeMap<String, FoundAgent>,
    /// The tmux server answers.
    pub server: bool,
    /// The tmux server belongs to somebody else.
    pub foreign_server: Option<i32>,
    /// Unit files were written and the manager has not read them yet.
    pub reload_pending: bool,
    /// The record of the last installation names another socket, and that one is in use.
    pub other_socket: Option<PathBuf>,
}

impl Inventory {
    /// Identifies what a plan was made from; changes with everything a plan depends on, but for how
    /// busy agents are and process ids.
    pub fn fingerprint(&self) -> String {
        let mut stable = self.clone();
        for agent in stable.agents.values_mut() {
            agent.occupied = None;
            agent.unit = Unit {
                name: agent.unit.name.clone(),
                active: agent.unit.active.clone(),
                ..Unit::default()
            };
        }
        files::digest(files::to_json(&stable).as_bytes())
    }
}

/// Marks that units were written; removed once the manager has read them.
pub fn reload_mark(install: &Install) -> PathBuf {
    install.paths.state.join("reload-pending")
}

/// Looks. `wanted_files` are read whether or not mosaic wrote them; `occupied` tells, for running
/// agents, why one must not be disturbed.
///
/// # Errors
/// The manager or tmux hang or refuse. A tmux server that is not there is no error.
pub fn observe(
    install: &Install,
    wanted_files: &BTreeSet<PathBuf>,
    wanted_agents: &BTreeSet<String>,
    services: &Services<'_>,
    occupied: &(dyn Fn(&str, &[Pane]) -> Option<String> + Sync),
) -> Result<Inventory> {
    let tmux = install.tmux();
    let (panes, server) = match tmux.panes() {
        Ok(panes) => (panes, true),
        Err(TmuxError::NoServer(_)) => (Vec::new(), false),
        Err(e) => return Err(e.into()),
    };
    let mut found = Inventory {
        files: BTreeMap::new(),
        links: BTreeMap::new(),
        agents: BTreeMap::new(),
        server,
        foreign_server: None,
        reload_pending: reload_mark(install).exists(),
        other_socket: other_socket(install)?,
    };
    if server {
        found.foreign_server = services.foreign_server()?;
    }
    for path in wanted_files {
        look_at(path, &mut found.files)?;
    }
    let mut names = wanted_agents.clone();
    leftovers(install, &mut found, &mut names)?;
    let units = services.agents()?;
    for unit in &units {
        if unit.load != "not-found"
            && let Some(agent) = install.agent_of_unit(&unit.name)
        {
            names.insert(agent.to_owned());
        }
    }
    for pane in panes
        .iter()
        .filter(|p| crate::names::check(&p.agent).is_ok())
    {
        names.insert(pane.agent.clone());
    }
    for name in names {
        let unit_name = install.agent_unit(&name);
        let unit = units
            .iter()
            .find(|u| u.name == unit_name)
            .cloned()
            .unwrap_or_default();
        let run = Run::load(&install.paths, &name)
            .ok()
            .flatten()
            .filter(Run::alive);
        let pane = crate::terminal::pane::find(&panes, &name);
        let agent = FoundAgent {
            digest: run.map(|r| r.digest),
            foreign: pane == crate::terminal::pane::Found::Foreign,
            pane: match pane {
                crate::terminal::pane::Found::Ours(p) => Some(p.id.clone()),
                _ => None,
            },
            held: crate::record::held(&install.paths, &name),
            occupied: None,
            unit,
        };
        found.agents.insert(name, agent);
    }
    ask_occupied(&mut found.agents, &|name| occupied(name, &panes));
    Ok(found)
}

/// Asks of all running agents why they must not be disturbed, several at a time: one that does not
/// answer is waited for.
fn ask_occupied(
    agents: &mut BTreeMap<String, FoundAgent>,
    occupied: &(dyn Fn(&str) -> Option<String> + Sync),
) {
    const AT_ONCE: usize = 16;
    let mut up: Vec<_> = agents.iter_mut().filter(|(_, a)| a.up()).collect();
    for some in up.chunks_mut(AT_ONCE) {
        std::thread::scope(|scope| {
            for (name, agent) in some {
                scope.spawn(move || agent.occupied = occupied(name));
            }
        });
    }
}

/// An earlier installation's socket, when it is another one and a server still answers there.
fn other_socket(install: &Install) -> Result<Option<PathBuf>> {
    let Some(old) = Install::load(&install.paths.state)? else {
        return Ok(None);
    };
    Ok((old.socket != install.socket && old.tmux().server_pid().is_ok()).then_some(old.socket))
}

fn look_at(path: &Path, into: &mut BTreeMap<PathBuf, FoundFile>) -> Result<()> {
    if let Some(text) = files::read_optional(path)? {
        // Files in our own state directory are ours by their place.
        let ours = text.starts_with(MARK) || !is_unit(path);
        into.insert(
            path.to_owned(),
            FoundFile {
                digest: files::digest(text.as_bytes()),
                ours,
            },
        );
    }
    Ok(())
}

fn is_unit(path: &Path) -> bool {
    path.extension()
        .is_some_and(|e| e == "service" || e == "target" || e == "conf")
        && path.file_name().is_some_and(|n| n != "tmux.conf")
}

/// Finds what earlier rosters left: launch files, drop-ins, links.
fn leftovers(install: &Install, found: &mut Inventory, names: &mut BTreeSet<String>) -> Result<()> {
    for path in list(&install.paths.state.join("launch")) {
        if path.extension().is_some_and(|e| e == "json") {
            if let Some(name) = path
                .file_stem()
                .and_then(|s| s.to_str())
                .filter(|name| crate::names::check(name).is_ok())
            {
                names.insert(name.to_owned());
            }
            look_at(&path, &mut found.files)?;
        }
    }
    if install.mode != Mode::Systemd {
        return Ok(());
    }
    // A fleet may have had a gateway.
    look_at(
        &install.paths.units.join(install.gateway_unit()),
        &mut found.files,
    )?;
    for dir in list(&install.paths.units) {
        let name = dir
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        if let Some(agent) = name
            .strip_suffix(".d")
            .and_then(|n| install.agent_of_unit(n))
        {
            names.insert(agent.to_owned());
            look_at(&dir.join("50-roster.conf"), &mut found.files)?;
        }
    }
    let wants = install
        .paths
        .units
        .join(format!("{}.wants", install.target_unit()));
    let boot = install
        .paths
        .units
        .join("default.target.wants")
        .join(install.target_unit());
    for path in list(&wants).into_iter().chain([boot]) {
        if let Ok(target) = std::fs::read_link(&path)
            && is_own_link(install, &path, &target)
        {
            found.links.insert(path, target);
        }
    }
    Ok(())
}

/// A link as mosaic makes them; those that a person made with `systemctl add-wants` are theirs.
fn is_own_link(install: &Install, path: &Path, target: &Path) -> bool {
    let name = path
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let known = name == install.holder_unit()
        || name == install.target_unit()
        || name == install.courier_unit()
        || name == install.gateway_unit()
        || install.agent_of_unit(&name).is_some();
    known && target.starts_with("..")
}

fn list(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)
        .map(|d| d.flatten().map(|e| e.path()).collect())
        .unwrap_or_default();
    paths.sort();
    paths
}
