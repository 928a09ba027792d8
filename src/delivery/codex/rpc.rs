//! JSON-RPC with codex's app-server: one message a WebSocket frame, over its Unix socket. Who may
//! reach the socket may use it, so there is no secret; codex keeps it in a directory of the user's own.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::protocol::WebSocket;
use tungstenite::{Error as WsError, HandshakeError, Message};

use crate::host::unix_socket::connect_within;

/// For the handshake and for every question. Measured: 1 ms on an idle machine; an app-server that
/// stands still answers nothing.
const ANSWER: Duration = Duration::from_secs(5);

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The app-server certainly did not get it whole.
    #[error("{0}")]
    NotSent(String),
    /// It may have got it.
    #[error("no answer: {0}")]
    NoAnswer(String),
    /// It answered that it did not do it.
    #[error("it answers: {0}")]
    Refused(String),
}

/// One connection, initialised.
#[derive(Debug)]
pub struct Client {
    socket: WebSocket<UnixStream>,
    last_id: u64,
    /// What came while an answer was waited for.
    unread: VecDeque<Value>,
}

impl Client {
    /// Connects and introduces itself.
    ///
    /// # Errors
    /// Nobody listens, or what listens is no app-server.
    pub fn connect(path: &Path) -> Result<Self, Failure> {
        let not = |why: String| Failure::NotSent(format!("`{}`: {why}", path.display()));
        let stream = connect_within(path, ANSWER).map_err(|e| not(e.to_string()))?;
        let (socket, _) = tungstenite::client("ws://localhost/", stream).map_err(|e| match e {
            HandshakeError::Failure(e) => not(e.to_string()),
            HandshakeError::Interrupted(_) => not("it does not finish its greeting".to_owned()),
        })?;
        let mut client = Self {
            socket,
            last_id: 0,
            unread: VecDeque::new(),
        };
        client.call(
            "initialize",
            json!({"clientInfo": {"name": "mosaic", "version": env!("CARGO_PKG_VERSION")}}),
        )?;
        client.send(&json!({"method": "initialized"}))?;
        Ok(client)
    }

    /// Asks, and waits for the answer. What comes meanwhile is kept for [`Client::event`].
    ///
    /// # Errors
    /// As [`Failure`] tells apart.
    pub fn call(&mut self, method: &str, params: Value) -> Result<Value, Failure> {
        self.last_id += 1;
        let id = self.last_id;
        self.send(&json!({"id": id, "method": method, "params": params}))?;
        let deadline = Instant::now() + ANSWER;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(mut got) = self.receive(left)? else {
                let why = format!("not within {} s", ANSWER.as_secs());
                return Err(Failure::NoAnswer(why));
            };
            if got.get("method").is_some() {
                self.unread.push_back(got);
            } else if got.get("id").and_then(Value::as_u64) == Some(id) {
                if let Some(error) = got.get("error") {
                    let message = error.get("message").and_then(Value::as_str);
                    return Err(Failure::Refused(
                        message.map_or_else(|| error.to_string(), str::to_owned),
                    ));
                }
                return Ok(got["result"].take());
            }
        }
    }

    /// The next notification or request of the app-server; `None` when none comes in time.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn event(&mut self, wait: Duration) -> Result<Option<Value>, Failure> {
        if let Some(event) = self.unread.pop_front() {
            return Ok(Some(event));
        }
        let deadline = Instant::now() + wait;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.receive(left)? {
                // An answer that nobody waits for any more.
                Some(got) if got.get("method").is_none() => {}
                got => return Ok(got),
            }
        }
    }

    /// Answers a request of the app-server.
    ///
    /// # Errors
    /// The answer may not have got through.
    pub fn answer(&mut self, id: &Value, result: &Value) -> Result<(), Failure> {
        self.send(&json!({"id": id, "result": result}))
    }

    fn send(&mut self, message: &Value) -> Result<(), Failure> {
        // A message whose last bytes are missing is none, so a failed write has done nothing; but a
        // failed flush may come after the last byte.
        self.socket
            .write(Message::text(message.to_string()))
            .map_err(|e| Failure::NotSent(e.to_string()))?;
        self.socket
            .flush()
            .map_err(|e| Failure::NoAnswer(e.to_string()))
    }

    fn receive(&mut self, wait: Duration) -> Result<Option<Value>, Failure> {
        // Zero would mean for ever.
        let wait = wait.max(Duration::from_millis(1));
        let lost = |e: String| Failure::NoAnswer(e);
        self.socket
            .get_ref()
            .set_read_timeout(Some(wait))
            .map_err(|e| lost(e.to_string()))?;
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    if let Ok(value) = serde_json::from_str(text.as_str()) {
                        return Ok(Some(value));
                    }
                }
                Ok(Message::Close(_)) => return Err(lost("it closed the connection".to_owned())),
                Ok(_) => {}
                Err(WsError::Io(e))
                    if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return Ok(None);
                }
                Err(WsError::Io(e)) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(lost(e.to_string())),
            }
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.get_ref().as_fd()
    }
}

#[cfg(test)]
pub mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;

    /// An app-server of one connection that answers by a function; several answers a request, for
    /// notifications between.
    pub fn served(
        answer: impl Fn(&Value) -> Vec<Value> + Send + 'static,
    ) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut socket = tungstenite::accept(stream).unwrap();
            while let Ok(message) = socket.read() {
                let Message::Text(text) = message else {
                    break;
                };
                let request: Value = serde_json::from_str(text.as_str()).unwrap();
                for mut reply in answer(&request) {
                    if reply.get("method").is_none() {
                        reply["id"] = request["id"].clone();
                    }
                    socket.send(Message::text(reply.to_string())).unwrap();
                }
            }
        });
        (dir, path)
    }

    #[test]
    fn answers_find_their_questions_and_notifications_are_kept() {
        let (_dir, path) = served(|request| match request["method"].as_str().unwrap() {
            "initialize" => vec![json!({"result": {}})],
            "add" => vec![
                json!({"method": "seen", "params": {"n": 1}}),
                json!({"result": {"sum": 3}}),
            ],
            "bad" => vec![json!({"error": {"code": -1, "message": "no such thing"}})],
            "close" => panic!("closes"),
            _ => vec![],
        });
        let mut client = Client::connect(&path).unwrap();
        let sum = client.call("add", json!({"a": 1, "b": 2})).unwrap();
        assert_eq!(sum["sum"], 3);
        let event = client.event(Duration::ZERO).unwrap().unwrap();
        assert_eq!(event["params"]["n"], 1);
        assert!(client.event(Duration::ZERO).unwrap().is_none());
        assert!(matches!(
            client.call("bad", Value::Null),
            Err(Failure::Refused(why)) if why == "no such thing"
        ));
        // It may have acted before it went.
        assert!(matches!(
            client.call("close", Value::Null),
            Err(Failure::NoAnswer(_))
        ));
    }

    #[test]
    fn nobody_there_is_told_from_no_answer() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(
            Client::connect(&dir.path().join("none")),
            Err(Failure::NotSent(_))
        ));
    }
}
