//! What systemd, tmux and the agents' own records say, asked without mosaic.

use std::collections::BTreeMap;
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use super::{Sandbox, eventually, eventually_some, proc};

/// A unit, as `systemctl show` has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unit {
    /// `LoadState`.
    pub load: String,
    /// `ActiveState`.
    pub active: String,
    /// `SubState`.
    pub sub: String,
    /// `Result`.
    pub result: String,
    /// `MainPID`.
    pub pid: i32,
    /// `NRestarts`.
    pub restarts: u32,
    /// `ExecMainStatus`.
    pub status: i32,
}

/// A pane, as `tmux list-panes` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pane {
    /// `%N`.
    pub id: String,
    /// tmux's own child.
    pub pid: i32,
    /// Terminal.
    pub tty: String,
    /// Session.
    pub session: String,
}

/// An agent in its place: what a disturbance of another one must leave as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Main process.
    pub pid: i32,
    /// Automatic restarts.
    pub restarts: u32,
    /// Pane.
    pub pane: String,
}

/// Unit of an agent.
pub fn unit_name(agent: &str) -> String {
    format!("mosaic-agent@{agent}.service")
}

/// Unit of the tmux server.
pub const HOLDER: &str = "mosaic-tmux-holder.service";

impl Sandbox {
    /// A property of a unit.
    #[track_caller]
    pub fn property(&self, unit: &str, name: &str) -> String {
        let out = self
            .systemctl(&["show", "--value", "-p", name, "--", unit])
            .ok();
        out.stdout.trim_end().to_owned()
    }

    /// What systemd says of a unit.
    #[track_caller]
    pub fn unit(&self, unit: &str) -> Unit {
        let properties = "LoadState,ActiveState,SubState,Result,MainPID,NRestarts,ExecMainStatus";
        let out = self.systemctl(&["show", "-p", properties, "--", unit]).ok();
        let p: BTreeMap<&str, &str> = out
            .stdout
            .lines()
            .filter_map(|l| l.split_once('='))
            .collect();
        let text = |k: &str| p.get(k).copied().unwrap_or_default().to_owned();
        let number = |k: &str| text(k).parse().unwrap_or(0);
        Unit {
            load: text("LoadState"),
            active: text("ActiveState"),
            sub: text("SubState"),
            result: text("Result"),
            pid: number("MainPID"),
            restarts: u32::try_from(number("NRestarts")).unwrap_or(0),
            status: number("ExecMainStatus"),
        }
    }

    /// What systemd says of an agent's unit.
    #[track_caller]
    pub fn agent(&self, agent: &str) -> Unit {
        self.unit(&unit_name(agent))
    }

    /// All panes on the fleet's socket; none without a server.
    pub fn panes(&self) -> Vec<Pane> {
        let format = "#{pane_id} #{pane_pid} #{pane_tty} #{session_name}";
        let out = self.tmux(&["list-panes", "-a", "-F", format]);
        out.stdout
            .lines()
            .filter_map(|l| {
                let mut f = l.split(' ');
                Some(Pane {
                    id: f.next()?.to_owned(),
                    pid: f.next()?.parse().ok()?,
                    tty: f.next()?.to_owned(),
                    session: f.next()?.to_owned(),
                })
            })
            .collect()
    }

    /// The pane of the session of this name.
    pub fn pane(&self, session: &str) -> Option<Pane> {
        self.panes().into_iter().find(|p| p.session == session)
    }

    /// Process of the fleet's tmux server; `None` when none answers.
    pub fn server(&self) -> Option<i32> {
        let out = self.tmux(&["display-message", "-p", "#{pid}"]);
        out.stdout.trim().parse().ok()
    }

    /// The agent in its place: unit active, main process in the unit's own control group, with the
    /// terminal of the pane of its own session; else `None`.
    pub fn place(&self, agent: &str) -> Option<Place> {
        let unit = self.agent(agent);
        let pane = self.pane(agent)?;
        let there = unit.active == "active"
            && unit.pid > 0
            && proc::unit_of(unit.pid).as_deref() == Some(&unit_name(agent))
            && proc::fd(unit.pid, 0).as_deref() == Some(Path::new(&pane.tty));
        there.then_some(Place {
            pid: unit.pid,
            restarts: unit.restarts,
            pane: pane.id,
        })
    }

