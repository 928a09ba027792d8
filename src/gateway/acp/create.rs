//! New sessions: placed, imported, forked. A node is asked once; another one only when the first certainly
//! was not.

use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use tokio::sync::oneshot;

use super::client::{Client, Room};
use super::fault::Fault;
use super::frame::{Outcome, Params, raw};
use super::link::Lost;
use super::names;
use super::requests::found;
use crate::gateway::place::{self, Made, Wanted};
use crate::gateway::upstream::{CREATE, Failure};
use crate::gateway::{directory, ids, lock};
use crate::routing::node::Dialect;

/// What a request came to.
#[derive(Debug)]
pub struct Done {
    /// With sessions renamed.
    pub outcome: Outcome,
    /// To be dropped when the client was told; holds back the node that long.
    pub hold: Option<oneshot::Sender<()>>,
}

impl Done {
    /// Holds nothing back.
    pub fn of(outcome: Outcome) -> Self {
        Self {
            outcome,
            hold: None,
        }
    }
}

/// Makes a session on the best node.
///
/// # Errors
/// None was made; or, after the node did not answer, nobody knows.
pub async fn place(
    client: &Arc<Client>,
    method: &str,
    mut params: Params,
    in_directory: bool,
    room: Room,
) -> Result<Done, Fault> {
    let directory = match in_directory {
        true => working_directory(client, &params).await?,
        false => Directory::Given(None),
    };
    let mut wanted = Wanted::default();
    if let Directory::Given(room) = &directory {
        wanted.room = *room;
    }
    if let Directory::Policy(path) = &directory {
        set_cwd(&mut params, path);
    }
    // A refusal in the node's words, or why the client's own doing kept it from being asked: placement passes
    // both on without looking, and neither says anything of the node.
    let refused: Arc<Mutex<Option<Result<Done, Fault>>>> = Arc::default();
    let placed = place::create(
        &client.gateway,
        Dialect::Acp,
        wanted,
        place::of_node,
        |live| {
            let mut params = params.clone();
            if matches!(directory, Directory::Node) {
                set_cwd(&mut params, &live.node.working_directory);
            }
            let (refused, link) = (Arc::clone(&refused), client.link(&live.node.id));
            async move {
                let answer = match link.ask(method, params, None, CREATE).await {
                    Ok(answer) => answer,
                    Err(Lost::Node(failure)) => return Err(failure),
                    Err(lost @ Lost::Client(_)) => {
                        *lock(&refused) = Some(Err(Fault::lost(&live.node.id, "", &lost)));
                        return Ok(Made::Refused(StatusCode::TOO_MANY_REQUESTS.into_response()));
                    }
                };
                match answer.outcome {
                    Outcome::Result(result) => match names::made(&result) {
                        Some(native) => Ok(Made::Chat {
                            native,
                            value: (result, answer.hold),
                        }),
                        None => Err(Failure::NoAnswer("its answer names no session".to_owned())),
                    },
                    error => {
                        *lock(&refused) = Some(Ok(Done::of(error)));
                        Ok(Made::Refused(StatusCode::BAD_REQUEST.into_response()))
                    }
                }
            }
        },
    )
    .await;
    drop(room);
    match placed {
        Ok(placed) => {
            let (result, hold) = placed.value;
            client.gateway.used(&placed.chat);
            Ok(Done {
                outcome: Outcome::Result(names::result_outward(&placed.live.node.id, result)),
                hold: Some(hold),
            })
        }
        Err(response) => {
            let refused = lock(&refused).take();
            match refused {
                Some(instead) => instead,
                None => Err(Fault::of(response).await),
            }
        }
    }
}

/// Lets a session's node make another one from it, and pins that there.
///
/// # Errors
/// The node is down, or does not answer.
pub async fn fork(
    client: &Arc<Client>,
    method: &str,
    mut params: Params,
    room: Room,
) -> Result<Done, Fault> {
    let chat = names::named(&params)?.unwrap_or_default();
    let (node, own) = found(client, &chat).await?;
    names::set(&mut params, &own);
    client.gateway.used(&chat);
    let answer = client
        .link(&node)
        .ask(method, params, Some(room), CREATE)
        .await
        .map_err(|lost| Fault::lost(&node, &chat, &lost))?;
    let outcome = match answer.outcome {
        Outcome::Result(result) => {
            adopt(client, &node, names::made(&result)).await;
            Outcome::Result(names::result_outward(&node, result))
        }
        error => error,
    };
    Ok(Done {
        outcome,
        hold: Some(answer.hold),
    })
}

/// A session that is there counts from now on; its name finds it even without a pin.
async fn adopt(client: &Arc<Client>, node: &str, made: Option<String>) {
    let live = client.gateway.nodes.get(node);
    let (Some(native), Some(live)) = (made, live) else {
        return;
    };
    let Some(chat) = ids::join(node, &native) else {
        return;
    };
    let adopted: crate::error::Result<_> = client
        .gateway
        .pins(move |pins| pins.adopt(&chat, &live.node, Some(&native)))
        .await;
    if let Err(e) = adopted {
        tracing::warn!("{e}");
    }
}

/// Where a session works.
enum Directory {
    /// As the client says, with so many bytes left there.
    Given(Option<u64>),
    /// As the roster says for clients that say nothing.
    Policy(std::path::PathBuf),
    /// Where its node works.
    Node,
}

/// A node accepts only a directory that is there; who asks for another one learns so before anything is
/// placed.
async fn working_directory(client: &Client, params: &Params) -> Result<Directory, Fault> {
    let Some(cwd) = params.get::<String>("cwd") else {
        return match params {
            Params::Named(object) if object.contains_key("cwd") => {
                Err(Fault::params("params.cwd must be a string"))
            }
            _ => Ok(match client.gateway.policy().working_dir.clone() {
                Some(path) => Directory::Policy(path),
                None => Directory::Node,
            }),
        };
    };
    match directory::usable(Path::new(&cwd)).await {
        Ok(room) => Ok(Directory::Given(room)),
        // It is called otherwise by other dialects.
        Err(reply) => Err(Fault::params(reply.message.replacen(
            "`working_dir`",
            "`cwd`",
            1,
        ))),
    }
}

fn set_cwd(params: &mut Params, path: &Path) {
    let Some(path) = raw(&path.to_string_lossy()) else {
        return;
    };
    if let Params::None = params {
        *params = Params::Named(Default::default());
    }
    if let Params::Named(object) = params {
        object.insert("cwd".to_owned(), path);
    }
}
