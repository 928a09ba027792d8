//! How chats are placed: weights, limits, preferences, as resolved from a roster's `routing:`. `apply`
//! writes it down; placement and the gateway read only that.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::host::files;
use crate::paths::Paths;

/// Version written; older ones must load for ever.
pub const VERSION: u32 = 1;

/// The port under which clients find the gateway where the roster names none.
pub const DEFAULT_PORT: u16 = 43_123;

/// Which of the eligible nodes gets a chat.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    JsonSchema,
    clap::ValueEnum,
    utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// The lowest score of round trip, chats, processor and memory.
    #[default]
    Balanced,
    /// The fewest chats, whatever the load.
    LeastChats,
    /// The next one by name after the last one chosen.
    RoundRobin,
    /// One on the host of the last one chosen, while that host has any; by score among them.
    StickyHost,
}

impl Strategy {
    /// As written in YAML and printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Strategy::Balanced => "balanced",
            Strategy::LeastChats => "least-chats",
            Strategy::RoundRobin => "round-robin",
            Strategy::StickyHost => "sticky-host",
        }
    }
}

/// Everything that placement and the gateway are told, every default applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// Format version.
    pub version: u32,
    /// Which of the eligible nodes gets a chat.
    pub default_strategy: Strategy,
    /// Host that is preferred while it has an eligible node.
    pub default_host_preference: Option<String>,
    /// Score for a millisecond of round trip.
    pub weight_rtt: f64,
    /// Score for a chat.
    pub weight_active_chats: f64,
    /// Score for a per cent of processor load.
    pub weight_cpu_load: f64,
    /// Score for a per cent of memory used.
    pub weight_memory_used: f64,
    /// Above this many per cent of processor load nothing is placed.
    pub max_cpu_load_pct: f64,
    /// Above this many per cent of memory used nothing is placed.
    pub max_memory_used_pct: f64,
    /// Below this many free bytes on the working directory's file system nothing is placed.
    pub min_disk_available_bytes: u64,
    /// Seconds between two adverts of a node.
    pub publish_interval_secs: u64,
    /// Seconds after which an advert is too old to place by.
    pub stale_after_secs: u64,
    /// Whether a server that does not answer its probe gets no chats.
    pub require_healthy_goosed: bool,
    /// Working directory of chats whose client names none; else the node's own.
    pub working_dir: Option<PathBuf>,
    /// Seconds after which an unused pin is released; `None` for never.
    pub pin_ttl_secs: Option<u64>,
    /// Whether the fleet has a gateway of its own, started with it.
    pub gateway: bool,
    /// The address that the gateway listens on.
    pub listen: IpAddr,
    /// The port that the gateway listens on.
    pub local_port: u16,
    /// Certificate chain in PEM, for TLS.
    pub tls_cert: Option<PathBuf>,
    /// Its key in PEM.
    pub tls_key: Option<PathBuf>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            version: VERSION,
            default_strategy: Strategy::default(),
            default_host_preference: None,
            weight_rtt: 1.0,
            weight_active_chats: 15.0,
            weight_cpu_load: 0.7,
            weight_memory_used: 0.5,
            max_cpu_load_pct: 95.0,
            max_memory_used_pct: 95.0,
            // Ten gibibytes: a chat that builds software fills less than that on most days.
            min_disk_available_bytes: 10 * 1024 * 1024 * 1024,
            publish_interval_secs: 5,
            stale_after_secs: 20,
            require_healthy_goosed: true,
            working_dir: None,
            pin_ttl_secs: None,
            gateway: false,
            listen: IpAddr::from([127, 0, 0, 1]),
            local_port: DEFAULT_PORT,
            tls_cert: None,
            tls_key: None,
        }
    }
}

impl Policy {
    /// What the last `apply` wrote; the defaults where it wrote nothing yet.
    ///
    /// # Errors
    /// Kind `Config`: damaged, or from a newer mosaic.
    pub fn load(paths: &Paths) -> Result<Self> {
        Self::read(&paths.routing_policy())
    }

    fn read(path: &Path) -> Result<Self> {
        let policy = files::read_json::<Policy>(path)
            .map_err(|e| e.hint("`mosaic fleet apply` writes it anew"))?
            .unwrap_or_default();
        if policy.version > VERSION {
            return Err(Error::config(format!(
                "`{}` was written by a newer mosaic (format {}, this one knows {VERSION})",
                path.display(),
                policy.version
            ))
            .hint("upgrade mosaic"));
        }
        Ok(policy)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_policy_of_the_first_format_loads_and_a_newer_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("routing.json");
        assert_eq!(Policy::read(&path).unwrap(), Policy::default());
        std::fs::write(&path, r#"{"version":1,"weight_rtt":2.5,"local_port":1}"#).unwrap();
        let policy = Policy::read(&path).unwrap();
        assert_eq!((policy.weight_rtt, policy.local_port), (2.5, 1));
        assert_eq!(policy.weight_active_chats, 15.0);
        std::fs::write(&path, r#"{"version":2}"#).unwrap();
        assert!(Policy::read(&path).unwrap_err().message.contains("newer"));
    }
}
