//! A program in a pane of a tmux server of its own, which ends with the stage.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::host::tmux::{self, NewSession, Tmux};
use crate::state::screen::texts;

/// Name of the program's session.
const SESSION: &str = "learn";

/// Between two looks; less than an agent CLI shows any one picture of its work.
const LOOK: Duration = Duration::from_millis(40);

/// The pane, as wide as a usual terminal: wide enough that few rows wrap.
const SIZE: &str = "set -g default-size 120x36\n";

/// What stood on the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shot {
    /// With styles, as captured.
    pub text: String,
    /// Columns.
    pub width: u16,
    /// The terminal's title.
    pub title: String,
}

impl Shot {
    /// Its rows without styles.
    pub fn rows(&self) -> Vec<String> {
        texts(&self.text)
    }

    /// Whether a text stands somewhere on it, in one row.
    pub fn holds(&self, text: &str) -> bool {
        self.rows().iter().any(|row| row.contains(text))
    }
}

/// The pane.
#[derive(Debug)]
pub struct Stage {
    tmux: Tmux,
    pane: String,
    _dir: tempfile::TempDir,
}

impl Stage {
    /// Starts a program.
    ///
    /// # Errors
    /// tmux or the program cannot be started.
    pub fn start(program: &Path, command: &[String], directory: &Path) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("mosaic-learn-")
            .tempdir()
            .map_err(|e| Error::io("cannot make a directory for a tmux socket", e))?;
        let conf = dir.path().join("tmux.conf");
        std::fs::write(&conf, format!("{}{SIZE}", tmux::conf(2000)))
            .map_err(|e| Error::io(format!("cannot write `{}`", conf.display()), e))?;
        let tmux = Tmux {
            program: program.to_owned(),
            socket: dir.path().join("socket"),
        };
        let holder = ["sleep".to_owned(), "86400".to_owned()];
        tmux.start_server(&conf, "holder", &holder)?;
        // From here on the server ends with the stage, whatever goes wrong.
        let mut stage = Self {
            tmux,
            pane: String::new(),
            _dir: dir,
        };
        let made = stage.tmux.new_session(&NewSession {
            name: SESSION,
            agent: "",
            directory,
            command,
        })?;
        stage.pane = made.pane;
        Ok(stage)
    }

    /// What a person types to see it.
    pub fn attach(&self) -> String {
        format!(
            "{} -S {} attach -t ={SESSION}",
            self.tmux.program.display(),
            self.tmux.socket.display()
        )
    }

    /// What stands on the screen now.
    ///
    /// # Errors
    /// The program has ended.
    pub fn shot(&self) -> Result<Shot> {
        let panes = self.tmux.panes()?;
        let pane = panes
            .iter()
            .find(|p| p.id == self.pane && !p.dead)
            .ok_or_else(|| Error::no("the program has ended").hint("does it run in a terminal?"))?;
        Ok(Shot {
            text: self.tmux.screen(&pane.id)?,
            width: pane.width,
            title: pane.title.clone(),
        })
    }

    /// Pastes a text.
    ///
    /// # Errors
    /// The program has ended.
    pub fn paste(&self, text: &str) -> Result<()> {
        Ok(self.tmux.paste(&self.pane, text.as_bytes())?)
    }

    /// Presses a key so many times.
    ///
    /// # Errors
    /// The program has ended.
    pub fn keys(&self, key: &str, times: usize) -> Result<()> {
        for _ in 0..times {
            self.tmux.key(&self.pane, key)?;
        }
        Ok(())
    }

    /// Waits until something is to be seen; `None` when it is not in time.
    ///
    /// # Errors
    /// The program has ended.
    pub fn until(&self, within: Duration, wanted: impl Fn(&Shot) -> bool) -> Result<Option<Shot>> {
        let begun = Instant::now();
        loop {
            let shot = self.shot()?;
            if wanted(&shot) {
                return Ok(Some(shot));
            }
            if begun.elapsed() >= within {
                return Ok(None);
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until the screen has stood still for some time; what moves for ever is taken as it is.
    ///
    /// # Errors
    /// The program has ended.
    pub fn still(&self, time: Duration, within: Duration) -> Result<Shot> {
        let begun = Instant::now();
        let mut last = self.shot()?;
        let mut since = begun;
        loop {
            std::thread::sleep(LOOK);
            let now = self.shot()?;
            if now.rows() != last.rows() || now.rows().is_empty() {
                since = Instant::now();
            }
            last = now;
            if since.elapsed() >= time || begun.elapsed() >= within {
                return Ok(last);
            }
        }
    }

    /// Films what happens until the screen stands still: each picture that differs from the one before.
    /// `None` when the first thing to happen has not happened in time: `before` still holds.
    ///
    /// # Errors
    /// The program has ended.
    pub fn film(
        &self,
        time: Duration,
        within: Duration,
        first: Duration,
        before: &dyn Fn(&Shot) -> bool,
    ) -> Result<Option<Vec<Shot>>> {
        let begun = Instant::now();
        let mut since = begun;
        let mut frames: Vec<Shot> = Vec::new();
        loop {
            let now = self.shot()?;
            if frames.is_empty() && before(&now) {
                if begun.elapsed() >= first {
                    return Ok(None);
                }
            } else if frames.last().is_none_or(|last| *last != now) {
                frames.push(now);
                since = Instant::now();
            } else if since.elapsed() >= time {
                return Ok(Some(frames));
            }
            if begun.elapsed() >= within {
                return Ok(Some(frames));
            }
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.tmux.kill_server();
    }
}
