//! What running agents leave behind for others to read: who runs where (run records), which
//! conversation is whose, port and secret of servers, and the fleet's event log.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::host::{files, procfs};
use crate::paths::Paths;

/// The event log is rotated at this size: weeks of a fleet, and still quick to read.
const EVENTS_LIMIT: u64 = 5 * 1024 * 1024;

/// A process, named for good within one boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// Start in clock ticks.
    pub start_ticks: u64,
}

/// Written by an agent's process right before it becomes the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Format version.
    pub version: u32,
    /// Process of the agent.
    pub pid: i32,
    /// Start of that process in clock ticks; with the boot it names the process for good.
    pub start_ticks: u64,
    /// The boot.
    pub boot: String,
    /// [`crate::launch::Launch::digest`] of what was started.
    pub digest: String,
    /// Pane id.
    pub pane: String,
    /// Terminal.
    pub tty: PathBuf,
    /// What holds the pane open; `None` when a supervisor does.
    #[serde(default)]
    pub placeholder: Option<Process>,
    /// When.
    pub started: jiff::Timestamp,
    /// Conversation given to the agent, where the runtime has a way to name one.
    pub conversation: Option<String>,
    /// It was told to resume that conversation.
    pub resumed: bool,
}

impl Run {
    /// The agent's process.
    pub fn process(&self) -> Process {
        Process {
            pid: self.pid,
            start_ticks: self.start_ticks,
        }
    }

    /// Whether the recorded process still lives and is the same one.
    pub fn alive(&self) -> bool {
        self.boot == procfs::boot_id() && self.process_alive()
    }

    fn process_alive(&self) -> bool {
        procfs::stat(self.pid).is_some_and(|s| s.start == self.start_ticks && s.state != 'Z')
    }

    /// Reads an agent's record; `None` when it never started since boot.
    ///
    /// # Errors
    /// Damaged.
    pub fn load(paths: &Paths, agent: &str) -> Result<Option<Self>> {
        files::read_json(&paths.run(agent))
    }
}

/// Marks an agent as stopped by hand, so that the next plan leaves it down. The mark holds for this
/// boot: after another one the fleet comes up whole.
///
/// # Errors
/// The mark cannot be written.
pub fn hold(paths: &Paths, agent: &str) -> Result<()> {
    files::write_record(&paths.stopped_mark(agent), procfs::boot_id().as_bytes())
}

/// Whether an agent was stopped by hand since the boot.
pub fn held(paths: &Paths, agent: &str) -> bool {
    // The runtime directory need not be one that a boot empties.
    std::fs::read_to_string(paths.stopped_mark(agent)).is_ok_and(|boot| boot == procfs::boot_id())
}

/// Takes the mark of [`hold`] away. Idempotent.
///
/// # Errors
/// It is there and cannot be removed.
pub fn release(paths: &Paths, agent: &str) -> Result<()> {
    files::remove(&paths.stopped_mark(agent)).map(drop)
}

/// Which conversation an agent has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationRecord {
    /// Format version.
    pub version: u32,
    /// Runtime it belongs to: another one could not resume it.
    pub runtime: String,
    /// Directory it belongs to, for the same reason.
    pub directory: PathBuf,
    /// The id.
    pub id: String,
    /// Its file, where the agent has said so.
    #[serde(default)]
    pub file: Option<PathBuf>,
    /// The agent was started with it at least once.
    #[serde(default)]
    pub begun: bool,
    /// The agent itself said that it is in this conversation.
    #[serde(default)]
    pub reported: bool,
    /// Earlier ones, newest last.
    #[serde(default)]
    pub earlier: Vec<String>,
}

/// Enough to find a lost conversation by hand; the list must not grow for ever.
const EARLIER: usize = 50;

impl ConversationRecord {
    /// Goes over to another conversation and remembers the one before.
    pub fn take_up(&mut self, id: String) {
        self.earlier.push(std::mem::replace(&mut self.id, id));
        self.reported = false;
        self.shorten();
    }

    /// Forgets the oldest of the earlier ones, where there are too many.
    pub fn shorten(&mut self) {
        let surplus = self.earlier.len().saturating_sub(EARLIER);
        self.earlier.drain(..surplus);
    }
}

/// Port and secret of an agent that is a server. Mode 0600.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Format version.
    pub version: u32,
    /// TCP port on loopback.
    pub port: u16,
    /// Shared secret.
    pub secret: String,
}

