//! What mosaic runs beside a codex: it starts the app-server, ends it with the agent and the agent with
//! it (a terminal interface whose app-server is gone does not recover), and translates what the
//! app-server tells into reports, so that state, receipts and answers are read as from every other agent.
//!
//! The app-server tells every connection what a thread's state is; what was said stands in the thread's
//! rollout, which is followed while a turn goes on.

use std::collections::BTreeSet;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal};
use serde_json::Value;

use super::rollout;
use super::rpc::Client;
use super::thread::{Status, Thread};
use crate::error::{Error, Result};
use crate::host::{files, process, procfs};
use crate::report::{self, What};

/// How long the app-server may take until it listens. Measured: 0.2 s.
const LISTENS: Duration = Duration::from_secs(20);

/// How long the app-server may take to end when told to.
const ENDS: Duration = Duration::from_secs(2);

/// Between two looks at a rollout while a turn goes on: nothing tells that a line was added.
const FOLLOW: Duration = Duration::from_millis(50);

/// How long after the end of a turn its last lines may come.
const LATE: Duration = Duration::from_secs(2);

/// Between two questions for the first thread, in case nothing tells of it.
const SEARCH: Duration = Duration::from_secs(1);

/// What to run and where to write.
#[derive(Debug)]
pub struct Beside<'a> {
    /// Where the app-server listens.
    pub socket: &'a Path,
    /// Where reports go.
    pub reports: &'a Path,
    /// The app-server's program and arguments.
    pub command: &'a [String],
}

/// Runs until the agent, this process's parent, or the app-server ends.
///
/// # Errors
/// The app-server cannot be started. Nothing is left running.
pub fn run(beside: &Beside<'_>) -> Result<ExitCode> {
    // Signals of the agent's terminal are not for the app-server.
    let _ = rustix::process::setsid();
    let agent = rustix::process::getppid()
        .and_then(|p| Some((p, rustix::process::pidfd_open(p, PidfdFlags::empty()).ok()?)))
        .ok_or_else(|| Error::no("the agent is gone"))?;
    let mut server = start(beside.command)?;
    let outcome = attend(beside, &agent.1, &mut server);
    end(&mut server);
    if gone(&agent.1) {
        return Ok(ExitCode::SUCCESS);
    }
    // Not politely: an agent that ended well would not be started again.
    let _ = rustix::process::pidfd_send_signal(&agent.1, Signal::KILL);
    outcome.map(|()| ExitCode::FAILURE)
}

fn start(command: &[String]) -> Result<Child> {
    let (program, args) = command
        .split_first()
        .ok_or_else(|| Error::usage("no program"))?;
    process::command(program)
        .args(args)
        .stdin(Stdio::null())
        .spawn()
        .map_err(|e| Error::io(format!("cannot start `{program}`"), e))
}

/// Ends the app-server and what it started.
fn end(server: &mut Child) {
    let Ok(pid) = i32::try_from(server.id()) else {
        return;
    };
    let below = procfs::descendants(pid);
    let tell = |signal| {
        for pid in std::iter::once(pid).chain(below.iter().copied()) {
            if let Some(pid) = Pid::from_raw(pid) {
                let _ = rustix::process::kill_process(pid, signal);
            }
        }
    };
    if server.try_wait().is_ok_and(|ended| ended.is_none()) {
        tell(Signal::TERM);
        let begun = Instant::now();
        while begun.elapsed() < ENDS {
            let lives = |p: &i32| procfs::stat(*p).is_some_and(|s| s.state != 'Z');
            if server.try_wait().is_ok_and(|ended| ended.is_some()) && !below.iter().any(lives) {
                return;
            }
            std::thread::sleep(FOLLOW);
        }
    }
    tell(Signal::KILL);
    let _ = server.wait();
}

fn gone(agent: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(agent, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default())).is_ok_and(|n| n > 0)
}

