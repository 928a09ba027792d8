//! Which files tell of what, and which directories must be watched for that. Directories are watched,
//! not files: files appear later, are replaced and rotate. Where the directory itself is not there
//! yet, the nearest one above it is, until it appears.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::host::inotify::{Event, Inotify, Watched};

/// What a change is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// An agent's account, run record or another record of it.
    Agent(String),
    /// The launch files: who is in the fleet.
    Fleet,
    /// The event log.
    Log,
    /// The mailbox.
    Mail,
}

/// What is wanted of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanted {
    /// The file, and what SQLite keeps beside it.
    File(PathBuf),
    /// Everything in the directory.
    Any(PathBuf),
}

impl Wanted {
    fn directory(&self) -> &Path {
        match self {
            Wanted::File(path) => path.parent().unwrap_or(Path::new("/")),
            Wanted::Any(path) => path,
        }
    }
}

/// The files that are watched.
#[derive(Debug)]
pub struct Files {
    inotify: Inotify,
    wanted: BTreeMap<Topic, BTreeSet<Wanted>>,
    directories: HashMap<Watched, Directory>,
    numbers: HashMap<PathBuf, Watched>,
}

#[derive(Debug, Default)]
struct Directory {
    path: PathBuf,
    /// By name.
    names: HashMap<OsString, BTreeSet<Topic>>,
    /// Topics for which every name counts.
    any: BTreeSet<Topic>,
    /// Names whose appearance means that a deeper directory can be watched.
    deeper: HashMap<OsString, BTreeSet<Topic>>,
}

impl Directory {
    fn topics(&self) -> BTreeSet<Topic> {
        let named = self.names.values().chain(self.deeper.values()).flatten();
        named.chain(&self.any).cloned().collect()
    }

    fn remove(&mut self, topic: &Topic) {
        for map in [&mut self.names, &mut self.deeper] {
            map.retain(|_, topics| {
                topics.remove(topic);
                !topics.is_empty()
            });
        }
        self.any.remove(topic);
    }
}

impl Files {
    /// None yet.
    ///
    /// # Errors
    /// The system has no more inotify instances for this user.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            inotify: Inotify::new()?,
            wanted: BTreeMap::new(),
            directories: HashMap::new(),
            numbers: HashMap::new(),
        })
    }

    /// For a poll: when there is something to read, [`Files::changed`] is due.
    pub fn inotify(&self) -> &Inotify {
        &self.inotify
    }

    /// From now on these tell of the topic, and no others do.
    pub fn want(&mut self, topic: &Topic, wanted: BTreeSet<Wanted>) {
        if self.wanted.get(topic) == Some(&wanted) {
            return;
        }
        self.release(topic);
        for one in &wanted {
            self.arm(topic, one);
        }
        if !wanted.is_empty() {
            self.wanted.insert(topic.clone(), wanted);
        }
    }

    fn release(&mut self, topic: &Topic) {
        let Some(old) = self.wanted.remove(topic) else {
            return;
        };
        for directory in self.directories.values_mut() {
            directory.remove(topic);
        }
        drop(old);
    }

    /// Directories that nothing is wanted of any more are watched no more.
    fn sweep(&mut self) {
        let empty: Vec<Watched> = self
            .directories
            .iter()
            .filter(|(_, d)| d.names.is_empty() && d.any.is_empty() && d.deeper.is_empty())
            .map(|(watched, _)| *watched)
            .collect();
        for watched in empty {
            self.forget(watched);
            self.inotify.forget(watched);
        }
    }

    fn forget(&mut self, watched: Watched) -> Option<Directory> {
        self.numbers.retain(|_, number| *number != watched);
        self.directories.remove(&watched)
    }

    fn arm(&mut self, topic: &Topic, wanted: &Wanted) {
        // What could not be watched is found by the watcher's slow look all the same.
        for _ in 0..8 {
            let Some((watched, deeper)) = self.nearest(wanted.directory()) else {
                return;
            };
            let Some(directory) = self.directories.get_mut(&watched) else {
                return;
            };
            match (&deeper, wanted) {
                (Some(name), _) => {
                    directory
                        .deeper
                        .entry(name.clone())
                        .or_default()
                        .insert(topic.clone());
                    // It may have appeared between the look and the watch.
                    if !directory.path.join(name).is_dir() {
                        return;
                    }
                }
                (None, Wanted::File(path)) => {
                    for name in names_of(path) {
                        directory
                            .names
                            .entry(name)
                            .or_default()
                            .insert(topic.clone());
                    }
                    return;
                }
                (None, Wanted::Any(_)) => {
                    directory.any.insert(topic.clone());
                    return;
                }
            }
        }
    }

    /// Watches a directory, or the nearest one above it; then also the name to appear there.
    fn nearest(&mut self, directory: &Path) -> Option<(Watched, Option<OsString>)> {
        let mut name = None;
        for above in directory.ancestors() {
            if let Some(watched) = self.numbers.get(above) {
                return Some((*watched, name));
            }
            if let Ok(watched) = self.inotify.watch(above) {
                let known = self.directories.entry(watched).or_default();
                // The same directory by another path keeps its first one.
                if known.path.as_os_str().is_empty() {
                    known.path = above.to_owned();
                }
                self.numbers.insert(above.to_owned(), watched);
                return Some((watched, name));
            }
            name = above.file_name().map(OsStr::to_owned);
        }
        None
    }

    /// The topics of which something has changed since the last call; never waits.
    pub fn changed(&mut self) -> BTreeSet<Topic> {
        let mut changed = BTreeSet::new();
        let mut again = BTreeSet::new();
        for event in self.inotify.read() {
            match event {
                Event::Name(watched, name) => {
                    let Some(directory) = self.directories.get(&watched) else {
                        continue;
                    };
                    changed.extend(directory.any.iter().cloned());
                    changed.extend(directory.names.get(&name).into_iter().flatten().cloned());
                    again.extend(directory.deeper.get(&name).into_iter().flatten().cloned());
                }
                Event::Gone(watched) => {
                    // One that was only moved is still the kernel's.
                    self.inotify.forget(watched);
                    if let Some(directory) = self.forget(watched) {
                        again.extend(directory.topics());
                    }
                }
                Event::Lost => again.extend(self.wanted.keys().cloned()),
            }
        }
        for topic in &again {
            let wanted = self.wanted.get(topic).cloned().unwrap_or_default();
            self.release(topic);
            self.want(topic, wanted);
        }
        self.sweep();
        changed.extend(again);
        changed
    }
}

