//! Pins: which chat is on which node, in SQLite, so that it holds for the chat's life, whatever dies. A
//! pin moves only by a person's word.
//!
//! Whoever places reads what there is and writes what was chosen in one transaction: of two placers of
//! one chat the second gets the first one's pin, and those of several chats count each other. A chat whose
//! name its node gives is first reserved, and confirmed once the node has made it.

mod ledger;
#[cfg(test)]
mod model;
mod names;
mod reader;
mod rows;
mod tables;
mod take_back;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::node::{Dialect, Node};
use crate::error::{Error, Result};
use crate::paths::Paths;
use ledger::{NEXT_TARGET, chosen, give_back, insert, set};
use reader::read;
use rows::{json, pin};
use tables::PINS;

pub use ledger::Ledger;
pub use names::checked;
pub use reader::Reader;
pub use rows::{Pin, Standing};

/// What is remembered of when a pin was used is exact to this; each use would else be a write to the disk.
const USED: SignedDuration = SignedDuration::from_secs(60);

/// A chat that is being made on a node; [`Pins::confirm`] or [`Pins::abandon`] ends it. One that is
/// dropped instead counts as long as its placer lives, at most ten minutes: the chat may have been made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    ticket: String,
    /// On which node.
    pub node: String,
    /// What that node understands.
    dialect: Dialect,
}

/// What came of placing a named chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placing {
    /// It was placed now.
    New(Pin),
    /// It has been placed before.
    Was(Pin),
}

impl Placing {
    /// The pin.
    pub fn pin(&self) -> &Pin {
        match self {
            Placing::New(pin) | Placing::Was(pin) => pin,
        }
    }
}

/// The pins of a fleet.
#[derive(Debug)]
pub struct Pins {
    db: Connection,
    path: PathBuf,
}

impl Pins {
    /// Opens them, made with mode 0600 if missing.
    ///
    /// # Errors
    /// As of [`crate::host::database::Database::open`].
    pub fn open(paths: &Paths) -> Result<Self> {
        Self::at(&paths.pins())
    }

    /// The same with the file named.
    ///
    /// # Errors
    /// As there.
    pub fn at(path: &Path) -> Result<Self> {
        Ok(Self {
            db: PINS.open(path)?,
            path: path.to_owned(),
        })
    }

