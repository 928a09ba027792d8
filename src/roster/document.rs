//! The roster as written: what keys there are, what they hold, and what they mean. The JSON schema,
//! the editor's help and `docs/roster.md` are made from this file's comments.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};

use super::routing::Routing;
use super::values::{Bytes, Command, Delay, Paths, Percent};
use crate::fleet::{
    Kickstart, KickstartOn, OnRestart, Permissions, Persona, Restart, Resume, Sandbox,
};
use crate::notices::{Notify, On};
use crate::runtime::RuntimeSpec;

/// The version of the format that this mosaic reads.
pub const VERSION: u64 = 1;

/// The keys of a roster, for hints.
pub const KEYS: &[&str] = &[
    "version",
    "transport",
    "tmux",
    "defaults",
    "runtimes",
    "routing",
    "agents",
];

/// A fleet of coding agents.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "mosaic roster", extend("required" = ["version", "agents"]))]
pub struct Roster {
    /// Version of this format. There is only `1`.
    #[schemars(extend("const" = 1))]
    pub version: Option<u64>,
    /// How mosaic reaches the agents' terminals. There is only `tmux`.
    #[schemars(extend("default" = "tmux"))]
    pub transport: Option<Transport>,
    /// The fleet's own tmux server.
    pub tmux: Option<Tmux>,
    /// What an agent takes where it does not say otherwise: every key of an agent but `name`.
    pub defaults: Option<Defaults>,
    /// Runtimes to add, or built-in ones to change, by name.
    pub runtimes: Option<BTreeMap<String, Runtime>>,
    /// How chats are placed on the agents, and the gateway for clients that speak HTTP.
    pub routing: Option<Routing>,
    /// The agents, in the order in which they are shown.
    pub agents: Option<Vec<AgentEntry>>,
}

/// How mosaic reaches the agents' terminals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Transport {
    /// Sessions of a tmux server.
    Tmux,
}

/// The fleet's own tmux server. The default server is never touched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tmux {
    /// Name of the server's socket, as given to `tmux -L`: letters, digits, `_` and `-`.
    #[schemars(extend("default" = DEFAULT_SOCKET, "pattern" = "^[A-Za-z0-9_-]{1,64}$"))]
    pub socket_name: Option<String>,
    /// Session that keeps the server alive; never an agent.
    #[schemars(extend("default" = DEFAULT_HOLDER, "pattern" = "^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$"))]
    pub holder_session: Option<String>,
}

pub use crate::fleet::{DEFAULT_CLASS, DEFAULT_RESTART_DELAY_MS};

/// Name of the socket where the roster names none.
pub const DEFAULT_SOCKET: &str = "mosaic-factory";
/// Name of the holder's session where the roster names none.
pub const DEFAULT_HOLDER: &str = "_holder";

/// Limits of the agent's systemd unit. Without systemd they do not apply.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Limits")]
pub struct LimitKeys {
    /// Most memory, all child processes included: `2G`, `512M`, or bytes. Beyond it the agent is
    /// killed and restarted.
    pub memory_max: Option<Bytes>,
    /// Share of one processor: `150%` is one and a half.
    pub cpu_quota: Option<Percent>,
    /// Most processes and threads.
    #[schemars(range(min = 1))]
    pub tasks_max: Option<u32>,
}

/// When a crash loop ends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "StartLimit")]
pub struct StartLimitKeys {
    /// Starts within the interval.
    #[schemars(range(min = 1), extend("default" = 5))]
    pub burst: Option<NonZeroU32>,
    /// The interval.
    #[schemars(extend("default" = "5m"))]
    pub interval: Option<Delay>,
}

/// How long a start waits for the prompt where the roster says nothing: the slowest agent measured
/// stands there after nine seconds on an idle machine.
pub const DEFAULT_READY_TIMEOUT_MS: u64 = 20_000;

