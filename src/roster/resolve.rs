//! A parsed roster to a [`Fleet`]: defaults and runtimes applied, paths made absolute and looked at,
//! the overrides of `agents/NAME.env` read. The file system is asked through [`Environment`] alone.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::document::{
    AgentEntry, DEFAULT_CLASS, DEFAULT_HOLDER, DEFAULT_RESTART_DELAY_MS, DEFAULT_SOCKET, Defaults,
};
use super::envfile;
use super::parse::{MAX_PROBLEMS, Parsed};
use super::source::{Source, Span};
use super::suggest::{self, clip};
use super::warn;
use super::words;
use crate::error::Error;
use crate::fleet::{Agent, Fleet, Kickstart, Limits, Permissions};
use crate::names::AgentName;
use crate::runtime::{RuntimeSpec, builtin};

/// Variable of `agents/NAME.env` that overrides the agent's runtime.
pub const RUNTIME_VAR: &str = "MOSAIC_AGENT_RUNTIME";
/// Variable of `agents/NAME.env` that overrides the agent's working directory.
pub const WORKDIR_VAR: &str = "MOSAIC_AGENT_WORKDIR";
/// Variable of `agents/NAME.env` that overrides the agent's command, as one line.
pub const COMMAND_VAR: &str = "MOSAIC_AGENT_COMMAND";

/// What resolving needs to know of the machine.
#[derive(Clone, Copy)]
pub struct Environment<'a> {
    /// The user's home directory, for `~`.
    pub home: &'a Path,
    /// The directory of the roster, absolute; relative paths start there.
    pub roster_dir: &'a Path,
    /// Whether a directory is there.
    pub exists_dir: &'a dyn Fn(&Path) -> bool,
    /// Whether a file that can be read is there.
    pub exists_file: &'a dyn Fn(&Path) -> bool,
    /// The text of a file; `None` where it is not there.
    pub read_file: &'a dyn Fn(&Path) -> io::Result<Option<String>>,
}

/// Something allowed that is probably not meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// A lower-case fragment without a full stop.
    pub message: String,
    /// As in [`Error::location`].
    pub location: Vec<String>,
    /// What to type.
    pub hints: Vec<String>,
}

/// Decides everything about every agent.
///
/// # Errors
/// Every problem of the text and of what it names, in one error of kind `Config`.
pub fn resolve(
    parsed: &Parsed,
    environment: &Environment<'_>,
) -> Result<(Fleet, Vec<Warning>), Error> {
    let mut errors = parsed.problems.clone();
    let mut resolver = Resolver {
        parsed,
        environment,
        errors: Vec::new(),
        warnings: Vec::new(),
    };
    let mut agents = Vec::new();
    if !parsed.fatal {
        let none = Defaults::default();
        let defaults = parsed.roster.defaults.as_ref().unwrap_or(&none);
        for (index, entry) in parsed.roster.agents.iter().flatten().enumerate() {
            // Nobody reads more, and resolving nothing further is certain: there is an error.
            if errors.len() + resolver.errors.len() > MAX_PROBLEMS {
                break;
            }
            agents.extend(resolver.agent(index, entry, defaults));
        }
        errors.append(&mut resolver.errors);
    }
    if errors.len() > MAX_PROBLEMS {
        errors.truncate(MAX_PROBLEMS);
        errors.push(Error::config(
            "there may be more problems: these are the first",
        ));
    }
    if let Some(error) = Error::all(errors) {
        return Err(error);
    }
    if agents.len() != parsed.roster.agents.iter().flatten().count() {
        return Err(Error::bug(
            "an agent of the roster was lost without an error",
        ));
    }
    let tmux = parsed.roster.tmux.clone().unwrap_or_default();
    let fleet = Fleet {
        socket_name: tmux
            .socket_name
            .unwrap_or_else(|| DEFAULT_SOCKET.to_owned()),
        holder_session: tmux
            .holder_session
            .unwrap_or_else(|| DEFAULT_HOLDER.to_owned()),
        agents,
    };
    let mut warnings = resolver.warnings;
    warnings.extend(warn::of_fleet(parsed, &fleet));
    Ok((fleet, warnings))
}

struct Resolver<'a> {
    parsed: &'a Parsed,
    environment: &'a Environment<'a>,
    errors: Vec<Error>,
    warnings: Vec<Warning>,
}

