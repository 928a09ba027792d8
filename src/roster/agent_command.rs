//! The command line of an agent: the runtime's or its own, with permission and model arguments.

use super::agent::Resolver;
use super::document::AgentEntry;
use super::overrides::{COMMAND_VAR, Overrides};
use super::paths::expand;
use super::words;
use crate::error::Error;
use crate::fleet::Permissions;
use crate::runtime::RuntimeSpec;

impl Resolver<'_> {
    /// The command that replaces the runtime's, if there is one. `None` after an error.
    pub(super) fn own_command(
        &mut self,
        index: usize,
        own: Option<&Overrides>,
        entry: &AgentEntry,
    ) -> Option<Option<Vec<String>>> {
        let Some((line, place)) = own.and_then(|o| o.get(COMMAND_VAR)) else {
            return Some(entry.command.clone().map(|c| c.0));
        };
        let program = |w: &String| !w.trim().is_empty() && !w.contains(char::is_control);
        let why = match words::split(&line) {
            Ok(words) if words.first().is_some_and(program) => return Some(Some(words)),
            Ok(_) => "it names no program".to_owned(),
            Err(why) => why,
        };
        let label = self.parsed.agent_label(index);
        self.error(Error::config(format!("invalid `{COMMAND_VAR}` for {label}: {why}")).at(place));
        None
    }

    pub(super) fn command(
        &mut self,
        index: usize,
        entry: &AgentEntry,
        runtime: &str,
        spec: &RuntimeSpec,
        own: Option<Vec<String>>,
    ) -> Option<Vec<String>> {
        let mut command = match own {
            Some(words) => words,
            None => {
                let mut words = vec![spec.command.clone()?];
                words.extend(spec.args.iter().flatten().cloned());
                words
            }
        };
        // Nothing else would: there is no shell between the unit and the program.
        if let Some(program) = command.first_mut()
            && program.starts_with("~/")
            && let Ok(path) = expand(program, self.environment.home, self.environment.roster_dir)
        {
            *program = path.to_string_lossy().into_owned();
        }
        if entry.permissions == Some(Permissions::Skip) {
            if spec.permission_args.is_none() && spec.permission_env.is_none() {
                let (place, owner) = self.placed(index, &["permissions"]);
                let message = format!(
                    "runtime `{runtime}` has nothing that skips permission questions{owner}"
                );
                self.error(Error::config(message).at(place).hint(format!(
                    "set `permissions: ask` and what the documentation of `{runtime}` says in `env` or in its own \
                     settings, or `permission_args` or `permission_env` in `runtimes`"
                )));
                return None;
            }
            command.extend(spec.permission_args.iter().flatten().cloned());
        }
        if let (Some(model), Some(args)) = (&entry.model_hint, &spec.model_args) {
            command.extend(args.iter().map(|a| a.replace("{model}", model)));
        }
        Some(command)
    }
}
