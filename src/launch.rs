//! The launch file: what `agent run` starts, resolved and written by apply. The roster may be
//! edited, broken or deleted meanwhile; a restarting agent reads only this.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::fleet::Agent;
use crate::host::files;

/// Version written; older ones must load for ever.
pub const VERSION: u32 = 1;

/// One agent's launch file, mode 0600.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// Format version.
    pub version: u32,
    /// The agent as resolved from the roster.
    pub agent: Agent,
    /// The program, absolute; `None` when it was not installed at the time of apply (the agent then
    /// fails with exit 78 instead of looping).
    pub program: Option<PathBuf>,
    /// PATH for the agent unless its environment sets another.
    pub path: String,
    /// Digest over the environment files' content at the time of apply, so that an edit shows up as
    /// a change.
    pub env_files_digest: String,
}

impl Launch {
    /// Digest over everything that needs a restart of the agent to take effect. What mosaic itself
    /// reads at use (class, kickstart, restart message, screen rules, reset commands, persona) is not part of it.
    pub fn digest(&self) -> String {
        let a = &self.agent;
        let view = serde_json::json!({
            "runtime": a.runtime,
            "program": self.program,
            "path": self.path,
            "command": a.command,
            "directory": a.working_directory,
            "env": a.env,
            "env_files": a.env_files,
            "env_files_digest": self.env_files_digest,
            "conversation": a.spec.conversation,
            "reports": a.spec.reports,
            "node": a.spec.node,
            "home": a.spec.home,
            "server": a.spec.server,
            "resume": a.resume,
            "limits": a.limits,
            "sandbox": a.sandbox,
        });
        files::digest(view.to_string().as_bytes())
    }

    /// Reads a launch file.
    ///
    /// # Errors
    /// Kind `Config` when it is missing, damaged, or from a newer mosaic.
    pub fn load(path: &Path) -> Result<Self> {
        let launch = files::read_json::<Launch>(path)
            .map_err(|e| e.hint("`mosaic fleet apply` writes it anew"))?
            .ok_or_else(|| {
                Error::config(format!("no launch file `{}`", path.display()))
                    .hint("run `mosaic fleet apply`")
            })?;
        if launch.version > VERSION {
            return Err(Error::config(format!(
                "`{}` was written by a newer mosaic (format {}, this one knows {VERSION})",
                path.display(),
                launch.version
            ))
            .hint("upgrade mosaic"));
        }
        Ok(launch)
    }
}

/// Names of the agents that have a launch file, in order.
pub fn installed(paths: &crate::paths::Paths) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(paths.state.join("launch"))
        .map(|dir| {
            dir.flatten()
                .filter_map(|e| Some(e.file_name().to_str()?.strip_suffix(".json")?.to_owned()))
                .filter(|name| crate::names::check(name).is_ok())
                .collect()
        })
        .unwrap_or_default();
    names.sort();
    names
}
