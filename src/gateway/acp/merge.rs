//! One list of sessions from the lists of all nodes: pure. A node's list may come in pages; the gateway's
//! cursor holds the cursors of those nodes that have more, and a page asks only them.
//!
//! Within a page the newest come first. Across pages they need not: a node's second page may begin with
//! something newer than another's first page ended with. Every session comes exactly once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::frame::{Bad, Id, Object, Raw, code, raw};

/// What a node answered.
#[derive(Debug, Deserialize)]
struct Page {
    #[serde(default)]
    sessions: Vec<Raw>,
    #[serde(default, rename = "nextCursor")]
    next: Option<String>,
}

/// The gateway's result.
#[derive(Debug, Serialize)]
struct Merged {
    sessions: Vec<Raw>,
    #[serde(rename = "nextCursor", skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    meta: Option<Meta>,
}

#[derive(Debug, Serialize)]
struct Meta {
    mosaic: Missing,
}

#[derive(Debug, Serialize)]
struct Missing {
    unavailable: BTreeMap<String, String>,
}

/// Which nodes a cursor asks, and with which cursors of theirs. Without one: all, from the beginning.
///
/// # Errors
/// It is no cursor of the gateway's.
pub fn cursors(cursor: Option<&str>) -> Result<Option<BTreeMap<String, String>>, Bad> {
    cursor
        .map(|text| {
            serde_json::from_str(text).map_err(|_| Bad {
                code: code::INVALID_PARAMS,
                why: "malformed session list cursor".to_owned(),
                id: Id::Null,
            })
        })
        .transpose()
}

/// Merges what nodes answered, sessions renamed already. `missing` has the nodes whose sessions are not in
/// it, and why.
pub fn merge(pages: Vec<(String, Raw)>, missing: BTreeMap<String, String>) -> Option<Raw> {
    let mut sessions: Vec<(String, Raw)> = Vec::new();
    let mut next = BTreeMap::new();
    for (node, page) in pages {
        let Ok(page) = serde_json::from_str::<Page>(page.get()) else {
            continue;
        };
        sessions.extend(page.sessions.into_iter().map(|s| (updated(&s), s)));
        if let Some(cursor) = page.next {
            next.insert(node, cursor);
        }
    }
    // Stable, so a node's own order decides where the times do not.
    sessions.sort_by(|(a, _), (b, _)| b.cmp(a));
    let next = (!next.is_empty())
        .then(|| serde_json::to_string(&next).ok())
        .flatten();
    let meta = (!missing.is_empty()).then_some(Meta {
        mosaic: Missing {
            unavailable: missing,
        },
    });
    raw(&Merged {
        sessions: sessions.into_iter().map(|(_, s)| s).collect(),
        next,
        meta,
    })
}

/// When a session changed last, in a form that sorts; those without a time come last.
fn updated(session: &Raw) -> String {
    let read = || -> Option<String> {
        let object: Object = serde_json::from_str(session.get()).ok()?;
        let text: String = serde_json::from_str(object.get("updatedAt")?.get()).ok()?;
        let at: jiff::Timestamp = text.parse().ok()?;
        // All of one length, so that text sorts as time does.
        Some(format!("{:020}", at.as_millisecond().max(0)))
    };
    read().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn page(value: Value) -> Raw {
        raw(&value).unwrap()
    }

    #[test]
    fn lists_are_merged_newest_first_and_pages_go_on_where_there_are_more() {
        let s = |id: &str, at: &str| json!({"sessionId": id, "updatedAt": at});
        let a = json!({"sessions": [s("a.1", "2026-11-28T10:00:00Z"), s("a.2", "2026-11-28T08:00:00+00:00")],
            "nextCursor": "x\"y"});
        let b = json!({"sessions": [s("b.1", "2026-11-28T11:00:00+02:00"), {"sessionId": "b.2"}]});
        let merged = merge(
            vec![
                ("a".into(), page(a)),
                ("b".into(), page(b)),
                ("c".into(), page(json!(3))),
            ],
            BTreeMap::from([("d".to_owned(), "refused".to_owned())]),
        );
        let merged: Value = serde_json::from_str(merged.unwrap().get()).unwrap();
        let ids: Vec<&str> = merged["sessions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| s["sessionId"].as_str().unwrap())
            .collect();
        assert_eq!(ids, ["a.1", "b.1", "a.2", "b.2"]);
        assert_eq!(merged["_meta"]["mosaic"]["unavailable"]["d"], "refused");
        let next = cursors(merged["nextCursor"].as_str()).unwrap().unwrap();
        assert_eq!(next, BTreeMap::from([("a".to_owned(), "x\"y".to_owned())]));
        let last = merge(
            vec![("a".into(), page(json!({"sessions": []})))],
            BTreeMap::new(),
        );
        assert_eq!(last.unwrap().get(), r#"{"sessions":[]}"#);
    }

    #[test]
    fn a_cursor_of_somebody_else_is_refused() {
        assert_eq!(cursors(None), Ok(None));
        for bad in ["", "abc", "[]", "{\"a\":1}"] {
            assert_eq!(cursors(Some(bad)).unwrap_err().code, code::INVALID_PARAMS);
        }
    }

    proptest! {
        #[test]
        fn no_page_panics_and_none_is_lost(times in proptest::collection::vec("[0-9TZ:+-]{0,25}", 0..6)) {
            let sessions: Vec<Value> = times.iter().map(|t| json!({"updatedAt": t})).collect();
            let merged = merge(vec![("a".into(), page(json!({"sessions": sessions})))], BTreeMap::new()).unwrap();
            let merged: Value = serde_json::from_str(merged.get()).unwrap();
            prop_assert_eq!(merged["sessions"].as_array().unwrap().len(), times.len());
        }
    }
}
