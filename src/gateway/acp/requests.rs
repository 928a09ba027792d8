//! What becomes of a client's message: pure decisions are [`methods`]'s and [`names`]'s, this carries them
//! out. What goes to a session's node is given to the link in the order it came; everything that takes
//! several steps runs beside the others.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::batch::{self, Said, To};
use super::client::{Client, Introduction, Room};
use super::create;
use super::everywhere;
use super::fault::Fault;
use super::frame::{Id, Message, Outcome, Params, code};
use super::link::{Asker, Command, too_much};
use super::methods::{self, Class};
use super::names;
use super::out::Route;
use crate::gateway::failure::Failure;
use crate::gateway::{access, ids};
use crate::routing::node::Dialect;

/// Longest id of a request: it is kept until the answer comes, when the request itself is long gone.
const ID: usize = 1024;

/// Takes a message of a client's. The answer to it goes where it says, else to the stream of its session.
pub async fn take(client: &Arc<Client>, message: Message, room: Room, to: Option<To>) {
    match message {
        Message::Request { id, method, params } => {
            let to = to.unwrap_or_else(|| To::Stream(route(&params)));
            request(client, (id, to), method, params, room).await;
        }
        Message::Notification { method, params } => notification(client, method, params, room),
        Message::Response { id, outcome } => {
            let Some(question) = client.answered(&id) else {
                tracing::debug!("a client answers what nobody asked");
                return;
            };
            let reply = Command::Reply {
                wire: question.wire,
                id: question.id,
                outcome,
            };
            client.link(&question.node).give(reply, Some(room));
        }
    }
}

/// The stream of the session that parameters name.
pub fn route(params: &Params) -> Route {
    match names::named(params) {
        // Only such a name has a stream, and only such a name is short.
        Ok(Some(name)) if ids::split(&name).is_some() => Route::Session(name),
        _ => Route::Connection,
    }
}

async fn request(
    client: &Arc<Client>,
    (id, to): (Id, To),
    method: String,
    params: Params,
    room: Room,
) {
    let chat = match names::named(&params) {
        Ok(chat) => chat,
        Err(bad) => return refuse(client, &to, id, &bad.into()).await,
    };
    let class = methods::class(&method, chat.is_some());
    let chat = chat.unwrap_or_default();
    match class {
        Class::Nameless => {
            let fault = Fault::params(format!("`{method}` needs a sessionId"));
            refuse(client, &to, id, &fault).await;
        }
        Class::Session => match found(client, &chat).await {
            Ok((node, native)) => {
                let mut params = params;
                names::set(&mut params, &native);
                access::node(&node);
                let using = client.gateway.using(&chat);
                let ends = method == "session/delete";
                let asker = Asker::Client {
                    id,
                    to,
                    chat,
                    ends,
                    _using: using,
                };
                let command = Command::Request {
                    method,
                    params,
                    asker,
                };
                let link = client.link(&node);
                if let Err(Command::Request { asker, .. }) = link.try_give(command, Some(room)) {
                    asker.fail(client, &node, too_much()).await;
                }
            }
            Err(fault) => refuse(client, &to, id, &fault).await,
        },
        Class::Initialize
        | Class::Create
        | Class::Import
        | Class::Fork
        | Class::List
        | Class::Any
        | Class::Every => {
            // Taken over before anything that comes after it.
            let mut introduction = None;
            if class == Class::Initialize {
                if let Err(fault) = client.set_hello(params.clone()) {
                    return refuse(client, &to, id, &fault).await;
                }
                introduction = Some(client.introduction());
            }
            // Its place is taken for as long as something is done for it.
            let (client, place) = (Arc::clone(client), client.place());
            // To its end, even when the client is gone: a link stays until what was asked on it is answered,
            // so what a node has made is pinned, and what was not asked gives its place back.
            tokio::spawn(async move {
                beside(&client, class, (id, to), method, params, room, introduction).await;
                drop(place);
            });
        }
    }
}

async fn beside(
    client: &Arc<Client>,
    class: Class,
    (id, to): (Id, To),
    method: String,
    params: Params,
    room: Room,
    introduction: Option<Introduction>,
) {
    let made = match class {
        Class::Create | Class::Import => {
            create::place(client, &method, params, class == Class::Create, room).await
        }
        Class::Fork => create::fork(client, &method, params, room).await,
        Class::Initialize => everywhere::initialize(client, &params)
            .await
            .map(create::Done::of),
        Class::List => everywhere::list(client, &params)
            .await
            .map(create::Done::of),
        Class::Every => everywhere::every(client, &method, &params)
            .await
            .map(create::Done::of),
        _ => everywhere::any(client, &method, &params)
            .await
            .map(create::Done::of),
    };
    drop(introduction);
    match made {
        Ok(done) => {
            let outcome = done.outcome;
            let _ = to.answer(client, &Message::Response { id, outcome }).await;
            // What the node says of it comes after its name.
            drop(done.hold);
        }
        Err(fault) => refuse(client, &to, id, &fault).await,
    }
}

