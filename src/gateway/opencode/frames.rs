//! opencode's events in a stream: where one ends, and the little that the gateway reads of them. Pure; an
//! event's bytes stay as they came.

use axum::body::Bytes;
use bytes::BytesMut;
use serde_json::Value;

use super::routes::{Asked, Stream};

/// Longest event. A file's content in a message part can be some megabytes; what is longer is no event.
pub const LONGEST: usize = 32 * 1024 * 1024;

/// A probe of a name within an event is worth reading the event only if it is short.
const SHORT: usize = 300;

/// Cuts a stream into events, each with the empty line that ends it.
#[derive(Debug, Default)]
pub struct Cutter {
    left: BytesMut,
    /// Up to where there is no end.
    seen: usize,
}

impl Cutter {
    /// Takes what came.
    ///
    /// # Errors
    /// Too much of it without an end.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        self.left.extend_from_slice(bytes);
        match self.left.len() > LONGEST {
            true => Err("an event has no end"),
            false => Ok(()),
        }
    }

    /// The next whole event.
    pub fn next(&mut self) -> Option<Bytes> {
        let from = self.seen.saturating_sub(3);
        let found = self.left[from..]
            .iter()
            .enumerate()
            .filter(|(_, b)| **b == b'\n')
            .find_map(|(at, _)| {
                let rest = &self.left[from + at + 1..];
                let more = match rest {
                    [b'\n', ..] => 1,
                    [b'\r', b'\n', ..] => 2,
                    _ => return None,
                };
                Some(from + at + 1 + more)
            });
        match found {
            Some(end) => {
                self.seen = 0;
                Some(self.left.split_to(end).freeze())
            }
            None => {
                self.seen = self.left.len();
                None
            }
        }
    }

    /// Whether something stands there without an end.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }
}

/// What the gateway makes of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The node's greeting.
    Connected,
    /// The node's sign of life.
    Beat,
    /// A session was made.
    Made(String),
    /// A subagent's session was made, and whose it is.
    Child(String, String),
    /// A session is gone.
    Gone(String),
    /// A session asks for something.
    Asks(Asked, String),
    /// Something else.
    Other,
}

impl Event {
    /// Reads one.
    pub fn of(frame: &[u8]) -> Self {
        if frame.starts_with(b":") {
            return Event::Beat;
        }
        let head = &frame[..frame.len().min(SHORT)];
        let has = |text: &str| find(head, text.as_bytes());
        let worth = (frame.len() < SHORT && has("server."))
            || has("session.created")
            || has("session.deleted")
            || has(".asked");
        if !worth {
            return Event::Other;
        }
        data(frame).map_or(Event::Other, |value| Self::read(&value))
    }

    fn read(value: &Value) -> Self {
        let event = value.get("payload").unwrap_or(value);
        let of = event
            .get("properties")
            .or_else(|| event.get("data"))
            .unwrap_or(&Value::Null);
        let text = |key: &str| of[key].as_str().map(str::to_owned);
        let session = || text("sessionID").or_else(|| of["info"]["id"].as_str().map(str::to_owned));
        let asks = |kind| text("id").map_or(Event::Other, |id| Event::Asks(kind, id));
        match event["type"].as_str().unwrap_or_default() {
            "server.connected" => Event::Connected,
            "server.heartbeat" => Event::Beat,
            "session.created" => match (session(), of["info"]["parentID"].as_str()) {
                (Some(session), Some(parent)) => Event::Child(session, parent.to_owned()),
                (Some(session), None) => Event::Made(session),
                (None, _) => Event::Other,
            },
            "session.deleted" => session().map_or(Event::Other, Event::Gone),
            "permission.asked" | "permission.v2.asked" => asks(Asked::Permission),
            "question.asked" | "question.v2.asked" => asks(Asked::Question),
            _ => Event::Other,
        }
    }
}

fn find(text: &[u8], what: &[u8]) -> bool {
    text.windows(what.len()).any(|w| w == what)
}

/// The JSON of an event; its lines are joined as the specification of event streams has it.
fn data(frame: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(frame).ok()?;
    let lines: Vec<&str> = text
        .lines()
        .filter_map(|l| l.strip_prefix("data:"))
        .collect();
    serde_json::from_str(&lines.join("\n")).ok()
}

/// The greeting that a client of a stream expects first.
pub fn connected(stream: Stream) -> Bytes {
    own(stream, "server.connected")
}

/// The sign of life that it expects every ten seconds.
pub fn beat(stream: Stream) -> Bytes {
    match stream {
        Stream::Native => Bytes::from_static(b": heartbeat\n\n"),
        stream => own(stream, "server.heartbeat"),
    }
}

