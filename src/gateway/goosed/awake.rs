//! Which chats have their model. A goosed keeps chats over a restart and their models not, and it keeps the
//! agents of the hundred chats used last only (`GOOSE_MAX_ACTIVE_AGENTS`): a message to any other one is answered
//! with "Provider not set" until the chat is resumed. Clients that have resumed it once know of neither; the
//! gateway resumes the chat before it is asked for anything that its agent does.
//!
//! A chat that this gateway knows nothing of, since it was itself started later, is resumed as well, as Goose
//! Desktop does with every chat that it opens.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode, header};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::ask::ask;
use super::process::Known;
use super::table::{Route, Wait};
use crate::gateway::failure::Failure;
use crate::gateway::nodes::Live;
use crate::gateway::reply::Reply;
use crate::gateway::whole::{beginning, unwanted};
use crate::gateway::{Gateway, lock};

/// Most chats of a process that are known to have their model: well below the hundred that goosed keeps, since
/// it has others too, of jobs and of whoever asks it past the gateway.
const MOST: usize = 64;

/// What a client says to have its chat's model loaded, which the gateway has to know.
const RESUME: &str = "/agent/resume";
const RESTART: &str = "/agent/restart";

/// What takes the model away.
const STOP: &str = "/agent/stop";
const DELETE: (&str, &str) = ("DELETE", "/sessions/{session}");

/// The chats that have their model, and those that are being given it.
#[derive(Debug, Default)]
pub struct Awake {
    chats: Known<Recent>,
    waking: Waking,
}

/// Chats that are being given their model, by their node, its process and their native names.
type Waking = Mutex<BTreeMap<(String, String, String), Arc<Waits>>>;

/// What came of it, for all that wait for the same.
type Waits = OnceCell<Result<Woken, Failure>>;

/// What came of it.
#[derive(Debug, Clone)]
pub enum Woken {
    /// The chat has its model.
    Has,
    /// Its node does not give it one, and what it says.
    Refused(StatusCode, Bytes),
}

/// Who waits for a chat's model.
struct Waiting<'a> {
    all: &'a Waking,
    name: (String, String, String),
    woken: Arc<Waits>,
}

impl<'a> Waiting<'a> {
    fn of(all: &'a Waking, live: &Live, process: &str, native: &str) -> Self {
        let name = (live.node.id.clone(), process.to_owned(), native.to_owned());
        let woken = Arc::clone(lock(all).entry(name.clone()).or_default());
        Self { all, name, woken }
    }
}

impl Drop for Waiting<'_> {
    /// The next one tries anew, if it has to. The last one that goes leaves nothing behind.
    fn drop(&mut self) {
        let mut all = lock(self.all);
        let same = all.get(&self.name);
        let same = same.is_some_and(|woken| Arc::ptr_eq(woken, &self.woken));
        if same && (self.woken.initialized() || Arc::strong_count(&self.woken) == 2) {
            all.remove(&self.name);
        }
    }
}

/// Chats in the order of their use, the last used last.
#[derive(Debug, Default)]
struct Recent(Vec<String>);

impl Recent {
    /// Notes that a chat is used, if it is among them. Whether it is.
    fn touch(&mut self, native: &str) -> bool {
        let at = self.0.iter().position(|known| known == native);
        at.map(|at| self.0[at..].rotate_left(1)).is_some()
    }

    fn add(&mut self, native: &str) {
        if self.touch(native) {
            return;
        }
        if self.0.len() >= MOST {
            self.0.remove(0);
        }
        self.0.push(native.to_owned());
    }

    fn forget(&mut self, native: &str) {
        self.0.retain(|known| known != native);
    }
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
    /// Makes sure that a chat has its model. `process` is the node's, as it is now; of one that is not known
    /// nothing is kept. However many ask for a chat at once, it is resumed once, and they wait for that.
    ///
    /// # Errors
    /// The node did not answer, and the request must not be sent.
    pub async fn wake(
        &self,
        gateway: &Gateway,
        live: &Arc<Live>,
        process: Option<&str>,
        native: &str,
        chat: &str,
    ) -> Result<Woken, Reply> {
        let has = || process.is_some_and(|process| self.touch(live, process, native));
        if has() {
            return Ok(Woken::Has);
        }
        let waiting = Waiting::of(&self.waking, live, process.unwrap_or_default(), native);
        // Whoever is first does it; where its client goes away, the next one.
        let done = waiting
            .woken
            .get_or_init(|| async {
                if has() {
                    return Ok(Woken::Has);
                }
                self.resumed(gateway, live, process, native).await
            })
            .await;
        done.clone()
            .map_err(|failure| Reply::failed(&live.node.id, chat, &failure))
    }

    async fn resumed(
        &self,
        gateway: &Gateway,
        live: &Arc<Live>,
        process: Option<&str>,
        native: &str,
    ) -> Result<Woken, Failure> {
        let request = resume(native).map_err(|reply| Failure::NotSent(reply.message))?;
        let answer = ask(gateway, live, request, Wait::Create).await?;
        let status = answer.status();
        if status.is_success() {
            // It has its model by now, however long the rest of the answer takes.
            let _ = timeout(Wait::Create.time(), unwanted(answer.into_body())).await;
            self.woke(live, process, native);
            return Ok(Woken::Has);
        }
        tracing::info!(
            node = live.node.id,
            native,
            "the session could not be resumed: {status}"
        );
        Ok(Woken::Refused(status, beginning(answer.into_body()).await))
    }

    /// Whether a chat is known to have its model, which is being used.
    pub fn touch(&self, live: &Live, process: &str, native: &str) -> bool {
        self.chats.with(live, process, |of| of.touch(native))
    }

    /// Notes that a chat has its model. `process` is that of before it was asked for.
    pub fn woke(&self, live: &Live, process: Option<&str>, native: &str) {
        if let Some(process) = process {
            self.chats.with(live, process, |of| of.add(native));
        }
    }

    /// Notes what the answer to a client's own request means.
    pub fn told(
        &self,
        route: &Route,
        body: &[u8],
        live: &Live,
        process: Option<&str>,
        native: &str,
        status: StatusCode,
    ) {
        // Nobody has what is not there.
        let gone = status.is_success() || status == StatusCode::NOT_FOUND;
        match (route.method, route.path) {
            (_, RESTART) if status.is_success() => self.woke(live, process, native),
            (_, RESUME) if status.is_success() && loads(body) => self.woke(live, process, native),
            (_, STOP) | DELETE if gone => self.chats.of_any(live, |of| of.forget(native)),
            _ => {}
        }
    }
}

/// Whether a client asked for the model, and not only for the history.
fn loads(body: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(body)
        .is_ok_and(|asked| asked["load_model_and_extensions"] == true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chats_used_last_are_known() {
        let mut recent = Recent::default();
        for n in 0..MOST {
            recent.add(&n.to_string());
        }
        assert!(recent.touch("0"));
        recent.add("new");
        assert!(recent.touch("0") && recent.touch("new") && !recent.touch("1"));
        assert_eq!(recent.0.len(), MOST);
        recent.forget("0");
        assert!(!recent.touch("0"));
    }
}
