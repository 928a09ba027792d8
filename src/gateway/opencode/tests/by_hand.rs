//! What a person does to a pin, with a program of its own: it holds for the very next request.

use axum::http::Method;
use serde_json::json;

use super::World;
use crate::routing::pins::Pins;

const THREE: [(&str, &str); 3] = [("a", "/w"), ("b", "/w"), ("c", "/w")];

fn pins(world: &World) -> Pins {
    Pins::at(&world.under.directory.path().join("pins.db")).unwrap()
}

async fn home(world: &World, session: &str) -> String {
    world.get(&format!("/session/{session}")).await.node()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_that_is_moved_is_followed_at_once() {
    let world = World::sharing(&THREE).await;
    let (session, node) = world.session().await;
    let mut pins = pins(&world);
    let child = world.post("/session", json!({"parentID": session})).await;
    for other in world.nodes.iter().filter(|n| n.id != node.id) {
        let known = pins.pin(&session).unwrap().unwrap();
        let target = world.under.gateway.nodes.get(other.id).unwrap();
        pins.move_to(&session, &target.node, known.revision)
            .unwrap();
        assert_eq!(home(&world, &session).await, other.id);
        assert_eq!(home(&world, &child.id()).await, other.id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_that_is_released_is_not_remembered() {
    let world = World::sharing(&THREE).await;
    let (session, node) = world.session().await;
    assert_eq!(home(&world, &session).await, node.id);
    let other = world.nodes.iter().find(|n| n.id != node.id).unwrap();
    let working = json!({"type": "busy"});
    let busy = &other.inner.busy;
    busy.lock().unwrap().insert(session.clone(), working);
    assert_eq!(home(&world, &session).await, node.id);
    assert!(pins(&world).release(&session).unwrap());
    // It is where it is found now.
    assert_eq!(home(&world, &session).await, other.id);
    assert_eq!(world.pin(&session).await.as_deref(), Some(other.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_writes_pins_keeps_nobody_waiting_who_reads_them() {
    let world = World::of(&THREE).await;
    let node = world.node("b");
    let session = node.inner.make("/w", None)["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let live = world.under.gateway.nodes.get("b").unwrap();
    pins(&world)
        .adopt(&session, &live.node, Some(&session))
        .unwrap();
    let path = world.under.directory.path().join("pins.db");
    let mut db = rusqlite::Connection::open(path).unwrap();
    let held = rusqlite::TransactionBehavior::Exclusive;
    let held = db.transaction_with_behavior(held).unwrap();
    let begun = std::time::Instant::now();
    // The one that waits to write has the gateway's turn as well.
    let waits = async {
        let made = world.post("/session", json!({})).await;
        assert_eq!(made.status, 200);
    };
    let reads = async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        assert_eq!(home(&world, &session).await, node.id);
        let path = format!("/session/{session}/abort");
        assert_eq!(world.call(Method::POST, &path, json!({})).await.status, 200);
        assert!(begun.elapsed() < std::time::Duration::from_secs(2));
        drop(held);
    };
    tokio::join!(waits, reads);
}
