//! What every verb needs: where things are, the roster, the install record, which agents are meant.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::host::{process, tmux};
use crate::install::{self, Install, Mode};
use crate::launch::{Launch, installed as installed_agents};
use crate::names::AgentName;
use crate::paths::{self, Paths};
use crate::roster;
use crate::terminal::supervise::status::Status;
use crate::ui::Ui;
use crate::unit;

/// Given to every verb.
pub struct Context<'a> {
    /// The printer.
    pub ui: &'a Ui,
    /// Where things are.
    pub paths: Paths,
}

/// Which agents a verb is about.
#[derive(Debug, Default, Clone, clap::Args)]
pub struct Selection {
    /// Agents, by exact name
    #[arg(value_name = "AGENT", add = clap_complete::ArgValueCandidates::new(complete_agents))]
    pub agents: Vec<AgentName>,
    /// All agents of a class
    #[arg(long, value_name = "CLASS")]
    pub class: Option<String>,
}

/// Names for shell completion: the agents that are installed.
pub fn complete_agents() -> Vec<clap_complete::CompletionCandidate> {
    Paths::from_env(None)
        .map(|paths| installed_agents(&paths))
        .unwrap_or_default()
        .into_iter()
        .map(clap_complete::CompletionCandidate::new)
        .collect()
}

impl<'a> Context<'a> {
    /// Finds the directories.
    ///
    /// # Errors
    /// No home directory.
    pub fn new(ui: &'a Ui, config: Option<&Path>) -> Result<Self> {
        Ok(Self {
            ui,
            paths: Paths::from_env(config)?,
        })
    }

    /// Loads the roster and prints its warnings.
    ///
    /// # Errors
    /// Kind `Config`, all problems at once.
    pub fn roster(&self) -> Result<Fleet> {
        let loaded = roster::load(&self.paths.roster, &self.paths.home)?;
        for warning in &loaded.warnings {
            let place: String = warning
                .location
                .iter()
                .map(|l| format!("\n  --> {l}"))
                .collect();
            self.ui.warn(format!("{}{place}", warning.message));
            for hint in &warning.hints {
                self.ui.hint(hint);
            }
        }
        Ok(loaded.fleet)
    }

    /// The install record.
    ///
    /// # Errors
    /// Not installed.
    pub fn install(&self) -> Result<Install> {
        Install::require(&self.paths.state)
    }

    /// The install record as it should be for a roster. Keeps what an earlier record resolved,
    /// unless `again` asks to resolve anew or the roster names another socket.
    ///
    /// # Errors
    /// tmux is missing or too old.
    pub fn resolve_install(&self, fleet: &Fleet, mode: Mode, again: bool) -> Result<Install> {
        let old = Install::load(&self.paths.state)?;
        if let Some(old) = &old
            && old.paths.roster != self.paths.roster
        {
            return Err(Error::config(format!(
                "the fleet was installed from `{}`, not from `{}`",
                old.paths.roster.display(),
                self.paths.roster.display()
            ))
            .because("applying another roster to it would stop every agent the other one does not name")
            .hint("to make this roster the fleet's: `mosaic fleet uninstall`, then `mosaic fleet up` with the same `--config`"));
        }
        let runtime = runtime_directory(&self.paths, mode, old.as_ref());
        let mut install = match old {
            Some(old) if !again => old,
            old => self.fresh_install(fleet, mode, old)?,
        };
        if install.socket_name != fleet.socket_name {
            install.socket = socket(fleet)?;
            install.socket_name.clone_from(&fleet.socket_name);
        }
        install.holder_session.clone_from(&fleet.holder_session);
        install.mode = mode;
        install.paths = self.paths.clone();
        install.paths.runtime = runtime;
        Ok(install)
    }

    fn fresh_install(&self, fleet: &Fleet, mode: Mode, old: Option<Install>) -> Result<Install> {
        let tmux = which::which("tmux").map_err(|e| {
            Error::unavailable("tmux is not installed")
                .because(e)
                .hint("install tmux 3.2 or newer, for example `apt install tmux`")
        })?;
        tmux::check_version(&tmux)?;
        let mosaic = own_program()?;
        if mode == Mode::Systemd {
            for program in [&tmux, &mosaic] {
                if unit::exec_program(&program.to_string_lossy()).is_none() {
                    return Err(Error::config(format!(
                        "systemd cannot run a program of this name: `{}`",
                        program.display()
                    ))
                    .because("quotes, backslashes and control characters are refused there")
                    .hint("move it, or make a link to it and call that by its path"));
                }
            }
        }
        let path = std::env::var("PATH").unwrap_or_default();
        Ok(Install {
            version: install::VERSION,
            mode,
            unit_prefix: "mosaic".to_owned(),
            paths: self.paths.clone(),
            socket_name: fleet.socket_name.clone(),
            socket: socket(fleet)?,
            holder_session: fleet.holder_session.clone(),
            tmux,
            mosaic,
            // A PATH that still finds everything is kept: it differs between shells, and a new one
            // would restart every agent.
            path: match old {
                Some(old) if finds_all(fleet, &old.path) => old.path,
                _ => path,
            },
        })
    }

