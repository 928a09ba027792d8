//! The tables of the mailbox, and the way from every older version to the present one.

use rusqlite::{Connection, TransactionBehavior};

/// Version of the tables, kept in SQLite's `user_version`.
pub const VERSION: i64 = 1;

/// What each version adds to the one before, oldest first. Never changed once released: a mailbox of
/// any version must come up to the present one.
const STEPS: [&str; VERSION as usize] = ["
    CREATE TABLE message (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        agent TEXT NOT NULL,
        revision INTEGER NOT NULL DEFAULT 0,
        sender TEXT NOT NULL,
        host TEXT NOT NULL,
        text TEXT NOT NULL,
        options TEXT NOT NULL,
        stage TEXT NOT NULL,
        composed TEXT,
        mark TEXT,
        channel TEXT,
        outcome TEXT NOT NULL,
        created INTEGER NOT NULL,
        changed INTEGER NOT NULL,
        expires INTEGER,
        attempts INTEGER NOT NULL DEFAULT 0,
        owner TEXT
    ) STRICT;
    CREATE INDEX message_open ON message (agent, seq)
        WHERE stage IN ('queued', 'typing', 'typed', 'submitted', 'uncertain');
    CREATE INDEX message_changed ON message (changed);
"];

/// Brings the tables up to date, in one transaction.
///
/// # Errors
/// SQLite's; the tables are as before then.
pub fn upgrade(db: &mut Connection) -> rusqlite::Result<()> {
    // Another process may do the same right now: the version is read again under the lock.
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let from: i64 = version(&transaction)?;
    for (at, step) in (0..).zip(STEPS) {
        if at >= from {
            transaction.execute_batch(step)?;
        }
    }
    if from < VERSION {
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()
}

/// The version of the tables that are there; 0 for none.
///
/// # Errors
/// It is no database.
pub fn version(db: &Connection) -> rusqlite::Result<i64> {
    db.pragma_query_value(None, "user_version", |row| row.get(0))
}
