//! Chats and their nodes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::gateway::nodes::Live;
use crate::routing::node::Dialect;
use crate::routing::pins::Pin;
use crate::routing::policy::Strategy;

/// Begins a chat.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Begin {
    /// Its name, for example `ISSUE-12`; without one it gets one.
    pub chat: Option<String>,
    /// Which nodes come into question: `NAME`, `class:`, `host:`, `runtime:`, `dialect:`, `label:KEY=VALUE`,
    /// separated by commas.
    pub selector: Option<String>,
    /// In place of the fleet's strategy.
    pub strategy: Option<Strategy>,
    /// In place of the fleet's preferred host.
    pub host: Option<String>,
    /// Where it works: an absolute directory. A plain terminal works where it works already.
    pub working_dir: Option<String>,
    /// Title, where a node's sessions have one.
    pub title: Option<String>,
}

/// A chat and its node.
#[derive(Debug, Serialize, ToSchema)]
pub struct Chat {
    /// Its name.
    pub chat: String,
    /// Its node, for the chat's life.
    pub node: String,
    /// What the node understands.
    pub dialect: Dialect,
    /// The node's own name of the chat, where it has one.
    pub native: Option<String>,
    /// When it was placed.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    /// When it was used last, to a minute.
    #[schema(value_type = String, format = DateTime)]
    pub used: Timestamp,
    /// How the node's last probe went.
    pub health: String,
    /// What the node was seen doing.
    pub state: String,
}

impl Chat {
    /// A pin, with what is known of its node.
    pub fn of(pin: Pin, live: Option<&Live>) -> Self {
        let advert = live.and_then(Live::advert);
        Self {
            chat: pin.chat,
            node: pin.node,
            dialect: pin.dialect,
            native: pin.native,
            created: pin.created,
            used: pin.used,
            health: advert
                .as_ref()
                .map_or("unknown", |a| a.health.as_str())
                .to_owned(),
            state: advert.map_or(String::new(), |a| a.state.clone()),
        }
    }
}

/// Chats.
#[derive(Debug, Serialize, ToSchema)]
pub struct Chats {
    /// In the order of their names.
    pub chats: Vec<Chat>,
}
