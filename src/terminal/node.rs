//! An agent that is a server: its port and secret, and what happens when somebody else has the port.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use super::stopped;
use crate::error::{Error, Result};
use crate::fleet::StartLimit;
use crate::host::{files, listening, lock};
use crate::install::Install;
use crate::launch::Launch;
use crate::paths::Paths;
use crate::record::{self, NodeRecord, What};

/// Below what systems hand out to outgoing connections: one of those could have the port of a server
/// that is just being restarted.
const PORTS: std::ops::Range<u16> = 17_000..30_000;

/// Between two tries of a port that is in use.
const TRY: Duration = Duration::from_millis(200);

/// How long a first start waits for its port: an earlier server may just be ending.
const FIRST: Duration = Duration::from_secs(1);

/// Shorter than what a start may take at least, with some left for the rest.
const LONGEST: Duration = Duration::from_secs(62);

/// Port and secret of a server agent: made at its first start, kept for ever.
///
/// # Errors
/// No free port, or the record cannot be written.
pub fn record(paths: &Paths, agent: &str) -> Result<NodeRecord> {
    if let Some(node) = files::read_json::<NodeRecord>(&paths.node(agent))? {
        return Ok(node);
    }
    // Agents that start at the same time must not choose the same port.
    let _lock = lock::exclusive(
        &paths.runtime.join("locks/ports"),
        "the choice of ports",
        Duration::from_secs(10),
    )?;
    let node = NodeRecord {
        version: 1,
        port: choose(&taken(paths)).ok_or_else(|| {
            Error::unavailable(format!(
                "no free port for `{agent}` between {} and {}",
                PORTS.start, PORTS.end
            ))
        })?,
        // Two v4 UUIDs: 244 random bits from the system's generator.
        secret: format!(
            "{}{}",
            uuid::Uuid::new_v4().simple(),
            uuid::Uuid::new_v4().simple()
        ),
    };
    files::write_atomic(
        &paths.node(agent),
        files::to_json(&node).as_bytes(),
        files::PRIVATE,
    )?;
    Ok(node)
}

/// A port that nobody has and no agent owns, from a random place on.
fn choose(taken: &[u16]) -> Option<u16> {
    let count = PORTS.end - PORTS.start;
    let random = uuid::Uuid::new_v4().as_u128() % u128::from(count);
    let first = u16::try_from(random).unwrap_or(0);
    (0..count)
        .map(|step| PORTS.start + (first + step) % count)
        .find(|port| !taken.contains(port) && is_free(*port))
}

/// Ports of all agents, those that are down too.
fn taken(paths: &Paths) -> Vec<u16> {
    let Some(dir) = paths.node("x").parent().and_then(|d| d.read_dir().ok()) else {
        return Vec::new();
    };
    dir.flatten()
        .filter_map(|e| files::read_json::<NodeRecord>(&e.path()).ok()?)
        .map(|node| node.port)
        .collect()
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Waits for the port of an agent that is a server; others pass. The first start that meets a taken
/// port gives up soon, so that whoever asked for it hears of it; those after it wait long enough not
/// to run into the start limit, and so the agent comes back whenever the port is free.
///
/// # Errors
/// Somebody else has the port, and who.
pub fn wait_for_port(install: &Install, launch: &Launch, tty: &File) -> Result<()> {
    let agent = launch.agent.name.as_str();
    if launch.agent.spec.node.is_none() {
        return Ok(());
    }
    let port = record(&install.paths, agent)?.port;
    if is_free(port) {
        return Ok(());
    }
    let mine = format!("port {port} of `{agent}` is in use");
    let again = matches!(
        record::last_exit(&install.paths, agent).map(|e| e.what),
        Some(What::Refused { why }) if why.starts_with(&mine)
    );
    let wait = if again {
        pace(launch.agent.start_limit)
    } else {
        FIRST
    };
    let who = listening::process(port).map_or_else(
        || "a process of somebody else".to_owned(),
        |(pid, name)| format!("process {pid} (`{name}`)"),
    );
    stopped::banner(tty, &format!("{mine} by {who}; waiting for it"));
    let begun = Instant::now();
    while begun.elapsed() < wait {
        std::thread::sleep(TRY);
        if is_free(port) {
            return Ok(());
        }
    }
    Err(Error::busy(format!("{mine} by {who}"))
        .hint(format!("end it, and `{agent}` comes back by itself")))
}

/// How long a start takes at least so that its agent never reaches the start limit.
fn pace(limit: StartLimit) -> Duration {
    let share = limit.interval_ms / u64::from(limit.burst.max(1));
    (Duration::from_millis(share) + FIRST).min(LONGEST)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ports_are_free_and_nobody_elses() {
        let port = choose(&[]).unwrap();
        assert!(PORTS.contains(&port));
        let all_but_one: Vec<u16> = PORTS.filter(|p| *p != port).collect();
        assert_eq!(choose(&all_but_one), Some(port));
        let _held = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert_eq!(choose(&all_but_one), None);
        assert_eq!(
            listening::process(port).unwrap().0,
            i32::try_from(std::process::id()).unwrap()
        );
    }

    #[test]
    fn the_pace_stays_below_the_start_limit() {
        let pace = |burst, interval_ms| pace(StartLimit { burst, interval_ms }).as_millis();
        assert_eq!(pace(5, 300_000), 61_000);
        assert_eq!(pace(5, 2_000), 1_400);
        assert_eq!(pace(1, 3_600_000), 62_000);
        assert_eq!(pace(0, 0), 1_000);
    }
}
