//! A node that dies with connections that look whole.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::{Caller, run, said};
use crate::gateway::stand_in::gateway;
use crate::routing::node::Dialect;

/// A node that answers everything as one that has a session and no message, until it is to die: its next
/// request gets nothing, and nobody listens any more.
async fn mortal() -> (u16, Arc<AtomicBool>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let dying = Arc::new(AtomicBool::new(false));
    let dies = Arc::clone(&dying);
    tokio::spawn(async move {
        let (gone, mut is_gone) = mpsc::channel(1);
        loop {
            let stream = tokio::select! {
                accepted = listener.accept() => accepted.unwrap().0,
                _ = is_gone.recv() => return,
            };
            let (dies, gone) = (Arc::clone(&dies), gone.clone());
            tokio::spawn(async move {
                let mut stream = BufStream::new(stream);
                while let Some(body) = request(&mut stream).await {
                    if dies.load(Ordering::SeqCst) {
                        let _ = gone.send(()).await;
                        return;
                    }
                    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json";
                    let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    stream.flush().await.unwrap();
                }
            });
        }
    });
    (port, dying)
}

/// Reads a request; what it is answered with.
async fn request(stream: &mut BufStream<TcpStream>) -> Option<&'static str> {
    let (mut first, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        if let Some(given) = line.strip_prefix("content-length: ") {
            length = given.trim().parse().unwrap();
        }
        if first.is_empty() {
            first = line;
        }
    }
    stream.read_exact(&mut vec![0; length]).await.ok()?;
    let path = first.split(' ').nth(1)?;
    Some(match path.split('?').next()? {
        "/session" => r#"{"id": "ses_1"}"#,
        path if path.ends_with("/message") => "[]",
        _ => "{}",
    })
}

#[test]
fn a_node_that_was_killed_is_down_although_its_connections_look_whole() {
    run(async {
        let hi = json!({"text": "hi"});
        for (method, path) in [
            ("POST", "/chats/c/messages"),
            ("GET", "/chats/c/messages"),
            ("GET", "/chats/c/events"),
        ] {
            let (port, dying) = mortal().await;
            let under = gateway(&[("o", Dialect::Opencode, port)]).await;
            let caller = Caller::of(&under);
            let (status, made) = caller.call("POST", "/chats", json!({"chat": "c"})).await;
            assert_eq!(status, 201, "{made}");
            dying.store(true, Ordering::SeqCst);
            let (status, why) = caller.call(method, path, hi.clone()).await;
            assert_eq!(status, 503, "{why}");
            assert!(
                said(&why).contains("`o`") && said(&why).contains("`c`"),
                "{why}"
            );
            // It is known at once, also where new chats are placed.
            let live = under.gateway.nodes.get("o").unwrap();
            assert!(!live.advert().unwrap().health.is_healthy());
        }
    });
}