/// The overrides of one agent's own environment file.
struct Overrides {
    source: Source,
    vars: envfile::Parsed,
}

/// A value, where it stands, and whether the checks of the roster's text have seen it.
struct Placed {
    value: String,
    place: String,
    checked: bool,
}

impl Resolver<'_> {
    fn error(&mut self, message: String, place: &str) -> &mut Error {
        let at = self.errors.len();
        self.errors.push(Error::config(message).at(place));
        &mut self.errors[at]
    }

    /// `None` once an error has been noted, here or by the checks of the text.
    fn agent(&mut self, index: usize, own: &AgentEntry, defaults: &Defaults) -> Option<Agent> {
        let parsed = self.parsed;
        let entry = own.over(defaults);
        let label = parsed.agent_label(index);
        let place = |path: &[&str]| parsed.source.place(parsed.agent_span(index, path));
        let name = entry.name.as_deref().and_then(|n| AgentName::new(n).ok());
        let own_env_file = name.as_ref().map(|n| {
            self.environment
                .roster_dir
                .join("agents")
                .join(format!("{n}.env"))
        });
        let overrides = own_env_file.as_deref().and_then(|p| self.overrides(p));
        let choose = |var: &str, key: &str, value: Option<&String>| {
            overrides.as_ref().and_then(|o| o.get(var)).or_else(|| {
                value.map(|v| Placed {
                    value: v.clone(),
                    place: place(&[key]),
                    checked: true,
                })
            })
        };

        let runtime = choose(RUNTIME_VAR, "runtime", entry.runtime.as_ref());
        let directory = choose(
            WORKDIR_VAR,
            "working_directory",
            entry.working_directory.as_ref(),
        );
        let command = match overrides.as_ref().and_then(|o| o.get(COMMAND_VAR)) {
            Some(line) => match words::split(&line.value) {
                Ok(words)
                    if words
                        .first()
                        .is_some_and(|w| !w.trim().is_empty() && !w.contains(char::is_control)) =>
                {
                    Some(words)
                }
                other => {
                    let why = other
                        .err()
                        .unwrap_or_else(|| "it names no program".to_owned());
                    self.error(
                        format!("invalid `{COMMAND_VAR}` for {label}: {why}"),
                        &line.place,
                    );
                    return None;
                }
            },
            None => entry.command.clone().map(|c| c.0),
        };

        let runtime = self.known_runtime(index, runtime, &label);
        let directory = self.directory(index, directory, &label);
        let command = runtime
            .as_ref()
            .and_then(|(_, spec)| self.command(&entry, spec, command, &label, &place));
        let mut env_files = Vec::new();
        for (paths, from_defaults) in [(&defaults.env_file, true), (&own.env_file, false)] {
            for (at, path) in paths.iter().flat_map(|p| &p.0).enumerate() {
                let at = at.to_string();
                let span = if from_defaults {
                    parsed.span(&["defaults", "env_file", &at])
                } else {
                    parsed.agent_span(index, &["env_file", &at])
                };
                // What stands in `defaults` is reported once.
                env_files.extend(self.file(
                    "env_file",
                    path,
                    &label,
                    span,
                    from_defaults && index > 0,
                ));
            }
        }
        env_files.extend(own_env_file);
        let kickstart = match &entry.kickstart {
            Some(Kickstart::File(path)) => {
                let repeated = own.kickstart.is_none() && index > 0;
                let span = parsed.agent_span(index, &["kickstart", "file"]);
                self.file(
                    "kickstart.file",
                    &path.to_string_lossy(),
                    &label,
                    span,
                    repeated,
                )
                .map(Kickstart::File)
            }
            other => other.clone(),
        };

        let (runtime, spec) = runtime?;
        let mut env = spec.env.clone().unwrap_or_default();
        for layer in [&defaults.env, &own.env] {
            env.extend(layer.iter().flatten().map(|(k, v)| (k.clone(), v.clone())));
        }
        let limits = limits(own, defaults);
        Some(Agent {
            name: name?,
            runtime,
            class: entry.class.unwrap_or_else(|| DEFAULT_CLASS.to_owned()),
            working_directory: directory?,
            command: command?,
            enabled: entry.enabled.unwrap_or(true),
            permissions: entry.permissions.unwrap_or_default(),
            model_hint: entry.model_hint,
            persistent_persona: entry.persistent_persona.unwrap_or_default(),
            reset_between_tasks: entry.reset_between_tasks.unwrap_or_default(),
            kickstart,
            kickstart_on: entry.kickstart_on.unwrap_or_default(),
            env,
            env_files,
            limits,
            sandbox: entry.sandbox.unwrap_or_default(),
            restart: entry.restart.unwrap_or_default(),
            restart_delay_ms: entry
                .restart_delay
                .map_or(DEFAULT_RESTART_DELAY_MS, |d| d.0),
            resume: entry.resume.unwrap_or_default(),
            spec,
        })
    }

    /// Reads `agents/NAME.env`; its remarks become warnings.
    fn overrides(&mut self, path: &Path) -> Option<Overrides> {
        let shown = path.display().to_string();
        let text = match (self.environment.read_file)(path) {
            Ok(text) => text?,
            Err(e) => {
                self.errors
                    .push(Error::config(format!("cannot read `{shown}`")).because(e));
                return None;
            }
        };
        let vars = envfile::parse(&text);
        let source = Source::new(shown, text);
        for warning in &vars.warnings {
            self.warnings.push(Warning {
                message: warning.message.clone(),
                location: vec![source.bare_place(warning.line)],
                hints: Vec::new(),
            });
        }
        Some(Overrides { source, vars })
    }

    /// Whether something absent is already explained by an entry that was taken out.
    fn damaged(&self, index: usize) -> bool {
        let tree = &self.parsed.tree;
        tree.damaged
            || tree.get("defaults").is_some_and(|d| d.damaged)
            || self.parsed.agent(index).is_some_and(|a| a.damaged)
    }

    fn known_runtime(
        &mut self,
        index: usize,
        name: Option<Placed>,
        label: &str,
    ) -> Option<(String, RuntimeSpec)> {
        let Some(Placed {
            value: name, place, ..
        }) = name
        else {
            if !self.damaged(index) {
                let place = self
                    .parsed
                    .source
                    .place(self.parsed.agent_span(index, &["name"]));
                let hint = known_runtimes(self.parsed, None);
                self.error(
                    format!("no `runtime` for {label}, nor in `defaults`"),
                    &place,
                )
                .hints
                .push(hint);
            }
            return None;
        };
        if let Some(spec) = spec(self.parsed, &name) {
            return Some((name, spec));
        }
        let tree = &self.parsed.tree;
        let lost = tree.damaged || tree.get("runtimes").is_some_and(|r| r.damaged);
        if !lost && !name.is_empty() {
            let hint = known_runtimes(self.parsed, Some(&name));
            self.error(
                format!("unknown runtime `{}` for {label}", clip(&name)),
                &place,
            )
            .hints
            .push(hint);
        }
        None
    }

    fn directory(&mut self, index: usize, path: Option<Placed>, label: &str) -> Option<PathBuf> {
        let Some(Placed {
            value: text,
            place,
            checked,
        }) = path
        else {
            if !self.damaged(index) {
                let place = self
                    .parsed
                    .source
                    .place(self.parsed.agent_span(index, &["name"]));
                self.error(
                    format!("no `working_directory` for {label}, nor in `defaults`"),
                    &place,
                )
                .hints
                .push("say where it works: `working_directory: ~/project`".to_owned());
            }
            return None;
        };
        if text.is_empty() || text.contains(char::is_control) {
            if !checked {
                self.error(format!("invalid `{WORKDIR_VAR}` for {label}: a path without control characters is needed"), &place);
            }
            return None;
        }
        match expand(&text, self.environment) {
            Err(why) => {
                self.error(
                    format!("invalid `working_directory` for {label}: {why}"),
                    &place,
                );
                None
            }
            Ok(path) if (self.environment.exists_dir)(&path) => Some(path),
            Ok(path) => {
                let shown = path.display();
                if (self.environment.exists_file)(&path) {
                    self.error(
                        format!("`working_directory` of {label} is not a directory: `{shown}`"),
                        &place,
                    );
                } else {
                    self.error(format!("no such directory for {label}: `{shown}`"), &place)
                        .hints
                        .push(format!("create it: `mkdir -p {}`", quoted(&path)));
                }
                None
            }
        }
    }

    /// A file that must be there. `quiet`: an earlier agent has reported it.
    fn file(
        &mut self,
        key: &str,
        text: &str,
        label: &str,
        span: Span,
        quiet: bool,
    ) -> Option<PathBuf> {
        if text.is_empty() || text.contains(char::is_control) {
            return None;
        }
        let message = match expand(text, self.environment) {
            Err(why) => format!("invalid `{key}` for {label}: {why}"),
            Ok(path) if (self.environment.exists_file)(&path) => return Some(path),
            Ok(path) => format!(
                "no file to read for `{key}` of {label}: `{}`",
                path.display()
            ),
        };
        if !quiet {
            let place = self.parsed.source.place(span);
            self.error(message, &place);
        }
        None
    }

    fn command(
        &mut self,
        entry: &AgentEntry,
        spec: &RuntimeSpec,
        own: Option<Vec<String>>,
        label: &str,
        place: &dyn Fn(&[&str]) -> String,
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
            && let Some(rest) = program.strip_prefix("~/")
        {
            *program = self
                .environment
                .home
                .join(rest)
                .to_string_lossy()
                .into_owned();
        }
        if entry.permissions == Some(Permissions::Skip) {
            match &spec.permission_args {
                Some(args) => command.extend(args.iter().cloned()),
                None => {
                    self.error(
                        format!("mosaic knows no arguments that make {label} skip permission questions"),
                        &place(&["permissions"]),
                    )
                    .hints
                    .push("set `permission_args` in `runtimes`, or `permissions: ask` and what the CLI's documentation says in `env` or its own settings".to_owned());
                    return None;
                }
            }
        }
        if let (Some(model), Some(args)) = (&entry.model_hint, &spec.model_args) {
            command.extend(args.iter().map(|a| a.replace("{model}", model)));
        }
        Some(command)
    }
}

