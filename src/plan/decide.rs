//! The planner.

use serde::{Deserialize, Serialize};

use super::{Action, Plan, VERSION, What};
use crate::desired::{Desired, DesiredAgent};
use crate::host::files;
use crate::install::{Install, Mode};
use crate::inventory::{FoundAgent, Inventory};
use crate::launch::Launch;

/// How far a plan goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Everything.
    All,
    /// Files only: nothing is started or restarted; agents gone from the roster are still stopped.
    Files,
}

/// What the caller allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// How far.
    pub scope: Scope,
    /// Restart agents although they work.
    pub force: bool,
    /// End foreign sessions that have an agent's name.
    pub replace: bool,
}

/// Makes the plan. `old` gives the launch file that a running agent was started
/// from, to say what changed since.
pub fn decide(
    install: &Install,
    desired: &Desired,
    found: &Inventory,
    old: &dyn Fn(&str) -> Option<Launch>,
    options: Options,
) -> Plan {
    let mut plan = Planner {
        install,
        desired,
        found,
        options,
        actions: Vec::new(),
    };
    plan.server();
    // Nothing may be written or started while another server stands in the way: the records would
    // name a server that is not the fleet's, and lose the one that is.
    let blocked = !plan.actions.is_empty();
    if !blocked {
        plan.everything(old);
    }
    plan.actions.sort_by_key(|a| a.what.phase());
    Plan {
        version: VERSION,
        options,
        fingerprint: files::digest(
            format!("{}{:?}{}", found.fingerprint(), options, digest(desired)).as_bytes(),
        ),
        actions: plan.actions,
    }
}

fn digest(desired: &Desired) -> String {
    files::digest(format!("{:?}{:?}", desired.files, desired.links).as_bytes())
}

struct Planner<'a> {
    install: &'a Install,
    desired: &'a Desired,
    found: &'a Inventory,
    options: Options,
    actions: Vec<Action>,
}

