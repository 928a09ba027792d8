//! A node that comes to the others, or comes back: before its first chat it gets the settings that all others
//! have and it has not. Clients write them to the nodes that are there; one that is added later would answer
//! otherwise than they do.
//!
//! Its own settings it keeps, for they may be meant. Keys and other secrets are no node's to tell: they come
//! by `/config/upsert`, which reaches all, or with the node's environment.
//!
//! A new chat waits for this, so it is done as far as that goes within seconds: another node that does not tell
//! its settings is left out, and is not asked again for a while.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Map, Value};
use tokio::sync::MutexGuard;

use super::any;
use super::config::{PROVIDER, Setting, all, values, write};
use super::process::{self, Known};
use crate::gateway::nodes::Live;
use crate::gateway::{Gateway, lock};
use crate::routing::node::Dialect;

/// Each of its entries is a setting by itself.
const EXTENSIONS: &str = "extensions";

/// How long another node may take to tell its settings.
const SOON: Duration = Duration::from_secs(3);

/// How long settings that others write are waited for: longer than they wait for a node that hangs.
const TURN: Duration = Duration::from_secs(8);

/// How long a node that did not is left out.
const LEFT_OUT: Duration = Duration::from_secs(30);

/// What was found out of the nodes' settings.
#[derive(Debug, Default)]
pub struct Compared {
    /// Processes whose settings were compared with those of others.
    processes: Known<bool>,
    /// Nodes that did not tell theirs, and when.
    silent: Mutex<BTreeMap<String, Instant>>,
}

impl Compared {
    fn is_silent(&self, live: &Live) -> bool {
        let since = lock(&self.silent).get(&live.node.id).copied();
        since.is_some_and(|since| since.elapsed() < LEFT_OUT)
    }

    /// What another node tells, if it does so soon.
    async fn told<T>(
        &self,
        live: &Live,
        asked: impl Future<Output = Result<T, String>>,
    ) -> Option<T> {
        let why = match tokio::time::timeout(SOON, asked).await {
            Ok(Ok(told)) => return Some(told),
            Ok(Err(why)) => why,
            Err(_) => format!("nothing within {} s", SOON.as_secs()),
        };
        tracing::warn!(node = live.node.id, "left out, it tells no settings: {why}");
        lock(&self.silent).insert(live.node.id.clone(), Instant::now());
        None
    }
}

/// Gives a node what it lacks. What cannot be done is said in the log: the chat's first message may say the same.
pub async fn bring(gateway: &Gateway, live: &Arc<Live>) {
    if let Some(process) = process::name(live).await
        && let Err(why) = settings(gateway, live, &process).await
    {
        tracing::warn!(node = live.node.id, "{why}");
    }
    if let Err(why) = provider(gateway, live).await {
        tracing::warn!(node = live.node.id, "{why}");
    }
}

/// Those that are goosed, too, and well, and tell their settings.
fn others(gateway: &Gateway, live: &Live) -> Vec<Arc<Live>> {
    let mut others = gateway.nodes.speaking(Dialect::Goosed);
    others.retain(|other| {
        let another = other.node.id != live.node.id;
        another && any::is_well(other) && !gateway.goosed.compared.is_silent(other)
    });
    others
}

/// Settings that are being written are on some nodes and not yet on others, and whoever writes them may have read
/// already what is put back when they fail.
async fn alone(gateway: &Gateway) -> Result<MutexGuard<'_, ()>, String> {
    let alone = tokio::time::timeout(TURN, gateway.goosed.writing.lock()).await;
    alone.map_err(|_| format!("settings are being written since {} s", TURN.as_secs()))
}

/// The settings that all others have alike: once for each process, and only where there is somebody to compare
/// it with.
async fn settings(gateway: &Gateway, live: &Arc<Live>, process: &str) -> Result<(), String> {
    let compared = &gateway.goosed.compared;
    let done = || compared.processes.with(live, process, |done| *done);
    if done() || others(gateway, live).is_empty() {
        return Ok(());
    }
    let _alone = alone(gateway).await?;
    // Who had the turn before may have done it, or found that somebody hangs.
    if done() {
        return Ok(());
    }
    let others = others(gateway, live);
    let asked = others
        .iter()
        .map(|other| compared.told(other, all(gateway, other)));
    let theirs: Vec<_> = join_all(asked).await.into_iter().flatten().collect();
    if theirs.is_empty() {
        return Ok(());
    }
    let own = all(gateway, live).await?;
    let lacking = lacking(&own, &theirs);
    if !lacking.is_empty() {
        let keys: Vec<&str> = lacking.iter().map(|(key, _)| key.as_str()).collect();
        tracing::info!(node = live.node.id, "settings copied: {}", keys.join(", "));
        write(gateway, live, &lacking).await?;
    }
    compared.processes.with(live, process, |done| *done = true);
    Ok(())
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
    let keys = PROVIDER.map(str::to_owned);
    if has_provider(&values(gateway, live, &keys).await?) {
        return Ok(());
    }
    if others(gateway, live).is_empty() {
        return Ok(());
    }
    let _alone = alone(gateway).await?;
    if has_provider(&values(gateway, live, &keys).await?) {
        return Ok(());
    }
    for other in others(gateway, live) {
        let asked = values(gateway, &other, &keys);
        let Some(settings) = gateway.goosed.compared.told(&other, asked).await else {
            continue;
        };
        if has_provider(&settings) {
            tracing::info!(node = live.node.id, from = other.node.id, "provider copied");
            return write(gateway, live, &settings).await;
        }
    }
    Ok(())
}

/// A model alone is none.
fn has_provider(settings: &[Setting]) -> bool {
    settings
        .iter()
        .any(|(key, value)| key == PROVIDER[0] && value.as_str().is_some_and(|v| !v.is_empty()))
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
