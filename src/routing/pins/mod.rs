//! Pins: which chat is on which node, in SQLite, so that it holds for the chat's life, whatever dies. A
//! pin moves only by a person's word.
//!
//! Whoever places reads what there is and writes what was chosen in one transaction: of two placers of
//! one chat the second gets the first one's pin, and those of several chats count each other. A chat whose
//! name its node gives is first reserved, and confirmed once the node has made it.

#[cfg(test)]
mod model;
mod tables;
mod take_back;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{
    Connection, OpenFlags, OptionalExtension as _, Row, Transaction, TransactionBehavior, params,
};
use serde::{Deserialize, Serialize};

use super::node::{Dialect, Node};
use super::placement::History;
use crate::error::{Error, Result};
use crate::host::owner::Owner;
use crate::paths::Paths;
use tables::PINS;

/// How long a reservation counts whose placer is not known to be dead: longer than any node takes to make
/// a chat.
const RESERVED: SignedDuration = SignedDuration::from_mins(10);

/// What is remembered of when a pin was used is exact to this; each use would else be a write to the disk.
const USED: SignedDuration = SignedDuration::from_secs(60);

/// Longest name of a chat: two names of nodes and two UUIDs.
const CHAT_MOST: usize = 256;

/// How a pin stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// The chat is being made.
    Reserved,
    /// The chat is there.
    Held,
}

/// A chat and its node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pin {
    /// The chat's name towards clients.
    pub chat: String,
    /// Its node.
    pub node: String,
    /// What that node understood when the chat was placed.
    pub dialect: Dialect,
    /// How it stands.
    pub standing: Standing,
    /// The node's own name of the chat, where it has one.
    pub native: Option<String>,
    /// Counts changes up; what a change is based on.
    pub revision: i64,
    /// When it was placed.
    pub created: Timestamp,
    /// When it was used last, to a minute.
    pub used: Timestamp,
}

impl Pin {
    /// Whether the chat's conversation is its node's own, so that it cannot go on anywhere else: a server
    /// made it, and gave it its name.
    pub fn is_its_nodes(&self) -> bool {
        let named = self.chat.strip_prefix(&self.node);
        let by_name = named.is_some_and(|rest| rest.starts_with('.'));
        self.dialect != Dialect::Tui && (by_name || self.native.is_some())
    }
}

/// What is written down, as a placement needs it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Chats by node, those being made included.
    pub chats: BTreeMap<String, u32>,
    /// Nodes that get no new ones.
    pub drained: BTreeSet<String>,
    /// What earlier placements have left behind.
    pub history: History,
}

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
        read(&self.db, &self.path, seen)
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
            let ledger = ledger(t)?;
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
            let ledger = ledger(t)?;
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
        read(&self.db, &self.path, list)
    }

    /// Notes that a chat was used just now.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn used(&self, chat: &str) -> Result<()> {
        let now = Timestamp::now();
        self.db
            .execute(
                "UPDATE pin SET used = ?2 WHERE chat = ?1 AND used < ?3",
                params![chat, now.as_millisecond(), (now - USED).as_millisecond()],
            )
            .map(drop)
            .map_err(|e| PINS.error("write to", &self.path, &e))
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

/// The same pins for who only reads, on a connection of its own: it waits for nobody who writes, not in
/// this process either.
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

    /// As [`Pins::ledger`].
    ///
    /// # Errors
    /// As there.
    pub fn ledger(&self) -> Result<Ledger> {
        read(&self.db, &self.path, seen)
    }

    /// As [`Pins::pin`].
    ///
    /// # Errors
    /// As there.
    pub fn pin(&self, chat: &str) -> Result<Option<Pin>> {
        read(&self.db, &self.path, |db| pin(db, chat))
    }

    /// As [`Pins::list`].
    ///
    /// # Errors
    /// As there.
    pub fn list(&self) -> Result<Vec<Pin>> {
        read(&self.db, &self.path, list)
    }
}

/// How long a reader waits where it must, which is when another process mends the file.
const READ: Duration = Duration::from_secs(2);