fn own(stream: Stream, name: &str) -> Bytes {
    let id = format!("evt_{}", uuid::Uuid::new_v4().simple());
    let text = match stream {
        Stream::Directory => format!(r#"{{"id":"{id}","type":"{name}","properties":{{}}}}"#),
        Stream::Global => {
            format!(r#"{{"payload":{{"id":"{id}","type":"{name}","properties":{{}}}}}}"#)
        }
        Stream::Native => format!(r#"{{"id":"{id}","type":"{name}","data":{{}}}}"#),
    };
    Bytes::from(format!("data: {text}\n\n"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn events_are_told_apart() {
        let made = r#"data: {"directory":"/w","project":"global","payload":{"id":"evt_2","type":"session.created","properties":{"sessionID":"ses_1","info":{"id":"ses_1"}}}}"#;
        for (frame, want) in [
            (": heartbeat", Event::Beat),
            (
                r#"data: {"payload":{"id":"evt_2","type":"server.connected","properties":{}}}"#,
                Event::Connected,
            ),
            (
                r#"data: {"id":"evt_2","type":"server.connected","data":{}}"#,
                Event::Connected,
            ),
            (
                r#"data: {"id":"evt_2","type":"server.heartbeat","properties":{}}"#,
                Event::Beat,
            ),
            (
                r#"data: {"id":"evt_2","type":"server.instance.disposed","properties":{}}"#,
                Event::Other,
            ),
            (made, Event::Made("ses_1".into())),
            (
                r#"data: {"id":"evt_2","type":"session.created","properties":{"sessionID":"ses_2","info":{"id":"ses_2","parentID":"ses_1"}}}"#,
                Event::Child("ses_2".into(), "ses_1".into()),
            ),
            (
                r#"data: {"id":"evt_2","type":"session.deleted","properties":{"info":{"id":"ses_1"}}}"#,
                Event::Gone("ses_1".into()),
            ),
            (
                r#"data: {"id":"evt_2","type":"permission.asked","properties":{"id":"per_1","sessionID":"ses_1"}}"#,
                Event::Asks(Asked::Permission, "per_1".into()),
            ),
            (
                r#"data: {"id":"evt_2","type":"question.v2.asked","location":{"directory":"/w"},"data":{"id":"que_1","sessionID":"ses_1"}}"#,
                Event::Asks(Asked::Question, "que_1".into()),
            ),
            // The same words in somebody's text.
            (
                r#"data: {"id":"evt_2","type":"message.part.delta","properties":{"delta":"\"type\":\"server.connected\" session.created"}}"#,
                Event::Other,
            ),
            (
                r#"data: {"payload":{"type":"sync","syncEvent":{"type":"session.created.1"}}}"#,
                Event::Other,
            ),
            ("data: server.connected", Event::Other),
            ("", Event::Other),
        ] {
            assert_eq!(
                Event::of(format!("{frame}\n\n").as_bytes()),
                want,
                "{frame}"
            );
        }
    }

    #[test]
    fn the_gateways_own_events_are_read_as_opencodes() {
        for stream in [Stream::Directory, Stream::Global, Stream::Native] {
            assert_eq!(Event::of(&connected(stream)), Event::Connected);
            assert_eq!(Event::of(&beat(stream)), Event::Beat);
        }
    }

    #[test]
    fn an_event_without_an_end_is_none() {
        let mut cutter = Cutter::default();
        assert!(cutter.push(&vec![b'x'; LONGEST]).is_ok());
        assert_eq!(cutter.next(), None);
        assert!(cutter.push(b"x").is_err());
    }

    proptest! {
        /// However the bytes come, the events are the same, and every byte is in one of them.
        #[test]
        fn a_stream_is_cut_alike_however_it_comes(
            texts in proptest::collection::vec("[a-zé:{}\"]{1,12}(\r?\n[a-z]{1,5})?", 1..8),
            ends in proptest::collection::vec(prop_oneof![Just("\n\n"), Just("\r\n\r\n")], 8),
            cuts in proptest::collection::vec(1..9usize, 1..20),
        ) {
            let frames: Vec<String> = texts.iter().zip(&ends).map(|(t, e)| format!("{t}{e}")).collect();
            let all = frames.concat();
            let mut cutter = Cutter::default();
            let mut got: Vec<Bytes> = Vec::new();
            let (mut rest, mut n) = (all.as_bytes(), 0);
            while !rest.is_empty() {
                let (now, later) = rest.split_at(cuts[n % cuts.len()].min(rest.len()));
                cutter.push(now).unwrap();
                while let Some(frame) = cutter.next() {
                    got.push(frame);
                }
                (rest, n) = (later, n + 1);
            }
            prop_assert!(cutter.is_empty());
            let want: Vec<&[u8]> = frames.iter().map(String::as_bytes).collect();
            prop_assert_eq!(got, want);
        }

        #[test]
        fn no_event_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Event::of(&bytes);
        }
    }
}
