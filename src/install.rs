//! The install record: what was resolved once, when the fleet was installed, so that units, agents
//! and commands agree for ever on which socket, which tmux and which directories are meant,
//! whatever environment they are run from.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::host::files;
use crate::host::tmux::Tmux;
use crate::paths::Paths;

/// Version written; older ones must load for ever.
pub const VERSION: u32 = 1;

/// Who keeps the agents running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// systemd user units.
    Systemd,
    /// A supervisor in each pane; no limits, no start at boot, nobody restarts the tmux server.
    Supervisor,
}

/// The record, at [`Paths::install`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Install {
    /// Format version.
    pub version: u32,
    /// Who keeps the agents running.
    pub mode: Mode,
    /// First part of unit names; `mosaic` but for the canary fleets of verify.
    pub unit_prefix: String,
    /// Directories at the time of installation.
    pub paths: Paths,
    /// Name of the socket.
    pub socket_name: String,
    /// The socket's absolute path.
    pub socket: PathBuf,
    /// Session that holds the server.
    pub holder_session: String,
    /// The tmux program.
    pub tmux: PathBuf,
    /// The mosaic program that units call.
    pub mosaic: PathBuf,
    /// PATH of the shell that installed: where agents and what they start are looked up. A user
    /// manager's own PATH seldom holds what npm or cargo install.
    pub path: String,
}

impl Install {
    /// Reads the record of a state directory; `None` when the fleet is not installed.
    ///
    /// # Errors
    /// Damaged, or written by a newer mosaic.
    pub fn load(state: &Path) -> Result<Option<Self>> {
        let path = state.join("install.json");
        let read = files::read_json::<Install>(&path).map_err(|e| {
            e.hint(format!(
                "if it is damaged, put it aside and let it be written anew: `mv {0} {0}.old`, then `mosaic fleet up`",
                path.display()
            ))
        });
        let Some(install) = read? else {
            return Ok(None);
        };
        if install.version > VERSION {
            return Err(Error::config(format!(
                "`{}` was written by a newer mosaic (format {}, this one knows {VERSION})",
                path.display(),
                install.version
            ))
            .hint("upgrade mosaic"));
        }
        Ok(Some(install))
    }

    /// Like [`Install::load`], for verbs that need an installed fleet.
    ///
    /// # Errors
    /// Also when there is none, with what to type.
    pub fn require(state: &Path) -> Result<Self> {
        Self::load(state)?.ok_or_else(|| {
            Error::config("the fleet is not installed")
                .because(format!("no `{}`", state.join("install.json").display()))
                .hint("run `mosaic fleet up`, or `mosaic fleet install-systemd`")
        })
    }

    /// Whether the fleet comes up with the user manager. Units below a runtime directory are gone
    /// after a reboot, so a link to them would dangle.
    pub fn starts_at_boot(&self) -> bool {
        !self.paths.units.starts_with("/run") && self.unit_prefix == "mosaic"
    }

    /// The fleet's tmux server.
    pub fn tmux(&self) -> Tmux {
        Tmux {
            program: self.tmux.clone(),
            socket: self.socket.clone(),
        }
    }

    /// Unit of the tmux server.
    pub fn holder_unit(&self) -> String {
        format!("{}-tmux-holder.service", self.unit_prefix)
    }
    /// Template of the agents' units.
    pub fn agent_template(&self) -> String {
        format!("{}-agent@.service", self.unit_prefix)
    }
    /// Unit of one agent.
    pub fn agent_unit(&self, agent: &str) -> String {
        format!("{}-agent@{agent}.service", self.unit_prefix)
    }
    /// Glob that matches the units of all agents.
    pub fn agent_pattern(&self) -> String {
        format!("{}-agent@*.service", self.unit_prefix)
    }
    /// The agent of a unit name; `None` for other units.
    pub fn agent_of_unit<'a>(&self, unit: &'a str) -> Option<&'a str> {
        unit.strip_prefix(&self.unit_prefix)?
            .strip_prefix("-agent@")?
            .strip_suffix(".service")
            // A drop-in of a person's for the template has no instance, and is no agent.
            .filter(|name| crate::names::check(name).is_ok())
    }
    /// Unit of the courier.
    pub fn courier_unit(&self) -> String {
        format!("{}-courier.service", self.unit_prefix)
    }
    /// Unit of the gateway.
    pub fn gateway_unit(&self) -> String {
        format!("{}-gateway.service", self.unit_prefix)
    }
    /// Target that starts and stops the fleet.
    pub fn target_unit(&self) -> String {
        format!("{}-fleet.target", self.unit_prefix)
    }
}
