//! opencode's HTTP interface in front of several opencode nodes, below `/opencode`: what `opencode attach
//! http://127.0.0.1:43123/opencode` and opencode's SDK expect of one server. A new session is placed, and
//! all that is asked about it goes to its node; events of all nodes come in one stream.
//!
//! opencode's ids (`ses_…`, `per_…`, `pty_…`) are unique everywhere and stay as they are.
//!
//! ```text
//! routes (where it belongs) ─> create      placed on a node; chosen: under its client's id
//!   named (directory, node)    pinned      by the session or by what a session asks for
//!                              many        every node: lists, settings
//!                              one         one node: looked up, a terminal
//!                              hub         events
//! ```

mod ask;
mod chosen;
mod create;
mod frames;
mod hub;
mod many;
mod merge;
mod named;
mod one;
mod pass;
mod pinned;
mod remembered;
mod routes;
mod scope;
mod sessions;
mod socket;

#[cfg(test)]
mod stand_in;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::Gateway;
use super::detached::to_the_end;
use super::reply::Reply;
pub use ask::{ask, failed};
use named::Named;
use remembered::Remembered;
use routes::{Class, Miss};

/// What this dialect remembers. None of it must survive.
#[derive(Debug)]
struct State {
    gateway: Gateway,
    sessions: sessions::Sessions,
    /// Open requests of sessions.
    asked: Remembered,
    /// Terminals.
    terminals: Remembered,
    hub: hub::Hub,
    /// Sessions that are being made under ids of their clients.
    turns: chosen::Turns,
    /// Held while settings go to the nodes, so that two changes reach all of them in the same order.
    writing: tokio::sync::Mutex<()>,
}

/// All of its routes; paths begin below the prefix.
pub fn router(gateway: &Gateway) -> Router<Gateway> {
    let state = Arc::new(State {
        gateway: Arc::clone(gateway),
        sessions: sessions::Sessions::default(),
        asked: Remembered::default(),
        terminals: Remembered::default(),
        hub: hub::Hub::default(),
        turns: chosen::Turns::default(),
        writing: tokio::sync::Mutex::default(),
    });
    Router::new().fallback(answer).with_state(state)
}

async fn answer(
    axum::extract::State(state): axum::extract::State<Arc<State>>,
    request: Request,
) -> Response {
    let uri = request.uri().clone();
    let found = match routes::find(request.method().as_str(), uri.path()) {
        Ok(found) => found,
        Err(miss) => return missed(miss, &request).into_response(),
    };
    let named = Named::of(&uri, request.headers());
    let asked = pass::Asked {
        state,
        named,
        request,
    };
    let key = found.key.to_owned();
    // A client's going must not leave these half done.
    let whole = matches!(
        found.class,
        Class::Place | Class::Fork | Class::Delete | Class::Every
    );
    let gateway = Arc::clone(&asked.state.gateway);
    let answered = answered(asked, found.class, key);
    match whole {
        true => to_the_end(&gateway, answered).await,
        false => answered.await,
    }
}

async fn answered(asked: pass::Asked, class: Class, key: String) -> Response {
    let (path, key) = (asked.path().to_owned(), key.as_str());
    let answer = match class {
        Class::Place => create::session(asked).await,
        Class::Fork => pinned::fork(asked, key).await,
        Class::Delete => pinned::delete(asked, key).await,
        Class::Every => many::every(asked).await,
        Class::Session => pinned::to(asked, key).await,
        Class::Named(field) => pinned::by_body(asked, field).await,
        Class::Request(kind) => pinned::by_request(asked, kind, key).await,
        Class::Merge(list) => many::list(asked, list).await,
        Class::Events(stream) => hub::subscribe(&asked.state, stream, asked.named).await,
        Class::Read | Class::Once => one::any(asked).await,
        Class::Single => one::single(asked).await,
        Class::PtyNew => one::new_terminal(asked).await,
        Class::Pty => one::terminal(asked, key).await,
        Class::PtySocket => socket::terminal(asked, key).await,
        Class::Refuse(why) => Err(Reply::new(
            StatusCode::NOT_IMPLEMENTED,
            format!("the gateway does not do `{path}`: {why}"),
        )),
    };
    answer.unwrap_or_else(Reply::into_response)
}

fn missed(miss: Miss, request: &Request) -> Reply {
    let path = request.uri().path();
    match miss {
        Miss::Path => Reply::missing(format!("opencode's part of the gateway has no `{path}`")),
        Miss::Method => Reply::new(
            StatusCode::METHOD_NOT_ALLOWED,
            format!("`{path}` takes no {}", request.method()),
        ),
        Miss::Unsafe => Reply::bad(format!("`{path}` names nothing that opencode could have")),
    }
}
