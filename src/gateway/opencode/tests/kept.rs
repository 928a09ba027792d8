//! What must hold whatever becomes of its client: ids that it has chosen, what it has begun and not waited for.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::http::Method;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::World;

const THREE: [(&str, &str); 3] = [("a", "/w"), ("b", "/w"), ("c", "/w")];

fn asked(world: &World) -> Vec<&'static str> {
    let asked = world.nodes.iter().filter(|n| n.seen("POST /session") > 0);
    asked.map(|n| n.id).collect()
}

fn slow(world: &World, is: bool) {
    for node in &world.nodes {
        node.inner.slow.store(is, Ordering::SeqCst);
    }
}

/// A client that does not wait.
async fn gives_up(world: &World, method: Method, path: &str, body: Value) {
    let sent = world.call(method, path, body);
    let answer = tokio::time::timeout(Duration::from_secs(2), sent).await;
    assert!(answer.is_err());
}

async fn pinned(world: &World, session: &str, node: Option<&str>) {
    for _ in 0..100 {
        if world.pin(session).await.as_deref() == node {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{session} is not pinned to {node:?}");
}

async fn set_target(world: &World, to: &str) {
    let to = to.parse().unwrap();
    let set: crate::error::Result<()> = world
        .under
        .gateway
        .pins(move |pins| pins.set_next_target(Some(&to)))
        .await;
    set.unwrap();
}

async fn target(world: &World) -> Option<String> {
    let ledger: crate::error::Result<_> = world.under.gateway.look(|p| p.ledger()).await;
    ledger.unwrap().history.next_target.map(|t| t.to_string())
}

async fn places(world: &World) -> u32 {
    let ledger: crate::error::Result<_> = world.under.gateway.pins(|p| p.ledger()).await;
    ledger.unwrap().chats.values().sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_under_its_clients_id_is_on_one_node() {
    let world = World::of(&THREE).await;
    let wanted = json!({"id": "ses_mine"});
    let made = join_all((0..6).map(|_| world.post("/session", wanted.clone()))).await;
    for made in &made {
        assert_eq!((made.status.as_u16(), made.id()), (200, "ses_mine".into()));
        assert_eq!(made.node(), asked(&world)[0]);
    }
    assert_eq!(asked(&world).len(), 1);
    assert_eq!(places(&world).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_a_chat_that_is_called_otherwise_is_made_where_that_is() {
    let world = World::of(&THREE).await;
    for node in ["b", "c"] {
        let session = format!("ses_of_{node}");
        let (live, name) = (
            world.under.gateway.nodes.get(node).unwrap(),
            session.clone(),
        );
        let adopted: crate::error::Result<_> = world
            .under
            .gateway
            .pins(move |pins| pins.adopt(&format!("chat-{name}"), &live.node, Some(&name)))
            .await;
        adopted.unwrap();
        let made = world.post("/session", json!({"id": session})).await;
        assert_eq!((made.status.as_u16(), made.node().as_str()), (200, node));
        // It has the one pin.
        assert_eq!(world.pin(&session).await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_may_have_been_made_is_asked_of_the_same_node() {
    let world = World::of(&THREE).await;
    let wanted = json!({"id": "ses_mine"});
    for node in &world.nodes {
        node.inner.breaks.store(true, Ordering::SeqCst);
    }
    for _ in 0..3 {
        let unknown = world.post("/session", wanted.clone()).await;
        assert_eq!(unknown.status, 504, "{unknown:?}");
    }
    for node in &world.nodes {
        node.inner.breaks.store(false, Ordering::SeqCst);
    }
    let made = world.post("/session", wanted).await;
    assert_eq!((made.status.as_u16(), made.id()), (200, "ses_mine".into()));
    assert_eq!(asked(&world), [made.node()]);
    // What its node refuses takes no place.
    let refused = json!({"id": "ses_other", "title": 7});
    assert_eq!(world.post("/session", refused).await.status, 400);
    assert_eq!(world.pin("ses_other").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_to_a_node_that_is_there_under_its_clients_id_too() {
    let mut world = World::of(&THREE).await;
    world.node_mut("a").kill();
    world.node_mut("b").kill();
    let made = world.post("/session", json!({"id": "ses_mine"})).await;
    assert_eq!((made.status.as_u16(), made.node().as_str()), (200, "c"));
    assert_eq!(world.pin("ses_mine").await.as_deref(), Some("c"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_is_used_by_a_session_that_is_made_under_its_clients_id_too() {
    let mut world = World::of(&THREE).await;
    let wanted = |id: &str| json!({"id": id});
    set_target(&world, "c").await;
    // Refused, and nothing was made.
    let refused = json!({"id": "ses_none", "title": 7});
    assert_eq!(world.post("/session", refused).await.status, 400);
    assert_eq!(target(&world).await.as_deref(), Some("c"));
    // Not there: nobody else is meant.
    world.node_mut("c").kill();
    assert_eq!(world.post("/session", wanted("ses_1")).await.status, 503);
    assert_eq!(target(&world).await.as_deref(), Some("c"));
    assert_eq!(places(&world).await, 0);
    world.node_mut("c").run();
    world.well();
    let made = world.post("/session", wanted("ses_1")).await;
    assert_eq!((made.status.as_u16(), made.node().as_str()), (200, "c"));
    assert_eq!(target(&world).await, None);
    // One that no such node could be is of another chat.
    set_target(&world, "somebody-else").await;
    assert_eq!(world.post("/session", wanted("ses_2")).await.status, 200);
    assert_eq!(target(&world).await.as_deref(), Some("somebody-else"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pins_that_cannot_be_read_are_an_error() {
    let world = World::of(&THREE).await;
    let path = world.under.directory.path().join("pins.db");
    let db = rusqlite::Connection::open(path).unwrap();
    db.execute("ALTER TABLE pin RENAME TO gone", []).unwrap();
    let failed = world.post("/session", json!({"id": "ses_mine"})).await;
    assert!(failed.status.is_server_error(), "{failed:?}");
    assert!(asked(&world).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_without_a_name_keeps_its_place() {
    let world = World::of(&THREE).await;
    let got = world.post("/session", json!({"title": 8})).await;
    assert_eq!(got.status, 504, "{got:?}");
    assert_eq!(places(&world).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_did_not_wait_for_is_pinned() {
    let world = World::sharing(&THREE).await;
    let store = std::sync::Arc::clone(&world.node("a").inner.store);
    let newest = |but: &[&str]| {
        let store = store.lock().unwrap();
        let new = store.keys().find(|id| !but.contains(&id.as_str()));
        new.unwrap().clone()
    };
    slow(&world, true);
    gives_up(&world, Method::POST, "/session", json!({})).await;
    slow(&world, false);
    let made = newest(&[]);
    pinned(&world, &made, Some(asked(&world)[0])).await;
    slow(&world, true);
    let path = format!("/session/{made}/fork");
    gives_up(&world, Method::POST, &path, json!({})).await;
    slow(&world, false);
    pinned(&world, &newest(&[&made]), Some(asked(&world)[0])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_gone_has_no_pin() {
    let world = World::of(&THREE).await;
    let (session, _) = world.session().await;
    slow(&world, true);
    let path = format!("/session/{session}");
    gives_up(&world, Method::DELETE, &path, json!({})).await;
    slow(&world, false);
    pinned(&world, &session, None).await;
    // Gone behind the gateway's back.
    let (session, node) = world.session().await;
    node.inner.store.lock().unwrap().remove(&session);
    let path = format!("/session/{session}");
    let gone = world.call(Method::DELETE, &path, json!({})).await;
    assert_eq!(gone.status, 404);
    assert_eq!(world.pin(&session).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_reach_every_node_one_change_at_a_time() {
    let world = World::of(&THREE).await;
    slow(&world, true);
    gives_up(&world, Method::PATCH, "/config", json!({})).await;
    slow(&world, false);
    let changes = (0..4).map(|n| world.call(Method::PATCH, "/config", json!({"model": n})));
    for changed in join_all(changes).await {
        assert_eq!(changed.status, 200);
    }
    for node in &world.nodes {
        assert_eq!(node.inner.changed.load(Ordering::SeqCst), 5);
        assert!(!node.inner.mixed.load(Ordering::SeqCst));
    }
}
