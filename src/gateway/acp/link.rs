//! The way from one client to one node: what the client says to the node, in its order. The connection is
//! made when something is to be said, and made anew when it is gone by then.
//!
//! It ends with its client, at once; only what the gateway has asked on it is still waited for, since a node
//! that makes a session makes it whether or not somebody is left to be told.
//!
//! Measured with goose 1.52: a session need not be loaded again on a new connection, nor after a restart of
//! the node; a prompt finds it by itself. What a broken connection takes with it is the turn under way.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::batch::To;
use super::client::{Client, Room};
use super::fault::Fault;
use super::frame::{Id, Message, Outcome, Params};
use super::wire::{Unopened, Wire, WriteError};
use crate::gateway::failure::Failure;
use crate::gateway::upstream::CREATE;
use crate::gateway::using::Using;

/// Most messages that wait for one node. Each is on its way within the second that a connection may take.
const QUEUE: usize = 256;

/// An answer that the gateway itself waits for.
#[derive(Debug)]
pub struct Answer {
    /// How it ended; sessions in it have their native names.
    pub outcome: Outcome,
    /// While this is kept, nothing more that the node says goes to the client. So that what the gateway
    /// makes of the answer goes first: a session's name before what happens in it.
    pub hold: oneshot::Sender<()>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// Something is wrong with the node, or with the connection to it.
    Node(Failure),
    /// The client itself has too much under way, or is gone. The node was certainly not asked, and is as
    /// well as before: to other clients, and to placement.
    Client(String),
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Lost::Node(failure) => failure.fmt(f),
            Lost::Client(why) => f.write_str(why),
        }
    }
}

impl From<Failure> for Lost {
    fn from(failure: Failure) -> Self {
        Lost::Node(failure)
    }
}

/// Who waits for an answer.
#[derive(Debug)]
pub enum Asker {
    /// The client.
    Client {
        /// Its id.
        id: Id,
        /// Where it gets the answer.
        to: To,
        /// The session's name; empty without one.
        chat: String,
        /// The session is gone when this is answered well.
        ends: bool,
        /// The chat is in use until it is answered: a turn may last.
        _using: Using,
    },
    /// The gateway.
    Gateway(oneshot::Sender<Result<Answer, Lost>>),
}

impl Asker {
    /// Whether it is this request of the client's.
    pub fn is(&self, wanted: &Id) -> bool {
        matches!(self, Asker::Client { id, .. } if id == wanted)
    }

    /// Whether the gateway itself still waits.
    pub fn is_the_gateway(&self) -> bool {
        matches!(self, Asker::Gateway(to) if !to.is_closed())
    }

    /// The answer is an error that concerns everything said on this way.
    async fn refuse(self, client: &Client, error: Outcome) {
        match self {
            Asker::Client { id, to, .. } => {
                let answer = Message::Response { id, outcome: error };
                let _ = to.answer(client, &answer).await;
            }
            Asker::Gateway(to) => {
                // There is nothing to be held back.
                let (hold, _) = oneshot::channel();
                let _ = to.send(Ok(Answer {
                    outcome: error,
                    hold,
                }));
            }
        }
    }

    /// There will be no answer.
    pub async fn fail(self, client: &Client, node: &str, lost: Lost) {
        match self {
            Asker::Client { id, to, chat, .. } => {
                let fault = Fault::lost(node, &chat, &lost);
                let _ = to.answer(client, &fault.answer(id)).await;
            }
            Asker::Gateway(to) => {
                let _ = to.send(Err(lost));
            }
        }
    }
}

