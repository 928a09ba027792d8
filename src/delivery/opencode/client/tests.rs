//! The client against a scripted server.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::mpsc::{Receiver, channel};

use super::*;

/// Serves one answer a connection; what was asked comes out of the receiver. An empty answer is none.
fn served(answers: &'static [&'static str]) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert!(reader.read_line(&mut head).unwrap() > 0);
            }
            let length = head.lines().find_map(|l| {
                l.to_lowercase()
                    .strip_prefix("content-length: ")?
                    .parse()
                    .ok()
            });
            let mut body = vec![0; length.unwrap_or(0)];
            reader.read_exact(&mut body).unwrap();
            sender
                .send(head + &String::from_utf8(body).unwrap())
                .unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            // Closing would be an answer too.
            open.push(stream);
            if !answer.is_empty() {
                open.pop();
            }
        }
        std::thread::sleep(Duration::from_secs(5));
    });
    (port, receiver)
}

fn ok(body: &str) -> &'static str {
    let length = body.len();
    let text =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    Box::leak(text.into_boxed_str())
}

fn serve(answers: Vec<&'static str>) -> (Client, Receiver<String>) {
    let (port, asked) = served(Box::leak(answers.into_boxed_slice()));
    (Client::new(port, "s3cret"), asked)
}

#[test]
fn a_message_goes_with_its_ids_and_the_secret() {
    let (client, asked) = serve(vec!["HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"]);
    let prompt = Prompt {
        native: "0123",
        id: "mine",
        text: "a\tb\n\u{1b}[201~",
        agent: Some("plan".into()),
        model: Some(Model {
            provider: "p".into(),
            model: "m".into(),
            variant: None,
        }),
    };
    client.prompt("ses_1", &prompt).unwrap();
    let asked = asked.recv().unwrap();
    let (head, body) = asked.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("POST /session/ses_1/prompt_async HTTP/1.1"),
        "{head}"
    );
    // `opencode:s3cret`
    assert!(head.contains("Basic b3BlbmNvZGU6czNjcmV0"), "{head}");
    let body: Value = serde_json::from_str(body).unwrap();
    let want = json!({
        "messageID": "msg_0123",
        "parts": [{"id": "prt_0123", "type": "text", "text": "a\tb\n\u{1b}[201~",
            "metadata": {"mosaic": "mine"}}],
        "agent": "plan",
        "model": {"providerID": "p", "modelID": "m"},
    });
    assert_eq!(body, want);
}

#[test]
fn answers_are_read() {
    let (client, _asked) = serve(vec![
        ok(
            r#"{"ses_1":{"type":"busy"},"ses_2":{"type":"idle"},"ses_3":{"type":"retry","attempt":1,"message":"slow down","next":5},"ses_4":{"type":"dreaming"}}"#,
        ),
        ok(
            r#"{"info":{"id":"msg_1","role":"user","time":{"created":1}},"parts":[{"type":"step-start"},{"type":"text","text":"one"},{"type":"text","text":"by opencode","synthetic":true},{"type":"text","text":"two"}]}"#,
        ),
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ]);
    let status = client.status().unwrap();
    assert_eq!(status.len(), 3);
    assert_eq!(status["ses_1"], Status::Busy);
    let message = "slow down".to_owned();
    assert_eq!(status["ses_3"], Status::Retry { message });
    assert_eq!(status["ses_4"], Status::Other);
    let message = client.message("ses_1", "1").unwrap().unwrap();
    assert_eq!(message.text(), "one\ntwo");
    assert_eq!(client.message("ses_1", "2").unwrap(), None);
}

#[test]
fn what_was_not_sent_is_told_from_what_was_not_answered() {
    // Nobody listens.
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let refused = Client::new(port, "s").health(ASK).unwrap_err();
    assert!(matches!(refused, Failure::NotSent(_)), "{refused:?}");

    let (client, _asked) = serve(vec![
        "",
        "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 500 Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ]);
    let silent = client.health(Duration::from_millis(200)).unwrap_err();
    assert!(matches!(silent, Failure::NoAnswer(_)), "{silent:?}");
    let stranger = client.health(ASK).unwrap_err();
    assert!(
        matches!(stranger, Failure::Refused { status: 401, .. }),
        "{stranger:?}"
    );
    let broken = client.health(ASK).unwrap_err();
    assert!(matches!(broken, Failure::NoAnswer(_)), "{broken:?}");
}
