//! The transport of plain HTTP, with the status codes and words of the real server, errors as
//! `{"message"}`: `initialize` is answered
//! in its own response and names the connection; everything else is taken with 202, and answered on event
//! streams, one for the connection and one for each session.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tungstenite::Utf8Bytes;

use super::batch::{self, End, Entry, Said};
use super::client::Client;
use super::frame::{Message, Params};
use super::out::{Gone, Route};
use super::words::{CONNECTION, SESSION, gone, plain, put, text, unknown};
use super::{Acp, begin, events, methods, names, requests, websocket};
use crate::gateway::ids;

/// Largest body, as of the real server.
const BODY: usize = 16 * 1024 * 1024;

/// Whatever is asked at `/acp`.
pub async fn answer(State(acp): State<Acp>, request: Request) -> Response {
    let mut response = match *request.method() {
        Method::POST => post(&acp, request).await,
        Method::GET if websocket::is_wanted(request.headers()) => websocket::answer(&acp, request),
        Method::GET => get(&acp, request.headers()),
        Method::DELETE => delete(&acp, request.headers()),
        _ => (
            [(header::ALLOW, "GET, POST, DELETE")],
            plain(
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET, POST, DELETE here",
            ),
        )
            .into_response(),
    };
    // Pages have to read them.
    let ours = "acp-connection-id,acp-session-id";
    put(
        response.headers_mut(),
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        ours,
    );
    response
}

async fn post(acp: &Acp, request: Request) -> Response {
    let headers = request.headers();
    let json = text(headers, &header::CONTENT_TYPE)
        .is_some_and(|kind| kind.starts_with("application/json"));
    if !json {
        return plain(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Content-Type must be application/json",
        );
    }
    let connection = text(headers, &CONNECTION);
    let session = text(headers, &SESSION);
    let length = text(headers, &header::CONTENT_LENGTH).and_then(|n| n.parse::<usize>().ok());
    if length.is_some_and(|length| length > BODY) {
        return plain(StatusCode::PAYLOAD_TOO_LARGE, "POST body too large");
    }
    let Ok(body) = axum::body::to_bytes(request.into_body(), BODY).await else {
        return plain(StatusCode::PAYLOAD_TOO_LARGE, "POST body too large");
    };
    let bytes = body.len();
    let Ok(body) = Utf8Bytes::try_from(body) else {
        return plain(StatusCode::BAD_REQUEST, "Invalid JSON-RPC: no UTF-8");
    };
    let (first, rest) = match requests::read(body).await {
        Said::One(Ok(Message::Request { id, method, params })) if method == "initialize" => {
            ((id, params), None)
        }
        Said::Several(mut entries) if is_greeting(&entries) => match entries.remove(0).1 {
            Ok(Message::Request { id, params, .. }) => ((id, params), Some(entries)),
            _ => return StatusCode::BAD_REQUEST.into_response(),
        },
        said => {
            let Some(connection) = connection else {
                return plain(StatusCode::BAD_REQUEST, "Acp-Connection-Id header required");
            };
            let Some(remote) = acp.rooms.get(&connection) else {
                return unknown(&connection);
            };
            remote.touch();
            return take(remote.client(), said, session.as_deref(), bytes).await;
        }
    };
    let rest = match rest.map(|entries| with_sessions(entries, session.as_deref())) {
        None => None,
        Some(Ok(entries)) => Some(entries),
        Some(Err(why)) => return plain(StatusCode::BAD_REQUEST, why),
    };
    begin::initialize(acp, first, rest).await
}

/// Whether a batch begins a connection.
fn is_greeting(entries: &[Entry]) -> bool {
    entries.first().is_some_and(
        |(_, one)| matches!(one, Ok(Message::Request { method, .. }) if method == "initialize"),
    )
}

async fn take(client: &Arc<Client>, said: Said, session: Option<&str>, bytes: usize) -> Response {
    let message = match said {
        Said::One(Ok(message)) => message,
        // As the real server has it: taken, and refused on the stream.
        Said::One(Err(refusal)) => {
            let _ = client.say(&Route::Connection, &refusal).await;
            return StatusCode::ACCEPTED.into_response();
        }
        Said::Several(entries) => {
            let entries = match with_sessions(entries, session) {
                Ok(entries) => entries,
                Err(why) => return plain(StatusCode::BAD_REQUEST, why),
            };
            let route = match session {
                Some(name) if ids::split(name).is_some() => Route::Session(name.to_owned()),
                _ => Route::Connection,
            };
            return match batch::take(client, entries, End::Stream(route)).await {
                Ok(()) => StatusCode::ACCEPTED.into_response(),
                Err(Gone) => gone(),
            };
        }
    };
    let message = match with_session(message, session) {
        Ok(message) => message,
        Err(why) => return plain(StatusCode::BAD_REQUEST, why),
    };
    let Some(room) = client.room(bytes).await else {
        return gone();
    };
    requests::take(client, message, room, None).await;
    StatusCode::ACCEPTED.into_response()
}

/// The same for all messages of a batch, before any of them is taken.
fn with_sessions(entries: Vec<Entry>, session: Option<&str>) -> Result<Vec<Entry>, &'static str> {
    let each = |(bytes, entry): Entry| {
        Ok((
            bytes,
            match entry {
                Ok(message) => Ok(with_session(message, session)?),
                Err(refusal) => Err(refusal),
            },
        ))
    };
    entries.into_iter().map(each).collect()
}

