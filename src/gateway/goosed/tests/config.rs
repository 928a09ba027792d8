//! The configuration: everywhere or nowhere.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use super::Rig;
use crate::gateway::goosed::in_step::bring;
use crate::routing::node::Health;

impl Rig {
    /// Asks a node behind the gateway's back.
    pub(super) async fn direct(&self, n: usize, path: &str, body: &Value) -> super::Answer {
        let node = &self.nodes[n];
        let request = Request::post(format!("http://127.0.0.1:{}{path}", node.port))
            .header("x-secret-key", &node.node.options.secret)
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        super::whole(self.send(request).await).await
    }

    /// A setting as each node has it.
    async fn setting(&self, key: &str) -> Vec<Value> {
        let mut values = Vec::new();
        for n in 0..3 {
            let asked = json!({"key": key, "is_secret": false});
            values.push(self.direct(n, "/config/read", &asked).await.ok());
        }
        self.seen();
        values
    }

    async fn upsert(&self, key: &str, value: Value) -> super::Answer {
        let body = json!({"key": key, "value": value, "is_secret": false});
        self.post("/config/upsert", &body).await
    }
}

#[tokio::test]
async fn a_setting_is_on_all_nodes_and_read_from_one() {
    let rig = Rig::bare().await;
    assert_eq!(
        rig.upsert("K", json!({"a": 1.5})).await.ok(),
        "Upserted key K"
    );
    assert_eq!(
        rig.setting("K").await,
        [json!({"a": 1.5}), json!({"a": 1.5}), json!({"a": 1.5})]
    );
    let provider = json!({"provider": "p", "model": "m"});
    assert_eq!(
        rig.post("/config/set_provider", &provider).await.status,
        200
    );
    assert_eq!(rig.setting("GOOSE_PROVIDER").await, ["p", "p", "p"]);
    let read = json!({"key": "GOOSE_MODEL", "is_secret": false});
    assert_eq!(rig.post("/config/read", &read).await.ok(), "m");
    assert_eq!(rig.seen(), [1, 0, 0]);
    let removed = rig
        .post("/config/remove", &json!({"key": "K", "is_secret": false}))
        .await;
    assert_eq!(removed.status, 200);
    assert_eq!(
        rig.setting("K").await,
        [Value::Null, Value::Null, Value::Null]
    );
}

#[tokio::test]
async fn a_provider_is_not_copied_while_settings_are_written() {
    let rig = Rig::bare().await;
    for (key, value) in [("GOOSE_PROVIDER", "p"), ("GOOSE_MODEL", "m")] {
        let body = json!({"key": key, "value": value, "is_secret": false});
        rig.direct(0, "/config/upsert", &body).await.ok();
    }
    let held = rig.under.gateway.goosed.writing.lock().await;
    let live = rig.under.gateway.nodes.get("g1").unwrap();
    let copied = bring(&rig.under.gateway, &live);
    tokio::pin!(copied);
    let early = tokio::time::timeout(Duration::from_millis(500), &mut copied).await;
    assert!(early.is_err());
    let written = |n: usize| rig.node(n).count("POST /config/upsert");
    assert_eq!(written(1), 0);
    drop(held);
    copied.await;
    assert_eq!(written(1), 2);
    assert_eq!(
        rig.setting("GOOSE_PROVIDER").await,
        [json!("p"), json!("p"), Value::Null]
    );
}

#[tokio::test]
async fn a_chat_of_the_node_api_has_a_provider_too() {
    let rig = Rig::bare().await;
    for (key, value) in [("GOOSE_PROVIDER", "p"), ("GOOSE_MODEL", "m")] {
        let body = json!({"key": key, "value": value, "is_secret": false});
        rig.direct(0, "/config/upsert", &body).await.ok();
    }
    let made = rig.post("/chats", &json!({"selector": "g1"})).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(
        rig.setting("GOOSE_PROVIDER").await,
        [json!("p"), json!("p"), Value::Null]
    );
}

