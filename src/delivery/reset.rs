//! Empties an agent's context between tasks, by its runtime's own command or by a restart with a
//! fresh conversation, and sends the kickstart afterwards. Nothing is interrupted: a working agent is
//! refused.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::channel::Mark;
use super::guard::{Hold, Target};
use super::kickstart::{recorded, sent_since};
use super::receipt::Receipt;
use super::send::{ACCEPT_WAIT, DEFAULT_WAIT, Message, deliver, put};
use super::stop::{Reached, Stop};
use super::wait_ready;
use crate::error::{EXIT_OK, Error, Kind, Result};
use crate::fleet::{Kickstart, KickstartOn, Persona};
use crate::host::files;
use crate::install::Install;
use crate::launch::Launch;
use crate::paths::Paths;
use crate::record::{self, ConversationRecord, Run};
use crate::report;
use crate::state::{State, observe};
use crate::terminal::run::current_conversation;

/// How long the new conversation is waited for. Measured: 80 ms on an idle machine.
const PROOF_WAIT: Duration = Duration::from_secs(5);

/// How long the agent may take to stand at its prompt again after the command.
const SETTLE_WAIT: Duration = Duration::from_secs(10);

/// How long a restarted agent may take to its prompt, unless told otherwise. The slowest measured one
/// takes nine seconds on an idle machine.
const READY_WAIT: Duration = Duration::from_secs(30);

/// Between two looks at a state.
const LOOK: Duration = Duration::from_millis(40);

/// The way to an empty context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The runtime's command that empties the context.
    Clear,
    /// The runtime's command that begins a new conversation.
    New,
    /// A new process with a new conversation.
    Restart,
}

impl Mode {
    /// As printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::Clear => "clear",
            Mode::New => "new",
            Mode::Restart => "restart",
        }
    }
}

/// Whether an agent may be reset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permitted {
    /// Yes.
    Permitted,
    /// If the person at the terminal agrees.
    Ask,
    /// No; why, and what to type.
    Refused(String),
}

/// Decides by the agent's `persistent_persona`.
pub fn permitted(persona: Persona, force: bool, yes: bool, terminal: bool) -> Permitted {
    match persona {
        Persona::Free => Permitted::Permitted,
        _ if force => Permitted::Permitted,
        Persona::Persistent => {
            Permitted::Refused("its persona is persistent; `--force` resets it all the same".into())
        }
        Persona::Semi if yes => Permitted::Permitted,
        Persona::Semi if terminal => Permitted::Ask,
        Persona::Semi => {
            Permitted::Refused("its persona is semi-persistent; `--yes` confirms the reset".into())
        }
    }
}

/// How to reset.
#[derive(Debug, Clone)]
pub struct ResetOptions {
    /// How long to wait for the agent to be idle.
    pub wait: Duration,
    /// How long a restarted agent may take to its prompt.
    pub ready_wait: Duration,
    /// Restart whatever the agent is doing. The commands are never typed into a working agent.
    pub force: bool,
    /// Short name of this host, for the kickstart.
    pub host: String,
}

impl ResetOptions {
    /// The usual ones.
    pub fn new(host: String) -> Self {
        Self {
            wait: DEFAULT_WAIT,
            ready_wait: READY_WAIT,
            force: false,
            host,
        }
    }
}

/// What became of a reset. Its JSON form is what `--json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ResetReport {
    /// Which agent.
    pub agent: String,
    /// The way that was asked for.
    pub asked: Mode,
    /// The way that was taken; another one where the runtime has no command for it.
    pub mode: Mode,
    /// The context is proved to be empty.
    pub reset: bool,
    /// What proves it, and what was done.
    pub evidence: Vec<String>,
    /// The new conversation, where the agent named it.
    pub conversation: Option<String>,
    /// Why it failed.
    pub reason: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// Trying again may help: nothing was done.
    pub retry: bool,
    /// What became of the kickstart; `None` where none is sent.
    pub kickstart: Option<Receipt>,
    /// From call to report.
    pub elapsed_ms: u64,
}

impl ResetReport {
    /// Exit status: 0 reset, and the kickstart submitted where there is one; 75 where trying again may
    /// help; else 1.
    pub fn exit_code(&self) -> u8 {
        match (&self.kickstart, self.reset) {
            (None, true) => EXIT_OK,
            (Some(receipt), true) if receipt.succeeded() => EXIT_OK,
            (_, false) if self.retry => Kind::Busy.exit_code(),
            _ => Kind::No.exit_code(),
        }
    }

