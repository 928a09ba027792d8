//! A fleet of real agent CLIs: where they are installed, and questions to mosaic about them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::model::{Model, Turn};
use crate::support::{Sandbox, eventually, eventually_some, proc};

/// Longest time for a test. The slowest begins opencode six times, which takes 5 s each on an idle machine
/// and was seen to take 30 on a busy one.
const DEADLINE: Duration = Duration::from_secs(400);

/// The agent CLIs, by their programs' names.
pub const CLIS: [&str; 6] = ["claude", "pi", "codex", "opencode", "gemini", "goose"];

/// Where a CLI is installed; `None`, said loudly, when they are not to be used.
pub fn installed(name: &str) -> Option<PathBuf> {
    if std::env::var("MOSAIC_REAL_AGENTS").as_deref() != Ok("1") {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        let line = format!("SKIPPED {test}: needs real agent CLIs, run scripts/real-agents\n");
        // Not by a macro: what those print is shown for failed tests only.
        let _ = std::io::stderr().write_all(line.as_bytes());
        return None;
    }
    let cache = std::env::var_os("MOSAIC_AGENT_CACHE").expect("MOSAIC_AGENT_CACHE is set");
    let path = Path::new(&cache)
        .join(name)
        .join("node_modules/.bin")
        .join(name);
    assert!(
        path.exists(),
        "no `{}`: run scripts/real-agents",
        path.display()
    );
    Some(path)
}

/// Where a package is installed that has no program.
pub fn library(name: &str, package: &str) -> PathBuf {
    let cache = std::env::var_os("MOSAIC_AGENT_CACHE").expect("MOSAIC_AGENT_CACHE is set");
    let path = Path::new(&cache)
        .join(name)
        .join("node_modules")
        .join(package);
    assert!(
        path.exists(),
        "no `{}`: run scripts/real-agents",
        path.display()
    );
    path
}

/// A sandbox with its model.
pub struct Real {
    pub s: Sandbox,
    pub model: Model,
}

impl Real {
    /// With a user manager or without one; `None` when something is missing.
    pub fn new(manager: bool) -> Option<Self> {
        installed("claude")?;
        let s = if manager {
            Sandbox::lasting(DEADLINE)?
        } else {
            Sandbox::plain_lasting(DEADLINE)?
        };
        Some(Self::within(s))
    }

    /// With a user manager, for a test that is known to take longer than others.
    pub fn lasting(deadline: Duration) -> Option<Self> {
        installed("claude")?;
        Some(Self::within(Sandbox::lasting(deadline)?))
    }

    fn within(s: Sandbox) -> Self {
        // pi runs on the node that the script found fit, wherever that is.
        if let Some(node) = std::env::var_os("MOSAIC_NODE") {
            std::os::unix::fs::symlink(node, s.path("bin/node")).unwrap();
        }
        let real = Self {
            s,
            model: Model::start(),
        };
        real.configure();
        real.trust(&real.s.path("work"));
        real
    }

    /// Waits until an agent is in a state; that state always comes with its evidence.
    #[track_caller]
    pub fn state(&self, agent: &str, want: &str) -> Value {
        eventually_some(&format!("`{agent}` is {want}"), || {
            let status = self.s.status(agent);
            let told = !status["evidence"]["what"].as_str()?.is_empty();
            (status["state"] == want && told).then_some(status)
        })
    }

    /// Sends a message; it is accepted, and reaches the model with so many messages before it, the
    /// newest of them being `before`.
    #[track_caller]
    pub fn tell(&self, agent: &str, text: &str, history: usize, before: Option<&str>) {
        self.state(agent, "idle");
        let out = self
            .s
            .mosaic(&["agent", "send", agent, "-m", text, "--json"])
            .ok();
        // A model that answers at once may be done before anybody looks.
        let receipt = &out.json()["receipt"];
        assert!(
            receipt == "accepted" || receipt == "answered",
            "{}",
            out.stdout
        );
        let turn: Turn = eventually_some(&format!("`{text}` reaches the model"), || {
            self.model.turns(&format!(":{agent}] {text}")).pop()
        });
        assert_eq!(turn.history.len(), history + 1, "{:?}", turn.history);
        // Nobody else's messages are in this conversation.
        let own = format!(":{agent}]");
        assert!(
            turn.history.iter().all(|m| m.contains(&own)),
            "{:?}",
            turn.history
        );
        if let Some(before) = before {
            assert!(
                turn.history[history - 1].contains(before),
                "{:?}",
                turn.history
            );
        }
        eventually(&format!("`{text}` stands in the transcript"), || {
            self.transcript(agent).is_some_and(|t| t.contains(text))
        });
    }

    /// A message is refused and nothing of it reaches the model; what was said.
    #[track_caller]
    pub fn refused(&self, agent: &str, text: &str, why: &str) {
        self.s
            .mosaic(&[
                "agent",
                "send",
                agent,
                "--no-queue",
                "--timeout",
                "1",
                "-m",
                text,
            ])
            .code(75)
            .says("refused")
            .says(why);
        assert!(self.model.turns(text).is_empty());
        assert!(
            !self.s.screen(agent).contains(text),
            "{}",
            self.s.screen(agent)
        );
    }

    /// Kills an agent and waits until another process of it is ready.
    #[track_caller]
    pub fn kill(&self, agent: &str) {
        let pid = self.pid(agent);
        proc::kill(pid, Signal::KILL);
        self.returns(agent, pid);
    }

    /// Waits until an agent is idle as another process.
    #[track_caller]
    pub fn returns(&self, agent: &str, before: i32) {
        eventually(&format!("`{agent}` is back"), || {
            let status = self.s.status(agent);
            status["state"] == "idle" && status["pid"] != before
        });
    }

    /// An agent's process.
    #[track_caller]
    pub fn pid(&self, agent: &str) -> i32 {
        let pid = self.s.status(agent)["pid"].as_i64().expect("a process");
        i32::try_from(pid).unwrap()
    }

    /// What mosaic recorded of an agent's conversation.
    pub fn conversation(&self, agent: &str) -> Value {
        let path = self.s.state("conversations").join(format!("{agent}.json"));
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    /// The agent's own record of its conversation, as mosaic knows it from its reports; these themselves
    /// where the record is no file of text.
    fn transcript(&self, agent: &str) -> Option<String> {
        let reports = self.s.state("agents").join(agent).join("reports.jsonl");
        let reports = std::fs::read_to_string(reports).ok()?;
        let file = reports
            .lines()
            .rev()
            .filter_map(|l| serde_json::from_str::<Value>(l).ok())
            .find_map(|r| Some(r["file"].as_str()?.to_owned()));
        match file {
            Some(file) => std::fs::read_to_string(file).ok(),
            None => Some(reports),
        }
    }

    /// Whether an agent's record, or the model where that is no file, has a text.
    pub fn recorded(&self, agent: &str, text: &str) -> bool {
        self.transcript(agent).is_some_and(|t| t.contains(text)) || self.model.arrivals(text) > 0
    }

    /// Processes of the CLIs.
    pub fn processes(&self) -> Vec<String> {
        self.s
            .processes()
            .into_iter()
            .map(|pid| proc::cmdline(pid).join(" "))
            .filter(|line| {
                let names = CLIS.into_iter().chain(["node", "mosaic"]);
                names.into_iter().any(|name| {
                    let program = line.split(' ').next().unwrap_or_default();
                    program == name || program.ends_with(&format!("/{name}"))
                })
            })
            .collect()
    }
}
