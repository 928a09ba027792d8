//! What bodies may take: time, and room.

use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::goosed::StandIn;
use super::{Rig, eventually, message};
use crate::gateway::limits::{Budget, Limits};
use crate::gateway::stand_in::{SECRET, secret_of};
use crate::gateway::whole::whole;

async fn rig(limits: Limits) -> Rig {
    let mut nodes = Vec::new();
    for name in ["g0", "g1", "g2"] {
        nodes.push(StandIn::new(name, &secret_of(name)).await);
    }
    Rig::within(nodes, limits).await
}

/// One place says for how long a body may stand still, and it is not the dialect.
#[tokio::test]
async fn a_body_that_stands_still_is_408_when_the_limit_says_so() {
    let stall = Duration::from_secs(11);
    let rig = rig(Limits {
        stall,
        ..Limits::default()
    })
    .await;
    let mut stream = TcpStream::connect(rig.under.url.strip_prefix("http://").unwrap())
        .await
        .unwrap();
    let head = format!(
        "POST /agent/start HTTP/1.1\r\nHost: localhost\r\nX-Secret-Key: {SECRET}\r\nContent-Length: 10\r\n\r\nhello"
    );
    let begun = Instant::now();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(begun.elapsed() >= stall, "{:?}: {answer}", begun.elapsed());
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert!(
        body["message"].as_str().unwrap().contains("within 11 s"),
        "{body}"
    );
    assert_eq!(rig.seen(), [0, 0, 0]);
}

const MIB: u64 = 1024 * 1024;

impl Rig {
    /// One whose answers have 24 MiB, with a history of 16 MiB each on `g1` and `g2`, of the same name.
    async fn with_long_histories() -> (Self, String) {
        let rig = rig(Limits {
            answers: 24 * MIB,
            ..Limits::default()
        })
        .await;
        let native = rig.everywhere().await;
        for name in ["g1", "g2"] {
            let said = message(&"x".repeat(8 << 20)).1;
            rig.post(&format!("/sessions/{name}.{native}/reply"), &said)
                .await
                .ok();
        }
        eventually("they are said", || {
            let spoken = |n: usize| rig.node(n).messages(&native) == 2;
            spoken(1) && spoken(2) && rig.left() == 24 * MIB
        })
        .await;
        (rig, native)
    }

    /// What is left for answers.
    fn left(&self) -> u64 {
        self.under.gateway.answers.left() as u64 * 1024
    }
}

/// Answers that are read whole, and not taken by their clients, do not pile up.
#[tokio::test]
async fn large_answers_take_room_until_their_clients_have_them() {
    let (rig, native) = Rig::with_long_histories().await;
    let whole = async |name: &str| rig.get(&format!("/sessions/{name}.{native}")).await;
    let first = rig.request("GET", &format!("/sessions/g1.{native}"), None);
    let first = rig.send(first).await;
    assert_eq!(first.status(), 200);
    assert!(rig.left() < 9 * MIB, "{}", rig.left());
    // There is no room for another, which is told so in time. A small one has it.
    let begun = Instant::now();
    whole("g2")
        .await
        .says(503, &["`g2`", "no room", "try again"]);
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    whole("g0").await.ok();
    // Another one that waits gets it as soon as it is there.
    let (second, _) = tokio::join!(whole("g2"), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        first.into_body().collect().await.unwrap()
    });
    assert!(second.body.len() as u64 > 16 * MIB);
    assert_eq!(second.ok()["id"], format!("g2.{native}"));
    eventually("all is given back", || rig.left() == 24 * MIB).await;
    // A list of all is one answer, of what the nodes told and no copy of it.
    let listed = rig.get("/sessions").await.ok();
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 3);
    eventually("all is given back", || rig.left() == 24 * MIB).await;
}

/// An answer that waits for room queues before the others of its kind, and before no request.
#[tokio::test]
async fn requests_and_short_answers_wait_for_no_large_one() {
    let (rig, native) = Rig::with_long_histories().await;
    let large = |name: &str| rig.request("GET", &format!("/sessions/{name}.{native}"), None);
    let first = rig.send(large("g1")).await;
    let second = tokio::spawn(rig.client.request(large("g2")));
    tokio::time::sleep(Duration::from_millis(500)).await;
    let begun = Instant::now();
    let said = rig
        .post(&format!("/sessions/g0.{native}/reply"), &message("x").1)
        .await;
    assert_eq!(said.status, 200, "{said:?}");
    rig.start().await;
    rig.get("/sessions").await.ok();
    assert!(begun.elapsed() < Duration::from_secs(4));
    assert!(!second.is_finished(), "it waits for room still");
    drop(first);
    assert_eq!(second.await.unwrap().unwrap().status(), 200);
}

/// What a node has done must not be done again.
#[tokio::test]
async fn what_changed_something_is_never_to_be_tried_again() {
    let (rig, native) = Rig::with_long_histories().await;
    let export = format!("/sessions/g2.{native}/export");
    let exported = rig.get(&export).await.ok();
    let first = rig
        .send(rig.request("GET", &format!("/sessions/g1.{native}"), None))
        .await;
    assert_eq!(first.status(), 200);
    // The answers are whole histories. One changes nothing that a second one would not.
    let resume = json!({"session_id": format!("g2.{native}"), "load_model_and_extensions": true});
    let again = rig.post("/agent/resume", &resume).await;
    again.says(503, &["`g2`", "no room", "try again"]);
    let import = json!({"json": exported.as_str().unwrap()});
    let lost = rig.post("/sessions/import", &import).await;
    lost.says(504, &["no room"]);
    let told = lost.json()["message"].as_str().unwrap().to_owned();
    assert!(!told.contains("try again"), "{told}");
    // A short answer comes whatever others hold.
    let fork = json!({"truncate": false, "copy": true});
    let forked = rig
        .post(&format!("/sessions/g2.{native}/fork"), &fork)
        .await
        .ok();
    let forked = forked["sessionId"].as_str().unwrap().to_owned();
    let pins: crate::error::Result<_> = rig.under.gateway.pins(|p| p.list()).await;
    assert!(pins.unwrap().iter().any(|pin| pin.chat == forked));
}

/// A body that does not say how long it is grows as its room does.
#[tokio::test]
async fn a_body_without_a_length_takes_no_more_than_its_room() {
    let budget = Budget::of(64 * MIB);
    let pieces = (0..1200).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 30_000])));
    let body = Body::from_stream(futures_util::stream::iter(pieces));
    let read = whole(body, 64 << 20, &budget).await.unwrap();
    let taken = 64 * 1024 - budget.left();
    let room = (taken + 64) * 1024;
    assert_eq!(read.bytes.len(), 1200 * 30_000);
    // From 16 MiB on room is taken in steps of that, where a vector would still double.
    let held = read.bytes.try_into_mut().unwrap().capacity();
    assert!(held <= room, "{held} in {room}");
    drop(read.room);
    assert_eq!(budget.left(), 64 * 1024);
}