    /// Picks agents among those installed: those named and those of the class, else none.
    ///
    /// # Errors
    /// An unknown name, with the nearest known ones.
    pub fn select(&self, selection: &Selection) -> Result<Vec<String>> {
        let known = installed_agents(&self.paths);
        let mut picked = Vec::new();
        for name in &selection.agents {
            if !known.iter().any(|k| k == name.as_str()) {
                return Err(unknown_agent(name.as_str(), &known));
            }
            if !picked.contains(&name.to_string()) {
                picked.push(name.to_string());
            }
        }
        if let Some(class) = &selection.class {
            let mut any = false;
            for name in &known {
                let launch = Launch::load(&self.paths.launch(name))?;
                if launch.agent.class == *class {
                    any = true;
                    if !picked.contains(name) {
                        picked.push(name.clone());
                    }
                }
            }
            if !any {
                return Err(Error::config(format!("no agent of class `{class}`"))
                    .hint("`mosaic agent roster` shows the classes"));
            }
        }
        Ok(picked)
    }

    /// One agent's launch file.
    ///
    /// # Errors
    /// Unknown agent.
    pub fn launch(&self, agent: &AgentName) -> Result<Launch> {
        let known = installed_agents(&self.paths);
        if !known.iter().any(|k| k == agent.as_str()) {
            return Err(unknown_agent(agent.as_str(), &known));
        }
        Launch::load(&self.paths.launch(agent.as_str()))
    }
}

/// The error for an agent that is not installed.
pub fn unknown_agent(name: &str, known: &[String]) -> Error {
    let mut e = Error::config(format!("no agent `{name}` is installed"));
    if let Some(near) = nearest(name, known.iter().map(String::as_str)) {
        e = e.hint(format!("did you mean `{near}`? names must be exact"));
    }
    if known.is_empty() {
        e.hint("run `mosaic fleet up`")
    } else {
        e.hint(format!("installed: {}", known.join(", ")))
            .hint("an agent that is only in the roster needs `mosaic fleet apply`")
    }
}

fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    known
        .map(|k| (strsim::damerau_levenshtein(name, k), k))
        .filter(|(distance, _)| *distance <= 2)
        .min()
        .map(|(_, k)| k)
}

/// The socket's path, as tmux itself would choose it in this environment.
fn socket(fleet: &Fleet) -> Result<PathBuf> {
    let tmpdir = std::env::var_os("TMUX_TMPDIR").map(PathBuf::from);
    paths::tmux_socket(
        &fleet.socket_name,
        tmpdir.as_deref(),
        rustix::process::getuid().as_raw(),
    )
}

/// Where locks and records of running agents are. Without systemd they stand below the state
/// directory: logind removes `XDG_RUNTIME_DIR` with the last session (pam_systemd(8)), while tmux and
/// the supervisors live on. A place that is in use is kept, whatever shell asks.
fn runtime_directory(paths: &Paths, mode: Mode, old: Option<&Install>) -> PathBuf {
    let old = old.filter(|o| o.mode == mode).map(|o| &o.paths);
    let in_use = |p: &Paths| Status::load_all(p).values().any(Status::alive);
    match (mode, old) {
        (Mode::Supervisor, Some(old)) if in_use(old) => old.runtime.clone(),
        (Mode::Supervisor, _) => paths.state.join("run"),
        (Mode::Systemd, Some(old)) => old.runtime.clone(),
        (Mode::Systemd, None) => paths.runtime.clone(),
    }
}

fn finds_all(fleet: &Fleet, path: &str) -> bool {
    fleet.agents.iter().filter(|a| a.enabled).all(|a| {
        a.command.first().is_none_or(|program| {
            program.contains("{mosaic}")
                || process::find_program(program, path, &a.working_directory).is_some()
        })
    })
}

/// The path units call mosaic by: the name on PATH where that is this program, since a package
/// manager may move what it points to; else the file itself.
fn own_program() -> Result<PathBuf> {
    let own =
        std::env::current_exe().map_err(|e| Error::io("cannot find mosaic's own program", e))?;
    if let Ok(found) = which::which("mosaic")
        && let (Ok(a), Ok(b)) = (found.canonicalize(), own.canonicalize())
        && a == b
    {
        return Ok(found);
    }
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_is_suggested_and_never_taken() {
        let known = ["coder0".to_owned(), "coder10".to_owned()];
        let e = unknown_agent("coder", &known);
        assert!(e.hints[0].contains("`coder0`"), "{e:?}");
        assert!(unknown_agent("zzz", &known).hints[0].starts_with("installed"));
    }
}
