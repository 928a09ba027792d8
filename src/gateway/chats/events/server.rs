//! A server's stream of events, put into the words of the node API for one client.

use std::sync::Arc;

use axum::response::Response;
use serde_json::Value;

use super::Told;
use super::sse::{self, Client, Frames};
use crate::gateway::chats::Api;
use crate::gateway::nodes::Live;

/// Understands what a server's stream tells.
pub trait Reads: Send + 'static {
    /// What an event means for the chat: nothing, where it is about others, or is not known.
    fn take(&mut self, event: &Value) -> Vec<Told>;
}

/// Tells how things stand, and then whatever happens, until the client goes or is too slow, the node hangs,
/// or the gateway stops. A node that numbers its events has its numbers passed on.
pub fn stream(
    api: &Api,
    live: &Arc<Live>,
    frames: Frames,
    begin: Vec<Told>,
    reader: impl Reads,
) -> Response {
    let (client, response) = sse::stream();
    let (stopped, hangs) = (api.gateway.stopping.wait(), live.streams.wait());
    tokio::spawn(async move {
        tokio::select! {
            () = stopped => {}
            () = hangs => {}
            () = client.gone() => {}
            () = pass_on(frames, begin, reader, &client) => {}
        }
    });
    response
}

async fn pass_on(mut frames: Frames, begin: Vec<Told>, mut reader: impl Reads, client: &Client) {
    for told in begin {
        if !told.to(client, None).await {
            return;
        }
    }
    while let Some(frame) = frames.next().await {
        let event = serde_json::from_str(&frame.data).unwrap_or_default();
        for told in reader.take(&event) {
            if !told.to(client, frame.id.as_deref()).await {
                return;
            }
        }
    }
}
