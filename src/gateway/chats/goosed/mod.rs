//! Chats on goosed: each has a session of its own on the node, begun and resumed, since a reply finds no
//! provider before that.

mod handing;
mod memory;
mod read;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::Method;
use axum::response::Response;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Api;
use super::events::sse::Frames;
use super::events::{Told, server};
use super::server::{Answer, Kept, ask_for, escaped, left, open};
use super::sessions::to_the_end;
use super::wire::{Cancelled, Message, Say, Sent, Until};
use crate::delivery::Rung;
use crate::gateway::failure::Failure;
use crate::gateway::goosed::{self, Woken};
use crate::gateway::nodes::Live;
use crate::gateway::place::Made;
use crate::gateway::reply::Reply;
use crate::routing::pins::Pin;
use handing::Handing;
pub use memory::Said;
use read::End;
pub use read::Reader;

/// How long the stream may take to say which requests are under way: it does so at once, and a comment
/// comes twice a second.
const FIRST: Duration = Duration::from_secs(2);

/// Makes a session: begins it and names it. It is there from then on, whatever [`resume`] comes to.
///
/// # Errors
/// It made none, or may have.
pub async fn create(
    api: &Api,
    live: &Arc<Live>,
    directory: &Path,
    title: Option<&str>,
) -> Result<Made<(), Reply>, Failure> {
    let node = live.node.id.as_str();
    let made = tokio::select! {
        biased;
        made = goosed::session(&api.gateway, live, directory) => made?,
        () = live.streams.wait() => {
            return Err(Failure::NoAnswer("it hangs, or is gone".to_owned()));
        }
    };
    let native = match made {
        Made::Chat { native, .. } => native,
        Made::Nothing(()) => return Ok(Made::Nothing(())),
        Made::Unable(why) => return Ok(Made::Unable(why)),
        Made::Refused(said) => {
            return Ok(Made::Refused(Answer::of(said).await.refusal(node, "")));
        }
    };
    if let Some(title) = title {
        let path = format!("/sessions/{}/name", escaped(&native));
        let body = Some(json!({"name": title}));
        if let Err(e) = ask_for(api, live, "", Method::PUT, &path, body).await {
            tracing::warn!(node, "a session has no title: {}", e.message);
        }
    }
    Ok(Made::Chat { native, value: () })
}

/// Loads a session's model and extensions, unless that was done since its node was started. For whoever has
/// the chat's turn.
///
/// # Errors
/// The client's answer; it is tried again with the next message.
pub async fn resume(api: &Api, live: &Arc<Live>, native: &str, chat: &str) -> Result<(), Reply> {
    let (gateway, awake) = (&api.gateway, &api.gateway.goosed.awake);
    let process = goosed::process::name(live).await;
    match awake
        .wake(gateway, live, process.as_deref(), native, chat)
        .await?
    {
        Woken::Has => Ok(()),
        Woken::Refused(status, said) => {
            Err(Answer::short(status, said).refusal(&live.node.id, chat))
        }
    }
}

