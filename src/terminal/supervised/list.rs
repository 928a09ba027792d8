//! Supervisors' records in the shape of systemd's units, so that status shows one table.

use crate::host::manager::Unit;
use crate::host::procfs;
use crate::install::Install;
use crate::terminal::supervise::status::{State, Status};

/// Every agent that has or had a supervisor, as a unit, by name. Memory is the resident memory of the
/// agent and all below it; pages they share are counted for each.
pub fn list(install: &Install) -> Vec<Unit> {
    let records = Status::load_all(&install.paths);
    // One look at the processes serves all agents.
    let processes = procfs::all();
    records
        .iter()
        .map(|(agent, status)| {
            let mut unit = unit(status, status.this_boot(), status.alive());
            unit.name = install.agent_unit(agent);
            if unit.main_pid > 0 {
                let own = processes
                    .iter()
                    .find(|(pid, _)| *pid == unit.main_pid)
                    .map_or(0, |(_, s)| s.resident);
                let below: u64 = procfs::below(&processes, unit.main_pid)
                    .iter()
                    .map(|(_, s)| s.resident)
                    .sum();
                let bytes = (own + below) * rustix::param::page_size() as u64;
                unit.memory = (bytes > 0).then_some(bytes);
            }
            unit
        })
        .collect()
}

/// Some agents as units, without memory, which is costly to count.
pub fn records(install: &Install, agents: &[&str]) -> Vec<Unit> {
    let loaded = agents
        .iter()
        .filter_map(|agent| Some((*agent, Status::load(&install.paths, agent).ok()??)));
    loaded
        .map(|(agent, status)| Unit {
            name: install.agent_unit(agent),
            ..unit(&status, status.this_boot(), status.alive())
        })
        .collect()
}

/// One record as a unit without name and memory.
fn unit(status: &Status, this_boot: bool, alive: bool) -> Unit {
    let last = status.last.as_ref();
    let mut result = last.map_or("success", |e| e.result.as_str());
    let (active, sub) = match status.state {
        // After a boot nothing has failed; it was not started yet.
        _ if !this_boot => ("inactive", "dead"),
        State::Stopped => ("inactive", "dead"),
        State::Failed => ("failed", "failed"),
        _ if !alive => {
            result = "supervisor-gone";
            ("failed", "failed")
        }
        State::Starting => ("activating", "start"),
        State::Running => ("active", "running"),
        State::Backoff => ("activating", "auto-restart"),
        State::Stopping => ("deactivating", "stop"),
    };
    Unit {
        name: String::new(),
        load: "loaded".into(),
        active: active.into(),
        sub: sub.into(),
        main_pid: status.child.filter(|_| alive).unwrap_or(0),
        restarts: status.restarts,
        result: result.into(),
        memory: None,
        since_usec: u64::try_from(status.since.as_microsecond()).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::supervise::status::Ended;

    #[test]
    fn states_in_systemds_words() {
        let table = [
            (State::Running, true, true, "active/running/signal", 42),
            (State::Starting, true, true, "activating/start/signal", 42),
            (
                State::Backoff,
                true,
                true,
                "activating/auto-restart/signal",
                42,
            ),
            (State::Stopping, true, true, "deactivating/stop/signal", 42),
            (State::Stopped, true, true, "inactive/dead/signal", 42),
            (State::Failed, true, true, "failed/failed/signal", 42),
            (
                State::Running,
                true,
                false,
                "failed/failed/supervisor-gone",
                0,
            ),
            (State::Stopped, true, false, "inactive/dead/signal", 0),
            (State::Running, false, false, "inactive/dead/signal", 0),
        ];
        for (state, this_boot, alive, want, pid) in table {
            let status = Status {
                version: 1,
                pid: 1,
                start_ticks: 1,
                boot: String::new(),
                pane: "%1".into(),
                state,
                child: Some(42),
                starts: 2,
                restarts: 1,
                last: Some(Ended::killed(9, false)),
                since: jiff::Timestamp::UNIX_EPOCH,
                next_start: None,
            };
            let u = unit(&status, this_boot, alive);
            assert_eq!(
                format!("{}/{}/{}", u.active, u.sub, u.result),
                want,
                "{state:?}"
            );
            assert_eq!(u.main_pid, pid, "{state:?}");
        }
    }
}
