//! Sessions: placed, spread, found by their names, renamed both ways.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::super::{frame, out, requests};
use super::peers::Ws;
use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twelve_parallel_sessions_spread_and_each_is_answered_by_its_node() {
    let (under, geese) = fleet(&["n0", "n1", "n2"]).await;
    let ws = client(&under).await;
    let ids: Vec<u64> = (0..12).map(|_| ws.ask("session/new", here())).collect();
    let made = join_all(ids.iter().map(|id| ws.answer(*id))).await;
    let names: BTreeSet<String> = made
        .iter()
        .map(|m| m["result"]["sessionId"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names.len(), 12, "{names:?}");
    let mut per_node: BTreeMap<&str, usize> = BTreeMap::new();
    for name in &names {
        *per_node.entry(name.split('.').next().unwrap()).or_default() += 1;
    }
    assert_eq!(per_node, BTreeMap::from([("n0", 4), ("n1", 4), ("n2", 4)]));
    // The nodes gave the same names.
    for goose in &geese {
        assert!(
            goose
                .state
                .lock()
                .unwrap()
                .sessions
                .contains_key("20261128_4")
        );
    }
    let turns = names
        .iter()
        .map(|name| ws.ask("session/prompt", prompt(name, "hi")));
    let turns: Vec<u64> = turns.collect();
    for id in turns {
        assert_eq!(ws.answer(id).await["result"]["stopReason"], "end_turn");
    }
    for name in &names {
        let (node, native) = name.split_once('.').unwrap();
        assert_eq!(ws.chunks(name), [format!("{node} {native}: hi")]);
    }
    // A session's name comes before what happens in it.
    let heard = ws.heard();
    for name in &names {
        let at = |is: &dyn Fn(&Value) -> bool| heard.iter().position(is).unwrap();
        let named = at(&|v| v["result"]["sessionId"] == name.as_str());
        assert!(named < at(&|v| v["params"]["sessionId"] == name.as_str()));
    }
    let pins = under.gateway.pins(|pins| pins.list()).await;
    let pins: crate::error::Result<Vec<_>> = pins;
    assert_eq!(pins.unwrap().len(), 12);
}

#[tokio::test]
async fn a_turn_streams_as_it_is_produced() {
    let (under, _geese) = fleet(&["n0"]).await;
    let ws = client(&under).await;
    let name = session(&ws).await;
    let id = ws.ask("session/prompt", prompt(&name, "WAIT"));
    // Long before the end, which comes only when it is asked for.
    ws.hear("the first chunk", is_chunk).await;
    assert!(!ws.heard().iter().any(|v| v["id"] == id));
    ws.notify("session/cancel", json!({"sessionId": name}));
    ws.answer(id).await;
}

#[tokio::test]
async fn nodes_hear_the_clients_own_words_and_another_client_finds_the_session() {
    let (under, geese) = fleet(&["n0", "n1"]).await;
    let ws = client(&under).await;
    let name = session_on(&ws, "n1").await;
    let info = ws
        .result("_goose/unstable/session/info", json!({"sessionId": name}))
        .await;
    assert_eq!(info["session"]["sessionId"], name.as_str());
    assert_eq!(info["node"], "n1");
    ws.result("session/prompt", prompt(&name, "remember me"))
        .await;
    assert_eq!(geese[1].state.lock().unwrap().hellos, [hello(), hello()]);

    // Nothing about it is in the client: a new one, which introduces itself otherwise, loads it.
    let other = Ws::open(&under.url).await;
    other
        .result("initialize", json!({"protocolVersion": 1}))
        .await;
    other
        .result(
            "session/load",
            json!({"sessionId": name, "cwd": "/tmp", "mcpServers": []}),
        )
        .await;
    assert_eq!(other.chunks(&name), ["remember me"]);
    other
        .result(
            "session/set_mode",
            json!({"sessionId": name, "modeId": "chat"}),
        )
        .await;
    let native = name.split_once('.').unwrap().1;
    assert_eq!(geese[1].state.lock().unwrap().sessions[native].mode, "chat");
    // One that says nothing of itself is served as well.
    let silent = Ws::open(&under.url).await;
    silent.result("session/prompt", prompt(&name, "x")).await;
}

#[tokio::test]
async fn who_introduces_himself_badly_harms_nobody_but_himself() {
    let (under, geese) = fleet(&["n0", "n1"]).await;
    let ws = Ws::open(&under.url).await;
    for (method, params) in [
        ("initialize", json!({"protocolVersion": "x"})),
        ("session/new", here()),
        ("session/list", json!({})),
        ("session/prompt", prompt("n1.20261128_1", "x")),
    ] {
        let error = ws.error(method, params).await;
        assert_eq!(
            error["data"]["phase"], "deserialization",
            "{method}: {error}"
        );
    }
    for live in under.gateway.nodes.all().values() {
        assert!(live.advert().unwrap().health.is_healthy());
    }
    let mut http = peers::Http::new(&under.url);
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}});
    let json = [("content-type", "application/json")];
    let (status, headers, _) = http.request("POST", &json, body.to_string()).await;
    assert_eq!(
        (status.as_u16(), headers.get("acp-connection-id")),
        (200, None)
    );
    http.initialize(hello()).await;
    // And it can do better.
    ws.result("initialize", hello()).await;
    session(&ws).await;
    assert!(geese.iter().any(|g| g.state.lock().unwrap().news == 1));
}

