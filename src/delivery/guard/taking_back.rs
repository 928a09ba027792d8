//! Takes back what mosaic put into the box and nobody submitted, where every character that stands there
//! is seen to be mosaic's own.

use std::time::Duration;

use super::{LOOK, TWICE, Target, excerpt};
use crate::delivery::channel::TakenBack;
use crate::delivery::compose::pieces;
use crate::delivery::held::{Held, bare, held};
use crate::delivery::stop::Stop;
use crate::record::Process;
use crate::state::screen::{Input, Part};

/// A beginning of a message must have so many characters to be known for one; less could be what a
/// person began to type.
const TELLING: usize = 8;

/// Most looks at a box that goes on changing, after each key.
const LOOKS: u32 = 10;

/// A row takes two keys at the most: one for what stands in it, one for its line end.
const KEYS_A_ROW: u32 = 2;

impl Target<'_> {
    /// Presses the runtime's clear key until the box is seen to be empty. Before each key the box is
    /// seen twice to hold nothing but the beginning of the text, or a mark for it. `process`: into
    /// which it was put. The caller knows that Enter was never pressed on it.
    pub fn take_back(&self, text: &str, process: Option<&Process>) -> TakenBack {
        let (Some(clear), Some(process)) = (&self.rules.data.typing.clear, process) else {
            return TakenBack::No("nothing is known that would empty its box".to_owned());
        };
        // Whoever pressed Enter in the same instant is known by the record only.
        if !self.records() {
            return TakenBack::No("it keeps no record of what it was told".to_owned());
        }
        let mut most = clear.presses;
        let mut presses = 0;
        let mut looks = 0;
        let mut before: Option<String> = None;
        let mut last: Option<String> = None;
        loop {
            let look = match self.look() {
                Ok(look) => look,
                Err((stop, _)) => return TakenBack::Unseen(stop),
            };
            if look.run.process() != *process {
                return TakenBack::No("the process that it was typed into is gone".to_owned());
            }
            if look.pane.in_mode {
                return TakenBack::Unseen(Stop::busy(format!(
                    "the pane of `{}` is in a mode of tmux",
                    self.agent
                )));
            }
            if let Err(stop) = self.box_there(&look.seen).and_then(|()| self.idle(&look)) {
                return TakenBack::Unseen(stop);
            }
            let Some(input) = &look.seen.input else {
                return TakenBack::No("no box is on the screen".to_owned());
            };
            if before.as_ref() != Some(&input.text) {
                before = Some(input.text.clone());
                looks += 1;
                if looks > LOOKS {
                    return TakenBack::Unseen(Stop::busy(format!(
                        "what stands in the box of `{}` does not stop changing",
                        self.agent
                    )));
                }
                std::thread::sleep(TWICE);
                continue;
            }
            if input.empty {
                return match presses {
                    0 => TakenBack::No("its box is empty".to_owned()),
                    _ => TakenBack::Done(format!(
                        "Enter was not pressed, and the box was seen to be empty after `{}`",
                        clear.key
                    )),
                };
            }
            let ours = match &last {
                None => self.is_ours(input, text),
                Some(last) => remains(input, last),
            };
            if !ours {
                return TakenBack::No(format!("its box shows `{}`", excerpt(&input.text)));
            }
            if last.is_none() {
                let rows = u32::try_from(input.rows).unwrap_or(u32::MAX);
                most = most.max(rows.saturating_mul(KEYS_A_ROW));
            }
            if presses >= most {
                return TakenBack::No(format!(
                    "`{}` did not empty its box, which shows `{}`",
                    clear.key,
                    excerpt(&input.text)
                ));
            }
            if let Err(e) = self.tmux.key(&look.pane.id, &clear.key) {
                return TakenBack::No(format!("`{}` could not be pressed: {e}", clear.key));
            }
            presses += 1;
            looks = 0;
            last = Some(bare(&input.text));
            before = None;
            std::thread::sleep(DRAWN.max(LOOK));
        }
    }

    /// Whether a box holds what mosaic put there, as far as it got, and nothing else.
    fn is_ours(&self, input: &Input, text: &str) -> bool {
        let mut end = 0;
        let ends: Vec<usize> = pieces(text, &self.rules.data.typing, &self.rules.split)
            .iter()
            .map(|piece| {
                end += piece.len();
                end
            })
            .collect();
        begins(input, text)
            || ends
                .iter()
                .any(|end| held(input, &text[..*end]) == Held::Collapsed)
    }
}

/// A key is drawn by then: agent CLIs draw within 30 ms on an idle machine. Where it takes longer, the
/// key is pressed once more on what is mosaic's own all the same.
const DRAWN: Duration = Duration::from_millis(100);

/// Whether a box that is shown whole holds a beginning of the text, long enough to be known for one.
fn begins(input: &Input, text: &str) -> bool {
    let shown = bare(&input.text);
    input.part == Part::Whole
        && !input.shell
        && input.collapsed.is_empty()
        && shown.chars().count() >= TELLING
        && bare(text).starts_with(&shown)
}

/// Whether a box holds nothing but what is left of what it held before a key.
fn remains(input: &Input, before: &str) -> bool {
    input.part == Part::Whole && !input.shell && before.starts_with(&bare(&input.text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(text: &str) -> Input {
        Input {
            text: text.to_owned(),
            rows: text.split('\n').count(),
            empty: text.is_empty(),
            part: Part::Whole,
            shell: false,
            collapsed: Vec::new(),
        }
    }

    #[test]
    fn only_a_beginning_and_nothing_else_is_mosaics_own() {
        let text = "[a:b -> a:c] go on with it\nand then stop";
        assert!(begins(&input("[a:b -> a:c] go o"), text));
        assert!(begins(&input("[a:b -> a:c] go\non with it\nand"), text));
        // A person's key behind it, before it, within it; another text; too little to tell.
        assert!(!begins(&input("[a:b -> a:c] go o!"), text));
        assert!(!begins(&input("x[a:b -> a:c] go o"), text));
        assert!(!begins(&input("[a:b -> a:c] gxo o"), text));
        assert!(!begins(&input("go on with it"), text));
        assert!(!begins(&input("[a:b"), text));
        let tail = Input {
            part: Part::Tail,
            ..input("[a:b -> a:c] go o")
        };
        assert!(!begins(&tail, text));
        let shell = Input {
            shell: true,
            ..input("[a:b -> a:c] go o")
        };
        assert!(!begins(&shell, text));
    }

    #[test]
    fn after_a_key_only_less_of_it_may_stand_there() {
        let before = bare("[a:b -> a:c] go on");
        assert!(remains(&input("[a:b -> a:c]"), &before));
        assert!(remains(&input("[a:b -> a:c] go on"), &before));
        assert!(remains(&input("\n"), &before));
        assert!(!remains(&input("[a:b -> a:c] yes"), &before));
        assert!(!remains(&input("y"), &before));
    }
}
