//! Chats on opencode: each has a session of its own on the node. A message goes under an id that is made
//! of its own, so that it is there once however often it is handed over.

mod read;
mod session;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::Method;
use axum::response::Response;
use serde_json::{Value, json};

pub use read::Reader;
use session::Session;

use super::Api;
use super::events::{Told, server};
use super::server::{Wait, ask, escaped, left};
use super::sessions::to_the_end;
use super::wire::{Cancelled, Message, Say, Sent};
use crate::delivery::Rung;
use crate::delivery::opencode::native as native_id;
use crate::gateway::failure::Failure;
use crate::gateway::nodes::Live;
use crate::gateway::place::Made;
use crate::gateway::reply::Reply;
use crate::routing::pins::Pin;

/// Between two looks for an answer.
const LOOK: Duration = Duration::from_millis(200);

/// The same among the messages of a session that is at rest and has none.
const RARELY: Duration = Duration::from_secs(2);

/// How long a message that was taken may take to stand in its session. Measured: 20 ms.
const HELD: Duration = Duration::from_secs(2);

/// Makes a session.
///
/// # Errors
/// It made none, or may have.
pub async fn create(
    api: &Api,
    live: &Live,
    directory: &Path,
    title: Option<&str>,
) -> Result<Made<(), Reply>, Failure> {
    let body = match title {
        Some(title) => json!({"title": title}),
        None => json!({}),
    };
    let path = format!(
        "/session?directory={}",
        escaped(&directory.to_string_lossy())
    );
    let answer = ask(api, live, Method::POST, &path, Some(body), Wait::Create).await?;
    if !answer.status.is_success() {
        return Ok(Made::Refused(answer.refusal(&live.node.id, "")));
    }
    match answer.json().await["id"].as_str() {
        Some(native) => Ok(Made::Chat {
            native: native.to_owned(),
            value: (),
        }),
        None => Err(Failure::NoAnswer(
            "it made a session without a name".to_owned(),
        )),
    }
}

/// Says something in a chat, and waits for the receipt asked for.
///
/// # Errors
/// The client's answer.
pub async fn say(
    api: &Api,
    live: &Arc<Live>,
    native: &str,
    pin: &Pin,
    say: Say,
    wait: Duration,
) -> Result<Sent, Reply> {
    let begun = Instant::now();
    let mut sent = Sent::to_server(pin, &say);
    let id = sent.id.clone();
    let session = Session::of(api, live, native, pin).await?;
    let handing = {
        let session = session.clone();
        let turns = Arc::clone(api);
        async move {
            // Between the look for a message of this id and the hand-over nobody else may hand one over.
            let _turn = turns.turns.take(&session.pin.chat).await;
            once(&session, &id, &say.text).await
        }
    };
    let message = to_the_end(&api.gateway, handing).await?;
    let left = left(api, live);
    tokio::pin!(left);
    sent.receipt = Rung::Submitted;
    sent.evidence = vec!["opencode took it".to_owned()];
    let held = wait.max(HELD);
    let mut looks = Looks::new();
    while sent.receipt < sent.asked.max(Rung::Accepted) {
        if let Err(e) = look(&session, &message, &mut looks, &mut sent).await {
            // It was delivered: whoever asks for it again is told the rest.
            sent.reason = Some(e.message);
            break;
        }
        let limit = match sent.receipt {
            Rung::Submitted => held,
            _ => wait,
        };
        if begun.elapsed() >= limit {
            break;
        }
        if sent.receipt < sent.asked.max(Rung::Accepted) {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                why = &mut left => {
                    sent.reason = Some(why);
                    break;
                }
            }
        }
    }
    sent.retry = sent.receipt < sent.asked;
    if sent.retry && sent.reason.is_none() {
        sent.reason = Some("its turn has not ended yet".to_owned());
    }
    sent.elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(sent)
}

/// Looks how far a message has come.
async fn look(
    session: &Session,
    message: &str,
    looks: &mut Looks,
    sent: &mut Sent,
) -> Result<(), Reply> {
    let rested = sent.asked == Rung::Answered && session.at_rest().await?;
    if sent.receipt >= Rung::Accepted && !looks.due(rested) {
        return Ok(());
    }
    let id = message.to_owned();
    let read = move |all: &Value| {
        let all = read::list(all);
        let there = all.iter().any(|m| m["info"]["id"] == id.as_str());
        (there, read::answer(all, &id))
    };
    let (there, answer) = session.messages().await?.into(read).await;
    if there {
        sent.receipt = Rung::Accepted;
        sent.evidence = vec![format!(
            "opencode has it as {message} in {}",
            session.native
        )];
    }
    // Before and after: what ended may have been an earlier turn, or one of its steps.
    if rested
        && let Some(answer) = answer
        && session.at_rest().await?
    {
        sent.receipt = Rung::Answered;
        sent.evidence
            .push(format!("opencode ended the turn of {message}"));
        sent.answer = Some(answer);
    }
    Ok(())
}