    /// The context is empty, and the kickstart submitted where there is one.
    pub fn done(&self) -> bool {
        self.exit_code() == EXIT_OK
    }

    /// One line for a person; hints are left to the caller.
    pub fn line(&self) -> String {
        let agent = &self.agent;
        let fell_back = if self.asked == self.mode {
            String::new()
        } else {
            format!(
                " (its runtime has no command for `{}`)",
                self.asked.as_str()
            )
        };
        let mut line = match &self.reason {
            Some(reason) => format!("{agent}: not reset: {reason}"),
            None => format!(
                "{agent}: {}{fell_back} in {} ms ({})",
                self.mode.as_str(),
                self.elapsed_ms,
                self.evidence.join("; ")
            ),
        };
        match &self.kickstart {
            Some(r) if r.succeeded() => {
                line.push_str(&format!("; kickstart {}", r.receipt.as_str()))
            }
            Some(r) => line.push_str(&format!(
                "; kickstart {}: {}",
                r.receipt.as_str(),
                r.reason.as_deref().unwrap_or_default()
            )),
            None => {}
        }
        line
    }
}

impl std::fmt::Display for ResetReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.line())
    }
}

/// What a way of resetting found out.
struct Done {
    evidence: Vec<String>,
    conversation: Option<String>,
}

/// Resets. `restart` stops the agent and starts it again, and returns once it runs; it is called
/// after the conversation was forgotten, so that the start begins a new one.
pub fn reset(
    install: &Install,
    launch: &Launch,
    asked: Mode,
    options: &ResetOptions,
    restart: &dyn Fn() -> Result<()>,
) -> ResetReport {
    let begun = Instant::now();
    let asked_at = jiff::Timestamp::now();
    let agent = launch.agent.name.as_str();
    let commands = launch.agent.spec.reset.clone().unwrap_or_default();
    let command = match asked {
        Mode::Clear => commands.clear,
        Mode::New => commands.new,
        Mode::Restart => None,
    };
    let (mode, result) = match command {
        Some(command) => (asked, by_command(install, launch, &command, options)),
        None => (Mode::Restart, by_restart(install, launch, options, restart)),
    };
    let mut report = ResetReport {
        agent: agent.to_owned(),
        asked,
        mode,
        reset: result.is_ok(),
        evidence: Vec::new(),
        conversation: None,
        reason: None,
        hint: None,
        retry: false,
        kickstart: None,
        elapsed_ms: 0,
    };
    match result {
        Ok(done) => {
            report.evidence = done.evidence;
            report.conversation = done.conversation;
            let wanted = matches!(
                launch.agent.kickstart_on,
                KickstartOn::Reset | KickstartOn::Both
            );
            // A restart is a start, and that may have sent it.
            if mode == Mode::Restart && sent_since(install, agent, asked_at) {
                report
                    .evidence
                    .push("its start sent the kickstart".to_owned());
            } else if wanted {
                report.kickstart = kickstart(install, launch, &options.host);
            }
        }
        Err(stop) => {
            report.retry = stop.retry && !stop.touched();
            report.reason = Some(stop.reason);
            report.hint = stop.hint;
        }
    }
    report.elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let detail = match &report.reason {
        Some(reason) => format!("{} failed: {reason}", mode.as_str()),
        None => mode.as_str().to_owned(),
    };
    record::event(
        &install.paths,
        agent,
        record::What::Command {
            verb: "reset".into(),
            detail,
        },
    );
    report
}

fn by_command(
    install: &Install,
    launch: &Launch,
    command: &str,
    options: &ResetOptions,
) -> Result<Done, Stop> {
    let target = Target::of(install, launch)?;
    let hold = target.lock(options.wait)?;
    wait_idle(install, launch, options.wait)?;
    let (_, submitted) = put(&target, &hold, command, options.wait)?;
    let conversation = wait_new_conversation(&target, &hold, command, &submitted.mark)?;
    let mut evidence = vec![format!("`{command}`: the agent reports a new conversation")];
    // The context is empty by now; that the agent is slow to show its prompt does not undo it.
    evidence.push(match wait_idle(install, launch, SETTLE_WAIT) {
        Ok(()) => "idle again".to_owned(),
        Err(stop) => format!("not seen idle again: {}", stop.reason),
    });
    Ok(Done {
        evidence,
        conversation,
    })
}

