//! Roster text to [`Roster`], with every problem that the text alone shows.
//!
//! A wrong entry is reported, taken out of the tree, and the rest is read again, so that one run
//! finds all problems. What the machine must have (directories, files) is left to [`super::resolve`].

use serde::Deserialize;

use super::check;
use super::de::{De, Problem, Step, What};
use super::document::{KEYS, Roster, VERSION};
use super::mend::{duplicates, home_directories};
use super::source::{Source, Span};
use super::suggest;
use super::syntax::SyntaxError;
use super::tree::{self, Node, Value};
use crate::error::Error;
use crate::runtime::RuntimeSpec;

/// Most problems reported in one run; nobody reads more, and each costs a pass over the tree.
pub(super) const MAX_PROBLEMS: usize = 50;

/// A roster as far as it could be read.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// What was read; wrong entries are left out.
    pub roster: Roster,
    /// All that is wrong with it as far as the text tells.
    pub problems: Vec<Error>,
    pub(super) source: Source,
    pub(super) tree: Node,
    /// Nothing could be read: further checks would only repeat that.
    pub(super) fatal: bool,
}

/// Reads a roster. `name` is what error messages call the file. Never panics, and is bounded in time
/// and memory, whatever the text.
pub fn parse(name: &str, text: &str) -> Parsed {
    let source = Source::new(name, text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut parsed = Parsed {
        roster: Roster::default(),
        problems: Vec::new(),
        source,
        tree: Node::default(),
        fatal: true,
    };
    match tree::parse(&parsed.source) {
        Ok(tree) => parsed.tree = tree,
        Err(e) => {
            parsed.problems.push(syntax(&parsed.source, e));
            return parsed;
        }
    }
    if let Some(problem) = not_a_roster(&parsed) {
        parsed.problems.push(problem);
        return parsed;
    }
    home_directories(&parsed.source, &mut parsed.tree);
    parsed.problems = duplicates(&parsed.source, &mut parsed.tree);
    let (roster, problems) = read(&parsed.source, &mut parsed.tree, describe);
    parsed.problems.extend(problems);
    if let Some(roster) = roster {
        parsed.roster = roster;
        parsed.fatal = false;
        let found = check::check(&parsed);
        parsed.problems.extend(found);
    }
    parsed.problems.truncate(MAX_PROBLEMS);
    parsed
}

/// Reads the definition of one runtime.
///
/// # Errors
/// The first problem, with the others in it.
pub fn parse_runtime(name: &str, text: &str) -> Result<RuntimeSpec, Error> {
    let source = Source::new(name, text);
    let mut tree = tree::parse(&source).map_err(|e| syntax(&source, e))?;
    let mut problems = duplicates(&source, &mut tree);
    let (spec, more) = read(&source, &mut tree, |tree, path| {
        (join(&names(tree, path)), String::new())
    });
    problems.extend(more);
    match (Error::all(problems), spec) {
        (None, Some(spec)) => Ok(spec),
        (Some(error), _) => Err(error),
        (None, None) => Err(Error::config(format!(
            "cannot read runtime definition `{name}`"
        ))),
    }
}

pub(super) fn syntax(source: &Source, error: SyntaxError) -> Error {
    let mut out = Error::config(format!("cannot read `{}`", source.name()))
        .because(error.message)
        .at(source.place(error.span));
    out.hints.extend(error.hint);
    out
}

/// What makes any further reading pointless: no mapping, or a version that this mosaic cannot know.
fn not_a_roster(parsed: &Parsed) -> Option<Error> {
    let (source, tree) = (&parsed.source, &parsed.tree);
    match tree.value {
        Value::Map(_) => {}
        Value::Null => {
            return Some(
                Error::config(format!("the roster `{}` is empty", source.name()))
                    .hint("write one with `mosaic fleet init --profile minimal --force`"),
            );
        }
        _ => {
            return Some(
                Error::config("a roster is a mapping of keys")
                    .at(source.place(tree.span))
                    .hint(format!("known keys: {}", KEYS.join(", "))),
            );
        }
    }
    let Some(version) = tree.get("version") else {
        // A file without any key of ours is some other file.
        let known = match &tree.value {
            Value::Map(entries) => entries.iter().any(|(k, _)| KEYS.contains(&k.text.as_str())),
            _ => false,
        };
        let error = if known {
            Error::config("the roster does not say which version it is")
        } else {
            Error::config("this is no roster")
        };
        return Some(
            error
                .at(source.place(tree.span))
                .hint(format!("write `version: {VERSION}` as its first line")),
        );
    };
    let text = version.as_text().unwrap_or_default();
    let error = |hint: String| {
        let found = if text.is_empty() {
            String::new()
        } else {
            format!(" `{}`", suggest::clip(text))
        };
        Some(
            Error::config(format!("unknown roster version{found}"))
                .at(source.place(if text.is_empty() {
                    tree.key_span("version").unwrap_or_default()
                } else {
                    version.span
                }))
                .hint(hint),
        )
    };
    match text.parse::<u64>() {
        Ok(VERSION) => None,
        Ok(newer) if newer > VERSION => error(format!(
            "this mosaic knows version {VERSION}: upgrade mosaic to read a newer roster"
        )),
        _ => error(format!("known versions: {VERSION}")),
    }
}

/// Reads a tree, taking out what is wrong. `None` where the whole is.
fn read<T: for<'de> Deserialize<'de>>(
    source: &Source,
    tree: &mut Node,
    describe: impl Fn(&Node, &[Step]) -> (String, String),
) -> (Option<T>, Vec<Error>) {
    let mut problems = Vec::new();
    loop {
        let problem = match T::deserialize(De(tree)) {
            Ok(value) => return (Some(value), problems),
            Err(problem) => problem,
        };
        problems.push(render(source, tree, &problem, &describe));
        if problems.len() >= MAX_PROBLEMS || !remove(tree, &problem.path) {
            return (None, problems);
        }
    }
}

fn render(
    source: &Source,
    tree: &Node,
    problem: &Problem,
    describe: impl Fn(&Node, &[Step]) -> (String, String),
) -> Error {
    let (label, owner) = describe(tree, &problem.path);
    let message = match &problem.what {
        What::UnknownKey(key) => {
            let label = if label.is_empty() {
                suggest::clip(key)
            } else {
                label
            };
            format!("unknown key `{label}`{owner}")
        }
        What::MissingKey(key) if label.is_empty() => format!("missing key `{key}`{owner}"),
        What::MissingKey(key) => format!("missing key `{label}.{key}`{owner}"),
        What::Invalid(why) if label.is_empty() => format!("invalid entry{owner}: {why}"),
        What::Invalid(why) => format!("invalid `{label}`{owner}: {why}"),
    };
    let mut error = Error::config(message).at(source.place(problem.span.unwrap_or(tree.span)));
    error.hints.extend(problem.hint.clone());
    error
}

pub(super) fn remove(tree: &mut Node, path: &[Step]) -> bool {
    let Some((last, way)) = path.split_last() else {
        return false;
    };
    let mut node = tree;
    for step in way {
        let next = match &mut node.value {
            Value::Map(entries) => entries.get_mut(*step).map(|(_, v)| v),
            Value::List(items) => items.get_mut(*step),
            _ => None,
        };
        match next {
            Some(next) => node = next,
            None => return false,
        }
    }
    match &mut node.value {
        Value::Map(entries) if *last < entries.len() => {
            let (key, _) = entries.remove(*last);
            node.removed.push(key.text);
            true
        }
        Value::List(items) if *last < items.len() => {
            items.remove(*last);
            true
        }
        _ => false,
    }
}

/// Names along a path: keys, and positions from 1 in lists.
fn names(tree: &Node, path: &[Step]) -> Vec<String> {
    let mut out = Vec::new();
    let mut node = tree;
    for step in path {
        let next = match &node.value {
            Value::Map(entries) => entries.get(*step).map(|(k, v)| (suggest::clip(&k.text), v)),
            Value::List(items) => items.get(*step).map(|v| (format!("{}", step + 1), v)),
            _ => None,
        };
        let Some((name, next)) = next else { break };
        out.push(name);
        node = next;
    }
    out
}

fn join(path: &[String]) -> String {
    path.join(".")
}

/// What a path means to the user: the key below its owner, and the owner.
pub(super) fn describe(tree: &Node, path: &[Step]) -> (String, String) {
    let names = names(tree, path);
    match names
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        ["agents", _, ..] => (
            join(&names[2..]),
            format!(" for {}", agent_label(tree, path[1])),
        ),
        ["runtimes", name, rest @ ..] if !rest.is_empty() => {
            (join(&names[2..]), format!(" for runtime `{name}`"))
        }
        ["defaults", rest @ ..] if !rest.is_empty() => {
            (join(&names[1..]), " in `defaults`".to_owned())
        }
        _ => (join(&names), String::new()),
    }
}

