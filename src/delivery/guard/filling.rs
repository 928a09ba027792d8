//! Puts a text into an empty box, piece by piece, and sees each piece there; and goes on with a text of
//! which an earlier attempt left the beginning.

use std::time::{Duration, Instant};

use super::{LOOK, TWICE, Target, excerpt};
use crate::delivery::compose::pieces;
use crate::delivery::held::{Held, bare, held};
use crate::delivery::stop::Stop;
use crate::host::tmux::{Pane, TmuxError};
use crate::state;
use crate::state::screen::{Input, Part, Seen};

/// How long the box may stand still without showing what was pasted. Measured: 30 ms on an idle
/// machine for a short text; one CLI needs seconds where much stands in the box already.
const ECHO_WAIT: Duration = Duration::from_secs(5);

/// How long it may take altogether, however much it changes.
const ECHO_MOST: Duration = Duration::from_secs(30);

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

impl Target<'_> {
    /// Puts a text into the empty box and sees it there. Returns what was seen.
    ///
    /// # Errors
    /// `typed` once anything was pasted.
    pub fn fill(&self, pane: &Pane, text: &str) -> Result<String, Stop> {
        self.fill_on(pane, text, 0)
    }

    /// Goes on with a text whose first `from` pieces stand in the box.
    pub(super) fn fill_on(&self, pane: &Pane, text: &str, from: usize) -> Result<String, Stop> {
        let columns = usize::from(pane.width).saturating_sub(4).max(1);
        // The box shows a part of the screen only; each part of the text is looked at while it is there.
        let budget = usize::from(pane.height / 6).max(2);
        let all = self.pieces(text);
        let done = all[..from].iter().map(|p| p.len()).sum();
        let mut state = Filling {
            done,
            rows: 0,
            proved: bare(&text[..done]).chars().count(),
            gap: false,
        };
        let count = all.len();
        for (at, piece) in all.into_iter().enumerate().skip(from) {
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

    fn pieces<'t>(&self, text: &'t str) -> Vec<&'t str> {
        pieces(text, &self.rules.data.typing, &self.rules.split)
    }

    /// How many pieces of a text a box shows, where it shows exactly these and no other number of them
    /// would look the same.
    pub(super) fn begun(&self, input: &Input, text: &str) -> Option<usize> {
        let all = self.pieces(text);
        let mut end = 0;
        let mut found = None;
        for (at, piece) in all.iter().enumerate() {
            end += piece.len();
            if begins(input, &text[..end]) && found.replace(at + 1).is_some() {
                return None;
            }
        }
        found.filter(|n| *n < all.len())
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

    pub(super) fn not_held(&self, seen: &Seen) -> Stop {
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
}

/// Whether a box shows this text and nothing else, line ends at its end included: each of them is a row.
fn begins(input: &Input, text: &str) -> bool {
    let rows = |text: &str| text.chars().rev().take_while(|c| *c == '\n').count();
    input.part == Part::Whole
        && held(input, text) == Held::Whole
        && rows(&input.text) == rows(text)
        && !text.ends_with([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_told_by_its_rows_too() {
        let input = |text: &str| Input {
            text: text.to_owned(),
            rows: text.split('\n').count(),
            empty: false,
            part: Part::Whole,
            shell: false,
            collapsed: Vec::new(),
        };
        assert!(begins(&input("one\n"), "one\n"));
        assert!(!begins(&input("one\n"), "one\n\n"));
        assert!(begins(&input("one\n\n"), "one\n\n"));
        assert!(!begins(&input("one two"), "one"));
        // Nobody sees blanks at the end.
        assert!(!begins(&input("one"), "one "));
        let tail = Input {
            part: Part::Tail,
            ..input("one")
        };
        assert!(!begins(&tail, "one"));
    }
}
