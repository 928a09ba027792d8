//! Nodes that refuse, hang, die and come back; clients that go away or do not read.

#![allow(clippy::unwrap_used)]

use std::time::Instant;

use serde_json::json;

use super::super::stand_in::New;
use super::peers::Ws;
use super::*;
use crate::routing::node::Health;

const DOWN: i64 = -32050;
const NO_ANSWER: i64 = -32051;
const NO_NODE: i64 = -32052;
const TOO_MUCH: i64 = -32054;

/// Sooner than a sign of life can be missed, which is waited for that long.
const AT_ONCE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_node_that_dies_in_a_turn_fails_it_at_once_and_the_next_one_finds_it_again() {
    let (under, geese) = fleet(&["n0", "n1"]).await;
    let ws = client(&under).await;
    let name = session_on(&ws, "n0").await;
    let begun = Instant::now();
    let error = ws.error("session/prompt", prompt(&name, "DIE")).await;
    assert_eq!(error["code"], NO_ANSWER, "{error}");
    assert_eq!(error["data"], json!({"node": "n0", "chat": name}));
    let said = error["message"].as_str().unwrap();
    assert!(said.contains("`n0`") && said.contains(&name), "{said}");
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    // Connected anew, without being loaded anew.
    ws.result("session/prompt", prompt(&name, "again")).await;
    // Beside what all nodes were asked at first.
    assert_eq!(geese[0].state.lock().unwrap().hellos.len(), 3);
}

#[tokio::test]
async fn a_killed_node_keeps_its_sessions_and_new_ones_go_elsewhere() {
    let (under, geese) = fleet(&["n0", "n1"]).await;
    let ws = client(&under).await;
    let (a, b) = (session_on(&ws, "n0").await, session_on(&ws, "n1").await);
    let turn = ws.ask("session/prompt", prompt(&a, "ASK"));
    let question = ws
        .hear("a question", |v| {
            v["method"] == "session/request_permission"
        })
        .await;
    geese[0].kill();
    assert_eq!(ws.answer(turn).await["error"]["code"], NO_ANSWER);
    // Nobody waits for the answer to its question any more.
    ws.hear("a withdrawal", |v| {
        v["method"] == "$/cancel_request" && v["params"]["requestId"] == question["id"]
    })
    .await;
    for _ in 0..2 {
        let begun = Instant::now();
        let error = ws.error("session/prompt", prompt(&a, "hello?")).await;
        assert_eq!(error["code"], DOWN, "{error}");
        let said = error["message"].as_str().unwrap();
        assert!(
            said.contains("`n0`") && said.contains(&a) && said.contains("refused"),
            "{said}"
        );
        assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    }
    ws.result("session/prompt", prompt(&b, "still here")).await;
    for _ in 0..3 {
        assert!(session(&ws).await.starts_with("n1."));
    }
    geese[0].restart().await;
    // An answer to a question of its former life goes nowhere.
    ws.send(&json!({"jsonrpc": "2.0", "id": question["id"], "result": {}}));
    ws.result(
        "session/load",
        json!({"sessionId": a, "cwd": "/tmp", "mcpServers": []}),
    )
    .await;
    ws.result("session/prompt", prompt(&a, "back")).await;
    let native = a.split_once('.').unwrap().1;
    assert_eq!(
        goose(&geese, &a).state.lock().unwrap().sessions[native].history,
        ["ASK", "back"]
    );
}

/// How many sessions are there, or being made, as placement counts them.
fn kept(under: &Under) -> u32 {
    let path = under.directory.path().join("pins.db");
    let pins = crate::routing::pins::Pins::at(&path).unwrap();
    pins.ledger().unwrap().chats.values().sum()
}

/// As the observer finds a node that hangs: late, and late again.
fn observed_hung(under: &Under, node: &str) {
    for _ in 0..2 {
        let advert = crate::routing::node::Advert {
            health: Health::Timeout("nothing in 1 s".into()),
            ..stand_in::well(node)
        };
        under.gateway.nodes.get(node).unwrap().observed(advert);
    }
}

#[tokio::test]
async fn a_hung_node_fails_its_turns_within_seconds() {
    let (under, geese) = fleet(&["n0"]).await;
    let ws = client(&under).await;
    let name = session(&ws).await;
    let begun = Instant::now();
    let error = ws.error("session/prompt", prompt(&name, "HANG")).await;
    assert_eq!(error["code"], NO_ANSWER, "{error}");
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
    // Sooner where the observer finds it hung.
    let other = client(&under).await;
    let turn = other.ask("session/prompt", prompt(&name, "HANG"));
    other
        .hear("the turn", |v| v["params"]["update"]["content"].is_object())
        .await;
    observed_hung(&under, "n0");
    let begun = Instant::now();
    assert_eq!(other.answer(turn).await["error"]["code"], NO_ANSWER);
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    drop(geese);
}

