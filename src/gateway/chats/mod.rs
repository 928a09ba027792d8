//! The node API: chats with any node, plain terminals included. What is said to a chat goes to the node
//! that it is pinned to, by whatever that node understands.
//!
//! ```text
//! POST /chats ─ placing ─> pin ─┬─ terminal: the delivery engine, the mailbox, the agent's own record
//! /chats/{id}/… ─ pinned ───────┼─ opencode: a session of its own on the node
//!                               └─ goosed:   likewise
//! /nodes/{id}/… ─ agentapi: the four verbs of coder/agentapi, for its clients
//! events: one watcher for all who listen
//! ```
//!
//! ACP has a dialect of its own at `/acp`; a chat of this API is not placed there.

mod agentapi;
mod body;
mod events;
mod goosed;
mod messages;
mod nodes;
mod openapi;
mod opencode;
mod pinned;
mod placing;
mod server;
mod sessions;
mod terminal;
mod wire;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::routing::{self, MethodRouter};

use crate::gateway::{Gateway, lock};
use events::hub::Hub;

/// What every request of this API needs. Cheap to clone.
pub(super) type Api = Arc<State>;

/// The state of this API; what must survive is in the pins and in the mailbox.
pub(super) struct State {
    gateway: Gateway,
    /// Threads that deliver.
    delivering: terminal::Threads,
    /// Threads that only look.
    looking: terminal::Threads,
    /// What happens to terminals.
    hub: Arc<Hub>,
    /// What was said to goosed.
    said: goosed::Said,
    /// One at a time makes a chat, or says something in it.
    turns: Turns,
}

/// The routes.
pub fn router(gateway: &Gateway) -> Router<Gateway> {
    let api = Arc::new(State {
        gateway: Arc::clone(gateway),
        delivering: terminal::Threads::new("messages are being delivered", DELIVERING),
        looking: terminal::Threads::new("nodes are being looked at", LOOKING),
        hub: Arc::default(),
        said: goosed::Said::default(),
        turns: Turns::default(),
    });
    routes()
        .into_iter()
        .fold(Router::new(), |router, route| {
            router.route(route.path, route.to)
        })
        .layer(DefaultBodyLimit::max(body::MOST))
        .with_state(api)
}

/// A route, with what the description of the API must say of it.
pub(super) struct Route {
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the test of the description asks for it")
    )]
    method: &'static str,
    path: &'static str,
    to: MethodRouter<Api>,
}

impl Route {
    fn new(method: &'static str, path: &'static str, to: MethodRouter<Api>) -> Self {
        Self { method, path, to }
    }
    fn get<H: Handler<T, Api>, T: 'static>(path: &'static str, to: H) -> Self {
        Self::new("get", path, routing::get(to))
    }
    fn post<H: Handler<T, Api>, T: 'static>(path: &'static str, to: H) -> Self {
        Self::new("post", path, routing::post(to))
    }
    fn delete<H: Handler<T, Api>, T: 'static>(path: &'static str, to: H) -> Self {
        Self::new("delete", path, routing::delete(to))
    }
}

fn routes() -> Vec<Route> {
    vec![
        Route::get("/openapi.json", openapi::description),
        Route::get("/nodes", nodes::list),
        Route::get("/nodes/{id}", nodes::show),
        Route::get("/nodes/{id}/status", agentapi::status),
        Route::get("/nodes/{id}/messages", agentapi::messages),
        Route::post("/nodes/{id}/message", agentapi::message),
        Route::get("/nodes/{id}/events", agentapi::events),
        Route::get("/chats", pinned::list),
        Route::post("/chats", placing::begin),
        Route::get("/chats/{id}", pinned::show),
        Route::delete("/chats/{id}", pinned::release),
        Route::get("/chats/{id}/messages", messages::list),
        Route::post("/chats/{id}/messages", messages::say),
        Route::post("/chats/{id}/cancel", messages::cancel),
        Route::get("/chats/{id}/events", events::events),
    ]
}

/// So many messages are delivered at a time. Each has a thread that mostly sleeps.
const DELIVERING: usize = 64;

/// So many nodes are looked at at a time; each look is a few small files, at most a call of tmux.
const LOOKING: usize = 8;

/// Whose turn it is with a chat.
#[derive(Debug, Default)]
struct Turns {
    all: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Turns {
    /// Waits until nobody else has the chat; let go of by dropping.
    async fn take(&self, chat: &str) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = {
            let mut all = lock(&self.all);
            // Those that nobody holds or waits for.
            all.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(all.entry(chat.to_owned()).or_default())
        };
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests;
