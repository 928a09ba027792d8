//! Whatever is asked of the whole gateway is answered, in time, and by the gateway in its own form.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::Value;

use super::Rig;
use crate::gateway::goosed::table::ROUTES;
use crate::gateway::stand_in::SECRET;

/// Far above what anything here takes, on a machine at work, and below what is waited for a node.
const SOON: Duration = Duration::from_secs(8);

/// A request as it is sent.
#[derive(Debug, Clone)]
struct Asked {
    method: &'static str,
    target: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

/// Names that could be chats, and others.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "g[0-3]\\.2026[0-9]{4}_[1-3]".prop_map(|s| s),
        2 => Just("CHAT".to_owned()),
        1 => "[a-zA-Z0-9._~-]{0,12}",
        1 => "(%[0-9a-fA-F]{2}|[a-z.]){1,6}",
    ]
}

/// Method and target.
fn line() -> impl Strategy<Value = (&'static str, String)> {
    let known = (0..ROUTES.len(), proptest::collection::vec(name(), 3)).prop_map(|(n, names)| {
        let mut names = names.into_iter();
        let segments = ROUTES[n].path.split('/').map(|s| match s.starts_with('{') {
            true => names.next().unwrap_or_default(),
            false => s.to_owned(),
        });
        (ROUTES[n].method, segments.collect::<Vec<_>>().join("/"))
    });
    let method = proptest::sample::select(vec![
        "GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD",
    ]);
    let path = prop_oneof![
        8 => known,
        1 => (method, "(/[a-z%.0-9]{0,8}){1,4}"),
    ];
    let query = proptest::option::of(prop_oneof![
        name().prop_map(|name| format!("session_id={name}")),
        "[a-z_=&%+.0-9]{0,20}",
    ]);
    (path, query).prop_map(|((method, path), query)| match query {
        None => (method, path),
        Some(query) => (method, format!("{path}?{query}")),
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        name().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        Just(Value::Null),
        Just(serde_json::json!({"role": "user", "content": [{"type": "text", "text": "x"}]})),
        Just(serde_json::json!([[{"session_id": "g0.1"}]])),
    ];
    let key = proptest::sample::select(vec![
        "session_id",
        "sessionId",
        "working_dir",
        "recipe_id",
        "key",
        "value",
        "is_secret",
        "provider",
        "model",
        "load_model_and_extensions",
        "user_message",
        "request_id",
        "json",
        "truncate",
        "copy",
        "name",
        "x",
    ]);
    let object = proptest::collection::btree_map(key, value, 0..5)
        .prop_map(|map| serde_json::to_vec(&map).unwrap());
    prop_oneof![
        6 => object.clone(),
        1 => (object, any::<proptest::sample::Index>()).prop_map(|(mut body, at)| {
            let at = at.index(body.len());
            body.truncate(at);
            body
        }),
        1 => proptest::collection::vec(any::<u8>(), 0..64),
        1 => (1usize..400).prop_map(|depth| "[".repeat(depth).into_bytes()),
    ]
}

fn asked() -> impl Strategy<Value = Asked> {
    let header = (
        proptest::sample::select(vec![
            "content-type",
            "last-event-id",
            "accept",
            "origin",
            "connection",
            "expect",
            "range",
            "x-secret-key",
            "authorization",
            "upgrade",
        ]),
        prop_oneof!["[ -~]{0,20}", Just("application/json".to_owned())],
    );
    let headers = proptest::collection::vec(header, 0..3);
    (line(), headers, body()).prop_map(|((method, target), headers, body)| Asked {
        method,
        target,
        headers,
        body,
    })
}

async fn ask(rig: &Rig, chat: &str, asked: &Asked) -> Result<(), TestCaseError> {
    let target = asked.target.replace("CHAT", chat);
    let body = String::from_utf8_lossy(&asked.body).replace("CHAT", chat);
    let body = match body.contains('\u{fffd}') {
        true => asked.body.clone(),
        false => body.into_bytes(),
    };
    let mut request = Request::builder()
        .method(asked.method)
        .uri(format!("{}{target}", rig.under.url));
    if !asked
        .headers
        .iter()
        .any(|(name, _)| *name == "x-secret-key")
    {
        request = request.header("x-secret-key", SECRET);
    }
    for (name, value) in &asked.headers {
        request = request.header(*name, value.trim());
    }
    // What no client can write is nobody's request.
    let Ok(request) = request.body(Body::from(body)) else {
        return Ok(());
    };
    rig.seen();
    let begun = Instant::now();
    let answered = tokio::time::timeout(SOON, rig.client.request(request)).await;
    let Ok(answer) = answered else {
        return Err(TestCaseError::fail("it is not answered"));
    };
    // The client itself refuses to send some, and a wrong head is answered by closing.
    let Ok(answer) = answer else { return Ok(()) };
    let status = answer.status();
    let kind = answer.headers().get("content-type");
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream")) {
        return Ok(());
    }
    let body = tokio::time::timeout(SOON, http_body_util::BodyExt::collect(answer.into_body()));
    let Ok(body) = body.await else {
        return Err(TestCaseError::fail("it is not answered whole"));
    };
    let Ok(body) = body.map(|body| body.to_bytes()) else {
        return Ok(());
    };
    let text = String::from_utf8_lossy(&body).into_owned();
    prop_assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    prop_assert!(
        !text.contains("broke off") || status != StatusCode::INTERNAL_SERVER_ERROR,
        "{}",
        text
    );
    prop_assert!(!text.contains("secret-of-"), "{}", text);
    if rig.seen() == [0, 0, 0] && status.as_u16() >= 400 && asked.method != "HEAD" {
        let said = serde_json::from_slice::<Value>(&body).unwrap_or_default();
        prop_assert!(said["message"].is_string(), "{} {}", status, text);
    }
    Ok(())
}

#[test]
fn whatever_is_asked_is_answered_in_time() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let (rig, chat) = runtime.block_on(async {
        let rig = Rig::new().await;
        let chat = rig.start().await;
        (rig, chat)
    });
    let config = Config {
        cases: 500,
        // Each may take as long as is waited for an answer.
        max_shrink_iters: 20,
        failure_persistence: None,
        ..Config::default()
    };
    let done =
        TestRunner::new(config).run(&asked(), |asked| runtime.block_on(ask(&rig, &chat, &asked)));
    if let Err(e) = done {
        panic!("{e}");
    }
    // It is as well as before.
    runtime.block_on(async { assert_eq!(rig.get("/sessions").await.status, 200) });
}
