//! Streams of chats' events that last, and clients that do not read them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::opencode::Stand;
use super::{Caller, next, run, run_within};
use crate::gateway::lock;
use crate::gateway::stand_in::{SECRET, gateway};
use crate::routing::node::Dialect;

#[test]
fn a_chat_with_a_stream_or_a_turn_stays_pinned() {
    run(async {
        let stand = Stand::new();
        let port = stand.serve().await;
        let under = gateway(&[("o", Dialect::Opencode, port)]).await;
        let caller = Caller::of(&under);
        for chat in ["c", "d"] {
            caller.call("POST", "/chats", json!({"chat": chat})).await;
        }
        let mut stream = caller.stream("/chats/c/events", None).await;
        next(&mut stream).await;
        assert_eq!(under.an_hour_passes(), 1);
        assert_eq!(under.an_hour_passes(), 0);
        assert_eq!(caller.get("/chats/d").await.0, 404);
        drop(stream);
        let waits = json!({"text": "hi", "until": "answered"});
        let turn = caller.call("POST", "/chats/c/messages", waits);
        let (answered, ()) = tokio::join!(turn, async {
            while lock(&stand.busy).is_none() || stand.events.receiver_count() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            for _ in 0..2 {
                assert_eq!(under.an_hour_passes(), 0);
            }
            stand.answer("hello");
        });
        assert_eq!(answered.0, 200);
        assert_eq!(under.an_hour_passes(), 0);
        assert_eq!(under.an_hour_passes(), 1);
    });
}

/// A client that reads nothing is cut off when its bytes are used up and nothing was taken for a while, and
/// the node's stream is closed with it. One that reads misses nothing.
#[test]
fn a_client_that_reads_too_slowly_is_cut_off_and_nobody_else() {
    const PIECES: usize = 40;
    run_within(Duration::from_secs(90), async {
        let stand = Stand::new();
        let port = stand.serve().await;
        let under = gateway(&[("o", Dialect::Opencode, port)]).await;
        let caller = Caller::of(&under);
        caller.call("POST", "/chats", json!({"chat": "c"})).await;
        let address = under.url.strip_prefix("http://").unwrap();
        let mut slow = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "GET /chats/c/events HTTP/1.1\r\nhost: {address}\r\nx-secret-key: {SECRET}\r\nconnection: close\r\n\r\n"
        );
        slow.write_all(head.as_bytes()).await.unwrap();
        let mut fast = caller.stream("/chats/c/events", None).await;
        while stand.events.receiver_count() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(next(&mut fast).await["state"], "idle");
        let about = |more: Value| {
            let mut about = json!({"sessionID": "ses_1", "messageID": "msg_1", "partID": "prt_1"});
            about
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            about
        };
        let part = json!({"id": "prt_1", "messageID": "msg_1", "type": "text", "text": ""});
        stand.tell("message.part.updated", about(json!({"part": part})));
        let begun = Instant::now();
        let piece = "x".repeat(1024 * 1024);
        for _ in 0..PIECES {
            let delta = json!({"field": "text", "delta": piece});
            stand.tell("message.part.delta", about(delta));
        }
        for _ in 0..PIECES {
            let delta = next(&mut fast).await;
            assert_eq!(delta["text"].as_str().unwrap().len(), piece.len());
        }
        // Kernel and gateway hold less than all of it; the rest was not asked for any more.
        while stand.events.receiver_count() > 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (nine, thirty) = (Duration::from_secs(9), Duration::from_secs(29));
        // Before a connection is closed on which nothing is taken at all.
        assert!(
            (nine..thirty).contains(&begun.elapsed()),
            "{:?}",
            begun.elapsed()
        );
        let mut got = Vec::new();
        let _ = slow.read_to_end(&mut got).await;
        let told = String::from_utf8_lossy(&got)
            .matches("event: delta")
            .count();
        assert!((1..PIECES).contains(&told), "{told}");
        let idle = json!({"sessionID": "ses_1", "status": {"type": "idle"}});
        stand.tell("session.status", idle);
        assert_eq!(next(&mut fast).await["state"], "idle");
    });
}
