//! Ends what agents left behind whose supervisor was killed. The agent itself dies with its
//! supervisor; what it had started is known by the marks in its environment.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::host::{process, procfs};
use crate::install::Install;
use crate::terminal::supervise;
use crate::terminal::supervise::status::Status;

/// How long such a process gets to end by itself.
const GRACE: Duration = Duration::from_secs(1);
/// How long to wait for what was killed.
const KILLED: Duration = Duration::from_secs(2);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Ends the processes of one agent, or of every agent, whose supervisor is gone. Never touched:
/// this process and those it runs under, whatever a living supervisor has below it, and the fleet's
/// tmux server.
pub fn end_leftovers(install: &Install, agent: Option<&str>) {
    let begun = Instant::now();
    let mut told = BTreeSet::new();
    loop {
        let left = leftovers(install, agent);
        if left.is_empty() || begun.elapsed() > GRACE + KILLED {
            return;
        }
        for (pid, start) in left {
            let signals: &[Signal] = match begun.elapsed() < GRACE {
                true if told.insert((pid, start)) => &[Signal::HUP, Signal::TERM, Signal::CONT],
                true => &[],
                false => &[Signal::KILL],
            };
            for signal in signals {
                let _ = process::signal(pid, start, *signal);
            }
        }
        std::thread::sleep(LOOK);
    }
}

/// Pids and start times.
fn leftovers(install: &Install, agent: Option<&str>) -> Vec<(i32, u64)> {
    let all = procfs::all();
    let mut safe = BTreeSet::new();
    let mut pid = rustix::process::getpid().as_raw_nonzero().get();
    while let Some((_, stat)) = all.iter().find(|(p, _)| *p == pid)
        && safe.insert(pid)
    {
        pid = stat.ppid;
    }
    safe.extend(install.tmux().server_pid());
    let name = supervise::NAME.to_string_lossy();
    for (supervisor, _) in all.iter().filter(|(_, s)| s.comm == name && s.state != 'Z') {
        safe.insert(*supervisor);
        safe.extend(procfs::below(&all, *supervisor).iter().map(|(pid, _)| *pid));
    }
    let state = install.paths.state.to_string_lossy();
    let living: BTreeSet<String> = Status::load_all(&install.paths)
        .into_iter()
        .filter(|(_, s)| s.alive())
        .map(|(agent, _)| agent)
        .collect();
    all.iter()
        .filter(|(pid, stat)| stat.state != 'Z' && !safe.contains(pid))
        .filter(|(pid, _)| {
            std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
                marked(&environment, &state).is_some_and(|owner| {
                    agent.is_none_or(|a| a == owner) && !living.contains(owner)
                })
            })
        })
        .map(|(pid, stat)| (*pid, stat.start))
        .collect()
}

/// The agent that an environment (NUL-separated, as in /proc) belongs to, if it is of this fleet.
fn marked<'a>(environment: &'a [u8], state: &str) -> Option<&'a str> {
    let get = |key: &str| {
        environment
            .split(|b| *b == 0)
            .find_map(|v| v.strip_prefix(key.as_bytes()))
    };
    if get("MOSAIC_STATE=")? != state.as_bytes() {
        return None;
    }
    std::str::from_utf8(get("MOSAIC_AGENT=")?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_belongs_to_the_fleet_and_agent_it_is_marked_with() {
        let environment = b"HOME=/h\0MOSAIC_STATE=/s\0MOSAIC_AGENT=a\0X_MOSAIC_AGENT=b\0";
        assert_eq!(marked(environment, "/s"), Some("a"));
        assert_eq!(marked(environment, "/s2"), None);
        assert_eq!(marked(b"MOSAIC_STATE=/s\0", "/s"), None);
        assert_eq!(marked(b"", "/s"), None);
    }
}
