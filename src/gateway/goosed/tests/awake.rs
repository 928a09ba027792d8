//! Chats whose nodes were restarted have their models all the same.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Rig, message};
use crate::gateway::ids;

impl Rig {
    /// What is said to a message.
    async fn said(&self, chat: &str) -> String {
        let mut body = message("hello").1;
        body["session_id"] = json!(chat);
        let body = body.to_string();
        let said = self.raw("POST", "/reply", Some(body.as_bytes())).await;
        String::from_utf8_lossy(&said.body).into_owned()
    }

    /// The paths that a node was asked for since the last call.
    fn paths(&self, n: usize) -> Vec<String> {
        self.node(n).seen().into_iter().map(|s| s.target).collect()
    }
}

/// The number of a chat's node.
fn number(chat: &str) -> usize {
    usize::from(chat.as_bytes()[1] - b'0')
}

const BOTH: [&str; 2] = ["/agent/resume", "/reply"];

#[tokio::test]
async fn a_restarted_nodes_chat_is_resumed_once_and_then_asked() {
    let rig = Rig::new().await;
    let chat = rig.start().await;
    let (n, native) = (number(&chat), ids::split(&chat).unwrap().1);
    rig.seen();
    assert!(rig.said(&chat).await.contains("Finish"));
    assert_eq!(rig.paths(n), ["/reply"], "it has its model from the start");
    rig.nodes[n].restart().await;
    let said = rig.said(&chat).await;
    assert!(
        said.contains("Finish") && !said.contains("Provider not set"),
        "{said}"
    );
    let seen = rig.node(n).seen();
    let resumed = json!({"session_id": native, "load_model_and_extensions": true});
    assert_eq!(
        (seen[0].target.as_str(), seen[0].json()),
        ("/agent/resume", resumed)
    );
    assert_eq!((seen[1].target.as_str(), seen.len()), ("/reply", 2));
    rig.said(&chat).await;
    assert_eq!(rig.paths(n), ["/reply"]);
    // For whatever the chat's agent does, and for nothing else.
    rig.nodes[n].restart().await;
    rig.get(&format!("/sessions/{chat}")).await.ok();
    assert_eq!(rig.paths(n), [format!("/sessions/{native}")]);
    rig.get(&format!("/agent/tools?session_id={chat}"))
        .await
        .ok();
    let tools = format!("/agent/tools?session_id={native}");
    assert_eq!(rig.paths(n), ["/agent/resume", &tools]);
}

#[tokio::test]
async fn what_the_gateway_does_not_know_is_resumed() {
    let mut rig = Rig::new().await;
    let chat = rig.start().await;
    let n = number(&chat);
    let nodes = std::mem::take(&mut rig.nodes);
    drop(rig);
    // Another gateway, and another process of the node.
    let rig = Rig::over(nodes).await;
    rig.nodes[n].restart().await;
    rig.seen();
    assert!(rig.said(&chat).await.contains("Finish"));
    assert_eq!(rig.paths(n), BOTH);
    // A client that wants the history only has loaded nothing, and one that stops it has unloaded it.
    rig.nodes[n].restart().await;
    let history = json!({"session_id": chat, "load_model_and_extensions": false});
    rig.post("/agent/resume", &history).await.ok();
    rig.seen();
    rig.said(&chat).await;
    assert_eq!(rig.paths(n), BOTH);
    let stopped = rig.post("/agent/stop", &json!({"session_id": chat})).await;
    assert_eq!(stopped.status, 200);
    rig.seen();
    assert!(rig.said(&chat).await.contains("Finish"));
    assert_eq!(rig.paths(n), BOTH);
    // One that has loaded it itself is believed.
    rig.nodes[n].restart().await;
    let resume = json!({"session_id": chat, "load_model_and_extensions": true});
    rig.post("/agent/resume", &resume).await.ok();
    rig.seen();
    rig.said(&chat).await;
    assert_eq!(rig.paths(n), ["/reply"]);
}

#[tokio::test]
async fn a_resume_that_fails_leaves_the_word_to_the_node() {
    let rig = Rig::new().await;
    let chat = rig.start().await;
    let n = number(&chat);
    rig.nodes[n].restart().await;
    rig.node(n).fail("/agent/resume", 500);
    rig.seen();
    let said = rig.said(&chat).await;
    assert!(said.contains("Provider not set"), "{said}");
    assert_eq!(rig.paths(n), BOTH);
    // It is tried again.
    rig.node(n).fault(|f| f.fail.clear());
    assert!(rig.said(&chat).await.contains("Finish"));
    let none = rig
        .post(&format!("/sessions/g{n}.1_1/reply"), &message("x").1)
        .await;
    none.says(404, &["not found"]);
}

#[tokio::test]
async fn a_node_that_hangs_at_the_resume_is_sent_nothing_else() {
    let rig = Rig::new().await;
    let chat = rig.start().await;
    let n = number(&chat);
    rig.nodes[n].restart().await;
    rig.node(n).fault(|f| f.hang = true);
    rig.seen();
    let begun = Instant::now();
    let mut body = message("hello").1;
    body["session_id"] = Value::from(chat.as_str());
    let answer = rig.post("/reply", &body).await;
    answer.says(504, &[&format!("`g{n}`"), &format!("`{chat}`")]);
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(rig.paths(n), ["/agent/resume"]);
}
