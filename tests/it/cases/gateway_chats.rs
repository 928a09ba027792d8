//! Chats with plain terminals through the gateway: each stays on its node, what is said arrives once, what
//! is answered comes back, whatever dies.

use std::collections::BTreeMap;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::gateway::{Way, routing};
use crate::support::{Agent, Roster, Running, Sandbox, eventually, eventually_some};

/// A fleet with a gateway in front of it.
struct Gateway {
    way: Way,
    // Ended before its sandbox is.
    _running: Running,
    s: Sandbox,
}

impl std::ops::Deref for Gateway {
    type Target = Way;

    fn deref(&self) -> &Way {
        &self.way
    }
}

impl Gateway {
    /// Over these agents, all idle and observed.
    fn over(agents: impl IntoIterator<Item = Agent>) -> Option<Self> {
        let s = Roster::new(agents).key("routing", routing()).boot()?;
        let (running, way) = Way::to(&s);
        Some(Self {
            way,
            _running: running,
            s,
        })
    }

    /// How often an agent was told a text.
    fn told(&self, agent: &str, text: &str) -> usize {
        let records = self.s.records(agent);
        let is = |r: &&Value| {
            r["type"] == "user" && r["text"].as_str().is_some_and(|t| t.contains(text))
        };
        records.iter().filter(is).count()
    }
}

fn three() -> [Agent; 3] {
    ["a", "b", "c"].map(Agent::demo)
}

#[test]
fn twelve_chats_over_three_terminals_keep_their_nodes_and_have_their_answers() {
    let Some(g) = Gateway::over(three()) else {
        return;
    };
    let placed: Vec<(u16, Value)> = std::thread::scope(|scope| {
        let placing: Vec<_> = (0..12)
            .map(|n| {
                let g = &g.way;
                scope.spawn(move || g.call("POST", "/chats", &json!({"chat": format!("c{n}")})))
            })
            .collect();
        placing.into_iter().map(|p| p.join().unwrap()).collect()
    });
    let mut nodes = BTreeMap::new();
    for (status, chat) in &placed {
        assert_eq!(*status, 201, "{chat}");
        *nodes.entry(chat["node"].as_str().unwrap()).or_insert(0) += 1;
    }
    assert_eq!(nodes, BTreeMap::from([("a", 4), ("b", 4), ("c", 4)]));
    let sent: Vec<(u16, Value)> = std::thread::scope(|scope| {
        let sending: Vec<_> = (0..12)
            .map(|n| {
                let g = &g.way;
                let body = json!({"text": format!("word {n} of it"), "timeout_secs": 50});
                scope.spawn(move || g.say(&format!("c{n}"), &body))
            })
            .collect();
        sending.into_iter().map(|p| p.join().unwrap()).collect()
    });
    for (n, (status, sent)) in sent.iter().enumerate() {
        assert_eq!(*status, 200, "{sent}");
        // A quick turn may be over by the time that it is looked for.
        let receipt = sent["receipt"].as_str().unwrap();
        assert!(["accepted", "answered"].contains(&receipt), "{sent}");
        assert_eq!(sent["node"], placed[n].1["node"]);
        let node = sent["node"].as_str().unwrap();
        assert_eq!(g.told(node, &format!("word {n} of it")), 1);
    }
    for n in 0..12 {
        let answered = || {
            let said = g.get(&format!("/chats/c{n}/messages"));
            let said = said["messages"].as_array().unwrap().clone();
            (said.len() == 2).then_some(said)
        };
        let said = eventually_some("the answer comes", answered);
        assert_eq!(said[0]["receipt"], "answered");
        assert_eq!(said[0]["text"], format!("word {n} of it"));
        assert_eq!(
            (&said[1]["role"], &said[1]["reply_to"]),
            (&json!("agent"), &said[0]["id"])
        );
        let answer = said[1]["text"].as_str().unwrap();
        assert!(answer.contains(&format!("word {n} of it")), "{answer}");
    }
    let ask = json!({"text": "and now", "until": "answered"});
    let (status, sent) = g.say("c0", &ask);
    assert_eq!(
        (status, &sent["receipt"]),
        (200, &json!("answered")),
        "{sent}"
    );
    assert!(sent["answer"].as_str().unwrap().contains("and now"));
    // A terminal's messages know their chat wherever they are looked at.
    let id = sent["id"].as_str().unwrap();
    let row =
        g.s.mosaic(&["agent", "inbox", "show", id, "--json"])
            .ok()
            .json();
    assert_eq!(row["chat"], "c0");
}

