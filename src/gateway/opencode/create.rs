//! A new session: placed on the best of the nodes that its directory allows; a child goes to its parent.

use std::path::Path;
use std::sync::Arc;

use axum::response::Response;

use super::ask::{self, Answer};
use super::chosen;
use super::pass::{self, Asked, Read};
use super::pinned;
use super::routes;
use super::scope;
use crate::gateway::directory;
use crate::gateway::failure::Failure;
use crate::gateway::nodes::Live;
use crate::gateway::place::{self, Made, Name, Wanted};
use crate::gateway::reply::Reply;
use crate::gateway::upstream::CREATE;

/// Makes a session.
///
/// # Errors
/// 400: the directory that is named cannot be used. 503: no node takes it. 504: a node may have made it.
pub async fn session(asked: Asked) -> Result<Response, Reply> {
    let mut read = asked.read().await?;
    let json = read.json();
    // The first interface names a parent; in the second one clients may choose the id.
    if let Some(parent) = id(&json, "parentID")? {
        return pinned::child(read, parent).await;
    }
    // The second interface names the directory in the body.
    if let Some(directory) = json["location"]["directory"].as_str() {
        read.named.directory = Some(directory.to_owned());
    }
    let mut wanted = Wanted::default();
    if let Some(directory) = &read.named.directory {
        wanted.room = directory::usable(Path::new(directory)).await?;
    }
    match id(&json, "id")? {
        Some(session) => chosen::session(read, session, wanted).await,
        None => placed(read, wanted).await,
    }
}

/// A session that its node names.
async fn placed(read: Read, wanted: Wanted) -> Result<Response, Reply> {
    let gateway = Arc::clone(&read.state.gateway);
    let nodes = scope::of(&gateway, &read.named)?;
    let made = place::create_among(
        &gateway,
        nodes,
        wanted,
        Name::Made(place::as_it_is),
        |live| {
            let (read, gateway) = (&read, &gateway);
            async move {
                let answer = make(read, &live).await?;
                if !answer.head.status.is_success() {
                    return Ok(Made::Refused(pass::read_back(gateway, &live, answer).await));
                }
                // There is one now, whatever it is called: its place stays taken.
                let native = pinned::made(&answer).await.ok_or_else(nameless)?;
                Ok(Made::Chat {
                    native,
                    value: answer,
                })
            }
        },
    );
    Ok(match made.await {
        Ok(placed) => pass::read_back(&gateway, &placed.live, placed.value).await,
        Err(answer) => answer,
    })
}

/// Asks a node to make it, once.
///
/// # Errors
/// It did not take that, or may have.
pub async fn make(read: &Read, live: &Arc<Live>) -> Result<Answer, Failure> {
    let request = read.request().map_err(|e| Failure::NotSent(e.message))?;
    tokio::time::timeout(CREATE, ask::whole(&read.state.gateway, live, request))
        .await
        .unwrap_or_else(|_| {
            let why = format!("nothing within {} s", CREATE.as_secs());
            Err(Failure::NoAnswer(why))
        })
}

/// What it means that a node has made a session and does not say its name.
pub fn nameless() -> Failure {
    Failure::NoAnswer("it made a session without a name".to_owned())
}

fn id<'a>(json: &'a serde_json::Value, field: &str) -> Result<Option<&'a str>, Reply> {
    match json[field].as_str() {
        Some(session) if !routes::is_id(session) => {
            Err(Reply::bad(format!("`{field}` is no session's id")))
        }
        session => Ok(session),
    }
}
