//! What must hold for the values of a roster, as far as the text alone tells: names, characters that
//! would escape into units, launch files or terminals, patterns that do not compile.

use std::collections::{BTreeMap, HashMap};

use super::document::{AgentEntry, DEFAULT_HOLDER, Runtime};
use super::parse::{MAX_PROBLEMS, Parsed};
use super::source::Span;
use super::suggest::clip;
use crate::error::Error;
use crate::fleet::Kickstart;
use crate::names;
use crate::runtime::{RuntimeSpec, builtin};

/// All problems, in the order of the text as far as possible.
pub(super) fn check(parsed: &Parsed) -> Vec<Error> {
    let mut out = Checker {
        parsed,
        errors: Vec::new(),
    };
    out.tmux();
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
type Place<'a> = &'a dyn Fn(&[&str]) -> Span;

struct Checker<'a> {
    parsed: &'a Parsed,
    errors: Vec<Error>,
}

impl Checker<'_> {
    fn add(&mut self, span: Span, message: String) -> &mut Error {
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
                if node.is_none_or(|n| !n.damaged) {
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
                let error = self.add(span, format!("invalid agent name `{}`: {why}", clip(name)));
                error
                    .hints
                    .extend(names::suggest(name).map(|n| format!("for example `{n}`")));
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
            self.add(place(&["runtime"]), format!("`runtime` is empty{owner}"));
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
                    format!("`kickstart.text` holds a NUL byte{owner}"),
                );
            }
            Some(Kickstart::Text(text)) if text.trim().is_empty() => {
                self.add(
                    place(&["kickstart", "text"]),
                    format!("`kickstart.text` is empty{owner}"),
                );
            }
            Some(Kickstart::File(file)) => {
                self.path(
                    "kickstart.file",
                    &file.to_string_lossy(),
                    owner,
                    place(&["kickstart", "file"]),
                );
            }
            _ => {}
        }
        if let Some(env) = &keys.env {
            self.env("env", env, owner, &|key| place(&["env", key]));
        }
        if keys.limits.as_ref().is_some_and(|l| l.tasks_max == Some(0)) {
            self.add(
                place(&["limits", "tasks_max"]),
                format!("invalid `limits.tasks_max`{owner}: no process at all could start"),
            );
        }
    }

    fn path(&mut self, key: &str, path: &str, owner: &str, span: Span) {
        if path.is_empty() {
            self.add(span, format!("`{key}` is empty{owner}"));
        } else if let Some(c) = path.chars().find(|c| c.is_control()) {
            self.add(
                span,
                format!("`{key}` holds the control character {c:?}{owner}"),
            )
            .hints
            .push("such a path cannot be written into a systemd unit; rename it".to_owned());
        }
    }

    fn command(&mut self, key: &str, words: &[String], owner: &str, span: Span) {
        match words.first() {
            None => {
                self.add(span, format!("`{key}` is empty{owner}"));
            }
            Some(program) if program.trim().is_empty() || program.contains(char::is_control) => {
                self.add(
                    span,
                    format!("invalid `{key}`{owner}: `{}` is no program", clip(program)),
                );
            }
            Some(_) if words.iter().any(|w| w.contains('\0')) => {
                self.add(span, format!("`{key}` holds a NUL byte{owner}"));
            }
            Some(_) => {}
        }
    }

    fn env(
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
                    format!("`{label}.{}` holds a NUL byte{owner}", clip(key)),
                );
            }
        }
    }

    fn runtime(&mut self, name: &str, runtime: &Runtime) {
        let owner = format!(" for runtime `{}`", clip(name));
        let parsed = self.parsed;
        let place = |path: &[&str]| parsed.span(&[&["runtimes", name], path].concat());
        if let Err(why) = names::check(name) {
            let error = self.add(
                place(&[]),
                format!("invalid runtime name `{}`: {why}", clip(name)),
            );
            error
                .hints
                .extend(names::suggest(name).map(|n| format!("for example `{n}`")));
        }
        let damaged = parsed
            .tree
            .get("runtimes")
            .and_then(|r| r.get(name))
            .is_some_and(|n| n.damaged);
        match runtime.like.as_deref() {
            Some(like) if builtin::get(like).is_none() => {
                let error = self.add(
                    place(&["like"]),
                    format!("unknown runtime `{}` in `like`{owner}", clip(like)),
                );
                error.hints.push(super::suggest::hint(
                    like,
                    "built-in runtimes",
                    builtin::names().iter().copied(),
                ));
            }
            None if builtin::get(name).is_none() && runtime.spec.command.is_none() && !damaged => {
                let error = self.add(
                    place(&[]),
                    format!("runtime `{}` has no `command`", clip(name)),
                );
                error.hints.push(match super::suggest::nearest(name, builtin::names().iter().copied()) {
                    Some(near) => format!("did you mean the built-in runtime `{near}`?"),
                    None => "a new runtime needs `command: PROGRAM`, or `like: NAME` of a built-in one".to_owned(),
                });
            }
            _ => {}
        }
        self.spec(&runtime.spec, &owner, &place);
    }

    fn spec(&mut self, spec: &RuntimeSpec, owner: &str, place: Place<'_>) {
        if let Some(command) = &spec.command {
            self.command(
                "command",
                std::slice::from_ref(command),
                owner,
                place(&["command"]),
            );
        }
        let conversation = spec.conversation.as_ref();
        for (key, words) in [
            ("args", spec.args.as_ref()),
            ("permission_args", spec.permission_args.as_ref()),
            ("model_args", spec.model_args.as_ref()),
            ("conversation", conversation.map(|c| &c.first)),
            ("conversation", conversation.map(|c| &c.resume)),
        ] {
            if words.is_some_and(|w| w.iter().any(|w| w.contains('\0'))) {
                self.add(place(&[key]), format!("`{key}` holds a NUL byte{owner}"));
            }
        }
        if let Some(env) = &spec.env {
            self.env("env", env, owner, &|key| place(&["env", key]));
        }
        for (path, text) in [
            (
                ["conversation", "exists"],
                conversation.and_then(|c| c.exists.as_deref()),
            ),
            (
                ["transcript", "file"],
                spec.transcript.as_ref().map(|t| t.file.as_str()),
            ),
            (
                ["reset", "clear"],
                spec.reset.as_ref().and_then(|r| r.clear.as_deref()),
            ),
            (
                ["reset", "new"],
                spec.reset.as_ref().and_then(|r| r.new.as_deref()),
            ),
        ] {
            if text.is_some_and(|t| t.trim().is_empty() || t.contains(char::is_control)) {
                let key = path.join(".");
                self.add(
                    place(&path),
                    format!("invalid `{key}`{owner}: one line of text is needed"),
                );
            }
        }
        if let Some(screen) = &spec.screen {
            let one = std::slice::from_ref;
            for (path, patterns) in [
                (&["screen", "input", "top"][..], one(&screen.input.top)),
                (&["screen", "input", "bottom"], one(&screen.input.bottom)),
                (&["screen", "working"], &screen.working),
                (&["screen", "dialog"], &screen.dialog),
                (&["screen", "collapsed"], &screen.collapsed),
            ] {
                for (at, pattern) in patterns.iter().enumerate() {
                    if let Err(why) = regex::Regex::new(pattern) {
                        let at = at.to_string();
                        let why = why.to_string();
                        let why = why.lines().last().unwrap_or_default();
                        let why = why.strip_prefix("error: ").unwrap_or(why).to_owned();
                        let error = self.add(
                            place(&[path, &[at.as_str()]].concat()),
                            format!("`{}` is not a regular expression{owner}", path.join(".")),
                        );
                        error.causes.push(why);
                    }
                }
            }
        }
        if let Some(node) = &spec.node {
            for (key, value) in [
                ("port_env", &node.port_env),
                ("secret_env", &node.secret_env),
            ] {
                if !env_key(value) {
                    self.add(
                        place(&["node", key]),
                        format!(
                            "invalid variable name `{}` in `node.{key}`{owner}",
                            clip(value)
                        ),
                    );
                }
            }
            if !node.health_path.starts_with('/')
                || node
                    .health_path
                    .contains(|c: char| c.is_control() || c == ' ')
            {
                self.add(
                    place(&["node", "health_path"]),
                    format!(
                        "invalid `node.health_path`{owner}: a path that starts with `/` is needed"
                    ),
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
