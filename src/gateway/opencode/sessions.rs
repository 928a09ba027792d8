//! Which node a session is on. Its pin says so, and is read for each request: a person may have moved or
//! released it just now. A session that was begun in a node's own interface is found by asking the nodes once,
//! and pinned where it was found. One of a subagent is where its parent is, and is not pinned.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use futures_util::future::{BoxFuture, join_all};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::ask;
use super::named::Named;
use super::remembered::Remembered;
use super::routes;
use super::scope;
use crate::gateway::nodes::Live;
use crate::gateway::reply::Reply;
use crate::gateway::{Gateway, place};
use crate::host::files;
use crate::record::ConversationRecord;
use crate::routing::node::Dialect;
use crate::routing::pins::Pin;

/// How long a node may take to say whether it has a session. The first question about a directory makes it
/// open that directory, which takes seconds.
const LOOK: Duration = Duration::from_secs(5);

/// So many unknown sessions are looked for at a time: each is a question to every node.
const LOOKING: usize = 8;

/// So many subagents may have begun one another.
const DEEPEST: usize = 8;

/// Sessions and their nodes.
#[derive(Debug)]
pub struct Sessions {
    /// Sessions of subagents, and whose they are.
    parents: Remembered,
    looking: Semaphore,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            parents: Remembered::default(),
            looking: Semaphore::new(LOOKING),
        }
    }
}

/// What a node said about a session.
enum Said {
    /// It has it.
    Has(Box<Value>),
    /// It does not.
    HasNot,
    /// Nothing.
    Silent(String),
}

impl Sessions {
    /// A session's node, which may be down.
    ///
    /// # Errors
    /// 404: no node has the session. 503: nobody has it who answers, or its node has left the fleet.
    pub async fn node_of(&self, gateway: &Gateway, session: &str) -> Result<Arc<Live>, Reply> {
        self.found(gateway, session.to_owned(), DEEPEST).await
    }

    /// The same, for so many parents more.
    fn found<'a>(
        &'a self,
        gateway: &'a Gateway,
        session: String,
        deeper: usize,
    ) -> BoxFuture<'a, Result<Arc<Live>, Reply>> {
        Box::pin(async move {
            let session = self.root(&session);
            if let Some(pin) = pin(gateway, &session).await? {
                return of_fleet(gateway, &pin.node, &session);
            }
            let turn = self.looking.acquire().await;
            // Somebody else may have looked for it while this one waited.
            if let Some(pin) = pin(gateway, &session).await? {
                return of_fleet(gateway, &pin.node, &session);
            }
            let (live, parent) = self.look(gateway, &session).await?;
            // Its parent may have to be looked for as well.
            drop(turn);
            if let Some(parent) = parent.filter(|_| deeper > 0) {
                match self.found(gateway, parent.clone(), deeper - 1).await {
                    Ok(live) => {
                        self.child(&session, &parent);
                        return Ok(live);
                    }
                    // Its parent is gone: it is a chat of its own.
                    Err(e) if e.status == StatusCode::NOT_FOUND => {}
                    Err(e) => return Err(e),
                }
            }
            self.adopt(gateway, &session, live).await
        })
    }

    /// The session that a subagent's one belongs to in the end; itself, if it is none or not known as one.
    pub fn root(&self, session: &str) -> String {
        let mut root = session.to_owned();
        for _ in 0..DEEPEST {
            match self.parents.node(&root) {
                Some(parent) => root = parent,
                None => break,
            }
        }
        root
    }

    /// Pins a session that is a chat of its own to the node that has made it.
    pub async fn own(&self, gateway: &Gateway, session: &str, live: &Arc<Live>) {
        self.parents.forget(session);
        if let Err(e) = self.adopt(gateway, session, Arc::clone(live)).await {
            tracing::warn!("{}", e.message);
        }
    }

    /// Notes a session of a subagent: it is where its parent is, and takes no place of its own.
    pub fn child(&self, session: &str, parent: &str) {
        self.parents.note(session, parent);
    }

    /// A session is gone: its pin is released.
    pub async fn gone(&self, gateway: &Gateway, session: &str) {
        self.parents.forget(session);
        let name = session.to_owned();
        let released: crate::error::Result<bool> =
            gateway.pins(move |pins| pins.release_session(&name)).await;
        if let Err(e) = released {
            tracing::warn!("{e}");
        }
    }

    /// Pins a session to the node that has it. Whoever was quicker counts.
    ///
    /// # Errors
    /// It cannot be written, or that node has left the fleet.
    pub async fn adopt(
        &self,
        gateway: &Gateway,
        session: &str,
        live: Arc<Live>,
    ) -> Result<Arc<Live>, Reply> {
        // One event is heard in several streams: most find it written.
        if let Some(pin) = pin(gateway, session).await? {
            return of_fleet(gateway, &pin.node, session);
        }
        let (name, node) = (session.to_owned(), live.node.clone());
        let adopted: crate::error::Result<Pin> = gateway
            .pins(move |pins| pins.adopt_session(&name, &node))
            .await;
        of_fleet(gateway, &adopted?.node, session)
    }

    /// Finds the node of a session that nobody knows, and the session's parent.
    async fn look(
        &self,
        gateway: &Gateway,
        session: &str,
    ) -> Result<(Arc<Live>, Option<String>), Reply> {
        let nodes = gateway.nodes.speaking(Dialect::Opencode);
        // A node that shows it in its own interface has it, even if it is down just now.
        if let Some(live) = shows(gateway, &nodes, session).await {
            return Ok((live, None));
        }
        let asked = nodes.iter().map(|live| says(gateway, live, session));
        let mut have: BTreeMap<String, (Arc<Live>, Value)> = BTreeMap::new();
        let mut silent = Vec::new();
        for (live, said) in nodes.iter().zip(join_all(asked).await) {
            match said {
                Said::Has(value) => {
                    have.insert(live.node.id.clone(), (Arc::clone(live), *value));
                }
                Said::HasNot => {}
                Said::Silent(why) => silent.push(format!("`{}` ({why})", live.node.id)),
            }
        }
        let Some((first, value)) = have.values().next().cloned() else {
            return Err(match silent.is_empty() {
                true => Reply::missing(format!("no node has the session `{session}`")),
                false => Reply::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    format!(
                        "no node that answers has the session `{session}`; {} may have it",
                        silent.join(", ")
                    ),
                ),
            });
        };
        let parent = value["parentID"].as_str().filter(|id| routes::is_id(id));
        let parent = parent.map(str::to_owned);
        if have.len() == 1 {
            return Ok((first, parent));
        }
        // Nodes of one account share a database: all of them could go on with it. Who works at it now; then
        // who works in its directory.
        let directory = value["directory"].as_str().map(str::to_owned);
        let holders: Vec<Arc<Live>> = have.into_values().map(|(live, _)| live).collect();
        let named = Named {
            directory,
            ..Named::default()
        };
        if let Some(live) = works_at(gateway, &holders, session, &named).await {
            return Ok((live, parent));
        }
        let meant = scope::of(gateway, &named).unwrap_or_default();
        let near: Vec<Arc<Live>> = holders
            .iter()
            .filter(|live| scope::contains(&meant, &live.node))
            .cloned()
            .collect();
        let candidates = if near.is_empty() { holders } else { near };
        Ok((chosen(gateway, candidates, first).await?, parent))
    }
}