/// Waits until the agent says which conversation it is in now.
fn wait_new_conversation(
    target: &Target<'_>,
    _hold: &Hold,
    command: &str,
    mark: &Mark,
) -> Result<Option<String>, Stop> {
    let begun = Instant::now();
    loop {
        let reports = target.reported(mark);
        if let Some((id, file)) = report::last_session(&reports) {
            return Ok(id.or_else(|| file.map(|f| f.to_string_lossy().into_owned())));
        }
        if begun.elapsed() >= PROOF_WAIT {
            return Err(Stop {
                reached: Reached::Typed,
                reason: format!(
                    "`{command}` was submitted, but the agent reports no new conversation"
                ),
                hint: Some("look at it with `mosaic agent attach`, or use `--restart`".into()),
                retry: false,
                seen: Vec::new(),
            });
        }
        std::thread::sleep(LOOK / 2);
    }
}

/// Waits until the agent is idle.
fn wait_idle(install: &Install, launch: &Launch, wait: Duration) -> Result<(), Stop> {
    let agent = launch.agent.name.as_str();
    let begun = Instant::now();
    let mut before = None;
    loop {
        let panes = install.tmux().panes()?;
        let seen = observe(install, launch, &panes, true);
        if seen.state == State::Idle {
            return Ok(());
        }
        let settled = before == Some(seen.state);
        let stop = |reason: String, hint: String, retry| Stop {
            reached: Reached::Nothing,
            reason,
            hint: Some(hint),
            retry,
            seen: seen
                .screen
                .as_ref()
                .map(|s| s.foot.clone())
                .unwrap_or_default(),
        };
        let attach = format!("look at it: `mosaic agent attach {agent}`");
        match seen.state {
            State::Waiting if settled => {
                return Err(stop(
                    format!("`{agent}` asks: {}", seen.evidence.what),
                    format!("answer it: `mosaic agent attach {agent}`"),
                    false,
                ));
            }
            State::Exited | State::Failed if settled => {
                return Err(stop(
                    format!("`{agent}` is not running: {}", seen.evidence.what),
                    format!("`mosaic fleet start {agent}`, or reset it with `--restart`"),
                    false,
                ));
            }
            State::Working if begun.elapsed() >= wait => {
                let hint = "wait for it to end its turn, or give it longer with `--wait SECONDS`"
                    .to_owned();
                return Err(stop(
                    format!("`{agent}` is working: {}", seen.evidence.what),
                    hint,
                    true,
                ));
            }
            state if begun.elapsed() >= wait && settled => {
                return Err(stop(
                    format!("`{agent}` is {state}, not idle: {}", seen.evidence.what),
                    attach,
                    true,
                ));
            }
            state => before = Some(state),
        }
        std::thread::sleep(LOOK);
    }
}

/// Checks that nothing of a person's stands in the box, which would be gone with the process.
fn no_draft(install: &Install, launch: &Launch) -> Result<(), Stop> {
    let agent = launch.agent.name.as_str();
    let panes = install.tmux().panes()?;
    match observe(install, launch, &panes, true).draft() {
        None => Ok(()),
        Some(draft) => Err(Stop::busy(format!(
            "a draft stands in the box of `{agent}`: `{draft}`"
        ))
        .hint("send or clear it there; `--force` restarts the agent all the same, and the draft is lost")),
    }
}

