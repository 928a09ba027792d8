//! One look at the fleet: what tmux and the service manager say of all its agents, what the agents say of
//! themselves, and what their control groups use.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::host::load;
use crate::host::manager::Unit;
use crate::host::tmux::Pane;
use crate::install::Install;
use crate::launch::Launch;
use crate::routing::node::Health;
use crate::state::{self, Evidence, State};
use crate::status::{self, Asked};

/// Threads that read the agents' files; more than a handful only contend for the same cores.
const READERS: usize = 4;

/// What was seen of one agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// What it does; `None` where only its port can tell.
    pub state: Option<State>,
    /// Whether a chat can be placed on it, as far as its screen and process tell.
    pub health: Health,
    /// Bytes that it uses.
    pub memory: Option<u64>,
    /// Processor time so far, in seconds.
    pub cpu_seconds: Option<f64>,
}

/// What was seen of all.
#[derive(Debug)]
pub struct Looked {
    /// When.
    pub at: Timestamp,
    /// By agent.
    pub agents: BTreeMap<String, Seen>,
}

/// Looks. An agent of whom neither process nor screen tells anything is unfit, with the reason.
pub fn look(install: &Install, launches: &[Arc<Launch>]) -> Looked {
    let asked = status::ask(install);
    let part = launches.len().div_ceil(READERS).max(1);
    let agents = std::thread::scope(|scope| {
        let looks: Vec<_> = launches
            .chunks(part)
            .map(|some| {
                let one = |launch: &Arc<Launch>| {
                    (launch.agent.name.to_string(), see(install, launch, &asked))
                };
                scope.spawn(move || some.iter().map(one).collect::<Vec<_>>())
            })
            .collect();
        let looks = looks.into_iter().filter_map(|look| look.join().ok());
        looks.flatten().collect()
    });
    Looked {
        at: Timestamp::now(),
        agents,
    }
}

fn see(install: &Install, launch: &Launch, asked: &Asked) -> Seen {
    let name = install.agent_unit(launch.agent.name.as_str());
    // Without a manager's word the agent's own record tells whether it lives.
    let unit = match &asked.units {
        Ok(units) => Some(
            units
                .iter()
                .find(|u| u.name == name)
                .cloned()
                .unwrap_or_default(),
        ),
        Err(_) => None,
    };
    let usage = unit.as_ref().filter(|u| u.main_pid > 0);
    let group = usage
        .map(|u| load::group(u.main_pid, &name))
        .unwrap_or_default();
    let (state, health) = match unit.as_ref().and_then(status::by_unit) {
        Some((state, evidence)) => (Some(state), of_state(state, &evidence)),
        None => up(install, launch, unit.as_ref(), asked),
    };
    Seen {
        state,
        health,
        memory: group.memory.or_else(|| usage.and_then(|u| u.memory)),
        cpu_seconds: group.cpu_seconds,
    }
}

/// Of an agent that its unit calls up, or whose unit is not known.
fn up(
    install: &Install,
    launch: &Launch,
    unit: Option<&Unit>,
    asked: &Asked,
) -> (Option<State>, Health) {
    // Asking its port is for others, who do it once for all.
    if launch.agent.spec.health_path().is_some() {
        return (None, Health::Healthy);
    }
    let nothing: &[Pane] = &[];
    let panes = match &asked.panes {
        Ok(panes) => panes.as_deref().unwrap_or(nothing),
        Err(_) => nothing,
    };
    let seen = state::observe(install, launch, panes, false);
    let health = match (&asked.panes, of_state(seen.state, &seen.evidence)) {
        (Err(e), Health::Healthy) => Health::Unfit(e.to_string()),
        (Ok(_), Health::Healthy) if unit.is_some() && !seen.on_pane => {
            Health::Unfit("it has no pane".to_owned())
        }
        (_, health) => health,
    };
    (Some(seen.state), health)
}

/// Whether an agent in this state can take a chat.
fn of_state(state: State, evidence: &Evidence) -> Health {
    let why = match evidence.what.as_str() {
        "" => state.as_str().to_owned(),
        what => format!("{state}: {what}"),
    };
    match state {
        State::Idle | State::Working => Health::Healthy,
        State::Exited | State::Failed => Health::Refused(why),
        State::Starting | State::Waiting | State::RateLimited | State::Unknown => {
            Health::Unfit(why)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_can_take_a_message_is_healthy() {
        let health = |state| of_state(state, &Evidence::unit("seen")).as_str();
        for (state, said) in [
            (State::Idle, "healthy"),
            (State::Working, "healthy"),
            (State::Starting, "unfit"),
            (State::Waiting, "unfit"),
            (State::RateLimited, "unfit"),
            (State::Unknown, "unfit"),
            (State::Exited, "refused"),
            (State::Failed, "refused"),
        ] {
            assert_eq!(health(state), said, "{state}");
        }
        let why = of_state(State::Waiting, &Evidence::unit("Run it?"));
        assert_eq!(why.why(), "waiting: Run it?");
        assert_eq!(of_state(State::Exited, &Evidence::unit("")).why(), "exited");
    }
}
