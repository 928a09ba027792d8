//! Rosters for tests: JSON, which is YAML, so that no value needs a second escaping here.

use serde_json::{Map, Value, json};

use super::Sandbox;

/// An agent of a roster.
#[derive(Debug, Clone)]
pub struct Agent(Map<String, Value>);

impl Agent {
    /// A demo agent.
    pub fn demo(name: &str) -> Self {
        Self(Map::from_iter([("name".to_owned(), json!(name))]))
    }

    /// A program of the test's own.
    pub fn program(name: &str, command: &[&str]) -> Self {
        Self::demo(name)
            .key("runtime", json!("shell"))
            .key("command", json!(command))
    }

    /// A line for `/bin/sh`.
    pub fn script(name: &str, script: &str) -> Self {
        Self::program(name, &["/bin/sh", "-c", script])
    }

    /// Sets a key.
    pub fn key(mut self, key: &str, value: Value) -> Self {
        self.0.insert(key.to_owned(), value);
        self
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, key: &str, value: &str) -> Self {
        let env = self.0.entry("env").or_insert_with(|| json!({}));
        env[key] = json!(value);
        self
    }

    /// The variables of its environment.
    #[allow(dead_code, reason = "only real agents are run by hand as well")]
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        let env = self.0.get("env").and_then(Value::as_object);
        env.into_iter()
            .flatten()
            .filter_map(|(k, v)| Some((k.as_str(), v.as_str()?)))
    }

    /// Gives a demo agent a persona.
    pub fn persona(self, list: &str) -> Self {
        self.env("MOSAIC_DEMO_PERSONA", list)
    }
}

/// A roster.
#[derive(Debug, Clone)]
pub struct Roster {
    root: Map<String, Value>,
    agents: Vec<Agent>,
}

impl Roster {
    /// Agents that come back after a tenth of a second, and as often as a test kills them.
    pub fn new(agents: impl IntoIterator<Item = Agent>) -> Self {
        let root = json!({
            "version": 1,
            "defaults": {
                "runtime": "demo",
                "restart_delay": "100ms",
                "start_limit": {"burst": 100, "interval": "60s"},
                "env": {"MOSAIC_DEMO_THINK_MS": "50"},
            },
        });
        let Value::Object(root) = root else {
            unreachable!("it is an object")
        };
        Self {
            root,
            agents: agents.into_iter().collect(),
        }
    }

    /// Demo agents of these names.
    pub fn demo(names: &[&str]) -> Self {
        Self::new(names.iter().map(|n| Agent::demo(n)))
    }

    /// Sets a key of `defaults`.
    pub fn default(mut self, key: &str, value: Value) -> Self {
        self.root["defaults"][key] = value;
        self
    }

    /// Sets a key of the roster itself.
    pub fn key(mut self, key: &str, value: Value) -> Self {
        self.root.insert(key.to_owned(), value);
        self
    }

    /// Adds an agent.
    pub fn agent(mut self, agent: Agent) -> Self {
        self.agents.push(agent);
        self
    }

    /// Writes it where mosaic looks for it.
    pub fn write(&self, sandbox: &Sandbox) {
        let mut root = self.root.clone();
        let agents = self.agents.iter().map(|a| Value::Object(a.0.clone()));
        root.insert("agents".to_owned(), agents.collect());
        let defaults = root["defaults"].as_object_mut().unwrap();
        if !defaults.contains_key("working_directory") {
            defaults.insert("working_directory".to_owned(), json!(sandbox.path("work")));
        }
        let text = serde_json::to_string_pretty(&root).unwrap();
        sandbox.write(&sandbox.roster(), text);
    }

    /// Writes it and brings the fleet up.
    #[track_caller]
    pub fn up(&self, sandbox: &Sandbox) {
        self.write(sandbox);
        sandbox.mosaic(&["fleet", "up", "--no-verify"]).ok();
    }

    /// A booted sandbox with this fleet up.
    #[track_caller]
    pub fn boot(&self) -> Option<Sandbox> {
        let sandbox = Sandbox::booted()?;
        self.up(&sandbox);
        Some(sandbox)
    }
}
