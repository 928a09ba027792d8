//! The pins for who only reads: on a connection of its own, so that nobody who writes is waited for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::tables::PINS;
use super::{Ledger, Pin, ledger, rows};
use crate::error::Result;

/// How long a reader waits where it must, which is when another process mends the file.
pub(super) const READ: Duration = Duration::from_secs(2);

/// The pins of a fleet, to be read. Waits for nobody who writes, not in this process either.
#[derive(Debug)]
pub struct Reader {
    db: Connection,
    path: PathBuf,
}

impl Reader {
    /// Of pins that are open.
    ///
    /// # Errors
    /// They cannot be opened.
    pub fn of(path: &Path) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let failed = |e: rusqlite::Error| PINS.error("open", path, &e);
        let db = Connection::open_with_flags(path, flags).map_err(failed)?;
        db.busy_timeout(READ).map_err(failed)?;
        Ok(Self {
            db,
            path: path.to_owned(),
        })
    }

    /// As [`super::Pins::ledger`].
    ///
    /// # Errors
    /// As there.
    pub fn ledger(&self) -> Result<Ledger> {
        read(&self.db, &self.path, ledger::seen)
    }

    /// As [`super::Pins::pin`].
    ///
    /// # Errors
    /// As there.
    pub fn pin(&self, chat: &str) -> Result<Option<Pin>> {
        read(&self.db, &self.path, |db| rows::pin(db, chat))
    }

    /// As [`super::Pins::session`].
    ///
    /// # Errors
    /// As there.
    pub fn session(&self, session: &str) -> Result<Option<Pin>> {
        read(&self.db, &self.path, |db| rows::of_session(db, session))
    }

    /// As [`super::Pins::list`].
    ///
    /// # Errors
    /// As there.
    pub fn list(&self) -> Result<Vec<Pin>> {
        read(&self.db, &self.path, rows::list)
    }
}

/// Reads at one moment.
pub(super) fn read<T>(
    db: &Connection,
    path: &Path,
    run: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Result<T> {
    let failed = |e: rusqlite::Error| PINS.error("read", path, &e);
    // Deferred: nothing is locked but what is read.
    let transaction = db.unchecked_transaction().map_err(failed)?;
    run(&transaction).map_err(failed)
}