#[tokio::test]
async fn with_one_node_down_nothing_is_written() {
    let rig = Rig::bare().await;
    rig.upsert("K", json!(1)).await.ok();
    rig.nodes[2].kill().await;
    let refused = rig.upsert("K", json!(2)).await;
    refused.says(503, &["`g2`", "nothing was changed"]);
    rig.nodes[2].restart().await;
    rig.node(1).fault(|f| f.hang = true);
    let refused = rig.upsert("K", json!(2)).await;
    refused.says(503, &["`g1`", "nothing was changed"]);
    rig.node(1).fault(|f| f.hang = false);
    assert_eq!(rig.setting("K").await, [1, 1, 1]);
    rig.upsert("K", json!(2)).await.ok();
    assert_eq!(rig.setting("K").await, [2, 2, 2]);
}

#[tokio::test]
async fn what_the_first_node_refuses_reaches_no_other() {
    let rig = Rig::bare().await;
    let unknown = json!({"provider": "unknown", "model": "m"});
    rig.seen();
    let refused = rig.post("/config/set_provider", &unknown).await;
    refused.says(400, &["Failed to set provider"]);
    for n in [1, 2] {
        let lines: Vec<String> = rig.node(n).seen().iter().map(|s| s.line()).collect();
        assert!(
            !lines.iter().any(|l| l.contains("set_provider")),
            "{lines:?}"
        );
    }
}

#[tokio::test]
async fn what_a_later_node_refuses_is_put_back() {
    let rig = Rig::bare().await;
    rig.upsert("K", json!(1)).await.ok();
    rig.node(1).fail("/config/upsert", 500);
    let failed = rig.upsert("K", json!(2)).await;
    failed.says(
        502,
        &[
            "`g1` answered 500",
            "fails on demand",
            "put back to what it was on `g0`",
            "not changed on `g2`",
        ],
    );
    assert_eq!(rig.setting("K").await, [1, 1, 1]);
    // One that was not there is taken away again.
    rig.upsert("NEW", json!(2)).await.says(502, &["put back"]);
    assert_eq!(
        rig.setting("NEW").await,
        [Value::Null, Value::Null, Value::Null]
    );
    rig.node(1).fault(|f| {
        f.fail.clear();
        f.fail.insert("/config/set_provider".to_owned(), 400);
    });
    let provider = json!({"provider": "p", "model": "m"});
    rig.post("/config/set_provider", &provider)
        .await
        .says(502, &["`g1` answered 400"]);
    assert_eq!(
        rig.setting("GOOSE_PROVIDER").await,
        [Value::Null, Value::Null, Value::Null]
    );
}

