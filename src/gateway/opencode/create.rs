//! A new session: placed on the best of the nodes that its directory allows; a child goes to its parent.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::ask;
use super::pass::{self, Asked};
use super::pinned;
use super::routes;
use super::scope;
use crate::gateway::place::{self, Made};
use crate::gateway::reply::Reply;
use crate::gateway::upstream::{CREATE, Failure};
use crate::routing::placement::Wish;

/// Makes a session.
///
/// # Errors
/// 503: no node takes it. 504: a node may have made it.
pub async fn session(asked: Asked) -> Result<Response, Reply> {
    let read = asked.read().await?;
    let json = read.json();
    // The first interface names a parent; in the second one clients may choose the id, and a session that is
    // there already is answered by its node.
    for field in ["parentID", "id"] {
        let Some(session) = json[field].as_str() else {
            continue;
        };
        if !routes::is_id(session) {
            return Err(Reply::bad(format!("`{field}` is no session's id")));
        }
        if field == "parentID" || known(&read, session).await {
            return pinned::child(read, session).await;
        }
    }
    let mut named = read.named.clone();
    // The second interface names the directory in the body.
    if let Some(directory) = json["location"]["directory"].as_str() {
        named.directory = Some(directory.to_owned());
    }
    let gateway = Arc::clone(&read.state.gateway);
    let nodes = scope::of(&gateway, &named)?;
    let made = place::create_among(&gateway, nodes, Wish::default(), place::as_it_is, |live| {
        let (gateway, request) = (Arc::clone(&gateway), read.request());
        async move {
            let request = request.map_err(|e| Failure::NotSent(e.message))?;
            let answer = tokio::time::timeout(CREATE, ask::whole(&gateway, &live, request))
                .await
                .map_err(|_| {
                    Failure::NoAnswer(format!("nothing within {} s", CREATE.as_secs()))
                })??;
            if !answer.head.status.is_success() {
                return Ok(Made::Refused(pass::read_back(&live, answer)));
            }
            Ok(match pinned::made(&answer) {
                Some(native) => Made::Chat {
                    native,
                    value: answer,
                },
                None => Made::Refused(
                    Reply::new(
                        StatusCode::BAD_GATEWAY,
                        format!("the node `{}` made a session without a name", live.node.id),
                    )
                    .into_response(),
                ),
            })
        }
    });
    Ok(match made.await {
        Ok(placed) => {
            read.state
                .sessions
                .placed(&placed.chat, &placed.live.node.id);
            pass::read_back(&placed.live, placed.value)
        }
        Err(answer) => answer,
    })
}

async fn known(read: &pass::Read, session: &str) -> bool {
    let name = session.to_owned();
    let pin = read.state.gateway.pins(move |pins| pins.pin(&name)).await;
    matches!(pin as crate::error::Result<_>, Ok(Some(_)))
}
