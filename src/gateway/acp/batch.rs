//! Several messages in one (a batch of JSON-RPC 2.0): each is taken as if it had come alone, and the answers
//! go back as one list, in the order of the requests, when the last of them is there. Measured with goose
//! 1.52: so does `goose serve`. What is no message in a batch is answered there; one without requests is
//! answered by nothing, an empty one by a single error.

use std::fmt;
use std::sync::{Arc, Mutex};

use serde::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::client::Client;
use super::fault::Fault;
use super::frame::{Id, Message, code};
use super::gathered::{self, Gathered};
use super::out::{Gone, Route};
use super::requests;
use crate::gateway::aside::aside;
use crate::gateway::lock;

/// Most messages of a batch: as many as may wait for one node.
const MOST: usize = 256;

/// One message as it came: how long it was, and what it is; or the answer to what is none.
pub type Entry = (usize, Result<Message, Message>);

/// What a text holds.
#[derive(Debug)]
pub enum Said {
    /// One message, or the answer to what is none.
    One(Result<Message, Message>),
    /// Several.
    Several(Vec<Entry>),
}

/// Reads a text; `one` reads a single message.
pub fn read(text: &str, one: fn(&str) -> Result<Message, Message>) -> Said {
    if !text.trim_start().starts_with('[') {
        return Said::One(one(text));
    }
    let refused = |why: String| Fault::new(code::INVALID_REQUEST, why).answer(Id::Null);
    match serde_json::from_str::<Entries<'_>>(text) {
        Ok(Entries(entries)) if entries.is_empty() => {
            Said::One(Err(refused("a batch holds a message at least".to_owned())))
        }
        Ok(Entries(entries)) => Said::Several(
            entries
                .into_iter()
                .map(|raw| (raw.get().len(), one(raw.get())))
                .collect(),
        ),
        Err(e) if e.is_data() => Said::One(Err(refused(e.to_string()))),
        Err(e) => Said::One(Err(
            Fault::new(code::PARSE, format!("no JSON: {e}")).answer(Id::Null)
        )),
    }
}

/// The same, wherever it holds up nobody but who waits for it: it is gone through several times.
pub async fn read_aside<T>(text: T, one: fn(&str) -> Result<Message, Message>) -> Said
where
    T: AsRef<str> + Send + 'static,
{
    let length = text.as_ref().len();
    aside(length, move || read(text.as_ref(), one)).await
}

/// The items of a list that is not too long: millions of them fit into one text.
struct Entries<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Few;
        impl<'de> Visitor<'de> for Few {
            type Value = Vec<&'de RawValue>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut found = Vec::new();
                while let Some(item) = list.next_element()? {
                    if found.len() == MOST {
                        let why = format!("a batch has at most {MOST} messages");
                        return Err(A::Error::custom(why));
                    }
                    found.push(item);
                }
                Ok(found)
            }
        }
        from.deserialize_seq(Few).map(Entries)
    }
}

/// Where the answer to a request goes.
#[derive(Debug, Clone)]
pub enum To {
    /// By itself.
    Stream(Route),
    /// Among others.
    Batch(Slot),
}

impl To {
    /// Gives the client its answer.
    ///
    /// # Errors
    /// The client is gone.
    pub async fn answer(&self, client: &Client, answer: &Message) -> Result<(), Gone> {
        match self {
            To::Stream(route) => client.say(route, answer).await,
            To::Batch(slot) => slot.answer(client, answer).await,
        }
    }
}

/// The place of one answer.
#[derive(Debug, Clone)]
pub struct Slot {
    batch: Arc<Batch>,
    at: usize,
}

impl Slot {
    /// Puts the answer there; with the last one all go.
    ///
    /// # Errors
    /// The client is gone.
    pub async fn answer(&self, client: &Client, answer: &Message) -> Result<(), Gone> {
        let Some(all) = lock(&self.batch.gathered).put(self.at, answer) else {
            return Ok(());
        };
        let end = lock(&self.batch.end).take();
        match end {
            // They take up their place until they have one there.
            Some(End::Stream(route)) => client.out.send(&route, all.text).await,
            Some(End::Caller(to)) => to.send(all.text).map_err(|_| Gone),
            None => Ok(()),
        }
    }
}

