//! What must hold for `routing:`, and for the keys of an agent that chats are placed by.

use super::check::{Checker, Place};
use super::document::AgentEntry;
use super::suggest::clip;
use crate::routing::policy::Policy;

/// Longest interval between two observations: an hour. A longer one would only keep placements blind.
const INTERVAL_MOST: u64 = 3600;

/// Longest time for which an observation counts: a day.
const STALE_MOST: u64 = 86_400;

impl Checker<'_> {
    pub(super) fn routing(&mut self) {
        let Some(routing) = &self.parsed.roster.routing else {
            return;
        };
        let usual = Policy::default();
        let span = |key: &str| self.parsed.span(&["routing", key]);
        let mut wrong = Vec::new();
        let interval = routing.publish_interval_secs;
        if let Some(secs) = interval.filter(|s| !(1..=INTERVAL_MOST).contains(s)) {
            wrong.push((
                span("publish_interval_secs"),
                format!("invalid `routing.publish_interval_secs`: {secs} is not between 1 and {INTERVAL_MOST}"),
                None,
            ));
        }
        let stale = routing.stale_after_secs.unwrap_or(usual.stale_after_secs);
        let published = interval.unwrap_or(usual.publish_interval_secs);
        if stale > STALE_MOST {
            wrong.push((
                span("stale_after_secs"),
                format!("invalid `routing.stale_after_secs`: {stale} is more than {STALE_MOST}"),
                None,
            ));
        } else if stale <= published {
            let key = match routing.stale_after_secs {
                Some(_) => "stale_after_secs",
                None => "publish_interval_secs",
            };
            wrong.push((
                span(key),
                format!(
                    "an observation would be stale after {stale} s, before the next one comes after {published} s"
                ),
                Some("`routing.stale_after_secs` must be more than `routing.publish_interval_secs`, best some times as much"),
            ));
        }
        if routing.local_port == Some(0) {
            wrong.push((
                span("local_port"),
                "invalid `routing.local_port`: clients could not find a port that changes"
                    .to_owned(),
                None,
            ));
        }
        if let Some(host) = &routing.default_host_preference
            && (host.trim().is_empty() || host.contains(|c: char| c.is_control() || c == ','))
        {
            wrong.push((
                span("default_host_preference"),
                format!("invalid `routing.default_host_preference` `{}`", clip(host)),
                Some("the short name of a host, as `uname -n` prints it"),
            ));
        }
        let tls = (routing.tls_cert.is_some(), routing.tls_key.is_some());
        let listen = routing.listen.unwrap_or(usual.listen);
        match tls {
            (true, true) => {}
            (true, false) | (false, true) => {
                let (has, lacks) = match tls.0 {
                    true => ("tls_cert", "tls_key"),
                    false => ("tls_key", "tls_cert"),
                };
                wrong.push((
                    span(has),
                    format!("`routing.{has}` without `routing.{lacks}`"),
                    Some("TLS needs both: the certificate chain and its key"),
                ));
            }
            (false, false) if !listen.is_loopback() => wrong.push((
                span("listen"),
                format!("`routing.listen` is {listen}, beyond loopback, without TLS"),
                Some("give `tls_cert` and `tls_key`; or listen on 127.0.0.1, and reach it by `ssh -L`"),
            )),
            (false, false) => {}
        }
        let paths = [
            ("working_dir", &routing.working_dir),
            ("tls_cert", &routing.tls_cert),
            ("tls_key", &routing.tls_key),
        ];
        for (span, message, hint) in wrong {
            let error = self.add(span, message);
            error.hints.extend(hint.map(str::to_owned));
        }
        for (key, path) in paths {
            if let Some(path) = path {
                let span = self.parsed.span(&["routing", key]);
                self.path(&format!("routing.{key}"), path, "", span);
            }
        }
    }

    /// Labels and the most chats of an agent.
    pub(super) fn chats(&mut self, keys: &AgentEntry, owner: &str, place: Place<'_>) {
        for (key, value) in keys.labels.iter().flatten() {
            if !label_key(key) {
                self.add(
                    place(&["labels", key]),
                    format!("invalid label `{}`{owner}", clip(key)),
                )
                .hints
                .push(
                    "up to 63 letters, digits, `_`, `.` and `-`, starting with a letter or digit"
                        .to_owned(),
                );
            }
            if let Some(c) = value.chars().find(|c| c.is_control() || *c == ',') {
                self.add(
                    place(&["labels", key]),
                    format!(
                        "invalid value of the label `{}`{owner}: {c:?} in it",
                        clip(key)
                    ),
                )
                .hints
                .push("no selector could name it".to_owned());
            } else if value.trim() != value {
                self.add(
                    place(&["labels", key]),
                    format!(
                        "invalid value of the label `{}`{owner}: a blank at its edge",
                        clip(key)
                    ),
                )
                .hints
                .push("no selector could name it".to_owned());
            }
        }
        if keys.max_chats == Some(0) {
            self.add(
                place(&["max_chats"]),
                format!("invalid `max_chats`{owner}: it would never get a chat"),
            )
            .hints
            .push("`mosaic node drain NAME` keeps chats from an agent for a while".to_owned());
        }
    }
}

fn label_key(key: &str) -> bool {
    let other = |b: u8| matches!(b, b'_' | b'.' | b'-');
    (1..=63).contains(&key.len())
        && key.as_bytes()[0].is_ascii_alphanumeric()
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || other(b))
}
