//! Event streams: byte by byte, at once, and closed with whoever reads them.

use std::time::{Duration, Instant};

use axum::http::Request;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::json;

use super::{Rig, SOON, eventually, message};
use crate::gateway::stand_in::{node, secret_of};
use crate::routing::node::Dialect;
use crate::routing::pins::Pins;

/// Reads until what has come contains all of these.
async fn until(body: &mut Incoming, text: &mut String, wanted: &[&str]) {
    let read = async {
        while !wanted.iter().all(|w| text.contains(w)) {
            let frame = body.frame().await.unwrap().unwrap();
            text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
    };
    if tokio::time::timeout(SOON, read).await.is_err() {
        panic!("{wanted:?} never came: {text}");
    }
}

/// Without pings, whose number depends on the time.
fn events(text: &str) -> Vec<&str> {
    text.split_inclusive("\n\n")
        .filter(|e| !e.starts_with(':'))
        .collect()
}

#[tokio::test]
async fn events_are_the_nodes_own_byte_by_byte() {
    let rig = Rig::new().await;
    let native = rig.everywhere().await;
    let target = format!("/sessions/g1.{native}/events");
    let answer = rig.send(rig.request("GET", &target, None)).await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert_eq!(answer.headers()["cache-control"], "no-cache");
    let mut through = answer.into_body();
    let direct = Request::get(format!(
        "http://127.0.0.1:{}/sessions/{native}/events",
        rig.nodes[1].port
    ))
    .header("x-secret-key", secret_of("g1"))
    .body(axum::body::Body::empty())
    .unwrap();
    let mut direct = rig.send(direct).await.into_body();
    let (request, body) = message("some words to say");
    let accepted = rig
        .post(&format!("/sessions/g1.{native}/reply"), &body)
        .await
        .ok();
    assert_eq!(accepted, json!({"request_id": request}));
    let (mut one, mut other) = (String::new(), String::new());
    let wanted = [
        ": ping 0\n\n",
        "id: 1\ndata: ",
        "\"type\":\"Finish\"",
        ": ping 1\n\n",
    ];
    until(&mut through, &mut one, &wanted).await;
    until(&mut direct, &mut other, &wanted).await;
    assert_eq!(events(&one), events(&other));
    // From the chat's own node, whose native name the others have too.
    assert!(one.contains(r#""text":"g1: ""#), "{one}");
    assert_eq!((rig.node(0).streams(), rig.node(2).streams()), (0, 0));
}

#[tokio::test]
async fn every_word_comes_when_it_is_said() {
    let rig = Rig::new().await;
    let native = rig.everywhere().await;
    let pause = Duration::from_millis(300);
    rig.node(1).fault(|f| f.word_delay = pause);
    let mut body = message("one two three").1;
    body["session_id"] = json!(format!("g1.{native}"));
    let begun = Instant::now();
    let answer = rig
        .send(rig.request("POST", "/reply", Some(body.to_string().as_bytes())))
        .await;
    let mut body = answer.into_body();
    let (mut text, mut times) = (String::new(), Vec::new());
    for word in ["g1: ", "one ", "two ", "three"] {
        until(&mut body, &mut text, &[&format!("\"text\":\"{word}\"")]).await;
        times.push(begun.elapsed());
    }
    // The first is not held back until the second is there.
    assert!(times[0] < pause, "{times:?}");
    for (n, pair) in times.windows(2).enumerate() {
        let apart = pair[1] - pair[0];
        assert!(apart > pause / 2, "{n}: {times:?}");
    }
}

#[tokio::test]
async fn who_comes_back_gets_what_was_missed() {
    let rig = Rig::new().await;
    let native = rig.everywhere().await;
    let chat = format!("g1.{native}");
    let target = format!("/sessions/{chat}/events");
    let mut first = rig
        .send(rig.request("GET", &target, None))
        .await
        .into_body();
    rig.post(&format!("/sessions/{chat}/reply"), &message("a b c").1)
        .await
        .ok();
    let mut text = String::new();
    until(&mut first, &mut text, &["\"type\":\"Finish\""]).await;
    drop(first);
    let mut request = rig.request("GET", &target, None);
    request
        .headers_mut()
        .insert("last-event-id", "2".parse().unwrap());
    let mut again = rig.send(request).await.into_body();
    let mut rest = String::new();
    until(&mut again, &mut rest, &["\"type\":\"Finish\""]).await;
    let missed: Vec<&str> = events(&text).into_iter().skip(2).collect();
    assert_eq!(events(&rest), missed);
    let seen = rig.node(1).seen();
    assert_eq!(seen.last().unwrap().headers["last-event-id"], "2");
}

#[tokio::test]
async fn a_client_that_goes_closes_the_nodes_stream() {
    let rig = Rig::new().await;
    let native = rig.everywhere().await;
    let target = format!("/sessions/g1.{native}/events");
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut body = rig
            .send(rig.request("GET", &target, None))
            .await
            .into_body();
        body.frame().await.unwrap().unwrap();
        streams.push(body);
    }
    assert_eq!(rig.node(1).streams(), 20);
    let begun = Instant::now();
    drop(streams);
    eventually("all are closed", || rig.node(1).streams() == 0).await;
    // Well before anything more would have been written to them.
    assert!(
        begun.elapsed() < Duration::from_millis(450),
        "{:?}",
        begun.elapsed()
    );
    // A turn that streams its own answer ends with its reader.
    rig.node(1)
        .fault(|f| f.word_delay = Duration::from_secs(600));
    let mut body = message("one two").1;
    body["session_id"] = json!(format!("g1.{native}"));
    let answer = rig
        .send(rig.request("POST", "/reply", Some(body.to_string().as_bytes())))
        .await;
    let mut body = answer.into_body();
    body.frame().await.unwrap().unwrap();
    assert_eq!(rig.node(1).streams(), 1);
    drop(body);
    eventually("it is closed", || rig.node(1).streams() == 0).await;
}

#[tokio::test]
async fn a_chat_that_is_listened_to_stays_pinned() {
    let rig = Rig::new().await;
    let native = rig.everywhere().await;
    let (chat, node) = (format!("g1.{native}"), node("g1", Dialect::Goosed));
    let adopt = move |pins: &mut Pins| pins.adopt(&chat, &node, Some(&native)).map(|p| p.chat);
    let chat: crate::error::Result<String> = rig.under.gateway.pins(adopt).await;
    let target = format!("/sessions/{}/events", chat.unwrap());
    let mut body = rig
        .send(rig.request("GET", &target, None))
        .await
        .into_body();
    body.frame().await.unwrap().unwrap();
    assert_eq!(rig.under.an_hour_passes(), 0);
    assert_eq!(rig.under.an_hour_passes(), 0);
    drop(body);
    eventually("it is closed", || rig.node(1).streams() == 0).await;
    // Its end is a use, and the last one.
    assert_eq!(rig.under.an_hour_passes(), 0);
    assert_eq!(rig.under.an_hour_passes(), 1);
}

#[tokio::test]
async fn one_turn_at_a_time_and_a_cancel_ends_it() {
    let rig = Rig::new().await;
    let native = rig.everywhere().await;
    let chat = format!("g1.{native}");
    rig.node(1)
        .fault(|f| f.word_delay = Duration::from_secs(600));
    let mut events = rig
        .send(rig.request("GET", &format!("/sessions/{chat}/events"), None))
        .await
        .into_body();
    let (id, body) = message("one two three");
    rig.post(&format!("/sessions/{chat}/reply"), &body)
        .await
        .ok();
    let mut text = String::new();
    until(&mut events, &mut text, &["\"text\":\"g1: \""]).await;
    let busy = rig
        .post(&format!("/sessions/{chat}/reply"), &message("x").1)
        .await;
    busy.says(400, &["active request"]);
    let cancel = json!({"request_id": id});
    let cancelled = rig.post(&format!("/sessions/{chat}/cancel"), &cancel).await;
    assert_eq!(cancelled.status, 200);
    until(&mut events, &mut text, &["\"type\":\"Finish\""]).await;
    assert!(!text.contains("one "), "{text}");
}

#[tokio::test]
async fn streams_end_when_the_gateway_stops() {
    let rig = Rig::new().await;
    let native = rig.everywhere().await;
    let target = format!("/sessions/g1.{native}/events");
    let mut body = rig
        .send(rig.request("GET", &target, None))
        .await
        .into_body();
    body.frame().await.unwrap().unwrap();
    rig.under.gateway.stopping.cut();
    let ended = async { while let Some(Ok(_)) = body.frame().await {} };
    tokio::time::timeout(SOON, ended).await.unwrap();
    eventually("its node's too", || rig.node(1).streams() == 0).await;
}
