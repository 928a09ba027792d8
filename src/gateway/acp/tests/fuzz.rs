//! Whatever a client says, every request that can be answered is answered, in time, on both transports.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::peers::{Http, Ws};
use super::*;

/// Far above what anything here takes.
const SOON: Duration = Duration::from_secs(8);

/// Names that could be sessions, and others.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "n[0-2]\\.20261128_[1-3]",
        1 => "[a-zA-Z0-9._/-]{0,12}",
        1 => ".{0,8}",
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        name().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        Just(Value::Null),
        Just(json!("/tmp")),
        Just(json!([{"type": "text", "text": "DIE"}])),
        Just(json!([{"type": "text", "text": "hello"}])),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map("[a-z]{1,4}", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn params() -> impl Strategy<Value = Value> {
    let key = proptest::sample::select(vec![
        "sessionId",
        "cwd",
        "mcpServers",
        "prompt",
        "cursor",
        "modeId",
        "key",
        "value",
        "protocolVersion",
        "clientCapabilities",
        "requestId",
        "x",
    ]);
    let named = proptest::collection::btree_map(key, value(), 0..5);
    prop_oneof![
        6 => named.prop_map(|map| json!(map)),
        1 => value(),
    ]
}

fn method() -> impl Strategy<Value = String> {
    let known = proptest::sample::select(vec![
        "initialize",
        "session/new",
        "session/list",
        "session/load",
        "session/prompt",
        "session/cancel",
        "session/fork",
        "session/delete",
        "session/set_mode",
        "$/cancel_request",
        "authenticate",
        "_goose/unstable/config/upsert",
        "_goose/unstable/config/read",
        "_goose/unstable/session/import",
        "_goose/unstable/session/info",
    ]);
    prop_oneof![8 => known.prop_map(str::to_owned), 1 => ".{0,10}"]
}

/// One message. The ids of requests are made when it is sent.
fn message() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => (method(), params())
            .prop_map(|(method, params)| json!({"id": "ID", "method": method, "params": params})),
        1 => (method(), params()).prop_map(|(method, params)| json!({"method": method, "params": params})),
        1 => (0u8..4, value()).prop_map(|(n, result)| json!({"id": format!("mosaic-{n}"), "result": result})),
        1 => (value(), value()).prop_map(|(id, method)| json!({"id": [id], "method": method})),
        1 => value(),
    ]
}

/// What is sent as one.
fn text() -> impl Strategy<Value = String> {
    let batch = proptest::collection::vec(message(), 0..5).prop_map(Value::from);
    prop_oneof![
        6 => message().prop_map(|m| m.to_string()),
        2 => batch.prop_map(|m| m.to_string()),
        1 => (message(), any::<proptest::sample::Index>()).prop_map(|(message, at)| {
            let text = message.to_string();
            text.chars().take(at.index(text.len())).collect()
        }),
        1 => (1usize..400).prop_map(|depth| "[".repeat(depth)),
        1 => ".{0,20}",
    ]
}

/// The same with ids that are nobody else's.
fn numbered(texts: &[String]) -> (Vec<String>, Vec<String>) {
    let mut ids = Vec::new();
    let texts = texts.iter().map(|text| {
        let whole = serde_json::from_str::<Value>(text).is_ok();
        let mut parts = text.split(r#""id":"ID""#);
        let mut all = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let id = format!("fuzz-{}", ids.len());
            all += &format!(r#""id":"{id}"{part}"#);
            if whole {
                ids.push(id);
            }
        }
        all
    });
    (texts.collect(), ids)
}

async fn by_websocket(under: &Under, texts: &[String]) -> Result<(), TestCaseError> {
    let ws = Ws::open(&under.url).await;
    let (texts, ids) = numbered(texts);
    for text in &texts {
        ws.text(text);
    }
    let begun = std::time::Instant::now();
    loop {
        let heard = ws.heard();
        let answers = heard.iter().flat_map(|v| match v {
            Value::Array(all) => all.iter().collect(),
            one => vec![one],
        });
        let answers: Vec<&Value> = answers.filter(|v| v.get("method").is_none()).collect();
        let answered = |id: &String| answers.iter().any(|v| v["id"] == id.as_str());
        if ids.iter().all(answered) {
            return Ok(());
        }
        prop_assert!(ws.closed().is_none(), "closed: {:?}", ws.closed());
        prop_assert!(
            begun.elapsed() < SOON,
            "{:?} of {:#?}\n{:#?}",
            ids,
            texts,
            heard
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn by_http(http: &Http, text: String, headers: &[(&str, &str)]) -> Result<(), TestCaseError> {
    let answered = tokio::time::timeout(SOON, http.said("POST", headers, &text)).await;
    let Ok((status, said)) = answered else {
        return Err(TestCaseError::fail("it is not answered"));
    };
    if status >= 400 {
        let said = serde_json::from_str::<Value>(&said).unwrap_or_default();
        prop_assert!(said["message"].is_string(), "{} {}", status, said);
    }
    Ok(())
}

#[test]
fn whatever_is_said_is_answered_in_time() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let (under, _geese, mut http) = runtime.block_on(async {
        let (under, geese) = fleet(&["n0", "n1"]).await;
        let ws = client(&under).await;
        session_on(&ws, "n0").await;
        session_on(&ws, "n1").await;
        let http = Http::new(&under.url);
        (under, geese, http)
    });
    let config = Config {
        cases: 150,
        // Each may take as long as is waited for an answer.
        max_shrink_iters: 20,
        failure_persistence: None,
        ..Config::default()
    };
    let texts = proptest::collection::vec(text(), 1..8);
    let done = TestRunner::new(config.clone()).run(&texts, |texts| {
        runtime.block_on(by_websocket(&under, &texts))
    });
    if let Err(e) = done {
        panic!("{e}");
    }
    runtime.block_on(http.initialize(hello()));
    let own = http.connection.clone();
    let header = prop_oneof![
        3 => Just(("acp-connection-id", own.clone())),
        1 => "[ -~]{0,12}".prop_map(|id| ("acp-connection-id", id)),
        2 => name().prop_filter("a header", |n| n.bytes().all(|b| (32..127).contains(&b)))
            .prop_map(|name| ("acp-session-id", name)),
        1 => "[ -~]{0,12}".prop_map(|kind| ("content-type", kind)),
    ];
    let asked = (text(), proptest::collection::vec(header, 0..3));
    let done = TestRunner::new(config).run(&asked, |(text, more)| {
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(more.iter().map(|(name, value)| (*name, value.trim())));
        let (mut texts, _) = numbered(&[text]);
        runtime.block_on(by_http(&http, texts.remove(0), &headers))
    });
    if let Err(e) = done {
        panic!("{e}");
    }
    runtime.block_on(async {
        let ws = client(&under).await;
        ws.result("session/list", json!({})).await;
    });
}
