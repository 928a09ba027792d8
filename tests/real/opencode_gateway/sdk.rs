//! opencode's own SDK, unmodified, against the gateway: over servers with a database each, and over what
//! stands in panes, where the terminal and the interface are one process and all share a database.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::{NODES, Server, servers, up};
use crate::cli::{Real, library};
use crate::support::eventually;

/// Longest time for the program; it takes some seconds.
const MOST: &str = "150";

/// Runs the program; what it saw.
fn run(gate: &Server) -> Value {
    let node = std::env::var("MOSAIC_NODE").unwrap_or_else(|_| "node".to_owned());
    let program = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/real/opencode_gateway/client.mjs"
    );
    let out = Command::new("timeout")
        .args(["--kill-after=5", MOST, &node, program])
        .env("SDK", library("opencode-sdk", "@opencode-ai/sdk"))
        .env(
            "GATEWAY",
            format!("http://127.0.0.1:{}/opencode", gate.port),
        )
        .env("SECRET", &gate.secret)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (stdout, stderr) = (
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr),
    );
    assert!(out.status.success(), "{stdout}{stderr}");
    serde_json::from_str(&stdout).unwrap()
}

/// Each of both interfaces has spread six sessions over three nodes.
fn spread(seen: &Value) {
    for interface in ["v1", "v2"] {
        let homes = seen[interface]["homes"].as_array().unwrap();
        let mut counts = BTreeMap::new();
        for home in homes {
            *counts.entry(home.as_str().unwrap()).or_insert(0) += 1;
        }
        assert_eq!(counts, NODES.map(|name| (name, 2)).into(), "{seen}");
    }
}

#[test]
fn the_sdk_on_servers() {
    let Some(real) = Real::lasting(Duration::from_secs(300)) else {
        return;
    };
    let (running, gate, _) = up(&real, servers(&real));
    spread(&run(&gate));
    drop(running);
}

#[test]
fn the_sdk_on_terminals() {
    let Some(real) = Real::lasting(Duration::from_secs(400)) else {
        return;
    };
    real.opencode_database();
    let roster = real
        .roster(NODES.map(|name| real.opencode(name)))
        .default("ready_timeout", json!("90s"));
    let (running, gate, _) = up(&real, roster);
    for name in NODES {
        real.state(name, "idle");
    }
    let seen = run(&gate);
    spread(&seen);
    // The panes are still theirs.
    for name in NODES {
        real.state(name, "idle");
        real.tell(name, "words to the pane", 0, None);
        eventually("they are shown", || {
            real.s.screen(name).contains("words to the pane")
        });
    }
    drop(running);
}
