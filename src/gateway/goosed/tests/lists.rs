//! What all nodes have a part of.

use serde_json::{Value, json};

use super::Rig;
use crate::gateway::ids;

fn ids_of(list: &Value) -> Vec<String> {
    let list = list.as_array().unwrap().iter();
    list.map(|s| s["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn every_nodes_chats_are_listed_the_last_changed_first() {
    let rig = Rig::new().await;
    let mut chats = Vec::new();
    for _ in 0..6 {
        chats.push(rig.start().await);
    }
    chats.reverse();
    let listed = rig.get("/sessions").await;
    assert!(!listed.headers.contains_key("x-mosaic-missing"));
    assert_eq!(ids_of(&listed.ok()["sessions"]), chats);
    let insights = rig.get("/sessions/insights").await.ok();
    assert_eq!(insights, json!({"totalSessions": 6, "totalTokens": 0}));
    let found = rig
        .get("/sessions/search?query=new%20chat&limit=4")
        .await
        .ok();
    assert_eq!(ids_of(&found), chats[..4]);
    let named = chats[3].clone();
    let renamed = rig
        .raw(
            "PUT",
            &format!("/sessions/{named}/name"),
            Some(br#"{"name":"needle"}"#),
        )
        .await;
    assert_eq!(renamed.status, 200);
    let found = rig.get("/sessions/search?query=needle").await.ok();
    assert_eq!(ids_of(&found), [named]);
    // What is wrong with the request all say alike.
    let empty = rig.get("/sessions/search?query=").await;
    assert_eq!((empty.status.as_u16(), empty.body.len()), (400, 0));
}

#[tokio::test]
async fn a_list_without_a_node_says_so() {
    let rig = Rig::new().await;
    for _ in 0..3 {
        rig.start().await;
    }
    rig.nodes[1].kill().await;
    rig.node(2).fail("/sessions", 500);
    for _ in 0..2 {
        let listed = rig.get("/sessions").await;
        assert_eq!(listed.headers["x-mosaic-missing"], "g1,g2");
        let listed = ids_of(&listed.ok()["sessions"]);
        assert_eq!(listed.len(), 1);
        assert_eq!(ids::split(&listed[0]).unwrap().0, "g0");
    }
    rig.nodes[0].kill().await;
    rig.get("/sessions")
        .await
        .says(500, &["g2 fails on demand"]);
    rig.nodes[2].kill().await;
    rig.get("/sessions").await.says(503, &["g0", "g1", "g2"]);
}

#[tokio::test]
async fn a_chat_that_nobody_pinned_is_found_by_its_name() {
    let rig = Rig::new().await;
    let native = rig.everywhere().await;
    let listed = rig.get("/sessions").await.ok();
    let mut names = ids_of(&listed["sessions"]);
    names.sort_unstable();
    let want: Vec<String> = (0..3).map(|n| format!("g{n}.{native}")).collect();
    assert_eq!(names, want);
    for name in want {
        let resume = json!({"session_id": name, "load_model_and_extensions": false});
        let resumed = rig.post("/agent/resume", &resume).await.ok();
        assert_eq!(resumed["session"]["id"], name);
    }
}
