//! A new session whose id its client has chosen. It is pinned before it is made, so that whoever asks for it
//! again, however the first try ended, asks the same node, which knows whether it has it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, Weak};

use axum::http::StatusCode;
use axum::response::Response;

use super::create;
use super::pass::{self, Read};
use super::pinned;
use super::scope;
use crate::gateway::failure::Failure;
use crate::gateway::metrics::Placement;
use crate::gateway::place::Wanted;
use crate::gateway::reply::Reply;
use crate::gateway::{access, lock, place};
use crate::routing::pins::{Pin, Placing};

/// Whose turn it is to make a session: of those that ask for the same one, one at a time.
#[derive(Debug, Default)]
pub struct Turns {
    of: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

impl Turns {
    fn of(&self, session: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut all = lock(&self.of);
        if let Some(turn) = all.get(session).and_then(Weak::upgrade) {
            return turn;
        }
        all.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        all.insert(session.to_owned(), Arc::downgrade(&turn));
        turn
    }
}

/// Makes it on its node, which is chosen now unless it has one. Another node is tried only if one certainly
/// has not taken it.
///
/// # Errors
/// 503: no node takes it, or pins cannot be read. 504: a node may have made it, and it stays pinned there.
pub async fn session(read: Read, session: &str, wanted: Wanted) -> Result<Response, Reply> {
    let state = Arc::clone(&read.state);
    let gateway = &state.gateway;
    let turn = state.turns.of(session);
    let _turn = turn.lock().await;
    let mut tried = BTreeSet::new();
    loop {
        let Placing::New(pin) = place_it(&read, session, &wanted, &tried).await? else {
            return pinned::child(read, session).await;
        };
        tried.insert(pin.node.clone());
        let Some(live) = gateway.nodes.get(&pin.node) else {
            take_back(&read, pin).await?;
            continue;
        };
        if let Err(health) = place::probe(gateway, &live).await {
            live.found(health);
            gateway.metrics.placed(Placement::elsewhere);
            take_back(&read, pin).await?;
            continue;
        }
        match create::make(&read, &live).await {
            Ok(answer) if answer.head.status.is_success() => {
                let made = pinned::made(&answer).await.ok_or_else(create::nameless);
                let made = made.map_err(|e| Reply::failed(&live.node.id, session, &e))?;
                if made != session {
                    // An interface that does not let its client choose.
                    state.sessions.gone(gateway, session).await;
                    state
                        .sessions
                        .adopt(gateway, &made, Arc::clone(&live))
                        .await?;
                }
                gateway.metrics.placed(Placement::placed);
                access::chat(&made);
                return Ok(pass::read_back(gateway, &live, answer).await);
            }
            Ok(answer) => {
                gateway.metrics.placed(Placement::refused);
                // A node that fails may have made it all the same.
                if answer.head.status.is_client_error() {
                    take_back(&read, pin).await?;
                }
                return Ok(pass::read_back(gateway, &live, answer).await);
            }
            Err(Failure::NotSent(_)) => {
                gateway.metrics.placed(Placement::elsewhere);
                take_back(&read, pin).await?;
            }
            Err(failure) => {
                gateway.metrics.placed(Placement::unknown);
                return Err(Reply::failed(&live.node.id, session, &failure));
            }
        }
    }
}

async fn place_it(
    read: &Read,
    session: &str,
    wanted: &Wanted,
    tried: &BTreeSet<String>,
) -> Result<Placing, Reply> {
    let gateway = Arc::clone(&read.state.gateway);
    // Where it is pinned already it does not matter which nodes are meant.
    let nodes = scope::of(&gateway, &read.named);
    let (session, tried) = (session.to_owned(), tried.clone());
    let wanted = wanted.clone();
    let placing = read.state.gateway.pins(move |pins| {
        // A chat that is called otherwise may have it already.
        if let Some(pin) = pins.session(&session)?
            && pin.chat != session
        {
            return Ok(Placing::Was(pin));
        }
        pins.place(&session, |ledger| {
            let all = nodes?;
            let mut nodes = all.clone();
            nodes.retain(|live| !tried.contains(&live.node.id));
            if nodes.is_empty() && !tried.is_empty() {
                return Err(Reply::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "no node can take a chat: none of those that were asked answers",
                ));
            }
            let ledger = place::concerning(ledger, &all);
            place::choose(&gateway, nodes, &wanted, &ledger)
        })
    });
    placing.await.inspect_err(|_: &Reply| {
        read.state.gateway.metrics.placed(Placement::no_node);
    })
}

/// It was certainly not made there.
async fn take_back(read: &Read, placed: Pin) -> Result<(), Reply> {
    read.state
        .gateway
        .pins(move |pins| pins.take_back(&placed))
        .await
        .map(drop)
        .map_err(|e: crate::error::Error| Reply::from(e))
}
