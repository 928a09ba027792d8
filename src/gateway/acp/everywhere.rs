//! Requests that are no session's: what the nodes can do, all their sessions, what any of them answers for
//! all, and what all of them must do alike.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;

use super::client::Client;
use super::fault::{Fault, NO_NODE, NOT_ALL};
use super::frame::{Outcome, Params, Raw, code};
use super::link::Lost;
use super::merge;
use super::names;
use super::requests::{nodes, result};
use crate::gateway::place;
use crate::gateway::upstream::{ANSWER, Failure};

/// What the nodes can do: asked of the first that answers, with the client's own words, and remembered.
///
/// # Errors
/// No node answers.
pub async fn initialize(client: &Arc<Client>, params: &Params) -> Result<Outcome, Fault> {
    let greeting = params.text();
    if let Some(known) = client.rooms.known(&greeting) {
        return Ok(Outcome::Result(known));
    }
    let mut failures = BTreeMap::new();
    for node in nodes(client) {
        match client.link(&node).hello().await {
            Ok(Outcome::Result(hello)) => {
                client.rooms.learn(greeting, hello.clone());
                return Ok(Outcome::Result(hello));
            }
            Ok(refusal) => return Ok(refusal),
            Err(lost @ Lost::Client(_)) => return Err(Fault::lost(&node, "", &lost)),
            Err(lost) => drop(failures.insert(node, lost.to_string())),
        }
    }
    Err(nobody(&failures))
}

/// The sessions of all nodes. Those of nodes that do not answer are missing, which is said in `_meta`.
///
/// # Errors
/// The cursor is none, or no node answers.
pub async fn list(client: &Arc<Client>, params: &Params) -> Result<Outcome, Fault> {
    let cursors = merge::cursors(params.get::<String>("cursor").as_deref())?;
    let asked: Vec<(String, Option<String>)> = match cursors {
        Some(cursors) => {
            let known = nodes(client);
            cursors
                .into_iter()
                .filter(|(node, _)| known.contains(node))
                .map(|(node, cursor)| (node, Some(cursor)))
                .collect()
        }
        None => nodes(client).into_iter().map(|n| (n, None)).collect(),
    };
    let answers = join_all(asked.into_iter().map(|(node, cursor)| {
        let mut params = params.clone();
        if let (Params::Named(object), Some(cursor)) = (&mut params, &cursor)
            && let Some(cursor) = super::frame::raw(cursor)
        {
            object.insert("cursor".to_owned(), cursor);
        }
        async move {
            let answer = on(client, &node, "session/list", params).await;
            (node, answer)
        }
    }))
    .await;
    let (mut pages, mut missing) = (Vec::new(), BTreeMap::new());
    let mut refusal = None;
    for (node, answer) in answers {
        match answer.map(result) {
            Ok(Ok(page)) => {
                let page = names::result_outward(&node, page);
                pages.push((node, page));
            }
            Ok(Err(error)) => {
                missing.insert(node, error_text(&error));
                refusal = Some(error);
            }
            Err(failure) => drop(missing.insert(node, failure.to_string())),
        }
    }
    if pages.is_empty() && !missing.is_empty() {
        return refusal.map_or_else(|| Err(nobody(&missing)), Ok);
    }
    merge::merge(pages, missing)
        .map(Outcome::Result)
        .ok_or_else(|| Fault::new(code::INTERNAL, "the lists of the nodes cannot be merged"))
}

/// Asks the first node that takes the question.
///
/// # Errors
/// None takes it, or the one that took it does not answer.
pub async fn any(client: &Arc<Client>, method: &str, params: &Params) -> Result<Outcome, Fault> {
    let mut failures = BTreeMap::new();
    for node in nodes(client) {
        match on(client, &node, method, params.clone()).await {
            Ok(outcome) => return Ok(outward(&node, outcome)),
            Err(lost @ Lost::Node(Failure::NotSent(_))) => {
                drop(failures.insert(node, lost.to_string()));
            }
            // Perhaps taken; or not, by the client's own doing, which no other node can help.
            Err(lost) => return Err(Fault::lost(&node, "", &lost)),
        }
    }
    Err(nobody(&failures))
}

/// Has all nodes do the same. Nothing is begun while one of them is not there.
///
/// # Errors
/// One is not there: nothing was changed. Or one failed after others had done it: which ones.
pub async fn every(client: &Arc<Client>, method: &str, params: &Params) -> Result<Outcome, Fault> {
    let all = nodes(client);
    let there = join_all(all.iter().map(|node| async move {
        let live = client.gateway.nodes.get(node)?;
        place::probe(&client.gateway, &live).await.err()
    }))
    .await;
    let absent: Vec<String> = all
        .iter()
        .zip(there)
        .filter_map(|(node, health)| Some(format!("`{node}` ({})", health?.why())))
        .collect();
    if all.is_empty() {
        return Err(nobody(&BTreeMap::new()));
    }
    if !absent.is_empty() {
        return Err(Fault::new(
            NOT_ALL,
            format!(
                "`{method}` changes all nodes or none, and not all are available: {}; nothing was changed",
                absent.join(", ")
            ),
        ));
    }
    let mut done: Vec<String> = Vec::new();
    let mut first = None;
    for node in all {
        match on(client, &node, method, params.clone()).await {
            Ok(outcome @ Outcome::Result(_)) => {
                first.get_or_insert_with(|| outward(&node, outcome));
                done.push(format!("`{node}`"));
            }
            // The first one's refusal is the answer: nothing was changed yet.
            Ok(error) if done.is_empty() => return Ok(error),
            Ok(error) => return Err(partly(method, &done, &node, &error_text(&error))),
            Err(failure) => return Err(partly(method, &done, &node, &failure.to_string())),
        }
    }
    first.ok_or_else(|| nobody(&BTreeMap::new()))
}

async fn on(
    client: &Arc<Client>,
    node: &str,
    method: &str,
    params: Params,
) -> Result<Outcome, Lost> {
    let answer = client.link(node).ask(method, params, None, ANSWER).await?;
    Ok(answer.outcome)
}

fn outward(node: &str, outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Result(result) => Outcome::Result(names::result_outward(node, result)),
        error => error,
    }
}

fn partly(method: &str, done: &[String], node: &str, why: &str) -> Fault {
    let so_far = match done {
        [] => "nothing was changed elsewhere".to_owned(),
        done => format!("done on {}", done.join(", ")),
    };
    Fault::new(
        NOT_ALL,
        format!("`{method}` failed on `{node}`: {why}; {so_far}"),
    )
}

fn error_text(error: &Outcome) -> String {
    let (Outcome::Error(raw) | Outcome::Result(raw)) = error;
    message(raw).unwrap_or_else(|| raw.get().to_owned())
}

fn message(error: &Raw) -> Option<String> {
    let error: serde_json::Value = serde_json::from_str(error.get()).ok()?;
    Some(error["message"].as_str()?.to_owned())
}

fn nobody(failures: &BTreeMap<String, String>) -> Fault {
    let failures: Vec<String> = failures
        .iter()
        .map(|(node, why)| format!("`{node}`: {why}"))
        .collect();
    let why = match failures.is_empty() {
        true => "the fleet has none of this dialect".to_owned(),
        false => failures.join("; "),
    };
    Fault::new(NO_NODE, format!("no node answers: {why}"))
}
