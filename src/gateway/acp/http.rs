//! The transport of plain HTTP, with the status codes and words of the real server: `initialize` is answered
//! in its own response and names the connection; everything else is taken with 202, and answered on event
//! streams, one for the connection and one for each session.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::client::Client;
use super::frame::{Id, Message, Outcome, Params};
use super::out::{Lease, Parcel, Route};
use super::rooms::Rooms;
use super::{Acp, everywhere, methods, names, requests, websocket};
use crate::gateway::{Gateway, ids, lock};

/// Names the connection.
pub const CONNECTION: HeaderName = HeaderName::from_static("acp-connection-id");

/// Names the session a request or a stream is about.
pub const SESSION: HeaderName = HeaderName::from_static("acp-session-id");

/// Largest body, as of the real server.
const BODY: usize = 16 * 1024 * 1024;

/// Between two signs of life on a stream, as of the real server.
const ALIVE: Duration = Duration::from_secs(15);

/// A client over HTTP.
#[derive(Debug)]
pub struct Remote {
    client: Arc<Client>,
    streams: AtomicUsize,
    used: Mutex<Instant>,
}

impl Remote {
    fn touch(&self) {
        *lock(&self.used) = Instant::now();
    }

    fn idle(&self) -> Duration {
        match self.streams.load(Ordering::SeqCst) {
            0 => lock(&self.used).elapsed(),
            _ => Duration::ZERO,
        }
    }
}

/// Whatever is asked at `/acp`.
pub async fn answer(State(acp): State<Acp>, request: Request) -> Response {
    let mut response = match *request.method() {
        Method::POST => post(&acp, request).await,
        Method::GET if websocket::is_wanted(request.headers()) => websocket::answer(&acp, request),
        Method::GET => get(&acp, request.headers()),
        Method::DELETE => delete(&acp, request.headers()),
        _ => (
            StatusCode::METHOD_NOT_ALLOWED,
            [(header::ALLOW, "GET, POST, DELETE")],
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
    let Ok(body) = std::str::from_utf8(&body) else {
        return plain(StatusCode::BAD_REQUEST, "Invalid JSON-RPC: no UTF-8");
    };
    let message = requests::read(body);
    match message {
        Ok(Message::Request { id, method, params }) if method == "initialize" => {
            initialize(acp, id, params).await
        }
        message => {
            let Some(connection) = connection else {
                return plain(StatusCode::BAD_REQUEST, "Acp-Connection-Id header required");
            };
            let Some(remote) = acp.rooms.get(&connection) else {
                return StatusCode::NOT_FOUND.into_response();
            };
            remote.touch();
            take(&remote.client, message, session.as_deref(), body.len()).await
        }
    }
}

async fn take(
    client: &Arc<Client>,
    message: Result<Message, Message>,
    session: Option<&str>,
    bytes: usize,
) -> Response {
    let message = match message {
        Ok(message) => message,
        // As the real server has it: taken, and refused on the stream.
        Err(refusal) => {
            let _ = client.say(&Route::Connection, &refusal).await;
            return StatusCode::ACCEPTED.into_response();
        }
    };
    let message = match with_session(message, session) {
        Ok(message) => message,
        Err(why) => return plain(StatusCode::BAD_REQUEST, why),
    };
    let Some(room) = client.room(bytes).await else {
        return StatusCode::NOT_FOUND.into_response();
    };
    requests::take(client, message, room).await;
    StatusCode::ACCEPTED.into_response()
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

async fn initialize(acp: &Acp, id: Id, params: Params) -> Response {
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
    let (answer, connection) = match introduced {
        Ok(outcome) => {
            let refused = matches!(outcome, Outcome::Error(_));
            let connection = (!refused).then(|| uuid::Uuid::new_v4().to_string());
            (Message::Response { id, outcome }, connection)
        }
        Err(fault) => (fault.answer(id), None),
    };
    let mut response =
        ([(header::CONTENT_TYPE, "application/json")], answer.text()).into_response();
    let Some(connection) = connection else {
        return response;
    };
    unfinished.0 = None;
    let remote = Arc::new(Remote {
        client,
        streams: AtomicUsize::new(0),
        used: Mutex::new(Instant::now()),
    });
    acp.rooms.add(&connection, &remote);
    put(response.headers_mut(), CONNECTION, &connection);
    let (gateway, rooms) = (Arc::clone(&acp.gateway), Arc::clone(&acp.rooms));
    tokio::spawn(async move {
        until_over(&gateway, &rooms, &remote).await;
        rooms.remove(&connection);
        remote.client.close();
    });
    response
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

/// Until the client says that it ends, or says nothing any more, or is cut, or the gateway stops.
async fn until_over(gateway: &Gateway, rooms: &Rooms, remote: &Remote) {
    let idle = rooms.limits.idle;
    let silent = async {
        while remote.idle() < idle {
            tokio::time::sleep(idle / 4).await;
        }
    };
    tokio::select! {
        () = gateway.stopping.wait() => {}
        () = remote.client.out.closing() => {}
        () = silent => tracing::debug!("a silent client's connection is ended"),
    }
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
        return StatusCode::NOT_FOUND.into_response();
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
    let Some(lease) = remote.client.out.lease(&route) else {
        return plain(
            StatusCode::CONFLICT,
            "outbound stream already has a subscriber",
        );
    };
    let using = session
        .as_ref()
        .map(|name| remote.client.gateway.using(name));
    let mut response = Response::new(stream(remote, lease));
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

/// An open stream of events.
struct Stream {
    remote: Arc<Remote>,
    lease: Lease,
    /// What was sent last; its place is free once the next one is wanted.
    sent: Option<Parcel>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.remote.touch();
        self.remote.streams.fetch_sub(1, Ordering::SeqCst);
    }
}

fn stream(remote: Arc<Remote>, lease: Lease) -> Body {
    remote.streams.fetch_add(1, Ordering::SeqCst);
    let stream = Stream {
        remote,
        lease,
        sent: None,
    };
    Body::from_stream(futures_util::stream::unfold(stream, |mut stream| async {
        stream.sent = None;
        let closing = stream.remote.client.out.closing();
        let parcel = tokio::select! {
            biased;
            parcel = stream.lease.next() => parcel,
            () = closing => stream.lease.ready(),
            () = tokio::time::sleep(ALIVE) => {
                return Some((Ok::<_, Infallible>(Bytes::from_static(b":\n\n")), stream));
            }
        }?;
        let event = Bytes::from(format!("data: {}\n\n", parcel.text));
        stream.sent = Some(parcel);
        Some((Ok(event), stream))
    }))
}

fn delete(acp: &Acp, headers: &HeaderMap) -> Response {
    let Some(connection) = text(headers, &CONNECTION) else {
        return plain(StatusCode::BAD_REQUEST, "Acp-Connection-Id header required");
    };
    match acp.rooms.remove(&connection) {
        Some(remote) => {
            remote.client.close();
            StatusCode::ACCEPTED.into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn plain(status: StatusCode, why: &str) -> Response {
    (status, why.to_owned()).into_response()
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// A value that is none is left out.
pub fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
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
