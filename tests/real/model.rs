//! A stand-in for a model provider: real agents in real panes talk to it, so that a test can prove
//! what reached the model, and which history came along.
//!
//! It speaks just enough of two streaming interfaces on loopback: Anthropic Messages (claude) and
//! OpenAI Chat Completions (pi). Starting agents and reading their screens is left to others.
//!
//! Words in the newest user text steer the answer:
//!
//! | text has | answer |
//! |---|---|
//! | `TOOL` | claude only: a call of Bash (`touch approved-marker`), then a final text |
//! | else | `ok: ` and the first 60 characters of the text |

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// An agent that stops in mid-request must not hold a thread for ever.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Beginnings of texts that claude writes into user messages by itself; nobody typed those.
const NOT_TYPED: [&str; 3] = ["<system-reminder>", "<local-command-", "<command-name>"];

/// One request for an answer that a user's message caused, as the model saw it.
#[derive(Debug, Clone)]
pub struct Turn {
    /// Every message a user wrote, oldest first, its blocks joined by newlines. It grows by one
    /// each turn, which tells a resumed conversation from a new one; but claude joins messages
    /// without an answer between them, as after an interrupt.
    pub history: Vec<String>,
    /// The newest message is a tool's result.
    pub after_tool: bool,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    turns: Mutex<Vec<Turn>>,
}

/// A running server; dropping it stops it.
pub struct Model {
    /// Port on loopback.
    pub port: u16,
    shared: Arc<Shared>,
}

impl Model {
    /// Starts a server on a free port.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &theirs));
        Self { port, shared }
    }

    /// The turns so far whose newest message holds a text, oldest first; those after a tool not
    /// counted.
    pub fn turns(&self, text: &str) -> Vec<Turn> {
        let all = self.shared.turns.lock().unwrap();
        let newest = |t: &&Turn| t.history.last().is_some_and(|m| m.contains(text));
        all.iter()
            .filter(|t| !t.after_tool)
            .filter(newest)
            .cloned()
            .collect()
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // accept() knows no timeout: a connection of our own makes it look at the flag.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let shared = Arc::clone(shared);
        // An error here is an agent that hung up, which tests provoke on purpose.
        std::thread::spawn(move || serve(stream, &shared).ok());
    }
}

/// Answers one request, then closes: a body without a length ends with its connection, which
/// needs no chunked coding and leaves no idle connection behind.
fn serve(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(READ_TIMEOUT))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let lines = reader.by_ref().lines().map_while(Result::ok);
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let length = head.iter().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let found = name.eq_ignore_ascii_case("content-length");
        found.then(|| value.trim().parse().ok()).flatten()
    });
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let target = head.first().and_then(|line| line.split(' ').nth(1));
    let path = target.map_or("", |t| t.split('?').next().unwrap_or(t));

    let openai = path.ends_with("/chat/completions");
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    if !(openai || path.ends_with("/messages")) || !request.is_object() {
        // Probes, telemetry, count_tokens: one harmless object satisfies them all.
        let reply = response("application/json", r#"{"input_tokens":10,"data":[]}"#);
        return stream.write_all(reply.as_bytes());
    }
    let turn = read(&request);
    // Requests without tools are claude's own, for a title and the like.
    let real = request["tools"].as_array().is_some_and(|t| !t.is_empty());
    let last = turn.history.last().cloned().unwrap_or_default();
    let tool = real && !openai && !turn.after_tool && last.contains("TOOL");
    let text = format!("ok: {}", last.chars().take(60).collect::<String>());
    let events = if openai {
        pi(&text)
    } else {
        claude(&text, tool)
    };
    if real {
        shared.turns.lock().unwrap().push(turn);
    }
    stream.write_all(response("text/event-stream", &events).as_bytes())
}

fn response(kind: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: {kind}\r\n\r\n{body}")
}

/// Reads what both interfaces have in common.
fn read(request: &Value) -> Turn {
    let none = Vec::new();
    let messages = request["messages"].as_array().unwrap_or(&none);
    let mut history = Vec::new();
    for message in messages.iter().filter(|m| m["role"] == "user") {
        let content = &message["content"];
        let blocks = content.as_array().unwrap_or(&none).iter();
        let typed: Vec<&str> = std::iter::once(content)
            .chain(blocks.map(|block| &block["text"]))
            .filter_map(Value::as_str)
            .filter(|text| !NOT_TYPED.iter().any(|n| text.starts_with(n)))
            .collect();
        if !typed.is_empty() {
            history.push(typed.join("\n"));
        }
    }
    let newest = messages.last().unwrap_or(&Value::Null);
    let mut blocks = newest["content"].as_array().unwrap_or(&none).iter();
    Turn {
        history,
        after_tool: newest["role"] == "tool" || blocks.any(|b| b["type"] == "tool_result"),
    }
}

/// claude takes two answers with one id as parts of the same, and a conversation remembers the ids.
fn unique() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_nanos().to_string()
}

/// An answer as claude reads it; it wants the type of an event in its head as well.
fn claude(text: &str, tool: bool) -> String {
    let id = unique();
    let (block, delta, stop) = if tool {
        (
            json!({"type": "tool_use", "id": format!("toolu_{id}"), "name": "Bash", "input": {}}),
            json!({"type": "input_json_delta",
                "partial_json": r#"{"command":"touch approved-marker"}"#}),
            "tool_use",
        )
    } else {
        (
            json!({"type": "text", "text": ""}),
            json!({"type": "text_delta", "text": text}),
            "end_turn",
        )
    };
    let events = [
        json!({"type": "message_start", "message": {
            "id": format!("msg_{id}"), "type": "message", "role": "assistant",
            "model": "stand-in", "content": [], "stop_reason": null, "stop_sequence": null,
            "usage": {"input_tokens": 10, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": block}),
        json!({"type": "content_block_delta", "index": 0, "delta": delta}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": null},
            "usage": {"output_tokens": 5}}),
        json!({"type": "message_stop"}),
    ];
    let event = |e: &Value| {
        let kind = e["type"].as_str().unwrap_or_default();
        format!("event: {kind}\ndata: {e}\n\n")
    };
    events.iter().map(event).collect()
}

/// An answer as pi reads it.
fn pi(text: &str) -> String {
    let id = unique();
    let chunk = |delta: Value, stop: Option<&str>| {
        let chunk = json!({"id": id, "object": "chat.completion.chunk", "created": 0,
            "model": "stand-in",
            "choices": [{"index": 0, "delta": delta, "finish_reason": stop}]});
        format!("data: {chunk}\n\n")
    };
    [
        chunk(json!({"role": "assistant", "content": ""}), None),
        chunk(json!({"content": text}), None),
        chunk(json!({}), Some("stop")),
        "data: [DONE]\n\n".to_owned(),
    ]
    .concat()
}
