//! The Agent Client Protocol, as `goose serve` speaks it, at `/acp`: JSON-RPC over HTTP with event streams,
//! or over a WebSocket.
//!
//! ```text
//! client ─ http │ websocket ─> requests ─┬─ a session's ─> link (client, node) ─> wire ─> node
//!            ^                           ├─ session/new ─> create ─> place ─┘       │
//!            │                           └─ everyone's ──> everywhere ──────┘       │
//!            └──────────── out (streams, bounded) <── names, asked (ids) <──────────┘
//! ```
//!
//! Sessions of different nodes have the same names and requests of different nodes the same ids, and both
//! are in every message. So a client's connection ends here, and each node it needs gets a connection of its
//! own, on which everything is said anew.

pub mod asked;
pub mod batch;
pub mod begin;
pub mod client;
pub mod connect;
pub mod create;
pub mod events;
pub mod everywhere;
pub mod fault;
pub mod frame;
pub mod gathered;
pub mod hello;
pub mod http;
pub mod link;
pub mod merge;
pub mod methods;
pub mod names;
pub mod out;
pub mod reader;
pub mod remote;
pub mod requests;
pub mod rooms;
pub mod websocket;
pub mod wire;
pub mod words;

#[cfg(test)]
mod stand_in;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::routing::any;

use super::Gateway;
use rooms::{Limits, Rooms};

/// What the dialect's requests need.
#[derive(Debug, Clone)]
pub struct Acp {
    gateway: Gateway,
    rooms: Arc<Rooms>,
}

/// The dialect's routes.
pub fn router(gateway: &Gateway) -> Router<Gateway> {
    with(gateway, Limits::default())
}

fn with(gateway: &Gateway, limits: Limits) -> Router<Gateway> {
    let acp = Acp {
        gateway: Arc::clone(gateway),
        rooms: Rooms::new(limits),
    };
    Router::new().route("/acp", any(http::answer).with_state(acp))
}
