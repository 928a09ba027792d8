//! Every route of the table against three nodes whose sessions have the same names.

use serde_json::{Value, json};

use super::{Answer, Rig, message};
use crate::gateway::goosed::table::{Class, ROUTES, Route, Where};
use crate::gateway::stand_in::{SECRET, secret_of};

/// A body that goosed takes; `chat` stands where a session is named.
fn body(route: &Route, chat: &str) -> Option<Value> {
    if matches!(route.method, "GET" | "DELETE") {
        return None;
    }
    Some(match route.path {
        "/agent/start" => json!({"working_dir": "/"}),
        "/agent/resume" => json!({"session_id": chat, "load_model_and_extensions": true}),
        "/action-required/tool-confirmation" => {
            json!({"id": "call_1", "action": "allow_once", "sessionId": chat})
        }
        "/sessions/{session}/fork" => json!({"truncate": false, "copy": true}),
        "/sessions/{session}/name" => json!({"name": "new"}),
        "/sessions/{session}/reply" => message("hello").1,
        "/sessions/{session}/cancel" => json!({"request_id": message("").0}),
        "/config/upsert" => json!({"key": "K", "value": 1, "is_secret": false}),
        "/config/remove" | "/config/read" => json!({"key": "K", "is_secret": false}),
        "/config/set_provider" => json!({"provider": "p", "model": "m"}),
        "/reply" => {
            let mut body = message("hello").1;
            body["session_id"] = json!(chat);
            body
        }
        _ if route.class == Class::Pinned(Where::Body) => {
            json!({"x": 1, "session_id": chat, "name": chat})
        }
        _ => json!({"x": 1}),
    })
}

/// The request's target.
fn target(route: &Route, chat: &str) -> String {
    let path = route.path.replace("{session}", chat);
    let segments = path.split('/').map(|s| match s.starts_with('{') {
        true => "some-thing",
        false => s,
    });
    let path = segments.collect::<Vec<_>>().join("/");
    match (route.path, route.class) {
        (_, Class::Pinned(Where::Query) | Class::PinnedOrFixed) => {
            format!("{path}?a=1&session_id={chat}")
        }
        ("/sessions/search", _) => format!("{path}?query=new+chat&limit=5"),
        _ => format!("{path}?a=1"),
    }
}

#[tokio::test]
async fn every_route_goes_where_the_table_says() {
    for route in ROUTES {
        let rig = Rig::new().await;
        let native = rig.everywhere().await;
        let chat = format!("g1.{native}");
        if route.path.ends_with("/cancel") {
            // There is nothing to cancel before somebody has listened.
            drop(
                rig.send(rig.request("GET", &format!("/sessions/{chat}/events"), None))
                    .await,
            );
            rig.seen();
        }
        let sent = body(route, &chat);
        let sent = sent.as_ref().map(Value::to_string);
        let target = target(route, &chat);
        let raw = if route.path.ends_with("/events") {
            // It never ends.
            let answer = rig.send(rig.request("GET", &target, None)).await;
            let (parts, _) = answer.into_parts();
            Answer {
                status: parts.status,
                headers: parts.headers,
                body: Default::default(),
            }
        } else {
            let mut raw = Value::Null;
            if route.path == "/sessions/import" {
                let whole = rig.get(&format!("/sessions/{chat}")).await.json();
                rig.seen();
                raw = json!({"json": whole.to_string()});
            }
            let sent = match raw {
                Value::Null => sent.clone(),
                raw => Some(raw.to_string()),
            };
            rig.raw(route.method, &target, sent.as_deref().map(str::as_bytes))
                .await
        };
        let what = format!("{} {}: {raw:?}", route.method, route.path);
        check(
            &rig,
            route,
            &raw,
            &chat,
            &native,
            &target,
            sent.as_deref(),
            &what,
        );
        // No answer carries a node's secret or its permission for every page.
        assert!(
            !raw.headers.contains_key("access-control-allow-origin"),
            "{what}"
        );
        let text = String::from_utf8_lossy(&raw.body).into_owned();
        assert!(!text.contains("secret-of-"), "{what}");
    }
}

