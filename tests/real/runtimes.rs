//! What each agent CLI needs to run in a fresh home against the model stand-in, without an account,
//! without questions at its start and without updates; and agents of each runtime.

use std::path::Path;

use serde_json::json;

use crate::cli::{CLIS, Real, installed};
use crate::support::{Agent, Roster};

impl Real {
    /// Writes the configuration of all CLIs into the home.
    pub fn configure(&self) {
        let write = |path: &str, text: String| self.s.write(&self.s.home(path), text);
        let provider = json!({"providers": {"stand-in": {
            "baseUrl": self.openai(),
            "api": "openai-completions",
            "apiKey": "none",
            "models": [{"id": "stand-in"}],
        }}});
        write(".pi/agent/models.json", provider.to_string());

        let opencode = json!({
            "model": "stand-in/stand-in",
            "small_model": "stand-in/stand-in",
            "autoupdate": false,
            "share": "disabled",
            // By default it asks for nothing.
            "permission": {"bash": "ask"},
            "provider": {"stand-in": {
                "npm": "@ai-sdk/openai-compatible",
                "name": "stand-in",
                "options": {"baseURL": self.openai(), "apiKey": "none"},
                "models": {"stand-in": {"name": "stand-in"}},
            }},
        });
        write(".config/opencode/opencode.json", opencode.to_string());

        let gemini = json!({
            "security": {
                "auth": {"selectedType": "gemini-api-key"},
                "folderTrust": {"enabled": false},
            },
            "general": {"enableAutoUpdate": false, "enableAutoUpdateNotification": false},
            "privacy": {"usageStatisticsEnabled": false},
        });
        write(".gemini/settings.json", gemini.to_string());

        // Without its developer extension goose has no shell.
        let developer = json!({
            "type": "builtin", "name": "developer", "enabled": true, "bundled": true,
            "timeout": 300,
        });
        let goose = json!({"extensions": {"developer": developer}});
        write(".config/goose/config.yaml", goose.to_string());
    }

    /// Makes the CLIs that ask for it trust a directory, and claude past its first questions. A
    /// directory trusted before is no longer.
    pub fn trust(&self, directory: &Path) {
        let directory = directory.to_string_lossy();
        let settings = json!({
            "hasCompletedOnboarding": true,
            "projects": {directory.clone(): {"hasTrustDialogAccepted": true}},
        });
        self.s
            .write(&self.s.home(".claude.json"), settings.to_string());
        let codex = format!(
            "model = 'stand-in'
model_provider = 'stand-in'
approval_policy = 'on-request'
sandbox_mode = 'workspace-write'
check_for_update_on_startup = false

[model_providers.stand-in]
name = 'stand-in'
base_url = '{}'
wire_api = 'responses'
env_key = 'STAND_IN_KEY'

[projects.'{directory}']
trust_level = 'trusted'
",
            self.openai()
        );
        self.s.write(&self.s.home(".codex/config.toml"), codex);
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.model.port)
    }

    fn openai(&self) -> String {
        format!("{}/v1", self.url())
    }

    /// An agent of runtime `claude` that asks before it uses a tool.
    pub fn claude(&self, name: &str) -> Agent {
        Agent::demo(name)
            .key("runtime", json!("claude"))
            .env("ANTHROPIC_BASE_URL", &self.url())
            // An API key would open a dialog.
            .env("ANTHROPIC_AUTH_TOKEN", "none")
            .env("DISABLE_AUTOUPDATER", "1")
            .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
    }

    /// An agent of runtime `pi`, which never asks.
    pub fn pi(&self, name: &str) -> Agent {
        Agent::demo(name)
            .key("runtime", json!("pi"))
            .env("PI_OFFLINE", "1")
            .env("PI_SKIP_VERSION_CHECK", "1")
    }

    /// An agent of runtime `codex` that asks before a command leaves its sandbox.
    pub fn codex(&self, name: &str) -> Agent {
        Agent::demo(name)
            .key("runtime", json!("codex"))
            .env("STAND_IN_KEY", "none")
    }

    /// Makes the database that several opencode share, before they start: of three that begin with none at the
    /// same time on a busy machine, one hangs for good now and then (1.18).
    pub fn opencode_database(&self) {
        let program = installed("opencode").unwrap();
        self.s
            .run(&program.to_string_lossy(), &["session", "list"])
            .ok();
    }

    /// An agent of runtime `opencode` that asks before it runs a command.
    pub fn opencode(&self, name: &str) -> Agent {
        Agent::demo(name)
            .key("runtime", json!("opencode"))
            .env("OPENCODE_DISABLE_AUTOUPDATE", "1")
            .env("OPENCODE_DISABLE_MODELS_FETCH", "1")
            .env("OPENCODE_DISABLE_LSP_DOWNLOAD", "1")
            .env("OPENCODE_DISABLE_DEFAULT_PLUGINS", "1")
    }

    /// An agent of runtime `gemini` that asks before it runs a command.
    pub fn gemini(&self, name: &str) -> Agent {
        Agent::demo(name)
            .key("runtime", json!("gemini"))
            .env("GEMINI_API_KEY", "none")
            .env("GOOGLE_GEMINI_BASE_URL", &self.url())
    }

    /// An agent of runtime `goose` that asks before it uses a tool.
    pub fn goose(&self, name: &str) -> Agent {
        Agent::demo(name)
            .key("runtime", json!("goose"))
            .env("GOOSE_PROVIDER", "openai")
            .env("OPENAI_HOST", &self.url())
            .env("OPENAI_API_KEY", "none")
            .env("GOOSE_MODEL", "stand-in")
            .env("GOOSE_MODE", "approve")
            .env("GOOSE_DISABLE_KEYRING", "1")
            .env("GOOSE_TELEMETRY_ENABLED", "false")
    }

    /// A roster of these agents.
    pub fn roster(&self, agents: impl IntoIterator<Item = Agent>) -> Roster {
        let mut runtimes = json!({
            "claude": {"args": ["--permission-mode", "manual"]},
            "pi": {"args": ["--provider", "stand-in", "--model", "stand-in"]},
        });
        for name in CLIS {
            runtimes[name]["command"] = json!(installed(name).unwrap());
        }
        Roster::new(agents)
            // On a busy machine a CLI may take its time.
            .default("ready_timeout", json!("40s"))
            .key("runtimes", runtimes)
    }
}
