//! The fleet as resolved from a roster: every default applied, every path absolute, every name
//! valid. Produced by [`crate::roster`]; everything downstream reads this and never the YAML.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names::AgentName;
use crate::notices::{Notify, On};
use crate::routing::policy::Policy;
use crate::runtime::RuntimeSpec;

/// Class of an agent where the roster names none.
pub const DEFAULT_CLASS: &str = "agent";
/// Pause before a restart where the roster names none: long enough that a crash loop does not load
/// the machine, short enough that nobody waits.
pub const DEFAULT_RESTART_DELAY_MS: u64 = 1000;

/// All agents of one roster, in the roster's order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fleet {
    /// Name of the dedicated tmux socket.
    pub socket_name: String,
    /// Session that keeps the server's place; never an agent.
    pub holder_session: String,
    /// The agents.
    pub agents: Vec<Agent>,
    /// How chats are placed on them.
    #[serde(default)]
    pub routing: Policy,
}

/// One agent with everything decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// Also session, systemd instance and file name.
    pub name: AgentName,
    /// Name of the runtime.
    pub runtime: String,
    /// The runtime's definition, overrides applied.
    pub spec: RuntimeSpec,
    /// Group the agent belongs to, for `--class`.
    pub class: String,
    /// Absolute; existed when the roster was loaded.
    pub working_directory: PathBuf,
    /// Program and arguments of every start (permission and model arguments included, those of the
    /// conversation not). The program is as written: a name or a path.
    pub command: Vec<String>,
    /// Disabled agents are known but not started.
    pub enabled: bool,
    /// Whether the agent asks before it acts.
    pub permissions: Permissions,
    /// Wish for a model; a label where the runtime has no model argument.
    pub model_hint: Option<String>,
    /// How hard a reset is.
    pub persistent_persona: Persona,
    /// Tasks start from an empty context.
    pub reset_between_tasks: bool,
    /// First message, and when it is sent. Variables are not yet filled in.
    pub kickstart: Option<Kickstart>,
    /// When the kickstart is sent.
    pub kickstart_on: KickstartOn,
    /// What it is told after a restart that resumed its conversation. Variables are not yet filled in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_restart_message: Option<String>,
    /// After which restarts.
    #[serde(default)]
    pub on_restart: OnRestart,
    /// Environment: runtime, then defaults, then agent, later ones winning.
    pub env: BTreeMap<String, String>,
    /// Files in systemd's EnvironmentFile grammar, later ones winning. All exist but the last one
    /// (`agents/NAME.env` beside the roster), which may not.
    pub env_files: Vec<PathBuf>,
    /// Limits of the unit.
    pub limits: Limits,
    /// How much of the system the unit hides.
    pub sandbox: Sandbox,
    /// Whether a dead agent comes back.
    pub restart: Restart,
    /// Pause before it comes back, in milliseconds.
    pub restart_delay_ms: u64,
    /// How often it may be started before it counts as failed.
    pub start_limit: StartLimit,
    /// How long a start waits for the agent to stand at its prompt, in milliseconds; 0 for not at all.
    pub ready_timeout_ms: u64,
    /// Whether a restarted agent takes its conversation up again.
    pub resume: Resume,
    /// Labels, for selectors.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Among nodes of the same score a chat goes to the higher one.
    #[serde(default)]
    pub priority: i32,
    /// Most chats that are placed on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_chats: Option<u32>,
    /// Commands that are run when its state changes.
    #[serde(default, skip_serializing_if = "On::is_empty")]
    pub on: On,
    /// How a person is told that it needs one.
    #[serde(default)]
    pub notify: Notify,
}

