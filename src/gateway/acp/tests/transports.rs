//! The transports themselves: secrets, status codes, streams, limits.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::net::TcpStream;
use tungstenite::client::IntoClientRequest as _;

use super::super::rooms::Limits;
use super::peers::{Http, Ws, chunks};
use super::*;
use crate::gateway::stand_in::SECRET;

#[tokio::test]
async fn secrets_are_asked_for_and_health_is_open() {
    let (under, _geese) = fleet(&["n0"]).await;
    for headers in [vec![], vec![("x-secret-key", "no")]] {
        let refused = Ws::try_open(&under.url, &headers).await.map(drop);
        assert_eq!(refused.unwrap_err(), 401);
    }
    let bearer = format!("Bearer {SECRET}");
    Ws::try_open(&under.url, &[("authorization", &bearer)])
        .await
        .map(drop)
        .unwrap();
    let token = format!("{}/acp?token={SECRET}", under.url);
    Ws::try_open(&token, &[]).await.map(drop).unwrap();
    let page = [("x-secret-key", SECRET), ("origin", "https://evil.example")];
    assert_eq!(
        Ws::try_open(&under.url, &page).await.map(drop).unwrap_err(),
        403
    );
    let mut http = Http::new(&under.url);
    http.url = format!("{}/health", under.url);
    assert_eq!(
        http.said("GET", &[("x-secret-key", "no")], "").await,
        (200, "ok".to_owned())
    );
}

#[tokio::test]
async fn a_chat_over_http() {
    let (under, _geese) = fleet(&["n0", "n1"]).await;
    let mut http = Http::new(&under.url);
    let hello = http.initialize(hello()).await;
    assert_eq!(
        (&hello["id"], &hello["result"]["protocolVersion"]),
        (&json!("init"), &json!(1))
    );
    let mut connection = http.stream(None).await;
    http.post(
        None,
        json!({"jsonrpc": "2.0", "id": 1, "method": "session/new", "params": here()}),
    )
    .await;
    let (before, made) = connection.until(&json!(1)).await;
    assert!(before.is_empty());
    let name = made["result"]["sessionId"].as_str().unwrap().to_owned();
    let node = name.split('.').next().unwrap();
    // The session's name only in the header.
    let text = json!([{"type": "text", "text": "ASK"}]);
    http.post(
        Some(&name),
        json!({"jsonrpc": "2.0", "id": "p", "method": "session/prompt", "params": {"prompt": text}}),
    )
    .await;
    let mut stream = http.stream(Some(&name)).await;
    let mut heard = Vec::new();
    let question = loop {
        let message = stream.next().await.unwrap();
        if message["method"] == "session/request_permission" {
            break message["id"].clone();
        }
        heard.push(message);
    };
    http.post(
        None,
        json!({"jsonrpc": "2.0", "id": question, "result": {"outcome": {"optionId": "yes"}}}),
    )
    .await;
    let (rest, end) = stream.until(&json!("p")).await;
    assert_eq!(end["result"]["stopReason"], "end_turn");
    heard.extend(rest);
    assert_eq!(
        chunks(&heard, &name)[0],
        format!("{node} {}: ASK", name.split_once('.').unwrap().1)
    );
    assert_eq!(chunks(&heard, &name)[1], "\"yes\"");
    assert_eq!(
        heard[0]["params"]["update"]["sessionUpdate"],
        "usage_update"
    );

    // What comes while nobody reads is read later.
    drop(stream);
    http.post(None, json!({"jsonrpc": "2.0", "id": 3, "method": "session/prompt", "params": prompt(&name, "hi")})).await;
    let mut stream = http.stream(Some(&name)).await;
    stream.until(&json!(3)).await;
    http.post(
        None,
        json!({"jsonrpc": "2.0", "id": 4, "method": "session/list", "params": {}}),
    )
    .await;
    assert_eq!(
        connection.until(&json!(4)).await.1["result"]["sessions"][0]["sessionId"],
        name.as_str()
    );

    let own = [("acp-connection-id", http.connection.as_str())];
    assert_eq!(http.said("DELETE", &own, "").await.0, 202);
    assert_eq!(connection.next().await, None);
    assert_eq!(stream.next().await, None);
    assert_eq!(http.said("DELETE", &own, "").await.0, 404);
}