/// The session named by the header goes into the parameters; it must not contradict them, and must not be
/// missing where a method needs one.
fn with_session(message: Message, session: Option<&str>) -> Result<Message, &'static str> {
    let put = |method: &str, params: &mut Params| -> Result<(), &'static str> {
        // These are the connection's.
        if method.starts_with("$/") {
            return Ok(());
        }
        let named = names::named(params).map_err(|_| "params.sessionId must be a string")?;
        match (session, named) {
            (Some(_), None) if matches!(params, Params::Listed(_)) => {
                Err("Acp-Session-Id header requires object params")
            }
            (Some(session), None) => {
                names::set(params, session);
                Ok(())
            }
            (Some(session), Some(named)) if session != named => {
                Err("Acp-Session-Id header does not match params.sessionId")
            }
            (None, None) if methods::needs_a_session(method) => {
                Err("Acp-Session-Id header required")
            }
            _ => Ok(()),
        }
    };
    let mut message = message;
    match &mut message {
        Message::Request { method, params, .. } | Message::Notification { method, params } => {
            put(method, params)?;
        }
        Message::Response { .. } => {}
    }
    Ok(message)
}

fn get(acp: &Acp, headers: &HeaderMap) -> Response {
    let accepts = text(headers, &header::ACCEPT).is_some_and(|a| a.contains("text/event-stream"));
    if !accepts {
        return plain(
            StatusCode::NOT_ACCEPTABLE,
            "client must accept text/event-stream",
        );
    }
    let Some(connection) = text(headers, &CONNECTION) else {
        return plain(StatusCode::BAD_REQUEST, "Acp-Connection-Id header required");
    };
    let Some(remote) = acp.rooms.get(&connection) else {
        return unknown(&connection);
    };
    let session = text(headers, &SESSION);
    let route = match &session {
        None => Route::Connection,
        Some(name) if ids::split(name).is_some() => Route::Session(name.clone()),
        Some(name) => {
            let why = format!("no session `{name}`: its name does not begin with a node");
            return plain(StatusCode::BAD_REQUEST, &why);
        }
    };
    let Some(lease) = remote.client().out.lease(&route) else {
        return plain(
            StatusCode::CONFLICT,
            "outbound stream already has a subscriber",
        );
    };
    let using = session
        .as_ref()
        .map(|name| remote.client().gateway.using(name));
    let mut response = Response::new(events::stream(&remote, lease));
    let out = response.headers_mut();
    put(out, header::CONTENT_TYPE, "text/event-stream");
    put(out, header::CACHE_CONTROL, "no-cache");
    put(out, CONNECTION, &connection);
    if let Some(session) = session {
        put(out, SESSION, &session);
    }
    match using {
        Some(using) => using.until_the_end_of(response),
        None => response,
    }
}

fn delete(acp: &Acp, headers: &HeaderMap) -> Response {
    let Some(connection) = text(headers, &CONNECTION) else {
        return plain(StatusCode::BAD_REQUEST, "Acp-Connection-Id header required");
    };
    match acp.rooms.remove(&connection) {
        Some(remote) => {
            remote.client().close();
            StatusCode::ACCEPTED.into_response()
        }
        None => unknown(&connection),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_session_header_is_the_parameter() {
        let with = |text: &str, session: Option<&str>| {
            with_session(Message::read(text).unwrap(), session).map(|m| m.text())
        };
        assert_eq!(
            with(
                r#"{"id":1,"method":"session/prompt","params":{"x":1}}"#,
                Some("a.1")
            )
            .unwrap(),
            r#"{"jsonrpc":"2.0","id":1,"method":"session/prompt","params":{"sessionId":"a.1","x":1}}"#
        );
        assert_eq!(
            with(r#"{"method":"session/cancel"}"#, Some("a.1")).unwrap(),
            r#"{"jsonrpc":"2.0","method":"session/cancel","params":{"sessionId":"a.1"}}"#
        );
        for (text, session) in [
            (
                r#"{"id":1,"method":"session/prompt","params":{"sessionId":"a.1"}}"#,
                None,
            ),
            (
                r#"{"id":1,"method":"session/prompt","params":{"sessionId":"a.1"}}"#,
                Some("a.1"),
            ),
            (r#"{"id":1,"method":"session/new","params":{}}"#, None),
            (r#"{"id":1,"result":{}}"#, Some("a.1")),
            (
                r#"{"method":"$/cancel_request","params":{"requestId":1}}"#,
                Some("a.1"),
            ),
        ] {
            let same = Message::read(text).unwrap().text();
            assert_eq!(with(text, session).unwrap(), same);
        }
        for (text, session, why) in [
            (
                r#"{"id":1,"method":"session/prompt","params":{}}"#,
                None,
                "required",
            ),
            (
                r#"{"id":1,"method":"m","params":{"sessionId":"b.1"}}"#,
                Some("a.1"),
                "match",
            ),
            (
                r#"{"id":1,"method":"m","params":{"sessionId":3}}"#,
                Some("a.1"),
                "a string",
            ),
            (
                r#"{"id":1,"method":"m","params":[]}"#,
                Some("a.1"),
                "object params",
            ),
        ] {
            assert!(with(text, session).unwrap_err().contains(why), "{text}");
        }
    }
}
