//! Presses Enter on a box that holds the message, and sees what becomes of it.

use std::time::{Duration, Instant};

use super::looking::Look;
use super::{ASKING, LOOK, Submitted, Target, excerpt};
use crate::delivery::channel::Mark;
use crate::delivery::held::{Held, held};
use crate::delivery::stop::{Reached, Stop};
use crate::state::screen::Seen;

/// How long after Enter the box may still hold the message before Enter counts as swallowed. Agent
/// CLIs take 100 ms at most on an idle machine; a second Enter would fall on an empty box, where it
/// does nothing.
const ENTER_WAIT: Duration = Duration::from_millis(500);

/// How long after the last Enter to wait for proof where the box is neither seen empty nor holds the
/// message. Longer than the slowest agent takes to report a message.
const SUBMIT_WAIT: Duration = Duration::from_secs(3);

/// Enter is pressed at most this often: one CLI swallows the first one after a paste.
const ENTERS: u32 = 3;

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

impl Target<'_> {
    /// Presses Enter on a box that is seen to hold the text, and waits until the box let it go. An
    /// agent that says it is about to ask something is waited for as long as its dialog may take to be
    /// drawn. `pasted`: when the last of it was put into the box.
    ///
    /// # Errors
    /// Always `typed`: whether the agent has the text is not known.
    pub fn submit(&self, text: &str, mark: &Mark, pasted: Instant) -> Result<Submitted, Stop> {
        let begun = Instant::now();
        let wait = ASKING.unsigned_abs();
        let delay = Duration::from_millis(self.rules.data.enter_delay_ms);
        std::thread::sleep(delay.saturating_sub(pasted.elapsed()));
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
                if let Some(done) = self.after_enter(&look, text, mark, enters)? {
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
            if let Some(done) = self.after_enter(&look, text, mark, enters)? {
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
        look: &Look,
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
            let seen = self.seen(&look.pane).map_err(|e| {
                Stop::typed(format!(
                    "Enter was pressed, and what became of the message cannot be seen: {e}"
                ))
            })?;
            let shown = Shown::of(&seen, text);
            let back = self.is_back(&seen);
            // Twice, since a box in the midst of being drawn is empty too.
            empty = if shown == Shown::Nothing || back {
                empty + 1
            } else {
                0
            };
            match shown {
                // The empty box of another process proves nothing.
                Shown::Nothing | Shown::Other if empty > 1 && !look.run.alive() => {
                    return Err(Stop::unknown(format!(
                        "`{}` ended right after Enter: whether it had taken the message is not known",
                        self.agent
                    ))
                    .seen(&seen));
                }
                Shown::Nothing | Shown::Other if empty > 1 => return Ok(Some(done())),
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
}

fn submitted(enters: u32) -> String {
    match enters {
        1 => "the box let it go after Enter".to_owned(),
        n => format!("the box let it go after Enter was pressed {n} times"),
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
}
