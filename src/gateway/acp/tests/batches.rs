//! Several messages in one, both ways.

#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::super::batch::{self, End};
use super::super::client::Client;
use super::super::frame::Message;
use super::super::gathered::{ANSWERS, Gathered};
use super::super::out::Route;
use super::super::requests;
use super::super::rooms::{Limits, Rooms};
use super::peers::Http;
use super::*;

fn request(id: Value, method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

fn list(id: u64) -> Value {
    request(json!(id), "session/list", json!({}))
}

const INVALID: i64 = -32600;

#[tokio::test]
async fn a_batch_is_answered_as_one_in_its_order() {
    let (under, _geese) = fleet(&["n0", "n1"]).await;
    let ws = client(&under).await;
    let name = session(&ws).await;
    ws.send(&json!([
        request(json!("p"), "session/prompt", prompt(&name, "hi")),
        {"jsonrpc": "2.0", "method": "session/cancel", "params": {"sessionId": "n9.1"}},
        3,
        request(json!("new"), "session/new", here()),
        list(70),
        request(json!(71), "session/prompt", prompt("n9.1", "x")),
        {"jsonrpc": "2.0", "id": "mosaic-99", "result": {}},
    ]));
    let all = ws.hear("the answers", Value::is_array).await;
    let all = all.as_array().unwrap();
    let ids: Vec<&Value> = all.iter().map(|a| &a["id"]).collect();
    assert_eq!(
        ids,
        [
            &json!("p"),
            &Value::Null,
            &json!("new"),
            &json!(70),
            &json!(71)
        ]
    );
    assert_eq!(all[0]["result"]["stopReason"], "end_turn");
    assert_eq!(all[1]["error"]["code"], INVALID);
    let made = all[2]["result"]["sessionId"].as_str().unwrap();
    assert!(made.starts_with("n0.") || made.starts_with("n1."), "{made}");
    assert!(all[3]["result"]["sessions"].is_array());
    assert_eq!(all[4]["error"]["code"], -32602);
    // And it is taken like any other.
    ws.result("session/prompt", prompt(made, "hello")).await;
}

#[tokio::test]
async fn empty_and_silent_batches() {
    let (under, _geese) = fleet(&["n0"]).await;
    let ws = client(&under).await;
    let name = session(&ws).await;
    ws.send(
        &json!([{"jsonrpc": "2.0", "method": "session/cancel", "params": {"sessionId": name}}]),
    );
    ws.text("[]");
    let refused = ws
        .hear("a refusal", |v| v["error"]["code"] == INVALID)
        .await;
    assert_eq!(refused["id"], Value::Null);
    ws.text(&format!("[{}]", vec!["0"; 300].join(",")));
    ws.hear("another", |v| {
        v["error"]["message"].to_string().contains("at most 256")
    })
    .await;
    ws.result("session/list", json!({})).await;
    assert!(!ws.heard().iter().any(Value::is_array));
}

#[tokio::test]
async fn a_node_may_say_several_things_in_one() {
    let (under, _geese) = fleet(&["n0"]).await;
    let ws = client(&under).await;
    let name = session(&ws).await;
    ws.result("session/prompt", prompt(&name, "BOTH")).await;
    assert_eq!(ws.chunks(&name)[1..], ["one", "two"]);
}

#[tokio::test]
async fn batches_over_http() {
    let (under, geese) = fleet(&["n0"]).await;
    let mut http = Http::new(&under.url);
    let json = ("content-type", "application/json");
    let greeting = request(json!(1), "initialize", hello());
    // One that begins with `initialize` is answered at once, and begins a connection.
    let begin = json!([greeting, list(2), {"jsonrpc": "2.0", "method": "x"}]).to_string();
    let (status, headers, body) = http.request("POST", &[json], begin).await;
    assert_eq!(status, 200);
    let body = http_body_util::BodyExt::collect(body)
        .await
        .unwrap()
        .to_bytes();
    let all: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(all[0]["result"]["agentInfo"]["name"], "goose");
    assert_eq!(
        (&all[1]["id"], all.as_array().unwrap().len()),
        (&json!(2), 2)
    );
    http.connection = headers["acp-connection-id"].to_str().unwrap().to_owned();
    let mut connection = http.stream(None).await;
    http.post(
        None,
        json!([request(json!(3), "session/new", here()), list(4)]),
    )
    .await;
    let made = connection.next().await.unwrap();
    let name = made[0]["result"]["sessionId"].as_str().unwrap().to_owned();
    assert_eq!(made[1]["id"], 4);
    // Where a session is named, on its stream.
    let text = json!([{"type": "text", "text": "hi"}]);
    http.post(
        Some(&name),
        json!([request(json!(5), "session/prompt", json!({"prompt": text}))]),
    )
    .await;
    let mut stream = http.stream(Some(&name)).await;
    let end = loop {
        let message = stream.next().await.unwrap();
        if message.is_array() {
            break message;
        }
    };
    assert_eq!(end[0]["result"]["stopReason"], "end_turn");
    // Nothing of one is taken that cannot be taken whole.
    let news = geese[0].state.lock().unwrap().news;
    let own = ("acp-connection-id", http.connection.as_str());
    let half = json!([
        request(json!(6), "session/new", here()),
        request(json!(7), "session/prompt", json!({}))
    ]);
    let (status, said) = http.said("POST", &[json, own], &half.to_string()).await;
    assert_eq!(status, 400, "{said}");
    let (status, said) = http
        .said("POST", &[json], &json!([list(8)]).to_string())
        .await;
    assert_eq!(status, 400, "{said}");
    assert_eq!(geese[0].state.lock().unwrap().news, news);
    // A refused beginning takes nothing along.
    let refused = json!([
        request(json!(1), "initialize", json!({})),
        request(json!(2), "session/new", here())
    ]);
    let (status, headers, body) = http.request("POST", &[json], refused.to_string()).await;
    assert!(status == 200 && !headers.contains_key("acp-connection-id"));
    let body = http_body_util::BodyExt::collect(body)
        .await
        .unwrap()
        .to_bytes();
    let all: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (&all[0]["error"]["code"], &all[1]["error"]["code"]),
        (&json!(-32602), &json!(INVALID))
    );
    assert_eq!(geese[0].state.lock().unwrap().news, news);
}

