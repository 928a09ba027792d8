//! Ways to send: mosaic, and the common recipe as the control that the matrix can fail.

use std::time::Duration;

use serde_json::{Value, json};

use super::Kind;
use crate::support::{Running, Sandbox};

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// `mosaic agent send`.
    Mosaic,
    /// load-buffer, paste-buffer, half a second, Enter, a look: what most scripts do.
    Recipe,
}

/// What a sender said at its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// Exit status; `None` after a signal.
    pub code: Option<i32>,
    /// The receipt, an object.
    pub receipt: Value,
    /// What was printed for people.
    pub stderr: String,
}

impl Said {
    fn word<'a>(&'a self, key: &str) -> &'a str {
        self.receipt[key].as_str().unwrap_or_default()
    }

    /// How far the message got.
    pub fn rung(&self) -> &str {
        self.word("receipt")
    }

    /// Id of the message.
    pub fn id(&self) -> &str {
        self.word("id")
    }

    /// The way it went.
    pub fn channel(&self) -> &str {
        self.word("channel")
    }

    /// The file that it went as.
    pub fn as_file(&self) -> Option<&str> {
        self.receipt["as_file"].as_str()
    }

    /// What the agent made another of.
    pub fn altered(&self) -> Vec<String> {
        let altered = self.receipt["altered"].as_array().into_iter().flatten();
        altered
            .filter_map(|a| Some(a.as_str()?.to_owned()))
            .collect()
    }
}

impl Sender {
    /// Sends a text, waiting for the agent so many seconds.
    pub fn send(self, s: &Sandbox, agent: &str, kind: Kind, text: &str, patience: u64) -> Said {
        match self {
            Self::Mosaic => mosaic(s, agent, kind, text, patience),
            Self::Recipe => recipe(s, agent, text),
        }
    }
}

fn mosaic(s: &Sandbox, agent: &str, kind: Kind, text: &str, patience: u64) -> Said {
    let patience = patience.to_string();
    let mut args = vec!["agent", "send", agent, "--json", "--timeout", &patience];
    if !kind.preamble() {
        args.push("--no-preamble");
    }
    let out = s.mosaic_with(&args, text.as_bytes());
    Said {
        code: out.status.code(),
        receipt: serde_json::from_str(&out.stdout).unwrap_or_default(),
        stderr: out.stderr,
    }
}

fn recipe(s: &Sandbox, agent: &str, text: &str) -> Said {
    let Some(pane) = s.pane(agent) else {
        return Said {
            code: Some(1),
            receipt: json!({"receipt": "refused", "reason": "no pane"}),
            stderr: String::new(),
        };
    };
    let socket = s.socket().to_string_lossy().into_owned();
    let load = ["-N", "-S", &socket, "load-buffer", "-b", agent, "-"];
    let mut command = s.command("tmux");
    command.args(load);
    Running::start(command, Some(text.as_bytes())).wait();
    s.tmux(&["paste-buffer", "-d", "-p", "-b", agent, "-t", &pane.id]);
    std::thread::sleep(Duration::from_millis(500));
    let out = s.tmux(&["send-keys", "-t", &pane.id, "Enter"]);
    std::thread::sleep(Duration::from_millis(1200));
    s.tmux(&["capture-pane", "-p", "-t", &pane.id]);
    Said {
        code: out.status.code(),
        receipt: json!({"receipt": "submitted", "channel": "recipe"}),
        stderr: String::new(),
    }
}
