//! Chats whose nodes were restarted have their models all the same.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::goosed::agents::MOST;
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

/// goosed keeps the agents of a hundred chats in one process.
#[tokio::test]
async fn a_chat_whose_agent_was_given_up_for_others_is_resumed() {
    let rig = Rig::new().await;
    let chat = rig.start().await;
    let n = number(&chat);
    // Others take its place, some through the gateway and some past it.
    for _ in 0..MOST {
        let directory = json!({"working_dir": "/"});
        let begun = rig.direct(n, "/agent/start", &directory).await.ok();
        let id = begun["id"].clone();
        let name = format!("g{n}.{}", id.as_str().unwrap());
        let resume = json!({"session_id": name, "load_model_and_extensions": true});
        rig.post("/agent/resume", &resume).await.ok();
    }
    rig.seen();
    assert!(rig.said(&chat).await.contains("Finish"));
    assert_eq!(rig.paths(n), BOTH);
    rig.said(&chat).await;
    assert_eq!(rig.paths(n), ["/reply"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_many_ask_at_once_a_chat_is_resumed_once() {
    let rig = Rig::new().await;
    let chat = rig.start().await;
    let n = number(&chat);
    let stop = json!({"session_id": chat});
    assert_eq!(rig.post("/agent/stop", &stop).await.status, 200);
    rig.node(n).fault(|f| f.slow = Duration::from_millis(300));
    rig.seen();
    let tools = format!("/agent/tools?session_id={chat}");
    let (said, one, two, three) = tokio::join!(
        rig.said(&chat),
        rig.get(&tools),
        rig.get(&tools),
        rig.get(&tools)
    );
    assert!(said.contains("Finish"), "{said}");
    assert!([one, two, three].iter().all(|tools| tools.status == 200));
    let paths = rig.paths(n);
    let resumed = paths.iter().filter(|path| *path == "/agent/resume").count();
    assert_eq!((resumed, paths.len()), (1, 5), "{paths:?}");
    // Whoever does it may go away: another one does it then.
    assert_eq!(rig.post("/agent/stop", &stop).await.status, 200);
    let request = rig.request("GET", &tools, None);
    let first = tokio::time::timeout(Duration::from_millis(100), rig.client.request(request));
    let (gone, other) = tokio::join!(first, async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        rig.said(&chat).await
    });
    assert!(gone.is_err(), "{gone:?}");
    assert!(other.contains("Finish"), "{other}");
}

#[tokio::test]
async fn what_is_gone_is_forgotten() {
    let rig = Rig::new().await;
    let chat = rig.start().await;
    let (n, native) = (number(&chat), ids::split(&chat).unwrap().1.to_owned());
    rig.node(n).fail(&format!("/sessions/{native}"), 404);
    let gone = rig.raw("DELETE", &format!("/sessions/{chat}"), None).await;
    assert_eq!(gone.status, 404);
    rig.node(n).fault(|f| f.fail.clear());
    rig.seen();
    rig.said(&chat).await;
    assert_eq!(rig.paths(n), BOTH);
}
