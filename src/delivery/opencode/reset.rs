//! A new, empty session for an agent, shown on its terminal.

use std::time::Duration;

use super::{OpencodeHttp, SHOW, session};
use crate::delivery::channel::Channel as _;
use crate::delivery::stop::{Reached, Stop};
use crate::install::Install;
use crate::launch::Launch;

/// An empty session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fresh {
    /// Its id.
    pub session: String,
    /// What proves it.
    pub evidence: Vec<String>,
}

/// Makes a new session, waits until the terminal shows it, and sees that it is empty. The old session
/// stays in opencode's list. A draft stands in the new one as it stood in the old one.
///
/// # Errors
/// `Nothing` while the agent still shows its old session.
pub fn new_session(install: &Install, launch: &Launch, wait: Duration) -> Result<Fresh, Stop> {
    // One that does not answer at once may do so in time.
    let channel = OpencodeHttp::of(install, launch)?;
    channel.ready(wait)?;
    let session = channel.client.create().map_err(|f| channel.failed(&f))?.id;
    let before = channel.account.mark();
    channel
        .client
        .select(&session)
        .map_err(|f| channel.failed(&f))?;
    let half = |reason: String| Stop {
        reached: Reached::Typed,
        ..Stop::refused(reason)
    };
    if !session::wait_shown(&channel.account, before, &session, SHOW) {
        return Err(half(format!(
            "`{}` was told to show the new session {session}, and does not say that it does",
            channel.agent
        ))
        .hint("look at it with `mosaic agent attach`, or use `--restart`"));
    }
    let held = channel.client.messages(&session, 1);
    match held.map(|messages| messages.len()) {
        Ok(0) => Ok(Fresh {
            evidence: vec![
                format!("opencode shows {session}"),
                "it holds no message".to_owned(),
            ],
            session,
        }),
        Ok(_) => Err(half(format!("the new session {session} is not empty"))),
        Err(failure) => Err(half(format!(
            "whether the new session {session} is empty is not known: {failure}"
        ))),
    }
}