#[tokio::test]
async fn a_client_whose_batches_keep_too_much_gets_no_further_one_taken() {
    let (under, geese) = fleet(&["n0"]).await;
    let rooms = Rooms::new(Limits::default());
    let place = rooms.place().unwrap();
    let client = Client::new(&under.gateway, &rooms, false, Duration::from_secs(9), place);
    let long = |bytes: usize| {
        let text = json!({"jsonrpc": "2.0", "id": 1, "result": "x".repeat(bytes)}).to_string();
        Message::read(&text).unwrap()
    };
    let mut open = Gathered::new(2, &client.kept);
    open.put(0, &long(ANSWERS - long(0).text().len()));
    let mut lease = client.out.lease(&Route::Connection).unwrap();
    let mut say = async |texts: Value| {
        let batch::Said::Several(entries) = batch::read(&texts.to_string(), requests::one) else {
            panic!("no batch");
        };
        let end = End::Stream(Route::Connection);
        batch::take(&client, entries, end).await.unwrap();
        let said = tokio::time::timeout(Duration::from_secs(20), lease.next()).await;
        serde_json::from_str::<Value>(&said.unwrap().unwrap().text).unwrap()
    };
    let two = json!([request(json!("a"), "session/new", here()), 3, list(2)]);
    let refused = say(two.clone()).await;
    let codes: Vec<_> = refused
        .as_array()
        .unwrap()
        .iter()
        .map(|a| (&a["id"], &a["error"]["code"]))
        .collect();
    let much = json!(-32054);
    assert_eq!(
        codes,
        [
            (&json!("a"), &much),
            (&Value::Null, &json!(INVALID)),
            (&json!(2), &much)
        ]
    );
    assert_eq!(geese[0].state.lock().unwrap().news, 0);
    drop(open);
    let taken = say(two).await;
    assert!(taken[0]["result"]["sessionId"].is_string(), "{taken}");
    client.close();
}

#[tokio::test]
async fn a_batch_that_begins_a_connection_does_not_wait_for_what_nobody_can_be_asked() {
    let (under, geese) = fleet(&["n0"]).await;
    let ws = client(&under).await;
    let name = session(&ws).await;
    drop(ws);
    let limits = Limits {
        beginning: Duration::from_secs(1),
        ..Limits::default()
    };
    let http = Http::new(&super::transports::limited(&under, limits).await);
    let post = async |second: Value| {
        let both = json!([request(json!(1), "initialize", hello()), second]).to_string();
        let json = [("content-type", "application/json")];
        let answer = http.request("POST", &json, both);
        let (status, headers, body) = tokio::time::timeout(Duration::from_secs(20), answer)
            .await
            .expect("an answer");
        let body = http_body_util::BodyExt::collect(body).await.unwrap();
        let body: Value = serde_json::from_slice(&body.to_bytes()).unwrap();
        (
            status.as_u16(),
            headers.contains_key("acp-connection-id"),
            body,
        )
    };
    let asks = request(json!(2), "session/prompt", prompt(&name, "ASK"));
    let (status, begun, all) = post(asks).await;
    assert_eq!(
        (status, begun, &all[1]["error"]["code"]),
        (200, true, &json!(INVALID))
    );
    assert_eq!(all[0]["result"]["protocolVersion"], 1);
    let native = name.split_once('.').unwrap().1;
    let said = |goose: &Goose| goose.state.lock().unwrap().sessions[native].history.len();
    assert_eq!(said(&geese[0]), 0);
    // Whatever else asks something there is not waited for without end.
    geese[0].state.lock().unwrap().asks_to_load = true;
    let load = json!({"sessionId": name, "cwd": "/tmp", "mcpServers": []});
    let (status, begun, all) = post(request(json!(2), "session/load", load)).await;
    assert_eq!((status, begun), (504, false));
    let why = all["message"].as_str().unwrap();
    assert!(why.contains("may have been done"), "{why}");
    eventually("the node is left", || geese[0].connected() == 0).await;
}
