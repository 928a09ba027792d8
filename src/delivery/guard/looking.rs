//! Looks at an agent before anything is typed: is the pane its own, is its process in the foreground
//! there, is it idle, may its screen be typed into.

use std::time::{Duration, Instant};

use super::{TWICE, Target, excerpt};
use crate::delivery::mailbox::Draft;
use crate::delivery::stop::Stop;
use crate::host::procfs;
use crate::host::tmux::Pane;
use crate::record::Run;
use crate::runtime::Reports;
use crate::state::account;
use crate::state::screen::Seen;
use crate::state::{self, Life, Signs, Source, State};
use crate::terminal::pane as panes;

/// How long a screen that may not be typed into is given to become the same twice.
const UNSETTLED: Duration = Duration::from_secs(1);

/// How long the process of an agent may be gone: the service manager brings it back after a short
/// pause.
const GONE_WAIT: Duration = Duration::from_secs(3);

/// An agent younger than this must show its box twice: one CLI draws a first box, then clears the
/// screen and draws it again.
const YOUNG: jiff::SignedDuration = jiff::SignedDuration::from_secs(10);

/// The same for one whose box must have stood for a while: on a busy machine it stands late.
const SETTLING: jiff::SignedDuration = jiff::SignedDuration::from_secs(60);

/// One look at the agent.
pub(super) struct Look {
    pub(super) pane: Pane,
    pub(super) run: Run,
    pub(super) seen: Seen,
}

