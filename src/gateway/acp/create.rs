//! New sessions: placed, imported, forked. A node is asked once; another one only when the first certainly
//! was not.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use tokio::sync::oneshot;

use super::client::{Client, Room};
use super::fault::{Fault, NO_NODE};
use super::frame::{Outcome, Params, Raw, raw};
use super::hello;
use super::link::{Answer, Link, Lost};
use super::names;
use super::requests::found;
use crate::gateway::failure::Failure;
use crate::gateway::place::{self, Made, Name, Wanted};
use crate::gateway::reply::Reply;
use crate::gateway::upstream::CREATE;
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
    params: Params,
    in_directory: bool,
    room: Room,
) -> Result<Done, Fault> {
    let directory = match in_directory {
        true => working_directory(&params).await?,
        false => Directory::Given(None),
    };
    let mut wanted = Wanted::default();
    if let Directory::Given(room) = directory {
        wanted.room = room;
    }
    client.introduced().await;
    let told = client.told();
    let mut unfit = BTreeMap::new();
    let placed = loop {
        let nodes = client.gateway.nodes.speaking(Dialect::Acp).into_iter();
        let nodes: Vec<_> = nodes
            .filter(|live| !unfit.contains_key(&live.node.id))
            .collect();
        if nodes.is_empty() && !unfit.is_empty() {
            return Err(unable(&unfit));
        }
        let refused = Refused::default();
        let placed = place::create_among(
            &client.gateway,
            nodes,
            wanted.clone(),
            Name::Made(place::of_node),
            |live| {
                let mut params = params.clone();
                let link = client.link(&live.node.id);
                let (told, refused) = (told.clone(), Arc::clone(&refused));
                async move {
                    if let Some(told) = told
                        && let Err(why) = can_do(&link, &told).await
                    {
                        return why.of(&live.node.id, &refused);
                    }
                    if let Directory::Default = directory {
                        let said = Reply::into_response;
                        match place::default_directory(&client.gateway, &live, said).await {
                            Ok(path) => set_cwd(&mut params, &path),
                            Err(not) => return Ok(not),
                        }
                    }
                    match link.ask(method, params, None, CREATE).await {
                        Ok(answer) => made(answer, &refused),
                        Err(lost) => Unmade::Lost(lost).of(&live.node.id, &refused),
                    }
                }
            },
        )
        .await;
        let refused = lock(&refused).take();
        match (placed, refused) {
            (Ok(placed), _) => break placed,
            (Err(_), Some(Instead::Unfit(node, why))) => drop(unfit.insert(node, why)),
            (Err(_), Some(Instead::Said(said))) => return said,
            (Err(_), None) if !unfit.is_empty() => return Err(unable(&unfit)),
            (Err(response), None) => return Err(Fault::of(response).await),
        }
    };
    drop(room);
    let (result, hold) = placed.value;
    client.gateway.used(&placed.chat);
    Ok(Done {
        outcome: Outcome::Result(names::result_outward(&placed.live.node.id, result)),
        hold: Some(hold),
    })
}

/// Why a node did not make a session, where placement cannot know: it passes a refusal on without looking,
/// and notes of a node that it is down where that was not asked.
type Refused = Arc<Mutex<Option<Instead>>>;

/// What is to be done instead.
enum Instead {
    /// The client is told this: a refusal in the node's words, or why its own doing kept the node from being
    /// asked.
    Said(Result<Done, Fault>),
    /// Another node is asked, for this one is well and cannot do what the client was told.
    Unfit(String, String),
}

/// What a node makes, as placement wants to know it.
type MadeBy = Result<Made<(Raw, oneshot::Sender<()>)>, Failure>;

/// Why nothing was made.
enum Unmade {
    Lost(Lost),
    Unfit(String),
}

impl Unmade {
    fn of(self, node: &str, refused: &Refused) -> MadeBy {
        let instead = match self {
            Unmade::Lost(Lost::Node(failure)) => return Err(failure),
            Unmade::Lost(lost) => Instead::Said(Err(Fault::lost(node, "", &lost))),
            Unmade::Unfit(why) => Instead::Unfit(node.to_owned(), why),
        };
        *lock(refused) = Some(instead);
        Ok(Made::Refused(StatusCode::TOO_MANY_REQUESTS.into_response()))
    }
}

fn made(answer: Answer, refused: &Refused) -> MadeBy {
    match answer.outcome {
        Outcome::Result(result) => match names::made(&result) {
            Some(native) => Ok(Made::Chat {
                native,
                value: (result, answer.hold),
            }),
            None => Err(Failure::NoAnswer("its answer names no session".to_owned())),
        },
        error => {
            *lock(refused) = Some(Instead::Said(Ok(Done::of(error))));
            Ok(Made::Refused(StatusCode::BAD_REQUEST.into_response()))
        }
    }
}

/// Whether a node can do what the client was told that its agent can do: it may be new, or another one than
/// it was then.
async fn can_do(link: &Link, told: &Raw) -> Result<(), Unmade> {
    match link.hello().await.map_err(Unmade::Lost)? {
        Outcome::Result(hello) if hello::covers(told, &hello) => Ok(()),
        Outcome::Result(_) => Err(Unmade::Unfit(
            "it cannot do all that this client was told".to_owned(),
        )),
        Outcome::Error(_) => Err(Unmade::Unfit("it refuses this client".to_owned())),
    }
}

fn unable(unfit: &BTreeMap<String, String>) -> Fault {
    let each: Vec<String> = unfit
        .iter()
        .map(|(node, why)| format!("`{node}`: {why}"))
        .collect();
    let why = format!(
        "no node can take a session of this client: {}; `initialize` again",
        each.join("; ")
    );
    Fault::new(NO_NODE, why)
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
#[derive(Clone, Copy)]
enum Directory {
    /// As the client says, with so many bytes left there.
    Given(Option<u64>),
    /// The client says nothing.
    Default,
}

/// A node accepts only a directory that is there; who asks for another one learns so before anything is
/// placed.
async fn working_directory(params: &Params) -> Result<Directory, Fault> {
    let Some(cwd) = params.get::<String>("cwd") else {
        return match params {
            Params::Named(object) if object.contains_key("cwd") => {
                Err(Fault::params("params.cwd must be a string"))
            }
            _ => Ok(Directory::Default),
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
