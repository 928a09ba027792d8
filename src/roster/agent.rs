//! One agent of a roster, resolved: its own keys over the defaults, its own file over both.

use super::document::{
    AgentEntry, DEFAULT_CLASS, DEFAULT_READY_TIMEOUT_MS, DEFAULT_RESTART_DELAY_MS, Defaults,
};
use super::overrides::{self, Overrides, RUNTIME_VAR, WORKDIR_VAR};
use super::parse::Parsed;
use super::resolve::{Environment, Warning};
use super::runtimes::{known_runtimes, spec};
use super::suggest::clip;
use crate::delivery::template;
use crate::error::Error;
use crate::fleet::{Agent, Kickstart, Limits, Permissions, StartLimit};
use crate::names::AgentName;
use crate::runtime::RuntimeSpec;

/// Resolves the agents of one roster, noting what is wrong.
pub(super) struct Resolver<'a> {
    pub(super) parsed: &'a Parsed,
    pub(super) environment: &'a Environment<'a>,
    pub(super) errors: Vec<Error>,
    pub(super) warnings: Vec<Warning>,
}

/// A value, its place, and whose it is: ` for agent …` or ` in defaults`.
pub(super) struct Placed {
    pub(super) value: String,
    pub(super) place: String,
    pub(super) owner: String,
    /// The checks of the roster's text have seen it.
    pub(super) checked: bool,
}