/// How an agent ended, in systemd's words (systemd.exec(5), `$SERVICE_RESULT`).
#[derive(Debug, Clone)]
pub struct Ending {
    /// `success`, `exit-code`, `signal`, `oom-kill` …
    pub result: String,
    /// `exited`, `killed`, `dumped`; empty when the program was never started.
    pub code: String,
    /// Exit status, or the signal's name.
    pub status: String,
}

impl Ending {
    /// For a person: `exit code 3`, `killed by SIGKILL`.
    pub fn describe(&self) -> String {
        match self.code.as_str() {
            "exited" => format!("exit code {}", self.status),
            "killed" | "dumped" => {
                let signal = self.status.strip_prefix("SIG").unwrap_or(&self.status);
                format!("killed by SIG{signal}")
            }
            _ if self.result.is_empty() => "ended".to_owned(),
            _ => format!("result {}", self.result),
        }
    }
}

/// One line of the event log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub time: jiff::Timestamp,
    /// Agent, or the holder session's name.
    pub agent: String,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum What {
    /// The agent's program was started.
    Started {
        /// Process.
        pid: i32,
        /// Pane.
        pane: String,
        /// It resumed its conversation.
        resumed: bool,
    },
    /// It stands at its prompt.
    Ready {
        /// Milliseconds since the start.
        after_ms: u64,
    },
    /// It was not seen at its prompt in time.
    NotReady {
        /// What was seen instead.
        seen: String,
    },
    /// It ended.
    Exited {
        /// `exited`, `killed`, `dumped`.
        how: String,
        /// Exit code, or the signal's name.
        status: String,
        /// systemd's result, or the supervisor's.
        result: String,
    },
    /// It could not be started.
    Refused {
        /// Why.
        why: String,
    },
    /// Its first message of a conversation was sent, or could not be.
    Kickstart {
        /// How far it got: `refused`, `typed`, `submitted`, `accepted`.
        receipt: String,
        /// Why no farther; empty where it was submitted.
        #[serde(default)]
        why: String,
    },
    /// A command of `on`, or `notify`, did not do what it should.
    NoticeFailed {
        /// Which one: `on.waiting`, `notify: desktop`.
        notice: String,
        /// Why.
        why: String,
    },
    /// It was told that it was restarted, or could not be.
    RestartMessage {
        /// How far that got, as for the kickstart.
        receipt: String,
        /// Why no farther; empty where it was submitted.
        #[serde(default)]
        why: String,
    },
    /// Somebody asked for something.
    Command {
        /// What: start, stop, restart, reset, send.
        verb: String,
        /// Further words.
        detail: String,
    },
}

/// Appends an event. Never fails: an event log that cannot be written must not stop an agent; the
/// failure goes to the log.
pub fn event(paths: &Paths, agent: &str, what: What) {
    let event = Event {
        time: jiff::Timestamp::now(),
        agent: agent.to_owned(),
        what,
    };
    let line = serde_json::to_string(&event).unwrap_or_default();
    let mut written = files::append_line(&paths.events(), &line, EVENTS_LIMIT);
    // Kept apart from the log, so that a status need not read the log. What a start that was refused
    // ends with says less than why it was refused.
    let end = match event.what {
        What::Refused { .. } => true,
        What::Exited { .. } => !refused_since_start(paths, agent),
        _ => false,
    };
    if end {
        written = written.and(files::write_record(
            &paths.last_exit(agent),
            line.as_bytes(),
        ));
    }
    if let Err(e) = written {
        tracing::warn!("{e}");
    }
}

/// How an agent ended last, however long ago; `None` when it never did.
pub fn last_exit(paths: &Paths, agent: &str) -> Option<Event> {
    files::read_json::<Event>(&paths.last_exit(agent))
        .ok()
        .flatten()
}

impl Event {
    /// An end in words; `None` for anything else.
    pub fn end(&self) -> Option<String> {
        match &self.what {
            What::Refused { why } => Some(format!("could not start: {why}")),
            What::Exited {
                how,
                status,
                result,
            } => {
                let ending = Ending {
                    result: result.clone(),
                    code: how.clone(),
                    status: status.clone(),
                };
                Some(ending.describe())
            }
            _ => None,
        }
    }
}

