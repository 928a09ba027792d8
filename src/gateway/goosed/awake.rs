//! Which chats have their model. A goosed keeps chats over a restart and their models not: a message then is
//! answered with "Provider not set" until the chat is resumed. Clients that have resumed it once do not know
//! of the restart; the gateway sees that another process listens, and resumes the chat before it is asked
//! for anything that its agent does.
//!
//! A chat that this gateway knows nothing of, since it was itself started later, is resumed as well, as Goose
//! Desktop does with every chat that it opens.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{Request, header};

use super::ask::ask;
use super::key::Key;
use super::table::{Route, Wait};
use super::whole::unwanted;
use crate::gateway::nodes::Live;
use crate::gateway::reply::Reply;
use crate::gateway::{Gateway, lock};
use crate::host::listening;

/// Most chats of a node that are known to have their model. Beyond that all are forgotten, and resumed again.
const MOST: usize = 4096;

/// What a client says to have its chat's model loaded, which the gateway has to know.
const RESUME: &str = "/agent/resume";
const RESTART: &str = "/agent/restart";

/// What takes the model away.
const STOP: &str = "/agent/stop";

/// What was done for the processes of nodes.
#[derive(Debug, Default)]
pub struct Awake(Mutex<BTreeMap<String, Process>>);

/// A node's process, and what was done for it.
#[derive(Debug, Default)]
struct Process {
    name: String,
    chats: BTreeSet<String>,
    in_step: bool,
}

/// What names a node's process: its listener. `None`: nobody listens.
pub async fn process(live: &Live) -> Option<String> {
    let port = live.endpoint.as_ref()?.port;
    let name = tokio::task::spawn_blocking(move || listening::name_on_loopback(port));
    name.await.ok()?
}

/// Whether the answer to a request tells something of whether its chat has its model.
pub fn tells(route: &Route) -> bool {
    [RESUME, RESTART, STOP].contains(&route.path)
}

/// The request that loads a chat's model and extensions.
///
/// # Errors
/// It cannot be written.
pub fn resume(native: &str) -> Result<Request<Body>, Reply> {
    let asked = serde_json::json!({"session_id": native, "load_model_and_extensions": true});
    Request::post(RESUME)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(asked.to_string()))
        .map_err(|e| Reply::bad(e.to_string()))
}

impl Awake {
    /// Makes sure that a chat has its model, where that is possible: what its node says against it, it will
    /// say of the request too, and better.
    ///
    /// # Errors
    /// The node did not answer, and the request was not sent.
    pub async fn wake(
        &self,
        gateway: &Gateway,
        live: &Arc<Live>,
        process: Option<String>,
        key: &Key,
    ) -> Result<(), Reply> {
        let Some(name) = &process else { return Ok(()) };
        if self.with(live, name, |of| of.chats.contains(&key.native)) {
            return Ok(());
        }
        let answer = ask(gateway, live, resume(&key.native)?, Wait::Create)
            .await
            .map_err(|failure| Reply::failed(&live.node.id, &key.chat, &failure))?;
        let status = answer.status();
        // To its end, so that the connection is free for the request.
        unwanted(answer.into_body()).await;
        match status.is_success() {
            true => self.woke(live, process, &key.native),
            false => tracing::info!(
                node = live.node.id,
                chat = key.chat,
                "the chat could not be resumed: {status}"
            ),
        }
        Ok(())
    }

    /// Notes that a chat has its model. `process` is that of before it was asked for.
    pub fn woke(&self, live: &Live, process: Option<String>, native: &str) {
        let Some(name) = process else { return };
        self.with(live, &name, |of| {
            if of.chats.len() >= MOST {
                of.chats.clear();
            }
            of.chats.insert(native.to_owned());
        });
    }

    /// Notes what the good answer to a client's own request means.
    pub fn told(
        &self,
        route: &Route,
        body: &[u8],
        live: &Live,
        process: Option<String>,
        native: &str,
    ) {
        match (route.method, route.path) {
            (_, RESTART) => self.woke(live, process, native),
            (_, RESUME) if loads(body) => self.woke(live, process, native),
            (_, STOP) | ("DELETE", "/sessions/{session}") => {
                if let Some(of) = lock(&self.0).get_mut(&live.node.id) {
                    of.chats.remove(native);
                }
            }
            _ => {}
        }
    }

    /// Whether a node's process has been brought in step with the others.
    pub fn is_in_step(&self, live: &Live, process: &str) -> bool {
        self.with(live, process, |of| of.in_step)
    }

    /// Notes that.
    pub fn in_step(&self, live: &Live, process: &str) {
        self.with(live, process, |of| of.in_step = true);
    }

    /// Of the process that is there now; what was done for an earlier one is forgotten.
    fn with<T>(&self, live: &Live, name: &str, run: impl FnOnce(&mut Process) -> T) -> T {
        let mut all = lock(&self.0);
        let of = all.entry(live.node.id.clone()).or_default();
        if of.name != name {
            *of = Process {
                name: name.to_owned(),
                ..Process::default()
            };
        }
        run(of)
    }
}

/// Whether a client asked for the model, and not only for the history.
fn loads(body: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(body)
        .is_ok_and(|asked| asked["load_model_and_extensions"] == true)
}