#[allow(clippy::too_many_arguments)]
fn check(
    rig: &Rig,
    route: &Route,
    answer: &Answer,
    chat: &str,
    native: &str,
    target: &str,
    sent: Option<&str>,
    what: &str,
) {
    let seen: Vec<_> = rig.nodes.iter().map(|n| n.node.seen()).collect();
    let count: Vec<usize> = seen.iter().map(Vec::len).collect();
    for (n, all) in seen.iter().enumerate() {
        for one in all {
            // The node's own secret, never the gateway's.
            assert_eq!(
                one.headers["x-secret-key"],
                secret_of(&format!("g{n}")),
                "{what}"
            );
        }
    }
    let as_sent = |n: usize| {
        let one = seen[n].last().unwrap();
        assert_eq!(one.line(), format!("{} {target}", route.method), "{what}");
        assert_eq!(
            String::from_utf8_lossy(&one.body),
            sent.unwrap_or_default(),
            "{what}"
        );
    };
    match route.class {
        Class::Local => {
            assert_eq!(count, [0, 0, 0], "{what}");
            assert_eq!(
                (answer.status.as_u16(), &answer.body[..]),
                (200, &b"ok"[..])
            );
        }
        Class::Not(why) => {
            assert_eq!(count, [0, 0, 0], "{what}");
            answer.says(501, &[why, route.path]);
        }
        Class::Pinned(place) => {
            assert_eq!(count, [0, 1, 0], "{what}");
            assert!(answer.status.is_success(), "{what}");
            let one = &seen[1][0];
            let (want, body) = match place {
                Where::Body => (target.to_owned(), sent.map(|s| s.replacen(chat, native, 2))),
                _ => (target.replace(chat, native), sent.map(ToOwned::to_owned)),
            };
            assert_eq!(one.line(), format!("{} {want}", route.method), "{what}");
            if place == Where::Body {
                let (got, want) = (
                    one.json(),
                    serde_json::from_str::<Value>(sent.unwrap()).unwrap(),
                );
                let key = ["session_id", "sessionId"]
                    .into_iter()
                    .find(|k| want.get(k).is_some());
                let key = key.unwrap();
                assert_eq!(
                    (got[key].as_str(), want[key].as_str()),
                    (Some(native), Some(chat))
                );
                // What only looks like it stays.
                assert_eq!(got["name"], want["name"], "{what}");
            } else {
                assert_eq!(String::from_utf8_lossy(&one.body), body.unwrap_or_default());
            }
            ids(route, answer, chat, what);
        }
        Class::PinnedOrFixed => {
            assert_eq!(count, [0, 1, 0], "{what}");
            assert!(
                seen[1][0].target.ends_with(&format!("session_id={native}")),
                "{what}"
            );
        }
        Class::Any | Class::Fixed => {
            assert_eq!(count, [1, 0, 0], "{what}");
            assert!(answer.status.is_success(), "{what}");
            as_sent(0);
            let said = answer.json();
            if route.ids.is_empty() && said["node"] == "g0" {
                // What looks like a session's name in it is none.
                assert_eq!(said["id"], "20260101_1", "{what}");
            }
            let text = String::from_utf8_lossy(&answer.body);
            if !route.ids.is_empty() && route.method == "GET" {
                assert!(text.contains("\"g0.20260101_9\""), "{what}");
                assert!(!text.contains("\"20260101_9\"") && !text.contains("g0.nightly"));
            }
        }
        Class::All(_) => {
            assert!(count.iter().all(|n| *n >= 1), "{what}");
            assert!(answer.status.is_success(), "{what}");
            (0..3).for_each(as_sent);
        }
        Class::Fan(_) => {
            assert_eq!(count, [1, 1, 1], "{what}");
            (0..3).for_each(as_sent);
            assert!(answer.status.is_success(), "{what}");
        }
        Class::Start | Class::Import => {
            // Others are asked at most for their settings.
            let made = |n: &usize| seen[*n].iter().any(|s| !s.target.starts_with("/config"));
            let took: Vec<usize> = (0..3).filter(made).collect();
            assert_eq!(took.len(), 1, "{what}");
            if route.path.ends_with("nostr") {
                // The stand-in knows no such thing, and its answer names a session all the same.
                return assert!(
                    answer.json()["id"]
                        .as_str()
                        .unwrap()
                        .ends_with(".20260101_1")
                );
            }
            let day = native.split_once('_').unwrap().0;
            assert_eq!(
                answer.json()["id"],
                format!("g{}.{day}_2", took[0]),
                "{what}"
            );
        }
    }
}

/// The names in an answer are the gateway's.
fn ids(route: &Route, answer: &Answer, chat: &str, what: &str) {
    match (route.method, route.path) {
        ("GET", "/sessions/{session}") => assert_eq!(answer.json()["id"], chat, "{what}"),
        ("POST", "/agent/resume") => assert_eq!(answer.json()["session"]["id"], chat, "{what}"),
        ("POST", "/sessions/{session}/fork") => {
            let id = answer.json()["sessionId"].as_str().unwrap().to_owned();
            assert!(id.starts_with("g1.") && id.ends_with("_2"), "{what}");
        }
        // An export goes elsewhere, and names itself as its node does.
        ("GET", "/sessions/{session}/export") => {
            assert!(!answer.json().as_str().unwrap().contains("g1."), "{what}");
        }
        _ => {}
    }
}

#[tokio::test]
async fn an_answer_differs_from_the_nodes_by_the_name_alone() {
    let rig = Rig::new().await;
    let native = rig.everywhere().await;
    let path = format!("/sessions/{native}");
    let direct = axum::http::Request::get(format!("http://127.0.0.1:{}{path}", rig.nodes[2].port))
        .header("x-secret-key", secret_of("g2"))
        .body(axum::body::Body::empty())
        .unwrap();
    let direct = super::whole(rig.send(direct).await).await;
    let through = rig.get(&format!("/sessions/g2.{native}")).await;
    let direct = String::from_utf8(direct.body.to_vec()).unwrap();
    let want = direct.replacen(&native, &format!("g2.{native}"), 1);
    assert_eq!(String::from_utf8(through.body.to_vec()).unwrap(), want);
    assert_eq!(through.headers["content-length"], want.len().to_string());
}