#[test]
fn events_begin_with_how_things_stand_and_go_on_where_a_client_left() {
    let Some(g) = Gateway::over([Agent::demo("a"), Agent::demo("b")]) else {
        return;
    };
    g.place("c", "a");
    g.place("other", "b");
    assert_eq!(
        g.say("c", &json!({"text": "first", "until": "answered"})).0,
        200
    );
    let mut events = g.events("/chats/c/events", None);
    let (name, _, state) = events.next();
    assert_eq!((name.as_str(), &state["state"]), ("state", &json!("idle")));
    assert_eq!(events.next().2["text"], "first");
    let answer = events.next().2;
    assert_eq!(answer["role"], "agent");
    g.say("other", &json!({"text": "elsewhere"}));
    let body = json!({"text": "second", "id": "m2"});
    assert_eq!(g.say("c", &body).0, 200);
    let (id, _) = events.until(|name, data| {
        assert!(!data.to_string().contains("elsewhere"), "{data}");
        name == "message" && data["id"] == "m2"
    });
    let id = id.unwrap();
    events.until(|name, data| name == "state" && data["state"] == "working");
    let (_, whole) = events.until(|name, data| name == "message" && data["reply_to"] == "m2");
    assert!(whole["text"].as_str().unwrap().contains("second"));
    drop(events);
    // The same again, from the event that was seen.
    let mut events = g.events("/chats/c/events", Some(&id));
    let (first, _) = events.until(|_, data| data["text"] != "first");
    assert!(first.is_some());
    let (_, again) = events.until(|name, data| name == "message" && data["reply_to"] == "m2");
    assert_eq!(again, whole);
    // One that nobody knows begins anew.
    let mut events = g.events("/chats/c/events", Some("1-1"));
    assert_eq!(events.next().0, "state");
    assert_eq!(events.next().2["text"], "first");
}

#[test]
fn a_message_of_one_id_is_typed_once() {
    let Some(g) = Gateway::over([Agent::demo("a")]) else {
        return;
    };
    g.place("c", "a");
    let body = json!({"text": "only once"});
    let way = &g.way;
    let key = "Idempotency-Key: \"key-1\"\r\n";
    let sent: Vec<(u16, Value)> = std::thread::scope(|scope| {
        let sending: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| way.call_with("POST", "/chats/c/messages", key, &body)))
            .collect();
        sending.into_iter().map(|p| p.join().unwrap()).collect()
    });
    for (status, sent) in &sent {
        assert_eq!((*status, &sent["id"]), (200, &json!("key-1")), "{sent}");
    }
    let again = g.call_with("POST", "/chats/c/messages", key, &body);
    assert_eq!(again.0, 200);
    assert_eq!(g.told("a", "only once"), 1);
    let (status, why) = g.call_with(
        "POST",
        "/chats/c/messages",
        key,
        &json!({"text": "another"}),
    );
    assert_eq!(status, 409, "{why}");
}

#[test]
fn a_killed_node_is_told_with_its_chat_and_what_is_queued_comes_when_it_is_back() {
    // It comes back late enough to be seen gone.
    let agents = [
        Agent::demo("a").key("restart_delay", json!("4s")),
        Agent::demo("b"),
    ];
    let Some(g) = Gateway::over(agents) else {
        return;
    };
    g.place("c", "a");
    assert_eq!(g.say("c", &json!({"text": "before"})).0, 200);
    let before = g.s.up("a");
    g.s.kill_agent(&before, Signal::KILL);
    let lost = json!({"text": "lost at first", "id": "lost"});
    let (status, why) = g.say("c", &lost);
    assert_eq!(status, 503, "{why}");
    let why = why["message"].as_str().unwrap();
    assert!(why.contains("`a`") && why.contains("`c`"), "{why}");
    let queued = json!({"text": "for later", "until": "queued", "id": "later"});
    let (status, sent) = g.say("c", &queued);
    assert_eq!(
        (status, &sent["receipt"]),
        (202, &json!("queued")),
        "{sent}"
    );
    // New ones go elsewhere, the pinned one stays.
    eventually("the gateway has noticed", || {
        g.get("/nodes/a")["health"] != "healthy"
    });
    assert_eq!(g.call("POST", "/chats", &json!({})).1["node"], "b");
    assert_eq!(g.get("/chats/c")["node"], "a");
    g.s.back("a", &before);
    eventually("what was queued is answered", || {
        let said = g.get("/chats/c/messages");
        let said = said["messages"].as_array().unwrap();
        said.iter().any(|m| m["reply_to"] == "later")
    });
    assert_eq!(g.told("a", "for later"), 1);
    // Nothing of it had left, so it can be sent again under its id.
    assert_eq!(g.told("a", "lost at first"), 0);
    let (status, sent) = g.say("c", &lost);
    assert_eq!((status, &sent["id"]), (200, &json!("lost")), "{sent}");
    assert_eq!(g.told("a", "lost at first"), 1);
}