fn attend(beside: &Beside<'_>, agent: &OwnedFd, server: &mut Child) -> Result<()> {
    let pid = i32::try_from(server.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| Error::bug("a process without an id"))?;
    let process = rustix::process::pidfd_open(pid, PidfdFlags::empty())
        .map_err(|e| Error::io("cannot watch the app-server", e))?;
    let begun = Instant::now();
    let mut client = loop {
        match Client::connect(beside.socket) {
            Ok(client) => break client,
            Err(e) if begun.elapsed() > LISTENS => {
                return Err(Error::no(format!("the app-server does not listen: {e}")));
            }
            Err(_) if gone(agent) => return Ok(()),
            Err(_) => match server.try_wait() {
                Ok(None) => std::thread::sleep(FOLLOW),
                Ok(Some(status)) => {
                    return Err(Error::no(format!("the app-server ended: {status}")));
                }
                Err(e) => return Err(Error::io("cannot watch the app-server", e)),
            },
        }
    };
    let mut teller = Teller::new(beside.reports);
    loop {
        let mut fds = [
            PollFd::new(agent, PollFlags::IN),
            PollFd::new(&process, PollFlags::IN),
            PollFd::from_borrowed_fd(client.as_fd(), PollFlags::IN),
        ];
        let pause = teller.pause().and_then(|p| Timespec::try_from(p).ok());
        if let Err(e) = poll(&mut fds, pause.as_ref())
            && e != rustix::io::Errno::INTR
        {
            return Err(Error::io("cannot wait for the app-server", e));
        }
        if !fds[0].revents().is_empty() {
            return Ok(());
        }
        if !fds[1].revents().is_empty() {
            return Err(Error::no("the app-server ended"));
        }
        while let Some(event) = client
            .event(Duration::ZERO)
            .map_err(|e| Error::no(format!("the app-server is lost: {e}")))?
        {
            teller.hear(&event, &mut client);
        }
        teller.look(&mut client);
    }
}

/// Translates.
#[derive(Debug)]
struct Teller {
    reports: PathBuf,
    /// The thread that the terminal shows, as far as can be told.
    shown: Option<Shown>,
    /// Threads that are none of a person's.
    others: BTreeSet<String>,
}

/// The thread that is followed.
#[derive(Debug)]
struct Shown {
    thread: Thread,
    /// Where its rollout was read to.
    read: u64,
    /// The last report out of the rollout was that of an end.
    rests: bool,
    /// Since when codex says that it is idle.
    idle: Option<Instant>,
    /// What it was about to do last.
    call: String,
}

impl Teller {
    fn new(reports: &Path) -> Self {
        Self {
            reports: reports.to_owned(),
            shown: None,
            others: BTreeSet::new(),
        }
    }

    /// How long nothing needs to be looked at; `None` for as long as nothing comes.
    fn pause(&self) -> Option<Duration> {
        match &self.shown {
            None => Some(SEARCH),
            Some(s) if s.thread.status != Status::Idle => Some(FOLLOW),
            Some(s) if !s.rests => Some(FOLLOW),
            Some(_) => None,
        }
    }

    fn tell(&self, what: What) {
        // A full disk costs the reports, not the agent.
        let _ = report::append(&self.reports, what);
    }