/// Reads at one moment.
fn read<T>(
    db: &Connection,
    path: &Path,
    run: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Result<T> {
    let failed = |e: rusqlite::Error| PINS.error("read", path, &e);
    // Deferred: nothing is locked but what is read.
    let transaction = db.unchecked_transaction().map_err(failed)?;
    run(&transaction).map_err(failed)
}

fn list(db: &Connection) -> rusqlite::Result<Vec<Pin>> {
    db.prepare(&format!("{COLUMNS} WHERE standing = 'held' ORDER BY chat"))?
        .query_map([], read_pin)?
        .collect()
}

const LAST_NODE: &str = "last_node";
const LAST_HOST: &str = "last_host";
const NEXT_TARGET: &str = "next_chat_target";

/// Columns in the order of [`read_pin`].
const COLUMNS: &str =
    "SELECT chat, node, dialect, standing, native, revision, created, used FROM pin";

/// After [`clean_up`].
fn ledger(t: &Transaction<'_>) -> rusqlite::Result<Ledger> {
    clean_up(t)?;
    seen(t)
}

/// As it would be after [`clean_up`].
fn seen(t: &Connection) -> rusqlite::Result<Ledger> {
    let mut ledger = written(t)?;
    for dead in dead(t)? {
        if let Some(chats) = ledger.chats.get_mut(&dead.node) {
            *chats = chats.saturating_sub(1);
        }
        let took = || dead.took.and_then(|target| target.parse().ok());
        let target = ledger.history.next_target.take();
        ledger.history.next_target = target.or_else(took);
    }
    ledger.chats.retain(|_, chats| *chats > 0);
    Ok(ledger)
}

fn written(t: &Connection) -> rusqlite::Result<Ledger> {
    let chats = t
        .prepare("SELECT node, count(*) FROM pin GROUP BY node")?
        .query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let drained = t
        .prepare("SELECT node FROM drained")?
        .query_map([], |r| r.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Ledger {
        chats,
        drained,
        history: History {
            last_node: get(t, LAST_NODE)?,
            last_host: get(t, LAST_HOST)?,
            next_target: get(t, NEXT_TARGET)?.and_then(|text| text.parse().ok()),
        },
    })
}

/// Takes away what dead placers have reserved.
fn clean_up(t: &Transaction<'_>) -> rusqlite::Result<()> {
    dead(t)?
        .iter()
        .try_for_each(|dead| give_back(t, &dead.ticket))
}

/// A reservation that counts no more.
struct Dead {
    ticket: String,
    node: String,
    took: Option<String>,
}

fn dead(t: &Connection) -> rusqlite::Result<Vec<Dead>> {
    let oldest = (Timestamp::now() - RESERVED).as_millisecond();
    let mut reserved =
        t.prepare("SELECT chat, node, took, owner, created FROM pin WHERE standing = 'reserved'")?;
    let mut rows = reserved.query([])?;
    let mut all = Vec::new();
    while let Some(r) = rows.next()? {
        let (owner, created): (Option<String>, i64) = (r.get(3)?, r.get(4)?);
        let lives = owner
            .and_then(|text| serde_json::from_str::<Owner>(&text).ok())
            .is_some_and(|owner| owner.lives());
        if !lives || created < oldest {
            all.push(Dead {
                ticket: r.get(0)?,
                node: r.get(1)?,
                took: r.get(2)?,
            });
        }
    }
    Ok(all)
}

fn give_back(t: &Transaction<'_>, ticket: &str) -> rusqlite::Result<()> {
    let took: Option<Option<String>> = t
        .query_row("SELECT took FROM pin WHERE chat = ?1", [ticket], |r| {
            r.get(0)
        })
        .optional()?;
    t.execute("DELETE FROM pin WHERE chat = ?1", [ticket])?;
    if let Some(Some(target)) = took
        && get(t, NEXT_TARGET)?.is_none()
    {
        set(t, NEXT_TARGET, Some(&target))?;
    }
    Ok(())
}

fn insert(
    t: &Transaction<'_>,
    chat: &str,
    node: &Node,
    standing: Standing,
    ledger: &Ledger,
) -> rusqlite::Result<()> {
    let now = Timestamp::now().as_millisecond();
    // The one-shot target is used up by this one, where it is meant; it comes back if the chat cannot be
    // made.
    let target = ledger.history.next_target.as_ref();
    let took = target.filter(|t| t.matches(node)).map(ToString::to_string);
    if took.is_some() {
        set(t, NEXT_TARGET, None)?;
    }
    let (standing, owner) = match standing {
        Standing::Reserved => ("reserved", Some(json(&Owner::this()))),
        Standing::Held => ("held", None),
    };
    t.execute(
        "INSERT INTO pin (chat, node, dialect, standing, owner, took, created, used)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)",
        params![
            chat,
            node.id,
            json(&node.dialect),
            standing,
            owner,
            took,
            now
        ],
    )?;
    Ok(())
}

/// Remembers which node was chosen last; one that was found to have a chat was not chosen.
fn chosen(t: &Transaction<'_>, node: &Node) -> rusqlite::Result<()> {
    set(t, LAST_NODE, Some(&node.id))?;
    set(t, LAST_HOST, Some(&node.host))
}

fn pin(db: &Connection, chat: &str) -> rusqlite::Result<Option<Pin>> {
    db.prepare(&format!("{COLUMNS} WHERE chat = ?1 AND standing = 'held'"))?
        .query_row([chat], read_pin)
        .optional()
}

fn read_pin(row: &Row<'_>) -> rusqlite::Result<Pin> {
    let word = |at: usize| row.get::<_, String>(at);
    let time = |at: usize| {
        Ok::<_, rusqlite::Error>(
            Timestamp::from_millisecond(row.get(at)?).unwrap_or(Timestamp::UNIX_EPOCH),
        )
    };
    Ok(Pin {
        chat: word(0)?,
        node: word(1)?,
        dialect: serde_json::from_str(&word(2)?).unwrap_or_default(),
        standing: match word(3)?.as_str() {
            "reserved" => Standing::Reserved,
            _ => Standing::Held,
        },
        native: row.get(4)?,
        revision: row.get(5)?,
        created: time(6)?,
        used: time(7)?,
    })
}

fn get(t: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    t.query_row("SELECT value FROM setting WHERE key = ?1", [key], |r| {
        r.get(0)
    })
    .optional()
}

fn set(t: &Transaction<'_>, key: &str, value: Option<&str>) -> rusqlite::Result<()> {
    match value {
        Some(value) => t.execute(
            "INSERT INTO setting (key, value) VALUES (?1, ?2)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            params![key, value],
        ),
        None => t.execute("DELETE FROM setting WHERE key = ?1", [key]),
    }
    .map(drop)
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// A chat's name: it stands in URLs, tables and log lines.
///
/// # Errors
/// Kind `Usage`: it is none.
pub fn checked(chat: &str) -> Result<&str> {
    let fits = !chat.is_empty()
        && chat.len() <= CHAT_MOST
        && chat
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-@+=,".contains(&b));
    if fits && chat != "." && chat != ".." {
        return Ok(chat);
    }
    Err(Error::usage(format!(
        "`{}` cannot be the name of a chat",
        chat.chars().take(80).collect::<String>()
    ))
    .hint(format!(
        "1 to {CHAT_MOST} letters, digits and `. _ - @ + = ,`, for example `ISSUE-12`"
    )))
}