#[test]
fn only_the_turn_of_the_chat_is_broken_off() {
    let slow = Agent::demo("a").env("MOSAIC_DEMO_THINK_MS", "20000");
    let Some(g) = Gateway::over([slow]) else {
        return;
    };
    g.place("c", "a");
    g.place("d", "a");
    assert_eq!(g.say("c", &json!({"text": "long work"})).0, 200);
    let waits = json!({"text": "next", "until": "queued", "id": "next"});
    assert_eq!(g.say("d", &waits).0, 202);
    let (status, done) = g.call("POST", "/chats/d/cancel", &json!({}));
    assert_eq!(
        (status, &done["interrupted"]),
        (200, &json!(false)),
        "{done}"
    );
    assert_eq!(done["taken_back"], json!(["next"]));
    let (status, done) = g.call("POST", "/chats/c/cancel", &json!({}));
    assert_eq!(
        (status, &done["interrupted"]),
        (200, &json!(true)),
        "{done}"
    );
    eventually("it is at rest", || {
        g.get("/nodes/a/status")["status"] == "stable"
    });
    assert_eq!(g.told("a", "next"), 0);
    let (status, done) = g.call("POST", "/chats/c/cancel", &json!({}));
    assert_eq!(
        (status, &done["interrupted"]),
        (200, &json!(false)),
        "{done}"
    );
}

#[test]
fn a_clients_of_agentapi_talks_to_a_node() {
    let slow = Agent::demo("a").env("MOSAIC_DEMO_THINK_MS", "1500");
    let Some(g) = Gateway::over([slow]) else {
        return;
    };
    let status = g.get("/nodes/a/status");
    assert_eq!(
        status,
        json!({"status": "stable", "agent_type": "custom", "transport": "pty"})
    );
    assert_eq!(g.get("/nodes/a/messages"), json!({"messages": []}));
    let mut events = g.events("/nodes/a/events", None);
    let (name, id, data) = events.next();
    assert_eq!((name.as_str(), id), ("status_change", None));
    assert_eq!(data, json!({"status": "stable", "agent_type": "custom"}));
    let hello = json!({"content": "hello there", "type": "user"});
    let (status, told) = g.call("POST", "/nodes/a/message", &hello);
    assert_eq!((status, told), (200, json!({"ok": true})));
    // At work it takes none, as agentapi's own servers do.
    let (status, why) = g.call("POST", "/nodes/a/message", &hello);
    assert_eq!(status, 500, "{why}");
    let why = why["errors"][0]["message"].as_str().unwrap();
    assert!(why.contains("waiting for user input"), "{why}");
    let (_, user) = events.until(|name, data| name == "message_update" && data["role"] == "user");
    assert_eq!(
        (&user["id"], &user["message"]),
        (&json!(0), &json!("hello there"))
    );
    events.until(|name, data| name == "status_change" && data["status"] == "running");
    let (_, agent) = events.until(|name, data| name == "message_update" && data["role"] == "agent");
    assert_eq!(agent["id"], 1);
    assert!(agent["message"].as_str().unwrap().contains("hello there"));
    events.until(|name, data| name == "status_change" && data["status"] == "stable");
    let said = g.get("/nodes/a/messages");
    assert_eq!(said["messages"][0]["content"], "hello there");
    assert_eq!(said["messages"][1]["role"], "agent");
    assert_eq!(said["messages"].as_array().unwrap().len(), 2);
    // Its stop button sends Escape.
    assert_eq!(g.call("POST", "/nodes/a/message", &hello).0, 200);
    let escape = json!({"content": "\u{1b}", "type": "raw"});
    assert_eq!(g.call("POST", "/nodes/a/message", &escape).0, 200);
    let key = json!({"content": "1", "type": "raw"});
    assert_eq!(g.call("POST", "/nodes/a/message", &key).0, 501);
    eventually("it is at rest", || {
        g.get("/nodes/a/status")["status"] == "stable"
    });
    assert_eq!(g.told("a", "hello there"), 2);
}

#[test]
fn nobody_answers_a_dialog_by_breaking_off() {
    let Some(g) = Gateway::over([Agent::demo("a")]) else {
        return;
    };
    g.place("c", "a");
    assert_eq!(g.say("c", &json!({"text": "PLEASE ASK"})).0, 200);
    let asks = || g.s.mosaic(&["agent", "status", "a", "--json"]).ok().json();
    if !asks().to_string().contains("waiting") {
        eventually("it asks", || asks().to_string().contains("waiting"));
    }
    let (status, why) = g.call("POST", "/chats/c/cancel", &json!({}));
    assert_eq!(status, 409, "{why}");
    assert!(
        why["message"].as_str().unwrap().contains("approve a"),
        "{why}"
    );
    assert!(asks().to_string().contains("waiting"));
}