    fn hear(&mut self, event: &Value, client: &mut Client) {
        let method = event["method"].as_str().unwrap_or_default();
        let params = &event["params"];
        if method == "thread/started" {
            match Thread::of(&params["thread"]) {
                Some(thread) => {
                    let reason = if self.shown.is_some() {
                        "new"
                    } else {
                        "startup"
                    };
                    self.show(thread, reason);
                }
                None => {
                    let id = params.pointer("/thread/id").and_then(Value::as_str);
                    self.others.extend(id.map(str::to_owned));
                }
            }
            return;
        }
        let Some(id) = params.get("threadId").and_then(Value::as_str) else {
            return;
        };
        if self.others.contains(id) {
            return;
        }
        if self.shown.as_ref().is_none_or(|s| s.thread.id != id) {
            match Thread::read(client, id) {
                Ok(Some(thread)) => {
                    // One that is left behind by `/clear` is told of when it is closed.
                    let elsewhere = self.shown.is_some();
                    if !elsewhere || thread.status != Status::Idle || method.ends_with("cleared") {
                        self.show(thread, "resume");
                    }
                }
                Ok(None) => {
                    self.others.insert(id.to_owned());
                }
                Err(_) => {}
            }
        }
        if method == "thread/status/changed"
            && let Some(shown) = self.shown.as_mut().filter(|s| s.thread.id == id)
        {
            let before = shown.thread.status;
            shown.thread.status = Status::of(&params["status"]);
            shown.idle = (shown.thread.status == Status::Idle).then(Instant::now);
            if shown.thread.status != Status::Idle {
                shown.rests = false;
            }
            let now = shown.thread.status;
            self.follow();
            match (before, now) {
                (_, Status::Waiting) => {
                    let question = self.shown.as_ref().map(|s| s.call.clone());
                    self.tell(What::Waiting {
                        question: question.unwrap_or_default(),
                    });
                }
                (Status::Waiting, Status::Working) => self.tell(What::Working),
                _ => {}
            }
        }
    }

    /// A thread is on the screen from now on.
    fn show(&mut self, thread: Thread, reason: &str) {
        if self
            .shown
            .as_ref()
            .is_some_and(|s| s.thread.id == thread.id)
        {
            return;
        }
        self.tell(What::Session {
            id: Some(thread.id.clone()),
            file: thread.rollout.clone(),
            reason: reason.to_owned(),
        });
        let working = thread.status != Status::Idle;
        self.shown = Some(Shown {
            // What was said before was reported then, but for a turn that is under way.
            read: match &thread.rollout {
                Some(path) if !working => report::length(path),
                _ => 0,
            },
            rests: !working,
            idle: None,
            call: String::new(),
            thread,
        });
    }

    /// Looks for what nothing told.
    fn look(&mut self, client: &mut Client) {
        if self.shown.is_none()
            && let Ok(threads) = Thread::loaded(client)
            && let Some(thread) = threads.into_iter().next_back()
        {
            self.show(thread, "startup");
        }
        self.follow();
        let Some(shown) = &mut self.shown else {
            return;
        };
        // A turn that ended without a word in the record.
        if !shown.rests && shown.idle.is_some_and(|t| t.elapsed() > LATE) {
            shown.rests = true;
            self.tell(What::Idle);
        }
    }

    /// Reports what was added to the rollout.
    fn follow(&mut self) {
        let Some(shown) = &mut self.shown else {
            return;
        };
        let Some(path) = &shown.thread.rollout else {
            return;
        };
        let Some(text) = added(path, &mut shown.read) else {
            return;
        };
        let mut told = Vec::new();
        for line in text.lines() {
            if let Some(report) = rollout::report(line) {
                shown.rests = matches!(report.what, What::Idle | What::Limited { .. });
                told.push(report);
            } else if let Some(call) = rollout::call(line) {
                shown.call = call;
            }
        }
        for report in told {
            let line = serde_json::to_string(&report).unwrap_or_default();
            let _ = files::append_line(&self.reports, &line, u64::MAX);
        }
    }
}

