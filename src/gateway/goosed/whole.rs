//! Bodies that are read whole. A client's is within the limits that hold for every dialect
//! ([`crate::gateway::limits`]), which alone say how long it may be and take. A node's answer that holds
//! names of chats takes its room from the same budget, until the client has it: some large histories at
//! once would else be all the machine's memory.

use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::StatusCode;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;

use crate::gateway::Gateway;
use crate::gateway::limits::Budget;
use crate::gateway::nodes::Live;
use crate::gateway::reply::Reply;
use crate::gateway::upstream::Failure;

/// For how long nothing may come of an answer that is read whole.
const QUIET: Duration = Duration::from_secs(10);

/// How long an answer waits for room, while others are read by their clients.
const ROOM: Duration = Duration::from_secs(5);

/// Most of an answer that is read whole, for the names of chats in it: a history with its pictures.
const MOST: usize = 256 * 1024 * 1024;

/// Most room that is taken beforehand for a body that does not say how long it is.
const STEP: usize = 16 * 1024 * 1024;

/// The room that bodies take, until it is dropped.
#[derive(Debug, Default)]
pub struct Room(Vec<OwnedSemaphorePermit>);

impl Room {
    /// That of both.
    pub fn and(mut self, other: Room) -> Self {
        self.0.extend(other.0);
        self
    }
}

/// A body.
#[derive(Debug)]
pub struct Whole {
    /// All of it.
    pub bytes: Bytes,
    /// To be kept for as long as they are.
    pub room: Room,
}

/// Why a body was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// It is longer than it may be.
    TooLong,
    /// There was no room for it in time.
    NoRoom,
    /// It stopped.
    Broken(String),
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
    let mut taking = Taking {
        most,
        budget,
        room: Room::default(),
        taken: 0,
    };
    // At once what is known beforehand, so that several do not each wait with a part of it.
    let promised = body.size_hint().exact();
    if let Some(promised) = promised {
        taking
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
        taking
            .enough_for(first.len() + all.len() + data.len())
            .await?;
        match (first.is_empty(), all.is_empty()) {
            (true, true) => first = data,
            // More than one piece: they become one.
            (false, _) => {
                all.reserve_exact(taking.taken.saturating_sub(all.len()));
                all.extend_from_slice(&std::mem::take(&mut first));
                all.extend_from_slice(&data);
            }
            (true, false) => all.extend_from_slice(&data),
        }
    }
    let bytes = match all.is_empty() {
        true => first,
        false => all.into(),
    };
    Ok(Whole {
        bytes,
        room: taking.room,
    })
}

/// Takes room for a body that grows.
struct Taking<'a> {
    most: usize,
    budget: &'a Budget,
    room: Room,
    taken: usize,
}

impl Taking<'_> {
    async fn enough_for(&mut self, length: usize) -> Result<(), Unread> {
        if length > self.most {
            return Err(Unread::TooLong);
        }
        let more = length.saturating_sub(self.taken);
        if more == 0 {
            return Ok(());
        }
        // In large steps: a body that does not say how long it is comes in thousands of pieces.
        let more = match self.taken {
            0 => more,
            taken => more.max(taken.min(STEP)),
        };
        let taken = self.budget.within(more as u64, ROOM).await;
        self.room.0.push(taken.ok_or(Unread::NoRoom)?);
        self.taken += more;
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

/// The body of a node's answer.
///
/// # Errors
/// 504, 502 or 503: it did not come whole, or there is no room for it.
pub async fn answer(
    gateway: &Gateway,
    live: &Live,
    chat: &str,
    body: Incoming,
) -> Result<Whole, Reply> {
    whole(body, MOST, &gateway.bodies)
        .await
        .map_err(|e| match e {
            Unread::TooLong => Reply::new(
                StatusCode::BAD_GATEWAY,
                format!(
                    "the answer of the node `{}` is longer than {} MiB",
                    live.node.id,
                    MOST >> 20
                ),
            ),
            Unread::NoRoom => no_room(&live.node.id),
            Unread::Broken(why) => Reply::failed(
                &live.node.id,
                chat,
                &Failure::NoAnswer(format!("its answer broke off: {why}")),
            ),
        })
}

fn no_room(node: &str) -> Reply {
    Reply::new(
        StatusCode::SERVICE_UNAVAILABLE,
        format!(
            "the node `{node}` has answered, and the gateway holds so much for others that there was no room for it within {} s; try again",
            ROOM.as_secs()
        ),
    )
}
