//! From a connection to its reply: what is asked is written down before it is answered.

use std::io;
use std::net::TcpStream;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::answer::{Answer, BEAT};
use super::api::{self, Api};
use super::http::Connection;
use super::{Shared, Turn, asked};

/// Answers one request.
///
/// # Errors
/// The agent hung up.
pub fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let (mut to, request) = Connection::read(stream)?;
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let api = Api::of(&request.path).filter(|_| body.is_object());
    let Some(api) = api else {
        // Probes, telemetry, lists of models, the counting of tokens: one harmless object satisfies
        // them all.
        return to.json(&json!({
            "input_tokens": 10, "totalTokens": 10, "object": "list", "data": [], "models": []}));
    };
    let asked = asked::read(api, &request.path, &body);
    let side = asked.tools.is_empty();
    let answer = Answer::to(&asked, side);
    let messages = asked.messages();
    let turn = Turn {
        number: 0,
        at_ms: api::now_ms(),
        api,
        history: messages.iter().map(|m| m.join("\n")).collect(),
        raw: asked.raw(),
        after_tool: asked.after_tool(),
        side,
        answer: answer.clone(),
        hung_up: false,
        messages,
    };
    let number = shared.book.lock().unwrap().enter(turn, &request.body);
    let sent = send(&mut to, api, &answer, asked.stream, shared);
    if sent.is_err() {
        shared.book.lock().unwrap().turns[number - 1].hung_up = true;
    }
    sent
}

fn send(
    to: &mut Connection,
    api: Api,
    answer: &Answer,
    stream: bool,
    shared: &Shared,
) -> io::Result<()> {
    let begun = shared.hurried.load(Ordering::SeqCst);
    let hurried = || shared.hurried.load(Ordering::SeqCst) != begun;
    if let Answer::Limit(seconds) = *answer {
        return to.too_many(&api.limit(seconds), seconds);
    }
    if !stream {
        if let Answer::Slow(_, beats) = *answer {
            for _ in (0..beats).take_while(|_| !hurried()) {
                to.pause(BEAT)?;
            }
        }
        return to.json(&api.whole(answer));
    }
    let frames = api.frames(answer);
    to.events()?;
    to.send(&frames.open)?;
    let pieces = frames.pieces.iter().enumerate();
    for (n, piece) in pieces.take_while(|(n, _)| *n == 0 || !hurried()) {
        if n > 0 {
            to.pause(BEAT)?;
        }
        to.send(piece)?;
    }
    to.send(&frames.close)
}
