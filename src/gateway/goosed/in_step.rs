//! A node that comes to the others, or comes back: before its first chat it gets the settings that all others
//! have and it has not. Clients write them to the nodes that are there; one that is added later would answer
//! otherwise than they do.
//!
//! Its own settings it keeps, for they may be meant. Keys and other secrets are no node's to tell: they come
//! by `/config/upsert`, which reaches all, or with the node's environment.

use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::{Map, Value};

use super::config::{PROVIDER, Setting, all, put_back, values};
use super::{any, awake};
use crate::gateway::Gateway;
use crate::gateway::nodes::Live;
use crate::routing::node::Dialect;

/// Each of its entries is a setting by itself.
const EXTENSIONS: &str = "extensions";

/// Gives a node what it lacks.
///
/// # Errors
/// Why it cannot; the chat's first message may say the same.
pub async fn in_step(gateway: &Gateway, live: &Arc<Live>) -> Result<(), String> {
    let process = awake::process(live).await;
    if let Some(process) = process
        && !gateway.goosed.awake.is_in_step(live, &process)
    {
        settings(gateway, live).await?;
        gateway.goosed.awake.in_step(live, &process);
    }
    provider(gateway, live).await
}

/// Those that are goosed, too, and well.
fn others(gateway: &Gateway, live: &Live) -> Vec<Arc<Live>> {
    let mut others = gateway.nodes.speaking(Dialect::Goosed);
    others.retain(|other| other.node.id != live.node.id && any::is_well(other));
    others
}

/// The settings that all others have alike.
async fn settings(gateway: &Gateway, live: &Arc<Live>) -> Result<(), String> {
    let others = others(gateway, live);
    if others.is_empty() {
        return Ok(());
    }
    // Settings that are being written would be on some nodes and not yet on others.
    let _alone = gateway.goosed.writing.lock().await;
    let own = all(gateway, live).await?;
    let theirs = join_all(others.iter().map(|other| all(gateway, other))).await;
    let theirs: Vec<Map<String, Value>> = theirs.into_iter().collect::<Result<_, _>>()?;
    let lacking = lacking(&own, &theirs);
    if lacking.is_empty() {
        return Ok(());
    }
    let keys: Vec<&str> = lacking.iter().map(|(key, _)| key.as_str()).collect();
    tracing::info!(node = live.node.id, "settings copied: {}", keys.join(", "));
    put_back(gateway, live, Some(&lacking), false).await
}

/// What all others have alike, and this one has not.
fn lacking(own: &Map<String, Value>, others: &[Map<String, Value>]) -> Vec<Setting> {
    let Some((first, rest)) = others.split_first() else {
        return Vec::new();
    };
    let mut lacking = Vec::new();
    for (key, value) in first {
        // A model belongs to its provider.
        if value.is_null() || PROVIDER.contains(&key.as_str()) {
            continue;
        }
        let theirs: Vec<Option<&Value>> = rest.iter().map(|other| other.get(key)).collect();
        match (own.get(key), value) {
            (None | Some(Value::Null), _) if theirs.iter().all(|v| *v == Some(value)) => {
                lacking.push((key.clone(), value.clone()));
            }
            (Some(Value::Object(mine)), Value::Object(entries)) if key == EXTENSIONS => {
                let all_have = |name: &String, entry: &Value| {
                    theirs
                        .iter()
                        .all(|v| v.and_then(|v| v.get(name)) == Some(entry))
                };
                let mut more = mine.clone();
                for (name, entry) in entries {
                    if !mine.contains_key(name) && all_have(name, entry) {
                        more.insert(name.clone(), entry.clone());
                    }
                }
                if more.len() > mine.len() {
                    lacking.push((key.clone(), Value::Object(more)));
                }
            }
            _ => {}
        }
    }
    lacking
}

/// Gives a node that has no provider that of the first other one that has: every chat on it would fail.
async fn provider(gateway: &Gateway, live: &Arc<Live>) -> Result<(), String> {
    let provider = PROVIDER.map(str::to_owned);
    let of = async |live: &Arc<Live>| {
        let read = values(gateway, live, &provider).await;
        read.map_err(|reply| reply.message)
    };
    let has = |settings: &[Setting]| {
        settings
            .iter()
            .any(|(_, v)| v.as_str().is_some_and(|v| !v.is_empty()))
    };
    if has(&of(live).await?) {
        return Ok(());
    }
    // Settings that are being written may hold another provider, and whoever writes them may have read
    // already what is put back when they fail.
    let _alone = gateway.goosed.writing.lock().await;
    if has(&of(live).await?) {
        return Ok(());
    }
    for other in others(gateway, live) {
        let Ok(settings) = of(&other).await else {
            continue;
        };
        if has(&settings) {
            tracing::info!(node = live.node.id, from = other.node.id, "provider copied");
            return put_back(gateway, live, Some(&settings), false).await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn what_all_others_have_alike_is_lacking() {
        let map = |value: Value| value.as_object().unwrap().clone();
        let own = map(json!({"MINE": 1, "BOTH": "mine", "extensions": {"a": {"on": false}}}));
        let one = map(json!({
            "NEW": {"x": 1}, "BOTH": "theirs", "ONE": 1, "UNLIKE": 1, "NULL": null,
            "GOOSE_PROVIDER": "p", "GOOSE_MODEL": "m",
            "extensions": {"a": {"on": true}, "b": {"on": true}, "c": {"on": true}},
        }));
        let other = map(json!({
            "NEW": {"x": 1}, "BOTH": "theirs", "UNLIKE": 2, "NULL": null,
            "GOOSE_PROVIDER": "p", "GOOSE_MODEL": "m",
            "extensions": {"b": {"on": true}, "c": {"on": false}},
        }));
        let want = vec![
            ("NEW".to_owned(), json!({"x": 1})),
            (
                "extensions".to_owned(),
                json!({"a": {"on": false}, "b": {"on": true}}),
            ),
        ];
        let mut got = lacking(&own, &[one.clone(), other]);
        got.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(got, want);
        assert!(
            lacking(&one, std::slice::from_ref(&own))
                .iter()
                .any(|(key, _)| key == "MINE")
        );
        assert!(lacking(&own, &[]).is_empty());
    }
}
