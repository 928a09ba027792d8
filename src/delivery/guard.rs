//! The guarded paste: the only way by which mosaic types into an agent.
//!
//! Nothing is typed unless the pane is the agent's own, the agent's process is in the foreground
//! there, and an empty input box is on the screen. Enter is pressed only while the box is seen to
//! hold exactly what was put into it. What was typed and cannot be proved stays where it is: a text
//! is never taken back by keys on a guess.

mod answering;

use std::time::{Duration, Instant};

use crate::host::lock::{self, Lock};
use crate::host::procfs;
use crate::host::tmux::{Pane, Tmux, TmuxError};
use crate::install::Install;
use crate::launch::Launch;
use crate::record::Run;
use crate::report::{self, Report, What};
use crate::state::account::{self, Account};
use crate::state::observe;
use crate::state::screen::{self, Rules, Seen};
use crate::state::{self};
use crate::terminal::pane as panes;

use super::channel::{Mark, same};
use super::compose::pieces;
use super::held::{Held, bare, held};
use super::stop::{Reached, Stop};

/// Between two looks at a screen. A look takes some milliseconds itself; agent CLIs draw within 30.
const LOOK: Duration = Duration::from_millis(10);

/// A draft or a dialog must be seen twice this far apart: in the midst of drawing, a screen may show
/// anything.
const TWICE: Duration = Duration::from_millis(120);

/// How long a screen that may not be typed into is given to become the same twice.
const UNSETTLED: Duration = Duration::from_secs(1);

/// How long the process of an agent may be gone: the service manager brings it back after a short
/// pause.
const GONE_WAIT: Duration = Duration::from_secs(3);

/// An agent younger than this must show its box twice: one CLI draws a first box, then clears the
/// screen and draws it again.
const YOUNG: jiff::SignedDuration = jiff::SignedDuration::from_secs(10);

/// How long the box may stand still without showing what was pasted. Measured: 30 ms on an idle
/// machine for a short text; one CLI needs seconds where much stands in the box already.
const ECHO_WAIT: Duration = Duration::from_secs(5);

/// How long it may take altogether, however much it changes.
const ECHO_MOST: Duration = Duration::from_secs(30);

/// How long after Enter the box may still hold the message before Enter counts as swallowed. Agent
/// CLIs take 100 ms at most on an idle machine; a second Enter would fall on an empty box, where it
/// does nothing.
const ENTER_WAIT: Duration = Duration::from_millis(500);

/// How long after the last Enter to wait for proof where the box is neither seen empty nor holds the
/// message. Longer than the slowest agent takes to report a message.
const SUBMIT_WAIT: Duration = Duration::from_secs(3);

/// How long an agent may take to draw the dialog that it has reported. Measured: 100 ms.
const ASKING: jiff::SignedDuration = jiff::SignedDuration::from_secs(2);

/// Enter is pressed at most this often: one CLI swallows the first one after a paste.
const ENTERS: u32 = 3;

/// An agent that can be typed into.
#[derive(Debug)]
pub struct Target<'a> {
    install: &'a Install,
    launch: &'a Launch,
    agent: &'a str,
    tmux: Tmux,
    rules: Rules,
    /// Where the agent reports what it was told; `None` where nobody knows.
    pub reports: Option<Account>,
}

/// The pane, held for one sender until dropped.
#[derive(Debug)]
pub struct Hold {
    _lock: Lock,
}

impl Hold {
    /// Takes an agent's pane, whatever its runtime.
    ///
    /// # Errors
    /// Others hold it all the time.
    pub fn take(install: &Install, agent: &str, wait: Duration) -> Result<Self, Stop> {
        let path = install.paths.pane_lock(agent);
        match lock::exclusive(&path, &format!("the pane of `{agent}`"), wait) {
            Ok(lock) => Ok(Self { _lock: lock }),
            Err(e) => Err(Stop {
                retry: e.kind == crate::error::Kind::Busy,
                hint: e.hints.first().cloned(),
                ..Stop::refused(e.to_string())
            }),
        }
    }
}

/// What was seen of a submitted text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// Where to look for its record.
    pub mark: Mark,
    /// What proves it.
    pub evidence: String,
}

/// One look at the agent.
struct Look {
    pane: Pane,
    run: Run,
    seen: Seen,
}

