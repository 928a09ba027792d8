//! Chats are placed on agents, and stay where they are placed.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Agent, Roster, Sandbox, eventually};

/// Agents of a class, on a machine that may be as busy and as full as it likes.
fn fleet(agents: &[(&str, &str)]) -> Roster {
    let agents = agents
        .iter()
        .map(|(name, class)| Agent::demo(name).key("class", json!(class)));
    Roster::new(agents).key(
        "routing",
        json!({
            "max_cpu_load_pct": 100,
            "max_memory_used_pct": 100,
            "min_disk_available_bytes": 0,
        }),
    )
}

fn ids(nodes: &Value) -> Vec<&str> {
    let nodes = nodes["nodes"].as_array().unwrap().iter();
    nodes.map(|n| n["id"].as_str().unwrap()).collect()
}

/// Chats and their nodes.
fn pins(s: &Sandbox) -> Vec<(String, String)> {
    let list = s.mosaic(&["pin", "list", "--json"]).ok().json();
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let pins = list["pins"].as_array().unwrap().iter();
    pins.map(|p| (text(&p["chat"]), text(&p["node"]))).collect()
}

fn heard(s: &Sandbox, agent: &str, text: &str) -> bool {
    s.messages(agent).iter().any(|m| m.contains(text))
}

#[test]
fn a_chat_stays_with_its_agent_whatever_becomes_of_it() {
    let roster = fleet(&[
        ("a", "implementer"),
        ("b", "implementer"),
        ("c", "reviewer"),
    ]);
    let Some(s) = roster.boot() else { return };
    for agent in ["a", "b", "c"] {
        s.up(agent);
    }
    // Nodes.
    let list = s.mosaic(&["node", "list", "--json"]).ok().json();
    assert_eq!(ids(&list), ["a", "b", "c"]);
    for node in list["nodes"].as_array().unwrap() {
        assert_eq!(node["health"], "healthy", "{node}");
        assert_eq!(node["dialect"], "tui");
        assert!(node["load"]["disk_available_bytes"].as_u64() > Some(0));
        assert!(
            node["load"]["agent_memory_bytes"].as_u64() > Some(0),
            "{node}"
        );
    }
    s.mosaic(&["node", "list"]).ok().says("NODE").says("idle");
    // A dry run pins nothing.
    let dry = ["node", "place", "class:implementer", "--dry-run", "--json"];
    let dry = s.mosaic(&dry).ok().json();
    assert_eq!(
        (&dry["outcome"], &dry["node"]),
        (&json!("dry-run"), &json!("a"))
    );
    let rejected = &dry["nodes"][2]["rejected"][0];
    assert_eq!(rejected["filter"], "selector");
    assert_eq!(pins(&s), []);
    // Two messages of one chat.
    let send = |text: &str, more: &[&str]| {
        let words = [
            "agent",
            "send",
            "--to",
            "class:implementer",
            "--chat",
            "X",
            "-m",
            text,
        ];
        s.mosaic(&[&words, more].concat())
    };
    let first = send("the first one", &["--json"]).ok().json();
    assert_eq!(
        (&first["chat"], &first["placed"]),
        (&json!("X"), &json!(true))
    );
    let node = first["node"].as_str().unwrap().to_owned();
    assert_eq!(first["agent"], node.as_str());
    // The other one would be the better one by now.
    let again = send("the second one", &["--json"]).ok().json();
    assert_eq!(
        (&again["node"], &again["placed"]),
        (&json!(node), &json!(false))
    );
    assert!(heard(&s, &node, "the first one") && heard(&s, &node, "the second one"));
    // Its agent is killed, and comes back: the same chat is there.
    let before = s.up(&node);
    s.kill_agent(&before, Signal::KILL);
    s.back(&node, &before);
    eventually("the chat's agent takes messages again", || {
        let words = [
            "agent",
            "send",
            "--chat",
            "X",
            "-m",
            "after a crash",
            "--queue",
        ];
        s.mosaic(&words).ok().says(&format!("X on {node}"));
        heard(&s, &node, "after a crash")
    });
    // It is down: named with its chat, and the chat stays.
    s.mosaic(&["fleet", "stop", &node]).ok();
    send("into the void", &[])
        .code(1)
        .warns(&format!("the node `{node}` of the chat `X` is down"));
    assert_eq!(pins(&s), [("X".to_owned(), node.clone())]);
    send("for later", &["--queue"]).ok();
    let other = if node == "a" { "b" } else { "a" };
    assert!(!heard(&s, other, "void") && !heard(&s, other, "later"));
    // New ones go elsewhere meanwhile.
    s.mosaic(&["node", "place", "--class", "implementer", "--chat", "Y"])
        .ok()
        .says(&format!("Y: placed on {other}"));
    s.mosaic(&["fleet", "start", &node]).ok();
    s.mosaic(&["agent", "inbox", "flush", &node]);
    eventually("what waited is delivered", || heard(&s, &node, "for later"));
    // All of it is stopped and started.
    s.mosaic(&["fleet", "stop"]).ok();
    s.mosaic(&["fleet", "up", "--no-verify"]).ok();
    send("after all", &[]).ok().says(&format!("X on {node}"));
    // Drained: what it has stays, what is new goes elsewhere, and where nothing is left that is said.
    s.mosaic(&["node", "drain", other])
        .ok()
        .says("its chat stays");
    s.mosaic(&["node", "place", "class:implementer", "--chat", "Z"])
        .ok()
        .says(&format!("Z: placed on {node}"));
    s.mosaic(&["node", "drain", &node]).ok();
    s.mosaic(&["node", "place", "class:implementer", "--chat", "W"])
        .code(1)
        .warns("the filter `drained` left none")
        .warns("mosaic node undrain");
    send("still here", &[]).ok();
    s.mosaic(&["node", "undrain", &node, other]).ok();
    // Only a person moves a chat.
    s.mosaic(&["pin", "move", "X", "c"])
        .ok()
        .says(&format!("X: moved from {node} to c"))
        .warns("knows nothing of what was said");
    send("to the reviewer", &[])
        .ok()
        .says("X on c")
        .warns("is not `class:implementer`");
    s.mosaic(&["pin", "release", "X"])
        .ok()
        .says("released from c");
    s.mosaic(&["pin", "show", "X"]).code(1).warns("not pinned");
}

