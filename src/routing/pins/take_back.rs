//! A pin that turned out to be none: its chat was certainly not made.

use rusqlite::{OptionalExtension as _, params};

use super::{Pin, Pins, give_back};
use crate::error::Result;

impl Pins {
    /// Takes back what [`Pins::place`] has written, and gives the one-shot target back where it was used.
    /// `false`, and nothing is changed, when somebody has changed the pin since.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn take_back(&mut self, placed: &Pin) -> Result<bool> {
        self.within("write to", |t| {
            let is = t
                .query_row(
                    "SELECT 1 FROM pin WHERE chat = ?1 AND node = ?2 AND revision = ?3",
                    params![placed.chat, placed.node, placed.revision],
                    |_| Ok(()),
                )
                .optional()?
                .is_some();
            if is {
                give_back(t, &placed.chat)?;
            }
            Ok(is)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::node;
    use super::*;
    use crate::error::Error;

    #[test]
    fn what_was_not_made_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let mut pins = Pins::at(&dir.path().join("pins.db")).unwrap();
        pins.set_next_target(Some(&"a".parse().unwrap())).unwrap();
        let target = |pins: &Pins| pins.ledger().unwrap().history.next_target;
        let place = |pins: &mut Pins| {
            let placing = pins.place("c", |_| Ok::<_, Error>(node("a"))).unwrap();
            placing.pin().clone()
        };
        let placed = place(&mut pins);
        assert!(target(&pins).is_none());
        assert!(pins.take_back(&placed).unwrap());
        assert_eq!(pins.pin("c").unwrap(), None);
        assert_eq!(target(&pins).unwrap().to_string(), "a");
        // Once.
        assert!(!pins.take_back(&placed).unwrap());
        // What a person did meanwhile stays.
        let placed = place(&mut pins);
        let moved = pins.move_to("c", &node("b"), placed.revision).unwrap();
        assert!(!pins.take_back(&placed).unwrap());
        assert_eq!(pins.pin("c").unwrap(), Some(moved));
        // Nor is a newer target replaced.
        pins.set_next_target(Some(&"a".parse().unwrap())).unwrap();
        let placed = pins.place("d", |_| Ok::<_, Error>(node("a"))).unwrap();
        pins.set_next_target(Some(&"b".parse().unwrap())).unwrap();
        assert!(pins.take_back(placed.pin()).unwrap());
        assert_eq!(target(&pins).unwrap().to_string(), "b");
    }
}