impl Resolver<'_> {
    /// Notes an error, once: what is wrong in `defaults` shows again for every agent.
    pub(super) fn error(&mut self, error: Error) {
        let same = |e: &Error| e.message == error.message && e.location == error.location;
        if !self.errors.iter().any(same) {
            self.errors.push(error);
        }
    }

    /// Where a value of an agent stands, and whose it is.
    pub(super) fn placed(&self, index: usize, path: &[&str]) -> (String, String) {
        let place = self
            .parsed
            .source
            .place(self.parsed.agent_span(index, path));
        let own = self
            .parsed
            .agent(index)
            .is_some_and(|a| path.first().is_some_and(|key| a.get(key).is_some()));
        let inherited = self
            .parsed
            .tree
            .get("defaults")
            .is_some_and(|d| path.first().is_some_and(|key| d.get(key).is_some()));
        if !own && inherited {
            (place, " in `defaults`".to_owned())
        } else {
            (place, format!(" for {}", self.parsed.agent_label(index)))
        }
    }

    /// A value of the agent's own file, else of the roster.
    fn choose(
        &self,
        index: usize,
        own: Option<&Overrides>,
        var: &str,
        key: &str,
        value: Option<&String>,
    ) -> Option<Placed> {
        if let Some((value, place)) = own.and_then(|o| o.get(var)) {
            let owner = format!(" for {}", self.parsed.agent_label(index));
            return Some(Placed {
                value,
                place,
                owner,
                checked: false,
            });
        }
        let (place, owner) = self.placed(index, &[key]);
        value.map(|value| Placed {
            value: value.clone(),
            place,
            owner,
            checked: true,
        })
    }

    /// `None` once an error has been noted, here or by the checks of the text.
    pub(super) fn agent(
        &mut self,
        index: usize,
        own: &AgentEntry,
        defaults: &Defaults,
    ) -> Option<Agent> {
        let entry = own.over(defaults);
        let name = entry.name.as_deref().and_then(|n| AgentName::new(n).ok());
        let own_file = name
            .as_ref()
            .map(|n| overrides::file_of(self.environment.roster_dir, n));
        let own_vars = match own_file
            .as_deref()
            .map(|p| Overrides::read(p, self.environment, &mut self.warnings))
        {
            Some(Err(error)) => {
                self.error(error);
                None
            }
            Some(Ok(vars)) => vars,
            None => None,
        };
        let own_vars = own_vars.as_ref();

        let runtime = self.choose(
            index,
            own_vars,
            RUNTIME_VAR,
            "runtime",
            entry.runtime.as_ref(),
        );
        let runtime = self.known_runtime(index, runtime);
        let directory = self.choose(
            index,
            own_vars,
            WORKDIR_VAR,
            "working_directory",
            entry.working_directory.as_ref(),
        );
        let directory = self.directory(index, directory);
        let command = self.own_command(index, own_vars, &entry);
        let env_files = self.env_files(index, own, defaults);
        let kickstart = match &entry.kickstart {
            Some(Kickstart::File(path)) => {
                let (place, owner) = self.placed(index, &["kickstart", "file"]);
                let file = self.file("kickstart.file", &path.to_string_lossy(), &place, &owner);
                if let Some(file) = &file {
                    self.kickstart_variables(file, &place, &owner);
                }
                file.map(Kickstart::File)
            }
            other => other.clone(),
        };

        let (runtime, spec) = runtime?;
        let command = self.command(index, &entry, &runtime, &spec, command?)?;
        let mut env = spec.env.clone().unwrap_or_default();
        if entry.permissions == Some(Permissions::Skip) {
            env.extend(spec.permission_env.clone().unwrap_or_default());
        }
        for layer in [&defaults.env, &own.env] {
            env.extend(layer.iter().flatten().map(|(k, v)| (k.clone(), v.clone())));
        }
        Some(Agent {
            name: name?,
            runtime,
            class: entry.class.unwrap_or_else(|| DEFAULT_CLASS.to_owned()),
            working_directory: directory?,
            command,
            enabled: entry.enabled.unwrap_or(true),
            permissions: entry.permissions.unwrap_or_default(),
            model_hint: entry.model_hint,
            persistent_persona: entry.persistent_persona.unwrap_or_default(),
            reset_between_tasks: entry.reset_between_tasks.unwrap_or_default(),
            kickstart,
            kickstart_on: entry.kickstart_on.unwrap_or_default(),
            on_restart_message: entry.on_restart_message,
            on_restart: entry.on_restart.unwrap_or_default(),
            env,
            env_files: env_files.into_iter().chain(own_file).collect(),
            limits: limits(own, defaults),
            sandbox: entry.sandbox.unwrap_or_default(),
            restart: entry.restart.unwrap_or_default(),
            restart_delay_ms: entry
                .restart_delay
                .map_or(DEFAULT_RESTART_DELAY_MS, |d| d.0),
            start_limit: start_limit(own, defaults),
            ready_timeout_ms: entry
                .ready_timeout
                .map_or(DEFAULT_READY_TIMEOUT_MS, |d| d.0),
            resume: entry.resume.unwrap_or_default(),
            on: own
                .on
                .clone()
                .unwrap_or_default()
                .over(defaults.on.clone().unwrap_or_default()),
            notify: entry.notify.unwrap_or_default(),
            labels: entry.labels.unwrap_or_default(),
            priority: entry.priority.unwrap_or_default(),
            max_chats: entry.max_chats,
            spec,
        })
    }

    /// A kickstart that names a variable nobody fills in would be refused when it is sent.
    fn kickstart_variables(&mut self, file: &std::path::Path, place: &str, owner: &str) {
        let text = (self.environment.read_file)(file);
        if let Ok(Some(text)) = text
            && let Err(e) = template::check(&format!("`{}`{owner}", file.display()), &text)
        {
            self.error(e.at(place));
        }
    }

    /// Something that every agent needs is nowhere to be found.
    pub(super) fn missing(&mut self, index: usize, key: &str, hint: String) {
        let tree = &self.parsed.tree;
        let lost = tree.lost("defaults")
            || tree.get("defaults").is_some_and(|d| d.lost(key))
            || self.parsed.agent(index).is_some_and(|a| a.lost(key));
        if !lost {
            let label = self.parsed.agent_label(index);
            let place = self
                .parsed
                .source
                .place(self.parsed.agent_span(index, &["name"]));
            self.error(
                Error::config(format!("no `{key}` for {label}, nor in `defaults`"))
                    .at(place)
                    .hint(hint),
            );
        }
    }

    fn known_runtime(
        &mut self,
        index: usize,
        name: Option<Placed>,
    ) -> Option<(String, RuntimeSpec)> {
        let Some(Placed {
            value: name,
            place,
            owner,
            ..
        }) = name
        else {
            self.missing(index, "runtime", known_runtimes(self.parsed, None));
            return None;
        };
        if let Some(spec) = spec(self.parsed, &name) {
            return Some((name, spec));
        }
        let tree = &self.parsed.tree;
        let lost = tree.lost("runtimes") || tree.get("runtimes").is_some_and(|r| r.lost(&name));
        if !lost && !name.is_empty() {
            let hint = known_runtimes(self.parsed, Some(&name));
            self.error(
                Error::config(format!("unknown runtime `{}`{owner}", clip(&name)))
                    .at(place)
                    .hint(hint),
            );
        }
        None
    }
}

/// The agent's keys over those of `defaults`, one by one.
fn start_limit(own: &AgentEntry, defaults: &Defaults) -> StartLimit {
    let (own, under) = (
        own.start_limit.clone().unwrap_or_default(),
        defaults.start_limit.clone().unwrap_or_default(),
    );
    let usual = StartLimit::default();
    StartLimit {
        burst: own.burst.or(under.burst).map_or(usual.burst, |n| n.get()),
        interval_ms: own
            .interval
            .or(under.interval)
            .map_or(usual.interval_ms, |d| d.0),
    }
}

fn limits(own: &AgentEntry, defaults: &Defaults) -> Limits {
    let (own, under) = (
        own.limits.clone().unwrap_or_default(),
        defaults.limits.clone().unwrap_or_default(),
    );
    Limits {
        memory_max: own.memory_max.or(under.memory_max).map(|b| b.0),
        cpu_quota: own.cpu_quota.or(under.cpu_quota).map(|p| p.0),
        tasks_max: own.tasks_max.or(under.tasks_max),
    }
}
