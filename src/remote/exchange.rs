//! One talk with a program on another host: waits until it is ready, hands it the message, passes on
//! what it prints, and tells how it ended. The message leaves only after the other side has said that
//! it is ready, so an end before that is certain: nothing was done.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// What the other side says before it reads the message.
const READY: &str = "mosaic-remote ready";

/// The exit status by which ssh itself says that it failed (ssh(1)).
const SSH_FAILED: i32 = 255;

/// The exit status of the scripts there for a message whose end did not come.
const CUT: i32 = 76;

/// How long output may come after the end of the program: what it printed before is in the pipe, and a
/// connection that stays for later calls may hold the pipe open.
const LINGER: Duration = Duration::from_millis(500);

/// What to say, and how long to wait.
#[derive(Debug, Clone, Default)]
pub struct Exchange {
    /// Sent at once: a script.
    pub first: Option<Vec<u8>>,
    /// Sent when the other side is ready.
    pub message: Option<Vec<u8>>,
    /// Until it is ready; `None` while a person may be typing a password.
    pub connect: Option<Duration>,
    /// From then on to its end; `None` for no bound.
    pub finish: Option<Duration>,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The program there ended by itself with this status.
    Exit(i32),
    /// It did not get as far as to read the message: nothing was done.
    NotStarted(String),
    /// The connection ended while it was at work: what it did is not known.
    Lost(String),
}

/// Where output came from.
enum Line {
    Out(String),
    Err(String),
    /// One of the two has ended.
    Closed,
}

/// Talks. Lines of the program's output are passed on as they come, those of its standard error, and
/// of ssh's, likewise.
///
/// # Errors
/// The program (ssh, or bash) cannot be started.
pub fn exchange(
    mut command: Command,
    talk: &Exchange,
    out: &mut dyn FnMut(&str),
    err: &mut dyn FnMut(&str),
) -> Result<End> {
    let program = command.get_program().to_string_lossy().into_owned();
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| {
        Error::unavailable(format!("cannot start `{program}`"))
            .because(e)
            .hint(format!(
                "install it, for example `apt install {}`",
                package(&program)
            ))
    })?;
    let lines = readers(&mut child);
    let mut session = Session {
        child,
        lines,
        open: 2,
        ready: false,
        last: String::new(),
    };
    session.send(talk.first.as_deref());
    let begun = Instant::now();
    let connect = talk.connect.map(|d| begun + d);
    let status = session.run_until(connect, true, out, err);
    if session.ready {
        session.hand_over(talk.message.clone());
        let finish = talk.finish.map(|d| Instant::now() + d);
        let status = match status {
            Some(status) => Some(status),
            None => session.run_until(finish, false, out, err),
        };
        return Ok(match status {
            Some(SSH_FAILED) => End::Lost(session.why()),
            // The message did not arrive whole, so it was not delivered.
            Some(CUT) => End::NotStarted("the message was cut on its way".to_owned()),
            Some(status) => End::Exit(status),
            None => End::Lost(session.kill("it did not end in time")),
        });
    }
    Ok(match status {
        Some(SSH_FAILED) => End::NotStarted(session.why()),
        Some(status) => End::Exit(status),
        None => End::NotStarted(session.kill("it did not answer in time")),
    })
}

fn package(program: &str) -> &str {
    match program {
        "ssh" => "openssh-client",
        other => other,
    }
}

struct Session {
    child: Child,
    lines: Receiver<Line>,
    /// Streams that have not ended.
    open: usize,
    ready: bool,
    /// The last line of standard error.
    last: String,
}

impl Session {
    /// Writes; a side that does not read tells why by its status.
    fn send(&mut self, bytes: Option<&[u8]>) {
        if let (Some(bytes), Some(pipe)) = (bytes, &mut self.child.stdin) {
            let _ = pipe.write_all(bytes).and_then(|()| pipe.flush());
        }
    }

    /// Writes the message and closes the pipe; beside the rest, since a side that hangs does not read.
    fn hand_over(&mut self, bytes: Option<Vec<u8>>) {
        if let (Some(mut pipe), Some(bytes)) = (self.child.stdin.take(), bytes) {
            std::thread::spawn(move || pipe.write_all(&bytes));
        }
    }

    /// Passes lines on until the other side is ready (where that is asked), the program has ended, or
    /// the deadline has passed. The status, where it has ended.
    fn run_until(
        &mut self,
        deadline: Option<Instant>,
        until_ready: bool,
        out: &mut dyn FnMut(&str),
        err: &mut dyn FnMut(&str),
    ) -> Option<i32> {
        const LOOK: Duration = Duration::from_millis(50);
        let mut ended: Option<(i32, Instant)> = None;
        loop {
            match self.lines.recv_timeout(LOOK) {
                Ok(Line::Out(text)) if !self.ready && text == READY => {
                    self.ready = true;
                    if until_ready {
                        return None;
                    }
                }
                Ok(Line::Out(text)) => out(&text),
                Ok(Line::Err(text)) => {
                    err(&text);
                    self.last = text;
                }
                Ok(Line::Closed) => self.open -= 1,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(LOOK),
            }
            if ended.is_none()
                && let Ok(Some(status)) = self.child.try_wait()
            {
                use std::os::unix::process::ExitStatusExt as _;
                let code = status.code().or(status.signal().map(|s| 128 + s));
                ended = Some((code.unwrap_or(SSH_FAILED), Instant::now()));
            }
            if let Some((status, at)) = ended
                && (self.open == 0 || at.elapsed() >= LINGER)
            {
                return Some(status);
            }
            if ended.is_none() && deadline.is_some_and(|d| Instant::now() >= d) {
                return None;
            }
        }
    }