/// Whether the last end on record is a refusal to start, and no program was started since.
fn refused_since_start(paths: &Paths, agent: &str) -> bool {
    let Ok(Some(last)) = files::read_json::<Event>(&paths.last_exit(agent)) else {
        return false;
    };
    let started = Run::load(paths, agent).ok().flatten().map(|r| r.started);
    matches!(last.what, What::Refused { .. }) && started.is_none_or(|t| t < last.time)
}

/// Reads the events of one agent, or of all, oldest first. Lines that cannot be read are left out.
pub fn events(paths: &Paths, agent: Option<&str>) -> Vec<Event> {
    let mut old = paths.events().into_os_string();
    old.push(".1");
    let mut all = Vec::new();
    for path in [PathBuf::from(old), paths.events()] {
        if let Ok(Some(text)) = files::read_optional(&path) {
            all.extend(
                text.lines()
                    .filter_map(|l| serde_json::from_str::<Event>(l).ok())
                    .filter(|e| agent.is_none_or(|a| a == e.agent)),
            );
        }
    }
    all
}

/// Reads the event log as it grows.
#[derive(Debug)]
pub struct Follow {
    read: u64,
}

impl Follow {
    /// From its present end on.
    pub fn new(paths: &Paths) -> Self {
        Self {
            read: crate::report::length(&paths.events()),
        }
    }

    /// What was added since the last call, oldest first. Lines that cannot be read are left out.
    pub fn added(&mut self, paths: &Paths) -> Vec<Event> {
        let mut text = String::new();
        let path = paths.events();
        let length = crate::report::length(&path);
        if length < self.read {
            // It was rotated since; its old end is in the file before.
            let mut old = path.clone().into_os_string();
            old.push(".1");
            text = crate::report::lines_since(Path::new(&old), self.read).unwrap_or_default();
            self.read = 0;
        }
        if length > self.read {
            let new = crate::report::lines_since(&path, self.read).unwrap_or_default();
            // Never half a line.
            let whole = new.rfind('\n').map_or(0, |end| end + 1);
            self.read += whole as u64;
            text.push_str(&new[..whole]);
        }
        text.lines()
            .filter_map(|l| serde_json::from_str(l).ok())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_list_of_earlier_conversations_has_an_end() {
        let mut record = ConversationRecord {
            version: 1,
            runtime: "claude".into(),
            directory: "/w".into(),
            id: "0".into(),
            file: None,
            begun: true,
            reported: false,
            earlier: vec![],
        };
        for n in 1..=60 {
            record.take_up(n.to_string());
        }
        assert_eq!(record.id, "60");
        assert_eq!(record.earlier.len(), EARLIER);
        assert_eq!(record.earlier.last().map(String::as_str), Some("59"));
    }

    #[test]
    fn the_log_is_followed_over_a_rotation() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths {
            home: dir.path().into(),
            roster: dir.path().join("roster.yaml"),
            state: dir.path().into(),
            runtime: dir.path().join("run"),
            units: dir.path().join("units"),
        };
        let say = |detail: &str| {
            let what = What::Command {
                verb: "x".into(),
                detail: detail.into(),
            };
            event(&paths, "a", what);
        };
        let details = |events: Vec<Event>| -> Vec<String> {
            let detail = |e: Event| match e.what {
                What::Command { detail, .. } => detail,
                other => panic!("{other:?}"),
            };
            events.into_iter().map(detail).collect()
        };
        say("before");
        let mut follow = Follow::new(&paths);
        assert_eq!(details(follow.added(&paths)), Vec::<String>::new());
        say("one");
        say("two");
        assert_eq!(details(follow.added(&paths)), ["one", "two"]);
        say("three");
        std::fs::rename(paths.events(), dir.path().join("log/events.jsonl.1")).unwrap();
        say("4");
        assert_eq!(details(follow.added(&paths)), ["three", "4"]);
        assert_eq!(details(follow.added(&paths)), Vec::<String>::new());
    }

    #[test]
    fn a_mark_holds_for_one_boot() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let paths = Paths {
            home: at("home"),
            roster: at("roster.yaml"),
            state: at("state"),
            runtime: at("state/run"),
            units: at("units"),
        };
        assert!(!held(&paths, "a"));
        hold(&paths, "a").unwrap();
        assert!(held(&paths, "a") && !held(&paths, "b"));
        std::fs::write(paths.stopped_mark("a"), "another boot").unwrap();
        assert!(!held(&paths, "a"));
        hold(&paths, "a").unwrap();
        release(&paths, "a").unwrap();
        release(&paths, "a").unwrap();
        assert!(!held(&paths, "a"));
    }
}
