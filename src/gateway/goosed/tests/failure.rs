//! The seven rules of failure, one after the other.

use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use serde_json::json;

use super::{Rig, eventually, message};
use crate::gateway::stand_in::{SECRET, well};
use crate::gateway::{Secret, Shared, ids};
use crate::routing::node::{Advert, Dialect, Health};
use crate::routing::pins::Pins;
use crate::routing::policy::Policy;

/// Rule 1: the node is in the name, so a gateway that knows nothing finds every chat.
#[tokio::test]
async fn a_new_gateway_finds_every_chat() {
    let mut rig = Rig::new().await;
    let mut chats = Vec::new();
    for _ in 0..3 {
        chats.push(rig.start().await);
    }
    let natives: Vec<&str> = chats.iter().map(|c| ids::split(c).unwrap().1).collect();
    assert!(natives.iter().all(|n| *n == natives[0]), "{natives:?}");
    // Even one whose pins are gone.
    let nodes = std::mem::take(&mut rig.nodes);
    drop(rig);
    let rig = Rig::over(nodes).await;
    for chat in &chats {
        let session = rig.get(&format!("/sessions/{chat}")).await.ok();
        assert_eq!(session["id"], **chat);
    }
    rig.get("/sessions/g9.1").await.says(404, &["g9"]);
    let listed = rig.get("/sessions").await.ok();
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 3);
}

/// The same with its pins: they are read again.
#[tokio::test]
async fn pins_outlive_the_gateway() {
    let rig = Rig::new().await;
    let chat = rig.start().await;
    let path = rig.under.directory.path().join("pins.db");
    let pins = Pins::at(&path).unwrap();
    let again = Shared::new(None, Policy::default(), pins, Secret::new(SECRET));
    let found: crate::error::Result<_> = again.pins(move |p| p.pin(&chat)).await;
    assert!(found.unwrap().is_some());
}

/// Rule 2 is in `create`. Rule 3: pinned and down.
#[tokio::test]
async fn a_chat_of_a_dead_node_is_503_and_goes_nowhere_else() {
    let rig = Rig::new().await;
    let native = rig.everywhere().await;
    rig.nodes[1].kill().await;
    let chat = format!("g1.{native}");
    for (method, target, body) in [
        ("GET", format!("/sessions/{chat}"), None),
        (
            "POST",
            format!("/sessions/{chat}/reply"),
            Some(message("x").1),
        ),
        (
            "POST",
            "/agent/resume".to_owned(),
            Some(json!({"session_id": chat})),
        ),
        ("GET", format!("/agent/tools?session_id={chat}"), None),
        ("DELETE", format!("/sessions/{chat}"), None),
    ] {
        let body = body.map(|b| b.to_string());
        let answer = rig
            .raw(method, &target, body.as_deref().map(str::as_bytes))
            .await;
        answer.says(503, &["`g1`", &format!("`{chat}`"), "stays there"]);
    }
    assert_eq!(rig.seen(), [0, 0, 0]);
    // New ones go elsewhere; and it is as it was when the node is back.
    assert!(!rig.start().await.starts_with("g1."));
    rig.nodes[1].restart().await;
    let session = rig.get(&format!("/sessions/{chat}")).await.ok();
    assert_eq!(session["id"], *chat);
}

/// Rule 3: pinned, and its agent was disabled.
#[tokio::test]
async fn a_chat_of_a_node_that_left_the_fleet_is_503() {
    let rig = Rig::new().await;
    let chat = rig.start().await;
    let (node, native) = ids::split(&chat).unwrap();
    let all = rig.under.gateway.nodes.all();
    let left = all.values().filter(|live| live.node.id != node);
    let left = left.map(|live| (live.node.clone(), live.endpoint.clone()));
    rig.under.gateway.nodes.set(left.collect());
    let gone = rig.get(&format!("/sessions/{chat}")).await;
    gone.says(
        503,
        &[&format!("`{node}`"), &format!("`{chat}`"), "stays there"],
    );
    // One that nobody made.
    let none = rig.get(&format!("/sessions/{node}.x{native}")).await;
    none.says(404, &["no node"]);
    let back = all
        .values()
        .map(|live| (live.node.clone(), live.endpoint.clone()));
    rig.under.gateway.nodes.set(back.collect());
    assert_eq!(rig.get(&format!("/sessions/{chat}")).await.status, 200);
}