    fn kill(&mut self, why: &str) -> String {
        let _ = self.child.kill();
        let _ = self.child.wait();
        why.to_owned()
    }

    fn why(&self) -> String {
        match self.last.trim() {
            "" => "ssh failed and said nothing".to_owned(),
            text => text.to_owned(),
        }
    }
}

fn readers(child: &mut Child) -> Receiver<Line> {
    fn read(
        pipe: Option<impl Read + Send + 'static>,
        wrap: fn(String) -> Line,
        to: mpsc::Sender<Line>,
    ) {
        std::thread::spawn(move || {
            if let Some(pipe) = pipe {
                let mut pipe = BufReader::new(pipe);
                let mut bytes = Vec::new();
                while matches!(pipe.read_until(b'\n', &mut bytes), Ok(1..)) {
                    let text = String::from_utf8_lossy(&bytes);
                    let text = text.strip_suffix('\n').unwrap_or(&text);
                    if to.send(wrap(text.to_owned())).is_err() {
                        return;
                    }
                    bytes.clear();
                }
            }
            let _ = to.send(Line::Closed);
        });
    }
    let (sender, receiver) = mpsc::channel();
    read(child.stdout.take(), Line::Out, sender.clone());
    // ssh ends its own lines as a terminal in raw mode needs them.
    let complaint = |text: String| Line::Err(text.trim_end_matches('\r').to_owned());
    read(child.stderr.take(), complaint, sender);
    receiver
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::host::process;

    fn talk(script: &str, connect: u64, finish: u64) -> (End, String) {
        let mut command = process::command("/bin/sh");
        command.args(["-c", script]);
        let mut printed = String::new();
        let mut complaint = String::new();
        let end = exchange(
            command,
            &Exchange {
                first: None,
                message: Some(b"text\n".to_vec()),
                connect: Some(Duration::from_millis(connect)),
                finish: Some(Duration::from_millis(finish)),
            },
            &mut |line| printed.push_str(line),
            &mut |line| complaint.push_str(line),
        );
        (end.unwrap(), printed + &complaint)
    }

    #[test]
    fn what_an_end_proves_depends_on_whether_the_message_had_left() {
        let ready = "echo mosaic-remote ready; ";
        let not = |why: &str| End::NotStarted(why.to_owned());
        let lost = |why: &str| End::Lost(why.to_owned());
        let table = [
            (format!("{ready} read m; echo got $m; exit 3"), End::Exit(3)),
            ("exit 127".to_owned(), End::Exit(127)),
            ("echo no route >&2; exit 255".to_owned(), not("no route")),
            (
                format!("{ready} read m; echo reset >&2; exit 255"),
                lost("reset"),
            ),
            (
                format!("{ready} exit 76"),
                not("the message was cut on its way"),
            ),
        ];
        for (script, want) in table {
            assert_eq!(talk(&script, 20_000, 20_000).0, want, "{script}");
        }
        assert_eq!(
            talk("exec sleep 60", 200, 200).0,
            not("it did not answer in time")
        );
        let hangs = format!("{ready} exec sleep 60");
        assert_eq!(talk(&hangs, 20_000, 200).0, lost("it did not end in time"));
    }

    #[test]
    fn nothing_is_sent_before_the_other_side_is_ready() {
        // It would read the message if it was there.
        let script = "read -t 1 m 2>/dev/null && echo early $m; exit 255";
        let mut command = process::command("bash");
        command.args(["-c", script]);
        let mut printed = String::new();
        let end = exchange(
            command,
            &Exchange {
                message: Some(b"text\n".to_vec()),
                ..Exchange::default()
            },
            &mut |line| printed.push_str(line),
            &mut |_| {},
        );
        assert!(matches!(end.unwrap(), End::NotStarted(_)));
        assert_eq!(printed, "");
    }

    #[test]
    fn output_is_passed_on_and_a_pipe_left_open_is_no_reason_to_wait() {
        let begun = Instant::now();
        let (end, printed) = talk(
            "echo mosaic-remote ready; read m; echo one; echo two >&2; sleep 30 & exit 0",
            20_000,
            20_000,
        );
        assert_eq!((end, printed.as_str()), (End::Exit(0), "onetwo"));
        assert!(begun.elapsed() < Duration::from_secs(15));
    }
}
