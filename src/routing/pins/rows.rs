//! A pin, and how it stands in its table.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row};
use serde::{Deserialize, Serialize};

use crate::routing::node::Dialect;

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

/// Columns in the order of [`read_pin`].
const COLUMNS: &str =
    "SELECT chat, node, dialect, standing, native, revision, created, used FROM pin";

/// A chat's pin.
pub(super) fn pin(db: &Connection, chat: &str) -> rusqlite::Result<Option<Pin>> {
    db.prepare(&format!("{COLUMNS} WHERE chat = ?1 AND standing = 'held'"))?
        .query_row([chat], read_pin)
        .optional()
}

/// The pin of a session of opencode: such a session has the same name everywhere, and may be a chat under
/// another one.
pub(super) fn of_session(db: &Connection, session: &str) -> rusqlite::Result<Option<Pin>> {
    if let Some(pin) = pin(db, session)? {
        return Ok(Some(pin));
    }
    db.prepare(&by_native())?
        .query_row([session, &json(&Dialect::Opencode)], read_pin)
        .optional()
}

/// By the node's own name, and the dialect.
pub(super) fn by_native() -> String {
    format!(
        "{COLUMNS} WHERE native = ?1 AND dialect = ?2 AND standing = 'held' ORDER BY created LIMIT 1"
    )
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

/// All that are held, in the order of the chats' names.
pub(super) fn list(db: &Connection) -> rusqlite::Result<Vec<Pin>> {
    db.prepare(&format!("{COLUMNS} WHERE standing = 'held' ORDER BY chat"))?
        .query_map([], read_pin)?
        .collect()
}

/// As a column has it.
pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
