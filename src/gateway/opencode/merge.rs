//! One list out of those of several nodes, as one server would give it. Pure.
//!
//! Nodes of one account share opencode's database, and then all of them list the same sessions: each is
//! taken once.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::routes::List;

/// Sessions in a list where the client sets no limit, as opencode has it.
const LIMIT: usize = 100;

/// What one node has.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Its answer.
    pub value: Value,
    /// It has more: a cursor came in a header.
    pub more: bool,
}

/// What the client said about the list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Most entries.
    pub limit: Option<usize>,
    /// `asc` or `desc`.
    pub order: Option<String>,
    /// Where a page begins.
    pub cursor: Option<String>,
}

/// One list.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    /// As a node would answer.
    pub value: Value,
    /// The cursor for a header.
    pub cursor: Option<i64>,
}

/// Makes one of several. What is not of the expected form is left out.
pub fn merge(list: List, parts: Vec<Part>, wanted: &Wanted) -> Merged {
    let more = parts.iter().any(|p| p.more);
    let values: Vec<Value> = parts.into_iter().map(|p| p.value).collect();
    match list {
        List::Sessions => plain(newest_first(values, wanted).0),
        List::AllSessions => {
            let (value, cut) = newest_first(values, wanted);
            let cursor = (more || cut)
                .then(|| Some(time(value.as_array()?.last()?, "updated")))
                .flatten();
            Merged { value, cursor }
        }
        List::PagedSessions => plain(page(values, wanted)),
        List::Status => plain(objects(values)),
        List::StatusData => plain(within_data(values, objects)),
        List::Array => plain(arrays(values)),
        List::ArrayData => plain(within_data(values, arrays)),
    }
}

/// The ids of what is listed: requests that are open, terminals.
pub fn ids(value: &Value) -> Vec<&str> {
    let list = value.as_array().or_else(|| value["data"].as_array());
    list.into_iter()
        .flatten()
        .filter_map(|entry| entry["id"].as_str())
        .collect()
}

fn plain(value: Value) -> Merged {
    Merged {
        value,
        cursor: None,
    }
}

fn newest_first(values: Vec<Value>, wanted: &Wanted) -> (Value, bool) {
    let mut all = entries(values);
    all.sort_by_cached_key(|s| Reverse((time(s, "updated"), id(s))));
    let limit = wanted.limit.unwrap_or(LIMIT);
    let cut = all.len() > limit;
    all.truncate(limit);
    (Value::Array(all), cut)
}

fn page(values: Vec<Value>, wanted: &Wanted) -> Value {
    let asked = wanted.cursor.as_deref().and_then(read_cursor);
    let said = |key: &str| asked.as_ref().and_then(|c| c[key].as_str());
    let order = said("order").or(wanted.order.as_deref());
    let backwards = asked
        .as_ref()
        .is_some_and(|c| c["anchor"]["direction"] == "previous");
    // A page is as long as the longest of a node's.
    let longest = values
        .iter()
        .filter_map(|v| v["data"].as_array().map(Vec::len))
        .max()
        .unwrap_or(0);
    let cursors: Vec<Value> = values.iter().map(|v| v["cursor"].clone()).collect();
    let lists = values.into_iter().map(data).collect();
    let mut all = entries(lists);
    all.sort_by_cached_key(|s| (time(s, "created"), id(s)));
    if order != Some("asc") {
        all.reverse();
    }
    let limit = wanted.limit.unwrap_or(longest);
    let surplus = all.len().saturating_sub(limit);
    // What is nearest to where the page begins stays.
    match backwards {
        true => drop(all.drain(..surplus)),
        false => all.truncate(limit),
    }
    let mut cursor = Map::new();
    for (name, session) in [("previous", all.first()), ("next", all.last())] {
        let like = cursors.iter().find_map(|c| c[name].as_str());
        let like = like.and_then(read_cursor);
        // Beside a list that was cut a cursor stands, whatever its nodes said.
        let like = like.or_else(|| {
            (surplus > 0).then(|| match order {
                Some(order) => json!({"order": order}),
                None => json!({}),
            })
        });
        if let (Some(like), Some(session)) = (like, session) {
            cursor.insert(name.to_owned(), write_cursor(like, session, name).into());
        }
    }
    json!({"data": all, "cursor": cursor})
}

/// A cursor is JSON in base64: filters, and the session next to which the page begins.
fn read_cursor(text: &str) -> Option<Value> {
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&bytes).ok().filter(Value::is_object)
}

