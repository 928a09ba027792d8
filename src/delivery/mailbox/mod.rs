//! The mailbox: every message ever sent, in SQLite, so that it outlives its sender. Many short
//! processes write to it at once; each change is on the disk before it counts, and one that is based
//! on an old reading is refused.
//!
//! Nothing here touches an agent: [`super::deliver`] does, and [`super::drain`] decides when.

mod row;
mod schema;
#[cfg(test)]
mod tests;

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, params};

pub use row::{Draft, NewMessage, Options, Outcome, Row, Stage, Standing, Style, VERSION};

use crate::error::{Error, Result};
use crate::host::files;
use crate::paths::Paths;

/// How long a message is kept after its end: dead letters are to be found after a holiday, and its id
/// is not taken twice within this time.
const KEPT: SignedDuration = SignedDuration::from_hours(21 * 24);

/// Most messages kept after their end, however young: some hundred megabytes at the very most.
const KEPT_MOST: i64 = 10_000;

/// Old messages are removed at every so many new ones.
const PRUNE_EVERY: i64 = 100;

/// Longest id; long enough for two UUIDs and a name.
const ID_MOST: usize = 128;

/// How long a message that was submitted or became uncertain is still looked for in its agent's
/// record, when the queue is worked on.
const LOOKED_FOR: SignedDuration = SignedDuration::from_mins(60);

/// The oldest stage of a message that is looked for in its agent's record.
pub fn looked_for_since(now: Timestamp) -> Timestamp {
    now.checked_sub(LOOKED_FOR).unwrap_or(Timestamp::MIN)
}

/// Where messages and what became of them are written down. The mailbox; in tests also a scripted
/// one that crashes.
pub trait Journal {
    /// One message.
    ///
    /// # Errors
    /// It cannot be read.
    fn row(&self, id: &str) -> Result<Option<Row>>;

    /// An agent's messages that are not at their end, and those submitted or uncertain whose stage is
    /// younger than `since`, in order of delivery.
    ///
    /// # Errors
    /// They cannot be read.
    fn open_rows(&self, agent: &str, since: Timestamp) -> Result<Vec<Row>>;

    /// Stores a changed message if it is still as it was read, and counts the revision up. When this
    /// returns `true`, the change outlives every process; and the machine too, where the stage is one
    /// before `Submitted`: of what comes later, a power failure may lose the last word, which is found out
    /// again. `false`: somebody else changed it; read it again.
    ///
    /// # Errors
    /// It cannot be written; nothing was.
    fn save(&self, row: &mut Row) -> Result<bool>;
}

/// The mailbox of a fleet.
#[derive(Debug)]
pub struct Mailbox {
    db: Connection,
    path: PathBuf,
    poke: PathBuf,
}

/// Which messages to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those that are not at their end.
    Pending,
    /// Those, and the dead letters.
    PendingAndDead,
    /// All that are kept.
    All,
}

impl Mailbox {
    /// Opens it, made with mode 0600 if missing.
    ///
    /// # Errors
    /// It cannot be read or written, is damaged, or was written by a newer mosaic.
    pub fn open(paths: &Paths) -> Result<Self> {
        Self::at(&paths.mailbox(), &paths.mailbox_poke())
    }

    /// The same with the files named.
    ///
    /// # Errors
    /// As there.
    pub fn at(path: &Path, poke: &Path) -> Result<Self> {
        let db = schema::MAILBOX.open(path)?;
        Ok(Self {
            db,
            path: path.to_owned(),
            poke: poke.to_owned(),
        })
    }