/// What is to be said.
#[derive(Debug)]
pub enum Command {
    /// A request.
    Request {
        /// Of what.
        method: String,
        /// With what; sessions have their native names.
        params: Params,
        /// For whom.
        asker: Asker,
    },
    /// A notification.
    Notify {
        /// Of what.
        method: String,
        /// With what; sessions have their native names.
        params: Params,
    },
    /// The answer to a question of the node's.
    Reply {
        /// On which connection it was asked.
        wire: u64,
        /// The node's id.
        id: Id,
        /// How it ended.
        outcome: Outcome,
    },
    /// The client needs no answer any more to a request of that id, wherever that went.
    Cancel(Id),
    /// Only connects; the node's answer to `initialize`.
    Hello(oneshot::Sender<Result<Outcome, Lost>>),
}

impl Command {
    /// Whether the gateway itself waits for what comes of it.
    fn is_the_gateways(&self) -> bool {
        matches!(
            self,
            Command::Request {
                asker: Asker::Gateway(_),
                ..
            }
        )
    }
}

/// With its place among what is under way, where it has one of its own.
type Said = (Command, Option<Room>);

/// Cheap to clone; all are the same way.
#[derive(Debug, Clone)]
pub struct Link {
    sender: mpsc::Sender<Said>,
}

impl Link {
    /// Begins one; it ends with its client. What was not sent by then never is, and counts as not sent.
    pub fn begin(client: &Arc<Client>, node: &str) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let (client, node) = (Arc::clone(client), node.to_owned());
        // Whoever comes and goes keeps a client's place for as long as something is done for it.
        let place = client.place();
        tokio::spawn(async move {
            run(&client, &node, receiver).await;
            drop(place);
        });
        Self { sender }
    }

    /// Says something, in its turn.
    ///
    /// # Errors
    /// Too much waits already, or the client is gone; here it is again.
    pub fn try_give(&self, command: Command, room: Option<Room>) -> Result<(), Command> {
        self.sender.try_send((command, room)).map_err(|e| match e {
            mpsc::error::TrySendError::Full((command, _))
            | mpsc::error::TrySendError::Closed((command, _)) => command,
        })
    }

    /// The same for what nobody waits for.
    pub fn give(&self, command: Command, room: Option<Room>) {
        if self.try_give(command, room).is_err() {
            tracing::debug!("too much waits for a node: something was dropped");
        }
    }

    /// Asks on the gateway's behalf.
    ///
    /// # Errors
    /// No answer; whether the node may have taken it.
    pub async fn ask(
        &self,
        method: &str,
        params: Params,
        room: Option<Room>,
        wait: std::time::Duration,
    ) -> Result<Answer, Lost> {
        let (to, answer) = oneshot::channel();
        let command = Command::Request {
            method: method.to_owned(),
            params,
            asker: Asker::Gateway(to),
        };
        if self.try_give(command, room).is_err() {
            return Err(too_much());
        }
        match tokio::time::timeout(wait, answer).await {
            Ok(Ok(answered)) => answered,
            Ok(Err(_)) => Err(Failure::NoAnswer("the client is gone".to_owned()).into()),
            Err(_) => {
                let why = format!("nothing within {} s", wait.as_secs());
                Err(Failure::NoAnswer(why).into())
            }
        }
    }

    /// Connects where that is to be done; the node's answer to `initialize`.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn hello(&self) -> Result<Outcome, Lost> {
        let (to, answer) = oneshot::channel();
        if self.try_give(Command::Hello(to), None).is_err() {
            return Err(too_much());
        }
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

/// Why something was not even taken.
pub fn too_much() -> Lost {
    Lost::Client(format!("{QUEUE} messages wait for it already"))
}

/// Why what was not sent yet never will be.
pub fn gone() -> Lost {
    Lost::Client("the client is gone".to_owned())
}

async fn run(client: &Arc<Client>, node: &str, mut commands: mpsc::Receiver<Said>) {
    let wire = obey_all(client, node, &mut commands).await;
    // What was given before this is still received.
    commands.close();
    while let Some((command, _room)) = commands.recv().await {
        withdraw(command);
    }
    if let Some(mut wire) = wire {
        let _ = tokio::time::timeout(CREATE, wire.settled()).await;
    }
}

