//! What a node is, and what is known of it at the moment. Plain data.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fleet::Agent;

/// What a node understands.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// Messages by the delivery engine, whatever its way into the agent.
    #[default]
    Tui,
    /// The REST interface of goosed 1.28 to 1.37.
    Goosed,
    /// The Agent Client Protocol over HTTP, as `goose serve` speaks it.
    Acp,
    /// opencode's HTTP interface.
    Opencode,
}

impl Dialect {
    /// As written in YAML and printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Dialect::Tui => "tui",
            Dialect::Goosed => "goosed",
            Dialect::Acp => "acp",
            Dialect::Opencode => "opencode",
        }
    }
}

/// A node as the roster has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The agent's name. Chats of servers are called `ID.NATIVE`, so it holds no dot.
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
    pub working_directory: PathBuf,
    /// Among nodes of the same score, the higher one is taken.
    pub priority: i32,
    /// Most chats at a time.
    pub max_chats: Option<u32>,
}

impl Node {
    /// The node that an agent of this host is.
    pub fn of(agent: &Agent, host: &str) -> Self {
        Self {
            id: agent.name.to_string(),
            host: host.to_owned(),
            class: agent.class.clone(),
            runtime: agent.runtime.clone(),
            dialect: agent.spec.dialect.unwrap_or_default(),
            labels: agent.labels.clone(),
            model_hint: agent.model_hint.clone(),
            working_directory: agent.working_directory.clone(),
            priority: agent.priority,
            max_chats: agent.max_chats,
        }
    }
}

/// How a probe of a node went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case", tag = "health", content = "why")]
pub enum Health {
    /// It answers; a plain TUI: it runs and can be given messages.
    Healthy,
    /// It does not run, or nobody listens on its port.
    Refused(String),
    /// It listens and does not answer in time.
    Timeout(String),
    /// It answers and does not take mosaic's secret.
    Unauthorized(String),
    /// It runs and cannot take a chat: starting, waits for a person, rate-limited, answers with errors.
    Unfit(String),
}

impl Health {
    /// Whether a chat can be placed on it.
    pub const fn is_healthy(&self) -> bool {
        matches!(self, Health::Healthy)
    }

    /// As printed.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Health::Healthy => "healthy",
            Health::Refused(_) => "refused",
            Health::Timeout(_) => "timeout",
            Health::Unauthorized(_) => "unauthorized",
            Health::Unfit(_) => "unfit",
        }
    }

    /// Why it is not healthy; empty when it is.
    pub fn why(&self) -> &str {
        match self {
            Health::Healthy => "",
            Health::Refused(why)
            | Health::Timeout(why)
            | Health::Unauthorized(why)
            | Health::Unfit(why) => why,
        }
    }
}

/// Load of the machine a node is on, and of the node itself where that is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Load {
    /// Processor load of the host, in per cent of all its processors.
    pub cpu_load_pct: f64,
    /// Memory in use on the host, in per cent.
    pub memory_used_pct: f64,
    /// Free bytes for this user on the working directory's file system.
    pub disk_available_bytes: u64,
    /// Bytes in use by the agent's own control group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_memory_bytes: Option<u64>,
    /// Processor time of the agent's own control group so far, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_cpu_seconds: Option<f64>,
}

/// What is known of a node at a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Advert {
    /// Node.
    pub id: String,
    /// When it was observed.
    pub observed: Timestamp,
    /// How its probe went.
    #[serde(flatten)]
    pub health: Health,
    /// Load.
    pub load: Load,
    /// Round trip of a probe on a connection that stood already, in milliseconds, as the observer measured
    /// it. 0 where there is no network between them.
    pub rtt_ms: f64,
    /// The agent's state in mosaic's words: idle, working, waiting …
    #[serde(default)]
    pub state: String,
}
