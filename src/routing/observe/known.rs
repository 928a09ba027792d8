//! Which nodes there are, from the files that `apply` and the agents' first starts have written.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::Result;
use crate::fleet::Agent;
use crate::host::files;
use crate::launch::{self, Launch};
use crate::names::AgentName;
use crate::paths::Paths;
use crate::record::NodeRecord;
use crate::routing::node::{Dialect, Node};

/// Where a node that is a server is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// TCP port on loopback.
    pub port: u16,
    /// What it takes as proof. Never leaves mosaic.
    pub secret: String,
}

impl fmt::Debug for Endpoint {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// A node with what its files say.
#[derive(Debug, Clone)]
pub struct Known {
    /// The node.
    pub node: Node,
    /// Where it is reached; `None` for a plain TUI, and for a server that was never started.
    pub endpoint: Option<Endpoint>,
    /// The launch file; the last good one where it is damaged now.
    pub launch: Arc<Launch>,
    /// Why the launch file cannot be read.
    pub damaged: Option<String>,
}

impl Known {
    /// Whether it is asked over HTTP for its health.
    pub fn is_server(&self) -> bool {
        self.node.dialect != Dialect::Tui || self.launch.agent.spec.health_path().is_some()
    }
}

/// What tells that a file is another one than before.
type Stamp = (i64, i64, u64, u64);

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.mtime(), meta.mtime_nsec(), meta.size(), meta.ino()))
}

/// One launch file as it was read last.
#[derive(Debug)]
struct Read {
    stamp: Option<Stamp>,
    launch: Arc<Launch>,
    damaged: Option<String>,
}

/// All launch files; each is read again only when it is another one.
#[derive(Debug, Default)]
pub struct Files {
    read: BTreeMap<String, Read>,
}

impl Files {
    /// The nodes as the files are now, in the order of their names: all agents that are enabled.
    pub fn nodes(&mut self, paths: &Paths, host: &str) -> Vec<Known> {
        let names = launch::installed(paths);
        self.read.retain(|name, _| names.contains(name));
        for name in &names {
            let path = paths.launch(name);
            // Before it is read: a file that is replaced meanwhile is read again.
            let stamp = stamp(&path);
            if self.read.get(name).is_some_and(|r| r.stamp == stamp) {
                continue;
            }
            let before = self.read.remove(name).map(|r| r.launch);
            let (launch, damaged) = match Launch::load(&path) {
                Ok(launch) => (Some(Arc::new(launch)), None),
                Err(e) => (before.or_else(|| nothing(name)), Some(e.to_string())),
            };
            if let Some(launch) = launch {
                let read = Read {
                    stamp,
                    launch,
                    damaged,
                };
                self.read.insert(name.clone(), read);
            }
        }
        self.read
            .values()
            .filter(|r| r.launch.agent.enabled)
            .map(|r| {
                let agent = &r.launch.agent;
                let (endpoint, unread) = match agent.spec.node {
                    Some(_) => split(endpoint(&paths.node(agent.name.as_str()))),
                    None => (None, None),
                };
                Known {
                    node: Node::of(agent, host),
                    endpoint,
                    launch: Arc::clone(&r.launch),
                    damaged: r.damaged.clone().or(unread),
                }
            })
            .collect()
    }
}

/// What stands for a launch file that was never read.
fn nothing(name: &str) -> Option<Arc<Launch>> {
    let name = AgentName::new(name).ok()?;
    Some(Arc::new(Launch {
        version: launch::VERSION,
        agent: Agent::usual(name, "unknown", Vec::new(), PathBuf::from("/")),
        program: None,
        path: String::new(),
        env_files_digest: String::new(),
    }))
}

fn endpoint(path: &Path) -> Result<Option<Endpoint>> {
    let record = files::read_json::<NodeRecord>(path)?;
    Ok(record.map(|r| Endpoint {
        port: r.port,
        secret: r.secret,
    }))
}

fn split<T>(read: Result<Option<T>>) -> (Option<T>, Option<String>) {
    match read {
        Ok(value) => (value, None),
        Err(e) => (None, Some(e.to_string())),
    }
}
