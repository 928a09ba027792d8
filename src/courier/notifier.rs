//! Tells programs and people of changes: one thing at a time for an agent, in order, each with a
//! deadline. What goes wrong is an event; nothing here can hold the courier up.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::fleet::Agent;
use crate::host::{process, tty};
use crate::install::Install;
use crate::notices::{Notify, needs_a_person};
use crate::record::{self, What};
use crate::watch::Change;

/// How long a command of the roster may run. A longer one is to put itself into the background.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Notices of one agent that may wait for those before them. More come only when a command hangs.
const WAITING: usize = 16;

/// Longest text shown to a person, in characters: a terminal shows one line.
const TEXT: usize = 200;

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Notice {
    /// A command of the roster.
    Run(String),
    /// `notify-send`.
    Desktop,
    /// The attached terminals.
    Osc,
}

impl Notice {
    fn name(&self, change: &Change) -> String {
        match self {
            Notice::Run(_) => format!("on.{}", change.to),
            Notice::Desktop => "notify: desktop".to_owned(),
            Notice::Osc => "notify: osc".to_owned(),
        }
    }
}

type Queues = Arc<Mutex<BTreeMap<String, VecDeque<(Notice, Change)>>>>;

/// See the module.
#[derive(Debug)]
pub struct Notifier {
    install: Arc<Install>,
    queues: Queues,
}

/// What a change is told by.
fn notices(agent: &Agent, change: &Change) -> Vec<Notice> {
    let command = agent.on.command(change.from, change.to);
    let person = match agent.notify {
        _ if !needs_a_person(change.from, change.to) => None,
        Notify::Off => None,
        Notify::Desktop => Some(Notice::Desktop),
        Notify::Osc => Some(Notice::Osc),
    };
    command
        .map(|c| Notice::Run(c.to_owned()))
        .into_iter()
        .chain(person)
        .collect()
}

impl Notifier {
    /// Nothing is told yet.
    pub fn new(install: &Install) -> Self {
        Self {
            install: Arc::new(install.clone()),
            queues: Queues::default(),
        }
    }

    /// Tells of a change, if the roster wants that. Returns at once.
    pub fn tell(&self, agent: &Agent, change: &Change) {
        for notice in notices(agent, change) {
            let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
            match queues.get_mut(&change.agent) {
                Some(queue) if queue.len() >= WAITING => {
                    drop(queues);
                    let why = format!("left out: {WAITING} before it have not ended");
                    failed(&self.install, &notice, change, why);
                }
                Some(queue) => queue.push_back((notice, change.clone())),
                None => {
                    queues.insert(
                        change.agent.clone(),
                        VecDeque::from([(notice, change.clone())]),
                    );
                    drop(queues);
                    self.start(agent.clone());
                }
            }
        }
    }

    /// Works on an agent's queue until it is empty.
    fn start(&self, agent: Agent) {
        let (install, queues) = (Arc::clone(&self.install), Arc::clone(&self.queues));
        let name = agent.name.to_string();
        let theirs = name.clone();
        let work = move || {
            loop {
                let mut all = queues.lock().unwrap_or_else(PoisonError::into_inner);
                let Some((notice, change)) = all.get_mut(&theirs).and_then(VecDeque::pop_front)
                else {
                    all.remove(&theirs);
                    return;
                };
                drop(all);
                if let Err(why) = carry_out(&install, &agent, &notice, &change) {
                    failed(&install, &notice, &change, why);
                }
            }
        };
        if let Err(e) = std::thread::Builder::new().name(name.clone()).spawn(work) {
            tracing::warn!("cannot start a thread for `{name}`: {e}");
            let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
            queues.remove(&name);
        }
    }
}

fn failed(install: &Install, notice: &Notice, change: &Change, why: String) {
    let notice = notice.name(change);
    record::event(
        &install.paths,
        &change.agent,
        What::NoticeFailed { notice, why },
    );
}

fn carry_out(
    install: &Install,
    agent: &Agent,
    notice: &Notice,
    change: &Change,
) -> Result<(), String> {
    match notice {
        Notice::Run(command) => {
            let mut shell = process::command("/bin/sh");
            shell.args(["-c", command]);
            environment(&mut shell, install, change);
            if agent.working_directory.is_dir() {
                shell.current_dir(&agent.working_directory);
            }
            ended(shell)
        }
        Notice::Desktop => {
            let Some(program) = process::find_program("notify-send", &install.path, Path::new("/"))
            else {
                return Err("`notify-send` is not installed".to_owned());
            };
            let mut send = process::command(program);
            let (title, body) = words(change);
            send.args(["--app-name=mosaic", "--", &title, &body]);
            environment(&mut send, install, change);
            ended(send)
        }
        Notice::Osc => {
            let clients = install.tmux().clients().map_err(|e| e.to_string())?;
            let mut problems = Vec::new();
            for client in clients.iter().filter(|c| !c.tty.is_empty()) {
                let text = osc(&client.term, &words(change));
                if let Err(e) = tty::tell(Path::new(&client.tty), text.as_bytes()) {
                    problems.push(format!("{}: {e}", client.tty));
                }
            }
            match problems.is_empty() {
                true => Ok(()),
                false => Err(problems.join("; ")),
            }
        }
    }
}