    /// Stores a message, or finds the one that has its id already: then nothing is stored, and the
    /// row says what became of it. On return it is on the disk. Whoever watches the poke file learns
    /// of it.
    ///
    /// # Errors
    /// Kind `Usage`: the id is malformed, or belongs to another message.
    pub fn enqueue(&self, new: &NewMessage) -> Result<Row> {
        let id = match &new.id {
            Some(id) => checked(id)?.to_owned(),
            None => uuid::Uuid::new_v4().to_string(),
        };
        let now = Timestamp::now();
        let outcome = Outcome {
            dropped: new.dropped.clone(),
            ..Outcome::default()
        };
        let stored = self
            .db
            .prepare(
                "INSERT INTO message
                    (id, agent, sender, host, text, options, stage, outcome, created, changed, expires,
                     chat)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'queued', ?7, ?8, ?8, ?9, ?10)
                 ON CONFLICT (id) DO NOTHING",
            )
            .and_then(|mut s| {
                s.execute(params![
                    id,
                    new.agent,
                    new.sender,
                    new.host,
                    new.text,
                    json(&new.options),
                    json(&outcome),
                    now.as_millisecond(),
                    new.expires.map(Timestamp::as_millisecond),
                    new.chat,
                ])
            })
            .map_err(|e| error("write to", &self.path, &e))?
            > 0;
        let row = self
            .row(&id)?
            .ok_or_else(|| Error::bug(format!("the message `{id}` is not in the mailbox")))?;
        if stored {
            self.poke();
            if row.seq % PRUNE_EVERY == 0 {
                self.prune(now)?;
            }
        } else if row.agent != new.agent || row.text != new.text || row.chat != new.chat {
            return Err(Error::usage(format!(
                "the id `{id}` belongs to another message, to `{}`",
                row.agent
            ))
            .hint(format!("see it with `mosaic agent inbox show {id}`"))
            .hint("an id names one message for good; use a new one, or none"));
        }
        Ok(row)
    }

    /// Tells whoever watches that something is to be delivered. A poke that is lost only means that
    /// it is delivered later.
    pub fn poke(&self) {
        if let Err(e) = std::fs::File::options()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(files::PRIVATE)
            .open(&self.poke)
        {
            tracing::warn!("cannot touch `{}`: {e}", self.poke.display());
        }
    }

    /// An agent's messages that are not at their end, in order of delivery.
    ///
    /// # Errors
    /// The mailbox cannot be read.
    pub fn pending(&self, agent: &str) -> Result<Vec<Row>> {
        let mut rows = self.open_rows(agent, Timestamp::MAX)?;
        rows.retain(|r| r.stage.pending());
        Ok(rows)
    }

    /// Reads all of it, and counts the messages that go on by themselves.
    ///
    /// # Errors
    /// It cannot be read, or is damaged anywhere.
    pub fn check(&self) -> Result<usize> {
        let failed = |e: rusqlite::Error| error("read", &self.path, &e);
        let found: String = self
            .db
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(failed)?;
        if found != "ok" {
            let damaged = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
            return Err(failed(rusqlite::Error::SqliteFailure(damaged, Some(found))));
        }
        let agents = self.agents_with_pending()?;
        agents
            .iter()
            .try_fold(0, |sum, agent| Ok(sum + self.pending(agent)?.len()))
    }

    /// Agents that have messages to be delivered, in order of name.
    ///
    /// # Errors
    /// The mailbox cannot be read.
    pub fn agents_with_pending(&self) -> Result<Vec<String>> {
        self.agents_with_open(Timestamp::MAX)
    }

    /// Agents that have messages as [`Journal::open_rows`] lists them, in order of name.
    ///
    /// # Errors
    /// The mailbox cannot be read.
    pub fn agents_with_open(&self, since: Timestamp) -> Result<Vec<String>> {
        self.db
            .prepare(&format!(
                "SELECT DISTINCT agent FROM message WHERE {OPEN_SINCE} ORDER BY agent"
            ))
            .and_then(|mut s| {
                s.query_map([since.as_millisecond()], |r| r.get(0))?
                    .collect()
            })
            .map_err(|e| error("read", &self.path, &e))
    }

    /// Lists messages of one agent or of all, in order of acceptance.
    ///
    /// # Errors
    /// The mailbox cannot be read.
    pub fn list(&self, agent: Option<&str>, which: Which) -> Result<Vec<Row>> {
        let stages = match which {
            Which::Pending => "stage IN ('queued', 'typing', 'typed')",
            Which::PendingAndDead => {
                "stage IN ('queued', 'typing', 'typed', 'refused', 'uncertain', 'expired')"
            }
            Which::All => "TRUE",
        };
        self.select(
            &format!("{stages} AND (?1 IS NULL OR agent = ?1) ORDER BY seq"),
            params![agent],
        )
    }

    /// Messages of a chat that were stored since then, in the order in which they were.
    ///
    /// # Errors
    /// The mailbox cannot be read.
    pub fn of_chat(&self, chat: &str, since: Timestamp) -> Result<Vec<Row>> {
        self.select(
            "chat = ?1 AND created >= ?2 ORDER BY created, seq",
            params![chat, since.as_millisecond()],
        )
    }

    /// The last message that left for an agent, whatever became of it then.
    ///
    /// # Errors
    /// The mailbox cannot be read.
    pub fn last_with_agent(&self, agent: &str) -> Result<Option<Row>> {
        let rows = self.select(
            "agent = ?1 AND stage IN ('typing', 'typed', 'submitted', 'uncertain', 'accepted', 'answered')
             ORDER BY seq DESC LIMIT 1",
            params![agent],
        )?;
        Ok(rows.into_iter().next())
    }

    /// Messages of chats whose stage changed since then, the earliest change first.
    ///
    /// # Errors
    /// The mailbox cannot be read.
    pub fn changed_in_chats(&self, since: Timestamp) -> Result<Vec<Row>> {
        self.select(
            "changed >= ?1 AND chat IS NOT NULL ORDER BY changed, seq",
            params![since.as_millisecond()],
        )
    }

    /// An agent's messages of chats that are with it and whose turn is not known to have ended, changed
    /// since then.
    ///
    /// # Errors
    /// The mailbox cannot be read.
    pub fn unanswered_in_chats(&self, agent: &str, since: Timestamp) -> Result<Vec<Row>> {
        self.select(
            "changed >= ?2 AND agent = ?1 AND chat IS NOT NULL
             AND stage IN ('submitted', 'uncertain', 'accepted') ORDER BY seq",
            params![agent, since.as_millisecond()],
        )
    }

    /// Takes a message back, if nothing of it has left. Says how it stands then: `Cancelled`, unless it
    /// was too late.
    ///
    /// # Errors
    /// No such message; or the mailbox cannot be written.
    pub fn cancel(&self, id: &str) -> Result<Row> {
        loop {
            let mut row = self.require(id)?;
            if row.stage != Stage::Queued {
                return Ok(row);
            }
            row.stage = Stage::Cancelled;
            row.changed = Timestamp::now();
            if self.save(&mut row)? {
                return Ok(row);
            }
        }
    }

    /// Puts a message that ended without delivery into the queue again, behind all that wait; the
    /// caller has made sure that an uncertain one may arrive twice.
    ///
    /// # Errors
    /// Kind `No`: it was delivered, or is still to be.
    pub fn retry(&self, id: &str) -> Result<Row> {
        loop {
            let row = self.require(id)?;
            if !(row.stage.dead() || row.stage == Stage::Cancelled) {
                return Err(Error::no(format!(
                    "the message `{id}` is {}: there is nothing to try again",
                    row.stage.as_str()
                )));
            }
            let outcome = Outcome {
                dropped: row.outcome.dropped.clone(),
                ..Outcome::default()
            };
            let done = self
                .db
                .execute(
                    "UPDATE message SET stage = 'queued', revision = revision + 1, changed = ?3,
                        seq = (SELECT max(seq) + 1 FROM message), outcome = ?4, composed = NULL,
                        mark = NULL, owner = NULL, channel = NULL, expires = NULL
                     WHERE id = ?1 AND revision = ?2",
                    params![
                        id,
                        row.revision,
                        Timestamp::now().as_millisecond(),
                        json(&outcome)
                    ],
                )
                .map_err(|e| error("write to", &self.path, &e))?;
            if done == 1 {
                self.poke();
                return self.require(id);
            }
        }
    }

    /// One message that must be there.
    ///
    /// # Errors
    /// Kind `No`: it is not.
    pub fn require(&self, id: &str) -> Result<Row> {
        self.row(id)?.ok_or_else(|| {
            Error::no(format!("no message `{id}` in the mailbox"))
                .hint("`mosaic agent inbox list --all` shows what is kept")
        })
    }

    /// Removes what ended long ago, with the files it went as. Returns how many.
    ///
    /// # Errors
    /// The mailbox cannot be written.
    pub fn prune(&self, now: Timestamp) -> Result<usize> {
        let before = now.checked_sub(KEPT).unwrap_or(Timestamp::MIN);
        let which = "stage NOT IN ('queued', 'typing', 'typed') AND
            (changed < ?1 OR seq <= (SELECT max(seq) FROM message) - ?2)";
        let old = self.select(which, params![before.as_millisecond(), KEPT_MOST])?;
        for row in &old {
            if let Some(file) = &row.outcome.as_file
                && let Err(e) = files::remove(file)
            {
                tracing::warn!("{e}");
            }
            self.db
                .execute(
                    "DELETE FROM message WHERE id = ?1 AND revision = ?2",
                    params![row.id, row.revision],
                )
                .map_err(|e| error("write to", &self.path, &e))?;
        }
        Ok(old.len())
    }

    fn select(&self, condition: &str, params: impl rusqlite::Params) -> Result<Vec<Row>> {
        self.db
            .prepare(&format!("SELECT {COLUMNS} FROM message WHERE {condition}"))
            .and_then(|mut s| s.query_map(params, read)?.collect())
            .map_err(|e| error("read", &self.path, &e))
    }
}