/// Where the answers to a batch go.
#[derive(Debug)]
pub enum End {
    /// To the client.
    Stream(Route),
    /// To whoever waits for them.
    Caller(oneshot::Sender<String>),
}

/// One under way.
#[derive(Debug)]
struct Batch {
    end: Mutex<Option<End>>,
    gathered: Mutex<Gathered>,
}

/// Takes a batch. What comes before it in the connection is taken before it.
///
/// # Errors
/// The client has ended meanwhile.
pub async fn take(client: &Arc<Client>, entries: Vec<Entry>, end: End) -> Result<(), Gone> {
    let wants = |entry: &Entry| matches!(entry.1, Ok(Message::Request { .. }) | Err(_));
    let batch = Arc::new(Batch {
        end: Mutex::new(Some(end)),
        gathered: Mutex::new(Gathered::new(
            entries.iter().filter(|e| wants(e)).count(),
            &client.kept,
        )),
    });
    let full = client.kept.is_full();
    let mut at = 0;
    for entry in entries {
        let slot = wants(&entry).then(|| Slot {
            batch: Arc::clone(&batch),
            at,
        });
        at += usize::from(slot.is_some());
        match (entry.1, slot) {
            (Ok(Message::Request { id, .. }), Some(slot)) if full => {
                slot.answer(client, &gathered::refusal(id)).await?;
            }
            (Ok(message), slot) => {
                let room = client.room(entry.0).await.ok_or(Gone)?;
                requests::take(client, message, room, slot.map(To::Batch)).await;
            }
            (Err(refusal), Some(slot)) => slot.answer(client, &refusal).await?,
            (Err(_), None) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::gateway::aside::LARGE;

    fn refusal(said: Said) -> String {
        match said {
            Said::One(Err(refusal)) => refusal.text(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_batch_is_read_message_by_message() {
        let text = r#" [{"id":1,"method":"m"},3,{"method":"n"},[{"id":2,"method":"m"}]]"#;
        let Said::Several(entries) = read(text, requests::one) else {
            panic!("no batch");
        };
        let kinds: Vec<&str> = entries
            .iter()
            .map(|(_, entry)| match entry {
                Ok(Message::Request { .. }) => "request",
                Ok(Message::Notification { .. }) => "notification",
                Ok(Message::Response { .. }) => "response",
                Err(_) => "none",
            })
            .collect();
        assert_eq!(kinds, ["request", "none", "notification", "none"]);
        assert_eq!(entries[1].0, 1);
        assert!(refusal(read("[]", requests::one)).contains("-32600"));
        assert!(refusal(read("[1,", requests::one)).contains("-32700"));
        assert!(refusal(read("[1] 2", requests::one)).contains("-32700"));
        assert!(matches!(read("{}", requests::one), Said::One(Err(_))));
    }

    #[test]
    fn a_batch_is_bounded_before_it_is_read() {
        let many = |n: usize| format!("[{}]", vec!["0"; n].join(","));
        assert!(matches!(read(&many(MOST), requests::one), Said::Several(_)));
        let long = refusal(read(&many(MOST + 1), requests::one));
        assert!(long.contains("at most 256"), "{long}");
    }

    thread_local! {
        static SERVES: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    }

    #[tokio::test]
    async fn a_large_text_is_not_read_where_connections_are_served() {
        // A test's tasks have one thread.
        SERVES.set(true);
        let one = |_: &str| {
            let here = Fault::params(if SERVES.get() { "here" } else { "aside" });
            Err(here.answer(Id::Null))
        };
        let text = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
        for (bytes, want) in [(LARGE, "here"), (LARGE + 1, "aside")] {
            let said = refusal(read_aside(text(bytes), one).await);
            assert!(said.contains(want), "{bytes}: {said}");
        }
    }
}