/// The whole lines that were added to a file since `read`, which is moved behind them.
fn added(path: &Path, read: &mut u64) -> Option<String> {
    let length = report::length(path);
    if length <= *read {
        return None;
    }
    let mut file = std::fs::File::open(path).ok()?;
    file.seek(SeekFrom::Start(*read)).ok()?;
    let mut bytes = Vec::new();
    file.take(length - *read).read_to_end(&mut bytes).ok()?;
    let whole = bytes.iter().rposition(|b| *b == b'\n')? + 1;
    *read += whole as u64;
    Some(String::from_utf8_lossy(&bytes[..whole]).into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    const TURN: &str = include_str!("samples/rollout.jsonl");

    #[test]
    fn only_whole_lines_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r");
        let mut read = 0;
        assert_eq!(added(&path, &mut read), None);
        std::fs::write(&path, "one\ntw").unwrap();
        assert_eq!(added(&path, &mut read).as_deref(), Some("one\n"));
        assert_eq!(added(&path, &mut read), None);
        std::fs::write(&path, "one\ntwo\n").unwrap();
        assert_eq!(added(&path, &mut read).as_deref(), Some("two\n"));
    }

    /// An app-server that is never asked anything.
    fn silent() -> (tempfile::TempDir, Client) {
        let (dir, path) = super::super::rpc::tests::served(|_| vec![json!({"result": {}})]);
        let client = Client::connect(&path).unwrap();
        (dir, client)
    }

    #[test]
    fn a_conversation_is_told_from_its_start_to_the_question_it_asks() {
        let (dir, mut client) = silent();
        let reports = dir.path().join("reports.jsonl");
        let file = dir.path().join("rollout.jsonl");
        let mut teller = Teller::new(&reports);
        let thread = |id: &str| {
            json!({"method": "thread/started", "params": {"thread": {"id": id, "path": file,
                "ephemeral": false, "threadSource": "user", "status": {"type": "idle"}}}})
        };
        let status = |s: Value| json!({"method": "thread/status/changed", "params": {"threadId": "a", "status": s}});
        teller.hear(&thread("a"), &mut client);
        teller.hear(&thread("a"), &mut client);
        assert_eq!(teller.pause(), None, "nothing to do until something comes");
        teller.hear(
            &status(json!({"type": "active", "activeFlags": []})),
            &mut client,
        );
        assert_eq!(teller.pause(), Some(FOLLOW));
        // The rollout is made only now, and its last line is not whole yet.
        let (most, rest) = TURN.split_at(TURN.find("\"task_complete\"").unwrap());
        std::fs::write(&file, most).unwrap();
        teller.look(&mut client);
        teller.hear(&status(json!({"type": "idle"})), &mut client);
        assert_eq!(teller.pause(), Some(FOLLOW), "its last lines are to come");
        std::fs::write(&file, format!("{most}{}\n", rest.lines().next().unwrap())).unwrap();
        teller.look(&mut client);
        assert_eq!(teller.pause(), None);
        std::fs::write(&file, TURN).unwrap();
        let asks = json!({"type": "active", "activeFlags": ["waitingOnApproval"]});
        teller.hear(&status(asks), &mut client);
        teller.hear(&thread("b"), &mut client);
        let told = report::read(&reports).unwrap();
        let session = |id: &str, reason: &str| What::Session {
            id: Some(id.into()),
            file: Some(file.clone()),
            reason: reason.into(),
        };
        let got: Vec<&What> = told.iter().map(|r| &r.what).collect();
        assert_eq!(
            got[..5],
            [
                &session("a", "startup"),
                &What::Working,
                &What::Prompt {
                    text: "hello\tone\n".into()
                },
                &What::Answer {
                    text: "ok: hello one".into()
                },
                &What::Idle
            ]
        );
        assert_eq!(
            got[got.len() - 2..],
            [
                &What::Waiting {
                    question: "run `touch approved-marker`?".into()
                },
                &session("b", "new")
            ]
        );
    }

    #[test]
    fn a_turn_without_an_end_on_record_ends_all_the_same() {
        let (dir, mut client) = silent();
        let reports = dir.path().join("reports.jsonl");
        let mut teller = Teller::new(&reports);
        teller.show(
            Thread {
                id: "a".into(),
                rollout: None,
                status: Status::Working,
            },
            "resume",
        );
        let shown = teller.shown.as_mut().unwrap();
        shown.thread.status = Status::Idle;
        shown.idle = Instant::now().checked_sub(LATE * 2);
        teller.look(&mut client);
        assert_eq!(
            report::read(&reports).unwrap().last().unwrap().what,
            What::Idle
        );
        assert_eq!(teller.pause(), None);
    }
}