impl<'a> Target<'a> {
    /// Checks that the runtime is one whose screen and reports are known.
    ///
    /// # Errors
    /// The runtime has no rules, or they are broken.
    pub fn of(install: &'a Install, launch: &'a Launch) -> Result<Self, Stop> {
        let agent = launch.agent.name.as_str();
        let spec = &launch.agent.spec;
        let (Some(data), Some(_)) = (&spec.screen, spec.reports) else {
            return Err(Stop::refused(format!(
                "messages to agents of runtime `{}` are not supported yet",
                launch.agent.runtime
            ))
            .hint(format!("type it yourself: `mosaic agent attach {agent}`")));
        };
        let rules = Rules::compile(data).map_err(|e| Stop::refused(e.to_string()))?;
        Ok(Self {
            install,
            launch,
            agent,
            tmux: install.tmux(),
            rules,
            reports: Account::of(install, launch),
        })
    }

    /// Takes the pane for this sender alone.
    ///
    /// # Errors
    /// Others hold it all the time.
    pub fn lock(&self, wait: Duration) -> Result<Hold, Stop> {
        Hold::take(self.install, self.agent, wait)
    }

    /// Waits until the agent shows an empty input box, and returns its pane, out of copy mode.
    ///
    /// # Errors
    /// A draft, a dialog, a pane that is not the agent's: at once. No box: once `wait` has passed.
    pub fn ready(&self, _hold: &Hold, wait: Duration) -> Result<Pane, Stop> {
        let begun = Instant::now();
        let mut last: Option<Stop> = None;
        loop {
            let (stop, patience) = match self.look() {
                Err((stop, patience)) => (stop, patience.min(wait)),
                Ok(look) => match self.judge(&look) {
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
                        let young = jiff::Timestamp::now().duration_since(look.run.started) < YOUNG;
                        let twice = !young || last.as_ref().is_some_and(|l| l.reason.is_empty());
                        if twice {
                            return Ok(look.pane);
                        }
                        // Not a reason to stop, but to look again.
                        (Stop::busy(""), wait.max(TWICE * 2))
                    }
                    // Nobody but a person changes these.
                    Err(stop) if !stop.retry => (stop, Duration::ZERO),
                    Err(stop) => (stop, wait),
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
    fn look(&self) -> Result<Look, (Stop, Duration)> {
        let agent = self.agent;
        let permanent = |stop| (stop, Duration::ZERO);
        let gone = |what: String| {
            let hint =
                format!("see `mosaic agent tail {agent}`, then `mosaic fleet start {agent}`");
            (Stop::refused(what).hint(hint), GONE_WAIT)
        };
        let all = self.tmux.panes().map_err(|e| (Stop::from(e), GONE_WAIT))?;
        let run = Run::load(&self.install.paths, agent)
            .map_err(|e| permanent(Stop::refused(e.to_string())))?
            .ok_or_else(|| gone(format!("`{agent}` is not running")))?;
        let stat = procfs::stat(run.pid)
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
        if stat.state == 'T' || stat.foreground != stat.group {
            let who = procfs::stat(stat.foreground)
                .map_or_else(String::new, |s| format!(" (`{}` is)", s.comm));
            return Err(permanent(
                Stop::refused(format!("`{agent}` is not in the foreground of its pane{who}: never typed into another program"))
                    .hint(format!("look at it: `mosaic agent attach {agent}`")),
            ));
        }
        let text = self
            .tmux
            .screen(&pane.id)
            .map_err(|e| (Stop::from(e), GONE_WAIT))?;
        let seen = screen::read(&text, pane.width, &self.rules);
        Ok(Look { pane, run, seen })
    }

    /// Whether a screen may be typed into.
    fn judge(&self, look: &Look) -> Result<(), Stop> {
        let agent = self.agent;
        let seen = &look.seen;
        if seen.dialog.is_some() {
            return Err(Stop::refused(format!(
                "a dialog is open in `{agent}`: {}",
                state::question(seen)
            ))
            .hint(format!("answer it: `mosaic agent attach {agent}`"))
            .seen(seen));
        }
        match &seen.input {
            None => Err(
                Stop::busy(format!("`{agent}` does not stand at its prompt"))
                    .hint("give it longer with `--wait SECONDS`")
                    .seen(seen),
            ),
            Some(input) if input.shell => {
                Err(Stop::refused(format!("the box of `{agent}` takes shell commands")).seen(seen))
            }
            // Its report comes before its dialog is drawn. A denied dialog leaves the report behind, so
            // it is believed for a moment only.
            _ if self.about_to_ask() => {
                Err(Stop::busy(format!("`{agent}` is about to ask something")).seen(seen))
            }
            Some(input) if !input.empty => Err(Stop::refused(format!(
                "a draft stands in the box of `{agent}`: `{}`",
                excerpt(&input.text)
            ))
            .hint("it was left alone; send or clear it there, then run the same command again")
            .seen(seen)),
            Some(_) => Ok(()),
        }
    }

    /// Puts a text into the empty box and sees it there. Returns what was seen.
    ///
    /// # Errors
    /// `typed` once anything was pasted.
    pub fn fill(&self, _hold: &Hold, pane: &Pane, text: &str) -> Result<String, Stop> {
        let columns = usize::from(pane.width).saturating_sub(4).max(1);
        // The box shows a part of the screen only; each part of the text is looked at while it is there.
        let budget = usize::from(pane.height / 6).max(2);
        let mut state = Filling {
            done: 0,
            rows: 0,
            proved: 0,
            gap: false,
        };
        let all = pieces(text, &self.rules.data.typing, &self.rules.split);
        let count = all.len();
        for (at, piece) in all.into_iter().enumerate() {
            self.tmux
                .paste(&pane.id, piece.as_bytes())
                .map_err(|e| match (state.done, &e) {
                    // A call that did not end may have been carried out.
                    (0, TmuxError::Run(_)) => {
                        Stop::typed(format!("whether the message was typed is not known: {e}"))
                    }
                    (0, _) => Stop::from(e),
                    _ => Stop::typed(format!(
                        "the paste broke off after {} of {} bytes: {e}",
                        state.done,
                        text.len()
                    )),
                })?;
            state.done += piece.len();
            state.rows += piece.matches('\n').count() + piece.chars().count() / columns;
            if at + 1 == count || state.rows >= budget {
                self.wait_held(pane, &text[..state.done], &mut state)?;
                state.rows = 0;
            }
        }
        Ok(match state.gap {
            false => "the box held the whole message".to_owned(),
            true => "the box held the end of the message".to_owned(),
        })
    }

    fn wait_held(&self, pane: &Pane, expected: &str, state: &mut Filling) -> Result<(), Stop> {
        let want = bare(expected).chars().count();
        if want == 0 {
            return Ok(());
        }
        let begun = Instant::now();
        let mut changed = begun;
        let mut before = None;
        let mut dialog_since: Option<Instant> = None;
        loop {
            let seen = self
                .seen(pane)
                .map_err(|e| Stop::typed(format!("the box cannot be looked at: {e}")))?;
            match seen.input.as_ref().map(|input| held(input, expected)) {
                Some(Held::Whole | Held::Collapsed) => {
                    state.proved = want;
                    return Ok(());
                }
                Some(Held::Tail(shown)) => {
                    state.gap |= want.saturating_sub(shown) > state.proved;
                    state.proved = want;
                    return Ok(());
                }
                Some(Held::No) | None => {}
            }
            if seen.dialog.is_none() {
                dialog_since = None;
            } else if dialog_since.get_or_insert_with(Instant::now).elapsed() > TWICE {
                return Err(Stop::typed(format!(
                    "a dialog opened while the message was typed: {}",
                    state::question(&seen)
                ))
                .hint(format!(
                    "what was typed stays in the box behind it: `mosaic agent attach {}`",
                    self.agent
                ))
                .seen(&seen));
            }
            let now = seen.input.as_ref().map(|input| input.text.clone());
            if now != before {
                (before, changed) = (now, Instant::now());
            }
            if changed.elapsed() >= ECHO_WAIT || begun.elapsed() >= ECHO_MOST {
                return Err(self.not_held(&seen));
            }
            std::thread::sleep(LOOK);
        }
    }

    fn not_held(&self, seen: &Seen) -> Stop {
        let shows = match &seen.input {
            Some(input) if input.empty => "is empty".to_owned(),
            Some(input) => format!("shows `{}`", excerpt(&input.text)),
            None => "is not on the screen".to_owned(),
        };
        Stop::typed(format!(
            "Enter was not pressed: the box does not show the message, it {shows}"
        ))
        .hint(format!(
            "look at it and send or clear it there: `mosaic agent attach {}`",
            self.agent
        ))
        .seen(seen)
    }

    fn seen(&self, pane: &Pane) -> Result<Seen, TmuxError> {
        Ok(screen::read(
            &self.tmux.screen(&pane.id)?,
            pane.width,
            &self.rules,
        ))
    }

    /// Presses Enter on a box that is seen to hold the text, and waits until the box let it go. An
    /// agent that says it is about to ask something is waited for until `wait` has passed since
    /// `begun`, and at least as long as its dialog may take to be drawn.
    ///
    /// # Errors
    /// Always `typed`: whether the agent has the text is not known.
    pub fn submit(
        &self,
        _hold: &Hold,
        text: &str,
        pasted: Instant,
        begun: Instant,
        wait: Duration,
    ) -> Result<Submitted, Stop> {
        let wait = wait.max(begun.elapsed().saturating_add(ASKING.unsigned_abs()));
        let delay = Duration::from_millis(self.rules.data.enter_delay_ms);
        std::thread::sleep(delay.saturating_sub(pasted.elapsed()));
        let mark = self.mark();
        let mut enters = 0;
        let mut modes = 0;
        let mut returns = 0;
        loop {
            // The last look before the key: whatever came up since the paste must not get the Enter.
            let look = self.look().map_err(|(stop, _)| Stop {
                reached: Reached::Typed,
                retry: false,
                ..stop
            })?;
            if look.pane.in_mode {
                modes += 1;
                if modes > ENTERS {
                    return Err(Stop::typed(
                        "Enter was not pressed: the pane is in a mode of tmux that does not end",
                    )
                    .hint(format!("look at it: `mosaic agent attach {}`", self.agent)));
                }
                self.tmux
                    .leave_mode(&look.pane.id)
                    .map_err(|e| Stop::typed(e.to_string()))?;
                std::thread::sleep(LOOK);
                continue;
            }
            if self.about_to_ask() {
                if begun.elapsed() >= wait {
                    return Err(Stop::typed(format!(
                        "Enter was not pressed: `{}` goes on saying that it is about to ask something",
                        self.agent
                    ))
                    .hint(format!("look at it: `mosaic agent attach {}`", self.agent))
                    .seen(&look.seen));
                }
                std::thread::sleep(LOOK);
                continue;
            }
            if Shown::of(&look.seen, text) != Shown::Message {
                if enters == 0 {
                    return Err(self.not_held(&look.seen));
                }
                // It let the message go late, or shows something else by now.
                if let Some(done) = self.after_enter(&look.pane, text, &mark, enters)? {
                    return Ok(done);
                }
                // A message that comes and goes is not watched for ever.
                returns += 1;
                if returns > ENTERS {
                    return Err(self.still_held(enters));
                }
                continue;
            }
            self.tmux
                .key(&look.pane.id, "Enter")
                .map_err(|e| Stop::typed(e.to_string()))?;
            enters += 1;
            if let Some(done) = self.after_enter(&look.pane, text, &mark, enters)? {
                return Ok(done);
            }
            if enters >= ENTERS {
                return Err(self.still_held(enters));
            }
        }
    }

    fn still_held(&self, enters: u32) -> Stop {
        Stop::typed(format!(
            "Enter was pressed {enters} times and the box still holds the message"
        ))
        .hint(format!("look at it: `mosaic agent attach {}`", self.agent))
    }

    /// Watches the box after an Enter. `None`: it still holds the text, so the Enter was swallowed. A
    /// box that shows something else proves nothing: a list that was open for completion takes an
    /// Enter and changes the text, and a person may have typed a key. Nor does a missing box: only
    /// the agent's own record settles these.
    fn after_enter(
        &self,
        pane: &Pane,
        text: &str,
        mark: &Mark,
        enters: u32,
    ) -> Result<Option<Submitted>, Stop> {
        let pressed = Instant::now();
        let mut empty = 0;
        loop {
            let done = || Submitted {
                mark: mark.clone(),
                evidence: submitted(enters),
            };
            if self.prompted(text, mark) {
                return Ok(Some(done()));
            }
            let seen = self.seen(pane).map_err(|e| {
                Stop::typed(format!(
                    "Enter was pressed, and what became of the message cannot be seen: {e}"
                ))
            })?;
            let shown = Shown::of(&seen, text);
            // Twice, since a box in the midst of being drawn is empty too.
            empty = if shown == Shown::Nothing {
                empty + 1
            } else {
                0
            };
            match shown {
                Shown::Nothing if empty > 1 => return Ok(Some(done())),
                Shown::Message if pressed.elapsed() >= ENTER_WAIT => return Ok(None),
                Shown::Other | Shown::NoBox if pressed.elapsed() >= SUBMIT_WAIT => {
                    if self.in_transcript(text, mark) {
                        return Ok(Some(done()));
                    }
                    return Err(self.not_let_go(&seen));
                }
                _ => std::thread::sleep(LOOK),
            }
        }
    }

    fn not_let_go(&self, seen: &Seen) -> Stop {
        let shows = match &seen.input {
            Some(input) => format!("the box shows `{}`", excerpt(&input.text)),
            None => "the box has not been on the screen since".to_owned(),
        };
        Stop::typed(format!(
            "Enter was pressed, and {shows}: whether the agent has the message is not known"
        ))
        .hint(format!("look at it: `mosaic agent attach {}`", self.agent))
        .seen(seen)
    }

    fn mark(&self) -> Mark {
        Mark {
            account: self.reports.as_ref().map_or(0, Account::mark),
            session: None,
            transcript: observe::transcript(self.install, self.launch).map(|path| {
                let length = report::length(&path);
                (path, length)
            }),
        }
    }

    /// Whether the agent reported a text since the mark was set.
    pub fn prompted(&self, text: &str, mark: &Mark) -> bool {
        self.reported(mark)
            .iter()
            .any(|r| matches!(&r.what, What::Prompt { text: got } if same(got, text)))
    }

    /// Whether the agent said just now that it asks for approval, and nothing since.
    fn about_to_ask(&self) -> bool {
        let reports = account::last(self.install, self.launch, None).unwrap_or_default();
        reports.last().is_some_and(|r| {
            // A time to come is a clock that was set back.
            matches!(r.what, What::Waiting { .. })
                && jiff::Timestamp::now().duration_since(r.time).abs() < ASKING
        })
    }

    /// What the agent reported since then; nothing where the file cannot be read.
    pub fn reported(&self, mark: &Mark) -> Vec<Report> {
        self.reports
            .as_ref()
            .and_then(|f| f.since(mark.account).ok())
            .unwrap_or_default()
    }

    /// Whether the transcript holds a text since the mark was set: for agents whose reports are
    /// switched off. A conversation that began since then is read from its start.
    pub fn in_transcript(&self, text: &str, mark: &Mark) -> bool {
        let (Some(rule), Some(path)) = (
            &self.launch.agent.spec.transcript,
            observe::transcript(self.install, self.launch),
        ) else {
            return false;
        };
        let offset = match &mark.transcript {
            Some((old, length)) if *old == path => *length,
            _ => 0,
        };
        let lines = report::lines_since(&path, offset).unwrap_or_default();
        observe::told(rule.format, &lines)
            .iter()
            .any(|got| same(got, text))
    }
}

/// What a box shows after an Enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// The message.
    Message,
    /// A box with nothing in it.
    Nothing,
    /// A box with something else in it.
    Other,
    /// No box is on the screen.
    NoBox,
}

impl Shown {
    fn of(seen: &Seen, text: &str) -> Self {
        match &seen.input {
            None => Self::NoBox,
            Some(input) if held(input, text) != Held::No => Self::Message,
            Some(input) if input.empty => Self::Nothing,
            Some(_) => Self::Other,
        }
    }
}

struct Filling {
    /// Bytes pasted.
    done: usize,
    /// Rows pasted since the last look.
    rows: usize,
    /// Characters, as in [`bare`], seen up to here without a gap.
    proved: usize,
    /// Some were never seen.
    gap: bool,
}

fn submitted(enters: u32) -> String {
    match enters {
        1 => "the box let it go after Enter".to_owned(),
        n => format!("the box let it go after Enter was pressed {n} times"),
    }
}

/// The beginning of a text in one line, for a message to a person.
fn excerpt(text: &str) -> String {
    const MOST: usize = 60;
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_empty_box_let_the_message_go() {
        use crate::state::screen::{Input, Part};
        let shown = |text: Option<&str>| {
            let input = text.map(|text| Input {
                text: text.to_owned(),
                rows: 1,
                empty: text.is_empty(),
                part: Part::Whole,
                shell: false,
                collapsed: Vec::new(),
            });
            let seen = Seen {
                input,
                ..Seen::default()
            };
            Shown::of(&seen, "read @src/ma")
        };
        assert_eq!(shown(Some("read @src/ma")), Shown::Message);
        assert_eq!(shown(Some("")), Shown::Nothing);
        // The Enter chose what a list proposed; a person typed a key after a swallowed Enter.
        assert_eq!(shown(Some("read @src/main.rs ")), Shown::Other);
        assert_eq!(shown(Some("read @src/max")), Shown::Other);
        assert_eq!(shown(None), Shown::NoBox);
    }

    #[test]
    fn excerpts_are_one_short_line() {
        assert_eq!(excerpt("a\n  b"), "a b");
        assert_eq!(excerpt(&"é".repeat(80)).chars().count(), 61);
    }
}