fn agent_label(tree: &Node, index: Step) -> String {
    let name = tree
        .get("agents")
        .and_then(|agents| agents.items().get(index))
        .and_then(|agent| agent.get("name"))
        .and_then(Node::as_text);
    match name {
        Some(name) => format!("agent `{}`", suggest::clip(name)),
        None => format!("agent number {}", index + 1),
    }
}

impl Parsed {
    /// The agent's own mapping.
    pub(super) fn agent(&self, index: usize) -> Option<&Node> {
        self.tree
            .get("agents")
            .and_then(|agents| agents.items().get(index))
    }
    /// Where an agent's value stands: in the agent or in `defaults`; else where the agent begins.
    pub(super) fn agent_span(&self, index: usize, path: &[&str]) -> Span {
        let inside = |node: Option<&Node>| find(node?, path);
        inside(self.agent(index))
            .or_else(|| inside(self.tree.get("defaults")))
            .or_else(|| self.agent(index).map(|a| a.span))
            .unwrap_or_default()
    }
    /// Where a value of the roster stands.
    pub(super) fn span(&self, path: &[&str]) -> Span {
        find(&self.tree, path).unwrap_or(self.tree.span)
    }
    /// The agent as messages call it.
    pub(super) fn agent_label(&self, index: usize) -> String {
        agent_label(&self.tree, index)
    }
}

/// The place of a value, of its key where it is empty; `None` where it is not there. A number is a
/// position in a list.
fn find(node: &Node, path: &[&str]) -> Option<Span> {
    let (first, rest) = path.split_first()?;
    let (span, next) = match &node.value {
        Value::List(items) => {
            let next = items.get(first.parse::<usize>().ok()?)?;
            (next.span, next)
        }
        _ => {
            let next = node.get(first)?;
            let empty = next.value == Value::Null;
            (
                if empty {
                    node.key_span(first)?
                } else {
                    next.span
                },
                next,
            )
        }
    };
    if rest.is_empty() {
        Some(span)
    } else {
        find(next, rest).or(Some(span))
    }
}