/// Says what there is to be said until the client ends.
async fn obey_all(
    client: &Arc<Client>,
    node: &str,
    commands: &mut mpsc::Receiver<Said>,
) -> Option<Wire> {
    let mut wire: Option<Wire> = None;
    loop {
        let said = tokio::select! {
            biased;
            () = client.out.closing() => None,
            said = commands.recv() => said,
        };
        // Its place is free when it was written.
        let Some((command, _room)) = said else {
            return wire;
        };
        let needs = !matches!(command, Command::Reply { .. } | Command::Cancel(_));
        if needs && wire.as_ref().is_none_or(Wire::is_over) {
            wire = None;
            let opened = tokio::select! {
                biased;
                () = client.out.closing() => None,
                opened = Wire::open(client, node) => Some(opened),
            };
            match opened {
                None => {
                    withdraw(command);
                    return None;
                }
                Some(Ok(opened)) => wire = Some(opened),
                Some(Err(why)) => {
                    give_up(client, node, command, &why).await;
                    // They would each wait as long, for the same.
                    while let Ok((next, _room)) = commands.try_recv() {
                        give_up(client, node, next, &why).await;
                    }
                    continue;
                }
            }
        }
        if let Some(open) = &mut wire {
            let over = over(client, command.is_the_gateways());
            let over = tokio::select! {
                biased;
                () = obey(client, node, open, command) => false,
                () = over => true,
            };
            if over {
                return wire;
            }
        }
    }
}

/// How long something may take to be said: as long as the client is there, and a while longer where the
/// gateway waits for what comes of it.
async fn over(client: &Client, the_gateways: bool) {
    client.out.closing().await;
    if the_gateways {
        tokio::time::sleep(CREATE).await;
    }
}

/// Nobody has been told it, and nobody will be.
fn withdraw(command: Command) {
    match command {
        Command::Request {
            asker: Asker::Gateway(to),
            ..
        } => drop(to.send(Err(gone()))),
        Command::Hello(to) => drop(to.send(Err(gone()))),
        // The client, which is gone, waits for the rest.
        Command::Request { .. }
        | Command::Notify { .. }
        | Command::Reply { .. }
        | Command::Cancel(_) => {}
    }
}

async fn give_up(client: &Arc<Client>, node: &str, command: Command, why: &Unopened) {
    match (command, why) {
        (Command::Request { asker, .. }, Unopened::Down(failure)) => {
            asker.fail(client, node, failure.clone().into()).await;
        }
        (Command::Request { asker, .. }, Unopened::Refused(error)) => {
            asker.refuse(client, Outcome::Error(error.clone())).await;
        }
        (Command::Hello(to), why) => {
            let _ = to.send(match why {
                Unopened::Down(failure) => Err(failure.clone().into()),
                Unopened::Refused(error) => Ok(Outcome::Error(error.clone())),
            });
        }
        (Command::Notify { .. } | Command::Reply { .. } | Command::Cancel(_), _) => {}
    }
}

async fn obey(client: &Arc<Client>, node: &str, wire: &mut Wire, command: Command) {
    match command {
        Command::Request {
            method,
            params,
            asker,
        } => {
            if let Err(WriteError(lost, asker)) = wire.request(method, params, asker).await {
                // A connection that has ended with its client tells nothing of the node.
                let lost = match client.out.is_closed() {
                    true => gone(),
                    false => lost,
                };
                asker.fail(client, node, lost).await;
            }
        }
        Command::Notify { method, params } => wire.notify(method, params).await,
        Command::Reply {
            wire: number,
            id,
            outcome,
        } if number == wire.number => wire.reply(id, outcome).await,
        Command::Reply { .. } => {}
        Command::Cancel(id) => wire.cancel(&id).await,
        Command::Hello(to) => {
            let _ = to.send(Ok(Outcome::Result(wire.hello.clone())));
        }
    }
}