#[tokio::test]
async fn what_cannot_be_put_back_is_said() {
    let rig = Rig::bare().await;
    rig.node(2).fail("/config/upsert", 500);
    let secret = json!({"key": "API_KEY", "value": "sk-1", "is_secret": true});
    let failed = rig.post("/config/upsert", &secret).await;
    failed.says(
        502,
        &[
            "`g2` answered 500",
            "changed, and not put back, on `g0`",
            "`g1`",
        ],
    );
    let message = failed.json()["message"].as_str().unwrap().to_owned();
    assert!(!message.contains("sk-1"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_writers_leave_one_value() {
    let rig = Rig::bare().await;
    for round in 0..5 {
        let writes = (0..4).map(|n| rig.upsert("K", json!(format!("{round}.{n}"))));
        for answer in futures_util::future::join_all(writes).await {
            answer.ok();
        }
        let values = rig.setting("K").await;
        assert!(values.iter().all(|v| *v == values[0]), "{values:?}");
    }
}

#[tokio::test]
async fn a_node_without_a_provider_gets_the_others() {
    let rig = Rig::bare().await;
    let provider = json!({"provider": "p", "model": "m"});
    rig.post("/config/set_provider", &provider).await;
    // One comes back with nothing.
    for key in ["GOOSE_PROVIDER", "GOOSE_MODEL"] {
        rig.direct(
            2,
            "/config/remove",
            &json!({"key": key, "is_secret": false}),
        )
        .await;
    }
    assert_eq!(
        rig.setting("GOOSE_PROVIDER").await,
        [json!("p"), json!("p"), Value::Null]
    );
    for _ in 0..3 {
        let begun = rig
            .post("/agent/start", &json!({"working_dir": "/"}))
            .await
            .ok();
        assert_eq!(begun["provider_name"], "p");
        assert_eq!(begun["model_config"]["model_name"], "m");
    }
    assert_eq!(rig.setting("GOOSE_PROVIDER").await, ["p", "p", "p"]);
    // One of its own is meant.
    let own = json!({"provider": "own", "model": "m"});
    rig.direct(1, "/config/set_provider", &own).await;
    for _ in 0..3 {
        rig.start().await;
    }
    assert_eq!(rig.setting("GOOSE_PROVIDER").await, ["p", "own", "p"]);
}

#[tokio::test]
async fn a_node_that_comes_later_gets_the_settings_that_all_others_have() {
    let rig = Rig::bare().await;
    let provider = json!({"provider": "p", "model": "m"});
    rig.post("/config/set_provider", &provider).await;
    for (key, value) in [("K", json!({"a": 1})), ("OWN", json!(1)), ("ONE", json!(1))] {
        rig.upsert(key, value).await.ok();
    }
    let secret = json!({"key": "API_KEY", "value": "sk-1", "is_secret": true});
    rig.post("/config/upsert", &secret).await.ok();
    for n in 0..3 {
        rig.start().await;
        assert!(rig.node(n).count("POST /config/upsert") >= 4);
    }
    let remove = async |n: usize, key: &str| {
        let asked = json!({"key": key, "is_secret": false});
        rig.direct(n, "/config/remove", &asked).await;
    };
    // One comes back with nothing, but for something of its own; another one has something else alone.
    rig.nodes[2].restart().await;
    for key in ["GOOSE_PROVIDER", "GOOSE_MODEL", "K", "ONE"] {
        remove(2, key).await;
    }
    remove(1, "ONE").await;
    let own = json!({"key": "OWN", "value": 2, "is_secret": false});
    rig.direct(2, "/config/upsert", &own).await.ok();
    while !rig.start().await.starts_with("g2.") {}
    assert_eq!(rig.setting("K").await[2], json!({"a": 1}));
    assert_eq!(rig.setting("GOOSE_MODEL").await[2], "m");
    assert_eq!(rig.setting("OWN").await[2], 2);
    assert_eq!(
        rig.setting("ONE").await,
        [json!(1), Value::Null, Value::Null]
    );
    // Once for each process: what it lacks from then on is meant.
    remove(2, "K").await;
    while !rig.start().await.starts_with("g2.") {}
    assert_eq!(rig.setting("K").await[2], Value::Null);
}

/// How often a node was asked for all its settings.
fn read(rig: &Rig) -> Vec<usize> {
    (0..3).map(|n| rig.node(n).count("GET /config")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_chats_at_once_compare_each_node_once() {
    let rig = Rig::new().await;
    for node in &rig.nodes {
        node.node.fault(|f| f.slow = Duration::from_millis(50));
    }
    futures_util::future::join_all((0..12).map(|_| rig.start())).await;
    assert_eq!(read(&rig), [3, 3, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_hangs_holds_up_new_chats_elsewhere_once() {
    let rig = Rig::new().await;
    rig.node(0).fault(|f| f.hang_but_probes = true);
    let begun = Instant::now();
    let chat = async |name: &str| {
        let live = rig.under.gateway.nodes.get(name).unwrap();
        bring(&rig.under.gateway, &live).await;
    };
    tokio::join!(
        chat("g1"),
        chat("g1"),
        chat("g2"),
        chat("g2"),
        chat("g1"),
        chat("g2")
    );
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(rig.node(0).count("GET /config"), 1);
    // What settings were written meanwhile is not known for ever: who writes them may hang as well.
    let fresh = Rig::new().await;
    let _held = fresh.under.gateway.goosed.writing.lock().await;
    let begun = Instant::now();
    fresh.start().await;
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_node_that_was_alone_is_compared_as_soon_as_it_is_not() {
    let rig = Rig::bare().await;
    for n in [0, 1] {
        for (key, value) in [("K", "v"), ("GOOSE_PROVIDER", "p"), ("GOOSE_MODEL", "m")] {
            let body = json!({"key": key, "value": value, "is_secret": false});
            rig.direct(n, "/config/upsert", &body).await.ok();
        }
    }
    let well = |name: &str, health: Health| {
        let live = rig.under.gateway.nodes.get(name).unwrap();
        live.found(health);
    };
    for name in ["g0", "g1"] {
        well(name, Health::Refused("away".to_owned()));
    }
    let live = rig.under.gateway.nodes.get("g2").unwrap();
    bring(&rig.under.gateway, &live).await;
    assert_eq!(rig.setting("K").await[2], Value::Null);
    for name in ["g0", "g1"] {
        well(name, Health::Healthy);
    }
    bring(&rig.under.gateway, &live).await;
    assert_eq!(rig.setting("K").await[2], "v");
}

#[tokio::test]
async fn one_that_tells_no_settings_keeps_no_other_from_its_provider() {
    let rig = Rig::bare().await;
    for n in [0, 1] {
        for (key, value) in [("K", "v"), ("GOOSE_PROVIDER", "p"), ("GOOSE_MODEL", "m")] {
            let body = json!({"key": key, "value": value, "is_secret": false});
            rig.direct(n, "/config/upsert", &body).await.ok();
        }
    }
    // A model alone is no provider.
    let model = json!({"key": "GOOSE_MODEL", "value": "mine", "is_secret": false});
    rig.direct(2, "/config/upsert", &model).await.ok();
    rig.node(0).fail("/config", 500);
    let live = rig.under.gateway.nodes.get("g2").unwrap();
    bring(&rig.under.gateway, &live).await;
    assert_eq!(rig.setting("GOOSE_PROVIDER").await[2], "p");
    assert_eq!(rig.setting("GOOSE_MODEL").await[2], "m");
    assert_eq!(rig.setting("K").await[2], "v");
}

#[tokio::test]
async fn an_imported_chats_node_is_brought_in_step_too() {
    let rig = Rig::bare().await;
    for (key, value) in [("GOOSE_PROVIDER", "p"), ("GOOSE_MODEL", "m")] {
        let body = json!({"key": key, "value": value, "is_secret": false});
        rig.direct(1, "/config/upsert", &body).await.ok();
    }
    let chat = rig.start().await;
    let exported = rig.get(&format!("/sessions/{chat}/export")).await.ok();
    for _ in 0..3 {
        rig.post("/sessions/import", &json!({"json": exported}))
            .await
            .ok();
    }
    assert_eq!(rig.setting("GOOSE_PROVIDER").await, ["p", "p", "p"]);
}

#[tokio::test]
async fn without_any_provider_a_new_chat_says_so() {
    let rig = Rig::bare().await;
    let begun = rig.post("/agent/start", &json!({"working_dir": "/"})).await;
    begun.says(500, &["has no model", "missing provider"]);
}

#[tokio::test]
async fn what_is_gone_on_one_node_is_still_removed_from_the_others() {
    let rig = Rig::bare().await;
    rig.node(0).fail("/config/extensions/x", 404);
    let removed = rig.raw("DELETE", "/config/extensions/x", None).await;
    assert_eq!(removed.status, 200, "{removed:?}");
    assert_eq!(removed.json()["node"], "g1");
    for n in [1, 2] {
        rig.node(n).fail("/config/extensions/x", 404);
    }
    let gone = rig.raw("DELETE", "/config/extensions/x", None).await;
    gone.says(404, &["g0 fails on demand"]);
}