fn notification(client: &Arc<Client>, method: String, mut params: Params, room: Room) {
    if method == "$/cancel_request" {
        if let Some(id) = params.id("requestId") {
            client.tell_all(|| Command::Cancel(id.clone()));
        }
        return;
    }
    let known = match names::named(&params) {
        Ok(Some(chat)) => native(client, &chat).ok_or("no node has its session"),
        Ok(None) => Err("it names no session"),
        Err(_) => Err("the name of its session is no string"),
    };
    match known {
        Ok((node, native)) => {
            names::set(&mut params, &native);
            let command = Command::Notify { method, params };
            client.link(&node).give(command, Some(room));
        }
        // Nobody waits for an answer to this.
        Err(why) => tracing::debug!("`{method}` of a client is dropped: {why}"),
    }
}

/// The node and the node's own name of a session; `None` when no node of the dialect has that name.
fn native(client: &Client, chat: &str) -> Option<(String, String)> {
    let (node, native) = ids::split(chat)?;
    let live = client.gateway.nodes.get(node)?;
    (live.node.dialect == Dialect::Acp).then(|| (node.to_owned(), native.to_owned()))
}

/// The same for who waits for an answer.
///
/// # Errors
/// The session's node has left the fleet, where the session stays; or there is no such session.
pub async fn found(client: &Client, chat: &str) -> Result<(String, String), Fault> {
    if let Some(known) = native(client, chat) {
        return Ok(known);
    }
    if ids::split(chat).is_some() {
        let pin = client.gateway.pin(chat).await;
        let pin = pin.map_err(|e| Fault::new(code::INTERNAL, e.to_string()))?;
        if let Some(pin) = pin.filter(|pin| pin.dialect == Dialect::Acp) {
            let why = match client.gateway.nodes.get(&pin.node) {
                Some(live) => format!(
                    "it does not speak ACP any more, but {}",
                    live.node.dialect.as_str()
                ),
                None => "it is no longer in the fleet".to_owned(),
            };
            let failure = Failure::NotSent(why);
            return Err(Fault::failed(&pin.node, chat, &failure));
        }
    }
    Err(Fault::params(format!(
        "no session `{chat}`: its name does not begin with a node of this gateway"
    )))
}

/// Answers with an error.
pub async fn refuse(client: &Client, to: &To, id: Id, fault: &Fault) {
    let _ = to.answer(client, &fault.answer(id)).await;
}

/// What a client's text holds, and whose fault it is where that is no message.
pub async fn read<T: AsRef<str> + Send + 'static>(text: T) -> Said {
    batch::read_aside(text, one).await
}

/// A message as text, and what is said of one that is none.
pub fn one(text: &str) -> Result<Message, Message> {
    let message = Message::read(text).map_err(|bad| {
        let id = match &bad.id {
            Id::Number(id) | Id::Text(id) if id.len() > ID => Id::Null,
            id => id.clone(),
        };
        Fault::from(bad).answer(id)
    })?;
    let long = matches!(
        &message,
        Message::Request { id: Id::Number(id) | Id::Text(id), .. } if id.len() > ID
    );
    if long {
        let why = format!("an id has at most {ID} bytes");
        return Err(Fault::new(code::INVALID_REQUEST, why).answer(Id::Null));
    }
    Ok(message)
}

/// The nodes of the dialect, those that were well when they were observed last first; by id.
pub fn nodes(client: &Client) -> Vec<String> {
    let mut sorted = BTreeMap::new();
    for live in client.gateway.nodes.speaking(Dialect::Acp) {
        let well = live.advert().is_some_and(|a| a.health.is_healthy());
        sorted.insert((!well, live.node.id.clone()), ());
    }
    sorted.into_keys().map(|(_, id)| id).collect()
}

/// The result in it.
pub fn result(outcome: Outcome) -> Result<super::frame::Raw, Outcome> {
    match outcome {
        Outcome::Result(result) => Ok(result),
        error => Err(error),
    }
}