impl Journal for Mailbox {
    fn row(&self, id: &str) -> Result<Option<Row>> {
        self.db
            .prepare(&format!("SELECT {COLUMNS} FROM message WHERE id = ?1"))
            .and_then(|mut s| s.query_row([id], read).optional())
            .map_err(|e| error("read", &self.path, &e))
    }

    fn open_rows(&self, agent: &str, since: Timestamp) -> Result<Vec<Row>> {
        let mut rows = self.select(
            &format!("agent = ?2 AND {OPEN_SINCE} ORDER BY seq"),
            params![since.as_millisecond(), agent],
        )?;
        rows.sort_by_key(|r| (!r.options.first, r.seq));
        Ok(rows)
    }

    fn save(&self, row: &mut Row) -> Result<bool> {
        let learnt = matches!(
            row.stage,
            Stage::Submitted | Stage::Accepted | Stage::Answered
        );
        let synchronous = |how: &str| {
            self.db
                .pragma_update(None, "synchronous", how)
                .map_err(|e| error("write to", &self.path, &e))
        };
        if learnt {
            synchronous("NORMAL")?;
        }
        let done = self
            .db
            .prepare(
                "UPDATE message SET revision = revision + 1, stage = ?3, composed = ?4, mark = ?5,
                    channel = ?6, outcome = ?7, changed = ?8, attempts = ?9, owner = ?10
                 WHERE id = ?1 AND revision = ?2",
            )
            .and_then(|mut s| {
                s.execute(params![
                    row.id,
                    row.revision,
                    row.stage.as_str(),
                    row.composed,
                    row.mark.as_ref().map(json),
                    row.channel.as_ref().map(json),
                    json(&row.outcome),
                    row.changed.as_millisecond(),
                    row.attempts,
                    row.owner.as_ref().map(json),
                ])
            });
        if learnt {
            synchronous("FULL")?;
        }
        let done = done.map_err(|e| error("write to", &self.path, &e))?;
        row.revision += i64::from(done == 1);
        Ok(done == 1)
    }
}

