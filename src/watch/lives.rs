//! What keeps an agent says of its life, asked only for agents whose process does not run: it tells
//! an agent that comes back in a moment from one that is down for good.

use std::collections::BTreeMap;

use crate::host::manager::{Detail, Manager, Unit};
use crate::install::{Install, Mode};
use crate::state::Life;
use crate::terminal::supervised;

/// The service manager, connected when it is first needed; or the supervisors' records.
#[derive(Default)]
pub struct Lives {
    manager: Option<Manager>,
}

impl Lives {
    /// The lives of agents whose processes are gone, as far as they are known. A manager that does not
    /// answer says nothing; the next question connects anew.
    pub fn of(&mut self, install: &Install, agents: &[&str]) -> BTreeMap<String, Life> {
        if agents.is_empty() {
            return BTreeMap::new();
        }
        let units = match install.mode {
            Mode::Supervisor => supervised::records(install, agents),
            Mode::Systemd => self.units(install, agents),
        };
        units
            .iter()
            .filter_map(|u| Some((install.agent_of_unit(&u.name)?.to_owned(), life(u))))
            .collect()
    }

    fn units(&mut self, install: &Install, agents: &[&str]) -> Vec<Unit> {
        if self.manager.is_none() {
            self.manager = Manager::connect()
                .inspect_err(|e| tracing::debug!("{e}"))
                .ok();
        }
        let Some(manager) = &self.manager else {
            return Vec::new();
        };
        let names: Vec<String> = agents.iter().map(|a| install.agent_unit(a)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        match manager.units(&names, Detail::Process) {
            Ok(units) => units,
            Err(e) => {
                tracing::debug!("{e}");
                self.manager = None;
                Vec::new()
            }
        }
    }
}

/// A unit whose agent's recorded process is gone.
fn life(unit: &Unit) -> Life {
    let words = format!("{} ({})", unit.active, unit.sub);
    match unit.active.as_str() {
        "failed" => Life::Failed(format!("{words}: {}", unit.result)),
        // An active one is about to record its process.
        "activating" | "active" | "reloading" => Life::Starting(words),
        _ => Life::Exited(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemds_words_tell_who_comes_back() {
        let unit = |active: &str, sub: &str| Unit {
            active: active.into(),
            sub: sub.into(),
            result: "start-limit-hit".into(),
            ..Unit::default()
        };
        assert_eq!(
            life(&unit("failed", "failed")),
            Life::Failed("failed (failed): start-limit-hit".into())
        );
        assert_eq!(
            life(&unit("activating", "auto-restart")),
            Life::Starting("activating (auto-restart)".into())
        );
        assert_eq!(
            life(&unit("inactive", "dead")),
            Life::Exited("inactive (dead)".into())
        );
        assert_eq!(
            life(&unit("deactivating", "stop-post")),
            Life::Exited("deactivating (stop-post)".into())
        );
    }
}