/// When a session's messages are worth reading for an answer: they may be megabytes, and whether it is at
/// rest is a word. At rest without an answer, its turn has not begun, or broke off before it said anything:
/// the longer it is so, the more rarely they are read.
struct Looks {
    next: Instant,
    pause: Duration,
}

impl Looks {
    fn new() -> Self {
        Self {
            next: Instant::now(),
            pause: LOOK,
        }
    }

    fn due(&mut self, rested: bool) -> bool {
        let now = Instant::now();
        if !rested {
            (self.next, self.pause) = (now, LOOK);
            return false;
        }
        let due = now >= self.next;
        if due {
            self.next = now + self.pause;
            self.pause = (self.pause * 2).min(RARELY);
        }
        due
    }
}

/// Hands a message over unless that was done. Its id there.
async fn once(session: &Session, id: &str, text: &str) -> Result<String, Reply> {
    let name = id.to_owned();
    let find = move |before: &Value| {
        let message = read::list(before).iter().find(|m| is_named(m, &name))?;
        let there = message["info"]["id"].as_str().unwrap_or_default();
        Some((there.to_owned(), read::text_of(message)))
    };
    match session.messages().await?.into(find).await {
        Some((_, said)) if said != text => Err(super::messages::another(id)),
        Some((there, _)) => Ok(there),
        None => hand_over(session, id, text).await,
    }
}

/// Hands a message over. Its id there.
async fn hand_over(session: &Session, id: &str, text: &str) -> Result<String, Reply> {
    let name = native_id(id, jiff::Timestamp::now().as_millisecond());
    let body = json!({
        "messageID": format!("msg_{name}"),
        "parts": [{
            "id": format!("prt_{name}"), "type": "text", "text": text, "metadata": {"mosaic": id},
        }],
    });
    session.prompt(body).await?;
    Ok(format!("msg_{name}"))
}

/// Whether a message in a session went under this id: the end of its name there is made of it.
fn is_named(message: &Value, id: &str) -> bool {
    let name = native_id(id, 0);
    message["info"]["id"]
        .as_str()
        .is_some_and(|there| there.starts_with("msg_") && there.ends_with(&name[12..]))
}

/// What was said in a chat.
///
/// # Errors
/// The client's answer.
pub async fn conversation(
    api: &Api,
    live: &Arc<Live>,
    native: &str,
    pin: &Pin,
) -> Result<Vec<Message>, Reply> {
    let session = Session::of(api, live, native, pin).await?;
    let messages = session.messages().await?;
    let read = |all: &Value| read::conversation(read::list(all));
    Ok(messages.into(read).await)
}

/// Breaks a chat's turn off.
///
/// # Errors
/// The client's answer.
pub async fn cancel(
    api: &Api,
    live: &Arc<Live>,
    native: &str,
    pin: &Pin,
) -> Result<Cancelled, Reply> {
    let session = Session::of(api, live, native, pin).await?;
    if session.at_rest().await? {
        return Ok(Cancelled::nothing(pin));
    }
    session.abort().await?;
    Ok(Cancelled::turn(
        pin,
        "opencode was told to abort".to_owned(),
    ))
}

/// What happens in a chat, from the node's own stream.
///
/// # Errors
/// The client's answer.
pub async fn events(
    api: &Api,
    live: Arc<Live>,
    native: String,
    pin: Pin,
) -> Result<Response, Reply> {
    let session = Session::of(api, &live, &native, &pin).await?;
    // The stream first: what is said between the two comes twice, and is not missing.
    let frames = session.events().await?;
    let state = match session.at_rest().await? {
        true => "idle",
        false => "working",
    };
    let mut begin = vec![Told::state(&pin.node, state, "opencode says so")];
    let (node, name) = (pin.node.clone(), native.clone());
    let read = move |before: &Value| {
        let before = read::list(before);
        let reader = Reader::new(&node, &name, before);
        (read::conversation(before), reader)
    };
    let (said, reader) = session.messages().await?.into(read).await;
    begin.extend(said.into_iter().map(Told::Message));
    Ok(server::stream(api, &live, frames, begin, reader))
}
