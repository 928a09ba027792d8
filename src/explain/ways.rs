//! Which way a message would take into an agent, and why not a better one.

use serde::Serialize;

use crate::delivery::channel::{self, ChannelKind};
use crate::delivery::codex::CodexServer;
use crate::delivery::guard::Target;
use crate::delivery::opencode::OpencodeHttp;
use crate::delivery::pi::PiSocket;
use crate::delivery::stop::Stop;
use crate::install::Install;
use crate::launch::Launch;

/// A way of a runtime.
#[derive(Debug, Clone, Serialize)]
pub struct Way {
    /// Which one.
    pub channel: ChannelKind,
    /// It stands at the moment.
    pub open: bool,
    /// A message would take it.
    pub taken: bool,
    /// Why it does not stand.
    pub why: Option<String>,
}

/// The ways of an agent's runtime, best first. Nothing is handed over.
pub(super) fn of(install: &Install, launch: &Launch) -> Vec<Way> {
    let mut taken = false;
    channel::ways(launch)
        .into_iter()
        .map(|channel| {
            let stands = stands(install, launch, channel);
            let open = stands.is_ok();
            let first = open && !taken;
            taken |= open;
            Way {
                channel,
                open,
                taken: first,
                why: stands.err().map(|stop| stop.reason),
            }
        })
        .collect()
}

fn stands(install: &Install, launch: &Launch, channel: ChannelKind) -> Result<(), Stop> {
    match channel {
        ChannelKind::PiSocket => PiSocket::connect(install, launch).map(drop),
        ChannelKind::Paste => Target::of(install, launch)?.looked().map(drop),
        ChannelKind::OpencodeHttp => OpencodeHttp::connect(install, launch).map(drop),
        ChannelKind::CodexServer => CodexServer::connect(install, launch).map(drop),
    }
}