#[tokio::test]
async fn questions_of_two_nodes_with_one_id_each_get_their_answer() {
    let (under, _geese) = fleet(&["n0", "n1"]).await;
    let ws = client(&under).await;
    let (a, b) = (session_on(&ws, "n0").await, session_on(&ws, "n1").await);
    let turns = [
        ws.ask("session/prompt", prompt(&a, "ASK")),
        ws.ask("session/prompt", prompt(&b, "ASK")),
    ];
    let mut questions = Vec::new();
    for name in [&a, &b] {
        let question = ws
            .hear("a question", |v| {
                v["method"] == "session/request_permission"
                    && v["params"]["sessionId"] == name.as_str()
            })
            .await;
        // What a tool was given is not renamed.
        assert_eq!(
            question["params"]["toolCall"]["rawInput"]["sessionId"],
            name.split_once('.').unwrap().1
        );
        questions.push(question["id"].clone());
    }
    assert_ne!(questions[0], questions[1]);
    // Answered the other way round, and with an answer that nobody asked for.
    ws.send(&json!({"jsonrpc": "2.0", "id": 0, "result": {"outcome": {"optionId": "nobody"}}}));
    for (id, option) in [(&questions[1], "for b"), (&questions[0], "for a")] {
        ws.send(&json!({"jsonrpc": "2.0", "id": id,
            "result": {"outcome": {"outcome": "selected", "optionId": option}}}));
    }
    for turn in turns {
        ws.answer(turn).await;
    }
    assert_eq!(ws.chunks(&a)[1], "\"for a\"");
    assert_eq!(ws.chunks(&b)[1], "\"for b\"");
    // Errors are answers as well.
    let turn = ws.ask("session/prompt", prompt(&b, "READ"));
    let question = ws
        .hear("a question", |v| v["method"] == "fs/read_text_file")
        .await;
    ws.send(&json!({"jsonrpc": "2.0", "id": question["id"], "error": {"code": -1, "message": "no file"}}));
    ws.answer(turn).await;
    assert_eq!(ws.chunks(&b)[3], "\"no file\"");
}

#[tokio::test]
async fn cancel_goes_to_the_sessions_node_and_a_withdrawn_request_to_its_own() {
    let (under, geese) = fleet(&["n0", "n1"]).await;
    let ws = client(&under).await;
    let (a, b) = (session_on(&ws, "n0").await, session_on(&ws, "n1").await);
    let id = ws.ask("session/prompt", prompt(&a, "WAIT"));
    ws.hear("the turn", |v| v["params"]["update"]["content"].is_object())
        .await;
    ws.notify("session/cancel", json!({"sessionId": b}));
    ws.notify("session/cancel", json!({"sessionId": "nowhere.1"}));
    ws.notify("$/cancel_request", json!({"requestId": id}));
    eventually("the node hears of it", || {
        !geese[0].state.lock().unwrap().cancelled.is_empty()
    })
    .await;
    // By the id under which the node knows it.
    assert_ne!(geese[0].state.lock().unwrap().cancelled[0], json!(null));
    assert!(geese[1].state.lock().unwrap().cancelled.is_empty());
    assert!(!ws.heard().iter().any(|v| v["id"] == id));
    ws.notify("session/cancel", json!({"sessionId": a}));
    assert_eq!(ws.answer(id).await["result"]["stopReason"], "cancelled");
}

