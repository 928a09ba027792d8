//! Where things are. The only place that reads XDG variables; everything else is given a [`Paths`].

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Every directory of one fleet. All paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Paths {
    /// The user's home directory.
    pub home: PathBuf,
    /// The roster.
    pub roster: PathBuf,
    /// Launch files, records, secrets, events; survives reboots. Mode 0700.
    pub state: PathBuf,
    /// Locks and records of running agents. Under systemd below `XDG_RUNTIME_DIR`, where that is set
    /// at the installation; else below `state`, where they outlive a reboot, so each names its boot.
    /// Mode 0700.
    pub runtime: PathBuf,
    /// Where the user manager looks for unit files.
    pub units: PathBuf,
}

impl Paths {
    /// From the environment: `--config` or `MOSAIC_CONFIG`, else
    /// `$XDG_CONFIG_HOME/mosaic/fleet/roster.yaml`; state in `$XDG_STATE_HOME/mosaic/fleet`; units
    /// in `$XDG_CONFIG_HOME/systemd/user`, as systemd.unit(5) has it.
    ///
    /// # Errors
    /// When there is no home directory.
    pub fn from_env(config: Option<&Path>) -> Result<Self> {
        use etcetera::BaseStrategy as _;
        let base = etcetera::base_strategy::Xdg::new().map_err(|e| {
            Error::config("cannot find your home directory")
                .because(e)
                .hint("set HOME")
        })?;
        let roster = match config {
            Some(path) => std::path::absolute(path)
                .map_err(|e| Error::io(format!("cannot resolve `{}`", path.display()), e))?,
            None => base.config_dir().join("mosaic/fleet/roster.yaml"),
        };
        let state = match base.state_dir() {
            Some(dir) => dir,
            None => base.home_dir().join(".local/state"),
        }
        .join("mosaic/fleet");
        let runtime = match base.runtime_dir().filter(|dir| dir.is_dir()) {
            Some(dir) => dir.join("mosaic/fleet"),
            None => state.join("run"),
        };
        Ok(Self {
            home: base.home_dir().to_owned(),
            roster,
            runtime,
            units: base.config_dir().join("systemd/user"),
            state,
        })
    }

