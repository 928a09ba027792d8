//! `agents/NAME.env` beside the roster: the file that is an agent's own and overrides the roster.

use std::path::{Path, PathBuf};

use super::envfile;
use super::resolve::{Environment, Warning};
use super::source::{Source, Span};
use crate::error::Error;
use crate::names::AgentName;

/// Variable that overrides the agent's runtime.
pub const RUNTIME_VAR: &str = "MOSAIC_AGENT_RUNTIME";
/// Variable that overrides the agent's working directory.
pub const WORKDIR_VAR: &str = "MOSAIC_AGENT_WORKDIR";
/// Variable that overrides the agent's command, as one line.
pub const COMMAND_VAR: &str = "MOSAIC_AGENT_COMMAND";

/// Where an agent's own file is, whether it is there or not.
pub fn file_of(roster_dir: &Path, name: &AgentName) -> PathBuf {
    roster_dir.join("agents").join(format!("{name}.env"))
}

/// What an agent's own file says.
pub(super) struct Overrides {
    source: Source,
    vars: envfile::Parsed,
}

impl Overrides {
    /// Reads the file; `None` where there is none. Remarks on its lines become warnings.
    pub(super) fn read(
        path: &Path,
        environment: &Environment<'_>,
        warnings: &mut Vec<Warning>,
    ) -> Result<Option<Self>, Error> {
        let shown = path.display().to_string();
        let text = match (environment.read_file)(path) {
            Ok(Some(text)) => text,
            Ok(None) => return Ok(None),
            Err(e) => return Err(Error::config(format!("cannot read `{shown}`")).because(e)),
        };
        let vars = envfile::parse(&text);
        let source = Source::new(shown, text);
        warnings.extend(vars.warnings.iter().map(|warning| Warning {
            message: warning.message.clone(),
            location: vec![source.bare_place(warning.line)],
            hints: Vec::new(),
        }));
        Ok(Some(Self { source, vars }))
    }

    /// A value that is set and not empty, with its place.
    pub(super) fn get(&self, var: &str) -> Option<(String, String)> {
        let value = self.vars.get(var).filter(|v| !v.is_empty())?;
        let span = Span {
            line: self.vars.line_of(var)?,
            column: 1,
            width: var.len(),
        };
        Some((value.to_owned(), self.source.place(span)))
    }
}
