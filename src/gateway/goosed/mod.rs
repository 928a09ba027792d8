//! goosed's REST dialect, 1.28 to 1.37, at the root of the gateway: what any client of goosed expects of
//! one server, served by all nodes that are one.
//!
//! [`table`] says what is done with each route. A request about a chat names it in its path, its query or
//! its body ([`key`]); it goes to the node in that name with the node's own name of the chat in it, and
//! in the answer the names are the gateway's again ([`answer`]). Whether there is a chat, and what it
//! says, is the node's business.

mod answer;
mod any;
mod ask;
mod awake;
mod config;
mod fan;
mod in_step;
mod json;
mod key;
mod pinned;
pub mod process;
mod start;
mod table;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Gateway;
use super::reply::Reply;
use crate::gateway::detached::to_the_end;
pub use ask::ask;
use awake::Awake;
pub use awake::Woken;
pub use start::session;
pub use table::Wait;
use table::{Class, ROUTES, Route, Where};

/// What this dialect keeps. Nothing of it must survive.
#[derive(Debug, Default)]
pub struct Kept {
    /// The right to write the configuration.
    writing: tokio::sync::Mutex<()>,
    /// Which chats have their models.
    pub awake: Awake,
    /// Which nodes have the settings of the others.
    compared: in_step::Compared,
}

/// Its paths.
#[derive(Default)]
pub struct Paths(matchit::Router<Methods>);

/// What may be asked at a path.
pub struct Methods(Vec<&'static Route>);

impl Paths {
    /// All of them.
    pub fn all() -> Self {
        let mut all: BTreeMap<&str, Vec<&'static Route>> = BTreeMap::new();
        for route in ROUTES {
            all.entry(route.path).or_default().push(route);
        }
        let mut paths = Self::default();
        for (path, routes) in all {
            // The table's tests see to it that none is in another's way.
            if let Err(e) = paths.0.insert(path, Methods(routes)) {
                tracing::error!("`{path}` cannot be served: {e}");
            }
        }
        paths
    }

    /// What may be asked at one.
    pub fn at(&self, path: &str) -> Option<&Methods> {
        self.0.at(path).ok().map(|found| found.value)
    }
}

impl Methods {
    /// Answers.
    pub async fn answer(&self, gateway: &Gateway, request: Request) -> Response {
        let asked = match *request.method() {
            // The node is asked so too, and says no more than it should.
            Method::HEAD => "GET",
            ref method => method.as_str(),
        };
        match self.0.iter().find(|route| route.method == asked) {
            Some(route) => served(gateway, route, request).await,
            None => wrong_method(&self.names()),
        }
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.0.iter().map(|route| route.method).collect();
        names.join(", ")
    }
}

fn wrong_method(allowed: &str) -> Response {
    let said = format!("only {allowed} here");
    let mut response = Reply::new(StatusCode::METHOD_NOT_ALLOWED, said).into_response();
    if let Ok(allowed) = HeaderValue::from_str(allowed) {
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    response
}

async fn served(gateway: &Gateway, route: &'static Route, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let without = key::without_secret(parts.uri.path(), parts.uri.query());
    if let Some(uri) = without.and_then(|target| target.parse().ok()) {
        parts.uri = uri;
    }
    let body = match crate::gateway::whole::request(body).await {
        Ok(body) => body,
        Err(reply) => return reply.into_response(),
    };
    // What is asked all the time is about a chat; the futures of the rest stand beside this one, which is
    // moved a few times for each request.
    let served = match route.class {
        Class::Local => return "ok".into_response(),
        Class::Not(why) => Err(Reply::new(
            StatusCode::NOT_IMPLEMENTED,
            format!("the gateway does not serve `{}`: {why}", route.path),
        )),
        Class::Start | Class::Import => {
            let held = Gateway::clone(gateway);
            return to_the_end(gateway, async move {
                let made = start::serve(&held, route, parts, body).await;
                made.unwrap_or_else(|refused| refused)
            })
            .await;
        }
        Class::All(undo) => {
            let held = Gateway::clone(gateway);
            return to_the_end(gateway, async move {
                let _alone = held.goosed.writing.lock().await;
                let done = config::serve(&held, route, undo, parts, body).await;
                done.unwrap_or_else(IntoResponse::into_response)
            })
            .await;
        }
        Class::Pinned(place) if pinned::changes_pins(route) => {
            let held = Gateway::clone(gateway);
            return to_the_end(gateway, async move {
                let done = pinned::serve(&held, route, place, parts, body).await;
                done.unwrap_or_else(IntoResponse::into_response)
            })
            .await;
        }
        Class::Pinned(place) => pinned::serve(gateway, route, place, parts, body).await,
        Class::PinnedOrFixed => match key::in_query(parts.uri.query().unwrap_or_default()) {
            named if named.is_empty() => Box::pin(any::on_fixed(gateway, route, parts, body)).await,
            _ => pinned::serve(gateway, route, Where::Query, parts, body).await,
        },
        Class::Fan(merge) => fan::serve(gateway, route, merge, parts).await,
        Class::Any => Box::pin(any::any(gateway, route, parts, body)).await,
        Class::Fixed => Box::pin(any::on_fixed(gateway, route, parts, body)).await,
    };
    served.unwrap_or_else(IntoResponse::into_response)
}