fn write_cursor(mut like: Value, session: &Value, direction: &str) -> String {
    like["anchor"] = json!({
        "id": id(session),
        "time": time(session, "created"),
        "direction": direction,
    });
    URL_SAFE_NO_PAD.encode(like.to_string())
}

fn objects(values: Vec<Value>) -> Value {
    let mut all = Map::new();
    for value in values {
        if let Value::Object(entries) = value {
            for (key, value) in entries {
                all.entry(key).or_insert(value);
            }
        }
    }
    Value::Object(all)
}

fn arrays(values: Vec<Value>) -> Value {
    Value::Array(entries(values))
}

/// What stands beside `data` is the first node's.
fn within_data(values: Vec<Value>, merge: fn(Vec<Value>) -> Value) -> Value {
    let mut first = values
        .iter()
        .find(|v| v.is_object())
        .cloned()
        .unwrap_or_else(|| json!({}));
    first["data"] = merge(values.into_iter().map(data).collect());
    first
}

fn data(mut value: Value) -> Value {
    value.get_mut("data").map(Value::take).unwrap_or_default()
}

/// The entries of all arrays, each id once; what has no id is kept.
fn entries(values: Vec<Value>) -> Vec<Value> {
    let mut seen = BTreeSet::new();
    let all = values.into_iter().filter_map(|v| match v {
        Value::Array(entries) => Some(entries),
        _ => None,
    });
    all.flatten()
        .filter(|entry| match entry["id"].as_str() {
            Some(id) => seen.insert(id.to_owned()),
            None => true,
        })
        .collect()
}

fn id(session: &Value) -> String {
    session["id"].as_str().unwrap_or_default().to_owned()
}