#[tokio::test]
async fn a_session_is_made_once_whatever_happens() {
    let (under, geese) = fleet(&["n0", "n1"]).await;
    let ws = client(&under).await;
    let news = || {
        geese
            .iter()
            .map(|g| g.state.lock().unwrap().news)
            .sum::<usize>()
    };
    let all = |new: New| {
        for goose in &geese {
            goose.state.lock().unwrap().new = new;
        }
    };
    all(New::Dies);
    let error = ws.error("session/new", here()).await;
    assert_eq!(error["code"], NO_ANSWER, "{error}");
    assert_eq!(news(), 1);
    all(New::Hangs);
    let id = ws.ask("session/new", here());
    eventually("it is asked", || news() == 2).await;
    for goose in &geese {
        observed_hung(&under, &goose.id);
    }
    let error = ws.answer(id).await["error"].clone();
    assert_eq!(error["code"], NO_ANSWER, "{error}");
    assert_eq!(news(), 2);
    for goose in &geese {
        let live = under.gateway.nodes.get(&goose.id).unwrap();
        live.observed(stand_in::well(&goose.id));
    }
    all(New::Refused);
    let error = ws.error("session/new", here()).await;
    assert_eq!(error, json!({"code": -32603, "message": "no provider"}));
    assert_eq!(news(), 3);
    all(New::Well);
    // One that is certainly not there is passed over, and again once it is known to be down.
    geese[0].kill();
    for _ in 0..2 {
        assert!(session(&ws).await.starts_with("n1."));
    }
    geese[1].kill();
    let error = ws.error("session/new", here()).await;
    assert_eq!(error["code"], NO_NODE, "{error}");
    assert_eq!(news(), 5);
    let other = Ws::open(&under.url).await;
    let error = other
        .error("initialize", json!({"protocolVersion": 9}))
        .await;
    assert_eq!(error["code"], NO_NODE, "{error}");
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("`n1`: connection refused"),
        "{error}"
    );
}

#[tokio::test]
async fn a_node_that_does_not_take_its_secret_is_down_and_said_to_be_so() {
    let goose = Goose::start("n0").await;
    // A gateway that knows this port by another name, and so by another secret.
    let under = stand_in::gateway(&[("n1", Dialect::Acp, goose.port)]).await;
    let ws = Ws::open(&under.url).await;
    let error = ws.error("session/prompt", prompt("n1.1", "x")).await;
    assert_eq!(error["code"], DOWN);
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("does not take its secret"),
        "{error}"
    );
    let health = under
        .gateway
        .nodes
        .get("n1")
        .unwrap()
        .advert()
        .unwrap()
        .health
        .clone();
    assert_eq!(health.as_str(), "unauthorized");
}

#[tokio::test]
async fn a_client_that_goes_takes_its_connections_to_nodes_along() {
    let (under, geese) = fleet(&["n0", "n1"]).await;
    let connected = || geese.iter().map(Goose::connected).sum::<usize>();
    let ws = client(&under).await;
    let (a, _) = (session_on(&ws, "n0").await, session_on(&ws, "n1").await);
    ws.ask("session/prompt", prompt(&a, "WAIT"));
    eventually("only its own are left", || connected() == 2).await;
    drop(ws);
    eventually("the nodes are left", || connected() == 0).await;
    // And so is the turn: the session is free.
    let other = client(&under).await;
    other.result("session/prompt", prompt(&a, "hi")).await;
}

#[tokio::test]
async fn a_gateway_that_stops_ends_everything() {
    let (under, geese) = fleet(&["n0"]).await;
    let ws = client(&under).await;
    let name = session(&ws).await;
    ws.ask("session/prompt", prompt(&name, "WAIT"));
    eventually("a turn", || geese[0].connected() == 1).await;
    under.gateway.stopping.cut();
    eventually("the end", || ws.closed().is_some()).await;
    assert!(
        ws.closed().unwrap().contains("the gateway stops"),
        "{:?}",
        ws.closed()
    );
    eventually("the node is left", || geese[0].connected() == 0).await;
}

