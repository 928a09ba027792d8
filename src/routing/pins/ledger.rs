//! What is written down as a placement needs it: chats by node, and what earlier placements have left behind.
//! What the dead have reserved does not count.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::rows::{Standing, json};
use crate::host::owner::Owner;
use crate::routing::node::Node;
use crate::routing::placement::History;

/// How long a reservation counts whose placer is not known to be dead: longer than any node takes to make
/// a chat.
const RESERVED: SignedDuration = SignedDuration::from_mins(10);

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

const LAST_NODE: &str = "last_node";
const LAST_HOST: &str = "last_host";
pub(super) const NEXT_TARGET: &str = "next_chat_target";

/// With what the dead have reserved taken away.
pub(super) fn settled(t: &Transaction<'_>) -> rusqlite::Result<Ledger> {
    clean_up(t)?;
    seen(t)
}

/// The same without a change, as it would be then.
pub(super) fn seen(t: &Connection) -> rusqlite::Result<Ledger> {
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

/// Takes a reservation away; the one-shot target that it took is there again.
pub(super) fn give_back(t: &Transaction<'_>, ticket: &str) -> rusqlite::Result<()> {
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

/// Writes down a chat that is made, or being made, on a node.
pub(super) fn insert(
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
pub(super) fn chosen(t: &Transaction<'_>, node: &Node) -> rusqlite::Result<()> {
    set(t, LAST_NODE, Some(&node.id))?;
    set(t, LAST_HOST, Some(&node.host))
}

fn get(t: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    t.query_row("SELECT value FROM setting WHERE key = ?1", [key], |r| {
        r.get(0)
    })
    .optional()
}

/// Writes down a setting; `None` takes it away.
pub(super) fn set(t: &Transaction<'_>, key: &str, value: Option<&str>) -> rusqlite::Result<()> {
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
