//! The configuration: everywhere or nowhere.

use serde_json::{Value, json};

use super::Rig;

impl Rig {
    /// A setting as each node has it.
    async fn setting(&self, key: &str) -> Vec<Value> {
        let mut values = Vec::new();
        for node in &self.nodes {
            let body = json!({"key": key, "is_secret": false}).to_string();
            let request =
                axum::http::Request::post(format!("http://127.0.0.1:{}/config/read", node.port))
                    .header("x-secret-key", &node.node.options.secret)
                    .header("content-type", "application/json")
                    .body(axum::body::Body::from(body))
                    .unwrap();
            values.push(super::whole(self.send(request).await).await.ok());
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
    let rig = Rig::new().await;
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
async fn with_one_node_down_nothing_is_written() {
    let rig = Rig::new().await;
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
    let rig = Rig::new().await;
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
    let rig = Rig::new().await;
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
    let rig = Rig::new().await;
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
    let rig = Rig::new().await;
    for round in 0..5 {
        let writes = (0..4).map(|n| rig.upsert("K", json!(format!("{round}.{n}"))));
        for answer in futures_util::future::join_all(writes).await {
            answer.ok();
        }
        let values = rig.setting("K").await;
        assert!(values.iter().all(|v| *v == values[0]), "{values:?}");
    }
}