/// Not at their end, or submitted or uncertain since `?1`. The first part is the index's own.
const OPEN_SINCE: &str = "stage IN ('queued', 'typing', 'typed', 'submitted', 'uncertain')
    AND (stage NOT IN ('submitted', 'uncertain') OR changed >= ?1)";

const COLUMNS: &str = "id, agent, seq, revision, sender, host, text, options, stage, composed, mark, \
    channel, outcome, created, changed, expires, attempts, owner, chat";

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    fn damaged(
        column: usize,
        e: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> rusqlite::Error {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, e.into())
    }
    fn parsed<T: serde::de::DeserializeOwned>(
        row: &rusqlite::Row<'_>,
        column: usize,
    ) -> rusqlite::Result<Option<T>> {
        row.get::<_, Option<String>>(column)?
            .map(|text| serde_json::from_str(&text).map_err(|e| damaged(column, e)))
            .transpose()
    }
    let time = |column: usize| -> rusqlite::Result<Option<Timestamp>> {
        row.get::<_, Option<i64>>(column)?
            .map(|ms| Timestamp::from_millisecond(ms).map_err(|e| damaged(column, e)))
            .transpose()
    };
    let stage: String = row.get(8)?;
    Ok(Row {
        id: row.get(0)?,
        agent: row.get(1)?,
        seq: row.get(2)?,
        revision: row.get(3)?,
        sender: row.get(4)?,
        host: row.get(5)?,
        text: row.get(6)?,
        options: parsed(row, 7)?.unwrap_or_default(),
        stage: Stage::parse(&stage).ok_or_else(|| damaged(8, format!("no stage `{stage}`")))?,
        composed: row.get(9)?,
        mark: parsed(row, 10)?,
        channel: parsed(row, 11)?,
        outcome: parsed(row, 12)?.unwrap_or_default(),
        created: time(13)?.unwrap_or_default(),
        changed: time(14)?.unwrap_or_default(),
        expires: time(15)?,
        attempts: row.get(16)?,
        owner: parsed(row, 17)?,
        chat: row.get(18)?,
    })
}

/// An id of a message, if it can be one.
///
/// # Errors
/// Kind `Usage`: it cannot.
pub fn checked(id: &str) -> Result<&str> {
    let good = !id.is_empty()
        && id.len() <= ID_MOST
        && id.chars().all(|c| c.is_ascii_graphic())
        && !id.starts_with('-');
    if good {
        Ok(id)
    } else {
        Err(Error::usage(format!(
            "`{}` cannot be the id of a message",
            id.escape_debug()
        ))
        .hint(format!(
            "up to {ID_MOST} printable ASCII characters without blanks, the first one no `-`"
        )))
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn error(doing: &str, path: &Path, e: &rusqlite::Error) -> Error {
    schema::MAILBOX.error(doing, path, e)
}
