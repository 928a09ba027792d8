//! Nodes that are down, hang, or come back.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Method, Request};
use http_body_util::BodyExt as _;
use serde_json::json;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Got, World, eventually};
use crate::gateway::stand_in::{SECRET, well};
use crate::host::basic_auth::basic;
use crate::routing::node::{Advert, Health};

const THREE: [(&str, &str); 3] = [("a", "/w"), ("b", "/w"), ("c", "/w")];

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_of_a_dead_node_waits_for_it() {
    let mut world = World::of(&THREE).await;
    let (session, id) = {
        let (session, node) = world.session().await;
        (session, node.id)
    };
    world.node_mut(id).kill();
    let path = format!("/session/{session}");
    for (method, path) in [
        (Method::GET, path.clone()),
        (Method::POST, format!("{path}/message")),
        (Method::POST, format!("{path}/fork")),
        (Method::DELETE, path.clone()),
    ] {
        let got = world.call(method, &path, json!({"parts": []})).await;
        assert_eq!(got.status, 503);
        assert!(got.message().contains(&format!("`{id}`")), "{got:?}");
        assert!(got.message().contains(&session), "{got:?}");
    }
    assert_eq!(world.pin(&session).await.as_deref(), Some(id));
    // New ones go elsewhere, and lists say who is missing.
    for _ in 0..6 {
        assert_ne!(world.session().await.1.id, id);
    }
    let all = world.get("/session").await;
    assert_eq!(all.json.as_array().unwrap().len(), 6);
    assert_eq!(all.headers["x-mosaic-missing"], id);
    // A session that nobody knows may be its.
    let unknown = world.get("/session/ses_unknown").await;
    assert_eq!(unknown.status, 503);
    assert!(
        unknown.message().contains(&format!("`{id}`")),
        "{unknown:?}"
    );
    world.node_mut(id).run();
    assert_eq!(world.get(&path).await.node(), id);
    assert_eq!(world.get("/session/ses_unknown").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_hangs_is_found_out_within_seconds() {
    let world = World::of(&THREE).await;
    let (session, node) = world.session().await;
    node.inner.hangs.store(true, Ordering::SeqCst);
    let started = Instant::now();
    let path = format!("/session/{session}/message");
    let got = world.post(&path, json!({"parts": []})).await;
    assert_eq!(got.status, 504);
    assert!(
        started.elapsed() < Duration::from_secs(14),
        "{:?}",
        started.elapsed()
    );
    assert!(got.message().contains(&format!("`{}`", node.id)) && got.message().contains(&session));
    assert!(got.message().contains("nothing was sent"));
    // It is known now.
    let started = Instant::now();
    let again = world.post(&path, json!({"parts": []})).await;
    assert_eq!(again.status, 504);
    assert!(
        again.message().contains("nothing was sent"),
        "{}",
        again.message()
    );
    assert!(started.elapsed() < Duration::from_secs(5));
    let started = Instant::now();
    for _ in 0..4 {
        assert_ne!(world.session().await.1.id, node.id);
    }
    assert_eq!(
        world.get("/session").await.headers["x-mosaic-missing"],
        node.id
    );
    assert!(started.elapsed() < Duration::from_secs(5));
    node.inner.hangs.store(false, Ordering::SeqCst);
    assert_eq!(world.get(&format!("/session/{session}")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_hangs_with_a_request_is_given_up() {
    let world = World::of(&THREE).await;
    let (session, node) = world.session().await;
    node.inner.slow.store(true, Ordering::SeqCst);
    let path = format!("/session/{session}/fork");
    let started = Instant::now();
    let (lost, ()) = tokio::join!(world.post(&path, json!({})), async {
        eventually("it has it", || node.seen(&path) == 1).await;
        node.inner.hangs.store(true, Ordering::SeqCst);
    });
    assert_eq!(lost.status, 504, "{lost:?}");
    assert!(lost.message().contains("may have taken"), "{lost:?}");
    assert!(started.elapsed() < Duration::from_secs(14));
    assert_eq!(node.seen(&path), 1);
}

/// A server that starts takes requests that it never answers, and answers those that come later.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_to_a_node_that_starts() {
    let world = World::of(&THREE).await;
    let (session, node) = world.session().await;
    let path = format!("/session/{session}");
    for (method, path) in [
        (Method::POST, format!("{path}/abort")),
        (Method::GET, path.clone()),
        (Method::POST, "/tui/append-prompt?node=a".to_owned()),
        (Method::DELETE, path),
    ] {
        for node in &world.nodes {
            node.inner.hangs.store(true, Ordering::SeqCst);
        }
        let begins = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            for node in &world.nodes {
                node.inner.hangs.store(false, Ordering::SeqCst);
            }
        };
        let started = Instant::now();
        let body = (method != Method::GET).then(|| json!({}));
        let (got, ()) = tokio::join!(world.send(method, &path, body), begins);
        assert_eq!(got.status(), 200, "{path} {got:?}");
        assert!(started.elapsed() < Duration::from_secs(4), "{path}");
        let live = world.under.gateway.nodes.get(node.id).unwrap();
        assert!(live.advert().unwrap().health.is_healthy());
    }
}

/// One that stands still for a while answers all that it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_for_a_while_is_waited_for() {
    let world = World::of(&THREE).await;
    let (session, node) = world.session().await;
    node.inner.away.store(true, Ordering::SeqCst);
    let path = format!("/session/{session}/abort");
    let (got, ()) = tokio::join!(world.post(&path, json!({})), async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        node.inner.away.store(false, Ordering::SeqCst);
    });
    assert_eq!(got.status, 200, "{got:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_may_take_long() {
    let world = World::of(&[("slow", "/w")]).await;
    let started = Instant::now();
    let got = world.get("/agent").await;
    assert_eq!(got.status, 200);
    assert!(started.elapsed() > Duration::from_secs(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_of_a_node_that_hangs_is_broken_off() {
    let world = World::of(&THREE).await;
    let (session, node) = world.session().await;
    let prompt = json!({"parts": [{"type": "text", "text": "wait"}]});
    let path = format!("/session/{session}/message");
    let answer = world.send(Method::POST, &path, Some(prompt)).await;
    let mut body = answer.into_body();
    body.frame().await.unwrap().unwrap();
    let live = world.under.gateway.nodes.get(node.id).unwrap();
    // Once it may just have been late.
    for _ in 0..2 {
        live.observed(Advert {
            health: Health::Timeout("nothing within 1 s".to_owned()),
            ..well(node.id)
        });
    }
    let rest = tokio::time::timeout(Duration::from_secs(5), body.collect())
        .await
        .unwrap();
    assert!(rest.is_err(), "a broken answer must not look whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_in_an_answer_breaks_it_off() {
    let mut world = World::of(&THREE).await;
    let (session, id) = {
        let (session, node) = world.session().await;
        (session, node.id)
    };
    let prompt = json!({"parts": [{"type": "text", "text": "wait"}]});
    let path = format!("/session/{session}/message");
    let answer = world.send(Method::POST, &path, Some(prompt)).await;
    let mut body = answer.into_body();
    body.frame().await.unwrap().unwrap();
    world.node_mut(id).kill();
    let rest = tokio::time::timeout(Duration::from_secs(5), body.collect())
        .await
        .unwrap();
    assert!(rest.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_is_refused() {
    let world = World::of(&THREE).await;
    // Refused by what its head says, before any of it has come.
    let address = world.under.url.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /opencode/session HTTP/1.1\r\nhost: {address}\r\nauthorization: {}\r\n\
         content-length: 5000000\r\n\r\n",
        basic("opencode", SECRET)
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut got = [0; 12];
    stream.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"HTTP/1.1 413");
    assert_eq!(world.nodes.iter().map(|n| n.seen("")).sum::<usize>(), 0);
    // Also where it does not say how long it is.
    let endless = Body::from_stream(futures_util::stream::iter(
        [1 << 22, 1].map(|n| Ok::<_, std::io::Error>(vec![b' '; n])),
    ));
    let request = Request::post(format!("{}/opencode/session", world.under.url))
        .header("authorization", basic("opencode", SECRET))
        .body(endless)
        .unwrap();
    let got = Got::of(world.request(request).await).await;
    assert_eq!(got.status, 413);
    assert!(!got.message().is_empty());
    // What breaks off is no long one.
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = head.replace("content-length: 5000000", "transfer-encoding: chunked");
    let broken = format!("{head}2\r\n{{}}\r\nno length\r\n");
    stream.write_all(broken.as_bytes()).await.unwrap();
    let mut got = String::new();
    stream.read_to_string(&mut got).await.unwrap();
    assert!(got.starts_with("HTTP/1.1 400"), "{got}");
    assert!(got.contains(r#"{"message":"the body broke off"#), "{got}");
    // A prompt may be larger than settings.
    let (session, _) = world.session().await;
    let prompt = json!({"parts": [{"type": "text", "text": "hi"}], "file": "x".repeat(5_000_000)});
    let got = world
        .post(&format!("/session/{session}/command"), prompt)
        .await;
    assert_eq!(got.status, 200);
}