#[tokio::test]
async fn a_client_that_asks_too_much_harms_no_node() {
    let (under, geese) = fleet(&["n0", "n1"]).await;
    let (first, greedy) = (client(&under).await, client(&under).await);
    let health = |node: &str| {
        let advert = under.gateway.nodes.get(node).unwrap().advert().unwrap();
        advert.health.as_str().to_owned()
    };
    // Nothing gets through to a node that is being connected to; what is for it waits, up to a limit.
    geese[0].state.lock().unwrap().mute = true;
    geese[1].state.lock().unwrap().mute = true;
    for node in ["n0", "n1"] {
        for _ in 0..300 {
            let cancelled = format!("{node}.20261128_1");
            greedy.notify("session/cancel", json!({ "sessionId": cancelled }));
        }
    }
    let error = greedy.error("session/new", here()).await;
    assert_eq!(error["code"], TOO_MUCH, "{error}");
    let error = greedy
        .error("session/prompt", prompt("n1.20261128_1", "x"))
        .await;
    assert_eq!(error["code"], TOO_MUCH, "{error}");
    assert_eq!(error["data"]["node"], "n1", "{error}");
    for node in ["n0", "n1"] {
        assert_ne!(health(node), "refused");
    }
    // To others they are as well as before, and nothing is kept for what was not made.
    drop(greedy);
    for goose in &geese {
        goose.state.lock().unwrap().mute = false;
        let live = under.gateway.nodes.get(&goose.id).unwrap();
        live.observed(stand_in::well(&goose.id));
    }
    session(&first).await;
    assert_eq!(kept(&under), 1);
}

/// Something goes through the gateway after a client has gone: that has been seen by then.
async fn gone(under: &Under, ws: Ws) {
    drop(ws);
    for _ in 0..5 {
        let other = client(under).await;
        other.result("session/list", json!({})).await;
    }
}

#[tokio::test]
async fn a_session_that_is_being_made_survives_its_client() {
    let (under, geese) = fleet(&["n0"]).await;
    geese[0].state.lock().unwrap().new = New::Late;
    let ws = client(&under).await;
    ws.ask("session/new", here());
    let asked = || geese[0].state.lock().unwrap().news == 1;
    eventually("it is asked", asked).await;
    gone(&under, ws).await;
    geese[0].state.lock().unwrap().late.notify_one();
    eventually("it is pinned", || {
        let path = under.directory.path().join("pins.db");
        let pins = crate::routing::pins::Pins::at(&path).unwrap();
        pins.pin("n0.20261128_1").unwrap().is_some()
    })
    .await;
    assert_eq!(kept(&under), 1);
    eventually("the node is left", || geese[0].connected() == 0).await;
}

#[tokio::test]
async fn a_session_that_was_not_asked_for_when_its_client_went_gives_its_place_back() {
    let (under, geese) = fleet(&["n0"]).await;
    let (first, ws) = (client(&under).await, client(&under).await);
    // Its connection is being made, and will not be.
    geese[0].state.lock().unwrap().mute = true;
    ws.ask("session/new", here());
    ws.ask("session/new", here());
    eventually("places are kept", || kept(&under) == 2).await;
    let hellos = || geese[0].state.lock().unwrap().hellos.len() == 2;
    eventually("it is connecting", hellos).await;
    drop(ws);
    eventually("the places are free", || kept(&under) == 0).await;
    geese[0].state.lock().unwrap().mute = false;
    assert_eq!(geese[0].state.lock().unwrap().news, 0);
    let live = under.gateway.nodes.get("n0").unwrap();
    live.observed(stand_in::well("n0"));
    session(&first).await;
}

#[tokio::test]
async fn the_session_of_a_node_that_has_left_the_fleet_is_down_and_not_unknown() {
    let (under, _geese) = fleet(&["n0"]).await;
    let ws = client(&under).await;
    let name = session(&ws).await;
    let live = under.gateway.nodes.get("n0").unwrap();
    let other = stand_in::node("n0", Dialect::Goosed);
    under
        .gateway
        .nodes
        .set(vec![(other, live.endpoint.clone())]);
    let error = ws.error("session/prompt", prompt(&name, "x")).await;
    assert_eq!(error["code"], DOWN, "{error}");
    let said = error["message"].as_str().unwrap();
    assert!(
        said.contains("does not speak ACP any more, but goosed"),
        "{said}"
    );
    under.gateway.nodes.set(Vec::new());
    for method in ["session/prompt", "session/fork"] {
        let error = ws.error(method, prompt(&name, "x")).await;
        assert_eq!(error["code"], DOWN, "{error}");
        assert_eq!(error["data"], json!({"node": "n0", "chat": name}));
        let said = error["message"].as_str().unwrap();
        assert!(said.contains("no longer in the fleet"), "{said}");
    }
    // Nobody ever had this one.
    let error = ws.error("session/prompt", prompt("n0.1", "x")).await;
    assert_eq!(error["code"], -32602, "{error}");
}
