//! The section `routing:` resolved: every default applied, paths made absolute and looked at.

use std::path::PathBuf;

use super::agent::{Placed, Resolver};
use super::routing::Routing;
use crate::routing::policy::Policy;

impl Resolver<'_> {
    /// The policy; what is wrong with it is noted.
    pub(super) fn policy(&mut self) -> Policy {
        let Some(keys) = self.parsed.roster.routing.clone() else {
            return Policy::default();
        };
        let working_dir = keys.working_dir.as_ref().and_then(|text| {
            let place = self.place_of("working_dir");
            self.existing_directory(
                "routing.working_dir",
                Placed {
                    value: text.clone(),
                    place,
                    owner: String::new(),
                    checked: true,
                },
            )
        });
        let tls_cert = self.file_of("tls_cert", keys.tls_cert.as_ref());
        let tls_key = self.file_of("tls_key", keys.tls_key.as_ref());
        over(
            keys,
            Policy {
                working_dir,
                tls_cert,
                tls_key,
                ..Policy::default()
            },
        )
    }

    fn place_of(&self, key: &str) -> String {
        let span = self.parsed.span(&["routing", key]);
        self.parsed.source.place(span)
    }

    fn file_of(&mut self, key: &str, text: Option<&String>) -> Option<PathBuf> {
        let place = self.place_of(key);
        self.file(&format!("routing.{key}"), text?, &place, "")
    }
}

/// The keys that name no paths, over the defaults.
fn over(keys: Routing, usual: Policy) -> Policy {
    Policy {
        default_strategy: keys.default_strategy.unwrap_or(usual.default_strategy),
        default_host_preference: keys.default_host_preference,
        weight_rtt: keys.weight_rtt.map_or(usual.weight_rtt, |w| w.0),
        weight_active_chats: keys
            .weight_active_chats
            .map_or(usual.weight_active_chats, |w| w.0),
        weight_cpu_load: keys.weight_cpu_load.map_or(usual.weight_cpu_load, |w| w.0),
        weight_memory_used: keys
            .weight_memory_used
            .map_or(usual.weight_memory_used, |w| w.0),
        max_cpu_load_pct: keys
            .max_cpu_load_pct
            .map_or(usual.max_cpu_load_pct, |s| s.0),
        max_memory_used_pct: keys
            .max_memory_used_pct
            .map_or(usual.max_memory_used_pct, |s| s.0),
        min_disk_available_bytes: keys
            .min_disk_available_bytes
            .map_or(usual.min_disk_available_bytes, |r| r.0),
        publish_interval_secs: keys
            .publish_interval_secs
            .unwrap_or(usual.publish_interval_secs),
        stale_after_secs: keys.stale_after_secs.unwrap_or(usual.stale_after_secs),
        require_healthy_goosed: keys
            .require_healthy_goosed
            .unwrap_or(usual.require_healthy_goosed),
        pin_ttl_secs: keys.pin_ttl.and_then(|l| l.0),
        gateway: keys.gateway.unwrap_or(usual.gateway),
        listen: keys.listen.unwrap_or(usual.listen),
        local_port: keys.local_port.unwrap_or(usual.local_port),
        ..usual
    }
}
