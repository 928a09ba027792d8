//! Profiles: rosters to start from, as text with comments, and how they are filled in for a machine.

use std::fmt::Write as _;
use std::path::Path;

use regex::{Captures, Regex};

use super::load::read_text;
use super::parse::parse;
use super::suggest;
use crate::error::{Error, Result};
use crate::runtime::builtin;

/// Runtimes that may take an open slot, best first. Servers and shells are no agents to talk to, and
/// the demo agent is what remains when none of these is there.
pub const PREFERENCE: [&str; 6] = ["claude", "codex", "pi", "opencode", "goose", "gemini"];

/// The runtime that is always there.
const FALLBACK: &str = "demo";

/// goose's servers that may take an open place of a server, best first. Which one there is depends on
/// goose's version.
pub const SERVERS: [&str; 2] = ["goosed", "goose-serve"];

const RUNTIME_MARK: &str = "@RUNTIME@";
const SERVER_MARK: &str = "@SERVER@";
const DIRECTORY_MARK: &str = "@WORKING_DIRECTORY@";

const SHIPPED: &[(&str, &str)] = &[
    ("demo", include_str!("../../profiles/demo.yaml")),
    ("goose-pool", include_str!("../../profiles/goose-pool.yaml")),
    ("goosed", include_str!("../../profiles/goosed.yaml")),
    ("minimal", include_str!("../../profiles/minimal.yaml")),
    (
        "usc-software-factory",
        include_str!("../../profiles/usc-software-factory.yaml"),
    ),
];

const ALIASES: &[(&str, &str)] = &[("usc", "usc-software-factory")];

/// A roster to start from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Its name, or the file it comes from.
    pub name: String,
    /// YAML with the marks `"@RUNTIME@"`, `"@SERVER@"` and `"@WORKING_DIRECTORY@"` where something is filled
    /// in.
    pub text: String,
}

/// A profile made into a roster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filled {
    /// The roster's text.
    pub text: String,
    /// What was chosen or replaced, and why: sentences for the user.
    pub notes: Vec<String>,
    /// The runtimes it uses, sorted.
    pub runtimes: Vec<String>,
}

/// The names of the shipped profiles, sorted; aliases are left out.
pub fn names() -> Vec<&'static str> {
    SHIPPED.iter().map(|(name, _)| *name).collect()
}

/// Finds a profile by its name or alias; anything with a `/`, or ending in `.yaml` or `.yml`, is a
/// file.
///
/// # Errors
/// An unknown name, or a file that cannot be read.
pub fn find(name: &str) -> Result<Profile> {
    let full = ALIASES
        .iter()
        .find(|(alias, _)| *alias == name)
        .map_or(name, |(_, full)| full);
    if let Some((name, text)) = SHIPPED.iter().find(|(n, _)| *n == full) {
        return Ok(Profile {
            name: (*name).to_owned(),
            text: (*text).to_owned(),
        });
    }
    let is_file = Path::new(name)
        .extension()
        .is_some_and(|e| e == "yaml" || e == "yml");
    if name.contains('/') || is_file {
        let text = read_text(Path::new(name)).map_err(|e| {
            Error::config(format!("cannot read the profile `{}`", suggest::clip(name))).because(e)
        })?;
        return Ok(Profile {
            name: name.to_owned(),
            text,
        });
    }
    let known: Vec<&str> = names()
        .into_iter()
        .chain(ALIASES.iter().map(|(alias, _)| *alias))
        .collect();
    Err(
        Error::config(format!("unknown profile `{}`", suggest::clip(name)))
            .hint(suggest::hint(name, "profiles", known))
            .hint("a profile of your own is given by its path: `--profile ./mine.yaml`"),
    )
}

