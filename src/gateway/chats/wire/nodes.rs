//! Nodes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::gateway::nodes::Live;
use crate::routing::node::{Dialect, Load};
use crate::routing::pins::Ledger;

/// A node, and how it was when it was observed last.
#[derive(Debug, Serialize, ToSchema)]
pub struct Node {
    /// Its name.
    pub id: String,
    /// The host it is on.
    pub host: String,
    /// Group.
    pub class: String,
    /// Runtime.
    pub runtime: String,
    /// What it understands.
    pub dialect: Dialect,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Wish for a model.
    pub model_hint: Option<String>,
    /// Where it works.
    pub working_directory: String,
    /// Among nodes of the same score, the higher one is taken.
    pub priority: i32,
    /// Most chats at a time.
    pub max_chats: Option<u32>,
    /// Chats that are pinned to it.
    pub chats: u32,
    /// It gets no new chats.
    pub drained: bool,
    /// How its probe went: healthy, refused, timeout, unauthorized, unfit; `unknown` before the first one.
    pub health: String,
    /// Why it is not healthy; empty when it is.
    pub why: String,
    /// When it was observed; `null` before the first time.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub observed: Option<Timestamp>,
    /// What it was seen doing: idle, working, waiting …
    pub state: String,
    /// Round trip to it, in milliseconds.
    pub rtt_ms: Option<f64>,
    /// Load.
    pub load: Option<Load>,
}

impl Node {
    /// A node as it is known at the moment.
    pub fn of(live: &Live, ledger: &Ledger) -> Self {
        let (node, advert) = (&live.node, live.advert());
        let advert = advert.as_deref();
        Self {
            id: node.id.clone(),
            host: node.host.clone(),
            class: node.class.clone(),
            runtime: node.runtime.clone(),
            dialect: node.dialect,
            labels: node.labels.clone(),
            model_hint: node.model_hint.clone(),
            working_directory: node.working_directory.display().to_string(),
            priority: node.priority,
            max_chats: node.max_chats,
            chats: ledger.chats.get(&node.id).copied().unwrap_or(0),
            drained: ledger.drained.contains(&node.id),
            health: advert.map_or("unknown", |a| a.health.as_str()).to_owned(),
            why: advert.map_or("", |a| a.health.why()).to_owned(),
            observed: advert.map(|a| a.observed),
            state: advert.map_or("", |a| a.state.as_str()).to_owned(),
            rtt_ms: advert.map(|a| a.rtt_ms),
            load: advert.map(|a| a.load),
        }
    }
}

/// All nodes.
#[derive(Debug, Serialize, ToSchema)]
pub struct Nodes {
    /// In the order of their names.
    pub nodes: Vec<Node>,
}