impl Overrides {
    /// A value that is set and not empty, with its place.
    fn get(&self, var: &str) -> Option<Placed> {
        let value = self.vars.get(var).filter(|v| !v.is_empty())?;
        let span = Span {
            line: self.vars.line_of(var)?,
            column: 1,
            width: var.len(),
        };
        Some(Placed {
            value: value.to_owned(),
            place: self.source.place(span),
            checked: false,
        })
    }
}

/// The definition of a runtime: the roster's over the built-in one of its name, or of `like`.
fn spec(parsed: &Parsed, name: &str) -> Option<RuntimeSpec> {
    let roster = parsed.roster.runtimes.as_ref();
    let own = |name: &str| roster.and_then(|r| r.get(name));
    match own(name) {
        None => builtin::get(name).cloned(),
        Some(runtime) => {
            let base = match (runtime.like.as_deref(), builtin::get(name)) {
                // What the roster changes in the built-in one holds for its likes too.
                (Some(like), _) if like != name => match (own(like), builtin::get(like)) {
                    (Some(changed), Some(base)) => Some(changed.spec.clone().over(base)),
                    (_, base) => base.cloned(),
                },
                (_, base) => base.cloned(),
            };
            Some(runtime.spec.clone().over(&base.unwrap_or_default()))
        }
    }
}