#[tokio::test]
async fn status_codes_are_those_of_the_real_server() {
    let (under, geese) = fleet(&["n0"]).await;
    let mut http = Http::new(&under.url);
    http.initialize(hello()).await;
    let id = http.connection.clone();
    let json = ("content-type", "application/json");
    let own = ("acp-connection-id", id.as_str());
    let sse = ("accept", "text/event-stream");
    let list = r#"{"jsonrpc":"2.0","id":2,"method":"session/list","params":{}}"#;
    let prompt = r#"{"jsonrpc":"2.0","id":2,"method":"session/prompt","params":{}}"#;
    let other = r#"{"jsonrpc":"2.0","id":2,"method":"m","params":{"sessionId":"n0.2"}}"#;
    let mut stream = http.stream(None).await;
    for (method, headers, body, status, said) in [
        (
            "POST",
            vec![own],
            list,
            415,
            "Content-Type must be application/json",
        ),
        (
            "POST",
            vec![json],
            list,
            400,
            "Acp-Connection-Id header required",
        ),
        (
            "POST",
            vec![json, ("acp-connection-id", "nope")],
            list,
            404,
            "no connection `nope`",
        ),
        (
            "POST",
            vec![json, own],
            prompt,
            400,
            "Acp-Session-Id header required",
        ),
        (
            "POST",
            vec![json, own, ("acp-session-id", "n0.1")],
            other,
            400,
            "Acp-Session-Id header does not match params.sessionId",
        ),
        ("POST", vec![json, own], "nope", 202, ""),
        (
            "GET",
            vec![own],
            "",
            406,
            "client must accept text/event-stream",
        ),
        (
            "GET",
            vec![sse],
            "",
            400,
            "Acp-Connection-Id header required",
        ),
        (
            "GET",
            vec![sse, ("acp-connection-id", "nope")],
            "",
            404,
            "no connection `nope`",
        ),
        (
            "GET",
            vec![sse, own],
            "",
            409,
            "outbound stream already has a subscriber",
        ),
        (
            "DELETE",
            vec![],
            "",
            400,
            "Acp-Connection-Id header required",
        ),
        ("PUT", vec![], "", 405, "only GET, POST, DELETE"),
    ] {
        let (got, answer) = http.said(method, &headers, body).await;
        let what = format!("{method} {headers:?} {body}: {answer}");
        assert_eq!(got, status, "{what}");
        if status == 202 {
            assert_eq!(answer, "", "{what}");
            continue;
        }
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert!(answer["message"].as_str().unwrap().contains(said), "{what}");
    }
    let (_, headers, _) = http.request("PUT", &[], String::new()).await;
    assert_eq!(headers["allow"], "GET, POST, DELETE");
    assert_eq!(stream.next().await.unwrap()["error"]["code"], -32700);
    let page = [own, ("origin", "http://localhost:5173")];
    let (_, shared, _) = http.request("GET", &page, String::new()).await;
    assert_eq!(
        shared["access-control-expose-headers"],
        "acp-connection-id,acp-session-id"
    );
    assert_eq!(
        shared["access-control-allow-origin"],
        "http://localhost:5173"
    );
    let big = "x".repeat(17 * 1024 * 1024);
    assert_eq!(http.said("POST", &[json, own], &big).await.0, 413);
    // The capabilities were asked for once.
    let mut again = Http::new(&under.url);
    again.initialize(super::hello()).await;
    assert_ne!(again.connection, id);
    assert_eq!(geese[0].state.lock().unwrap().hellos.len(), 1);
}

/// A gateway's dialect alone, with other limits.
pub(super) async fn limited(under: &Under, limits: Limits) -> String {
    let router = super::super::with(&under.gateway, limits).with_state(under.gateway.clone());
    format!("http://127.0.0.1:{}", stand_in::serve(router).await)
}

