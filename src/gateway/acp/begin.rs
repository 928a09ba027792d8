//! A connection over HTTP begins with `initialize`, alone or as the first of a batch, and ends when its client
//! says so, says nothing any more, or is cut.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::oneshot;

use super::batch::{self, End, Entry};
use super::client::Client;
use super::fault::Fault;
use super::frame::{Id, Message, Outcome, Params, code};
use super::remote::Remote;
use super::words::{CONNECTION, gone, plain, put};
use super::{Acp, everywhere};

/// Begins a connection. What else its batch holds, if it is one, is taken then, and answered beside it.
pub async fn initialize(
    acp: &Acp,
    (id, params): (Id, Params),
    rest: Option<Vec<Entry>>,
) -> Response {
    let Some(place) = acp.rooms.place() else {
        return plain(
            StatusCode::SERVICE_UNAVAILABLE,
            "the gateway has too many clients of this dialect",
        );
    };
    let patience = acp.rooms.limits.stalled;
    let client = Client::new(&acp.gateway, &acp.rooms, true, patience, place);
    // Its request may be gone before a node has answered.
    let mut unfinished = Unfinished(Some(Arc::clone(&client)));
    let introduced = match client.set_hello(params.clone()) {
        Ok(()) => everywhere::initialize(&client, &params).await,
        Err(fault) => Err(fault),
    };
    let (answer, refused) = match introduced {
        Ok(outcome) => {
            let refused = matches!(outcome, Outcome::Error(_));
            (Message::Response { id, outcome }, refused)
        }
        Err(fault) => (fault.answer(id), true),
    };
    let json = [(header::CONTENT_TYPE, "application/json")];
    let text = match rest {
        None => answer.text(),
        Some(rest) => {
            let all = beside(&client, answer, refused, rest);
            match tokio::time::timeout(acp.rooms.limits.beginning, all).await {
                Ok(Some(all)) => all,
                Ok(None) => return gone(),
                Err(_) => return unanswered(acp.rooms.limits.beginning),
            }
        }
    };
    let mut response = (json, text).into_response();
    if refused {
        return response;
    }
    unfinished.0 = None;
    let connection = uuid::Uuid::new_v4().to_string();
    let remote = Remote::new(client);
    acp.rooms.add(&connection, &remote);
    put(response.headers_mut(), CONNECTION, &connection);
    let (gateway, rooms) = (Arc::clone(&acp.gateway), Arc::clone(&acp.rooms));
    tokio::spawn(async move {
        remote.over(&gateway, rooms.limits.idle).await;
        rooms.remove(&connection);
        remote.client().close();
    });
    response
}

/// The answers to a batch that began a connection; `None`: the client has ended. Where that was refused,
/// nothing else is taken; and no prompt ever is, for what its turn asks could reach nobody: the client learns
/// its connection's name by the answer to this.
async fn beside(
    client: &Arc<Client>,
    first: Message,
    refused: bool,
    rest: Vec<Entry>,
) -> Option<String> {
    let why = "not taken: `initialize` was refused";
    let rest = rest.into_iter().filter_map(|(bytes, entry)| match entry {
        Ok(Message::Request { id, .. }) if refused => {
            let fault = Fault::new(code::INVALID_REQUEST, why);
            Some((bytes, Err(fault.answer(id))))
        }
        Ok(_) if refused => None,
        Ok(Message::Request { id, method, .. }) if method == "session/prompt" => {
            let why = "not taken: before the batch is answered that begins the connection, \
                       what a turn asks reaches nobody";
            let fault = Fault::new(code::INVALID_REQUEST, why);
            Some((bytes, Err(fault.answer(id))))
        }
        entry => Some((bytes, entry)),
    });
    // The answer that is there already takes its place like what is no message.
    let entries = [(0, Err(first))].into_iter().chain(rest).collect();
    let (to, all) = oneshot::channel();
    batch::take(client, entries, End::Caller(to)).await.ok()?;
    let stopped = client.gateway.stopping.wait();
    tokio::select! {
        all = all => all.ok(),
        () = client.out.closing() => None,
        () = stopped => None,
    }
}

/// Something in it is not answered.
fn unanswered(within: Duration) -> Response {
    let why = format!(
        "not all of the batch was answered within {} s; some of it may have been done, and the connection has ended",
        within.as_secs()
    );
    plain(StatusCode::GATEWAY_TIMEOUT, &why)
}

/// A client that has no connection yet; it ends unless it gets one.
struct Unfinished(Option<Arc<Client>>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(client) = &self.0 {
            client.close();
        }
    }
}