/// What was seen goes by variables, never into a command's text.
fn environment(command: &mut Command, install: &Install, change: &Change) {
    for mark in [
        "TMUX",
        "TMUX_PANE",
        "NOTIFY_SOCKET",
        "MOSAIC_STATE",
        "MOSAIC_REPORTS",
    ] {
        command.env_remove(mark);
    }
    let from = change.from.map_or("", crate::state::State::as_str);
    command
        .env("PATH", &install.path)
        .env("MOSAIC_AGENT", &change.agent)
        .env("MOSAIC_STATE_FROM", from)
        .env("MOSAIC_STATE_TO", change.to.as_str())
        .env(
            "MOSAIC_EVIDENCE",
            change.evidence.to_string().replace('\0', ""),
        );
}

fn ended(command: Command) -> Result<(), String> {
    let out = process::run_group(command, TIMEOUT).map_err(|e| e.to_string())?;
    if out.status.success() {
        return Ok(());
    }
    let said = out.stderr.lines().next_back().unwrap_or_default();
    Err(match said.is_empty() {
        true => out.status.to_string(),
        false => format!("{}: {said}", out.status),
    })
}

/// Title and text for a person, without anything that a terminal would obey.
fn words(change: &Change) -> (String, String) {
    let clean = |text: &str| -> String {
        text.chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(TEXT)
            .collect()
    };
    let what = match change.to {
        crate::state::State::Waiting => "asks for you",
        crate::state::State::Failed => "has failed",
        crate::state::State::RateLimited => "is rate-limited",
        other => other.as_str(),
    };
    (
        clean(&format!("{} {what}", change.agent)),
        clean(&change.evidence.what),
    )
}

/// The sequence by which a terminal of this kind shows a notice: OSC 777 where only that is known
/// (rxvt-unicode) or is the better one (foot), else OSC 9 (iTerm2, kitty, WezTerm, Ghostty, Windows
/// Terminal). Terminals that know neither ignore it.
fn osc(term: &str, (title, body): &(String, String)) -> String {
    if term.starts_with("rxvt") || term.starts_with("foot") {
        // The fields are parted by semicolons.
        return format!("\x1b]777;notify;{};{body}\x1b\\", title.replace(';', ","));
    }
    match body.is_empty() {
        true => format!("\x1b]9;{title}\x1b\\"),
        false => format!("\x1b]9;{title}: {body}\x1b\\"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::notices::On;
    use crate::plan::tests::{agent, install};
    use crate::state::{Evidence, State};

    fn change(to: State, what: &str) -> Change {
        Change {
            time: jiff::Timestamp::UNIX_EPOCH,
            agent: "a".into(),
            from: Some(State::Working),
            to,
            evidence: Evidence::unit(what),
        }
    }

    #[test]
    fn an_agent_is_told_of_as_its_roster_wants() {
        let mut one = agent("a");
        one.on = On {
            waiting: Some("w".into()),
            ..On::default()
        };
        one.notify = Notify::Osc;
        assert_eq!(
            notices(&one, &change(State::Waiting, "")),
            [Notice::Run("w".into()), Notice::Osc]
        );
        assert_eq!(notices(&one, &change(State::Failed, "")), [Notice::Osc]);
        assert_eq!(notices(&one, &change(State::Idle, "")), []);
        one.notify = Notify::Off;
        assert_eq!(notices(&one, &change(State::Failed, "")), []);
    }

    #[test]
    fn nothing_that_was_seen_reaches_a_terminal_as_a_command() {
        let evil = change(State::Waiting, "rm;\x1b]0;x\x07\n\u{9b}31m");
        let (title, body) = words(&evil);
        assert_eq!(title, "a asks for you");
        assert!(!body.chars().any(char::is_control), "{body:?}");
        let text = osc("foot-extra", &(title.clone(), body.clone()));
        assert!(
            text.starts_with("\x1b]777;notify;a asks for you;rm;"),
            "{text:?}"
        );
        assert_eq!(text.matches('\x1b').count(), 2);
        let text = osc("xterm-256color", &(title, body));
        assert!(text.starts_with("\x1b]9;a asks for you: rm;"), "{text:?}");
    }

    #[test]
    fn commands_get_what_was_seen_as_data_and_one_runs_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let mut install = install(crate::install::Mode::Supervisor);
        install.paths.state = dir.path().join("state");
        install.path = "/usr/bin:/bin".into();
        let out = dir.path().join("out");
        let mut one = agent("a");
        one.working_directory = dir.path().to_owned();
        one.on = On {
            waiting: Some(
                "echo begin >>out; sleep 0.1; echo \"$MOSAIC_AGENT $MOSAIC_STATE_FROM $MOSAIC_STATE_TO $MOSAIC_EVIDENCE\" >>out".into(),
            ),
            failed: Some("echo oh >&2; exit 3".into()),
            ..On::default()
        };
        let notifier = Notifier::new(&install);
        notifier.tell(&one, &change(State::Waiting, "$(touch evil) `x`"));
        notifier.tell(&one, &change(State::Waiting, "two"));
        notifier.tell(&one, &change(State::Failed, "three"));
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while !notifier.queues.lock().unwrap().is_empty() {
            assert!(std::time::Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(
            std::fs::read_to_string(out).unwrap(),
            "begin\na working waiting unit: $(touch evil) `x`\nbegin\na working waiting unit: two\n"
        );
        assert!(!dir.path().join("evil").exists());
        let events = record::events(&install.paths, Some("a"));
        assert_eq!(events.len(), 1, "{events:?}");
        let What::NoticeFailed { notice, why } = &events[0].what else {
            panic!("{events:?}");
        };
        assert_eq!(notice, "on.failed");
        assert!(why.contains('3') && why.ends_with(": oh"), "{why}");
    }
}