/// Rule 3: pinned, and its agent is another one now.
#[tokio::test]
async fn a_chat_of_a_node_that_speaks_otherwise_now_is_503() {
    let rig = Rig::new().await;
    let chat = rig.start().await;
    let (node, native) = ids::split(&chat).unwrap();
    let all = rig.under.gateway.nodes.all();
    let changed = all.values().map(|live| {
        let mut now = live.node.clone();
        if now.id == node {
            now.dialect = Dialect::Acp;
        }
        (now, live.endpoint.clone())
    });
    rig.under.gateway.nodes.set(changed.collect());
    rig.seen();
    let lost = rig.get(&format!("/sessions/{chat}")).await;
    let words = [
        &format!("`{node}`"),
        &format!("`{chat}`"),
        "any more, but acp",
        "stays there",
    ];
    lost.says(503, &words.map(|w: &str| w));
    let none = rig.get(&format!("/sessions/{node}.x{native}")).await;
    none.says(404, &["does not speak goosed's REST"]);
    assert_eq!(rig.seen(), [0, 0, 0]);
}

/// Rule 3: pinned and hung.
#[tokio::test]
async fn a_chat_of_a_hung_node_is_504_within_seconds() {
    let rig = Rig::new().await;
    let native = rig.everywhere().await;
    rig.node(1).fault(|f| f.hang = true);
    let chat = format!("g1.{native}");
    let begun = Instant::now();
    let answer = rig.get(&format!("/sessions/{chat}")).await;
    answer.says(504, &["`g1`", &format!("`{chat}`"), "may have taken"]);
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
    // The next one costs a probe, and nothing is sent.
    rig.seen();
    let begun = Instant::now();
    let answer = rig.post("/agent/stop", &json!({"session_id": chat})).await;
    answer.says(504, &["`g1`", &format!("`{chat}`")]);
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(rig.seen(), [0, 0, 0]);
    assert!(!rig.start().await.starts_with("g1."));
    rig.node(1).fault(|f| f.hang = false);
    assert_eq!(rig.get(&format!("/sessions/{chat}")).await.status, 200);
}

/// The same where only its probe still answers.
#[tokio::test]
async fn a_node_that_answers_nothing_but_its_probe_is_given_up_too() {
    let rig = Rig::new().await;
    let native = rig.everywhere().await;
    rig.node(1).fault(|f| f.hang_but_probes = true);
    let begun = Instant::now();
    let answer = rig.get(&format!("/sessions/g1.{native}")).await;
    answer.says(
        504,
        &["`g1`", &format!("`g1.{native}`"), "nothing within 10 s"],
    );
    assert!(
        begun.elapsed() < Duration::from_secs(14),
        "{:?}",
        begun.elapsed()
    );
}

/// Rule 3: its streams are ended, and not with a proper end.
#[tokio::test]
async fn the_streams_of_a_hung_node_are_broken() {
    let rig = Rig::new().await;
    let native = rig.everywhere().await;
    let target = format!("/sessions/g1.{native}/events");
    let answer = rig.send(rig.request("GET", &target, None)).await;
    let mut body = answer.into_body();
    body.frame().await.unwrap().unwrap();
    rig.node(1).fault(|f| f.hang = true);
    let live = rig.under.gateway.nodes.get("g1").unwrap();
    // Once may be an accident.
    for _ in 0..2 {
        live.observed(Advert {
            health: Health::Timeout("nothing".to_owned()),
            ..well("g1")
        });
    }
    let ended = async {
        loop {
            match body.frame().await {
                Some(Ok(_)) => {}
                Some(Err(_)) => return true,
                None => return false,
            }
        }
    };
    assert!(tokio::time::timeout(super::SOON, ended).await.unwrap());
    eventually("its node's too", || rig.node(1).streams() == 0).await;
}

