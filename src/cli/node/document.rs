//! The nodes as JSON, for `node list` and `node show`.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

use crate::routing::choose::{Chooser, Source};
use crate::routing::node::{Dialect, Load};
use crate::routing::observe::Known;
use crate::routing::pins::Ledger;
use crate::routing::placement::{Rejection, Terms, Verdict, Wish};

/// Version of the documents.
pub const VERSION: u32 = 1;

/// All nodes.
#[derive(Debug, Serialize)]
pub struct Document<'a> {
    version: u32,
    /// Who observed them.
    source: Source,
    /// Where the next chat goes, whatever the scores.
    next_chat_target: Option<String>,
    /// In the order of their names.
    pub nodes: Vec<NodeDocument<'a>>,
}

impl Document<'_> {
    /// Where the next chat goes, whatever the scores.
    pub fn next_target(&self) -> Option<&str> {
        self.next_chat_target.as_deref()
    }
}

/// One node.
#[derive(Debug, Serialize)]
pub struct NodeDocument<'a> {
    pub id: &'a str,
    pub host: &'a str,
    pub class: &'a str,
    pub runtime: &'a str,
    pub dialect: Dialect,
    /// Where it is reached by HTTP; `null` for a plain terminal and a server that was never started.
    pub endpoint: Option<String>,
    pub labels: &'a BTreeMap<String, String>,
    pub model_hint: Option<&'a str>,
    pub working_directory: &'a Path,
    pub priority: i32,
    pub max_chats: Option<u32>,
    /// `healthy`, `refused`, `timeout`, `unauthorized`, `unfit`; `null` when it was never observed.
    pub health: Option<&'static str>,
    /// Why it is not healthy.
    pub why: &'a str,
    /// The agent's state.
    pub state: &'a str,
    /// Chats on it, those being made included.
    pub chats: u32,
    /// It gets no new ones.
    pub drained: bool,
    /// When it was observed.
    pub observed: Option<Timestamp>,
    pub rtt_ms: Option<f64>,
    pub load: Option<Load>,
    /// What keeps a chat that asks for nothing from it; empty when it is eligible.
    pub rejected: Vec<Rejection>,
    /// Its score by term.
    pub terms: Option<Terms>,
    pub score: Option<f64>,
}

/// Everything that is known.
pub fn document<'a>(chooser: &'a Chooser, ledger: &Ledger) -> Document<'a> {
    let mut verdicts: BTreeMap<String, Verdict> = chooser
        .explain(ledger, &Wish::default())
        .into_iter()
        .map(|v| (v.id.clone(), v))
        .collect();
    Document {
        version: VERSION,
        source: chooser.source(),
        next_chat_target: ledger.history.next_target.as_ref().map(ToString::to_string),
        nodes: chooser
            .nodes()
            .iter()
            .map(|known| node(chooser, known, ledger, verdicts.remove(&known.node.id)))
            .collect(),
    }
}

fn node<'a>(
    chooser: &'a Chooser,
    known: &'a Known,
    ledger: &Ledger,
    verdict: Option<Verdict>,
) -> NodeDocument<'a> {
    let node = &known.node;
    let advert = chooser.advert(&node.id);
    let (rejected, terms, score) = match verdict {
        Some(v) => (v.rejected, v.terms, v.score),
        None => (Vec::new(), None, None),
    };
    NodeDocument {
        id: &node.id,
        host: &node.host,
        class: &node.class,
        runtime: &node.runtime,
        dialect: node.dialect,
        endpoint: known
            .endpoint
            .as_ref()
            .map(|e| format!("http://127.0.0.1:{}", e.port)),
        labels: &node.labels,
        model_hint: node.model_hint.as_deref(),
        working_directory: &node.working_directory,
        priority: node.priority,
        max_chats: node.max_chats,
        health: advert.map(|a| a.health.as_str()),
        why: advert.map_or("", |a| a.health.why()),
        state: advert.map_or("unknown", |a| a.state.as_str()),
        chats: ledger.chats.get(&node.id).copied().unwrap_or(0),
        drained: ledger.drained.contains(&node.id),
        observed: advert.map(|a| a.observed),
        rtt_ms: advert.map(|a| a.rtt_ms),
        load: advert.map(|a| a.load),
        rejected,
        terms,
        score,
    }
}