#[test]
fn parallel_placements_count_each_other() {
    let Some(s) = fleet(&[("a", "x"), ("b", "x"), ("c", "x")]).boot() else {
        return;
    };
    for agent in ["a", "b", "c"] {
        s.up(agent);
    }
    let running: Vec<_> = (0..12)
        .map(|n| s.start(&["node", "place", "--chat", &format!("c{n}")]))
        .collect();
    for one in running {
        one.wait().ok();
    }
    let placed = pins(&s);
    for agent in ["a", "b", "c"] {
        let chats = placed.iter().filter(|(_, node)| node == agent).count();
        assert_eq!(chats, 4, "{placed:?}");
    }
    // The next one by hand, once.
    s.mosaic(&["node", "next", "c"]).ok();
    s.mosaic(&["node", "place", "--chat", "next"])
        .ok()
        .says("next: placed on c");
    s.mosaic(&["node", "next"]).ok().says("-");
}

#[test]
fn a_server_is_no_place_for_messages_and_its_health_is_told_apart() {
    let script = "trap 'exit 0' TERM HUP; while :; do sleep 1; done";
    let server = Agent::script("g", script)
        .key("runtime", json!("silent"))
        .key("ready_timeout", json!("0s"));
    let Some(s) = fleet(&[])
        .agent(server)
        .key(
            "runtimes",
            json!({"silent": {
                "command": "/bin/sh",
                "dialect": "goosed",
                "node": {"port_env": "P", "secret_env": "S", "health_path": "/status"},
            }}),
        )
        .boot()
    else {
        return;
    };
    eventually("its port is recorded", || s.state("nodes/g.json").exists());
    eventually("nobody listens on its port", || {
        let list = s.mosaic(&["node", "list", "--json"]).ok().json();
        let node = &list["nodes"][0];
        node["health"] == "refused" && node["endpoint"].is_string()
    });
    s.mosaic(&["agent", "send", "--to", "g", "--chat", "X", "-m", "hello"])
        .code(1)
        .warns("takes no messages by the delivery engine")
        .warns("gateway");
    assert_eq!(pins(&s), []);
    let record = std::fs::read_to_string(s.state("nodes/g.json")).unwrap();
    let record: Value = serde_json::from_str(&record).unwrap();
    let shown = s.mosaic(&["node", "show", "g", "--json"]).ok();
    assert!(!shown.stdout.contains(record["secret"].as_str().unwrap()));
}
