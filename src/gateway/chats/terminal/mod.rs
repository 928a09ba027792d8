//! Chats on plain terminals: said by the delivery engine, read back from the mailbox and from the agent's
//! own record. All of it waits for files, tmux or the agent, so it runs on threads of its own, of which
//! there are not many.

mod conversation;
mod interrupt;
mod say;
mod threads;

pub use conversation::{conversation, messages_of};
pub use interrupt::{break_off, cancel};
pub use say::{Outcome, say, send, status_of, timeout};
pub use threads::Threads;

use crate::gateway::Gateway;
use crate::gateway::reply::Reply;
use crate::install::Install;
use crate::launch::Launch;
use crate::state::Observation;
use crate::state::observe::observe;

/// The fleet that a gateway belongs to.
///
/// # Errors
/// 503: it has none.
pub fn install_of(gateway: &Gateway, node: &str) -> Result<Install, Reply> {
    gateway
        .install
        .clone()
        .ok_or_else(|| Reply::down(node, "", "this gateway has no fleet of its own"))
}

/// Reads an agent's launch file. Blocks.
///
/// # Errors
/// 503: there is none.
pub fn launch_of(install: &Install, node: &str, chat: &str) -> Result<Launch, Reply> {
    Launch::load(&install.paths.launch(node)).map_err(|e| Reply::down(node, chat, &e.to_string()))
}

/// What an agent does at the moment. Blocks.
pub fn seen(install: &Install, launch: &Launch) -> Observation {
    let panes = install.tmux().panes().unwrap_or_default();
    observe(install, launch, &panes, false)
}
