//! Bodies that are read whole. A client's is within the limits that hold for every dialect
//! ([`crate::gateway::limits`]), which alone say how long it may be and take. A node's answer takes room: some
//! large histories at once would else be all the machine's memory. One that goes to a client takes it until the
//! client has it, which may be long; what the gateway itself looks for has room of its own, so that no client
//! keeps it from that. Answers wait for each other only, and short ones for nobody.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::StatusCode;
use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;

use crate::gateway::Gateway;
use crate::gateway::aside::aside;
use crate::gateway::failure::Failure;
use crate::gateway::limits::Budget;
use crate::gateway::nodes::Live;
use crate::gateway::reply::Reply;
use crate::gateway::upstream::NodeBody;

/// For how long nothing may come of an answer that is read whole.
const QUIET: Duration = Duration::from_secs(10);

/// How long an answer waits for room, while others are read by their clients.
const ROOM: Duration = Duration::from_secs(5);

/// Most of an answer that is read whole, for the names of chats in it: a history with its pictures.
const MOST: usize = 128 * 1024 * 1024;

/// An answer that is no longer takes no room: each connection has as much of it on its way anyway. So what has
/// changed something on its node, which is answered shortly, is told to the client whatever others hold.
pub const SHORT: usize = 64 * 1024;

/// Most room that is taken beforehand for a body that does not say how long it is.
const STEP: usize = 16 * 1024 * 1024;

/// The room that a body takes, until nobody has it any more.
#[derive(Debug, Clone, Default)]
pub struct Room(Vec<Arc<OwnedSemaphorePermit>>);

impl Room {
    /// That of both.
    pub fn and(mut self, other: Room) -> Self {
        self.0.extend(other.0);
        self
    }

    async fn take(&mut self, bytes: usize, budget: &Budget, wait: Duration) -> Result<(), Unread> {
        let taken = budget.within(bytes as u64, wait).await;
        self.0.push(Arc::new(taken.ok_or(Unread::NoRoom)?));
        Ok(())
    }
}

/// A body.
#[derive(Debug, Clone)]
pub struct Whole {
    /// All of it.
    pub bytes: Bytes,
    /// To be kept for as long as they are.
    pub room: Room,
}

impl Whole {
    /// One that takes none.
    pub fn short(bytes: Bytes) -> Self {
        let room = Room::default();
        Self { bytes, room }
    }

    /// The same for a client, who may be slow: with room of those, in place of what it took.
    ///
    /// # Errors
    /// [`Unread::NoRoom`].
    pub async fn for_client(self, budget: &Budget) -> Result<Self, Unread> {
        let Self { bytes, room: own } = self;
        let mut room = Room::default();
        if let Some(more) = bytes.len().checked_sub(SHORT)
            && room.take(more, budget, Duration::ZERO).await.is_err()
        {
            // Others are not kept waiting meanwhile.
            drop(own);
            room.take(more, budget, ROOM).await?;
        }
        Ok(Self { bytes, room })
    }

    /// As JSON; null where it is none.
    pub async fn json(&self) -> Value {
        let Self { bytes, room } = self.clone();
        let read = move || {
            // Until it is done, whoever waits for it.
            let _room = room;
            serde_json::from_slice(&bytes).unwrap_or_default()
        };
        aside(self.bytes.len(), read).await
    }
}

/// Why a body was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// It is longer than so many bytes, which are the most.
    TooLong(usize),
    /// There was no room for it in time.
    NoRoom,
    /// It stopped.
    Broken(String),
}

impl From<Unread> for Failure {
    /// It was answered, so that the node has done what it was asked.
    fn from(unread: Unread) -> Self {
        Failure::NoAnswer(match unread {
            Unread::TooLong(most) => format!("its answer is longer than {} MiB", most >> 20),
            Unread::NoRoom => format!("it has answered, and {}", no_room()),
            Unread::Broken(why) => format!("its answer broke off: {why}"),
        })
    }
}