/// Defines the keys once, for `defaults:` and for an agent. (Serde's `flatten` would lose the places
/// of errors.)
macro_rules! agent_keys {
    ($($(#[$meta:meta])* $key:ident: $type:ty,)*) => {
        /// What an agent takes where it does not say otherwise.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct Defaults {
            $($(#[$meta])* pub $key: Option<$type>,)*
        }

        /// An agent.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        #[schemars(rename = "Agent", extend("required" = ["name"]))]
        pub struct AgentEntry {
            /// Name of the agent, its tmux session and its unit: lower-case letters, digits and `-`.
            #[schemars(extend("pattern" = "^[a-z0-9][a-z0-9-]{0,62}$"))]
            pub name: Option<String>,
            $($(#[$meta])* pub $key: Option<$type>,)*
        }

        impl AgentEntry {
            /// The agent's keys, and where it has none those of `defaults`; `env`, `env_file`,
            /// `limits` and `on` are merged by the resolver.
            #[must_use]
            pub fn over(&self, defaults: &Defaults) -> AgentEntry {
                AgentEntry {
                    name: self.name.clone(),
                    $($key: self.$key.clone().or_else(|| defaults.$key.clone()),)*
                }
            }
        }
    };
}

agent_keys! {
    /// The agent CLI: a built-in runtime or one of `runtimes`. Needed in the agent or in `defaults`.
    runtime: String,
    /// Group the agent belongs to, for `--class`.
    #[schemars(extend("default" = DEFAULT_CLASS, "pattern" = "^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"))]
    class: String,
    /// Where the agent works. `~` is your home directory; a relative path is relative to the roster.
    /// Must exist. Needed in the agent or in `defaults`.
    working_directory: String,
    /// Program and arguments in place of the runtime's own: one line, split like a shell's but with
    /// nothing expanded, or a list of words. Permission and model arguments are still added.
    command: Command,
    /// `false` keeps the agent in the roster without starting it.
    #[schemars(extend("default" = true))]
    enabled: bool,
    /// `ask`: the runtime's own rule. `skip` adds the runtime's arguments that skip permission
    /// questions: the agent then does whatever it likes, as you.
    #[schemars(extend("default" = "ask"))]
    permissions: Permissions,
    /// Model to ask for. A mere label where the runtime has no model argument.
    model_hint: String,
    /// How hard a reset is. `true`: `agent reset` refuses without `--force`. `semi`: it asks on a
    /// terminal and needs `--yes` without one. `false`: free.
    #[schemars(extend("default" = false))]
    persistent_persona: Persona,
    /// Whether each task starts from an empty context.
    #[schemars(extend("default" = false))]
    reset_between_tasks: bool,
    /// First message of a fresh context: `text: …`, or `file: …` relative to the roster. `{agent}`,
    /// `{class}`, `{host}` and `{working_directory}` are filled in when it is sent.
    kickstart: Kickstart,
    /// When the kickstart is sent: at a `start` with a fresh conversation, after a `reset`, or `both`.
    #[schemars(extend("default" = "reset"))]
    kickstart_on: KickstartOn,
    /// What the agent is told after a restart that resumed its conversation, once it is ready:
    /// `You were restarted in the middle of your work. Go on.` It has the variables of `kickstart`.
    /// Nothing is said without this key.
    on_restart_message: String,
    /// After which restarts it is told: `interrupted`, only where its own account says that it was in
    /// a turn when it ended; or `always`.
    #[schemars(extend("default" = "interrupted"))]
    on_restart: OnRestart,
    /// Environment of the agent, over that of the runtime and of `defaults`.
    #[schemars(schema_with = "super::values::variables")]
    env: BTreeMap<String, String>,
    /// File or files in systemd's EnvironmentFile grammar, over `env`. Must exist. Those of
    /// `defaults` are read first, and `agents/NAME.env` beside the roster, if it is there, last.
    env_file: Paths,
    /// Limits of the agent's unit, over those of `defaults` one by one.
    limits: LimitKeys,
    /// How much of the system the agent's unit hides from it. `basic`: no new privileges, kernel
    /// interfaces closed. `strict`: also the file system read-only but for the working directory and
    /// the agent's own state.
    #[schemars(extend("default" = "off"))]
    sandbox: Sandbox,
    /// Whether an agent that ended comes back: `always` or `never`.
    #[schemars(extend("default" = "always"))]
    restart: Restart,
    /// Pause before it comes back: `500ms`, `1s`, `2m`.
    #[schemars(extend("default" = "1s"))]
    restart_delay: Delay,
    /// When a crash loop ends: after `burst` starts within `interval` the agent counts as failed and
    /// stays down until it is started by hand.
    start_limit: StartLimitKeys,
    /// How long a start waits for the agent to stand at its prompt before it goes on without: `20s`;
    /// `0s` for not at all.
    #[schemars(extend("default" = "20s"))]
    ready_timeout: Delay,
    /// What a restarted agent goes on with: its own `last` conversation, or `none`.
    #[schemars(extend("default" = "last"))]
    resume: Resume,
    /// Labels of the agent's own making, for selectors such as `label:gpu=yes`. A name is letters, digits,
    /// `_`, `.` and `-`; a value holds no comma.
    #[schemars(schema_with = "super::values::labels")]
    labels: BTreeMap<String, String>,
    /// Among agents that are equally good for a chat, the higher one gets it.
    #[schemars(extend("default" = 0))]
    priority: i32,
    /// Most chats that are placed on the agent at a time; no limit without this key.
    #[schemars(range(min = 1))]
    max_chats: u32,
    /// Commands that the courier runs by `sh -c` when the agent's state changes, over those of
    /// `defaults` one by one; an empty one takes back that of `defaults`. They find MOSAIC_AGENT,
    /// MOSAIC_STATE_FROM, MOSAIC_STATE_TO and MOSAIC_EVIDENCE in their environment.
    on: On,
    /// How the courier tells you that the agent waits for you, has failed, or is rate-limited:
    /// `desktop` (by `notify-send`), `osc` (by the terminals attached to the fleet), or `off`.
    #[schemars(extend("default" = "off"))]
    notify: Notify,
}

/// A runtime of the roster: the keys of [`RuntimeSpec`], and `like`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Runtime {
    /// Built-in runtime from which a new one takes every key it does not have.
    pub like: Option<String>,
    /// The keys themselves.
    pub spec: RuntimeSpec,
}

impl<'de> Deserialize<'de> for Runtime {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Runtime;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a mapping of runtime keys")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Runtime, A::Error> {
                let mut like = None;
                let rest = WithoutLike {
                    map,
                    like: &mut like,
                };
                let spec = RuntimeSpec::deserialize(MapAccessDeserializer::new(rest))?;
                Ok(Runtime { like, spec })
            }
        }
        d.deserialize_map(V)
    }
}

/// Takes `like` out of a mapping and passes the rest on.
struct WithoutLike<'a, A> {
    map: A,
    like: &'a mut Option<String>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for WithoutLike<'_, A> {
    type Error = A::Error;
    fn next_key_seed<K: serde::de::DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        let mut slot = Some(seed);
        loop {
            let Some(key) = self.map.next_key_seed(KeyOr { seed: &mut slot })? else {
                return Ok(None);
            };
            match key {
                Some(key) => return Ok(Some(key)),
                None => *self.like = self.map.next_value::<Option<String>>()?,
            }
        }
    }
    fn next_value_seed<T: serde::de::DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<T::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

/// Reads a key: `None` for `like`, else what the seed makes of it.
struct KeyOr<'a, K> {
    seed: &'a mut Option<K>,
}

impl<'de, K: serde::de::DeserializeSeed<'de>> serde::de::DeserializeSeed<'de> for KeyOr<'_, K> {
    type Value = Option<K::Value>;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        use serde::de::{Error, IntoDeserializer};
        let key = String::deserialize(d)?;
        if key == "like" {
            return Ok(None);
        }
        let seed = self
            .seed
            .take()
            .ok_or_else(|| D::Error::custom("a key was read twice"))?;
        let d: serde::de::value::StringDeserializer<D::Error> = key.into_deserializer();
        seed.deserialize(d).map(Some)
    }
}

impl JsonSchema for Runtime {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Runtime".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let mut schema = RuntimeSpec::json_schema(generator);
        schema.insert(
            "description".to_owned(),
            "What an agent CLI is: how it is launched and resumed, what its screen looks like. A key \
             given here replaces the built-in runtime's key of the same name; `env` is merged."
                .into(),
        );
        if let Some(keys) = schema.get_mut("properties").and_then(|p| p.as_object_mut()) {
            keys.insert(
                "like".to_owned(),
                serde_json::json!({
                    "description": "Built-in runtime from which a new one takes every key it does not have.",
                    "type": ["string", "null"],
                }),
            );
        }
        schema
    }
}