/// The request of a message: the same message has the same one.
fn request_of(chat: &str, id: &str) -> String {
    let digest = Sha256::digest(format!("{chat}\n{id}").as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_random_bytes(bytes)
        .into_uuid()
        .to_string()
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
    let (id, asked) = (sent.id.clone(), say.asked());
    let request = request_of(&pin.chat, &id);
    sent.receipt = Rung::Accepted;
    sent.evidence = vec![format!("goosed took it as request {request}")];
    let left = left(api, live);
    // The stream first, or the end of a quick turn is missed.
    let mut frames = match asked {
        Until::Answered => Some(stream(api, live, native, pin, None).await?),
        _ => None,
    };
    // To its end: of a message that goosed has, its chat must know.
    let handing = Handing {
        api: Arc::clone(api),
        live: Arc::clone(live),
        native: native.to_owned(),
        pin: pin.clone(),
        request: request.clone(),
        id: id.clone(),
        text: say.text,
    };
    let again = to_the_end(&api.gateway, handing.once()).await?;
    if let Some(frames) = &mut frames {
        let end = tokio::select! {
            end = ended(frames, &request, again) => Ok(end),
            why = left => Err(why),
            () = tokio::time::sleep(wait.saturating_sub(begun.elapsed())) => {
                Err("its turn has not ended yet".to_owned())
            }
        };
        match end {
            Ok(End::Finished) => match session(api, live, native, pin).await {
                Ok(all) => {
                    sent.receipt = Rung::Answered;
                    sent.evidence.push("goosed ended its turn".to_owned());
                    let answer = all.into(move |all| read::answer(all, &id)).await;
                    sent.answer = Some(answer.unwrap_or_default());
                }
                // It was delivered: whoever asks for it again is told the rest.
                Err(e) => {
                    sent.retry = true;
                    sent.reason = Some(e.message);
                }
            },
            Ok(End::Failed(why)) => sent.reason = Some(why),
            Err(why) => {
                sent.retry = true;
                sent.reason = Some(why);
            }
        }
    }
    sent.elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(sent)
}

/// Waits for the end of a request. One that was made earlier may have ended before the stream began, which
/// the stream's first words tell.
async fn ended(frames: &mut Frames, request: &str, again: bool) -> End {
    while let Some(frame) = frames.next().await {
        let event: Value = serde_json::from_str(&frame.data).unwrap_or_default();
        if again && read::active(&event).is_some_and(|all| !all.iter().any(|r| r == request)) {
            return End::Finished;
        }
        if let Some(end) = read::end_of(&event, request) {
            return end;
        }
    }
    End::Failed("the node's stream ended before its turn did".to_owned())
}

async fn session(api: &Api, live: &Live, native: &str, pin: &Pin) -> Result<Kept, Reply> {
    let path = format!("/sessions/{}", escaped(native));
    ask_for(api, live, &pin.chat, Method::GET, &path, None).await
}

async fn stream(
    api: &Api,
    live: &Live,
    native: &str,
    pin: &Pin,
    last: Option<&str>,
) -> Result<Frames, Reply> {
    let path = format!("/sessions/{}/events", escaped(native));
    open(api, live, &path, last, &pin.chat).await
}

/// What was said in a chat.
///
/// # Errors
/// The client's answer.
pub async fn conversation(
    api: &Api,
    live: &Live,
    native: &str,
    pin: &Pin,
) -> Result<Vec<Message>, Reply> {
    let session = session(api, live, native, pin).await?;
    Ok(session.into(read::conversation).await)
}

/// Breaks a chat's turn off: every request that its session has under way.
///
/// # Errors
/// The client's answer.
pub async fn cancel(api: &Api, live: &Live, native: &str, pin: &Pin) -> Result<Cancelled, Reply> {
    let mut frames = stream(api, live, native, pin, None).await?;
    let first = async {
        while let Some(frame) = frames.next().await {
            let event: Value = serde_json::from_str(&frame.data).unwrap_or_default();
            if let Some(active) = read::active(&event) {
                return active;
            }
        }
        Vec::new()
    };
    let active = tokio::time::timeout(FIRST, first).await.unwrap_or_default();
    for request in &active {
        let path = format!("/sessions/{}/cancel", escaped(native));
        let body = Some(json!({"request_id": request}));
        ask_for(api, live, &pin.chat, Method::POST, &path, body).await?;
    }
    Ok(match active.len() {
        0 => Cancelled::nothing(pin),
        n => Cancelled::turn(pin, format!("goosed was told to cancel {n} requests")),
    })
}

/// What happens in a chat, from the node's own stream, whose numbers are passed on.
///
/// # Errors
/// The client's answer.
pub async fn events(
    api: &Api,
    live: Arc<Live>,
    native: String,
    pin: Pin,
    last: Option<String>,
) -> Result<Response, Reply> {
    let frames = stream(api, &live, &native, &pin, last.as_deref()).await?;
    let begin = match last {
        Some(_) => Vec::new(),
        None => conversation(api, &live, &native, &pin)
            .await?
            .into_iter()
            .map(Told::Message)
            .collect(),
    };
    let reader = Reader::new(&pin.node);
    Ok(server::stream(api, &live, frames, begin, reader))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_one_request_in_its_chat() {
        assert_eq!(request_of("c", "1"), request_of("c", "1"));
        assert_ne!(request_of("c", "1"), request_of("d", "1"));
        assert!(uuid::Uuid::parse_str(&request_of("c", "1")).is_ok());
    }
}