/// Reads a body to its end.
///
/// # Errors
/// It is too long, finds no room, broke off, or nothing came for [`QUIET`].
pub async fn whole<B>(mut body: B, most: usize, budget: &Budget) -> Result<Whole, Unread>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let mut growing = Growing {
        most,
        budget,
        room: Room::default(),
        fits: SHORT,
    };
    // At once what is known beforehand, so that several do not each wait with a part of it.
    let promised = body.size_hint().exact();
    if let Some(promised) = promised {
        growing
            .enough_for(usize::try_from(promised).unwrap_or(usize::MAX))
            .await?;
    }
    let mut first = Bytes::new();
    let mut all = Vec::new();
    loop {
        let frame = match tokio::time::timeout(QUIET, body.frame()).await {
            Ok(None) => break,
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(e))) => return Err(Unread::Broken(e.to_string())),
            Err(_) => {
                let secs = QUIET.as_secs();
                return Err(Unread::Broken(format!("nothing more for {secs} s")));
            }
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let length = first.len() + all.len() + data.len();
        growing.enough_for(length).await?;
        if length == data.len() {
            first = data;
            continue;
        }
        // More than one piece: they become one, which grows as its room does, and not by doubling.
        if all.capacity() < length {
            let fits = promised.and_then(|p| usize::try_from(p).ok());
            all.reserve_exact(fits.unwrap_or(growing.fits).max(length) - all.len());
        }
        all.extend_from_slice(&std::mem::take(&mut first));
        all.extend_from_slice(&data);
    }
    let bytes = match all.is_empty() {
        true => first,
        false => all.into(),
    };
    Ok(Whole {
        bytes,
        room: growing.room,
    })
}

/// Takes room for a body that grows.
struct Growing<'a> {
    most: usize,
    budget: &'a Budget,
    room: Room,
    /// So much of it has room.
    fits: usize,
}

impl Growing<'_> {
    async fn enough_for(&mut self, length: usize) -> Result<(), Unread> {
        if length > self.most {
            return Err(Unread::TooLong(self.most));
        }
        let more = length.saturating_sub(self.fits);
        if more == 0 {
            return Ok(());
        }
        // In large steps: a body that does not say how long it is comes in thousands of pieces.
        let more = more.max(self.fits.min(STEP));
        let more = more.min(self.most.saturating_sub(self.fits));
        self.room.take(more, self.budget, ROOM).await?;
        self.fits += more;
        Ok(())
    }
}

/// The body of a client's request.
///
/// # Errors
/// It broke off. Where it broke a limit, that is what the client is told instead.
pub async fn request(body: Body) -> Result<Bytes, Reply> {
    axum::body::to_bytes(body, usize::MAX)
        .await
        .map_err(|e| Reply::bad(format!("the body broke off: {e}")))
}

/// The body of a node's answer to a request that changes nothing.
///
/// # Errors
/// 504, 502 or 503: it did not come whole, or there is no room for it.
pub async fn read(
    gateway: &Gateway,
    live: &Live,
    chat: &str,
    body: NodeBody,
) -> Result<Whole, Reply> {
    let body = whole(body, MOST, &gateway.answers).await;
    body.map_err(|why| unread(live, chat, why))
}

/// The body of a node's answer to a request that changes something. Where it does not come whole the node has
/// done it all the same, and a client must not be told to try again.
///
/// # Errors
/// 504 or 502.
pub async fn done(
    gateway: &Gateway,
    live: &Live,
    chat: &str,
    body: NodeBody,
) -> Result<Whole, Reply> {
    let body = whole(body, MOST, &gateway.answers).await;
    body.map_err(|unread| lost(live, chat, unread))
}

/// Lets an answer come to its end that nobody wants, so that its connection is free again. It takes no room.
pub async fn unwanted(mut body: NodeBody) {
    while let Ok(Some(Ok(_))) = tokio::time::timeout(QUIET, body.frame()).await {}
}

/// The first [`SHORT`] bytes of an answer that matters no more than that. It takes no room.
pub async fn beginning<B>(mut body: B) -> Bytes
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let mut all = Vec::new();
    while let Ok(Some(Ok(frame))) = tokio::time::timeout(QUIET, body.frame()).await {
        all.extend_from_slice(&frame.into_data().unwrap_or_default());
        if all.len() >= SHORT {
            break;
        }
    }
    all.truncate(SHORT);
    all.into()
}

/// What a client is told of an answer to a request that changes nothing.
pub fn unread(live: &Live, chat: &str, unread: Unread) -> Reply {
    match unread {
        Unread::NoRoom => Reply::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!(
                "the node `{}` has answered, and {}; try again",
                live.node.id,
                no_room()
            ),
        ),
        unread => lost(live, chat, unread),
    }
}

/// What a client is told of an answer that did not come whole.
pub fn lost(live: &Live, chat: &str, unread: Unread) -> Reply {
    let node = &live.node.id;
    if let Unread::TooLong(most) = unread {
        let most = most >> 20;
        let why = format!("the answer of the node `{node}` is longer than {most} MiB");
        return Reply::new(StatusCode::BAD_GATEWAY, why);
    }
    Reply::failed(node, chat, &unread.into())
}

fn no_room() -> String {
    format!(
        "the gateway holds so much for others that there was no room for the answer within {} s",
        ROOM.as_secs()
    )
}
