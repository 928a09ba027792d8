//! Nodes that are unlike, and what makes them alike.

#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::peers::Ws;
use super::*;

const NO_NODE: i64 = -32052;

fn able(goose: &Goose, able: Value) {
    goose.state.lock().unwrap().able = Some(able);
}

/// How one node was greeted the last time.
fn greeted(goose: &Goose) -> Value {
    goose.state.lock().unwrap().hellos.last().unwrap().clone()
}

#[tokio::test]
async fn a_client_is_told_what_all_nodes_can_do_and_spoken_to_in_the_lowest_version() {
    let (under, geese) = fleet(&["n0", "n1"]).await;
    able(
        &geese[0],
        json!({"loadSession": true, "sessionCapabilities": {"fork": {}, "list": {}}}),
    );
    able(
        &geese[1],
        json!({"loadSession": true, "sessionCapabilities": {"list": {}}, "x": {}}),
    );
    geese[1].state.lock().unwrap().version = Some(1);
    let ws = Ws::open(&under.url).await;
    let told = ws
        .result(
            "initialize",
            json!({"protocolVersion": 2, "clientCapabilities": {}}),
        )
        .await;
    assert_eq!(told["protocolVersion"], 1);
    assert_eq!(
        told["agentCapabilities"],
        json!({"loadSession": true, "sessionCapabilities": {"list": {}}})
    );
    assert_eq!(told["agentInfo"]["name"], "goose");
    // Both take its sessions, and neither speaks a version that the client does not.
    for goose in &geese {
        session_on(&ws, &goose.id).await;
        assert_eq!(greeted(goose)["protocolVersion"], 1);
        assert_eq!(greeted(goose)["clientCapabilities"], json!({}));
    }
}

#[tokio::test]
async fn a_node_that_cannot_do_what_a_client_was_told_gets_no_session_of_it() {
    let (under, geese) = fleet(&["n0", "n1"]).await;
    geese[0].kill();
    let ws = client(&under).await;
    geese[0].restart().await;
    let live = under.gateway.nodes.get("n0").unwrap();
    live.observed(stand_in::well("n0"));
    // It comes back as another one.
    able(&geese[0], json!({"loadSession": false}));
    for _ in 0..4 {
        assert!(session(&ws).await.starts_with("n1."));
    }
    assert_eq!(geese[0].state.lock().unwrap().news, 0);
    // It is as well as before, and good for clients that are told so.
    assert!(live.advert().unwrap().health.is_healthy());
    let mut hello = hello();
    hello["clientInfo"]["name"] = json!("another");
    let other = Ws::open(&under.url).await;
    let told = other.result("initialize", hello).await;
    assert_eq!(told["agentCapabilities"], json!({"loadSession": false}));
    session_on(&other, "n0").await;
    // With no other node the client learns why.
    geese[1].kill();
    let error = ws.error("session/new", here()).await;
    assert_eq!(error["code"], NO_NODE, "{error}");
    let said = error["message"].as_str().unwrap();
    assert!(
        said.contains("`n0`: it cannot do all") && said.contains("`initialize` again"),
        "{said}"
    );
}

#[tokio::test]
async fn what_a_node_said_before_it_went_down_counts() {
    let (under, geese) = fleet(&["n0", "n1"]).await;
    able(&geese[0], json!({"loadSession": false}));
    let first = client(&under).await;
    drop(first);
    geese[0].kill();
    let ws = Ws::open(&under.url).await;
    let told = ws.result("initialize", hello()).await;
    assert_eq!(told["agentCapabilities"], json!({"loadSession": false}));
}

#[tokio::test]
async fn what_all_nodes_do_is_done_by_all_though_the_client_goes() {
    let (under, geese) = fleet(&["n0", "n1", "n2"]).await;
    geese[0].state.lock().unwrap().slow_config = true;
    let ws = client(&under).await;
    let upsert = json!({"key": "k", "value": 1});
    ws.ask("_goose/unstable/config/upsert", upsert);
    let has = |n: usize| geese[n].state.lock().unwrap().config.contains_key("k");
    eventually("the first has it", || has(0)).await;
    assert!(!has(1) && !has(2));
    drop(ws);
    // Something goes through the gateway afterwards.
    for _ in 0..5 {
        client(&under).await.result("session/list", json!({})).await;
    }
    geese[0].state.lock().unwrap().late.notify_one();
    eventually("all have it", || has(1) && has(2)).await;
    eventually("the nodes are left", || {
        geese.iter().all(|g| g.connected() == 0)
    })
    .await;
}