#[tokio::test]
async fn all_sessions_are_listed_page_by_page() {
    let (under, geese) = fleet(&["n0", "n1", "node2"]).await;
    let ws = client(&under).await;
    for _ in 0..9 {
        session(&ws).await;
    }
    let whole = ws.result("session/list", json!({})).await;
    let sessions = whole["sessions"].as_array().unwrap();
    let times: Vec<&str> = sessions
        .iter()
        .map(|s| s["updatedAt"].as_str().unwrap())
        .collect();
    assert_eq!(times.len(), 9);
    assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
    assert_eq!(whole.get("nextCursor"), None);

    geese[0].state.lock().unwrap().page = Some(1);
    geese[1].state.lock().unwrap().page = Some(2);
    let (mut cursor, mut seen, mut pages) = (json!({}), BTreeSet::new(), 0);
    loop {
        let page = ws.result("session/list", cursor.clone()).await;
        for session in page["sessions"].as_array().unwrap() {
            assert!(seen.insert(session["sessionId"].as_str().unwrap().to_owned()));
        }
        pages += 1;
        match page.get("nextCursor") {
            Some(next) => cursor = json!({ "cursor": next }),
            None => break,
        }
    }
    assert_eq!((seen.len(), pages), (9, 3));
    let error = ws.error("session/list", json!({"cursor": "0"})).await;
    assert_eq!(error["code"], -32602);

    geese[2].kill();
    let rest = ws.result("session/list", json!({})).await;
    assert!(
        rest["_meta"]["mosaic"]["unavailable"]["node2"].is_string(),
        "{rest}"
    );
}

#[tokio::test]
async fn forks_and_imports_are_pinned_and_the_name_of_a_deleted_session_is_free_again() {
    let (under, _geese) = fleet(&["n0", "n1"]).await;
    let ws = client(&under).await;
    let name = session_on(&ws, "n1").await;
    let fork = ws
        .result(
            "session/fork",
            json!({"sessionId": name, "cwd": "/tmp", "mcpServers": []}),
        )
        .await;
    let fork = fork["sessionId"].as_str().unwrap().to_owned();
    assert!(fork.starts_with("n1."), "{fork}");
    let pin = |name: &str| {
        let (gateway, name) = (under.gateway.clone(), name.to_owned());
        async move {
            let pin: crate::error::Result<_> = gateway.pins(move |pins| pins.pin(&name)).await;
            pin.unwrap().map(|p| p.node)
        }
    };
    assert_eq!(pin(&fork).await.as_deref(), Some("n1"));
    let import = ws
        .result("_goose/unstable/session/import", json!({"input": "{}"}))
        .await;
    assert!(pin(import["sessionId"].as_str().unwrap()).await.is_some());
    ws.result("session/delete", json!({"sessionId": fork}))
        .await;
    assert_eq!(pin(&fork).await, None);
    assert_eq!(pin(&name).await.as_deref(), Some("n1"));
}

