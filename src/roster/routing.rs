//! The section `routing:` as written. Its comments are the reference; what must hold for its values is
//! left to [`super::check`], and what becomes of them to [`super::resolve`].

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Deserialize;

use super::values::{Lifetime, Room, Share, Weight};
use crate::routing::policy::{DEFAULT_PORT, Strategy};

/// How chats are placed on the agents, and the gateway for clients that speak HTTP. Read anew by whoever
/// places a chat: a change restarts no agent.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Routing {
    /// Which of the eligible nodes gets a chat: `balanced`, the one with the lowest score; `least-chats`;
    /// `round-robin`; `sticky-host`, one on the host of the last chat.
    #[schemars(extend("default" = "balanced"))]
    pub default_strategy: Option<Strategy>,
    /// Host that is preferred while it has an eligible node, by its short name.
    pub default_host_preference: Option<String>,
    /// Score for a millisecond of round trip. The node with the lowest sum of the four is the best one.
    #[schemars(extend("default" = 1.0))]
    pub weight_rtt: Option<Weight>,
    /// Score for a chat that the node has already.
    #[schemars(extend("default" = 15.0))]
    pub weight_active_chats: Option<Weight>,
    /// Score for a per cent of processor load.
    #[schemars(extend("default" = 0.7))]
    pub weight_cpu_load: Option<Weight>,
    /// Score for a per cent of memory used.
    #[schemars(extend("default" = 0.5))]
    pub weight_memory_used: Option<Weight>,
    /// Above this processor load of its host a node gets no chat.
    #[schemars(extend("default" = 95))]
    pub max_cpu_load_pct: Option<Share>,
    /// Above this share of memory used on its host a node gets no chat.
    #[schemars(extend("default" = 95))]
    pub max_memory_used_pct: Option<Share>,
    /// With less free room than this on its working directory's file system a node gets no chat: `10G`, or
    /// a number of bytes.
    #[schemars(extend("default" = "10G"))]
    pub min_disk_available_bytes: Option<Room>,
    /// Seconds between two observations of the nodes by the gateway.
    #[schemars(range(min = 1, max = 3600), extend("default" = 5))]
    pub publish_interval_secs: Option<u64>,
    /// Seconds after which an observation is too old to place by; more than the interval.
    #[schemars(range(min = 2, max = 86400), extend("default" = 20))]
    pub stale_after_secs: Option<u64>,
    /// Whether a server that does not answer its probe gets no chats. Plain terminals must always be able
    /// to take one.
    #[schemars(extend("default" = true))]
    pub require_healthy_goosed: Option<bool>,
    /// Working directory of chats whose client names none; else the node's own. Must exist.
    pub working_dir: Option<String>,
    /// After which time a pin that was not used is released: `12h`, `7d`, or `never`.
    #[schemars(extend("default" = "never"))]
    pub pin_ttl: Option<Lifetime>,
    /// Whether the fleet has a gateway, started with it.
    #[schemars(extend("default" = false))]
    pub gateway: Option<bool>,
    /// The port that the gateway listens on.
    #[schemars(range(min = 1), extend("default" = DEFAULT_PORT))]
    pub local_port: Option<u16>,
    /// The address that the gateway listens on. One beyond loopback needs `tls_cert` and `tls_key`.
    #[schemars(with = "Option<String>", extend("default" = "127.0.0.1"))]
    pub listen: Option<IpAddr>,
    /// Certificate chain in PEM, for TLS.
    pub tls_cert: Option<String>,
    /// Its key in PEM.
    pub tls_key: Option<String>,
}