fn by_restart(
    install: &Install,
    launch: &Launch,
    options: &ResetOptions,
    restart: &dyn Fn() -> Result<()>,
) -> Result<Done, Stop> {
    let agent = launch.agent.name.as_str();
    // From the restart on something was done, and a second try would do it again.
    let failed = |e: Error| Stop {
        reached: Reached::Nothing,
        retry: false,
        hint: e.hints.first().cloned(),
        reason: e.to_string(),
        seen: Vec::new(),
    };
    let old = Run::load(&install.paths, agent)
        .ok()
        .flatten()
        .filter(Run::alive);
    // No sender types between the look and the restart.
    let hold = if !options.force && old.is_some() {
        let hold = Hold::take(install, agent, options.wait)?;
        wait_idle(install, launch, options.wait)?;
        no_draft(install, launch)?;
        Some(hold)
    } else {
        None
    };
    let before = Before::of(&install.paths, agent).map_err(failed)?;
    if let Err(e) = forget_conversation(&install.paths, agent) {
        return Err(failed(before.undo(&install.paths, agent, e)));
    }
    // The agent's start sends the kickstart, and needs the pane for that.
    drop(hold);
    if let Err(e) = restart() {
        return Err(not_restarted(install, agent, old.as_ref(), &before, e));
    }
    let ready = wait_ready(install, launch, options.ready_wait).map_err(failed)?;
    let new = Run::load(&install.paths, agent).map_err(failed)?;
    if let (Some(old), Some(new)) = (&old, &new)
        && (old.pid, old.start_ticks) == (new.pid, new.start_ticks)
    {
        return Err(failed(Error::no(format!(
            "`{agent}` was not restarted: process {} is still the same",
            old.pid
        ))));
    }
    if !ready.is_ready() {
        return Err(failed(Error::no(format!(
            "`{agent}` was restarted and is {}: {}",
            ready.state, ready.evidence.what
        ))));
    }
    let pid = new.as_ref().map_or(0, |run| run.pid);
    Ok(Done {
        evidence: vec![
            format!("new process {pid}"),
            format!("ready after {} ms", ready.after_ms),
        ],
        conversation: new.and_then(|run| run.conversation),
    })
}

/// What a restart that failed leaves behind. As long as no new process took the new conversation, the
/// agent keeps the old one, and as long as the old process runs as well, nothing was done.
fn not_restarted(
    install: &Install,
    agent: &str,
    old: Option<&Run>,
    before: &Before,
    e: Error,
) -> Stop {
    let busy = e.kind == Kind::Busy;
    let now = Run::load(&install.paths, agent).ok().flatten();
    let process = |run: &Run| (run.pid, run.start_ticks);
    let alive = now.as_ref().filter(|run| run.alive());
    let untouched = alive.map(process) == old.map(process);
    let begun = before.started_since(now.as_ref());
    let e = if begun {
        e.because("a new process was started with a new conversation")
    } else {
        before.undo(&install.paths, agent, e)
    };
    Stop {
        reached: Reached::Nothing,
        retry: busy && untouched && !begun,
        hint: e.hints.first().cloned(),
        reason: e.to_string(),
        seen: Vec::new(),
    }
}

/// What tells an agent's conversation, as it was before it was forgotten.
struct Before {
    /// The record, with what the reports told.
    record: Option<ConversationRecord>,
    /// There were reports.
    reports: bool,
    /// The process that was recorded last, alive or not.
    process: Option<(i32, u64)>,
}

impl Before {
    fn of(paths: &Paths, agent: &str) -> Result<Self> {
        Ok(Self {
            record: current_conversation(paths, agent)?,
            reports: report::path(paths, agent).exists(),
            process: Run::load(paths, agent)?.map(|run| (run.pid, run.start_ticks)),
        })
    }

    fn started_since(&self, now: Option<&Run>) -> bool {
        now.is_some_and(|run| Some((run.pid, run.start_ticks)) != self.process)
    }

    /// Takes [`forget_conversation`] back, so that the next start takes the old conversation up again.
    fn restore(&self, paths: &Paths, agent: &str) -> Result<()> {
        let Some(record) = &self.record else {
            return Ok(());
        };
        files::write_atomic(
            &paths.conversation(agent),
            files::to_json(record).as_bytes(),
            files::PRIVATE,
        )?;
        let reports = report::path(paths, agent);
        let aside = aside(&reports);
        // An agent that still runs may have reported more since.
        if self.reports && !reports.exists() && aside.exists() {
            std::fs::rename(&aside, &reports)
                .map_err(|e| Error::io(format!("cannot move `{}` back", aside.display()), e))?;
        }
        Ok(())
    }

    /// Restores, and adds to the error what became of that.
    fn undo(&self, paths: &Paths, agent: &str, e: Error) -> Error {
        match self.restore(paths, agent) {
            Ok(()) => e,
            Err(other) => e.because(format!(
                "`{agent}` begins a new conversation at its next start: {other}"
            )),
        }
    }
}

/// Where reports are kept that are believed no longer.
fn aside(reports: &Path) -> PathBuf {
    reports.with_extension("jsonl.1")
}

