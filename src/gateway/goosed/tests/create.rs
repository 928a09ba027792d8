//! New chats: where they go, what they have, and what becomes of a create that goes wrong.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::Rig;
use crate::gateway::ids;
use crate::gateway::stand_in::policy;
use crate::routing::node::Health;
use crate::routing::policy::Policy;

#[tokio::test]
async fn a_new_chat_has_its_model_and_is_pinned() {
    let rig = Rig::new().await;
    let begun = rig
        .post("/agent/start", &json!({"working_dir": "/"}))
        .await
        .ok();
    let chat = begun["id"].as_str().unwrap().to_owned();
    let (node, native) = ids::split(&chat).unwrap();
    let n = usize::from(node.as_bytes()[1] - b'0');
    // The session as it was begun, but for what it has now.
    assert_eq!(begun["working_dir"], "/");
    assert_eq!(begun["conversation"], Value::Null);
    assert_eq!(begun["provider_name"], "stand-in");
    assert_eq!(begun["model_config"], json!({"model_name": "stand-in-1"}));
    let seen = rig.node(n).seen();
    let seen: Vec<_> = seen
        .iter()
        .filter(|s| !s.target.starts_with("/config"))
        .collect();
    let lines: Vec<String> = seen.iter().map(|s| s.line()).collect();
    assert_eq!(lines, ["POST /agent/start", "POST /agent/resume"]);
    let resumed = json!({"session_id": native, "load_model_and_extensions": true});
    assert_eq!(seen[1].json(), resumed);
    let (name, pin) = (chat.clone(), node.to_owned());
    let pinned: crate::error::Result<_> = rig.under.gateway.pins(move |p| p.pin(&name)).await;
    let pinned = pinned.unwrap().unwrap();
    assert_eq!((pinned.node, pinned.native.as_deref()), (pin, Some(native)));
    // The first message is answered, without any word more of the client.
    let mut body = super::message("hello").1;
    body["session_id"] = json!(chat);
    let said = rig
        .raw("POST", "/reply", Some(body.to_string().as_bytes()))
        .await;
    let said = String::from_utf8_lossy(&said.body).into_owned();
    assert!(
        said.contains(&format!("{node}: ")) && said.contains("Finish"),
        "{said}"
    );
    assert!(!said.contains("Provider not set"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twelve_at_once_spread() {
    let rig = Rig::new().await;
    for node in &rig.nodes {
        node.node
            .fault(|f| f.slow_start = Duration::from_millis(200));
    }
    let chats = join_all((0..12).map(|_| rig.start())).await;
    let mut counts = BTreeMap::new();
    for chat in &chats {
        *counts.entry(ids::split(chat).unwrap().0).or_insert(0) += 1;
    }
    assert_eq!(
        counts,
        BTreeMap::from([("g0", 4), ("g1", 4), ("g2", 4)]),
        "{chats:?}"
    );
    let distinct: std::collections::BTreeSet<&String> = chats.iter().collect();
    assert_eq!(distinct.len(), 12);
}

#[tokio::test]
async fn a_directory_is_looked_at_before_anybody_is_asked() {
    let rig = Rig::new().await;
    let file = rig.under.directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let file = file.to_str().unwrap();
    for (directory, why) in [
        (json!("/no/such"), "does not exist"),
        (json!(file), "is no directory"),
        (json!("relative"), "is not absolute"),
        (json!(7), "is no text"),
    ] {
        let answer = rig
            .post("/agent/start", &json!({"working_dir": directory}))
            .await;
        answer.says(400, &["working_dir", why]);
    }
    for body in ["", "[]", "x", "{"] {
        let answer = rig.raw("POST", "/agent/start", Some(body.as_bytes())).await;
        assert_eq!(answer.status, 400, "{body}");
    }
    let twice = br#"{"working_dir":"/","working_dir":"/tmp"}"#;
    let twice = rig.raw("POST", "/agent/start", Some(twice)).await;
    twice.says(400, &["twice"]);
    assert_eq!(rig.seen(), [0, 0, 0]);
    // A refusal takes no place.
    let chats = join_all((0..3).map(|_| rig.start())).await;
    let mut nodes: Vec<&str> = chats.iter().map(|c| ids::split(c).unwrap().0).collect();
    nodes.sort_unstable();
    assert_eq!(nodes, ["g0", "g1", "g2"]);
}

#[tokio::test]
async fn who_names_no_directory_gets_the_policys_or_the_nodes() {
    let rig = Rig::new().await;
    let own = rig.under.directory.path().to_str().unwrap().to_owned();
    for body in [
        "{}",
        " { } ",
        r#"{"working_dir":null}"#,
        r#"{"recipe":null,"working_dir":""}"#,
    ] {
        let begun = rig.raw("POST", "/agent/start", Some(body.as_bytes())).await;
        assert_eq!(begun.ok()["working_dir"], "/", "{body}");
    }
    rig.under.gateway.set_policy(Policy {
        working_dir: Some(own.clone().into()),
        ..policy()
    });
    let begun = rig
        .post("/agent/start", &json!({"recipe": {"title": "t"}}))
        .await
        .ok();
    assert_eq!(begun["working_dir"], own);
    // The recipe is the node's business.
    assert_eq!(begun["recipe"], json!({"title": "t"}));
    let begun = rig
        .post("/agent/start", &json!({"working_dir": "/"}))
        .await
        .ok();
    assert_eq!(begun["working_dir"], "/", "the client's word counts");
    rig.under.gateway.set_policy(Policy {
        working_dir: Some("/no/such".into()),
        ..policy()
    });
    rig.post("/agent/start", &json!({}))
        .await
        .says(503, &["/no/such"]);
    // A node whose own directory is gone is passed over, and is no worse for it.
    rig.under.gateway.set_policy(policy());
    let live = rig.under.gateway.nodes.get("g0").unwrap();
    let (mut node, endpoint) = (live.node.clone(), live.endpoint.clone());
    node.working_directory = "/no/such".into();
    let mut all: Vec<_> = ["g1", "g2"]
        .iter()
        .map(|id| rig.under.gateway.nodes.get(id).unwrap())
        .map(|live| (live.node.clone(), live.endpoint.clone()))
        .collect();
    all.push((node, endpoint));
    rig.under.gateway.nodes.set(all);
    for _ in 0..6 {
        let begun = rig.post("/agent/start", &json!({})).await.ok();
        assert!(!begun["id"].as_str().unwrap().starts_with("g0."), "{begun}");
    }
    let well = rig.under.gateway.nodes.get("g0").unwrap().advert().unwrap();
    assert_eq!(well.health, Health::Healthy);
}

#[tokio::test]
async fn a_saved_recipe_is_on_the_fixed_node_alone() {
    let rig = Rig::new().await;
    let body = json!({"working_dir": "/", "recipe_id": "abc"});
    for _ in 0..2 {
        let chat = rig.post("/agent/start", &body).await.ok()["id"].clone();
        assert!(chat.as_str().unwrap().starts_with("g0."), "{chat}");
    }
}

#[tokio::test]
async fn a_node_that_refuses_is_passed_over_and_one_that_answers_is_believed() {
    let rig = Rig::new().await;
    rig.nodes[0].kill().await;
    for _ in 0..4 {
        assert!(!rig.start().await.starts_with("g0."));
    }
    rig.nodes[1].kill().await;
    assert!(rig.start().await.starts_with("g2."));
    // An error is the node's word: it is the client's, and nobody else is asked.
    rig.nodes[1].restart().await;
    for n in [1, 2] {
        rig.node(n).fail("/agent/start", 400);
        rig.node(n).seen();
    }
    let refused = rig.post("/agent/start", &json!({"working_dir": "/"})).await;
    refused.says(400, &["fails on demand"]);
    let starts = |n: usize| rig.node(n).count("POST /agent/start");
    assert_eq!((0..3).map(starts).sum::<usize>(), 1);
    rig.nodes[1].kill().await;
    rig.nodes[2].kill().await;
    let none = rig.post("/agent/start", &json!({"working_dir": "/"})).await;
    none.says(503, &["no node can take a chat"]);
}

#[tokio::test]
async fn a_node_that_does_not_take_its_secret_gets_no_chat() {
    let rig = Rig::new().await;
    // One says so to the probe, one only afterwards.
    rig.node(0).fault(|f| f.deaf = true);
    rig.node(1).fail("/agent/start", 401);
    for _ in 0..3 {
        let chat = rig.start().await;
        assert!(chat.starts_with("g2."), "{chat}");
    }
    assert_eq!(rig.node(0).count("POST /agent/start"), 0);
    assert_eq!(rig.node(1).count("POST /agent/start"), 1);
    let live = rig.under.gateway.nodes.get("g0").unwrap();
    assert_eq!(live.advert().unwrap().health.as_str(), "unauthorized");
    let ledger: crate::error::Result<_> = rig.under.gateway.pins(|p| p.ledger()).await;
    assert_eq!(
        ledger.unwrap().chats,
        BTreeMap::from([("g2".to_owned(), 3)])
    );
}

#[tokio::test]
async fn a_create_that_may_have_been_taken_is_never_made_twice() {
    let rig = Rig::new().await;
    // Takes the request, and is gone before it answers.
    for node in &rig.nodes {
        node.node.fault(|f| f.slow_start = Duration::from_secs(60));
    }
    let started = async {
        let begun = Instant::now();
        let answer = rig.post("/agent/start", &json!({"working_dir": "/"})).await;
        (answer, begun.elapsed())
    };
    let killed = async {
        let took = super::eventually_some("one takes it", || {
            (0..3).find(|n| rig.node(*n).count("POST /agent/start") > 0)
        });
        let n = took.await;
        rig.node(n).fault(|f| f.hang = true);
        n
    };
    let ((answer, took), n) = tokio::join!(started, killed);
    answer.says(504, &[&format!("g{n}"), "may have taken"]);
    assert!(took < Duration::from_secs(15), "{took:?}");
    let starts = |n: usize| rig.node(n).count("POST /agent/start");
    assert_eq!((0..3).map(starts).sum::<usize>(), 1);
    // The chat may be there: its place stays taken.
    let ledger: crate::error::Result<_> = rig.under.gateway.pins(|p| p.ledger()).await;
    assert_eq!(
        ledger.unwrap().chats,
        BTreeMap::from([(format!("g{n}"), 1)])
    );
}

#[tokio::test]
async fn a_slow_create_is_waited_for() {
    let rig = Rig::new().await;
    for node in &rig.nodes {
        node.node.fault(|f| f.slow_start = Duration::from_secs(5));
    }
    rig.start().await;
    let starts = |n: usize| rig.node(n).count("POST /agent/start");
    assert_eq!((0..3).map(starts).sum::<usize>(), 1);
}

#[tokio::test]
async fn a_chat_without_a_model_is_said() {
    let rig = Rig::new().await;
    for node in &rig.nodes {
        node.node.fail("/agent/resume", 500);
    }
    let failed = rig.post("/agent/start", &json!({"working_dir": "/"})).await;
    failed.says(500, &["has no model", "fails on demand", "_1`"]);
    // It is there all the same, and once only.
    let listed = rig.get("/sessions").await.ok();
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_client_that_goes_leaves_no_chat_half_made() {
    let rig = Rig::new().await;
    for node in &rig.nodes {
        node.node
            .fault(|f| f.slow_start = Duration::from_millis(300));
    }
    let request = rig.request("POST", "/agent/start", Some(br#"{"working_dir":"/"}"#));
    let gone = tokio::time::timeout(Duration::from_millis(150), rig.client.request(request)).await;
    assert!(gone.is_err());
    super::eventually("it is made whole", || {
        (0..3).any(|n| rig.node(n).count("POST /agent/resume") == 1)
    })
    .await;
    let pins: crate::error::Result<_> = rig.under.gateway.pins(|p| p.list()).await;
    assert_eq!(pins.unwrap().len(), 1);
}

/// Sends a request whose client goes before the node, which takes its time, has answered.
async fn sent_and_gone(rig: &Rig, method: &str, target: &str, body: Option<&[u8]>) {
    for node in &rig.nodes {
        node.node.fault(|f| f.slow = Duration::from_millis(400));
    }
    let request = rig.request(method, target, body);
    let gone = tokio::time::timeout(Duration::from_millis(200), rig.client.request(request)).await;
    assert!(gone.is_err());
}

/// The chats that are pinned.
async fn pinned(rig: &Rig) -> Vec<String> {
    let pins: crate::error::Result<_> = rig.under.gateway.pins(|p| p.list()).await;
    pins.unwrap().into_iter().map(|p| p.chat).collect()
}

async fn until_pinned(rig: &Rig, want: usize) {
    let begun = Instant::now();
    while pinned(rig).await.len() != want {
        assert!(begun.elapsed() < super::SOON, "{:?}", pinned(rig).await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_chat_whose_pin_cannot_be_written_is_the_clients_all_the_same() {
    let rig = Rig::new().await;
    let path = rig.under.directory.path().join("pins.db");
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON pin WHEN NEW.standing = 'held'
                  BEGIN SELECT RAISE(ABORT, 'no room'); END";
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute_batch(refuse).unwrap();
    let chat = rig.start().await;
    let fork = json!({"truncate": false, "copy": true});
    let forked = rig.post(&format!("/sessions/{chat}/fork"), &fork).await;
    let forked = forked.ok()["sessionId"].as_str().unwrap().to_owned();
    assert!(pinned(&rig).await.is_empty());
    for chat in [chat, forked] {
        let session = rig.get(&format!("/sessions/{chat}")).await.ok();
        assert_eq!(session["id"], *chat);
    }
}

#[tokio::test]
async fn a_deleted_chat_is_pinned_no_longer_though_its_client_has_gone() {
    let rig = Rig::new().await;
    let chat = rig.start().await;
    sent_and_gone(&rig, "DELETE", &format!("/sessions/{chat}"), None).await;
    until_pinned(&rig, 0).await;
}

#[tokio::test]
async fn a_fork_is_pinned_though_its_client_has_gone() {
    let rig = Rig::new().await;
    let chat = rig.start().await;
    let fork = br#"{"truncate":false,"copy":true}"#;
    sent_and_gone(&rig, "POST", &format!("/sessions/{chat}/fork"), Some(fork)).await;
    until_pinned(&rig, 2).await;
}

#[tokio::test]
async fn forks_and_imports_are_chats_and_a_deleted_one_is_none() {
    let rig = Rig::new().await;
    let chat = rig.start().await;
    let (node, _) = ids::split(&chat).unwrap();
    let fork = json!({"truncate": false, "copy": true});
    let forked = rig
        .post(&format!("/sessions/{chat}/fork"), &fork)
        .await
        .ok();
    let forked = forked["sessionId"].as_str().unwrap().to_owned();
    assert!(
        forked.starts_with(&format!("{node}.")) && forked != chat,
        "{forked}"
    );
    let exported = rig.get(&format!("/sessions/{chat}/export")).await.ok();
    let imported = rig
        .post("/sessions/import", &json!({"json": exported}))
        .await
        .ok();
    let imported = imported["id"].as_str().unwrap().to_owned();
    // The best node for it is another one.
    assert_ne!(ids::split(&imported).unwrap().0, node);
    let pins = async || -> Vec<String> {
        let pins: crate::error::Result<_> = rig.under.gateway.pins(|p| p.list()).await;
        pins.unwrap().into_iter().map(|p| p.chat).collect()
    };
    let mut want = vec![chat.clone(), forked.clone(), imported.clone()];
    want.sort_unstable();
    assert_eq!(pins().await, want);
    let deleted = rig
        .raw("DELETE", &format!("/sessions/{forked}"), None)
        .await;
    assert_eq!(deleted.status, 200);
    want.retain(|c| *c != forked);
    assert_eq!(pins().await, want);
    // One that is gone already, too.
    let again = rig
        .raw("DELETE", &format!("/sessions/{forked}"), None)
        .await;
    assert_eq!(again.status, 404);
    let bad = rig.post("/sessions/import", &json!({"json": "x"})).await;
    assert_eq!(bad.status, 400);
}
