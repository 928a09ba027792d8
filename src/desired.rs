//! What should be on the machine: files, links and running agents, from a resolved fleet and the
//! install record. Pure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::fleet::{Agent, Fleet};
use crate::host::files;
use crate::install::{Install, Mode};
use crate::launch::{self, Launch};
use crate::unit;

/// First words of every unit file mosaic writes: a file without them is not ours to touch.
pub const MARK: &str = "# Written by mosaic";

/// Lines of scrollback per pane, unless an agent needs more.
pub const HISTORY: u32 = 20_000;

/// A file as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Content.
    pub text: String,
    /// Permission bits.
    pub mode: u32,
    /// A change makes a daemon-reload necessary.
    pub unit: bool,
}

/// An agent as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredAgent {
    /// It should run.
    pub enabled: bool,
    /// [`Launch::digest`] of the launch file.
    pub digest: String,
    /// The launch file.
    pub launch: Launch,
}

/// The whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// By absolute path.
    pub files: BTreeMap<PathBuf, File>,
    /// Symbolic links with their targets, by absolute path.
    pub links: BTreeMap<PathBuf, PathBuf>,
    /// By name.
    pub agents: BTreeMap<String, DesiredAgent>,
}

/// What the launch files need from outside the roster, found by the caller.
pub trait Lookup {
    /// Absolute path of a program, looked up on a PATH; `None` when it is not installed.
    fn program(&self, name: &str, path: &str, directory: &Path) -> Option<PathBuf>;
    /// A directory without `..` and symbolic links; itself when it does not exist.
    fn canonical(&self, directory: &Path) -> PathBuf;
    /// Digest over the content of environment files, missing ones included as missing.
    fn digest(&self, files: &[PathBuf]) -> String;
}

/// The launch file of an agent.
pub fn launch(install: &Install, agent: &Agent, lookup: &dyn Lookup) -> Launch {
    let mut agent = agent.clone();
    for word in &mut agent.command {
        *word = word.replace("{mosaic}", &install.mosaic.to_string_lossy());
    }
    // systemd ignores a path with `..` in it, and a sandboxed agent could then not write to its own
    // directory. Other paths stay as the roster has them: a link may be moved to a new release.
    if agent
        .working_directory
        .components()
        .any(|c| c == std::path::Component::ParentDir)
    {
        agent.working_directory = lookup.canonical(&agent.working_directory);
    }
    let path = agent
        .env
        .get("PATH")
        .cloned()
        .unwrap_or_else(|| install.path.clone());
    let program = agent
        .command
        .first()
        .and_then(|name| lookup.program(name, &path, &agent.working_directory));
    Launch {
        version: launch::VERSION,
        program,
        path,
        env_files_digest: lookup.digest(&agent.env_files),
        agent,
    }
}

/// Renders everything.
pub fn render(install: &Install, fleet: &Fleet, lookup: &dyn Lookup) -> Desired {
    let mut desired = Desired {
        files: BTreeMap::new(),
        links: BTreeMap::new(),
        agents: BTreeMap::new(),
    };
    let state_file = |text: String| File {
        text,
        mode: files::PRIVATE,
        unit: false,
    };
    let paths = &install.paths;
    desired
        .files
        .insert(paths.install(), state_file(files::to_json(install)));
    // Read at use: a change of it restarts nothing.
    desired.files.insert(
        paths.routing_policy(),
        state_file(files::to_json(&fleet.routing)),
    );
    desired.files.insert(
        paths.tmux_conf(),
        state_file(crate::terminal::holder::conf(install, HISTORY)),
    );
    for agent in &fleet.agents {
        let launch = launch(install, agent, lookup);
        desired.files.insert(
            paths.launch(agent.name.as_str()),
            state_file(files::to_json(&launch)),
        );
        desired.agents.insert(
            agent.name.to_string(),
            DesiredAgent {
                enabled: agent.enabled,
                digest: launch.digest(),
                launch,
            },
        );
    }
    if install.mode == Mode::Systemd {
        units(install, fleet, &mut desired);
    }
    desired
}

fn units(install: &Install, fleet: &Fleet, desired: &mut Desired) {
    let dir = &install.paths.units;
    let unit_file = |text: String| File {
        text,
        mode: files::PUBLIC,
        unit: true,
    };
    for file in unit::templates(install) {
        desired
            .files
            .insert(dir.join(&file.path), unit_file(file.text));
    }
    if fleet.routing.gateway {
        let file = unit::gateway(install);
        desired
            .files
            .insert(dir.join(&file.path), unit_file(file.text));
    }
    let wants = dir.join(format!("{}.wants", install.target_unit()));
    let mut want = |unit: String, file: String| {
        desired
            .links
            .insert(wants.join(unit), PathBuf::from("..").join(file));
    };
    want(install.holder_unit(), install.holder_unit());
    want(install.courier_unit(), install.courier_unit());
    if fleet.routing.gateway {
        want(install.gateway_unit(), install.gateway_unit());
    }
    for agent in fleet.agents.iter().filter(|a| a.enabled) {
        want(
            install.agent_unit(agent.name.as_str()),
            install.agent_template(),
        );
    }
    if install.starts_at_boot() {
        desired.links.insert(
            dir.join("default.target.wants").join(install.target_unit()),
            PathBuf::from("..").join(install.target_unit()),
        );
    }
    let dropins: Vec<_> = desired
        .agents
        .values()
        .map(|a| unit::agent_dropin(install, &a.launch.agent))
        .collect();
    for dropin in dropins {
        desired
            .files
            .insert(dir.join(&dropin.path), unit_file(dropin.text));
    }
}