impl Target<'_> {
    /// Waits until the agent is idle and shows an empty input box, and returns its pane, out of copy
    /// mode, and its process. A draft is dealt with as told; it is never destroyed.
    ///
    /// # Errors
    /// Once `wait` has passed, and twice in a row at the least. What no time mends: at once.
    pub fn ready(&self, wait: Duration, draft: Draft) -> Result<(Pane, Run), Stop> {
        let begun = Instant::now();
        let mut last: Option<Stop> = None;
        let mut stood = begun;
        loop {
            let (stop, patience) = match self.look() {
                Err((stop, patience)) => (stop, patience.min(wait)),
                Ok(look) => match self.judge(&look, draft) {
                    Ok(()) if look.pane.in_mode => {
                        self.tmux.leave_mode(&look.pane.id)?;
                        let hint = format!(
                            "leave it there: `mosaic agent attach {}`, then `q`",
                            self.agent
                        );
                        (
                            Stop::busy(format!(
                                "the pane of `{}` is in a mode of tmux that does not end",
                                self.agent
                            ))
                            .hint(hint),
                            wait,
                        )
                    }
                    Ok(()) => {
                        let settle = Duration::from_millis(self.rules.data.settle_ms);
                        let youth = if settle.is_zero() { YOUNG } else { SETTLING };
                        let young = jiff::Timestamp::now().duration_since(look.run.started) < youth;
                        let twice = last.as_ref().is_some_and(|l| l.reason.is_empty());
                        if !twice {
                            stood = Instant::now();
                        }
                        if !young || twice && stood.elapsed() >= settle {
                            return Ok((look.pane, look.run));
                        }
                        // Not a reason to stop, but to look again.
                        (Stop::busy(""), wait.max(settle + TWICE * 2))
                    }
                    Err(stop) => {
                        let again = last.as_ref().is_some_and(|l| l.reason == stop.reason);
                        if again && draft == Draft::Stash && self.put_aside(&look)? {
                            last = None;
                            continue;
                        }
                        // Nobody but a person changes some of these.
                        let patience = if stop.retry { wait } else { Duration::ZERO };
                        (stop, patience)
                    }
                },
            };
            let repeated = last.as_ref().is_some_and(|l| l.reason == stop.reason);
            let waited = begun.elapsed();
            // What changes from look to look does not hold a sender for ever.
            if waited >= patience && (repeated || waited >= patience + UNSETTLED) {
                return Err(stop);
            }
            last = Some(stop);
            std::thread::sleep(TWICE);
        }
    }

    /// Looks at pane, process and screen. An error comes with how long it is worth waiting.
    pub(super) fn look(&self) -> Result<Look, (Stop, Duration)> {
        let agent = self.agent;
        let permanent = |stop| (stop, Duration::ZERO);
        let gone = |what: String| {
            let hint =
                format!("see `mosaic agent tail {agent}`, then `mosaic fleet start {agent}`");
            (Stop::busy(what).hint(hint), GONE_WAIT)
        };
        let all = self.tmux.panes().map_err(|e| (Stop::from(e), GONE_WAIT))?;
        let run = Run::load(&self.install.paths, agent)
            .map_err(|e| permanent(Stop::refused(e.to_string())))?
            .ok_or_else(|| gone(format!("`{agent}` is not running")))?;
        let stat = procfs::stat(run.pid)
            .filter(|s| s.state != 'Z' && s.start == run.start_ticks)
            .filter(|_| run.alive())
            .ok_or_else(|| {
                gone(format!(
                    "`{agent}` is not running: its process {} is gone",
                    run.pid
                ))
            })?;
        match panes::find(&all, agent) {
            panes::Found::Foreign => {
                let e = panes::foreign(self.install, agent);
                return Err(permanent(Stop {
                    hint: e.hints.first().cloned(),
                    ..Stop::refused(e.to_string())
                }));
            }
            panes::Found::Vacant | panes::Found::Missing => {
                return Err(gone(format!("`{agent}` has no pane")));
            }
            panes::Found::Ours(_) => {}
        }
        let ours = all
            .into_iter()
            .find(|p| p.agent == agent && procfs::tty_number(&p.tty) == Some(stat.tty));
        let Some(pane) = ours.filter(|p| !p.dead) else {
            return Err(gone(format!(
                "process {} of `{agent}` does not sit on its pane: never typed into a shell",
                run.pid
            )));
        };
        if matches!(stat.state, 'T' | 't') {
            return Err((
                Stop::busy(format!("process {} of `{agent}` is stopped", run.pid))
                    .hint(format!("let it go on: `kill -CONT {}`", run.pid)),
                GONE_WAIT,
            ));
        }
        if stat.foreground != stat.group {
            let who = procfs::stat(stat.foreground)
                .map_or_else(String::new, |s| format!(" (`{}` is)", s.comm));
            return Err(permanent(
                Stop::refused(format!("`{agent}` is not in the foreground of its pane{who}: never typed into another program"))
                    .hint(format!("look at it: `mosaic agent attach {agent}`")),
            ));
        }
        let seen = self.seen(&pane).map_err(|e| (Stop::from(e), GONE_WAIT))?;
        Ok(Look { pane, run, seen })
    }

    /// Whether a screen may be typed into.
    fn judge(&self, look: &Look, draft: Draft) -> Result<(), Stop> {
        let agent = self.agent;
        let seen = &look.seen;
        self.box_there(seen)?;
        match &seen.input {
            Some(input) if !input.empty => {
                let stop = Stop::busy(format!(
                    "a draft stands in the box of `{agent}`: `{}`",
                    excerpt(&input.text)
                ))
                .hint(format!(
                    "it was left alone; send or clear it there: `mosaic agent attach {agent}`"
                ))
                .seen(seen);
                let can = draft == Draft::Wait
                    || (draft == Draft::Stash && self.rules.data.typing.stash.is_some());
                Err(Stop { retry: can, ..stop })
            }
            _ => self.idle(look),
        }
    }

    /// Whether a box for messages is on the screen, and nothing over it.
    ///
    /// # Errors
    /// It is not.
    pub(super) fn box_there(&self, seen: &Seen) -> Result<(), Stop> {
        let agent = self.agent;
        if seen.dialog.is_some() {
            return Err(Stop::busy(format!(
                "a dialog is open in `{agent}`: {}",
                state::question(seen)
            ))
            .hint(format!("answer it: `mosaic agent attach {agent}`"))
            .seen(seen));
        }
        match &seen.input {
            None => Err(
                Stop::busy(format!("`{agent}` does not stand at its prompt"))
                    .hint("give it longer with `--timeout SECONDS`")
                    .seen(seen),
            ),
            Some(input) if input.shell => {
                Err(Stop::busy(format!("the box of `{agent}` takes shell commands")).seen(seen))
            }
            // Its report comes before its dialog is drawn. A denied dialog leaves the report behind, so
            // it is believed for a moment only.
            _ if self.about_to_ask() => {
                Err(Stop::busy(format!("`{agent}` is about to ask something")).seen(seen))
            }
            Some(_) => Ok(()),
        }
    }

    /// Whether the agent does nothing else. What it queues while it works may be merged with other
    /// messages, or steer the turn.
    ///
    /// # Errors
    /// It does something.
    pub(super) fn idle(&self, look: &Look) -> Result<(), Stop> {
        let reports =
            account::last(self.install, self.launch, Some(look.run.started)).unwrap_or_default();
        let verdict = state::decide(&Signs {
            life: &Life::Up,
            started: Some(look.run.started),
            now: jiff::Timestamp::now(),
            reports: &reports,
            reported_by: match self.launch.agent.spec.reports {
                Some(Reports::DemoTranscript | Reports::GeminiChats | Reports::GooseSessions) => {
                    Source::Transcript
                }
                _ => Source::Report,
            },
            title: &look.pane.title,
            rules: Some(&self.rules),
            screen: Some(&look.seen),
        });
        let data = &self.rules.data;
        // Rules of a TUI that tell of nothing but its box: the box is all there is to go by.
        let mute = self.reports.is_none()
            && data.working.is_empty()
            && data.title.idle.is_empty()
            && data.title.working.is_empty();
        match verdict.state {
            State::Idle => Ok(()),
            State::Unknown if mute => Ok(()),
            state => Err(Stop::busy(format!(
                "`{}` is {state}: {}",
                self.agent, verdict.evidence.what
            ))
            .hint("it is delivered when the agent is idle")),
        }
    }
}
