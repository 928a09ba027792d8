//! The nodes as the gateway knows them at the moment: what they are, where they listen, how they were when
//! they were observed last. An observer fills it; a request that fails corrects it at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::http::{HeaderName, HeaderValue, header};

use super::credentials::{SECRET_HEADER, USER};
use super::lock;
use super::stream::Switch;
use crate::host::basic_auth::basic;
use crate::routing::node::{Advert, Dialect, Health, Node};
use crate::routing::pins::Ledger;
use crate::routing::placement::Candidate;

/// Where a node listens, and what it wants to hear.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The node.
    pub node: String,
    /// Port on loopback.
    pub port: u16,
    /// The same as a request's Host.
    pub host: HeaderValue,
    /// Its secret.
    pub secret: String,
    /// The same as the header that says it; `None` where the secret cannot stand in one.
    pub credentials: Option<(HeaderName, HeaderValue)>,
    /// What it understands.
    pub dialect: Dialect,
}

impl Endpoint {
    /// Of a port and a secret.
    pub fn new(node: &str, dialect: Dialect, port: u16, secret: &str) -> Self {
        let (name, value) = match dialect {
            Dialect::Opencode => (header::AUTHORIZATION, basic(USER, secret)),
            _ => (SECRET_HEADER, secret.to_owned()),
        };
        let credentials = HeaderValue::from_str(&value).ok().map(|mut value| {
            value.set_sensitive(true);
            (name, value)
        });
        Self {
            node: node.to_owned(),
            port,
            // Always one: digits after a colon.
            host: HeaderValue::from_str(&format!("127.0.0.1:{port}"))
                .unwrap_or_else(|_| HeaderValue::from_static("127.0.0.1")),
            secret: secret.to_owned(),
            credentials,
            dialect,
        }
    }
}

impl std::fmt::Debug for Endpoint {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("node", &self.node)
            .field("port", &self.port)
            .field("dialect", &self.dialect)
            .finish_non_exhaustive()
    }
}

/// One node.
#[derive(Debug)]
pub struct Live {
    /// As the roster has it.
    pub node: Node,
    /// Where it listens; `None` for plain terminals, and for servers that never started.
    pub endpoint: Option<Endpoint>,
    /// How it was when it was observed last.
    advert: Arc<Mutex<Option<Arc<Advert>>>>,
    /// Whether the last observation got no answer in time.
    late: Arc<Mutex<bool>>,
    /// Ends the streams that come from it, when it hangs.
    pub streams: Switch,
}

impl Live {
    /// A node that was not observed yet.
    pub fn new(node: Node, endpoint: Option<Endpoint>) -> Self {
        Self {
            node,
            endpoint,
            advert: Arc::default(),
            late: Arc::default(),
            streams: Switch::default(),
        }
    }

    /// The same server under another description: what was observed of it and the streams that come from
    /// it are one with what requests under way have.
    fn described(&self, node: Node) -> Self {
        Self {
            node,
            endpoint: self.endpoint.clone(),
            advert: Arc::clone(&self.advert),
            late: Arc::clone(&self.late),
            streams: self.streams.clone(),
        }
    }

    /// How it was when it was observed last.
    pub fn advert(&self) -> Option<Arc<Advert>> {
        lock(&self.advert).clone()
    }

    /// Notes an observation. Streams from a node that hangs are ended: no byte comes on them, and their
    /// clients would wait for ever. It hangs when two observations in a row got no answer in time: one is
    /// easily late on a loaded machine.
    pub fn observed(&self, advert: Advert) {
        let late = matches!(advert.health, Health::Timeout(_));
        // Requests that found it late do not count: two of them may be a moment apart.
        let twice = std::mem::replace(&mut *lock(&self.late), late) && late;
        if twice || matches!(advert.health, Health::Refused(_)) {
            self.streams.cut();
        }
        *lock(&self.advert) = Some(Arc::new(advert));
    }

    /// Notes that a request found it otherwise than it was observed, until it is observed anew.
    pub fn found(&self, health: Health) {
        let mut advert = lock(&self.advert);
        if let Some(known) = advert.as_ref() {
            *advert = Some(Arc::new(Advert {
                health,
                ..Advert::clone(known)
            }));
        }
    }
}

