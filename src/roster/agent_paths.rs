//! The directory and the files that an agent names; they must be there.

use std::path::PathBuf;

use super::agent::{Placed, Resolver};
use super::document::{AgentEntry, Defaults};
use super::overrides::WORKDIR_VAR;
use super::paths::{expand, quoted};
use super::source::Span;
use crate::error::Error;

impl Resolver<'_> {
    pub(super) fn directory(&mut self, index: usize, path: Option<Placed>) -> Option<PathBuf> {
        let Some(path) = path else {
            self.missing(
                index,
                "working_directory",
                "say where it works: `working_directory: ~/project`".to_owned(),
            );
            return None;
        };
        self.existing_directory("working_directory", path)
    }

    /// A directory that must be there.
    pub(super) fn existing_directory(&mut self, key: &str, path: Placed) -> Option<PathBuf> {
        let Placed {
            value: text,
            place,
            owner,
            checked,
        } = path;
        if text.is_empty() || text.contains(char::is_control) {
            if !checked {
                let why = "a path without control characters is needed";
                self.error(
                    Error::config(format!("invalid `{WORKDIR_VAR}`{owner}: {why}")).at(place),
                );
            }
            return None;
        }
        let path = match expand(&text, self.environment.home, self.environment.roster_dir) {
            Ok(path) => path,
            Err(why) => {
                self.error(Error::config(format!("invalid `{key}`{owner}: {why}")).at(place));
                return None;
            }
        };
        if (self.environment.exists_dir)(&path) {
            return Some(path);
        }
        let shown = path.display();
        self.error(if (self.environment.exists_file)(&path) {
            Error::config(format!("not a directory in `{key}`{owner}: `{shown}`")).at(place)
        } else {
            Error::config(format!("no such directory{owner}: `{shown}`"))
                .at(place)
                .hint(format!("create it: `mkdir -p {}`", quoted(&path)))
        });
        None
    }

    pub(super) fn env_files(
        &mut self,
        index: usize,
        own: &AgentEntry,
        defaults: &Defaults,
    ) -> Vec<PathBuf> {
        let mut out = Vec::new();
        for (paths, inherited) in [(&defaults.env_file, true), (&own.env_file, false)] {
            for (at, path) in paths.iter().flat_map(|p| &p.0).enumerate() {
                let at = at.to_string();
                let (span, owner): (Span, String) = if inherited {
                    (
                        self.parsed.span(&["defaults", "env_file", &at]),
                        " in `defaults`".to_owned(),
                    )
                } else {
                    let label = self.parsed.agent_label(index);
                    (
                        self.parsed.agent_span(index, &["env_file", &at]),
                        format!(" for {label}"),
                    )
                };
                let place = self.parsed.source.place(span);
                out.extend(self.file("env_file", path, &place, &owner));
            }
        }
        out
    }

    /// A file that must be there.
    pub(super) fn file(
        &mut self,
        key: &str,
        text: &str,
        place: &str,
        owner: &str,
    ) -> Option<PathBuf> {
        // The checks of the text have said so.
        if text.is_empty() || text.contains(char::is_control) {
            return None;
        }
        let message = match expand(text, self.environment.home, self.environment.roster_dir) {
            Err(why) => format!("invalid `{key}`{owner}: {why}"),
            Ok(path) if (self.environment.exists_file)(&path) => return Some(path),
            Ok(path) => format!("no file to read in `{key}`{owner}: `{}`", path.display()),
        };
        self.error(Error::config(message).at(place));
        None
    }
}