#[tokio::test]
async fn two_clients_leave_one_value_everywhere() {
    let (under, geese) = fleet(&["n0", "n1"]).await;
    let (a, b) = (client(&under).await, client(&under).await);
    geese[0].state.lock().unwrap().slow_config = true;
    let upsert = |value: &str| json!({"key": "k", "value": value});
    let of = |n: usize| geese[n].state.lock().unwrap().config.get("k").cloned();
    let first = a.ask("_goose/unstable/config/upsert", upsert("a"));
    eventually("the first is at it", || of(0) == Some(json!("a"))).await;
    let second = b.ask("_goose/unstable/config/upsert", upsert("b"));
    b.result("session/list", json!({})).await;
    assert_eq!(of(0), Some(json!("a")), "one at a time");
    geese[0].state.lock().unwrap().slow_config = false;
    geese[0].state.lock().unwrap().late.notify_one();
    for (ws, id) in [(&a, first), (&b, second)] {
        assert_eq!(ws.answer(id).await["result"], json!({}));
    }
    assert_eq!((of(0), of(1)), (Some(json!("b")), Some(json!("b"))));
}

#[tokio::test]
async fn nobody_waits_for_a_hung_node_where_others_have_said_what_they_can_do() {
    let (under, geese) = fleet(&["n0", "n1"]).await;
    geese[1].state.lock().unwrap().mute = true;
    // The first client learns what `n0` can do; the second one has it from there.
    for _ in 0..2 {
        let begun = std::time::Instant::now();
        client(&under).await;
        assert!(
            begun.elapsed() < Duration::from_secs(3),
            "{:?}",
            begun.elapsed()
        );
    }
    assert_eq!(geese[0].state.lock().unwrap().hellos.len(), 1);
}

#[tokio::test]
async fn what_comes_right_after_initialize_is_said_in_the_version_that_is_agreed_on() {
    let (under, geese) = fleet(&["n0"]).await;
    {
        let mut state = geese[0].state.lock().unwrap();
        (state.version, state.slow_hello) = (Some(1), Duration::from_millis(300));
    }
    let ws = Ws::open(&under.url).await;
    // Both without waiting for an answer.
    let hello = ws.ask(
        "initialize",
        json!({"protocolVersion": 2, "clientCapabilities": {}}),
    );
    let list = ws.ask("session/list", json!({}));
    assert_eq!(ws.answer(hello).await["result"]["protocolVersion"], 1);
    assert!(ws.answer(list).await["result"]["sessions"].is_array());
    let versions: Vec<Value> = geese[0]
        .state
        .lock()
        .unwrap()
        .hellos
        .iter()
        .map(|hello| hello["protocolVersion"].clone())
        .collect();
    assert_eq!(versions, [2, 1]);
}

#[tokio::test]
async fn sessions_right_after_initialize_are_made_where_what_is_told_can_be_done() {
    let (under, geese) = fleet(&["n0", "n1"]).await;
    // It does not say what it can do until the client was told what others can.
    geese[1].state.lock().unwrap().mute = true;
    able(&geese[1], json!({"loadSession": false}));
    let ws = Ws::open(&under.url).await;
    let told = ws.ask("initialize", hello());
    let made: Vec<u64> = (0..4).map(|_| ws.ask("session/new", here())).collect();
    let asked = || geese[1].state.lock().unwrap().hellos.len();
    eventually("it was asked", || asked() > 0).await;
    geese[1].state.lock().unwrap().mute = false;
    let told = ws.answer(told).await;
    assert_eq!(told["result"]["agentCapabilities"]["loadSession"], true);
    for id in made {
        let name = ws.answer(id).await["result"]["sessionId"].clone();
        assert!(name.as_str().unwrap().starts_with("n0."), "{name}");
    }
}
