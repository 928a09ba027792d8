//! The dialect against stand-ins for its nodes, on both transports.

#![allow(clippy::unwrap_used)]

mod alike;
mod batches;
mod failures;
mod fuzz;
mod peers;
mod sessions;
mod transports;

use std::time::Duration;

use serde_json::{Value, json};

use super::stand_in::Goose;
use crate::gateway::stand_in::{self, Under};
use crate::routing::node::Dialect;
use peers::Ws;

/// Nodes of these names and a gateway in front of them.
async fn fleet(names: &[&str]) -> (Under, Vec<Goose>) {
    let mut geese = Vec::new();
    for name in names {
        geese.push(Goose::start(name).await);
    }
    let nodes: Vec<(&str, Dialect, u16)> = geese
        .iter()
        .map(|g| (g.id.as_str(), Dialect::Acp, g.port))
        .collect();
    (stand_in::gateway(&nodes).await, geese)
}

/// A client that has introduced itself.
async fn client(under: &Under) -> Ws {
    let ws = Ws::open(&under.url).await;
    let hello = ws.result("initialize", hello()).await;
    assert_eq!(hello["agentInfo"]["name"], "goose");
    ws
}

fn hello() -> Value {
    json!({"protocolVersion": 1, "clientCapabilities": {"terminal": true}, "clientInfo": {"name": "t", "version": "1"}})
}

fn here() -> Value {
    json!({"cwd": "/tmp", "mcpServers": []})
}

fn prompt(session: &str, text: &str) -> Value {
    json!({"sessionId": session, "prompt": [{"type": "text", "text": text}]})
}

/// A session, by its name towards clients.
async fn session(ws: &Ws) -> String {
    let made = ws.result("session/new", here()).await;
    made["sessionId"].as_str().unwrap().to_owned()
}

/// A session on a certain node, found as clients would: by making some.
async fn session_on(ws: &Ws, node: &str) -> String {
    for _ in 0..6 {
        let name = session(ws).await;
        if name.starts_with(&format!("{node}.")) {
            return name;
        }
    }
    panic!("no session on {node}");
}

/// Something that an agent says in a turn.
fn is_chunk(message: &Value) -> bool {
    message["params"]["update"]["content"].is_object()
}

/// Waits for something that takes a moment.
async fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if is() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 20 s: {what}");
}

fn goose<'a>(geese: &'a [Goose], session: &str) -> &'a Goose {
    let node = session.split('.').next().unwrap();
    geese.iter().find(|g| g.id == node).unwrap()
}
