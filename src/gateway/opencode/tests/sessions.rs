//! Sessions: placed, pinned, found again.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::http::Method;
use futures_util::future::join_all;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::{World, count};
use crate::gateway::opencode::stand_in::Store;

const THREE: [(&str, &str); 3] = [("a", "/w"), ("b", "/w"), ("c", "/w")];

#[tokio::test(flavor = "multi_thread")]
async fn new_sessions_spread_and_stay() {
    let world = World::of(&THREE).await;
    let made = join_all((0..12).map(|_| world.post("/session", json!({"title": "t"})))).await;
    let nodes: Vec<String> = made.iter().map(super::Got::node).collect();
    let spread = count(nodes.iter().map(String::as_str));
    assert_eq!(spread, [("a", 4), ("b", 4), ("c", 4)].into());
    for (made, node) in made.iter().zip(&nodes) {
        // The node's own id, and its whole answer.
        assert!(made.id().starts_with("ses_"));
        assert_eq!(made.json["title"], format!("by {node}"));
        assert_eq!(world.pin(&made.id()).await.as_deref(), Some(node.as_str()));
        let prompt = json!({"parts": [{"type": "text", "text": "hi"}]});
        let answer = world
            .post(&format!("/session/{}/message", made.id()), prompt)
            .await;
        assert_eq!(answer.json["parts"][0]["text"], format!("{node}: hi"));
        let verb = world
            .post(&format!("/session/{}/abort", made.id()), json!({}))
            .await;
        assert_eq!(verb.json, json!({"node": node, "verb": "abort"}));
        let later = world
            .post(&format!("/session/{}/prompt_async", made.id()), json!({}))
            .await;
        assert_eq!(later.status, 204);
    }
    let all = world.get("/session").await.json;
    assert_eq!(all.as_array().unwrap().len(), 12);
    let updated = |s: &Value| s["time"]["updated"].as_i64().unwrap();
    assert!(all.as_array().unwrap().is_sorted_by_key(|s| -updated(s)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_comes_as_it_is_produced() {
    let world = World::of(&THREE).await;
    let (session, node) = world.session().await;
    let prompt = json!({"parts": [{"type": "text", "text": "wait for it"}]});
    let path = format!("/session/{session}/message");
    let answer = world.send(Method::POST, &path, Some(prompt)).await;
    assert_eq!(answer.status(), 200);
    let mut body = answer.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, r#"{"info":{},"#);
    node.inner.turn.notify_one();
    let rest = body.collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&rest).contains(&format!("{}: wait for it", node.id)));
}

#[tokio::test(flavor = "multi_thread")]
async fn forks_and_children_stay_with_their_session() {
    let world = World::of(&THREE).await;
    let (session, node) = world.session().await;
    for _ in 0..3 {
        let fork = world
            .post(&format!("/session/{session}/fork"), json!({}))
            .await;
        let child = world.post("/session", json!({"parentID": session})).await;
        for new in [fork, child] {
            assert_eq!(new.status, 200);
            assert_eq!(new.node(), node.id);
            assert_ne!(new.id(), session);
            let path = format!("/session/{}", new.id());
            assert_eq!(world.get(&path).await.node(), node.id);
            // A child takes no place of its own.
            let pin = new.json["parentID"].is_null().then(|| node.id.to_owned());
            assert_eq!(world.pin(&new.id()).await, pin);
        }
    }
    let orphan = world
        .post("/session", json!({"parentID": "ses_nobody"}))
        .await;
    assert_eq!(orphan.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_session_gives_its_place_back() {
    let world = World::of(&THREE).await;
    let (session, _) = world.session().await;
    let path = format!("/session/{session}");
    let gone = world.call(Method::DELETE, &path, json!({})).await;
    assert_eq!((gone.status.as_u16(), gone.json), (200, json!(true)));
    assert_eq!(world.pin(&session).await, None);
    let again = world.get(&path).await;
    assert_eq!(again.status, 404);
    assert!(again.message().contains(&session), "{:?}", again.json);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_node_refuses_takes_no_place() {
    let world = World::of(&THREE).await;
    let refused = world.post("/session", json!({"title": 7})).await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json, json!({"name": "BadRequest"}));
    let all: crate::error::Result<_> = world.under.gateway.pins(|p| p.ledger()).await;
    assert!(all.unwrap().chats.is_empty());
    // One node was asked, and no other.
    assert_eq!(
        world
            .nodes
            .iter()
            .map(|n| n.seen("POST /session"))
            .sum::<usize>(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_a_nodes_own_interface_is_found_once() {
    let world = World::of(&THREE).await;
    let session = world.node("b").inner.make("/w", None);
    let path = format!("/session/{}", session["id"].as_str().unwrap());
    for _ in 0..3 {
        let found = world.get(&path).await;
        assert_eq!((found.node().as_str(), &found.json), ("b", &session));
    }
    assert_eq!(
        world.pin(session["id"].as_str().unwrap()).await.as_deref(),
        Some("b")
    );
    assert_eq!(world.node("a").seen(&path), 1);
    assert_eq!(world.node("b").seen(&path), 4);
}

/// Three servers of one account, as of one home: all of them have every session.
#[tokio::test(flavor = "multi_thread")]
async fn with_one_database_a_session_is_where_it_runs() {
    let world = World::sharing(&[("a", "/w/a"), ("b", "/w/b"), ("c", "/w/c")]).await;
    let all = |path: String| {
        let world = &world;
        async move { world.get(&path).await.node() }
    };
    // Who works at it.
    let busy = world.node("c").inner.make("/w/a", None);
    let busy = busy["id"].as_str().unwrap();
    let status = json!({"type": "busy"});
    world
        .node("c")
        .inner
        .busy
        .lock()
        .unwrap()
        .insert(busy.to_owned(), status);
    assert_eq!(all(format!("/session/{busy}")).await, "c");
    // Who works in its directory.
    let near = world.node("a").inner.make("/w/b", None);
    let near = near["id"].as_str().unwrap();
    assert_eq!(all(format!("/session/{near}")).await, "b");
    // Where its parent is.
    let child = world.node("a").inner.make("/w/a", Some(near));
    assert_eq!(
        all(format!("/session/{}", child["id"].as_str().unwrap())).await,
        "b"
    );
    assert_eq!(world.pin(child["id"].as_str().unwrap()).await, None);
    // Each is listed once.
    assert_eq!(
        world.get("/session").await.json.as_array().unwrap().len(),
        3
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_directory_means_the_nodes_that_work_there() {
    let there = tempfile::tempdir().unwrap();
    let dir = |name: &str| -> &'static str {
        let path = there.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path.to_str().unwrap().to_owned().leak()
    };
    let (a, b, inner, elsewhere) = (dir("a"), dir("b"), dir("a/src"), dir("x"));
    let world = World::of(&[("a", a), ("b", b), ("c", b)]).await;
    for _ in 0..2 {
        let made = world
            .post(&format!("/session?directory={b}"), json!({}))
            .await;
        assert_ne!(made.node(), "a");
        assert_eq!(made.json["directory"], b);
    }
    let inside = world
        .post(&format!("/session?directory={inner}"), json!({}))
        .await;
    assert_eq!(
        (inside.node().as_str(), &inside.json["directory"]),
        ("a", &json!(inner))
    );
    assert_eq!(world.get(&format!("/path?directory={b}")).await.node(), "b");
    assert_eq!(world.get("/path").await.node(), "a");
    // Nobody works there: any node opens it.
    let made = world
        .post(&format!("/session?directory={elsewhere}"), json!({}))
        .await;
    assert_eq!(made.json["directory"], elsewhere);
    // One that is not there, however it is named, and no node is asked.
    let before = world.nodes.iter().map(|n| n.seen("POST")).sum::<usize>();
    for (query, body) in [
        (format!("?directory={a}/none"), json!({})),
        (
            "?node=a".to_owned(),
            json!({"location": {"directory": format!("{a}/none")}}),
        ),
        ("?directory=relative".to_owned(), json!({"id": "ses_mine"})),
    ] {
        let refused = world.post(&format!("/session{query}"), body).await;
        assert_eq!(refused.status, 400, "{query}");
    }
    assert_eq!(
        world.nodes.iter().map(|n| n.seen("POST")).sum::<usize>(),
        before
    );
    // Who names nothing gets any node, each in its own directory.
    let mut nodes = Vec::new();
    for _ in 0..6 {
        let made = world.post("/session", json!({})).await;
        assert_eq!(made.json["directory"], world.node(&made.node()).directory);
        nodes.push(made.node());
    }
    nodes.sort();
    nodes.dedup();
    assert_eq!(nodes, ["a", "b", "c"]);
    // And a node by its name.
    for _ in 0..3 {
        assert_eq!(world.post("/session?node=c", json!({})).await.node(), "c");
    }
    assert_eq!(world.node("c").seen("node="), 0);
    assert_eq!(world.post("/session?node=x", json!({})).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn pins_outlive_the_gateway() {
    let world = World::of(&THREE).await;
    let (session, node) = world.session().await;
    let path = world.under.directory.path().join("pins.db");
    let pins = crate::routing::pins::Pins::at(&path).unwrap();
    assert_eq!(pins.pin(&session).unwrap().unwrap().node, node.id);
    assert_eq!(
        pins.pin(&session).unwrap().unwrap().native.as_deref(),
        Some(session.as_str())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_that_may_have_been_done_is_never_done_again() {
    let world = World::sharing(&THREE).await;
    for node in &world.nodes {
        node.inner.slow.store(true, Ordering::SeqCst);
    }
    let store: Store = Arc::clone(&world.node("a").inner.store);
    let client = world.post("/session", json!({}));
    let gave_up = tokio::time::timeout(std::time::Duration::from_secs(2), client).await;
    assert!(gave_up.is_err());
    assert_eq!(store.lock().unwrap().len(), 1);
    assert_eq!(
        world
            .nodes
            .iter()
            .map(|n| n.seen("POST /session"))
            .sum::<usize>(),
        1
    );
    // Its place stays taken.
    let ledger: crate::error::Result<_> = world.under.gateway.pins(|p| p.ledger()).await;
    assert_eq!(ledger.unwrap().chats.values().sum::<u32>(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_found_does_not_go_by_the_target_of_the_next_chat() {
    let world = World::sharing(&[("a", "/w"), ("b", "/w"), ("c", "/w")]).await;
    let session = world.node("a").inner.make("/w", None);
    let session = session["id"].as_str().unwrap();
    let path = format!("/session/{session}");
    let first = world.get(&path).await.node();
    let other = world.nodes.iter().find(|n| n.id != first).unwrap().id;
    let name = session.to_owned();
    let set: crate::error::Result<()> = world
        .under
        .gateway
        .pins(move |pins| {
            pins.release(&name)?;
            pins.set_next_target(Some(&other.parse().unwrap()))
        })
        .await;
    set.unwrap();
    assert_eq!(world.get(&path).await.node(), first);
    // It waits for a new one.
    let made = world.post("/session", json!({})).await;
    assert_eq!(made.node(), other);
}