#[tokio::test]
async fn what_is_configured_is_configured_everywhere_or_nowhere() {
    let (under, geese) = fleet(&["n0", "n1"]).await;
    let ws = client(&under).await;
    let set = |value: &str| json!({"key": "k", "value": value});
    let upsert = "_goose/unstable/config/upsert";
    ws.result(upsert, set("1")).await;
    let has = |n: usize| geese[n].state.lock().unwrap().config.get("k").cloned();
    assert_eq!((has(0), has(1)), (Some(json!("1")), Some(json!("1"))));
    // What is read is read from the same node each time.
    for _ in 0..3 {
        assert_eq!(
            ws.result("_goose/unstable/config/read", json!({"key": "k"}))
                .await["node"],
            "n0"
        );
    }
    geese[1].state.lock().unwrap().refuses_config = true;
    let error = ws.error(upsert, set("2")).await;
    assert_eq!(error["code"], -32053);
    let said = error["message"].as_str().unwrap();
    assert!(
        said.contains("`n1`: not this") && said.contains("done on `n0`"),
        "{said}"
    );
    geese[1].kill();
    let error = ws.error(upsert, set("3")).await;
    let said = error["message"].as_str().unwrap();
    assert!(
        said.contains("`n1`") && said.contains("nothing was changed"),
        "{said}"
    );
    assert_eq!(has(0), Some(json!("2")));
    let error = ws.error("_goose/nonsense", json!({})).await;
    assert_eq!(
        error,
        json!({"code": -32601, "message": "Method not found"})
    );
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_its_reason() {
    let (under, geese) = fleet(&["n0"]).await;
    let ws = client(&under).await;
    let name = session(&ws).await;
    for (method, params, code, why) in [
        (
            "session/prompt",
            prompt("20261128_1", "x"),
            -32602,
            "`20261128_1`",
        ),
        (
            "session/prompt",
            prompt("n9.20261128_1", "x"),
            -32602,
            "`n9.20261128_1`",
        ),
        (
            "session/load",
            json!({"sessionId": "n0.9_9"}),
            -32002,
            "not found",
        ),
        ("session/prompt", json!({}), -32602, "sessionId"),
        (
            "session/prompt",
            json!({"sessionId": 3}),
            -32602,
            "must be a string",
        ),
        ("session/new", json!({"cwd": "tmp"}), -32602, "absolute"),
        (
            "session/new",
            json!({"cwd": "/nonexistent/x"}),
            -32602,
            "`cwd` `/nonexistent/x` does not exist",
        ),
        (
            "session/new",
            json!({"cwd": "/etc/passwd"}),
            -32602,
            "`cwd` `/etc/passwd` is no directory",
        ),
        ("session/new", json!({"cwd": 3}), -32602, "string"),
        (
            "session/nonsense",
            json!({"sessionId": name}),
            -32601,
            "not found",
        ),
    ] {
        let error = ws.error(method, params).await;
        assert_eq!(error["code"], code, "{error}");
        assert!(error["message"].as_str().unwrap().contains(why), "{error}");
    }
    assert_eq!(geese[0].state.lock().unwrap().news, 1);
    for (text, code) in [("nope", -32700), ("[]", -32600), (r#"{"id":3}"#, -32600)] {
        let before = ws.heard().len();
        ws.text(text);
        eventually("a refusal", || ws.heard().len() > before).await;
        let refusal = ws.heard().pop().unwrap();
        assert_eq!(
            (&refusal["id"], &refusal["error"]["code"]),
            (&json!(null), &json!(code))
        );
    }
    // What is kept while a request is under way, or longer, is short.
    let long = "x".repeat(1025);
    ws.send(&json!({"jsonrpc": "2.0", "id": long, "method": "session/list", "params": {}}));
    ws.hear("a refusal of the id", |v| {
        v["error"]["message"] == "an id has at most 1024 bytes"
    })
    .await;
    let error = ws
        .error(
            "initialize",
            json!({"protocolVersion": 1, "_meta": {"x": "x".repeat(256 * 1024)}}),
        )
        .await;
    assert_eq!(error["code"], -32602, "{error}");
    let params = frame::Params::of(&json!({ "sessionId": long }));
    assert_eq!(requests::route(&params), out::Route::Connection);
    // Ids come back as they were.
    for id in [json!("a\n"), json!(-7), json!(1.5), json!(null)] {
        ws.send(&json!({"jsonrpc": "2.0", "id": id, "method": "session/list", "params": {}}));
        ws.hear("the answer", |v| v["id"] == id && v.get("result").is_some())
            .await;
    }
    // Without a directory a session works where its node does.
    assert!(ws.result("session/new", json!({})).await["sessionId"].is_string());
}

#[tokio::test]
async fn a_session_without_a_directory_begins_only_where_it_can_work() {
    let (under, geese) = fleet(&["n0", "n1"]).await;
    let ws = client(&under).await;
    let nodes: Vec<_> = geese
        .iter()
        .map(|g| (g.id.as_str(), Dialect::Acp, g.port))
        .collect();
    // A node whose own directory is gone leaves the session to another one.
    let gone = |id: &str| {
        if id == "n0" {
            "/no/such/directory"
        } else {
            "/"
        }
    };
    stand_in::know(&under.gateway, &nodes, gone);
    for _ in 0..3 {
        let made = ws.result("session/new", json!({})).await;
        assert!(made["sessionId"].as_str().unwrap().starts_with("n1."));
    }
    // Of the gateway's directory no node would make more.
    let policy = crate::routing::policy::Policy {
        working_dir: Some("/nor/this".into()),
        ..stand_in::policy()
    };
    under.gateway.set_policy(policy);
    let error = ws.error("session/new", json!({})).await;
    assert_eq!(error["code"], -32052, "{error}");
    let why = error["message"].as_str().unwrap();
    assert!(why.contains("`/nor/this` does not exist"), "{why}");
    // What the client names itself is taken instead, by a node that is as well as before.
    session_on(&ws, "n0").await;
}