impl Planner<'_> {
    fn push(&mut self, what: What, reason: impl Into<String>) {
        self.actions.push(Action {
            what,
            reason: reason.into(),
        });
    }

    fn block(
        &mut self,
        subject: impl Into<String>,
        reason: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(
            What::Blocked {
                subject: subject.into(),
                hint: hint.into(),
            },
            reason,
        );
    }

    fn server(&mut self) {
        if let Some(pid) = self.found.foreign_server {
            self.block(
                "tmux server",
                format!(
                    "process {pid} holds `{}` and was not started by mosaic",
                    self.install.socket.display()
                ),
                format!(
                    "end it: `tmux -L {} kill-server`, or choose another socket_name",
                    self.install.socket_name
                ),
            );
        }
        if let Some(socket) = &self.found.other_socket {
            self.block(
                "socket",
                format!("the fleet still runs on `{}`", socket.display()),
                "stop it first: `mosaic fleet stop`, then `mosaic fleet up`",
            );
        }
    }

    fn everything(&mut self, old: &dyn Fn(&str) -> Option<Launch>) {
        if self.options.scope == Scope::All
            && !self.found.server
            && self.desired.agents.iter().any(|(name, wanted)| {
                wanted.enabled && !self.found.agents.get(name).is_some_and(|found| found.held)
            })
        {
            self.push(What::StartServer, "no server answers on the socket");
        }
        self.files();
        self.links();
        for (name, agent) in &self.found.agents {
            match self.desired.agents.get(name) {
                Some(wanted) => self.agent(name, wanted, agent, old(name)),
                None => self.gone(name, agent),
            }
        }
        if self.install.mode != Mode::Systemd {
            return;
        }
        if self.units_change() {
            self.push(What::Reload, "unit files change");
        } else if self.found.reload_pending {
            self.push(
                What::Reload,
                "an earlier run wrote unit files and was interrupted",
            );
        }
    }

    fn files(&mut self) {
        for (path, file) in &self.desired.files {
            match self.found.files.get(path) {
                None => self.push(What::Write { path: path.clone() }, "missing"),
                Some(there) if there.digest == files::digest(file.text.as_bytes()) => {}
                Some(there) if there.ours => {
                    self.push(What::Write { path: path.clone() }, "content differs")
                }
                Some(_) => self.block(
                    path.display().to_string(),
                    "a file that mosaic did not write is in the way",
                    format!("move it away: `mv {0} {0}.old`", path.display()),
                ),
            }
        }
        let stale: Vec<_> = self
            .found
            .files
            .iter()
            .filter(|(path, file)| file.ours && !self.desired.files.contains_key(*path))
            .map(|(path, _)| path.clone())
            .collect();
        for path in stale {
            self.push(What::Remove { path }, "no longer in the roster");
        }
    }

    fn links(&mut self) {
        for (path, target) in &self.desired.links {
            match self.found.links.get(path) {
                Some(there) if there == target => {}
                Some(there) => {
                    let reason = format!("points to {}", there.display());
                    self.push(
                        What::Link {
                            path: path.clone(),
                            target: target.clone(),
                        },
                        reason,
                    );
                }
                None => self.push(
                    What::Link {
                        path: path.clone(),
                        target: target.clone(),
                    },
                    "not enabled",
                ),
            }
        }
        let stale: Vec<_> = self
            .found
            .links
            .keys()
            .filter(|path| !self.desired.links.contains_key(*path))
            .cloned()
            .collect();
        for path in stale {
            self.push(What::Unlink { path }, "disabled or no longer in the roster");
        }
    }

    /// Whether any planned action touches what systemd reads.
    fn units_change(&self) -> bool {
        let units = &self.install.paths.units;
        self.actions.iter().any(|a| match &a.what {
            What::Write { path }
            | What::Remove { path }
            | What::Link { path, .. }
            | What::Unlink { path } => path.starts_with(units),
            _ => false,
        })
    }

    fn gone(&mut self, name: &str, agent: &FoundAgent) {
        let agent_name = name.to_owned();
        if agent.up() {
            if let Some(why) = &agent.occupied
                && !self.options.force
            {
                // Its files go with it, so nothing of it is planned yet.
                let own = self.install.paths.launch(name);
                let unit = self.install.agent_unit(name);
                self.actions.retain(|a| match &a.what {
                    What::Remove { path } | What::Unlink { path } => {
                        *path != own
                            && !path
                                .components()
                                .any(|c| c.as_os_str().to_string_lossy().starts_with(&unit))
                    }
                    _ => true,
                });
                self.push(
                    What::Deferred { agent: agent_name },
                    format!("{why}; it is no longer in the roster and will be stopped (`--force` stops it now)"),
                );
                return;
            }
            self.push(
                What::Stop {
                    agent: agent_name.clone(),
                },
                "no longer in the roster",
            );
        }
        if agent.pane.is_some() {
            self.push(What::Close { agent: agent_name }, "no longer in the roster");
        }
    }

    fn agent(
        &mut self,
        name: &str,
        wanted: &DesiredAgent,
        agent: &FoundAgent,
        old: Option<Launch>,
    ) {
        let n = || name.to_owned();
        if !wanted.enabled {
            if agent.up() {
                match &agent.occupied {
                    Some(why) if !self.options.force => self.push(
                        What::Deferred { agent: n() },
                        format!(
                            "{why}; it is disabled and will be stopped (`--force` stops it now)"
                        ),
                    ),
                    _ => self.push(What::Stop { agent: n() }, "disabled in the roster"),
                }
            }
            return;
        }
        if self.options.scope == Scope::Files {
            return;
        }
        if agent.foreign {
            if self.options.replace {
                self.push(
                    What::Close { agent: n() },
                    "a session of its name that mosaic did not make (`--replace`)",
                );
            } else {
                self.block(
                    format!("agent {name}"),
                    format!("a session `{name}` on the fleet's socket was not made by mosaic"),
                    format!("`mosaic fleet apply --replace`, or end it: `tmux -L {} kill-session -t ={name}`", self.install.socket_name),
                );
                return;
            }
        }
        if !agent.up() {
            if agent.held {
                return;
            }
            let reason = match agent.unit.active.as_str() {
                "failed" => format!("failed ({})", agent.unit.result),
                _ => "not running".to_owned(),
            };
            self.push(What::Start { agent: n() }, reason);
            return;
        }
        if agent.unit.active == "active" && agent.pane.is_none() && self.found.server {
            // Nobody can see it or type to it, so there is nothing to spare.
            self.push(What::Restart { agent: n() }, "active, no pane");
            return;
        }
        // Without a record it is just starting, and reads the launch file of now.
        let Some(running) = &agent.digest else { return };
        if *running == wanted.digest {
            return;
        }
        let what = match old {
            Some(old) if old.digest() == *running => changes(&old, &wanted.launch),
            _ => "its launch file changed since it started".to_owned(),
        };
        match &agent.occupied {
            Some(why) if !self.options.force => {
                self.push(
                    What::Deferred { agent: n() },
                    format!("{why}; {what} (`--force` restarts it now)"),
                );
            }
            _ => self.push(What::Restart { agent: n() }, what),
        }
    }
}

/// Which parts of a launch file differ, in the roster's words.
fn changes(old: &Launch, new: &Launch) -> String {
    let (a, b) = (&old.agent, &new.agent);
    let differs = [
        ("runtime", a.runtime != b.runtime),
        (
            "command",
            a.command != b.command || old.program != new.program,
        ),
        (
            "working_directory",
            a.working_directory != b.working_directory,
        ),
        ("env", a.env != b.env),
        (
            "env_file",
            a.env_files != b.env_files || old.env_files_digest != new.env_files_digest,
        ),
        ("limits", a.limits != b.limits),
        ("sandbox", a.sandbox != b.sandbox),
        ("resume", a.resume != b.resume),
        ("PATH", old.path != new.path),
        (
            "the runtime's definition",
            (&a.spec.conversation, a.spec.reports, &a.spec.node)
                != (&b.spec.conversation, b.spec.reports, &b.spec.node),
        ),
    ];
    let names: Vec<&str> = differs
        .iter()
        .filter(|(_, d)| *d)
        .map(|(n, _)| *n)
        .collect();
    if names.is_empty() {
        "its launch file changed since it started".to_owned()
    } else {
        format!("{} changed", names.join(", "))
    }
}