/// All nodes.
#[derive(Debug, Default)]
pub struct Nodes {
    all: Mutex<Arc<BTreeMap<String, Arc<Live>>>>,
}

impl Nodes {
    /// All of them, by id.
    pub fn all(&self) -> Arc<BTreeMap<String, Arc<Live>>> {
        Arc::clone(&lock(&self.all))
    }

    /// One.
    pub fn get(&self, id: &str) -> Option<Arc<Live>> {
        lock(&self.all).get(id).cloned()
    }

    /// Those that understand a dialect, by id.
    pub fn speaking(&self, dialect: Dialect) -> Vec<Arc<Live>> {
        self.all()
            .values()
            .filter(|live| live.node.dialect == dialect)
            .cloned()
            .collect()
    }

    /// Replaces what the nodes are. Those that listen where they did and understand what they did keep what
    /// was observed of them, and their streams, whatever else was changed.
    pub fn set(&self, known: Vec<(Node, Option<Endpoint>)>) {
        let before = self.all();
        let now = known
            .into_iter()
            .map(|(node, endpoint)| {
                let same = before
                    .get(&node.id)
                    .filter(|live| live.node.dialect == node.dialect && live.endpoint == endpoint);
                let live = match same {
                    Some(live) if live.node == node => Arc::clone(live),
                    Some(live) => Arc::new(live.described(node)),
                    None => Arc::new(Live::new(node, endpoint)),
                };
                (live.node.id.clone(), live)
            })
            .collect();
        *lock(&self.all) = Arc::new(now);
    }
}

/// Nodes with what is known of them, held still for one placement.
#[derive(Debug)]
pub struct Snapshot(Vec<(Arc<Live>, Option<Arc<Advert>>)>);

impl Snapshot {
    /// Of some nodes.
    pub fn of(nodes: impl IntoIterator<Item = Arc<Live>>) -> Self {
        Self(
            nodes
                .into_iter()
                .map(|live| {
                    let advert = live.advert();
                    (live, advert)
                })
                .collect(),
        )
    }

    /// The same with as much room on the disk as there is where the chat is to work, which may be another
    /// file system than its node's own directory. All nodes are on this host.
    pub fn with_room(mut self, room: Option<u64>) -> Self {
        let Some(room) = room else {
            return self;
        };
        for (_, advert) in &mut self.0 {
            if let Some(advert) = advert.as_mut().map(Arc::make_mut) {
                advert.load.disk_available_bytes = room;
            }
        }
        self
    }

    /// As placement wants them.
    pub fn candidates(&self, ledger: &Ledger) -> Vec<Candidate<'_>> {
        self.0
            .iter()
            .map(|(live, advert)| Candidate {
                node: &live.node,
                advert: advert.as_deref(),
                chats: ledger.chats.get(&live.node.id).copied().unwrap_or(0),
                drained: ledger.drained.contains(&live.node.id),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::gateway::stand_in::{node, well};

    #[test]
    fn a_changed_label_ends_no_stream_and_forgets_no_health() {
        let endpoint = |port| Some(Endpoint::new("a", Dialect::Goosed, port, "s"));
        let nodes = Nodes::default();
        let known = node("a", Dialect::Goosed);
        nodes.set(vec![(known.clone(), endpoint(1))]);
        let before = nodes.get("a").unwrap();
        before.observed(well("a"));
        let changed = Node {
            priority: 7,
            max_chats: Some(3),
            ..known
        };
        nodes.set(vec![(changed.clone(), endpoint(1))]);
        let now = nodes.get("a").unwrap();
        assert_eq!(now.node, changed);
        assert!(now.advert().unwrap().health.is_healthy());
        // Who has the old one is told by the new one.
        let _stream = before.streams.wait();
        assert_eq!(now.streams.waiting(), 1);
        before.found(Health::Refused("gone".to_owned()));
        assert!(!now.advert().unwrap().health.is_healthy());
        // Another port is another server.
        nodes.set(vec![(changed, endpoint(2))]);
        let other = nodes.get("a").unwrap();
        assert!(other.advert().is_none() && other.streams.waiting() == 0);
    }
}
