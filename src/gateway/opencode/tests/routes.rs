//! What is no session's: looked up, done once, done everywhere, meant for one node.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, header};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Got, World};
use crate::gateway::stand_in::SECRET;
use crate::host::basic_auth::basic;

const TWO: [(&str, &str); 2] = [("a", "/w"), ("b", "/w")];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_looked_up_comes_from_the_same_node() {
    let mut world = World::of(&TWO).await;
    for path in [
        "/config",
        "/agent",
        "/provider",
        "/path",
        "/api/model",
        "/experimental/workspace",
    ] {
        for _ in 0..3 {
            let got = world.get(path).await;
            assert_eq!(
                (got.status.as_u16(), got.node().as_str()),
                (200, "a"),
                "{path}"
            );
        }
    }
    assert_eq!(world.node("b").seen(""), 0);
    // Its query comes along, and what is the gateway's does not.
    let got = world
        .get("/find/file?query=a%20b&limit=3&auth_token=x")
        .await;
    assert_eq!(got.json["asked"], "GET /find/file?query=a%20b&limit=3");
    // It is gone: the next one, and from then on at once.
    world.node_mut("a").kill();
    assert_eq!(world.get("/config").await.node(), "b");
    world.node_mut("b").kill();
    let none = world.get("/config").await;
    assert_eq!(none.status, 503);
    assert!(
        none.message().contains("`a`") && none.message().contains("`b`"),
        "{none:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_change_every_node_or_none() {
    let mut world = World::of(&TWO).await;
    let changed = world
        .call(Method::PATCH, "/config", json!({"model": "x"}))
        .await;
    assert_eq!(changed.status, 200);
    assert_eq!(changed.json["body"], json!({"model": "x"}));
    for node in &world.nodes {
        assert_eq!(node.seen("PATCH /config"), 1);
    }
    let refused = world
        .call(Method::PUT, "/auth/openai", json!({"bad": true}))
        .await;
    assert_eq!(
        (refused.status.as_u16(), refused.json),
        (400, json!({"name": "BadRequest"}))
    );
    world.node_mut("b").kill();
    let none = world
        .call(Method::PATCH, "/config", json!({"model": "y"}))
        .await;
    assert_eq!(none.status, 503);
    assert!(none.message().contains("`b`") && none.message().contains("nothing was changed"));
    assert_eq!(world.node("a").seen("PATCH /config"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_for_one_node_must_name_it() {
    let world = World::of(&[("a", "/w/a"), ("b", "/w/b")]).await;
    let text = json!({"text": "x"});
    let which = world.post("/tui/append-prompt", text.clone()).await;
    assert_eq!(which.status, 409);
    assert!(which.message().contains("`a`, `b`") && which.message().contains("?node="));
    for (query, node) in [("node=b", "b"), ("directory=/w/a", "a")] {
        let done = world
            .post(&format!("/tui/append-prompt?{query}"), text.clone())
            .await;
        assert_eq!((done.node().as_str(), &done.json["body"]), (node, &text));
    }
    // A session means its node.
    let (session, node) = world.session().await;
    let shown = world
        .post("/tui/select-session", json!({"sessionID": session}))
        .await;
    assert_eq!(shown.node(), node.id);
    assert_eq!(shown.json["body"]["sessionID"], json!(session));
    assert_eq!(
        world.post("/tui/select-session", json!({})).await.status,
        400
    );
    // With one node there is nothing to name.
    let one = World::of(&[("a", "/w")]).await;
    assert_eq!(
        one.post("/tui/submit-prompt", Value::Null).await.status,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn other_paths_are_refused_in_words() {
    let world = World::of(&TWO).await;
    for (method, path, status) in [
        (Method::POST, "/global/upgrade", 501),
        (Method::POST, "/sync/history", 501),
        (Method::GET, "/", 404),
        (Method::GET, "", 404),
        (Method::GET, "/assets/x.js", 404),
        (Method::PUT, "/session", 405),
        (Method::GET, "/session/%2e%2e/config", 400),
        (Method::GET, "/session/a%20b", 400),
        (Method::GET, "/session/%ff", 400),
        (Method::GET, "/session/%00?directory=%ff", 400),
        (Method::GET, "/event?node=%ff", 404),
        (Method::POST, "/event", 405),
        (Method::DELETE, "/config?x=%", 405),
        (Method::OPTIONS, "/session", 405),
        (Method::TRACE, "/session", 405),
        (Method::from_bytes(b"OTHER").unwrap(), "/session", 405),
        (Method::GET, "/pty/pty_1/connect", 404),
        (Method::POST, "/permission/per_1/reply", 404),
        (Method::POST, "/tui/select-session", 400),
        (Method::POST, "/session?directory=%ff", 400),
        (Method::POST, "/session?node=nobody", 404),
        (Method::POST, "/tui/submit-prompt", 409),
    ] {
        let got = world.call(method, path, json!({})).await;
        assert_eq!(got.status, status, "{path}");
        assert!(!got.message().is_empty(), "{path}");
        assert_eq!(got.headers[header::CONTENT_TYPE], "application/json");
    }
    // Bodies that are none.
    for (path, body, status) in [
        ("/tui/select-session", "{", 400),
        ("/tui/select-session", "\u{fffd}", 400),
        ("/session", r#"{"id": "a b"}"#, 400),
        ("/session", r#"{"parentID": "../config"}"#, 400),
    ] {
        let request = Request::post(format!("{}/opencode{path}", world.under.url))
            .header(header::AUTHORIZATION, basic("opencode", SECRET))
            .body(Body::from(body))
            .unwrap();
        let got = Got::of(world.request(request).await).await;
        assert_eq!(got.status, status, "{path}");
        assert!(!got.message().is_empty(), "{path}");
    }
    let asked = |n: &super::Opencode| n.seen("") - n.seen("GET /pty") - n.seen("GET /permission");
    assert_eq!(world.nodes.iter().map(asked).sum::<usize>(), 0);
    let none = World::of(&[]).await;
    for path in ["/session", "/config", "/event"] {
        let got = none.get(path).await;
        assert_eq!(got.status, 503, "{path}");
        assert!(got.message().contains("no node"), "{}", got.message());
    }
    assert_eq!(none.post("/session", json!({})).await.status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_stay_on_their_side() {
    let world = World::of(&TWO).await;
    let request = |authorization: Option<&str>, path: &str| {
        let request = Request::get(format!("{}/opencode{path}", world.under.url));
        match authorization {
            Some(value) => request.header(header::AUTHORIZATION, value),
            None => request,
        }
        .body(Body::empty())
        .unwrap()
    };
    let wrong = basic("opencode", "wrong");
    for (authorization, path) in [(None, "/config"), (Some(wrong.as_str()), "/global/event")] {
        assert_eq!(
            world.request(request(authorization, path)).await.status(),
            401
        );
    }
    assert_eq!(world.node("a").seen(""), 0);
    let token = basic("opencode", SECRET)
        .replace("Basic ", "")
        .replace('=', "%3D");
    let path = format!("/config?auth_token={token}");
    assert_eq!(world.request(request(None, &path)).await.status(), 200);
    assert_eq!(world.node("a").seen("GET /config"), 1);
    assert_eq!(world.node("a").seen("auth_token"), 0);
    let sent = world.node("a").inner.headers.lock().unwrap().clone();
    assert!(!format!("{sent:?}").contains(SECRET));
    // A node that does not know its secret is no fault of the client's.
    use std::sync::atomic::Ordering;
    world.node("a").inner.rejects.store(true, Ordering::SeqCst);
    let got = world.get("/config?node=a").await;
    assert_eq!(got.status, 503);
    assert!(got.message().contains("`a`") && got.message().contains("secret"));
    assert!(!got.headers.contains_key(header::WWW_AUTHENTICATE));
    let health = || {
        let live = world.under.gateway.nodes.get("a").unwrap();
        live.advert().unwrap().health.as_str()
    };
    assert_eq!(health(), "unauthorized");
    // It has certainly not taken it: the next one is asked.
    world.well();
    for _ in 0..3 {
        let made = world.post("/session", json!({})).await;
        assert_eq!((made.status.as_u16(), made.node().as_str()), (200, "b"));
        assert_eq!(world.get("/config").await.node(), "b");
        assert_eq!(health(), "unauthorized");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_401_about_something_else_is_the_clients() {
    let world = World::of(&TWO).await;
    let (session, node) = world.session().await;
    let path = format!("/session/{session}/keyless");
    for _ in 0..2 {
        let got = world.post(&path, json!({})).await;
        assert_eq!((got.status.as_u16(), got.node().as_str()), (401, node.id));
        assert_eq!(got.json, json!({"name": "ProviderAuthError"}));
        let live = world.under.gateway.nodes.get(node.id).unwrap();
        assert!(live.advert().unwrap().health.is_healthy());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_is_on_the_node_that_opened_it() {
    let world = World::of(&TWO).await;
    let made = world.post("/pty?node=b", json!({})).await;
    let id = made.id();
    assert_eq!(made.node(), "b");
    assert_eq!(world.get(&format!("/pty/{id}")).await.node(), "b");
    assert_eq!(world.node("a").seen("/pty"), 0);
    // One of whose opening nothing is known is found in the lists.
    let other = world.node("b").inner.clone();
    assert_eq!(world.get("/pty").await.json, json!([{"id": id}]));
    drop(other);
    assert_eq!(world.get("/pty/pty_nobody").await.status, 404);
    let plain = world.get(&format!("/pty/{id}/connect")).await;
    assert_eq!(plain.status, 426);

    let address = world.under.url.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "GET /opencode/pty/{id}/connect?cursor=0 HTTP/1.1\r\nhost: {address}\r\nauthorization: {}\r\n\
         connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        basic("opencode", SECRET)
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    while !got.ends_with(b"\r\n\r\n") {
        got.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(got).unwrap().to_lowercase();
    assert!(head.starts_with("http/1.1 101"), "{head}");
    for text in ["hello", "é and more"] {
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut back = vec![0; text.len()];
        let read = stream.read_exact(&mut back);
        tokio::time::timeout(Duration::from_secs(5), read)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(back, text.as_bytes());
    }
    let headers = world.node("b").inner.headers.lock().unwrap().clone();
    assert_eq!(headers["sec-websocket-key"], "dGhlIHNhbXBsZSBub25jZQ==");
    // The gateway's end ends it too.
    world.under.gateway.stopping.cut();
    let end = tokio::time::timeout(Duration::from_secs(5), stream.read_u8()).await;
    assert!(end.unwrap().is_err());
}
