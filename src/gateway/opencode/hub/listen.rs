//! Listening to one node, for as long as somebody wants to hear it: joined, lost, joined again.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::gateway::upstream::NodeBody;
use http_body_util::BodyExt as _;
use tokio::sync::watch;

use super::window::Window;
use super::{State, Topic, heard};
use crate::gateway::nodes::Live;
use crate::gateway::opencode::ask;
use crate::gateway::opencode::frames::Cutter;

/// How long a node may take to begin.
const BEGIN: Duration = Duration::from_secs(10);

/// Three of its signs of life: a node that is silent for longer is gone.
const SILENT: Duration = Duration::from_secs(30);

/// Between two tries to join a node, at first and at most. A node that starts is joined soon enough that
/// nobody has done anything with it before.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

/// Passes a node's events on until it is aborted. `tried` is told once it is clear whether the node is
/// there.
pub async fn to(
    state: Weak<State>,
    live: Arc<Live>,
    topic: Topic,
    window: Arc<Window>,
    tried: watch::Sender<bool>,
) {
    let mut again = false;
    let mut pause = PAUSE.0;
    loop {
        if let Some(body) = join(&state, &live, &topic).await {
            tried.send_replace(true);
            pause = PAUSE.0;
            let why = pass_on(&state, &live, body, &window, again).await;
            tracing::info!(node = live.node.id, "events are over: {why}");
        }
        tried.send_replace(true);
        again = true;
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
        if state.strong_count() == 0 {
            return;
        }
    }
}

async fn join(state: &Weak<State>, live: &Arc<Live>, topic: &Topic) -> Option<NodeBody> {
    let gateway = Arc::clone(&state.upgrade()?.gateway);
    let endpoint = live.endpoint.as_ref()?;
    let request = ask::get(&topic.path).ok()?;
    match gateway.upstream.send(endpoint, request, BEGIN).await {
        Ok(answer) if answer.status().is_success() => Some(answer.into_body()),
        Ok(answer) => {
            tracing::info!(
                node = live.node.id,
                "no events: it answers {}",
                answer.status()
            );
            None
        }
        Err(e) => {
            tracing::debug!(node = live.node.id, "no events: {e}");
            None
        }
    }
}

/// Until the node's stream ends; why it did.
async fn pass_on(
    state: &Weak<State>,
    live: &Arc<Live>,
    mut body: NodeBody,
    window: &Window,
    again: bool,
) -> String {
    let mut cutter = Cutter::default();
    let cut = live.streams.wait();
    tokio::pin!(cut);
    loop {
        let frame = tokio::select! {
            frame = tokio::time::timeout(SILENT, body.frame()) => frame,
            () = &mut cut => return "the node is not well".to_owned(),
        };
        let bytes = match frame {
            Err(_) => return format!("nothing for {} s", SILENT.as_secs()),
            Ok(None) => return "the node ended them".to_owned(),
            Ok(Some(Err(e))) => return e.to_string(),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(bytes) => bytes,
                Err(_) => continue,
            },
        };
        if let Err(why) = cutter.push(&bytes) {
            return why.to_owned();
        }
        while let Some(frame) = cutter.next() {
            let Some(state) = state.upgrade() else {
                return "the gateway ends".to_owned();
            };
            if let Some(frame) = heard(&state, live, frame, again).await {
                window.push(frame);
            }
        }
    }
}
