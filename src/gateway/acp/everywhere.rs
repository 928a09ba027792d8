//! Requests that are no session's: what the nodes can do, all their sessions, what any of them answers for
//! all, and what all of them must do alike.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::client::Client;
use super::fault::{Fault, NO_NODE, NOT_ALL};
use super::frame::{Outcome, Params, Raw, code};
use super::hello;
use super::link::Lost;
use super::merge;
use super::names;
use super::requests::{nodes, result};
use crate::gateway::failure::Failure;
use crate::gateway::place;
use crate::gateway::upstream::ANSWER;

/// What all nodes can do. They are asked with the client's own words, and their answers remembered. Of one
/// that does not answer what it said before counts; one that never said anything counts when a session is to
/// be made there.
///
/// # Errors
/// No node answers.
pub async fn initialize(client: &Arc<Client>, params: &Params) -> Result<Outcome, Fault> {
    let greeting = params.text();
    let (mut answers, mut said_now) = (BTreeMap::new(), false);
    let (mut well, mut ill) = (Vec::new(), Vec::new());
    for node in nodes(client) {
        let known = client.rooms.known(&greeting, &node);
        if let Some((answer, fresh)) = known {
            said_now |= fresh;
            answers.insert(node.clone(), answer);
            if fresh {
                continue;
            }
        }
        match is_well(client, &node) {
            true => well.push(node),
            false => ill.push(node),
        }
    }
    // Their connections are not the client's: they may be of another version than what is agreed on.
    let errand = client.errand();
    let mut asked = Asked::default();
    // An answer that is there already is the first one.
    let first = said_now.then(Instant::now);
    asked.all(&errand, &greeting, well, first).await;
    if !said_now && asked.answers.is_empty() && asked.refusals.is_empty() {
        asked.all(&errand, &greeting, ill, None).await;
    }
    if !said_now && asked.answers.is_empty() {
        return match asked.refusals.into_values().next() {
            Some(refusal) => Ok(refusal),
            None => Err(nobody(&asked.failures)),
        };
    }
    answers.append(&mut asked.answers);
    for node in asked.refusals.keys() {
        answers.remove(node);
    }
    let answers: Vec<Raw> = answers.into_values().collect();
    let hello = hello::merged(&answers).ok_or_else(|| {
        Fault::new(
            code::INTERNAL,
            "what the nodes can do is told in no form that is known",
        )
    })?;
    client.tell(&hello);
    Ok(Outcome::Result(hello))
}

/// How long other nodes may take once one has answered `initialize`. Measured: 1 ms.
const OTHERS: Duration = Duration::from_secs(1);

/// What nodes said to `initialize`.
#[derive(Debug, Default)]
struct Asked {
    answers: BTreeMap<String, Raw>,
    refusals: BTreeMap<String, Outcome>,
    failures: BTreeMap<String, String>,
}

impl Asked {
    /// Asks nodes, all at once. `first`: when the first answer was there, if one is.
    async fn all(
        &mut self,
        errand: &Arc<Client>,
        greeting: &str,
        nodes: Vec<String>,
        first: Option<Instant>,
    ) {
        let mut asked: FuturesUnordered<_> = nodes
            .into_iter()
            .map(|node| {
                let link = errand.link(&node);
                async move { (node, link.hello().await) }
            })
            .collect();
        let mut until = first.map(|at| at + OTHERS);
        loop {
            let next = asked.next();
            let next = match until {
                None => next.await,
                Some(until) => match tokio::time::timeout_at(until, next).await {
                    Ok(next) => next,
                    Err(_) => return,
                },
            };
            let Some((node, said)) = next else { return };
            match said {
                Ok(Outcome::Result(hello)) => {
                    errand.rooms.learn(greeting, &node, hello.clone());
                    self.answers.insert(node, hello);
                    until.get_or_insert_with(|| Instant::now() + OTHERS);
                }
                Ok(refusal) => drop(self.refusals.insert(node, refusal)),
                Err(lost) => drop(self.failures.insert(node, lost.to_string())),
            }
        }
    }
}

/// Whether a node was well when it was observed last.
fn is_well(client: &Client, node: &str) -> bool {
    let live = client.gateway.nodes.get(node);
    live.and_then(|live| live.advert())
        .is_some_and(|advert| advert.health.is_healthy())
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

/// Has all nodes do the same. Nothing is begun while one of them is not there; what was begun is carried to
/// its end, though the client goes meanwhile.
///
/// # Errors
/// One is not there: nothing was changed. Or one failed after others had done it: which ones.
pub async fn every(client: &Arc<Client>, method: &str, params: &Params) -> Result<Outcome, Fault> {
    let _alone = client.rooms.writing.lock().await;
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
    let errand = client.errand();
    for node in all {
        let answer = match on(client, &node, method, params.clone()).await {
            // It was not asked: the client is gone, or has too much under way. That is no reason to leave
            // the nodes unlike.
            Err(Lost::Client(_)) => on(&errand, &node, method, params.clone()).await,
            answer => answer,
        };
        match answer {
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
