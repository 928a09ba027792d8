//! Events: all nodes' in one stream, each as it came.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::http::Method;
use serde_json::json;

use super::{Got, SECRET, World, eventually};

const TWO: [(&str, &str); 2] = [("a", "/w/a"), ("b", "/w/b")];

fn listeners(world: &World) -> u64 {
    let count = |n: &super::Opencode| n.inner.listeners.load(Ordering::SeqCst);
    world.nodes.iter().map(count).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_events_come_in_one_stream() {
    let world = World::of(&TWO).await;
    let mut global = world.listen("/global/event").await;
    assert_eq!(global.event().await["payload"]["type"], "server.connected");
    let mut own = world.listen("/event").await;
    assert_eq!(own.event().await["type"], "server.connected");
    for id in ["a", "b", "a"] {
        let node = world.node(id);
        node.inner
            .emit(node.directory, "x.y", json!({"of": id, "text": "é \n {"}));
        let event = global.event().await;
        assert_eq!(event["directory"], node.directory);
        assert_eq!(
            event["payload"]["properties"],
            json!({"of": id, "text": "é \n {"})
        );
        // Without a directory each node's own is meant.
        assert_eq!(own.event().await, event["payload"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bytes_of_an_event_are_untouched() {
    let world = World::of(&TWO).await;
    let mut own = world.listen("/event").await;
    own.event().await;
    world
        .node("b")
        .inner
        .emit("/w/b", "x.y", json!({"z": 1, "a": [1.50, "\u{7f}é"]}));
    let frame = own.frame().await.unwrap();
    let want =
        json!({"id": "evt_b0", "type": "x.y", "properties": {"z": 1, "a": [1.50, "\u{7f}é"]}});
    assert_eq!(frame, format!("data: {want}\n\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_named_is_the_only_one() {
    let world = World::of(&TWO).await;
    let mut b = world.listen("/event?directory=%2Fw%2Fb").await;
    b.event().await;
    assert_eq!(world.node("a").seen("/event"), 0);
    world.node("a").inner.emit("/w/a", "x.y", json!({}));
    world.node("b").inner.emit("/elsewhere", "x.y", json!({}));
    world.node("b").inner.emit("/w/b", "x.z", json!({}));
    assert_eq!(b.event().await["type"], "x.z");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_listened_to_once_and_only_while_somebody_listens() {
    let world = World::of(&TWO).await;
    assert_eq!(listeners(&world), 0);
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut stream = world.listen("/event").await;
        stream.event().await;
        streams.push(stream);
    }
    assert_eq!(listeners(&world), 2);
    world.node("a").inner.emit("/w/a", "x.y", json!({}));
    for stream in &mut streams {
        assert_eq!(stream.event().await["type"], "x.y");
    }
    // All but one go.
    streams.truncate(1);
    world.node("b").inner.emit("/w/b", "x.z", json!({}));
    assert_eq!(streams[0].event().await["type"], "x.z");
    assert_eq!(listeners(&world), 2);
    drop(streams);
    eventually("nobody is listened to", || listeners(&world) == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_back_is_joined_again() {
    let mut world = World::of(&TWO).await;
    let mut own = world.listen("/event").await;
    own.event().await;
    world.node_mut("a").kill();
    world.node("b").inner.emit("/w/b", "x.y", json!({}));
    assert_eq!(own.event().await["type"], "x.y");
    world.node_mut("a").run();
    // As a client of that node would hear it.
    assert_eq!(own.next("server.connected").await["id"], "evt_0");
    world.node("a").inner.emit("/w/a", "x.z", json!({}));
    assert_eq!(own.event().await["type"], "x.z");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_down_does_not_keep_a_client_waiting() {
    let mut world = World::of(&TWO).await;
    world.node_mut("a").kill();
    let started = std::time::Instant::now();
    let mut own = world.listen("/event").await;
    assert_eq!(own.event().await["type"], "server.connected");
    assert!(started.elapsed() < Duration::from_secs(2));
    world.node("b").inner.emit("/w/b", "x.y", json!({}));
    assert_eq!(own.event().await["type"], "x.y");
    // It is joined when it starts.
    world.node_mut("a").run();
    own.next("server.connected").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_joins_the_fleet_is_heard() {
    let mut world = World::of(&TWO[..1]).await;
    let mut own = world.listen("/event").await;
    own.event().await;
    let new = super::Opencode::start("b", "/w/b", &Default::default());
    world.nodes.push(new);
    world.know();
    eventually("it is listened to", || listeners(&world) == 2).await;
    world.node("b").inner.emit("/w/b", "x.y", json!({}));
    assert_eq!(own.next("x.y").await["id"], "evt_b0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_cut_off() {
    let world = World::of(&TWO[..1]).await;
    let mut slow = world.listen("/event").await;
    slow.event().await;
    let mut quick = world.listen("/event").await;
    quick.event().await;
    let text = "x".repeat(8 * 1024);
    for n in 0..4000 {
        world
            .node("a")
            .inner
            .emit("/w/a", "x.y", json!({"n": n, "text": text}));
        assert_eq!(quick.event().await["properties"]["n"], n);
    }
    let mut got = 0;
    while slow.frame().await.is_some() {
        got += 1;
    }
    assert!(got < 4000, "{got}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_behind_by_bytes_and_not_by_events() {
    let world = World::of(&TWO[..1]).await;
    let mut slow = world.listen("/event").await;
    slow.event().await;
    let mut quick = world.listen("/event").await;
    quick.event().await;
    let text = "x".repeat(2 * 1024 * 1024);
    let tell = |n| {
        let long = json!({"n": n, "text": text});
        world.node("a").inner.emit("/w/a", "x.y", long);
    };
    for n in 0..40 {
        tell(n);
        assert_eq!(quick.event().await["properties"]["n"], n);
    }
    let mut got = 0;
    while got < 40 && slow.frame().await.is_some() {
        got += 1;
    }
    assert!(got < 40, "{got}");
    // It comes again, and is as quick as the other.
    let mut again = world.listen("/event").await;
    again.event().await;
    for n in 40..44 {
        tell(n);
        for stream in [&mut quick, &mut again] {
            assert_eq!(stream.event().await["properties"]["n"], n);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_seen_to_be_made_is_pinned() {
    let world = World::sharing(&TWO).await;
    let mut global = world.listen("/global/event").await;
    global.event().await;
    // Both have it, and only one has made it.
    let made = world.node("b").inner.make("/w/a", None);
    let id = made["id"].as_str().unwrap();
    global.next("session.created").await;
    assert_eq!(world.get(&format!("/session/{id}")).await.node(), "b");
    assert_eq!(world.pin(id).await.as_deref(), Some("b"));
    world
        .node("b")
        .inner
        .emit("/w/a", "session.deleted", json!({"info": {"id": id}}));
    global.next("session.deleted").await;
    assert_eq!(world.pin(id).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subagents_session_is_its_parents_and_takes_no_place() {
    let world = World::sharing(&TWO).await;
    let mut global = world.listen("/global/event").await;
    global.event().await;
    let parent = world.node("b").inner.make("/w/a", None);
    let parent = parent["id"].as_str().unwrap();
    let child = world.node("b").inner.make("/w/a", Some(parent));
    let child = child["id"].as_str().unwrap();
    global.next("session.created").await;
    global.next("session.created").await;
    for _ in 0..2 {
        assert_eq!(world.get(&format!("/session/{child}")).await.node(), "b");
    }
    assert_eq!(world.pin(parent).await.as_deref(), Some("b"));
    assert_eq!(world.pin(child).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_an_end_to_what_is_listened_to() {
    let world = World::of(&TWO[..1]).await;
    let mut streams = Vec::new();
    for n in 0..5 {
        streams.push(world.listen(&format!("/event?x={n}")).await);
    }
    assert_eq!(listeners(&world), 1);
    for n in 0..63 {
        streams.push(world.listen(&format!("/event?directory=/d{n}")).await);
    }
    let refused = world.get("/event?directory=/another").await;
    assert_eq!(refused.status, 503);
    streams.push(world.listen("/event?directory=/d7").await);
    assert_eq!(listeners(&world), 64);
    drop(streams);
    eventually("nobody is listened to", || listeners(&world) == 0).await;
    world.listen("/event?directory=/another").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_asks_is_answered_where_it_was_asked() {
    let world = World::of(&TWO).await;
    let reply = json!({"reply": "once"});
    let path = |id: &str| format!("/permission/{id}/reply");
    // Heard as an event: nobody else is asked.
    let mut own = world.listen("/event").await;
    own.event().await;
    let id = world.node("b").inner.ask("ses_1");
    own.next("permission.asked").await;
    let done = world.post(&path(&id), reply.clone()).await;
    assert_eq!((done.status.as_u16(), done.node().as_str()), (200, "b"));
    assert_eq!(world.node("a").seen("/permission"), 0);
    drop(own);
    eventually("nobody is listened to", || listeners(&world) == 0).await;
    // Seen in the list.
    let id = world.node("a").inner.ask("ses_1");
    let other = world.node("b").inner.ask("ses_2");
    let open = world.get("/permission").await.json;
    assert_eq!(open.as_array().unwrap().len(), 2);
    let before = world.node("b").seen("/permission");
    assert_eq!(world.post(&path(&id), reply.clone()).await.node(), "a");
    assert_eq!(world.node("b").seen("/permission"), before);
    assert_eq!(world.post(&path(&other), reply.clone()).await.node(), "b");
    // Neither, as after the gateway's restart: the nodes are asked what is open.
    let id = world.node("b").inner.ask("ses_3");
    assert_eq!(world.post(&path(&id), reply.clone()).await.node(), "b");
    assert!(world.node("b").inner.open.lock().unwrap().is_empty());
    let nobody = world.post(&path("per_nobody"), reply).await;
    assert_eq!(nobody.status, 404);
    assert!(nobody.message().contains("per_nobody"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_end_ends_streams() {
    let world = World::of(&TWO).await;
    let mut own = world.listen("/event").await;
    own.event().await;
    world.under.gateway.stopping.cut();
    assert_eq!(own.frame().await, None);
    drop(own);
    let answer = world.send(Method::GET, "/event?node=x", None).await;
    assert_eq!(answer.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_of_the_gateways_own_api_is_pinned_once_though_it_is_heard_of() {
    let world = World::of(&TWO).await;
    let mut heard = world.listen("/global/event").await;
    heard.event().await;
    let all = async || {
        let pins: crate::error::Result<Vec<_>> = world.under.gateway.pins(|p| p.list()).await;
        let pins = pins.unwrap().into_iter();
        pins.map(|pin| (pin.chat, pin.native)).collect::<Vec<_>>()
    };
    let chat = "ISSUE-12".to_owned();
    let body = json!({"chat": chat, "working_dir": "/tmp"});
    let request = axum::http::Request::post(format!("{}/chats", world.under.url))
        .header("authorization", format!("Bearer {SECRET}"))
        .body(axum::body::Body::from(body.to_string()))
        .unwrap();
    let made = Got::of(world.request(request).await).await;
    assert_eq!(made.status, 201, "{made:?}");
    let session = made.json["native"].as_str().unwrap().to_owned();
    while heard.event().await["payload"]["type"] != "session.created" {}
    let path = format!("/session/{session}");
    assert_eq!(world.get(&path).await.status, 200);
    assert_eq!(all().await, [(chat, Some(session))]);
    // It is gone with its session.
    assert_eq!(
        world.call(Method::DELETE, &path, json!({})).await.status,
        200
    );
    assert_eq!(all().await, []);
}
