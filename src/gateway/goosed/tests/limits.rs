//! What bodies may take: time, and room.

use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::goosed::StandIn;
use super::{Rig, eventually, message};
use crate::gateway::limits::Limits;
use crate::gateway::stand_in::{SECRET, secret_of};

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

/// Answers that are read whole, and not taken by their clients, do not pile up.
#[tokio::test]
async fn large_answers_take_room_until_their_clients_have_them() {
    const MIB: u64 = 1024 * 1024;
    let limits = Limits {
        bodies: 24 * MIB,
        ..Limits::default()
    };
    let rig = rig(limits).await;
    let native = rig.everywhere().await;
    for name in ["g1", "g2"] {
        let said = message(&"x".repeat(8 << 20)).1;
        rig.post(&format!("/sessions/{name}.{native}/reply"), &said)
            .await
            .ok();
    }
    let left = || rig.under.gateway.bodies.left() as u64 * 1024;
    let whole = async |name: &str| rig.get(&format!("/sessions/{name}.{native}")).await;
    eventually("they are said", || {
        let spoken = |n: usize| {
            let node = rig.node(n);
            node.messages(&native) == 2
        };
        spoken(1) && spoken(2) && left() == 24 * MIB
    })
    .await;
    let first = rig.request("GET", &format!("/sessions/g1.{native}"), None);
    let first = rig.send(first).await;
    assert_eq!(first.status(), 200);
    assert!(left() < 9 * MIB, "{}", left());
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
    eventually("all is given back", || left() == 24 * MIB).await;
    // A list of all is one answer.
    let listed = rig.get("/sessions").await.ok();
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 3);
    eventually("all is given back", || left() == 24 * MIB).await;
}