/// Makes the agent's next start begin a new conversation. The old one stays where the agent keeps it,
/// its id in the record's list of earlier ones. Returns that id.
///
/// # Errors
/// The record cannot be read or written; the next start then takes the old conversation up again.
pub fn forget_conversation(paths: &Paths, agent: &str) -> Result<Option<String>> {
    let Some(mut record) = current_conversation(paths, agent)? else {
        return Ok(None);
    };
    let old = std::mem::replace(&mut record.id, uuid::Uuid::new_v4().to_string());
    record.earlier.push(old.clone());
    record.file = None;
    record.begun = false;
    files::write_atomic(
        &paths.conversation(agent),
        files::to_json(&record).as_bytes(),
        files::PRIVATE,
    )?;
    // The last report names the old conversation, and a start believes the reports.
    let reports = report::path(paths, agent);
    if reports.exists() {
        let aside = aside(&reports);
        std::fs::rename(&reports, &aside)
            .map_err(|e| Error::io(format!("cannot move `{}` aside", reports.display()), e))?;
    }
    Ok(Some(old))
}

/// Sends an agent's kickstart and records what became of it; `None` when it has none.
pub fn kickstart(install: &Install, launch: &Launch, host: &str) -> Option<Receipt> {
    let receipt = first_words(install, launch, host)?;
    recorded(install, &receipt);
    Some(receipt)
}

fn first_words(install: &Install, launch: &Launch, host: &str) -> Option<Receipt> {
    let template = match launch.agent.kickstart.as_ref()? {
        Kickstart::Text(text) => Ok(text.clone()),
        Kickstart::File(path) => read(path),
    };
    let agent = &launch.agent;
    let text = template.and_then(|t| {
        fill(
            &t,
            &[
                ("agent", agent.name.as_str()),
                ("class", &agent.class),
                ("host", host),
                (
                    "working_directory",
                    &agent.working_directory.to_string_lossy(),
                ),
            ],
        )
    });
    Some(match text {
        Ok(text) => deliver(
            install,
            launch,
            &Message {
                text: text.into_bytes(),
                sender: String::new(),
                host: host.to_owned(),
                preamble: false,
                wait: DEFAULT_WAIT,
                accept_wait: ACCEPT_WAIT,
            },
        ),
        Err(e) => Receipt {
            hint: e.hints.first().cloned(),
            ..Receipt::refused(agent.name.as_str(), e.to_string())
        },
    })
}

fn read(path: &Path) -> Result<String> {
    files::read_optional(path)?.ok_or_else(|| {
        Error::config(format!(
            "the kickstart file `{}` does not exist",
            path.display()
        ))
    })
}

