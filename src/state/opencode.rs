//! opencode's database of sessions, read beside the running agents: whether a session is there. opencode
//! itself ends at once when it is told to take up one that it does not know.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use crate::terminal::conversation::Stored;

/// opencode writes in a few milliseconds.
const BUSY: Duration = Duration::from_secs(1);

/// Whether the session of `DATABASE#ID` can be taken up. Only where the database certainly does not hold
/// it, it is nothing: what cannot be read is opencode's to judge.
pub fn stored(place: &str) -> Stored {
    let Some((database, id)) = place.rsplit_once('#') else {
        return Stored::Whole;
    };
    match holds(Path::new(database), id) {
        Ok(false) => Stored::Nothing,
        Ok(true) | Err(_) => Stored::Whole,
    }
}

fn holds(database: &Path, id: &str) -> rusqlite::Result<bool> {
    if !database.exists() {
        return Ok(false);
    }
    // Reading a database that another process writes may need its index of the log anew.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(database, flags)?;
    db.busy_timeout(BUSY)?;
    let found = db.query_row("select 1 from session where id = ?1", [id], |_| Ok(()));
    Ok(found.optional()?.is_some())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_a_database_that_lacks_a_session_says_no() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("opencode.db");
        let stored = |id: &str| stored(&format!("{}#{id}", path.display()));
        assert_eq!(stored("ses_1"), Stored::Nothing);
        let db = Connection::open(&path).unwrap();
        // Of another version, perhaps.
        db.execute_batch("create table other (id text)").unwrap();
        assert_eq!(stored("ses_1"), Stored::Whole);
        db.execute_batch(
            "create table session (id text primary key); insert into session values ('ses_1')",
        )
        .unwrap();
        assert_eq!(stored("ses_1"), Stored::Whole);
        assert_eq!(stored("ses_2"), Stored::Nothing);
    }
}
