//! What must hold for the runtimes of a roster.

use super::check::{Checker, Place, env_key};
use super::document::Runtime;
use super::suggest::clip;
use crate::names;
use crate::runtime::{RuntimeSpec, builtin};

impl Checker<'_> {
    pub(super) fn runtime(&mut self, name: &str, runtime: &Runtime) {
        let owner = format!(" for runtime `{}`", clip(name));
        let parsed = self.parsed;
        let place = |path: &[&str]| parsed.span(&[&["runtimes", name], path].concat());
        let section = parsed.tree.get("runtimes");
        let key = section.and_then(|r| r.key_span(name)).unwrap_or_default();
        if let Err(why) = names::check(name) {
            let error = self.add(key, format!("invalid runtime name `{}`: {why}", clip(name)));
            error
                .hints
                .extend(names::suggest(name).map(|n| format!("for example `{n}`")));
        }
        let lost = parsed
            .tree
            .get("runtimes")
            .and_then(|r| r.get(name))
            .is_some_and(|n| n.lost("command"));
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
            None if builtin::get(name).is_none() && runtime.spec.command.is_none() && !lost => {
                let error = self.add(key, format!("runtime `{}` has no `command`", clip(name)));
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
        let server = spec.server.as_ref();
        for (key, words) in [
            ("args", spec.args.as_ref()),
            ("permission_args", spec.permission_args.as_ref()),
            ("model_args", spec.model_args.as_ref()),
            ("prompt_args", spec.prompt_args.as_ref()),
            ("skills", spec.skills.as_ref().map(|s| &s.only)),
            ("skills", spec.skills.as_ref().map(|s| &s.add)),
            ("server", server.map(|s| &s.args)),
            ("server", server.map(|s| &s.attach)),
            ("conversation", conversation.map(|c| &c.first)),
            ("conversation", conversation.map(|c| &c.resume)),
        ] {
            if words.is_some_and(|w| w.iter().any(|w| w.contains('\0'))) {
                self.add(place(&[key]), format!("a NUL byte in `{key}`{owner}"));
            }
        }
        for (key, env) in [("env", &spec.env), ("permission_env", &spec.permission_env)] {
            if let Some(env) = env {
                self.env(key, env, owner, &|name| place(&[key, name]));
            }
        }
        for (path, text) in [
            (
                ["conversation", "exists"],
                conversation.and_then(|c| c.exists.as_deref()),
            ),
            (
                ["conversation", "holds"],
                conversation.and_then(|c| c.holds.as_deref()),
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
        if let Some(interrupt) = &spec.interrupt {
            let key = |c: char| c.is_ascii_alphanumeric() || c == '-';
            if interrupt.key.is_empty() || !interrupt.key.chars().all(key) {
                self.add(
                    place(&["interrupt", "key"]),
                    format!("invalid `interrupt.key`{owner}: a key as tmux names it is needed, such as `Escape`"),
                );
            }
        }
        if let Some(pattern) = spec.reset.as_ref().and_then(|r| r.empty.as_deref())
            && regex::Regex::new(pattern).is_err()
        {
            self.add(
                place(&["reset", "empty"]),
                format!("`reset.empty` is not a regular expression{owner}"),
            );
        }
        if let Some(screen) = &spec.screen {
            let one = std::slice::from_ref;
            for (path, patterns) in [
                (&["screen", "input", "top"][..], one(&screen.input.top)),
                (&["screen", "input", "bottom"], one(&screen.input.bottom)),
                (&["screen", "working"], &screen.working),
                (&["screen", "limited"], &screen.limited),
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
        for (at, menu) in spec.screen.iter().flat_map(|s| s.menus.iter().enumerate()) {
            let whole = [("option", &menu.option)].into_iter();
            let begins = menu.begins.iter().map(|b| ("begins", b));
            let labels = menu.approve.iter().map(|p| ("approve", p));
            let labels = labels.chain(menu.deny.iter().map(|p| ("deny", p)));
            for (key, pattern) in whole.chain(begins).chain(labels) {
                if let Err(why) = regex::Regex::new(pattern) {
                    let at = at.to_string();
                    let why = why.to_string();
                    let error = self.add(
                        place(&["screen", "menus", &at, key]),
                        format!("`screen.menus.{key}` is not a regular expression{owner}"),
                    );
                    let last = why.lines().last().unwrap_or_default();
                    error
                        .causes
                        .push(last.strip_prefix("error: ").unwrap_or(last).to_owned());
                }
            }
        }
        if let Some(node) = &spec.node {
            for (key, value) in [
                ("port_env", node.port_env.as_ref()),
                ("secret_env", Some(&node.secret_env)),
            ] {
                if let Some(value) = value.filter(|value| !env_key(value)) {
                    self.add(
                        place(&["node", key]),
                        format!(
                            "invalid variable name `{}` in `node.{key}`{owner}",
                            clip(value)
                        ),
                    );
                }
            }
            if node.health_path.as_ref().is_some_and(|path| {
                !path.starts_with('/') || path.contains(|c: char| c.is_control() || c == ' ')
            }) {
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
