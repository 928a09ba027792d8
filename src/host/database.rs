//! SQLite as mosaic uses it: several short processes write at once, each change is on the disk before it
//! counts, the tables of every older version come up to the present one.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use crate::error::{Error, Result};
use crate::host::files;

/// How long another process's change is waited for. Each takes milliseconds; a suspended machine or a
/// sick disk takes longer, and giving up loses a receipt.
const BUSY: Duration = Duration::from_secs(10);

/// A kind of database.
#[derive(Debug, Clone, Copy)]
pub struct Database {
    /// What errors call it: `mailbox`.
    pub name: &'static str,
    /// What a person loses who puts a damaged one aside.
    pub lost: &'static str,
    /// What each version of the tables adds to the one before, oldest first; their number is the version,
    /// kept in SQLite's `user_version`. Never changed once released.
    pub steps: &'static [&'static str],
}

impl Database {
    /// Opens it, made with mode 0600 if missing, its tables brought up to date.
    ///
    /// # Errors
    /// It cannot be read or written, is damaged, or was written by a newer mosaic.
    pub fn open(&self, path: &Path) -> Result<Connection> {
        if let Some(dir) = path.parent() {
            files::make_private_dir(dir)?;
        }
        // SQLite gives its other files the mode of this one.
        std::fs::File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(files::PRIVATE)
            .open(path)
            .map_err(|e| {
                Error::io(
                    format!("cannot open the {} `{}`", self.name, path.display()),
                    e,
                )
            })?;
        let failed = |e: rusqlite::Error| self.error("open", path, &e);
        let mut db = Connection::open(path).map_err(failed)?;
        db.busy_timeout(BUSY).map_err(failed)?;
        db.pragma_update(None, "synchronous", "FULL")
            .map_err(failed)?;
        // Else the last process to leave would move the log into the database each time, which costs
        // every single process some synchronous writes.
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .map_err(failed)?;
        let (found, known) = (version(&db).map_err(failed)?, self.version());
        if found > known {
            return Err(Error::config(format!(
                "the {} `{}` was written by a newer mosaic (format {found}, this one knows {known})",
                self.name,
                path.display(),
            ))
            .hint("upgrade mosaic"));
        }
        if found < known {
            write_ahead(&db).map_err(failed)?;
            self.upgrade(&mut db).map_err(failed)?;
        }
        Ok(db)
    }

    /// The version of its tables.
    pub fn version(&self) -> i64 {
        i64::try_from(self.steps.len()).unwrap_or(i64::MAX)
    }

    /// Brings the tables up to date, in one transaction.
    fn upgrade(&self, db: &mut Connection) -> rusqlite::Result<()> {
        // Another process may do the same right now: the version is read again under the lock.
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let from = version(&transaction)?;
        for (at, step) in (0..).zip(self.steps) {
            if at >= from {
                transaction.execute_batch(step)?;
            }
        }
        if from < self.version() {
            transaction.pragma_update(None, "user_version", self.version())?;
        }
        transaction.commit()
    }

    /// What went wrong, in words: `cannot write to the mailbox …`.
    pub fn error(&self, doing: &str, path: &Path, e: &rusqlite::Error) -> Error {
        let what = format!("cannot {doing} the {} `{}`", self.name, path.display());
        match e.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Error::busy(what).because(e)
            }
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                Error::config(what).because(e).hint(format!(
                    "put it aside, with what belongs to it, and let it be made anew: `mkdir {0}.old; mv {0} {0}-* {0}.old`; {1}",
                    path.display(),
                    self.lost
                ))
            }
            _ => Error::io(what, e),
        }
    }
}

/// The version of the tables that are there; 0 for none.
fn version(db: &Connection) -> rusqlite::Result<i64> {
    db.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Turns the write-ahead log on, which outlives the connection. Unlike everything else, this does not
/// wait for others by itself.
fn write_ahead(db: &Connection) -> rusqlite::Result<()> {
    let begun = std::time::Instant::now();
    loop {
        let set =
            db.pragma_update_and_check(None, "journal_mode", "WAL", |r| r.get::<_, String>(0));
        match set {
            Err(rusqlite::Error::SqliteFailure(e, _))
                if e.code == ErrorCode::DatabaseBusy && begun.elapsed() < BUSY =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            other => return other.map(drop),
        }
    }
}
