//! A chat's session on a server: making it, and finding the one that there is. A node may take long to make
//! one, and what it has made is written down whatever becomes of the client that asked.

use std::path::Path;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::IntoResponse as _;

use super::Api;
use super::pinned::{self, node_of};
use super::placing::Asked;
use crate::gateway::Gateway;
use crate::gateway::failure::Failure;
use crate::gateway::nodes::Live;
use crate::gateway::place::{self, Made};
use crate::gateway::reply::Reply;
use crate::gateway::{detached, ids};
use crate::routing::node::Dialect;
use crate::routing::pins::Pin;

/// Makes a session on a server.
///
/// # Errors
/// It made none, or may have.
pub async fn session(
    api: &Api,
    live: &Arc<Live>,
    asked: &Asked,
) -> Result<Made<(), Reply>, Failure> {
    let default;
    let directory = match &asked.directory {
        Some(directory) => Path::new(directory),
        None => match place::default_directory(&api.gateway, live, |refused| refused).await {
            Ok(path) => {
                default = path;
                &default
            }
            Err(not) => return Ok(not),
        },
    };
    let title = asked.title.as_deref();
    let made = match live.node.dialect {
        Dialect::Opencode => super::opencode::create(api, live, directory, title).await?,
        Dialect::Goosed => super::goosed::create(api, live, directory, title).await?,
        Dialect::Tui | Dialect::Acp => Made::Refused(unspoken(&live.node.id)),
    };
    match &made {
        Made::Chat { native, .. } if ids::join("x", native).is_none() => Err(Failure::NoAnswer(
            "it gave a session a name that no URL can hold".to_owned(),
        )),
        _ => Ok(made),
    }
}

/// 501: nodes that this API does not speak with.
pub fn unspoken(node: &str) -> Reply {
    Reply::new(
        StatusCode::NOT_IMPLEMENTED,
        format!("the node `{node}` speaks ACP: use the gateway's `/acp` dialect for it"),
    )
}

/// The chat's session on its server, made if it has none yet: a chat that was placed from the command line
/// has none.
///
/// # Errors
/// The client's answer.
pub async fn native_of(api: &Api, pin: &Pin) -> Result<(Arc<Live>, String), Reply> {
    let live = node_of(api, pin)?;
    if let Some(native) = &pin.native {
        return Ok((live, native.clone()));
    }
    let gateway = Arc::clone(&api.gateway);
    let (api, pin) = (Arc::clone(api), pin.clone());
    to_the_end(&gateway, async move {
        let _turn = api.turns.take(&pin.chat).await;
        // Whoever had the turn may have made it, or the chat is elsewhere by now.
        let pin = pinned::pin(&api, &pin.chat).await?;
        let native = native_in_turn(&api, &pin, &Asked::default()).await?;
        Ok((node_of(&api, &pin)?, native))
    })
    .await
}

/// The same for whoever has the chat's turn.
///
/// # Errors
/// The client's answer.
pub async fn native_in_turn(api: &Api, pin: &Pin, asked: &Asked) -> Result<String, Reply> {
    if let Some(native) = &pin.native {
        return Ok(native.clone());
    }
    let live = node_of(api, pin)?;
    place::probe(&api.gateway, &live)
        .await
        .map_err(|health| Reply::down(&pin.node, &pin.chat, health.why()))?;
    let made = session(api, &live, asked).await;
    let native = match made.map_err(|e| Reply::failed(&pin.node, &pin.chat, &e))? {
        Made::Chat { native, .. } => native,
        Made::Nothing(()) => return Err(unspoken(&pin.node)),
        Made::Refused(reply) => return Err(reply),
        Made::Unable(why) => return Err(Reply::down(&pin.node, &pin.chat, &why)),
    };
    let (chat, node, noted) = (pin.chat.clone(), pin.node.clone(), native.clone());
    let first = api
        .gateway
        .pins(move |pins| pins.set_native(&chat, &node, &noted).map_err(Reply::from))
        .await?;
    if first {
        return Ok(native);
    }
    // Somebody else was first, or the chat was moved while its session was made.
    match api.gateway.pin(&pin.chat).await? {
        Some(Pin {
            node,
            native: Some(native),
            ..
        }) if node == pin.node => Ok(native),
        _ => Err(Reply::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!(
                "the chat `{}` was moved away from `{}` meanwhile; nothing was said, ask again",
                pin.chat, pin.node
            ),
        )),
    }
}

/// Runs to the end whatever becomes of the client, and gives what came of it.
///
/// # Errors
/// Those of `run`; 500: it broke off.
pub async fn to_the_end<T: Send + 'static>(
    gateway: &Gateway,
    run: impl Future<Output = Result<T, Reply>> + Send + 'static,
) -> Result<T, Reply> {
    let (done, came) = tokio::sync::oneshot::channel();
    detached::to_the_end(gateway, async move {
        // Nobody waits any more: it is done all the same.
        let _ = done.send(run.await);
        StatusCode::NO_CONTENT.into_response()
    })
    .await;
    came.await.unwrap_or_else(|_| {
        Err(Reply::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the request broke off: look into the gateway's log".to_owned(),
        ))
    })
}