/// The file's own name, and the name of SQLite's journal beside it: new rows are in that one first.
fn names_of(path: &Path) -> impl Iterator<Item = OsString> {
    let name = path.file_name().unwrap_or_default().to_owned();
    let mut journal = name.clone();
    journal.push("-wal");
    [name, journal].into_iter()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn agent(name: &str) -> Topic {
        Topic::Agent(name.to_owned())
    }

    fn files(paths: &[PathBuf]) -> BTreeSet<Wanted> {
        paths.iter().cloned().map(Wanted::File).collect()
    }

    #[test]
    fn a_file_tells_of_those_who_want_it_and_a_neighbour_of_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let mut watched = Files::new().unwrap();
        watched.want(&agent("a"), files(&[at("a.jsonl"), at("shared.db")]));
        watched.want(&agent("b"), files(&[at("b.jsonl"), at("shared.db")]));
        std::fs::write(at("neighbour"), "x").unwrap();
        assert_eq!(watched.changed(), BTreeSet::new());
        std::fs::write(at("a.jsonl"), "x").unwrap();
        assert_eq!(watched.changed(), BTreeSet::from([agent("a")]));
        std::fs::write(at("shared.db-wal"), "x").unwrap();
        assert_eq!(watched.changed(), BTreeSet::from([agent("a"), agent("b")]));
        // Replaced by a rename, as records are.
        std::fs::write(at("tmp"), "x").unwrap();
        std::fs::rename(at("tmp"), at("b.jsonl")).unwrap();
        assert_eq!(watched.changed(), BTreeSet::from([agent("b")]));
    }

    #[test]
    fn a_directory_that_appears_later_is_watched_then() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("2026/11/21/log");
        let mut watched = Files::new().unwrap();
        watched.want(&agent("a"), files(std::slice::from_ref(&file)));
        std::fs::create_dir(dir.path().join("2026")).unwrap();
        watched.changed();
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "first").unwrap();
        assert_eq!(watched.changed(), BTreeSet::from([agent("a")]));
        std::fs::write(&file, "second").unwrap();
        assert_eq!(watched.changed(), BTreeSet::from([agent("a")]));
        // And when it goes and comes back.
        std::fs::remove_dir_all(dir.path().join("2026")).unwrap();
        assert_eq!(watched.changed(), BTreeSet::from([agent("a")]));
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        watched.changed();
        std::fs::write(&file, "third").unwrap();
        assert_eq!(watched.changed(), BTreeSet::from([agent("a")]));
    }

    #[test]
    fn what_is_wanted_no_more_is_watched_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let sub = dir.path().join("sub");
        std::fs::create_dir(&sub).unwrap();
        let mut watched = Files::new().unwrap();
        watched.want(&Topic::Fleet, BTreeSet::from([Wanted::Any(sub.clone())]));
        std::fs::write(sub.join("x"), "x").unwrap();
        assert_eq!(watched.changed(), BTreeSet::from([Topic::Fleet]));
        watched.want(&Topic::Fleet, BTreeSet::new());
        std::fs::write(sub.join("y"), "x").unwrap();
        assert_eq!(watched.changed(), BTreeSet::new());
        assert!(watched.directories.is_empty() && watched.numbers.is_empty());
    }
}