fn time(session: &Value, which: &str) -> i64 {
    session["time"][which].as_i64().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn session(id: &str, created: i64, updated: i64) -> Value {
        json!({"id": id, "time": {"created": created, "updated": updated}})
    }

    fn parts(values: Vec<Value>) -> Vec<Part> {
        values
            .into_iter()
            .map(|value| Part { value, more: false })
            .collect()
    }

    fn listed(value: &Value) -> Vec<&str> {
        ids(value)
    }

    #[test]
    fn sessions_are_in_one_order_and_each_once() {
        let two = parts(vec![
            json!([session("ses_c", 3, 9), session("ses_a", 1, 4)]),
            json!([session("ses_b", 2, 5), session("ses_a", 1, 4)]),
        ]);
        let all = merge(List::Sessions, two.clone(), &Wanted::default());
        assert_eq!(listed(&all.value), ["ses_c", "ses_b", "ses_a"]);
        let limit = Wanted {
            limit: Some(2),
            ..Wanted::default()
        };
        let cut = merge(List::AllSessions, two.clone(), &limit);
        assert_eq!(listed(&cut.value), ["ses_c", "ses_b"]);
        assert_eq!(cut.cursor, Some(5));
        let whole = merge(List::AllSessions, two, &Wanted::default());
        assert_eq!(whole.cursor, None);
    }

    #[test]
    fn a_page_goes_on_where_it_ended() {
        let nodes = [
            vec![
                session("ses_f", 6, 6),
                session("ses_d", 4, 4),
                session("ses_a", 1, 1),
            ],
            vec![
                session("ses_e", 5, 5),
                session("ses_c", 3, 3),
                session("ses_b", 2, 2),
            ],
        ];
        // As opencode does it: newest first, from the anchor on.
        let ask = |wanted: &Wanted| {
            let anchor = wanted.cursor.as_deref().and_then(read_cursor);
            let back = anchor
                .as_ref()
                .is_some_and(|c| c["anchor"]["direction"] == "previous");
            let at = anchor.map(|c| c["anchor"]["time"].as_i64().unwrap());
            let answers = nodes.iter().map(|all| {
                let mut page: Vec<Value> = all
                    .iter()
                    .filter(|s| match (at, back) {
                        (None, _) => true,
                        (Some(at), false) => time(s, "created") < at,
                        (Some(at), true) => time(s, "created") > at,
                    })
                    .cloned()
                    .collect();
                let surplus = page.len().saturating_sub(2);
                if back {
                    drop(page.drain(..surplus))
                } else {
                    page.truncate(2)
                }
                let mut cursor = Map::new();
                if let (Some(first), Some(last)) = (page.first(), page.last()) {
                    cursor.insert(
                        "previous".into(),
                        write_cursor(json!({}), first, "previous").into(),
                    );
                    cursor.insert("next".into(), write_cursor(json!({}), last, "next").into());
                }
                json!({"data": page, "cursor": cursor})
            });
            merge(List::PagedSessions, parts(answers.collect()), wanted).value
        };
        let mut wanted = Wanted {
            limit: Some(2),
            ..Wanted::default()
        };
        for want in [["ses_f", "ses_e"], ["ses_d", "ses_c"], ["ses_b", "ses_a"]] {
            let page = ask(&wanted);
            assert_eq!(listed(&page), want);
            wanted.cursor = page["cursor"]["next"].as_str().map(str::to_owned);
        }
        let end = ask(&wanted);
        assert_eq!(end, json!({"data": [], "cursor": {}}));
        // And back again.
        let last = write_cursor(json!({}), &session("ses_b", 2, 2), "previous");
        wanted.cursor = Some(last);
        assert_eq!(listed(&ask(&wanted)), ["ses_d", "ses_c"]);
    }

    #[test]
    fn a_cursor_keeps_what_else_it_says() {
        let like = json!({"order": "asc", "anchor": {"id": "x", "time": 1, "direction": "next"}});
        let own = write_cursor(like, &session("ses_a", 7, 9), "next");
        let value = json!({"data": [session("ses_a", 7, 9)], "cursor": {"next": own}});
        let page = merge(
            List::PagedSessions,
            parts(vec![value.clone()]),
            &Wanted::default(),
        );
        assert_eq!(page.value, value);
    }

    #[test]
    fn objects_and_lists_are_joined() {
        let status = parts(vec![
            json!({"ses_a": {"type": "busy"}}),
            json!({"ses_b": {"type": "busy"}}),
        ]);
        assert_eq!(
            merge(List::Status, status, &Wanted::default()).value,
            json!({"ses_a": {"type": "busy"}, "ses_b": {"type": "busy"}})
        );
        let open = parts(vec![
            json!([{"id": "per_1"}]),
            json!([]),
            json!([{"id": "per_2"}]),
        ]);
        let open = merge(List::Array, open, &Wanted::default()).value;
        assert_eq!(ids(&open), ["per_1", "per_2"]);
        let data = parts(vec![
            json!({"location": {"directory": "/a"}, "data": [{"id": "pty_1"}]}),
            json!({"location": {"directory": "/b"}, "data": [{"id": "pty_2"}]}),
        ]);
        assert_eq!(
            merge(List::ArrayData, data, &Wanted::default()).value,
            json!({"location": {"directory": "/a"}, "data": [{"id": "pty_1"}, {"id": "pty_2"}]})
        );
        let active = parts(vec![json!({"data": {"ses_a": {}}}), json!({"data": {}})]);
        assert_eq!(
            merge(List::StatusData, active, &Wanted::default()).value,
            json!({"data": {"ses_a": {}}})
        );
        // What is no list is left out, and nothing breaks.
        let odd = parts(vec![
            json!({"message": "?"}),
            json!([{"id": "per_1"}]),
            Value::Null,
        ]);
        assert_eq!(
            merge(List::Array, odd, &Wanted::default()).value,
            json!([{"id": "per_1"}])
        );
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            "[a-z_]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            let keys = prop_oneof![
                Just("id"),
                Just("data"),
                Just("time"),
                Just("cursor"),
                Just("next"),
                Just("anchor"),
            ];
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                proptest::collection::btree_map(keys, inner, 0..4).prop_map(|m| {
                    m.into_iter()
                        .map(|(k, v)| (k.to_owned(), v))
                        .collect::<Map<_, _>>()
                        .into()
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn nothing_that_nodes_answer_makes_it_panic(
            values in proptest::collection::vec(any_json(), 0..4),
            cursor in proptest::option::of("[A-Za-z0-9_=-]{0,20}"),
        ) {
            let wanted = Wanted { limit: Some(2), order: None, cursor };
            for list in [
                List::Sessions, List::AllSessions, List::PagedSessions, List::Status,
                List::StatusData, List::Array, List::ArrayData,
            ] {
                let _ = merge(list, parts(values.clone()), &wanted);
            }
        }

        #[test]
        fn the_order_of_nodes_does_not_matter(
            times in proptest::collection::vec((0..20i64, 0..3usize), 0..12),
        ) {
            let mut lists = vec![Vec::new(), Vec::new(), Vec::new()];
            for (n, (at, node)) in times.iter().enumerate() {
                lists[*node].push(session(&format!("ses_{n}"), *at, *at));
            }
            let there: Vec<Value> = lists.iter().cloned().map(Value::Array).collect();
            let back: Vec<Value> = lists.into_iter().rev().map(Value::Array).collect();
            prop_assert_eq!(
                merge(List::Sessions, parts(there), &Wanted::default()),
                merge(List::Sessions, parts(back), &Wanted::default())
            );
        }
    }
}
