//! Commands with a deadline, and what they leave.

use std::io::{Read, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

/// Longest time for any command of a test; above the longest that any is told to wait, which is 90 s for
/// agent CLIs that start slowly.
const DEADLINE: Duration = Duration::from_secs(120);
/// How long output may stay open after the end of the command itself.
const LINGER: Duration = Duration::from_secs(5);

/// A command that has ended.
#[derive(Debug)]
pub struct Output {
    /// The command, for messages.
    pub line: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl Output {
    /// Asserts the exit status.
    #[track_caller]
    pub fn code(self, want: i32) -> Self {
        assert_eq!(
            self.status.code(),
            Some(want),
            "`{}` (signal {:?})\n--- stdout\n{}\n--- stderr\n{}",
            self.line,
            self.status.signal(),
            self.stdout,
            self.stderr
        );
        self
    }

    /// Asserts success.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.code(0)
    }

    /// Asserts that standard output holds a text.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(
            self.stdout.contains(text),
            "`{}` does not say `{text}`\n--- stdout\n{}\n--- stderr\n{}",
            self.line,
            self.stdout,
            self.stderr
        );
        self
    }

    /// Asserts that standard error holds a text.
    #[track_caller]
    pub fn warns(self, text: &str) -> Self {
        assert!(
            self.stderr.contains(text),
            "`{}` does not say `{text}` on standard error\n--- stdout\n{}\n--- stderr\n{}",
            self.line,
            self.stdout,
            self.stderr
        );
        self
    }

    /// Asserts that nothing was printed to standard error.
    #[track_caller]
    pub fn quiet(self) -> Self {
        assert_eq!(self.stderr, "", "`{}`", self.line);
        self
    }

    /// Standard output as one JSON document.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("`{}` printed no JSON: {e}\n{}", self.line, self.stdout))
    }
}

/// A command that runs. Killed when dropped.
#[derive(Debug)]
pub struct Running {
    line: String,
    child: Child,
    begun: Instant,
    stdout: Pipe,
    stderr: Pipe,
}

/// A pipe that is read as it comes.
#[derive(Debug)]
struct Pipe {
    so_far: Arc<Mutex<Vec<u8>>>,
    end: mpsc::Receiver<()>,
}

impl Pipe {
    fn read(pipe: Option<impl Read + Send + 'static>) -> Self {
        let (sender, end) = mpsc::channel();
        let so_far = Arc::new(Mutex::new(Vec::new()));
        let ours = Arc::clone(&so_far);
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            if let Some(mut pipe) = pipe {
                while let Ok(n @ 1..) = pipe.read(&mut part) {
                    ours.lock().unwrap().extend_from_slice(&part[..n]);
                }
            }
            let _ = sender.send(());
        });
        Self { so_far, end }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.so_far.lock().unwrap()).into_owned()
    }

    /// `None` when it stays open.
    fn whole(&self) -> Option<String> {
        self.end.recv_timeout(LINGER).ok()?;
        Some(self.text())
    }
}

impl Running {
    /// Starts a command.
    #[track_caller]
    pub fn start(mut command: Command, input: Option<&[u8]>) -> Self {
        let line = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|w| w.to_string_lossy().into_owned())
            .collect::<Vec<_>>()
            .join(" ");
        command
            .stdin(if input.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start `{line}`: {e}"));
        if let (Some(input), Some(mut pipe)) = (input.map(<[u8]>::to_vec), child.stdin.take()) {
            std::thread::spawn(move || {
                // A program that does not read to the end is no failure of the test.
                let _ = pipe.write_all(&input);
            });
        }
        Self {
            line,
            stdout: Pipe::read(child.stdout.take()),
            stderr: Pipe::read(child.stderr.take()),
            child,
            begun: Instant::now(),
        }
    }

    /// Its process.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// What it has printed until now.
    pub fn printed(&self) -> String {
        self.stdout.text()
    }

    /// Whether it runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends it a signal; too late is no error.
    pub fn signal(&mut self, signal: rustix::process::Signal) {
        if self.runs() {
            super::proc::kill(self.pid(), signal);
        }
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(mut self) -> Output {
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if self.begun.elapsed() > DEADLINE {
                let _ = self.child.kill();
                let _ = self.child.wait();
                panic!(
                    "`{}` did not end within {} s\n--- stdout\n{}\n--- stderr\n{}",
                    self.line,
                    DEADLINE.as_secs(),
                    self.stdout.text(),
                    self.stderr.text()
                );
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let took = self.begun.elapsed();
        let both = self.stdout.whole().zip(self.stderr.whole());
        let Some((stdout, stderr)) = both else {
            panic!(
                "`{}` has ended, but something it started keeps its output open",
                self.line
            );
        };
        Output {
            line: std::mem::take(&mut self.line),
            status,
            stdout,
            stderr,
            took,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|s| s.is_none()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
