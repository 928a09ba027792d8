//! Nodes for tests: routers of the test's own behind real ports, and a gateway in front of them.

#![allow(clippy::unwrap_used, missing_docs)]

use std::net::Ipv4Addr;

use axum::Router;
use jiff::Timestamp;
use tokio::net::TcpListener;

use super::limits::Limits;
use super::nodes::Endpoint;
use super::{Gateway, Secret, Shared};
use crate::routing::node::{Advert, Dialect, Health, Load, Node};
use crate::routing::pins::Pins;
use crate::routing::policy::Policy;

/// The gateway's secret in tests.
pub const SECRET: &str = "gateway-secret";

/// A gateway on a port of its own, and what must live as long.
pub struct Under {
    pub gateway: Gateway,
    pub url: String,
    pub directory: tempfile::TempDir,
    _stop: tokio::sync::oneshot::Sender<()>,
}

/// A node of a dialect.
pub fn node(id: &str, dialect: Dialect) -> Node {
    Node {
        id: id.to_owned(),
        host: "here".to_owned(),
        class: "node".to_owned(),
        runtime: dialect.as_str().to_owned(),
        dialect,
        labels: Default::default(),
        model_hint: None,
        working_directory: "/".into(),
        priority: 0,
        max_chats: None,
    }
}

/// A policy for which the machine that tests run on may be as full as it likes.
pub fn policy() -> Policy {
    Policy {
        min_disk_available_bytes: 0,
        ..Policy::default()
    }
}

/// An advert of a node that is well.
pub fn well(id: &str) -> Advert {
    Advert {
        id: id.to_owned(),
        // Tests may take long; these never get stale.
        observed: Timestamp::now() + jiff::SignedDuration::from_hours(1),
        health: Health::Healthy,
        load: Load {
            disk_available_bytes: u64::MAX,
            ..Load::default()
        },
        rtt_ms: 1.0,
        state: String::new(),
    }
}

impl Under {
    /// Makes every pin one that was last used an hour ago, and releases what was not used for half of one
    /// and is not in use. How many.
    pub fn an_hour_passes(&self) -> usize {
        let file = self.directory.path().join("pins.db");
        let ago = Timestamp::now() - jiff::SignedDuration::from_hours(1);
        let db = rusqlite::Connection::open(file).unwrap();
        let used = [ago.as_millisecond()];
        db.execute("UPDATE pin SET used = ?1", used).unwrap();
        self.gateway.flush_used().unwrap();
        let ttl = jiff::SignedDuration::from_mins(30);
        self.gateway.expire(ttl, Timestamp::now()).unwrap()
    }
}

/// The secret of a stand-in.
pub fn secret_of(id: &str) -> String {
    format!("secret-of-{id}")
}

/// Serves a router on a free port of loopback, until the runtime ends.
pub async fn serve(router: Router) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    port
}

/// Makes these the nodes of a gateway, all well, each with a directory of its own.
pub fn know(
    gateway: &Gateway,
    nodes: &[(&str, Dialect, u16)],
    directory: impl Fn(&str) -> &'static str,
) {
    let known = nodes.iter().map(|(id, dialect, port)| {
        let mut node = node(id, *dialect);
        node.working_directory = directory(id).into();
        let endpoint = Endpoint::new(id, *dialect, *port, &secret_of(id));
        (node, Some(endpoint))
    });
    gateway.nodes.set(known.collect());
    for (id, ..) in nodes {
        gateway.nodes.get(id).unwrap().observed(well(id));
    }
}

/// A gateway in front of nodes at these ports.
pub async fn gateway(nodes: &[(&str, Dialect, u16)]) -> Under {
    within(nodes, Limits::default()).await
}

/// The same with limits of its own.
pub async fn within(nodes: &[(&str, Dialect, u16)], limits: Limits) -> Under {
    let directory = tempfile::tempdir().unwrap();
    let pins = Pins::at(&directory.path().join("pins.db")).unwrap();
    let shared = Shared::of(None, policy(), pins, Secret::new(SECRET));
    let gateway = std::sync::Arc::new(shared.within(limits));
    know(&gateway, nodes, |_| "/");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (served, door) = (gateway.clone(), super::door::Door::new(&gateway));
    tokio::spawn(async move {
        let ways = super::server::Ways::plain(listener);
        super::server::serve(&served, ways, door, async move {
            let _ = stopped.await;
        })
        .await;
    });
    Under {
        gateway,
        url,
        directory,
        _stop: stop,
    }
}
