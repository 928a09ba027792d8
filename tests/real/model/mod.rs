//! A stand-in for a model provider: real agents in real panes talk to it, so that a test can prove
//! what reached the model, how often, and which history came along.
//!
//! It speaks four interfaces on loopback, streaming and whole: Anthropic Messages (claude), OpenAI
//! Chat Completions (pi, opencode, goose), OpenAI Responses (codex) and Gemini (gemini). Starting
//! agents and reading their screens is left to others.
//!
//! Words in the newest user text steer the answer:
//!
//! | text has | answer |
//! |---|---|
//! | `TOOL` | a call of the shell tool that was offered (`touch approved-marker`), then a final text |
//! | `SLEEP n` | the text below, streamed over n seconds, or until the agent hangs up |
//! | `LIMIT`, `LIMIT n` | HTTP 429, to be tried again after n seconds (20) |
//! | else | `ok: ` and the first 60 characters of the text |
//!
//! Requests that an agent makes for itself (titles, summaries) offer no tools. They are answered
//! harmlessly and are no turns.
//!
//! By hand, for as long as wanted, each request a line of JSON in the log:
//!
//! ```sh
//! MOSAIC_MODEL_PORT=8123 MOSAIC_MODEL_LOG=/tmp/model.jsonl \
//!     cargo test --test real -- --ignored --exact model::alone::serve
//! ```
//!
//! `MOSAIC_MODEL_BODIES=DIR` keeps the request's bodies too, as `DIR/<number>.json`.

mod alone;
mod answer;
mod anthropic;
mod api;
mod arrivals;
mod asked;
mod chat;
mod gemini;
mod http;
mod responses;
mod serve;

use std::fs::File;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

pub use answer::Answer;
pub use api::Api;
use arrivals::Arrivals;
use asked::Message;

/// One request for an answer, as the model saw it.
#[derive(Debug, Clone)]
pub struct Turn {
    /// Counts the requests for answers, from 1, in the order of their arrival.
    pub number: usize,
    /// Milliseconds since 1970, when the whole request had arrived.
    pub at_ms: u64,
    pub api: Api,
    /// Every message a user wrote, oldest first, its blocks joined by newlines; what the agent adds
    /// by itself is left out. It grows by one each turn, which tells a resumed conversation from a
    /// new one; but claude joins messages without an answer between them, as after an interrupt.
    pub history: Vec<String>,
    /// Every text in a user's place, a block each, oldest first, exactly as it came and with what
    /// the agent added.
    pub raw: Vec<String>,
    /// The newest thing in the conversation is a tool's result.
    pub after_tool: bool,
    /// The agent asked for itself, not because of a message: a title and the like.
    pub side: bool,
    pub answer: Answer,
    /// The agent did not wait for the end of the answer, as after an interrupt.
    pub hung_up: bool,
    messages: Vec<Message>,
}

impl Turn {
    fn line(&self) -> Value {
        json!({
            "number": self.number,
            "at_ms": self.at_ms,
            "api": self.api.name(),
            "side": self.side,
            "after_tool": self.after_tool,
            "answer": format!("{:?}", self.answer),
            "history": self.history,
            "raw": self.raw,
        })
    }
}

/// What is kept of the requests.
#[derive(Default)]
struct Book {
    turns: Vec<Turn>,
    arrivals: Arrivals,
    log: Option<File>,
    bodies: Option<PathBuf>,
}

impl Book {
    /// Keeps a turn; its number.
    fn enter(&mut self, mut turn: Turn, body: &[u8]) -> usize {
        turn.number = self.turns.len() + 1;
        if let Some(dir) = &self.bodies {
            std::fs::write(dir.join(format!("{}.json", turn.number)), body).unwrap();
        }
        if let Some(log) = &mut self.log {
            writeln!(log, "{}", turn.line()).unwrap();
        }
        if !turn.side {
            self.arrivals.enter(&turn.messages);
        }
        self.turns.push(turn);
        self.turns.len()
    }
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// How often slow answers were told to end.
    hurried: AtomicUsize,
    book: Mutex<Book>,
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
        Self::start_at(0, Book::default())
    }

    fn start_at(port: u16, book: Book) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            book: Mutex::new(book),
            ..Shared::default()
        });
        let theirs = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &theirs));
        Self { port, shared }
    }

    /// Every request for an answer so far, oldest first, those after a tool and the agents' own
    /// counted as well.
    pub fn requests(&self) -> Vec<Turn> {
        self.shared.book.lock().unwrap().turns.clone()
    }

    /// The turns so far whose newest message holds a text, oldest first; those after a tool and the
    /// agents' own not counted.
    pub fn turns(&self, text: &str) -> Vec<Turn> {
        let book = self.shared.book.lock().unwrap();
        let newest = |t: &&Turn| t.history.last().is_some_and(|m| m.contains(text));
        book.turns
            .iter()
            .filter(|t| !t.after_tool && !t.side)
            .filter(newest)
            .cloned()
            .collect()
    }

    /// How often a text arrived within users' messages: every occurrence counts once, however many
    /// requests repeat the history it stands in. Two conversations are two only from the message on
    /// in which they differ.
    pub fn arrivals(&self, text: &str) -> usize {
        self.shared.book.lock().unwrap().arrivals.within(text)
    }

    /// Every arrival of a text within users' messages: the first message of its conversation, and the
    /// blocks of its own. Counted as by [`Model::arrivals`].
    pub fn holding(&self, text: &str) -> Vec<(Vec<String>, Vec<String>)> {
        self.shared.book.lock().unwrap().arrivals.holding(text)
    }

    /// Ends all slow answers that are under way; later ones take their time again.
    pub fn hurry(&self) {
        self.shared.hurried.fetch_add(1, Ordering::SeqCst);
    }

    /// How often a text arrived as a whole message, byte for byte, or as a whole block of one that an
    /// agent joined from several. Counted as by [`Model::arrivals`].
    pub fn arrived_whole(&self, text: &str) -> usize {
        self.shared.book.lock().unwrap().arrivals.whole(text)
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
        std::thread::spawn(move || serve::serve(stream, &shared).ok());
    }
}