/// Its pin, which may be that of a chat of the gateway's own API.
async fn pin(gateway: &Gateway, session: &str) -> Result<Option<Pin>, Reply> {
    let name = session.to_owned();
    gateway
        .look(move |pins| pins.session(&name))
        .await
        .map_err(|e: crate::error::Error| Reply::from(e))
}

fn of_fleet(gateway: &Gateway, node: &str, session: &str) -> Result<Arc<Live>, Reply> {
    gateway
        .nodes
        .get(node)
        .ok_or_else(|| Reply::down(node, session, "it is no longer in the fleet"))
}

/// The best of nodes that all have a session.
async fn chosen(
    gateway: &Gateway,
    candidates: Vec<Arc<Live>>,
    first: Arc<Live>,
) -> Result<Arc<Live>, Reply> {
    let mut ledger = gateway
        .look(|pins| pins.ledger())
        .await
        .map_err(|e: crate::error::Error| Reply::from(e))?;
    // It waits for the next new chat, and would steer every one that is found until that comes.
    ledger.history.next_target = None;
    // Where none is fit for a new chat, this one, which is not new, goes to the first.
    let node = place::choose(
        gateway,
        candidates.clone(),
        &place::Wanted::default(),
        &ledger,
    );
    Ok(node
        .ok()
        .and_then(|node| candidates.into_iter().find(|live| live.node.id == node.id))
        .unwrap_or(first))
}

/// The node whose agent has the session as its own conversation, now or earlier.
async fn shows(gateway: &Gateway, nodes: &[Arc<Live>], session: &str) -> Option<Arc<Live>> {
    let paths = gateway.install.as_ref()?.paths.clone();
    let (nodes, session) = (nodes.to_vec(), session.to_owned());
    let found = tokio::task::spawn_blocking(move || {
        nodes.into_iter().find(|live| {
            let record = files::read_json::<ConversationRecord>(&paths.conversation(&live.node.id));
            record
                .ok()
                .flatten()
                .is_some_and(|r| r.id == session || r.earlier.contains(&session))
        })
    });
    found.await.ok().flatten()
}

async fn says(gateway: &Gateway, live: &Arc<Live>, session: &str) -> Said {
    let answer = async {
        let request = ask::get(&format!("/session/{session}"))?;
        ask::whole(gateway, live, request).await
    };
    match tokio::time::timeout(LOOK, answer).await {
        Err(_) => Said::Silent(format!("nothing within {} s", LOOK.as_secs())),
        Ok(Err(failure)) => Said::Silent(failure.to_string()),
        Ok(Ok(answer)) => {
            let value = answer.json().await;
            match answer.head.status {
                status if status.is_success() && value["id"] == session => {
                    Said::Has(Box::new(value))
                }
                StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => Said::HasNot,
                status => Said::Silent(format!("it answers {status}")),
            }
        }
    }
}

/// The node that has a session in its list of those that are worked at.
async fn works_at(
    gateway: &Gateway,
    nodes: &[Arc<Live>],
    session: &str,
    named: &Named,
) -> Option<Arc<Live>> {
    let directory = named.directory.as_deref().unwrap_or_default();
    let directory =
        percent_encoding::utf8_percent_encode(directory, percent_encoding::NON_ALPHANUMERIC);
    let path = format!("/session/status?directory={directory}");
    let asked = nodes.iter().map(|live| async {
        let request = ask::get(&path).ok()?;
        let answer = tokio::time::timeout(LOOK, ask::whole(gateway, live, request)).await;
        Some(answer.ok()?.ok()?.json().await)
    });
    let answers = join_all(asked).await;
    nodes
        .iter()
        .zip(answers)
        .find(|(_, status)| status.as_ref().is_some_and(|s| s.get(session).is_some()))
        .map(|(live, _)| Arc::clone(live))
}
