//! What belongs to a session: it goes to the session's node and nowhere else, also when that is down.

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use axum::response::Response;
use futures_util::future::join_all;

use super::ask::{self, Answer};
use super::merge;
use super::pass::{self, Asked};
use super::remembered::Remembered;
use super::routes;
use super::scope;
use super::{State, named::Named};
use crate::gateway::nodes::Live;
use crate::gateway::reply::Reply;
use crate::gateway::using::Using;

/// The session in the path.
///
/// # Errors
/// 503, 504 or 404, as of [`super::sessions::Sessions::node_of`] and [`ask::ask`].
pub async fn to(asked: Asked, session: &str) -> Result<Response, Reply> {
    let state = Arc::clone(&asked.state);
    let live = node_of(&state, session, asked.request.method()).await?;
    let using = in_use(&state, session);
    let answer = sent(&state, &live, session, asked).await?;
    Ok(using.until_the_end_of(pass::back(&state.gateway, &live, answer)))
}

/// The same, whose answer is another session of that node.
///
/// # Errors
/// As of [`to`].
pub async fn fork(asked: Asked, session: &str) -> Result<Response, Reply> {
    let read = asked.read().await?;
    let (state, live) = (
        &read.state,
        node_of(&read.state, session, &read.head.method).await?,
    );
    let answer = whole(&read, &live, session).await?;
    if answer.head.status.is_success()
        && let Some(new) = made(&answer).await
    {
        state.sessions.own(&state.gateway, &new, &live).await;
    }
    Ok(pass::read_back(&state.gateway, &live, answer).await)
}

/// The same, after which the session is gone: its pin goes with it, also where it was gone before.
///
/// # Errors
/// As of [`to`].
pub async fn delete(asked: Asked, session: &str) -> Result<Response, Reply> {
    let read = asked.read().await?;
    let (state, live) = (
        &read.state,
        node_of(&read.state, session, &read.head.method).await?,
    );
    let answer = whole(&read, &live, session).await?;
    let status = answer.head.status;
    if status.is_success() || status == StatusCode::NOT_FOUND {
        state.sessions.gone(&state.gateway, session).await;
    }
    Ok(pass::read_back(&state.gateway, &live, answer).await)
}

async fn whole(read: &pass::Read, live: &Arc<Live>, session: &str) -> Result<Answer, Reply> {
    ask::whole(&read.state.gateway, live, read.request()?)
        .await
        .map_err(|e| Reply::failed(&live.node.id, session, &e))
}

/// The session that a field of the body names.
///
/// # Errors
/// As of [`to`]; 400: there is no such field.
pub async fn by_body(asked: Asked, field: &str) -> Result<Response, Reply> {
    let read = asked.read().await?;
    let json = read.json();
    let session = json[field].as_str().unwrap_or_default();
    if !routes::is_id(session) {
        return Err(Reply::bad(format!(
            "the body names no session as `{field}`"
        )));
    }
    let live = node_of(&read.state, session, &read.head.method).await?;
    let using = in_use(&read.state, session);
    let answer = ask::ask(&read.state.gateway, &live, read.request()?)
        .await
        .map_err(|e| Reply::failed(&live.node.id, session, &e))?;
    Ok(using.until_the_end_of(pass::back(&read.state.gateway, &live, answer)))
}

/// What a session has asked for, by the request's id: the node that asked.
///
/// # Errors
/// 503 or 504; 404: nobody has asked it.
pub async fn by_request(asked: Asked, kind: routes::Asked, id: &str) -> Result<Response, Reply> {
    let state = Arc::clone(&asked.state);
    let live = listed(&state, &asked.named, &state.asked, kind.list(), id).await?;
    send(&state, &live, asked).await
}

/// A session's node, which is there.
///
/// # Errors
/// It is not known, or not there.
async fn node_of(state: &Arc<State>, session: &str, method: &Method) -> Result<Arc<Live>, Reply> {
    let live = state.sessions.node_of(&state.gateway, session).await?;
    ask::there(&state.gateway, &live, session, method).await?;
    state.gateway.used(&state.sessions.root(session));
    Ok(live)
}

/// Who works with a subagent uses the chat that it is of.
fn in_use(state: &State, session: &str) -> Using {
    state.gateway.using(&state.sessions.root(session))
}

/// A session that is made where another one is, or where it is itself already.
///
/// # Errors
/// As of [`to`].
pub async fn child(read: pass::Read, of: &str) -> Result<Response, Reply> {
    let (state, live) = (
        &read.state,
        node_of(&read.state, of, &read.head.method).await?,
    );
    let answer = whole(&read, &live, of).await?;
    if answer.head.status.is_success()
        && let Some(new) = made(&answer).await
    {
        let json = answer.json().await;
        let parent = json["parentID"].as_str();
        match parent.or_else(|| json["data"]["parentID"].as_str()) {
            Some(parent) => state.sessions.child(&new, parent),
            None => state.sessions.own(&state.gateway, &new, &live).await,
        }
    }
    Ok(pass::read_back(&state.gateway, &live, answer).await)
}

/// The id of the session that an answer is.
pub async fn made(answer: &Answer) -> Option<String> {
    let json = answer.json().await;
    let id = json["id"]
        .as_str()
        .or_else(|| json["data"]["id"].as_str())?;
    routes::is_id(id).then(|| id.to_owned())
}

/// Passes a request on to a node.
///
/// # Errors
/// As of [`ask::ask`].
pub async fn send(state: &Arc<State>, live: &Arc<Live>, asked: Asked) -> Result<Response, Reply> {
    ask::there(&state.gateway, live, "", asked.request.method()).await?;
    let answer = sent(state, live, "", asked).await?;
    Ok(pass::back(&state.gateway, live, answer))
}

async fn sent(
    state: &Arc<State>,
    live: &Arc<Live>,
    session: &str,
    asked: Asked,
) -> Result<axum::http::Response<crate::gateway::upstream::NodeBody>, Reply> {
    let method = asked.request.method().clone();
    match ask::ask(&state.gateway, live, asked.passed()?).await {
        Ok(answer) => Ok(answer),
        Err(e) => Err(ask::failed(&state.gateway, live, session, &method, &e).await),
    }
}

/// The node that has something in a list of its own; what is not remembered is asked of all nodes.
///
/// # Errors
/// 404: nobody has it. 503: nobody has it who answers.
pub async fn listed(
    state: &Arc<State>,
    named: &Named,
    remembered: &Remembered,
    list: &str,
    id: &str,
) -> Result<Arc<Live>, Reply> {
    if let Some(node) = remembered.node(id)
        && let Some(live) = state.gateway.nodes.get(&node)
    {
        return Ok(live);
    }
    let nodes = scope::of(&state.gateway, named)?;
    let path = named.whole(list);
    let answers = nodes.iter().map(|live| async {
        let request = ask::get(&path)?;
        ask::whole(&state.gateway, live, request).await
    });
    let mut silent = Vec::new();
    let mut found = None;
    for (live, answer) in nodes.iter().zip(join_all(answers).await) {
        match answer {
            Ok(answer) => {
                for open in merge::ids(&answer.json().await) {
                    remembered.note(open, &live.node.id);
                    if open == id {
                        found = Some(Arc::clone(live));
                    }
                }
            }
            Err(e) => silent.push(format!("`{}` ({e})", live.node.id)),
        }
    }
    found.ok_or_else(|| match silent.is_empty() {
        true => Reply::missing(format!("no node has `{id}` in its `{list}`")),
        false => Reply::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!(
                "no node that answers has `{id}` in its `{list}`; {} may have it",
                silent.join(", ")
            ),
        ),
    })
}