    /// Waits until an agent is in its place.
    #[track_caller]
    pub fn up(&self, agent: &str) -> Place {
        eventually_some(&format!("`{agent}` is up"), || self.place(agent))
    }

    /// Waits until an agent is in its place with another process.
    #[track_caller]
    pub fn back(&self, agent: &str, before: &Place) -> Place {
        eventually_some(&format!("`{agent}` is back after {before:?}"), || {
            self.place(agent).filter(|now| now.pid != before.pid)
        })
    }

    /// Kills an agent's main process.
    pub fn kill_agent(&self, place: &Place, signal: Signal) {
        proc::kill(place.pid, signal);
    }

    /// The screen of an agent's pane.
    #[track_caller]
    pub fn screen(&self, agent: &str) -> String {
        let pane = self.pane(agent).expect("a pane");
        self.tmux(&["capture-pane", "-p", "-t", &pane.id])
            .ok()
            .stdout
    }

    /// Types into an agent's pane.
    #[track_caller]
    pub fn type_into(&self, agent: &str, text: &str) {
        let pane = self.pane(agent).expect("a pane");
        self.tmux(&["send-keys", "-t", &pane.id, "-l", "--", text])
            .ok();
    }

    /// Presses a key in an agent's pane.
    #[track_caller]
    pub fn press(&self, agent: &str, key: &str) {
        let pane = self.pane(agent).expect("a pane");
        self.tmux(&["send-keys", "-t", &pane.id, key]).ok();
    }

    /// All records of a demo agent's transcripts, in no order between conversations.
    pub fn records(&self, agent: &str) -> Vec<Value> {
        let dir = self.state("agents").join(agent).join("conversation");
        std::fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .flat_map(|e| {
                let text = std::fs::read_to_string(e.path()).unwrap_or_default();
                text.lines()
                    .filter_map(|l| serde_json::from_str(l).ok())
                    .collect::<Vec<Value>>()
            })
            .collect()
    }

    /// The messages a demo agent took up.
    pub fn messages(&self, agent: &str) -> Vec<String> {
        self.records(agent)
            .iter()
            .filter(|r| r["type"] == "user")
            .filter_map(|r| Some(r["text"].as_str()?.to_owned()))
            .collect()
    }

    /// What `fleet status --json` says of an agent.
    #[track_caller]
    pub fn status(&self, agent: &str) -> Value {
        let status = self.mosaic(&["fleet", "status", "--json"]).ok().json();
        let agents = status["agents"].as_array().expect("a list of agents");
        agents
            .iter()
            .find(|a| a["name"] == agent)
            .unwrap_or_else(|| panic!("no `{agent}` in {status}"))
            .clone()
    }

    /// The actions of `fleet plan --json`, each as `action object`.
    #[track_caller]
    pub fn plan(&self, args: &[&str]) -> Vec<String> {
        let mut all = vec!["fleet", "plan", "--json"];
        all.extend(args);
        let out = self.mosaic(&all);
        let plan = out.json();
        let actions = plan["actions"].as_array().expect("a list of actions");
        let words: Vec<String> = actions
            .iter()
            .map(|a| {
                let object = ["agent", "path", "subject"]
                    .iter()
                    .find_map(|k| a[*k].as_str())
                    .unwrap_or_default();
                let object = object.rsplit('/').next().unwrap_or_default();
                format!("{} {object}", a["action"].as_str().unwrap_or_default())
                    .trim_end()
                    .to_owned()
            })
            .collect();
        out.code(i32::from(!words.is_empty()));
        words
    }

    /// Asserts that nothing is left to do.
    #[track_caller]
    pub fn in_sync(&self) {
        assert_eq!(self.plan(&[]), Vec::<String>::new());
    }

    /// The events of an agent, each as its name in the log.
    pub fn events(&self, agent: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.state("log/events.jsonl")).unwrap_or_default();
        text.lines()
            .filter_map(|l| serde_json::from_str::<Value>(l).ok())
            .filter(|e| e["agent"] == agent)
            .collect()
    }

    /// Waits until a process is gone.
    #[track_caller]
    pub fn gone(&self, pid: i32) {
        eventually(&format!("process {pid} is gone"), || !proc::alive(pid));
    }
}
