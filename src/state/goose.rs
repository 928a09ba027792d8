//! Goose's database of sessions, read beside the running agent. A session is found by the name that
//! mosaic gave it.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::report::{Report, What};
use crate::terminal::conversation::Stored;

/// Goose writes a message in a few milliseconds.
const BUSY: Duration = Duration::from_millis(500);

/// Messages that tell the present state of a session.
const LAST: usize = 50;

/// A session of goose.
#[derive(Debug, Clone)]
pub struct Goose {
    /// The database.
    pub database: PathBuf,
    /// The session's name.
    pub name: String,
}

/// A row of its messages.
struct Row {
    role: String,
    content: String,
    created: i64,
    metadata: Option<String>,
}

impl Goose {
    /// Reads `DATABASE#NAME`.
    pub fn at(place: &str) -> Option<Self> {
        let (database, name) = place.rsplit_once('#')?;
        Some(Self {
            database: database.into(),
            name: name.to_owned(),
        })
    }

    /// The position behind all messages so far. It only ever rises, though messages are deleted when
    /// the context is emptied. Where it cannot be read, one behind everything: nothing that was said
    /// before must be taken for what comes after, so that nothing is found then.
    pub fn mark(&self) -> u64 {
        let read = || -> Result<Option<i64>> {
            let Some(db) = self.open()? else {
                return Ok(None);
            };
            db.query_row(
                "select seq from sqlite_sequence where name = 'messages'",
                [],
                |row| row.get(0),
            )
            .optional()
            .map_err(|e| self.failed(e))
        };
        match read() {
            Ok(last) => last.and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
            Err(e) => {
                tracing::warn!("{e}");
                u64::MAX
            }
        }
    }

    /// What was added since a mark, oldest first; before it a new conversation where the session
    /// holds nothing older than the mark.
    ///
    /// # Errors
    /// The database exists and cannot be read.
    pub fn since(&self, mark: u64) -> Result<Vec<Report>> {
        let mark = i64::try_from(mark).unwrap_or(i64::MAX);
        let Some(db) = self.open()? else {
            return Ok(Vec::new());
        };
        let Some((session, _, updated)) = self.session(&db)? else {
            return Ok(Vec::new());
        };
        let older: i64 = db
            .query_row(
                "select count(*) from messages where session_id = ?1 and id <= ?2",
                params![session, mark],
                |row| row.get(0),
            )
            .map_err(|e| self.failed(e))?;
        let cleared = (older == 0 && mark > 0).then(|| self.cleared(updated));
        let rows = self.rows(
            &db,
            "select role, content_json, created_timestamp, metadata_json from messages \
             where session_id = ?1 and id > ?2 order by id",
            params![session, mark],
        )?;
        Ok(cleared
            .into_iter()
            .chain(rows.iter().flat_map(reports))
            .collect())
    }

    /// The last reports since the agent's start, oldest first.
    ///
    /// # Errors
    /// The database exists and cannot be read.
    pub fn last(&self, started: Option<Timestamp>) -> Result<Vec<Report>> {
        let Some(db) = self.open()? else {
            return Ok(Vec::new());
        };
        let Some((session, created, updated)) = self.session(&db)? else {
            return Ok(Vec::new());
        };
        let mut rows = self.rows(
            &db,
            "select role, content_json, created_timestamp, metadata_json from messages \
             where session_id = ?1 order by id desc limit ?2",
            params![session, i64::try_from(LAST).unwrap_or(i64::MAX)],
        )?;
        rows.reverse();
        let mut found: Vec<Report> = rows.iter().flat_map(reports).collect();
        if rows.is_empty() && updated > created {
            found.push(self.cleared(updated));
        }
        // Goose's times are whole seconds.
        let started = started.map(|t| t.as_second());
        found.retain(|r| started.is_none_or(|t| r.time.as_second() >= t));
        Ok(found)
    }

    /// Files whose change means that there is something new.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut log = self.database.clone().into_os_string();
        log.push("-wal");
        vec![self.database.clone(), log.into()]
    }

    fn cleared(&self, when: Timestamp) -> Report {
        Report {
            time: when,
            what: What::Session {
                id: Some(self.name.clone()),
                file: None,
                reason: "clear".into(),
            },
        }
    }

    fn failed(&self, e: rusqlite::Error) -> Error {
        Error::io(
            format!(
                "cannot read the sessions of goose in `{}`",
                self.database.display()
            ),
            std::io::Error::other(e),
        )
    }

    fn open(&self) -> Result<Option<Connection>> {
        if !self.database.exists() {
            return Ok(None);
        }
        let db = Connection::open_with_flags(
            &self.database,
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )
        .map_err(|e| self.failed(e))?;
        db.busy_timeout(BUSY).map_err(|e| self.failed(e))?;
        Ok(Some(db))
    }

    /// The session's id, when it was made, and when it was changed last.
    fn session(&self, db: &Connection) -> Result<Option<(String, Timestamp, Timestamp)>> {
        let found: Option<(String, i64, i64)> = db
            .query_row(
                "select id, cast(strftime('%s', created_at) as integer), \
                 cast(strftime('%s', updated_at) as integer) \
                 from sessions where name = ?1 order by created_at desc, id desc limit 1",
                params![self.name],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .optional()
            .map_err(|e| self.failed(e))?;
        Ok(found.map(|(id, created, updated)| (id, seconds(created), seconds(updated))))
    }

    fn rows(&self, db: &Connection, sql: &str, with: impl rusqlite::Params) -> Result<Vec<Row>> {
        let read = || {
            let mut query = db.prepare(sql)?;
            let rows = query.query_map(with, |row| {
                Ok(Row {
                    role: row.get(0)?,
                    content: row.get(1)?,
                    created: row.get(2)?,
                    metadata: row.get(3)?,
                })
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|e| self.failed(e))
    }
}

/// Whether a session exists under `DATABASE#NAME`. A database that cannot be read is taken to hold it:
/// beginning it again would silently leave the old one behind.
pub fn stored(place: &str) -> Stored {
    let Some(goose) = Goose::at(place) else {
        return Stored::Nothing;
    };
    let looked = goose.open().and_then(|db| match db {
        Some(db) => goose.session(&db),
        None => Ok(None),
    });
    match looked {
        Ok(None) => Stored::Nothing,
        Ok(Some(_)) | Err(_) => Stored::Whole,
    }
}

fn seconds(since_epoch: i64) -> Timestamp {
    Timestamp::from_second(since_epoch).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// What a message reports.
fn reports(row: &Row) -> Option<Report> {
    let visible = row
        .metadata
        .as_ref()
        .and_then(|m| serde_json::from_str::<Value>(m).ok())
        .is_none_or(|m| m["userVisible"] != false);
    if !visible {
        return None;
    }
    let content: Vec<Value> = serde_json::from_str(&row.content).ok()?;
    let texts: Vec<&str> = content
        .iter()
        .filter(|c| c["type"] == "text")
        .filter_map(|c| c["text"].as_str())
        .collect();
    let text = texts.join("\n");
    let calls = content.iter().any(|c| c["type"] == "toolRequest");
    let what = match row.role.as_str() {
        "user" if text.is_empty() => What::Working,
        "user" => What::Prompt { text },
        _ if calls || text.is_empty() => What::Working,
        _ => What::Answer { text },
    };
    Some(Report {
        time: seconds(row.created),
        what,
    })
}

#[cfg(test)]
mod tests;
