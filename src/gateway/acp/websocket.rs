//! The transport of WebSockets: one message a text frame, both ways. The connection is the client: when it
//! ends, everything that it had at nodes ends at once.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::sync::OwnedSemaphorePermit;
use tokio_tungstenite::WebSocketStream;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Error as WsError, Message as WsMessage};

use super::batch::{self, End, Said};
use super::client::Client;
use super::out::{Lease, Route};
use super::wire::MESSAGE;
use super::words::{CONNECTION, plain, put};
use super::{Acp, requests};

/// Between two pings. Proxies between a client and the gateway close what is silent for a minute.
const PING: Duration = Duration::from_secs(20);

/// After so long without a word, pongs included, a client is gone.
const SILENT: Duration = Duration::from_secs(75);

/// How long a client is given for the last words.
const LAST: Duration = Duration::from_secs(1);

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Whether a request wants to become a WebSocket.
pub fn is_wanted(headers: &HeaderMap) -> bool {
    let has = |name: header::HeaderName, word: &str| {
        headers.get_all(name).iter().any(|value| {
            value
                .to_str()
                .is_ok_and(|v| v.split(',').any(|w| w.trim().eq_ignore_ascii_case(word)))
        })
    };
    has(header::UPGRADE, "websocket") && has(header::CONNECTION, "upgrade")
}

/// Becomes one.
pub fn answer(acp: &Acp, mut request: Request) -> Response {
    let headers = request.headers();
    let version = headers.get(header::SEC_WEBSOCKET_VERSION);
    if version.is_none_or(|v| v.as_bytes() != b"13") {
        let why = "the gateway speaks WebSocket version 13";
        return (
            [(header::SEC_WEBSOCKET_VERSION, "13")],
            plain(StatusCode::UPGRADE_REQUIRED, why),
        )
            .into_response();
    }
    let Some(key) = headers.get(header::SEC_WEBSOCKET_KEY) else {
        return plain(StatusCode::BAD_REQUEST, "Sec-WebSocket-Key header required");
    };
    let accept = derive_accept_key(key.as_bytes());
    let Some(place) = acp.rooms.place() else {
        let why = "the gateway has too many clients of this dialect";
        return plain(StatusCode::SERVICE_UNAVAILABLE, why);
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let acp = acp.clone();
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => serve(&acp, upgraded, place).await,
            Err(e) => tracing::debug!("a client did not become a WebSocket: {e}"),
        }
    });
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let out = response.headers_mut();
    put(out, header::CONNECTION, "upgrade");
    put(out, header::UPGRADE, "websocket");
    put(out, header::SEC_WEBSOCKET_ACCEPT, &accept);
    put(out, CONNECTION, &uuid::Uuid::new_v4().to_string());
    response
}

async fn serve(acp: &Acp, upgraded: Upgraded, place: OwnedSemaphorePermit) {
    let stopped = acp.gateway.stopping.wait();
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE))
        .max_frame_size(Some(MESSAGE));
    let io = TokioIo::new(upgraded);
    let socket = Socket::from_raw_socket(io, Role::Server, Some(config)).await;
    let (sink, stream) = socket.split();
    let patience = acp.rooms.limits.stalled;
    let client = Client::new(&acp.gateway, &acp.rooms, false, patience, place);
    // Kept for the last words as well.
    let _place = client.place();
    let Some(lease) = client.out.lease(&Route::Connection) else {
        return;
    };
    let writer = tokio::spawn(write(Arc::clone(&client), lease, sink));
    let why = tokio::select! {
        why = read(&client, stream) => why,
        () = stopped => close(CloseCode::Away, "the gateway stops"),
        () = client.out.closing() => close(CloseCode::Policy, "the connection was cut"),
    };
    client.close();
    // It may be writing still, to a client that does not read.
    let ended = tokio::time::timeout(LAST * 2, writer).await;
    if let Ok(Ok(Some(mut sink))) = ended {
        let last = sink.send(WsMessage::Close(why));
        let _ = tokio::time::timeout(LAST, last).await;
    }
}

fn close(code: CloseCode, why: &'static str) -> Option<CloseFrame> {
    Some(CloseFrame {
        code,
        reason: why.into(),
    })
}

/// Reads until the client ends; what is to be said to it at the end.
async fn read(client: &Arc<Client>, mut stream: SplitStream<Socket>) -> Option<CloseFrame> {
    loop {
        let Ok(message) = tokio::time::timeout(SILENT, stream.next()).await else {
            return close(CloseCode::Policy, "nothing was heard for too long");
        };
        let text = match message {
            Some(Ok(WsMessage::Text(text))) => text,
            Some(Ok(WsMessage::Close(_))) | None => return None,
            // ACP has no other messages; the real server leaves them unread, too.
            Some(Ok(_)) => continue,
            Some(Err(WsError::Capacity(_))) => return close(CloseCode::Size, "too large"),
            Some(Err(e)) => {
                tracing::debug!("a client's WebSocket broke: {e}");
                return None;
            }
        };
        let bytes = text.len();
        // One after the other, so that their order stays.
        match requests::read(text).await {
            Said::One(Ok(message)) => {
                let room = client.room(bytes).await?;
                requests::take(client, message, room, None).await;
            }
            Said::One(Err(refusal)) => client.say(&Route::Connection, &refusal).await.ok()?,
            Said::Several(entries) => {
                let end = End::Stream(Route::Connection);
                batch::take(client, entries, end).await.ok()?;
            }
        }
    }
}

/// Writes until the client ends; the sink for the last words, unless it is broken.
async fn write(
    client: Arc<Client>,
    mut lease: Lease,
    mut sink: SplitSink<Socket, WsMessage>,
) -> Option<SplitSink<Socket, WsMessage>> {
    let closing = client.out.closing();
    tokio::pin!(closing);
    loop {
        let (message, _parcel) = tokio::select! {
            biased;
            () = &mut closing => return Some(sink),
            parcel = lease.next() => {
                let mut parcel = parcel?;
                let text = std::mem::take(&mut parcel.text);
                (WsMessage::text(text), Some(parcel))
            }
            () = tokio::time::sleep(PING) => (WsMessage::Ping(Default::default()), None),
        };
        let patience = client.rooms.limits.stalled;
        let written = tokio::select! {
            // What hangs here has no last words.
            () = &mut closing => return None,
            written = tokio::time::timeout(patience, sink.send(message)) => written,
        };
        if !matches!(written, Ok(Ok(()))) {
            client.close();
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn only_an_upgrade_is_one() {
        let headers = |upgrade: &'static str, connection: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::UPGRADE, HeaderValue::from_static(upgrade));
            headers.insert(header::CONNECTION, HeaderValue::from_static(connection));
            headers
        };
        assert!(is_wanted(&headers("WebSocket", "keep-alive, Upgrade")));
        assert!(!is_wanted(&headers("h2c", "upgrade")));
        assert!(!is_wanted(&headers("websocket", "keep-alive")));
        assert!(!is_wanted(&HeaderMap::new()));
    }
}