    /// What a placement would go by now. Waits for nobody who writes.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn ledger(&self) -> Result<Ledger> {
        read(&self.db, &self.path, ledger::seen)
    }

    /// How long another process that writes is waited for.
    ///
    /// # Errors
    /// It cannot be set.
    pub fn wait_at_most(&self, wait: Duration) -> Result<()> {
        let set = self.db.busy_timeout(wait);
        set.map_err(|e| PINS.error("open", &self.path, &e))
    }

    /// Where they are.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Pins a chat to the node that `choose` takes, unless it is pinned already.
    ///
    /// # Errors
    /// Those of `choose`, with nothing changed; kind `Usage`: the name is none.
    pub fn place<E: From<Error>>(
        &mut self,
        chat: &str,
        choose: impl FnOnce(&Ledger) -> Result<Node, E>,
    ) -> Result<Placing, E> {
        let chat = checked(chat)?.to_owned();
        self.deciding(move |t| {
            if let Some(pin) = pin(t, &chat)? {
                return Ok(Ok(Placing::Was(pin)));
            }
            let ledger = ledger::settled(t)?;
            let node = match choose(&ledger) {
                Ok(node) => node,
                Err(e) => return Ok(Err(e)),
            };
            insert(t, &chat, &node, Standing::Held, &ledger)?;
            chosen(t, &node)?;
            let pin = pin(t, &chat)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
            Ok(Ok(Placing::New(pin)))
        })
    }

    /// Reserves a place for a chat that the node will name.
    ///
    /// # Errors
    /// Those of `choose`, with nothing changed.
    pub fn reserve<E: From<Error>>(
        &mut self,
        choose: impl FnOnce(&Ledger) -> Result<Node, E>,
    ) -> Result<Reservation, E> {
        let ticket = format!("placing:{}", uuid::Uuid::new_v4());
        self.deciding(move |t| {
            let ledger = ledger::settled(t)?;
            let node = match choose(&ledger) {
                Ok(node) => node,
                Err(e) => return Ok(Err(e)),
            };
            insert(t, &ticket, &node, Standing::Reserved, &ledger)?;
            chosen(t, &node)?;
            Ok(Ok(Reservation {
                ticket,
                node: node.id,
                dialect: node.dialect,
            }))
        })
    }

    /// The node has made the chat: pins it under its name. A pin of that name on the same node stays.
    ///
    /// # Errors
    /// Kind `Busy`: a chat of that name is pinned to another node. Kind `Usage`: the name is none.
    pub fn confirm(
        &mut self,
        reservation: &Reservation,
        chat: &str,
        native: Option<&str>,
    ) -> Result<Pin> {
        let chat = checked(chat)?;
        let found = self.within("write to", |t| {
            let now = Timestamp::now().as_millisecond();
            let created: Option<i64> = t
                .query_row(
                    "SELECT created FROM pin WHERE chat = ?1",
                    [&reservation.ticket],
                    |r| r.get(0),
                )
                .optional()?;
            // One that was cleaned up meanwhile has become a chat all the same.
            let created = created.unwrap_or(now);
            t.execute("DELETE FROM pin WHERE chat = ?1", [&reservation.ticket])?;
            t.execute(
                "INSERT INTO pin (chat, node, dialect, standing, native, created, used)
                 VALUES (?1, ?2, ?3, 'held', ?4, ?5, ?6)
                 ON CONFLICT (chat) DO NOTHING",
                params![
                    chat,
                    reservation.node,
                    json(&reservation.dialect),
                    native,
                    created,
                    now
                ],
            )?;
            pin(t, chat)
        })?;
        match found {
            Some(pin) if pin.node == reservation.node => Ok(pin),
            Some(pin) => Err(Error::busy(format!(
                "the chat `{chat}` is pinned to `{}`, not to `{}`",
                pin.node, reservation.node
            ))),
            None => Err(Error::bug(format!("the pin of `{chat}` is not there"))),
        }
    }

    /// The node has certainly not made the chat: gives the place back, and the one-shot target where it
    /// took that.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn abandon(&mut self, reservation: &Reservation) -> Result<()> {
        self.within("write to", |t| give_back(t, &reservation.ticket))
    }

    /// Nobody knows whether the node has made the chat: the place stays taken, as if the reservation were
    /// dropped, and a one-shot target that it took is used up: the next chat would come there as a surprise.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn leave(&self, reservation: &Reservation) -> Result<()> {
        let left = "UPDATE pin SET took = NULL WHERE chat = ?1";
        let left = self.db.execute(left, [&reservation.ticket]);
        left.map(drop)
            .map_err(|e| PINS.error("write to", &self.path, &e))
    }

    /// Pins a chat that a node is known to have (a fork, an import, one found in its list), unless it is
    /// pinned already.
    ///
    /// # Errors
    /// As of [`Pins::confirm`].
    pub fn adopt(&mut self, chat: &str, node: &Node, native: Option<&str>) -> Result<Pin> {
        let reservation = Reservation {
            ticket: format!("placing:{}", uuid::Uuid::new_v4()),
            node: node.id.clone(),
            dialect: node.dialect,
        };
        let nothing = Ledger::default();
        self.within("write to", |t| {
            insert(t, &reservation.ticket, node, Standing::Reserved, &nothing)
        })?;
        self.confirm(&reservation, chat, native)
    }

    /// A chat's pin.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn pin(&self, chat: &str) -> Result<Option<Pin>> {
        read(&self.db, &self.path, |db| pin(db, chat))
    }

    /// All pins, in the order of the chats' names; those being made are left out.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn list(&self) -> Result<Vec<Pin>> {
        read(&self.db, &self.path, rows::list)
    }

    /// Notes that chats were used just now: all in one write to the disk.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn used(&mut self, chats: impl IntoIterator<Item = impl AsRef<str>>) -> Result<()> {
        let now = Timestamp::now();
        let (now, before) = (now.as_millisecond(), (now - USED).as_millisecond());
        self.within("write to", |t| {
            let mut note = t.prepare("UPDATE pin SET used = ?2 WHERE chat = ?1 AND used < ?3")?;
            let mut chats = chats.into_iter();
            chats.try_for_each(|chat| note.execute(params![chat.as_ref(), now, before]).map(drop))
        })
    }

    /// Notes the node's own name of a chat. `false`, and nothing is changed, when the chat is not pinned
    /// to that node any more, or has a name there already: another node's session of the same name would
    /// be somebody else's.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn set_native(&self, chat: &str, node: &str, native: &str) -> Result<bool> {
        self.db
            .execute(
                "UPDATE pin SET native = ?3, revision = revision + 1
                 WHERE chat = ?1 AND node = ?2 AND native IS NULL AND standing = 'held'",
                params![chat, node, native],
            )
            .map(|n| n > 0)
            .map_err(|e| PINS.error("write to", &self.path, &e))
    }

    /// Forgets a chat. `false` when it was not pinned.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn release(&self, chat: &str) -> Result<bool> {
        self.db
            .execute("DELETE FROM pin WHERE chat = ?1", [chat])
            .map(|n| n > 0)
            .map_err(|e| PINS.error("write to", &self.path, &e))
    }

    /// Pins a chat to another node, if nobody changed it since `revision`.
    ///
    /// # Errors
    /// Kind `Busy`: somebody did, or it is gone.
    pub fn move_to(&mut self, chat: &str, node: &Node, revision: i64) -> Result<Pin> {
        let moved = self.within("write to", |t| {
            let n = t.execute(
                "UPDATE pin SET node = ?2, dialect = ?3, native = NULL, revision = revision + 1
                 WHERE chat = ?1 AND revision = ?4 AND standing = 'held'",
                params![chat, node.id, json(&node.dialect), revision],
            )?;
            if n > 0 { pin(t, chat) } else { Ok(None) }
        })?;
        moved.ok_or_else(|| {
            Error::busy(format!("the pin of `{chat}` was changed meanwhile"))
                .hint(format!("look again: `mosaic pin show {chat}`"))
        })
    }

    /// Releases pins that were not used for `ttl`. How many.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn expire(&self, ttl: SignedDuration, now: Timestamp) -> Result<usize> {
        let before = now.checked_sub(ttl).unwrap_or(Timestamp::MIN);
        self.db
            .execute(
                "DELETE FROM pin WHERE standing = 'held' AND used < ?1",
                [before.as_millisecond()],
            )
            .map_err(|e| PINS.error("write to", &self.path, &e))
    }

    /// Keeps new chats from a node, or no longer. `false` when it was so already.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn drain(&self, node: &str, drained: bool) -> Result<bool> {
        let now = Timestamp::now().as_millisecond();
        match drained {
            true => self.db.execute(
                "INSERT INTO drained (node, since) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                params![node, now],
            ),
            false => self
                .db
                .execute("DELETE FROM drained WHERE node = ?1", [node]),
        }
        .map(|n| n > 0)
        .map_err(|e| PINS.error("write to", &self.path, &e))
    }

    /// Says where the next chat goes; `None` takes that back.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn set_next_target(&mut self, target: Option<&super::select::Selector>) -> Result<()> {
        let target = target.map(ToString::to_string);
        self.within("write to", |t| set(t, NEXT_TARGET, target.as_deref()))
    }

    /// Runs one transaction.
    fn within<T>(
        &mut self,
        doing: &str,
        run: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let failed = |e: rusqlite::Error| PINS.error(doing, &self.path, &e);
        let transaction = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed)?;
        let done = run(&transaction).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        Ok(done)
    }

    /// The same for a decision that may be no: then nothing is changed.
    fn deciding<T, E: From<Error>>(
        &mut self,
        run: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<Result<T, E>>,
    ) -> Result<T, E> {
        let failed = |e: rusqlite::Error| E::from(PINS.error("write to", &self.path, &e));
        let transaction = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed)?;
        let done = run(&transaction).map_err(failed)??;
        transaction.commit().map_err(failed)?;
        Ok(done)
    }
}