/// Fills a profile in. `installed` are the runtimes found on this machine; `working_directory` is an
/// absolute path. Comments stay. An agent whose runtime is not installed gets the best one that is;
/// servers, which nothing can stand in for, and runtimes that the profile itself defines stay.
pub fn fill(profile: &Profile, installed: &[&str], working_directory: &Path) -> Filled {
    let best = PREFERENCE.into_iter().find(|name| installed.contains(name));
    let chosen = best.unwrap_or(FALLBACK);
    let server = SERVERS.into_iter().find(|name| installed.contains(name));
    let own = parse(&profile.name, &profile.text)
        .roster
        .runtimes
        .unwrap_or_default();
    let mut open = false;
    let mut replaced: Vec<&'static str> = Vec::new();
    let mut absent: Vec<&'static str> = Vec::new();
    let mut runtimes: Vec<String> = Vec::new();

    // A line `runtime: NAME` of an agent or of `defaults`; comments begin with `#` and do not match.
    let text =
        match Regex::new(r#"(?m)^([ \t]*(?:-[ \t]+)?runtime:[ \t]*)["']?([A-Za-z0-9_@-]+)["']?"#) {
            Err(_) => profile.text.clone(),
            Ok(line) => line
                .replace_all(&profile.text, |found: &Captures<'_>| {
                    // The last one, which newer versions have, is what should be installed.
                    let name = match &found[2] {
                        SERVER_MARK => server.unwrap_or(SERVERS[SERVERS.len() - 1]),
                        name => name,
                    };
                    let known = builtin::names().iter().copied().find(|n| *n == name);
                    let name = match known {
                        _ if name == RUNTIME_MARK => {
                            open = true;
                            chosen.to_owned()
                        }
                        Some(known)
                            if PREFERENCE.contains(&known)
                                && !installed.contains(&known)
                                && !own.contains_key(known) =>
                        {
                            replaced.push(known);
                            chosen.to_owned()
                        }
                        Some(known) => {
                            let server =
                                builtin::get(known).is_some_and(|s| s.health_path().is_some());
                            if server && !installed.contains(&known) && !own.contains_key(known) {
                                absent.push(known);
                            }
                            known.to_owned()
                        }
                        None => name.to_owned(),
                    };
                    let line = format!("{}{name}", &found[1]);
                    runtimes.push(name);
                    line
                })
                .into_owned(),
        };
    // Last, so that nothing inside the path is taken for a mark.
    let directory = yaml_quoted(&working_directory.to_string_lossy());
    let text = text.replace(&format!("\"{DIRECTORY_MARK}\""), &directory);

    for list in [&mut replaced, &mut absent] {
        list.sort_unstable();
        list.dedup();
    }
    runtimes.sort();
    runtimes.dedup();
    let mut notes = Vec::new();
    match best {
        Some(best) if open => notes.push(format!("runtime `{best}`, the first installed of {}", PREFERENCE.join(", "))),
        None if open || !replaced.is_empty() => notes.push(format!(
            "no coding agent is installed, so the agents are mosaic's demonstration agents; install a real one, \
             for example with `{}`, and run `mosaic fleet init --force` again",
            install(PREFERENCE[0])
        )),
        _ => {}
    }
    if best.is_some() {
        for name in &replaced {
            notes.push(format!(
                "runtime `{name}` is not installed: its agents get `{chosen}`; to have it, run `{}` and \
                 `mosaic fleet init --force` again",
                install(name)
            ));
        }
    }
    for name in &absent {
        notes.push(format!(
            "runtime `{name}` is not installed, and its agents cannot start without it: {}",
            install(name)
        ));
    }
    if working_directory.to_str().is_none() {
        notes.push(
            "the working directory's name is not UTF-8: choose another one in the roster"
                .to_owned(),
        );
    }
    Filled {
        text,
        notes,
        runtimes,
    }
}

fn install(runtime: &str) -> &'static str {
    builtin::get(runtime)
        .and_then(|spec| spec.install.as_deref())
        .unwrap_or("see its own documentation")
}

/// A text as a double-quoted YAML scalar on one line.
fn yaml_quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            // Everything YAML might take for a line break, a mark of byte order, or not printable.
            c if c.is_control()
                || matches!(
                    c,
                    '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
                ) =>
            {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
