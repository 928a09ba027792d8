//! The gateway's node API over real opencodes: each chat is a session of its own on its node, streams as it
//! is written, and is where it was when its node has died and come back.

use std::collections::BTreeSet;

use serde_json::json;

use crate::cli::Real;
use crate::support::gateway::{Way, routing};
use crate::support::{eventually, eventually_some};

#[test]
fn opencode_has_a_session_for_each_chat() {
    let Some(real) = Real::new(true) else { return };
    let agents = ["oc0", "oc1"];
    real.roster(agents.map(|name| real.opencode(name)))
        .default("ready_timeout", json!("90s"))
        .key("routing", routing())
        .up(&real.s);
    for name in agents {
        real.state(name, "idle");
    }
    let (_running, way) = Way::to(&real.s);
    let mut nodes = BTreeSet::new();
    let mut natives = BTreeSet::new();
    for chat in ["c0", "c1", "c2", "c3"] {
        let placed = way.place(chat, "dialect:opencode");
        nodes.insert(placed["node"].as_str().unwrap().to_owned());
        natives.insert(placed["native"].as_str().unwrap().to_owned());
    }
    assert_eq!((nodes.len(), natives.len()), (2, 4));

    let mut events = way.events("/chats/c0/events", None);
    assert_eq!(events.next().2["state"], "idle");
    let ask = json!({"text": "first words", "id": "m1", "until": "answered", "timeout_secs": 60});
    let (status, sent) = way.say("c0", &ask);
    assert_eq!(
        (status, &sent["receipt"]),
        (200, &json!("answered")),
        "{sent}"
    );
    let answer = sent["answer"].as_str().unwrap().to_owned();
    assert!(answer.contains("first words"), "{answer}");
    let (_, user) = events.until(|name, data| name == "message" && data["role"] == "user");
    assert_eq!(
        (&user["id"], &user["text"]),
        (&json!("m1"), &json!("first words"))
    );
    events.until(|name, data| name == "state" && data["state"] == "working");
    events.until(|name, _| name == "delta");
    let whole = |name: &str, data: &serde_json::Value| name == "message" && data["text"] == answer;
    events.until(whole);
    events.until(|name, data| name == "state" && data["state"] == "idle");
    // Handed over again it is the same one.
    assert_eq!(way.say("c0", &ask).0, 200);
    assert_eq!(real.model.arrivals("first words"), 1);
    let other = json!({"text": "in another chat", "until": "answered", "timeout_secs": 60});
    assert_eq!(way.say("c1", &other).0, 200);
    let said = way.get("/chats/c0/messages");
    let said = said["messages"].as_array().unwrap();
    assert_eq!(said.len(), 2, "{said:?}");
    assert_eq!(
        (&said[1]["text"], &said[1]["reply_to"]),
        (&json!(answer), &json!("m1"))
    );

    // Its node dies, which is told with both names, and is back with what was said.
    let chat = way.get("/chats/c0");
    let node = chat["node"].as_str().unwrap();
    let before = real.pid(node);
    real.s.mosaic(&["fleet", "stop", node]).ok();
    let (status, why) = way.say("c0", &json!({"text": "lost"}));
    assert_eq!(status, 503, "{why}");
    let why = why["message"].as_str().unwrap();
    assert!(
        why.contains(&format!("`{node}`")) && why.contains("`c0`"),
        "{why}"
    );
    real.s.mosaic(&["fleet", "start", node]).ok();
    real.state(node, "idle");
    assert_ne!(real.pid(node), before);
    let again = eventually_some("the chat is where it was", || {
        let (status, said) = way.call("GET", "/chats/c0/messages", &json!(null));
        (status == 200).then_some(said)
    });
    assert_eq!(again["messages"].as_array().unwrap().len(), 2);
    assert_eq!(way.get("/chats/c0")["native"], chat["native"]);

    // A turn is broken off, and no other chat's.
    let slow = json!({"text": "SLEEP 60"});
    assert_eq!(way.say("c0", &slow).0, 200);
    let working = || !real.model.turns("SLEEP 60").is_empty();
    eventually("the model is asked", working);
    let (_, done) = way.call("POST", "/chats/c1/cancel", &json!({}));
    assert_eq!(done["interrupted"], false, "{done}");
    let (status, done) = way.call("POST", "/chats/c0/cancel", &json!({}));
    assert_eq!(
        (status, &done["interrupted"]),
        (200, &json!(true)),
        "{done}"
    );
    eventually("it is at rest", || {
        way.call("POST", "/chats/c0/cancel", &json!({})).1["interrupted"] == false
    });
    real.model.hurry();
}