/// Fills `{name}` in a text. Braces around anything but a lower-case word are text, and `{{name}}` is
/// the text `{name}`.
///
/// # Errors
/// Kind `Config`, naming the first variable that is not known.
pub fn fill(template: &str, variables: &[(&str, &str)]) -> Result<String> {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let name = |text: &'_ str| -> Option<usize> {
            let end = text.find(|c: char| !(c.is_ascii_lowercase() || c == '_'))?;
            (end > 0 && text[end..].starts_with('}')).then_some(end)
        };
        if let Some(end) = rest.strip_prefix("{{").and_then(name)
            && rest[2 + end..].starts_with("}}")
        {
            out.push_str(&rest[1..end + 3]);
            rest = &rest[end + 4..];
        } else if let Some(end) = name(&rest[1..]) {
            let wanted = &rest[1..=end];
            let (_, value) = variables
                .iter()
                .find(|(n, _)| *n == wanted)
                .ok_or_else(|| {
                    let known: Vec<&str> = variables.iter().map(|(n, _)| *n).collect();
                    Error::config(format!(
                        "the kickstart names an unknown variable `{{{wanted}}}`"
                    ))
                    .hint(format!(
                        "known are {}; `{{{{{wanted}}}}}` is the text itself",
                        known.join(", ")
                    ))
                })?;
            out.push_str(value);
            rest = &rest[end + 2..];
        } else {
            out.push('{');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::report::What;

    #[test]
    fn personas_decide_who_may_reset() {
        use Persona::{Free, Persistent, Semi};
        let verdict = |persona, force, yes, terminal| match permitted(persona, force, yes, terminal)
        {
            Permitted::Permitted => "yes",
            Permitted::Ask => "ask",
            Permitted::Refused(_) => "no",
        };
        assert_eq!(verdict(Free, false, false, false), "yes");
        assert_eq!(verdict(Persistent, false, true, true), "no");
        assert_eq!(verdict(Persistent, true, false, false), "yes");
        assert_eq!(verdict(Semi, false, false, true), "ask");
        assert_eq!(verdict(Semi, false, false, false), "no");
        assert_eq!(verdict(Semi, false, true, false), "yes");
    }

    #[test]
    fn variables_are_filled() {
        let vars = [("agent", "coder0"), ("class", "implementer")];
        let ok = |t| fill(t, &vars).unwrap();
        assert_eq!(
            ok("You are {agent}, a {class}."),
            "You are coder0, a implementer."
        );
        assert_eq!(ok("{agent}{agent}"), "coder0coder0");
        assert_eq!(
            ok("{{agent}} {\"a\": 1} {} {A} { agent } {agent"),
            "{agent} {\"a\": 1} {} {A} { agent } {agent"
        );
        assert_eq!(ok("é{agent}é"), "écoder0é");
        let e = fill("hi {agnet}", &vars).unwrap_err();
        assert!(e.message.contains("`{agnet}`"), "{e}");
        assert!(e.hints[0].contains("agent, class"), "{:?}", e.hints);
    }

    #[test]
    fn a_forgotten_conversation_is_kept_by_name_and_not_taken_up_again() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths {
            home: dir.path().into(),
            roster: dir.path().join("roster.yaml"),
            state: dir.path().join("state"),
            runtime: dir.path().join("run"),
            units: dir.path().join("units"),
        };
        assert_eq!(forget_conversation(&paths, "c").unwrap(), None);
        let record = ConversationRecord {
            version: 1,
            runtime: "claude".into(),
            directory: "/w".into(),
            id: "first".into(),
            file: None,
            begun: true,
            earlier: vec![],
        };
        files::write_atomic(
            &paths.conversation("c"),
            files::to_json(&record).as_bytes(),
            files::PRIVATE,
        )
        .unwrap();
        let session = What::Session {
            id: Some("second".into()),
            file: Some("/t".into()),
            reason: "clear".into(),
        };
        report::append(&report::path(&paths, "c"), session).unwrap();
        // A restart that fails takes it back.
        let install = Install {
            version: 1,
            mode: crate::install::Mode::Supervisor,
            unit_prefix: "mosaic".into(),
            paths: paths.clone(),
            socket_name: "s".into(),
            socket: dir.path().join("s"),
            holder_session: "h".into(),
            tmux: "/tmux".into(),
            mosaic: "/mosaic".into(),
            path: String::new(),
        };
        let busy = || Error::new(Kind::Busy, "the job takes too long");
        let before = Before::of(&paths, "c").unwrap();
        let was = current_conversation(&paths, "c").unwrap();
        forget_conversation(&paths, "c").unwrap();
        assert!(!report::path(&paths, "c").exists());
        let stop = not_restarted(&install, "c", None, &before, busy());
        assert!(stop.retry, "{stop:?}");
        assert_eq!(current_conversation(&paths, "c").unwrap(), was);
        assert!(report::path(&paths, "c").exists());
        // Unless a new process has taken the new conversation.
        forget_conversation(&paths, "c").unwrap();
        let new = current_conversation(&paths, "c").unwrap();
        let run = serde_json::json!({
            "version": 1, "pid": i32::MAX, "start_ticks": 1, "boot": "b", "digest": "d",
            "pane": "%1", "tty": "/dev/pts/1", "started": "2026-01-02T03:04:05Z",
            "conversation": null, "resumed": false
        });
        files::write_atomic(
            &paths.run("c"),
            files::to_json(&run).as_bytes(),
            files::PRIVATE,
        )
        .unwrap();
        let stop = not_restarted(&install, "c", None, &before, busy());
        assert!(
            !stop.retry && stop.reason.contains("new process"),
            "{stop:?}"
        );
        assert_eq!(current_conversation(&paths, "c").unwrap(), new);
        std::fs::remove_file(paths.run("c")).unwrap();
        before.restore(&paths, "c").unwrap();
        assert_eq!(
            forget_conversation(&paths, "c").unwrap().as_deref(),
            Some("second")
        );
        let now = current_conversation(&paths, "c").unwrap().unwrap();
        assert_eq!((now.begun, now.file), (false, None));
        assert_eq!(now.earlier, ["first", "second"]);
        assert!(!["first", "second"].contains(&now.id.as_str()));
    }
}
