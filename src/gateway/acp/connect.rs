//! A connection to a node is made: TCP, the WebSocket's handshake with the node's secret, and what the
//! client says of itself. Each step is bounded in time, and none of them executes anything.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode};
use futures_util::StreamExt as _;
use futures_util::stream::{SplitSink, SplitStream};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tungstenite::client::IntoClientRequest as _;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error as WsError, Message as WsMessage};

use super::frame::{Id, Message, Outcome, Params, Raw};
use super::wire::{MESSAGE, send};
use crate::gateway::credentials::SECRET_HEADER;
use crate::gateway::nodes::Endpoint;
use crate::gateway::upstream::{CONNECT, Unconnected, Upstream};
use crate::routing::node::Health;

/// For the WebSocket's handshake.
const HANDSHAKE: Duration = Duration::from_secs(2);

/// For `initialize`. Measured: 1 ms.
const INITIALIZE: Duration = Duration::from_secs(5);

/// A connection to a node.
pub type Socket = WebSocketStream<TcpStream>;

/// One that is ready, and the node's answer to `initialize`.
pub type Opened = (SplitSink<Socket, WsMessage>, SplitStream<Socket>, Raw);

/// Why there is none.
#[derive(Debug)]
pub enum Closed {
    /// The node is not well.
    Sick(Health),
    /// It is, and does not like what the client says of itself; its error.
    Refused(Raw),
}

impl From<Health> for Closed {
    fn from(health: Health) -> Self {
        Closed::Sick(health)
    }
}

/// Connects, and introduces the client.
///
/// # Errors
/// Nothing came of it; nothing was executed.
pub async fn connect(
    upstream: &Upstream,
    endpoint: &Endpoint,
    hello: &Params,
) -> Result<Opened, Closed> {
    let within = |wait: Duration| Health::Timeout(format!("nothing within {} s", wait.as_secs()));
    let stream = upstream.connect(endpoint.port).await;
    let stream = stream.map_err(|why| match why {
        Unconnected::Late(_) => within(CONNECT),
        Unconnected::Refused(e) => Health::Refused(words(&e)),
        Unconnected::Stranger(why) => Health::Unauthorized(why),
    })?;
    let unfit = |e: &dyn std::fmt::Display| Health::Unfit(e.to_string());
    let mut request = format!("ws://127.0.0.1:{}/acp", endpoint.port)
        .into_client_request()
        .map_err(|e| unfit(&e))?;
    let secret = HeaderValue::from_str(&endpoint.secret).map_err(|e| unfit(&e))?;
    request.headers_mut().insert(SECRET_HEADER, secret);
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE))
        .max_frame_size(Some(MESSAGE));
    let handshake = tokio_tungstenite::client_async_with_config(request, stream, Some(config));
    let socket = match tokio::time::timeout(HANDSHAKE, handshake).await {
        Err(_) => return Err(within(HANDSHAKE).into()),
        Ok(Ok((socket, _))) => socket,
        Ok(Err(WsError::Http(answer))) if answer.status() == StatusCode::UNAUTHORIZED => {
            let why = "it does not take its secret".to_owned();
            return Err(Health::Unauthorized(why).into());
        }
        Ok(Err(WsError::Io(e))) => return Err(Health::Refused(words(&e)).into()),
        Ok(Err(e)) => return Err(unfit(&e).into()),
    };
    let (mut sink, mut stream) = socket.split();
    let greeting = Message::Request {
        id: Id::Number("0".to_owned()),
        method: "initialize".to_owned(),
        params: hello.clone(),
    };
    let exchange = async {
        send(&mut sink, greeting.text())
            .await
            .map_err(|e| Closed::Sick(Health::Refused(e)))?;
        answer(&mut stream).await
    };
    let hello = tokio::time::timeout(INITIALIZE, exchange)
        .await
        .map_err(|_| within(INITIALIZE))??;
    Ok((sink, stream, hello))
}

/// The answer to `initialize`, before which nothing else of interest comes.
async fn answer(stream: &mut SplitStream<Socket>) -> Result<Raw, Closed> {
    while let Some(message) = stream.next().await {
        let text = match message {
            Ok(WsMessage::Text(text)) => text,
            Ok(_) => continue,
            Err(e) => return Err(Health::Refused(e.to_string()).into()),
        };
        let Ok(Message::Response { id, outcome }) = Message::read(&text) else {
            continue;
        };
        if id != Id::Number("0".to_owned()) {
            continue;
        }
        return match outcome {
            Outcome::Result(hello) => Ok(hello),
            Outcome::Error(error) => Err(Closed::Refused(error)),
        };
    }
    Err(Health::Refused("it closed the connection".to_owned()).into())
}

fn words(e: &std::io::Error) -> String {
    match e.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => e.to_string(),
    }
}
