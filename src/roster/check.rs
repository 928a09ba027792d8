//! What must hold for the values of a roster, as far as the text alone tells: names, characters that
//! would escape into units, launch files or terminals, patterns that do not compile.

use std::collections::{BTreeMap, HashMap};

use super::document::{AgentEntry, DEFAULT_HOLDER};
use super::parse::{MAX_PROBLEMS, Parsed};
use super::source::Span;
use super::suggest::clip;
use crate::delivery::template;
use crate::error::Error;
use crate::fleet::Kickstart;
use crate::names;

/// All problems, in the order of the text as far as possible.
pub(super) fn check(parsed: &Parsed) -> Vec<Error> {
    let mut out = Checker {
        parsed,
        errors: Vec::new(),
    };
    out.tmux();
    out.routing();
    if let Some(defaults) = &parsed.roster.defaults {
        // `over` copies every key, so that one check serves both.
        let entry = AgentEntry::default().over(defaults);
        out.keys(&entry, " in `defaults`", &|path| {
            parsed.span(&[&["defaults"], path].concat())
        });
    }
    for (name, runtime) in parsed.roster.runtimes.iter().flatten() {
        out.runtime(name, runtime);
    }
    out.names();
    for (index, agent) in parsed.roster.agents.iter().flatten().enumerate() {
        if out.errors.len() > MAX_PROBLEMS {
            break;
        }
        let owner = format!(" for {}", parsed.agent_label(index));
        out.keys(agent, &owner, &|path| parsed.agent_span(index, path));
    }
    out.errors
}

/// Finds a place from a path of keys.
pub(super) type Place<'a> = &'a dyn Fn(&[&str]) -> Span;

pub(super) struct Checker<'a> {
    pub(super) parsed: &'a Parsed,
    pub(super) errors: Vec<Error>,
}