impl Agent {
    /// An agent of a runtime with everything else as a roster has it that says nothing; no
    /// conversation rule, screen rule or other definition of the runtime.
    pub fn usual(
        name: AgentName,
        runtime: &str,
        command: Vec<String>,
        working_directory: PathBuf,
    ) -> Self {
        Self {
            name,
            runtime: runtime.to_owned(),
            spec: RuntimeSpec::default(),
            class: DEFAULT_CLASS.to_owned(),
            working_directory,
            command,
            enabled: true,
            permissions: Permissions::default(),
            model_hint: None,
            persistent_persona: Persona::default(),
            reset_between_tasks: false,
            kickstart: None,
            kickstart_on: KickstartOn::default(),
            on_restart_message: None,
            on_restart: OnRestart::default(),
            env: BTreeMap::new(),
            env_files: Vec::new(),
            limits: Limits::default(),
            sandbox: Sandbox::default(),
            restart: Restart::default(),
            restart_delay_ms: DEFAULT_RESTART_DELAY_MS,
            start_limit: StartLimit::default(),
            ready_timeout_ms: 0,
            resume: Resume::default(),
            labels: BTreeMap::new(),
            priority: 0,
            max_chats: None,
            on: On::default(),
            notify: Notify::default(),
        }
    }

    /// Whether there is anything to do once it has started.
    pub fn has_start_step(&self) -> bool {
        self.ready_timeout_ms > 0
            || (self.kickstart.is_some() && self.kickstart_on != KickstartOn::Reset)
            || self.on_restart_message.is_some()
    }
}

/// Where a kickstart's text comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Kickstart {
    /// The text itself.
    Text(String),
    /// A file, read when it is sent; relative to the roster; absolute once resolved.
    File(PathBuf),
}

/// When the kickstart is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KickstartOn {
    /// When the agent starts a conversation of its own (not when it resumes one).
    Start,
    /// After a reset.
    #[default]
    Reset,
    /// Both.
    Both,
}

/// After which restarts an agent is told that it was restarted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnRestart {
    /// Those that cut it off in a turn, as its own account tells.
    #[default]
    Interrupted,
    /// Every one that resumed its conversation.
    Always,
}

/// Whether the agent asks before it acts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Permissions {
    /// The runtime's own rule.
    #[default]
    Ask,
    /// The runtime's permission-skipping arguments are added.
    Skip,
}

/// How hard a reset is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Persona {
    /// `true`: reset refuses without `--force`.
    Persistent,
    /// `semi`: reset asks on a terminal, needs `--yes` without one.
    Semi,
    /// `false`: free.
    #[default]
    Free,
}

impl Serialize for Persona {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Persona::Persistent => s.serialize_bool(true),
            Persona::Semi => s.serialize_str("semi"),
            Persona::Free => s.serialize_bool(false),
        }
    }
}

impl<'de> Deserialize<'de> for Persona {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl serde::de::Visitor<'_> for V {
            type Value = Persona;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("`true`, `semi` or `false`")
            }
            fn visit_bool<E: serde::de::Error>(self, v: bool) -> Result<Persona, E> {
                Ok(if v {
                    Persona::Persistent
                } else {
                    Persona::Free
                })
            }
            fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<Persona, E> {
                match v {
                    "true" => Ok(Persona::Persistent),
                    "semi" => Ok(Persona::Semi),
                    "false" => Ok(Persona::Free),
                    other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
                }
            }
        }
        d.deserialize_any(V)
    }
}

impl JsonSchema for Persona {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Persona".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "How hard a reset is: true refuses without --force, semi asks, false is free.",
            "enum": [true, false, "semi"]
        })
    }
}

/// Limits of an agent's unit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_max: Option<u64>,
    /// Per cent of one processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_quota: Option<u32>,
    /// Tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks_max: Option<u32>,
}

/// How much of the system the unit hides from the agent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sandbox {
    /// Nothing.
    #[default]
    Off,
    /// No new privileges, kernel interfaces closed.
    Basic,
    /// Basic, and the file system read-only but for the working directory and the agent's own state.
    Strict,
}

/// Whether a dead agent comes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Restart {
    /// However it ended.
    #[default]
    Always,
    /// It stays down.
    Never,
}

/// How often an agent may be started before it counts as failed: what ends a crash loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartLimit {
    /// Starts.
    pub burst: u32,
    /// Within this time, in milliseconds.
    pub interval_ms: u64,
}

impl Default for StartLimit {
    /// Five starts in five minutes: a crash loop that burns quota ends within a minute, while an
    /// agent that dies once a day comes back for ever.
    fn default() -> Self {
        Self {
            burst: 5,
            interval_ms: 300_000,
        }
    }
}

/// Whether a restarted agent takes its conversation up again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Resume {
    /// Its own last one.
    #[default]
    Last,
    /// Every start is a fresh conversation.
    None,
}
