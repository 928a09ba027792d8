//! What an attempt that broke off has left in the box, and the rest of it put there.

use super::{TWICE, Target, excerpt};
use crate::delivery::channel::Left;
use crate::delivery::held::{Held, held};
use crate::delivery::stop::Stop;

/// Most looks at a box that goes on changing.
const LOOKS: u32 = 10;

impl Target<'_> {
    /// Looks, twice, as the last piece may be on its way. Where the box is seen to hold the beginning of
    /// the text, cut exactly between two pieces, the rest is put behind it.
    pub fn left(&self, text: &str) -> Left {
        let mut before = None;
        for _ in 0..LOOKS {
            let look = match self.look() {
                Ok(look) => look,
                Err((stop, _)) => return Left::Unseen(stop),
            };
            if let Err(stop) = self.box_there(&look.seen) {
                return Left::Unseen(stop);
            }
            let Some(input) = &look.seen.input else {
                return Left::Other("no box is on the screen".to_owned());
            };
            if before.as_ref() != Some(&input.text) {
                before = Some(input.text.clone());
                std::thread::sleep(TWICE);
                continue;
            }
            if input.empty {
                return Left::Other("its box is empty".to_owned());
            }
            let whole = held(input, text) != Held::No;
            let begun = self.begun(input, text).filter(|_| !whole);
            if !whole && begun.is_none() {
                return Left::Other(format!("its box shows `{}`", excerpt(&input.text)));
            }
            if let Err(stop) = self.idle(&look) {
                return Left::Unseen(stop);
            }
            return match begun.map(|from| self.fill_on(&look.pane, text, from)) {
                None | Some(Ok(_)) => Left::Whole,
                Some(Err(stop)) => Left::Unseen(stop),
            };
        }
        Left::Unseen(Stop::busy(format!(
            "what stands in the box of `{}` does not stop changing",
            self.agent
        )))
    }
}
