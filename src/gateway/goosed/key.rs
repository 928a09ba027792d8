//! Which chat a request is about, and the same request in the words of the chat's node. Pure.

use std::ops::Range;

use axum::body::Bytes;

use super::json::{self, Edit};
use super::table::{Route, Where};
use crate::gateway::ids;

/// A chat as a request names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its name towards clients.
    pub chat: String,
    /// Its node.
    pub node: String,
    /// The node's own name of it.
    pub native: String,
}

/// Why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// The request names no chat.
    Nothing(&'static str),
    /// The body is no JSON.
    NoJson(String),
    /// What it names is no name of the gateway's.
    Unknown(String),
    /// It names two.
    Two(String, String),
}

/// A request as its node is to have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Native {
    /// The chat.
    pub key: Key,
    /// Path and query.
    pub target: String,
    /// Body, in pieces.
    pub body: Vec<Bytes>,
}

/// Finds the chat's name where the route has it, and puts the node's own in its place.
///
/// # Errors
/// There is none, or it is none of the gateway's.
pub fn native(
    route: &Route,
    place: Where,
    path: &str,
    query: Option<&str>,
    body: &Bytes,
) -> Result<Native, Missing> {
    let named = match place {
        Where::Path => in_path(route.path, path),
        Where::Query => in_query(query.unwrap_or_default()),
        Where::Body => in_body(body)?,
    };
    let key = key(&named, place)?;
    let mut target = (path.to_owned(), query.map(ToOwned::to_owned));
    let mut pieces = vec![body.clone()];
    match (place, &mut target.1) {
        (Where::Path, _) => target.0 = put(path, &named, &key.native),
        (Where::Query, Some(query)) => *query = put(query, &named, &key.native),
        (Where::Query, None) => {}
        (Where::Body, _) => {
            let new = json::quoted(&key.native);
            let edits: Vec<Edit> = named.into_iter().map(|n| (n.0, new.clone())).collect();
            pieces = json::spliced(body, edits);
        }
    }
    let target = match target {
        (path, None) => path,
        (path, Some(query)) => format!("{path}?{query}"),
    };
    Ok(Native {
        key,
        target,
        body: pieces,
    })
}

/// A name and where it stands.
type Named = (Range<usize>, String);

fn key(named: &[Named], place: Where) -> Result<Key, Missing> {
    let Some((_, chat)) = named.first() else {
        return Err(Missing::Nothing(match place {
            Where::Path => "in its path",
            Where::Query => "as `session_id` in its query",
            Where::Body => "as `session_id` or `sessionId` in its body",
        }));
    };
    if let Some((_, other)) = named.iter().find(|(_, other)| other != chat) {
        return Err(Missing::Two(chat.clone(), other.clone()));
    }
    match ids::split(chat) {
        // No native name has a meaning of its own in a path.
        Some((node, native)) if native.bytes().any(|b| b != b'.') => Ok(Key {
            node: node.to_owned(),
            native: native.to_owned(),
            chat: chat.clone(),
        }),
        _ => Err(Missing::Unknown(chat.clone())),
    }
}

fn put(text: &str, named: &[Named], native: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for (span, _) in named {
        out.push_str(text.get(at..span.start).unwrap_or_default());
        out.push_str(native);
        at = span.end;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

/// The segment that the pattern calls `{session}`.
fn in_path(pattern: &str, path: &str) -> Vec<Named> {
    let mut at = 0;
    let mut pattern = pattern.split('/');
    for segment in path.split('/') {
        let span = at..at + segment.len();
        at = span.end + 1;
        if pattern.next() == Some("{session}") {
            return unescaped(segment, false)
                .filter(|name| !name.is_empty())
                .map(|name| (span, name))
                .into_iter()
                .collect();
        }
    }
    Vec::new()
}

/// Every `session_id`.
pub fn in_query(query: &str) -> Vec<Named> {
    let mut at = 0;
    let mut named = Vec::new();
    for pair in query.split('&') {
        let end = at + pair.len();
        if let Some((key, value)) = pair.split_once('=')
            && unescaped(key, true).as_deref() == Some("session_id")
            && let Some(value) = unescaped(value, true).filter(|v| !v.is_empty())
        {
            named.push((at + key.len() + 1..end, value));
        }
        at = end + 1;
    }
    named
}

/// Every `session_id` and `sessionId` of a JSON object.
fn in_body(body: &Bytes) -> Result<Vec<Named>, Missing> {
    let no_json = |e: serde_json::Error| Missing::NoJson(e.to_string());
    let text = json::text(body).map_err(no_json)?;
    let found = json::fields(text, &["session_id", "sessionId"]).map_err(no_json)?;
    Ok(found
        .into_iter()
        .filter_map(|(_, found)| Some((found.span(), found.string()?)))
        .filter(|(_, name)| !name.is_empty())
        .collect())
}

/// Path and query without what only the gateway may see: the secret of a client that can set no header.
/// `None` where there is none.
pub fn without_secret(path: &str, query: Option<&str>) -> Option<String> {
    let query = query?;
    let is_secret = |pair: &&str| {
        let key = pair.split('=').next().unwrap_or_default();
        let key = unescaped(key, true);
        matches!(key.as_deref(), Some("token" | "auth_token"))
    };
    if !query.split('&').any(|pair| is_secret(&pair)) {
        return None;
    }
    let kept: Vec<&str> = query.split('&').filter(|pair| !is_secret(pair)).collect();
    Some(match kept.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{}", kept.join("&")),
    })
}

/// Without `%XX`, and in a query without `+`; `None` where an escape is none or the bytes are no text.
pub fn unescaped(text: &str, query: bool) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high * 16 + low).ok()?
            }
            b'+' if query => b' ',
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}