impl Checker<'_> {
    pub(super) fn add(&mut self, span: Span, message: String) -> &mut Error {
        let at = self.errors.len();
        self.errors
            .push(Error::config(message).at(self.parsed.source.place(span)));
        &mut self.errors[at]
    }

    fn tmux(&mut self) {
        let Some(tmux) = &self.parsed.roster.tmux else {
            return;
        };
        if let Some(name) = &tmux.socket_name {
            let span = self.parsed.span(&["tmux", "socket_name"]);
            if name == "default" {
                self.add(
                    span,
                    "`default` is the socket of your own tmux server".to_owned(),
                )
                .hints
                .push(
                    "mosaic never touches it: choose another name, such as `mosaic-factory`"
                        .to_owned(),
                );
            } else if !word(name, 64) {
                self.add(span, format!("invalid `tmux.socket_name` `{}`", clip(name)))
                    .hints
                    .push("up to 64 letters, digits, `_` and `-`".to_owned());
            }
        }
        if let Some(name) = &tmux.holder_session
            && (name.starts_with('-') || !word(name, 64))
        {
            let span = self.parsed.span(&["tmux", "holder_session"]);
            self.add(
                span,
                format!("invalid `tmux.holder_session` `{}`", clip(name)),
            )
            .hints
            .push("up to 64 letters, digits, `_` and `-`, not starting with `-`".to_owned());
        }
    }

    /// Names of agents: there, valid, and each once.
    fn names(&mut self) {
        let holder = self
            .parsed
            .roster
            .tmux
            .as_ref()
            .and_then(|t| t.holder_session.as_deref())
            .unwrap_or(DEFAULT_HOLDER);
        let mut seen: HashMap<&str, Span> = HashMap::new();
        for (index, agent) in self.parsed.roster.agents.iter().flatten().enumerate() {
            if self.errors.len() > MAX_PROBLEMS {
                return;
            }
            let node = self.parsed.agent(index);
            let Some(name) = &agent.name else {
                if node.is_none_or(|n| !n.lost("name")) {
                    let span = node
                        .map(|n| n.key_span("name").unwrap_or(n.span))
                        .unwrap_or_default();
                    self.add(span, format!("agent number {} has no name", index + 1))
                        .hints
                        .push("give it one: `name: coder0`".to_owned());
                }
                continue;
            };
            let span = node
                .and_then(|n| n.get("name"))
                .map(|n| n.span)
                .unwrap_or_default();
            if let Err(why) = names::check(name) {
                let message = if name.is_empty() {
                    format!("agent number {} has an empty name", index + 1)
                } else {
                    format!("invalid agent name `{}`: {why}", clip(name))
                };
                let better = names::suggest(name).unwrap_or_else(|| format!("agent{index}"));
                self.add(span, message)
                    .hints
                    .push(format!("for example `{better}`"));
            } else if name == holder {
                self.add(
                    span,
                    format!("agent `{name}` has the name of the holder's session"),
                )
                .hints
                .push("rename the agent, or set another `tmux.holder_session`".to_owned());
            }
            match seen.get(name.as_str()) {
                Some(first) => {
                    let places = [*first, span].map(|s| self.parsed.source.place(s));
                    let mut error =
                        Error::config(format!("two agents have the name `{}`", clip(name)))
                            .hint("rename one: every agent has a session and a unit of its own");
                    error.location.extend(places);
                    self.errors.push(error);
                }
                None => {
                    seen.insert(name, span);
                }
            }
        }
    }

    /// The keys that `defaults` and agents share.
    fn keys(&mut self, keys: &AgentEntry, owner: &str, place: Place<'_>) {
        if let Some(class) = &keys.class
            && (class.starts_with(['-', '_']) || !word(class, 63))
        {
            self.add(
                place(&["class"]),
                format!("invalid `class` `{}`{owner}", clip(class)),
            )
            .hints
            .push(
                "up to 63 letters, digits, `_` and `-`, starting with a letter or digit".to_owned(),
            );
        }
        if let Some(runtime) = &keys.runtime
            && runtime.is_empty()
        {
            self.add(place(&["runtime"]), format!("empty `runtime`{owner}"));
        }
        if let Some(directory) = &keys.working_directory {
            self.path(
                "working_directory",
                directory,
                owner,
                place(&["working_directory"]),
            );
        }
        if let Some(files) = &keys.env_file {
            for file in &files.0 {
                self.path("env_file", file, owner, place(&["env_file"]));
            }
        }
        if let Some(command) = &keys.command {
            self.command("command", &command.0, owner, place(&["command"]));
        }
        if let Some(model) = &keys.model_hint
            && (model.trim().is_empty() || model.contains(char::is_control))
        {
            self.add(
                place(&["model_hint"]),
                format!("invalid `model_hint`{owner}: a name without control characters is needed"),
            );
        }
        match &keys.kickstart {
            Some(Kickstart::Text(text)) if text.contains('\0') => {
                self.add(
                    place(&["kickstart", "text"]),
                    format!("a NUL byte in `kickstart.text`{owner}"),
                );
            }
            Some(Kickstart::Text(text)) if text.trim().is_empty() => {
                self.add(
                    place(&["kickstart", "text"]),
                    format!("empty `kickstart.text`{owner}"),
                );
            }
            Some(Kickstart::Text(text)) => {
                self.variables("kickstart.text", text, owner, place(&["kickstart", "text"]));
            }
            Some(Kickstart::File(file)) => {
                self.path(
                    "kickstart.file",
                    &file.to_string_lossy(),
                    owner,
                    place(&["kickstart", "file"]),
                );
            }
            None => {}
        }
        if let Some(text) = &keys.on_restart_message {
            let span = place(&["on_restart_message"]);
            if text.contains('\0') {
                self.add(span, format!("a NUL byte in `on_restart_message`{owner}"));
            } else if text.trim().is_empty() {
                self.add(span, format!("empty `on_restart_message`{owner}"));
            } else {
                self.variables("on_restart_message", text, owner, span);
            }
        }
        if let Some(env) = &keys.env {
            self.env("env", env, owner, &|key| place(&["env", key]));
        }
        for (key, command) in keys.on.iter().flat_map(crate::notices::On::commands) {
            if command.contains('\0') {
                self.add(
                    place(&["on", key]),
                    format!("a NUL byte in `on.{key}`{owner}"),
                );
            }
        }
        self.chats(keys, owner, place);
        if keys.limits.as_ref().is_some_and(|l| l.tasks_max == Some(0)) {
            self.add(
                place(&["limits", "tasks_max"]),
                format!("invalid `limits.tasks_max`{owner}: no process at all could start"),
            );
        }
    }

    /// A text that names a variable nobody fills in would be refused when it is sent.
    fn variables(&mut self, key: &str, text: &str, owner: &str, span: Span) {
        if let Err(e) = template::check(&format!("`{key}`{owner}"), text) {
            self.add(span, e.message).hints.extend(e.hints);
        }
    }

    pub(super) fn path(&mut self, key: &str, path: &str, owner: &str, span: Span) {
        if path.is_empty() {
            self.add(span, format!("empty `{key}`{owner}"));
        } else if let Some(c) = path.chars().find(|c| c.is_control()) {
            self.add(span, format!("control character {c:?} in `{key}`{owner}"))
                .hints
                .push("such a path cannot be written into a systemd unit; rename it".to_owned());
        }
    }

    pub(super) fn command(&mut self, key: &str, words: &[String], owner: &str, span: Span) {
        match words.first() {
            None => {
                self.add(span, format!("empty `{key}`{owner}"));
            }
            Some(program) if program.trim().is_empty() || program.contains(char::is_control) => {
                self.add(
                    span,
                    format!("invalid `{key}`{owner}: `{}` is no program", clip(program)),
                );
            }
            Some(_) if words.iter().any(|w| w.contains('\0')) => {
                self.add(span, format!("a NUL byte in `{key}`{owner}"));
            }
            Some(_) => {}
        }
    }

    pub(super) fn env(
        &mut self,
        label: &str,
        env: &BTreeMap<String, String>,
        owner: &str,
        place: &dyn Fn(&str) -> Span,
    ) {
        for (key, value) in env {
            if !env_key(key) {
                self.add(
                    place(key),
                    format!("invalid variable name `{}` in `{label}`{owner}", clip(key)),
                )
                .hints
                .push("letters, digits and `_`, not starting with a digit".to_owned());
            }
            if value.contains('\0') {
                self.add(
                    place(key),
                    format!("a NUL byte in `{label}.{}`{owner}", clip(key)),
                );
            }
        }
    }
}

/// ASCII letters, digits, `_` and `-`; 1 to `max` of them.
fn word(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len())
        && text
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-'))
}

/// Whether systemd and every shell take this as a variable's name.
pub(super) fn env_key(key: &str) -> bool {
    !key.is_empty()
        && !key.as_bytes()[0].is_ascii_digit()
        && key.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
}