/// Waits until there is a place for a client.
async fn expired(url: &str) {
    for _ in 0..600 {
        if Ws::try_open(url, &[]).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no place within 30 s");
}

#[tokio::test]
async fn clients_are_bounded_and_silent_ones_expire() {
    let (under, geese) = fleet(&["n0"]).await;
    let limits = Limits {
        clients: 2,
        idle: Duration::from_secs(2),
        ..Limits::default()
    };
    let url = limited(&under, limits).await;
    let mut http = Http::new(&url);
    http.initialize(hello()).await;
    let mut stream = http.stream(None).await;
    http.post(
        None,
        json!({"jsonrpc": "2.0", "id": 1, "method": "session/new", "params": here()}),
    )
    .await;
    stream.until(&json!(1)).await;
    let mut silent = Http::new(&url);
    silent.initialize(hello()).await;
    assert_eq!(Ws::try_open(&url, &[]).await.map(drop).unwrap_err(), 503);
    // Its place is free once it has expired.
    expired(&url).await;
    // The one with an open stream is still there.
    http.post(
        None,
        json!({"jsonrpc": "2.0", "id": 2, "method": "session/list", "params": {}}),
    )
    .await;
    stream.until(&json!(2)).await;
    let headers = [
        ("content-type", "application/json"),
        ("acp-connection-id", &silent.connection),
    ];
    assert_eq!(silent.said("POST", &headers, "{}").await.0, 404);
    expired(&url).await;
    drop(stream);
    eventually("the node is left", || geese[0].connected() == 0).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut() {
    let (under, geese) = fleet(&["n0"]).await;
    let limits = Limits {
        stalled: Duration::from_millis(300),
        ..Limits::default()
    };
    let url = limited(&under, limits).await;
    let at = url.strip_prefix("http://").unwrap();
    let stream = TcpStream::connect(at).await.unwrap();
    let request = format!("ws://{at}/acp").into_client_request().unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream)
        .await
        .unwrap();
    let mut say = async |message: serde_json::Value| {
        socket
            .send(tungstenite::Message::text(message.to_string()))
            .await
            .unwrap();
    };
    say(json!({"jsonrpc": "2.0", "id": 1, "method": "session/new", "params": here()})).await;
    eventually("a session", || {
        geese[0].state.lock().unwrap().sessions.len() == 1
    })
    .await;
    // 128 MiB, of which nothing is read.
    say(json!({"jsonrpc": "2.0", "id": 2, "method": "session/prompt", "params": prompt("n0.20261128_1", "FLOOD 2048")})).await;
    let begun = Instant::now();
    eventually("the node is left", || geese[0].connected() == 0).await;
    assert!(begun.elapsed() >= Duration::from_millis(300));

    // The same over HTTP, where the session's stream is not even opened.
    let mut http = Http::new(&url);
    http.initialize(hello()).await;
    let mut connection = http.stream(None).await;
    http.post(
        None,
        json!({"jsonrpc": "2.0", "id": 1, "method": "session/new", "params": here()}),
    )
    .await;
    let name = connection.until(&json!(1)).await.1["result"]["sessionId"].clone();
    let flood = prompt(name.as_str().unwrap(), "FLOOD 2048");
    http.post(
        None,
        json!({"jsonrpc": "2.0", "id": 2, "method": "session/prompt", "params": flood}),
    )
    .await;
    assert_eq!(connection.next().await, None);
    eventually("the node is left", || geese[0].connected() == 0).await;
}

#[tokio::test]
async fn one_that_reads_gets_all_of_a_long_turn() {
    let (under, _geese) = fleet(&["n0"]).await;
    let ws = client(&under).await;
    let name = session(&ws).await;
    ws.result("session/prompt", prompt(&name, "FLOOD 600"))
        .await;
    assert_eq!(ws.chunks(&name).len(), 601);
}

#[tokio::test]
async fn large_messages_go_through_in_frames_that_the_node_takes() {
    let (under, _geese) = fleet(&["n0"]).await;
    let ws = client(&under).await;
    // In one frame a node takes no more than 16 MiB.
    let big = "é".repeat(10 * 1024 * 1024);
    let read = ws
        .result("_goose/unstable/config/read", json!({ "key": big }))
        .await;
    assert_eq!(read["bytes"], json!({ "key": big }).to_string().len());
    ws.text(&format!("\"{}\"", "x".repeat(51 * 1024 * 1024)));
    eventually("the end", || ws.closed().is_some()).await;
}

#[tokio::test]
async fn a_handshake_without_its_parts_is_refused() {
    let (under, _geese) = fleet(&["n0"]).await;
    let http = Http::new(&under.url);
    let up = [("connection", "upgrade"), ("upgrade", "websocket")];
    let versioned = [up[0], up[1], ("sec-websocket-version", "13")];
    for (headers, want) in [(&up[..], 426), (&versioned[..], 400)] {
        let (status, answer) = http.said("GET", headers, "").await;
        assert_eq!(status, want);
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert!(answer["message"].is_string(), "{answer}");
    }
}

#[tokio::test]
async fn a_client_is_pinged_and_answers() {
    let (under, _geese) = fleet(&["n0"]).await;
    let at = under.url.strip_prefix("http://").unwrap();
    let stream = TcpStream::connect(at).await.unwrap();
    let mut request = format!("ws://{at}/acp").into_client_request().unwrap();
    request
        .headers_mut()
        .insert("x-secret-key", SECRET.parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream)
        .await
        .unwrap();
    socket
        .send(tungstenite::Message::Ping("x".into()))
        .await
        .unwrap();
    let pong = tokio::time::timeout(Duration::from_secs(30), socket.next())
        .await
        .unwrap();
    assert_eq!(
        pong.unwrap().unwrap(),
        tungstenite::Message::Pong("x".into())
    );
    socket.close(None).await.unwrap();
    let last = tokio::time::timeout(Duration::from_secs(30), socket.next())
        .await
        .unwrap();
    assert!(last.is_none_or(|m| m.is_err() || m.unwrap().is_close()));
}