/// Rule 5: secrets.
#[tokio::test]
async fn what_a_client_says_of_itself_stays_here() {
    let rig = Rig::new().await;
    let native = rig.everywhere().await;
    let mut request = rig.request("GET", &format!("/sessions/g1.{native}"), None);
    for (name, value) in [
        ("authorization", "Bearer x"),
        ("cookie", "a=b"),
        ("origin", "http://localhost:1"),
        ("connection", "x-private"),
        ("x-private", "1"),
        ("accept-encoding", "gzip"),
        ("x-kept", "1"),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    assert_eq!(rig.send(request).await.status(), 200);
    let seen = rig.node(1).seen().pop().unwrap();
    for name in [
        "authorization",
        "cookie",
        "origin",
        "x-private",
        "accept-encoding",
    ] {
        assert!(!seen.headers.contains_key(name), "{name}: {seen:?}");
    }
    assert_eq!(seen.headers["x-kept"], "1");
    let text = format!("{seen:?}");
    assert!(!text.contains(SECRET), "{text}");
}

/// The client's secret was right; it is the node's that is wrong.
#[tokio::test]
async fn a_node_that_does_not_take_its_secret_is_down() {
    let rig = Rig::new().await;
    let native = rig.everywhere().await;
    rig.node(0).fault(|f| f.deaf = true);
    let health = || {
        let live = rig.under.gateway.nodes.get("g0").unwrap();
        live.advert().unwrap().health.as_str()
    };
    let chat = format!("g0.{native}");
    let down = rig.get(&format!("/sessions/{chat}")).await;
    down.says(503, &["`g0`", &format!("`{chat}`"), "secret"]);
    assert_eq!(health(), "unauthorized");
    // Whatever it was found by.
    rig.under
        .gateway
        .nodes
        .get("g0")
        .unwrap()
        .observed(well("g0"));
    rig.get("/schedule/list")
        .await
        .says(503, &["`g0`", "secret"]);
    rig.under
        .gateway
        .nodes
        .get("g0")
        .unwrap()
        .observed(well("g0"));
    let listed = rig.get("/sessions").await;
    assert_eq!(listed.headers["x-mosaic-missing"], "g0");
    assert_eq!(listed.ok()["sessions"].as_array().unwrap().len(), 2);
    rig.under
        .gateway
        .nodes
        .get("g0")
        .unwrap()
        .observed(well("g0"));
    assert_eq!(rig.get("/config").await.status, 200);
    assert_eq!(health(), "unauthorized");
    rig.node(0).fault(|f| f.deaf = false);
    assert_eq!(rig.get(&format!("/sessions/{chat}")).await.status, 200);
}

/// Rule 6: what a request finds out about a node counts at once.
#[tokio::test]
async fn refused_and_silent_are_told_apart() {
    let rig = Rig::new().await;
    let native = rig.everywhere().await;
    rig.nodes[0].kill().await;
    rig.node(1).fault(|f| f.hang = true);
    rig.get(&format!("/sessions/g0.{native}")).await;
    rig.get(&format!("/sessions/g1.{native}")).await;
    let health = |id: &str| {
        let live = rig.under.gateway.nodes.get(id).unwrap();
        live.advert().unwrap().health.as_str()
    };
    assert_eq!(
        (health("g0"), health("g1"), health("g2")),
        ("refused", "timeout", "healthy")
    );
}

/// Rule 4, and of what is asked of any node.
#[tokio::test]
async fn reads_go_to_the_next_node_that_is_well() {
    let rig = Rig::new().await;
    rig.nodes[0].kill().await;
    // Not known yet, and then known.
    for _ in 0..2 {
        assert_eq!(rig.get("/config").await.status, 200);
        assert_eq!(rig.seen(), [0, 1, 0]);
    }
    let fixed = rig.get("/schedule/list").await;
    fixed.says(503, &["`g0`"]);
    assert_eq!(rig.seen(), [0, 0, 0]);
    rig.nodes[1].kill().await;
    rig.nodes[2].kill().await;
    rig.get("/config").await.says(503, &["g0", "g1", "g2"]);
    assert_eq!(rig.get("/status").await.status, 200);
}

/// A node that dies in the middle of an answer that has begun.
#[tokio::test]
async fn a_death_in_mid_stream_is_no_proper_end() {
    let rig = Rig::new().await;
    let native = rig.everywhere().await;
    rig.node(1).fault(|f| {
        f.die_after = Some(2);
        f.word_delay = Duration::from_millis(20);
    });
    let mut body = message("one two three").1;
    body["session_id"] = json!(format!("g1.{native}"));
    let answer = rig
        .send(rig.request("POST", "/reply", Some(body.to_string().as_bytes())))
        .await;
    assert_eq!(answer.status(), 200);
    let collected = tokio::time::timeout(super::SOON, answer.into_body().collect()).await;
    assert!(collected.unwrap().is_err());
}