fn known_runtimes(parsed: &Parsed, slip: Option<&str>) -> String {
    let own = parsed
        .roster
        .runtimes
        .iter()
        .flatten()
        .map(|(name, _)| name.as_str());
    let mut names: Vec<&str> = builtin::names().iter().copied().chain(own).collect();
    names.sort_unstable();
    names.dedup();
    match slip {
        Some(name) => suggest::hint(name, "runtimes", names),
        None => format!("known runtimes: {}", names.join(", ")),
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

/// `~`, `~/x`, absolute, or relative to the roster. `.` and doubled or trailing slashes go; `..`
/// stays, for a symbolic link may stand before it.
fn expand(text: &str, environment: &Environment<'_>) -> Result<PathBuf, String> {
    let path = if text == "~" {
        environment.home.to_owned()
    } else if let Some(rest) = text.strip_prefix("~/") {
        // A second slash would make it absolute.
        environment.home.join(rest.trim_start_matches('/'))
    } else if text.starts_with('~') {
        return Err(format!(
            "`{}` is not expanded: write `~/…` or the whole path",
            clip(text)
        ));
    } else {
        environment.roster_dir.join(text)
    };
    Ok(path.components().collect())
}

/// A path as a person would type it to a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain =
        |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | ',' | '@');
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
