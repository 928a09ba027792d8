//! Pins of sessions of opencode. Such a session has the same name everywhere, its own, and may be a chat under
//! another one: it has one pin all the same, whoever was told of it first.

use jiff::Timestamp;
use rusqlite::{Transaction, params};

use super::reader::read;
use super::rows::{self, Pin, json};
use super::{Pins, checked};
use crate::error::{Error, Result};
use crate::routing::node::{Dialect, Node};

impl Pins {
    /// A session's pin, whatever its chat is called.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn session(&self, session: &str) -> Result<Option<Pin>> {
        read(&self.db, &self.path, |db| rows::of_session(db, session))
    }

    /// Pins a session that a node is known to have under its own name, unless it has a pin: that one, which
    /// may be of another node.
    ///
    /// # Errors
    /// It cannot be written. Kind `Usage`: the name is none.
    pub fn adopt_session(&mut self, session: &str, node: &Node) -> Result<Pin> {
        let session = checked(session)?;
        let pin = self.within("write to", |t| {
            if let Some(pin) = rows::of_session(t, session)? {
                return Ok(Some(pin));
            }
            t.execute(
                "INSERT INTO pin (chat, node, dialect, standing, native, created, used)
                 VALUES (?1, ?2, ?3, 'held', ?1, ?4, ?4)",
                params![
                    session,
                    node.id,
                    json(&node.dialect),
                    Timestamp::now().as_millisecond()
                ],
            )?;
            rows::pin(t, session)
        })?;
        pin.ok_or_else(|| Error::bug(format!("the pin of `{session}` is not there")))
    }

    /// Forgets a session, whatever its chat is called. `false` when it was not pinned.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn release_session(&mut self, session: &str) -> Result<bool> {
        self.within("write to", |t| {
            t.execute(
                "DELETE FROM pin WHERE standing = 'held'
                 AND (chat = ?1 OR (native = ?1 AND dialect = ?2))",
                [session, &json(&Dialect::Opencode)],
            )
            .map(|n| n > 0)
        })
    }
}

/// A chat has got its session: the pin that this had under its own name, since it was heard of before, is of
/// the same chat, and goes.
pub(super) fn is_of(t: &Transaction<'_>, chat: &str, node: &str) -> rusqlite::Result<()> {
    t.execute(
        "DELETE FROM pin WHERE standing = 'held' AND node = ?2 AND dialect = ?3 AND chat != ?1
         AND native = chat
         AND chat = (SELECT native FROM pin
             WHERE chat = ?1 AND node = ?2 AND dialect = ?3 AND standing = 'held')",
        [chat, node, &json(&Dialect::Opencode)],
    )
    .map(drop)
}