#[tokio::test]
async fn errors_of_a_node_come_as_they_are() {
    let rig = Rig::new().await;
    let native = rig.everywhere().await;
    // 404 with and without words, 422 as plain text, 424.
    let missing = rig.post("/sessions/g1.1_1/reply", &message("x").1).await;
    missing.says(404, &["Session 1_1 not found"]);
    let empty = rig.get("/sessions/g1.1_1").await;
    assert_eq!((empty.status.as_u16(), empty.body.len()), (404, 0));
    let plain = rig
        .post("/agent/resume", &json!({"session_id": "g1.1"}))
        .await;
    assert_eq!(plain.status, 422);
    assert_eq!(plain.headers["content-type"], "text/plain; charset=utf-8");
    let text = String::from_utf8_lossy(&plain.body).into_owned();
    assert!(text.contains("load_model_and_extensions"), "{text}");
    let early = rig.get("/agent/tools?session_id=g1.1_1").await;
    assert_eq!(early.status, 424);
    // 401 of something else than its secret.
    for status in [401, 500] {
        rig.node(1).fail(&format!("/sessions/{native}"), status);
        let broken = rig.get(&format!("/sessions/g1.{native}")).await;
        broken.says(status, &["g1 fails on demand"]);
    }
}

#[tokio::test]
async fn what_is_no_route_or_no_chat_is_404_and_says_so() {
    let rig = Rig::new().await;
    rig.get("/no/such").await.says(404, &["/no/such"]);
    rig.get("/sessions/x")
        .await
        .says(404, &["`x`", "NODE.SESSION"]);
    rig.get("/sessions/nobody.1")
        .await
        .says(404, &["nobody.1", "no node `nobody`"]);
    let wrong = rig.raw("PUT", "/agent/start", None).await;
    wrong.says(405, &["POST"]);
    assert_eq!(wrong.headers["allow"], "POST");
    let none = rig.post("/agent/stop", &json!({"x": 1})).await;
    none.says(400, &["names no chat", "session_id"]);
    let broken = rig.raw("POST", "/agent/stop", Some(b"{")).await;
    broken.says(400, &["no JSON"]);
    assert_eq!(rig.seen(), [0, 0, 0]);
}

#[tokio::test]
async fn a_body_may_have_fifty_megabytes_and_no_more() {
    let rig = Rig::new().await;
    let native = rig.everywhere().await;
    let mut big = message(&"x".repeat(49 << 20)).1.to_string().into_bytes();
    let target = format!("/sessions/g1.{native}/reply");
    let taken = rig.raw("POST", &target, Some(&big)).await;
    taken.ok();
    big.resize((50 << 20) + 1, b' ');
    rig.seen();
    let refused = rig.raw("POST", &target, Some(&big)).await;
    refused.says(413, &["50 MiB"]);
    assert_eq!(rig.seen(), [0, 0, 0]);
}

#[tokio::test]
async fn without_the_gateways_secret_only_status() {
    let rig = Rig::new().await;
    for (path, want) in [("/status", 200), ("/features", 401), ("/sessions", 401)] {
        let mut request = rig.request("GET", path, None);
        request.headers_mut().remove("x-secret-key");
        assert_eq!(rig.send(request).await.status(), want, "{path}");
        // A node's secret is not the gateway's.
        let mut request = rig.request("GET", path, None);
        let of_node = secret_of("g0").parse().unwrap();
        request.headers_mut().insert("x-secret-key", of_node);
        assert_eq!(rig.send(request).await.status(), want, "{path}");
    }
}

#[tokio::test]
async fn a_secret_in_the_query_goes_no_further() {
    let rig = Rig::new().await;
    let native = rig.everywhere().await;
    for (query, want) in [
        (format!("?token={SECRET}"), String::new()),
        (
            format!("?a=1&token={SECRET}&b=%20"),
            "?a=1&b=%20".to_owned(),
        ),
    ] {
        let mut request = rig.request("GET", &format!("/sessions/g1.{native}{query}"), None);
        request.headers_mut().remove("x-secret-key");
        assert_eq!(rig.send(request).await.status(), 200);
        let seen = rig.node(1).seen().pop().unwrap();
        assert_eq!(seen.target, format!("/sessions/{native}{want}"));
    }
    // Not where it only looks like one.
    rig.get(&format!("/sessions/g1.{native}?x=token&tokens=1&&"))
        .await;
    let seen = rig.node(1).seen().pop().unwrap();
    assert!(seen.target.ends_with("?x=token&tokens=1&&"), "{seen:?}");
}