    /// The roster's directory.
    pub fn config_dir(&self) -> &Path {
        self.roster.parent().unwrap_or(Path::new("/"))
    }
    /// mosaic's own configuration directory, `$XDG_CONFIG_HOME/mosaic`, wherever the roster is.
    pub fn mosaic_config(&self) -> PathBuf {
        // `units` is `$XDG_CONFIG_HOME/systemd/user`.
        let config = self.units.parent().and_then(Path::parent);
        config.unwrap_or(&self.home).join("mosaic")
    }
    /// The install record.
    pub fn install(&self) -> PathBuf {
        self.state.join("install.json")
    }
    /// An agent's launch file.
    pub fn launch(&self, agent: &str) -> PathBuf {
        self.state.join("launch").join(format!("{agent}.json"))
    }
    /// What is recorded of an agent's conversation.
    pub fn conversation(&self, agent: &str) -> PathBuf {
        self.state
            .join("conversations")
            .join(format!("{agent}.json"))
    }
    /// Directory of an agent's own: conversation files, settings, transcripts mosaic keeps for it.
    pub fn agent_dir(&self, agent: &str) -> PathBuf {
        self.state.join("agents").join(agent)
    }
    /// Port and secret of an agent that is a server.
    pub fn node(&self, agent: &str) -> PathBuf {
        self.state.join("nodes").join(format!("{agent}.json"))
    }
    /// What an agent recorded at its start.
    pub fn run(&self, agent: &str) -> PathBuf {
        self.runtime.join("run").join(format!("{agent}.json"))
    }
    /// Which start of an agent was told that it was a restart.
    pub fn told(&self, agent: &str) -> PathBuf {
        self.runtime.join("run").join(format!("{agent}.told.json"))
    }
    /// How an agent ended last.
    pub fn last_exit(&self, agent: &str) -> PathBuf {
        self.state.join("exits").join(format!("{agent}.json"))
    }
    /// Copy of the launch file that the running agent was started from.
    pub fn running_launch(&self, agent: &str) -> PathBuf {
        self.runtime
            .join("run")
            .join(format!("{agent}.launch.json"))
    }
    /// The fleet's event log.
    pub fn events(&self) -> PathBuf {
        self.state.join("log/events.jsonl")
    }
    /// Every message and what became of it.
    pub fn mailbox(&self) -> PathBuf {
        self.state.join("mailbox.db")
    }
    /// Touched whenever the mailbox got something to deliver.
    pub fn mailbox_poke(&self) -> PathBuf {
        self.state.join("mailbox.poke")
    }
    /// How chats are placed, as the last `apply` resolved it.
    pub fn routing_policy(&self) -> PathBuf {
        self.state.join("routing.json")
    }
    /// Which chat is on which node.
    pub fn pins(&self) -> PathBuf {
        self.state.join("pins.db")
    }
    /// What the gateway observed of the nodes last.
    pub fn adverts(&self) -> PathBuf {
        self.runtime.join("adverts.json")
    }
    /// The gateway's own secret, which its clients give.
    pub fn gateway_secret(&self) -> PathBuf {
        self.state.join("gateway.secret")
    }
    /// Who the fleet's gateway is.
    pub fn gateway(&self) -> PathBuf {
        self.runtime.join("gateway.json")
    }
    /// Held by the gateway as long as it lives.
    pub fn gateway_lock(&self) -> PathBuf {
        self.runtime.join("locks/gateway")
    }
    /// Who the fleet's courier is.
    pub fn courier(&self) -> PathBuf {
        self.runtime.join("courier.json")
    }
    /// Held by the courier as long as it lives.
    pub fn courier_lock(&self) -> PathBuf {
        self.runtime.join("locks/courier")
    }
    /// The fleet's own tmux.conf.
    pub fn tmux_conf(&self) -> PathBuf {
        self.state.join("tmux.conf")
    }
    /// Lock held while a plan is applied.
    pub fn apply_lock(&self) -> PathBuf {
        self.state.join("apply.lock")
    }
    /// Lock held while somebody types into an agent's pane.
    pub fn pane_lock(&self, agent: &str) -> PathBuf {
        self.runtime.join("locks").join(format!("{agent}.lock"))
    }
    /// Where supervisors say what they do, one record each.
    pub fn supervisors(&self) -> PathBuf {
        self.runtime.join("super")
    }
    /// Record of an agent's supervisor.
    pub fn supervisor(&self, agent: &str) -> PathBuf {
        self.supervisors().join(format!("{agent}.json"))
    }
    /// Mark that keeps a stopped agent down; see [`crate::record::hold`].
    pub fn stopped_mark(&self, agent: &str) -> PathBuf {
        self.runtime.join("stopped").join(agent)
    }
}

/// Where tmux puts the socket of a name, as tmux itself decides it: `$TMUX_TMPDIR`, else `/tmp`,
/// then `tmux-UID`.
///
/// # Errors
/// When the directory cannot be resolved, or the path would not fit into a socket address.
pub fn tmux_socket(name: &str, tmpdir: Option<&Path>, uid: u32) -> Result<PathBuf> {
    let base = tmpdir
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("/tmp"));
    // tmux resolves links in the base directory before it builds the path.
    let base = std::fs::canonicalize(base).map_err(|e| {
        Error::config(format!(
            "the tmux directory `{}` does not exist",
            base.display()
        ))
        .because(e)
    })?;
    let path = base.join(format!("tmux-{uid}")).join(name);
    // sun_path holds 108 bytes with the final NUL (unix(7)).
    if path.as_os_str().len() > 107 {
        return Err(Error::config(format!(
            "the socket path `{}` is longer than the 107 bytes a socket address holds",
            path.display()
        ))
        .hint(
            "set TMUX_TMPDIR to a shorter directory and run `mosaic fleet install-systemd` again",
        ));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_follows_tmux() {
        assert_eq!(
            tmux_socket("f", Some(Path::new("/")), 7).map_err(|e| e.to_string()),
            Ok(PathBuf::from("/tmux-7/f"))
        );
        assert!(tmux_socket(&"x".repeat(120), None, 7).is_err());
        assert!(tmux_socket("f", Some(Path::new("/nonexistent-dir")), 7).is_err());
    }
}
