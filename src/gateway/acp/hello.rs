//! What several nodes say of themselves in their answers to `initialize`, as one: pure. A client is told what
//! all of them can do, for it does not know on which of them a session will be.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::frame::{Raw, raw};

/// What was agreed on.
const VERSION: &str = "protocolVersion";

/// What an agent can do.
const ABLE: &str = "agentCapabilities";

/// Who it is.
const INFO: &str = "agentInfo";

/// One answer out of those of all nodes. Where all say the same, that, byte for byte.
pub fn merged(hellos: &[Raw]) -> Option<Raw> {
    let (first, others) = hellos.split_first()?;
    if others.iter().all(|other| other.get() == first.get()) {
        return Some(first.clone());
    }
    let all: Vec<Value> = hellos
        .iter()
        .map(|hello| serde_json::from_str(hello.get()).ok())
        .collect::<Option<_>>()?;
    let mut one = all
        .iter()
        .skip(1)
        .fold(all.first()?.clone(), |so_far, next| {
            common(&so_far, next).unwrap_or_else(|| json!({}))
        });
    let versions = all.iter().filter_map(|hello| hello[VERSION].as_u64());
    if let Some(lowest) = versions.min() {
        one[VERSION] = json!(lowest);
    }
    // A client may rely on its being there.
    if one.get(ABLE).is_none() {
        one[ABLE] = json!({});
    }
    one[INFO] = info(&all);
    raw(&one)
}

/// The version that was agreed on.
pub fn version(hello: &Raw) -> Option<u64> {
    let hello: BTreeMap<String, Raw> = serde_json::from_str(hello.get()).ok()?;
    serde_json::from_str(hello.get(VERSION)?.get()).ok()
}

/// Whether a node can do all that a client was told that its agent can do.
pub fn covers(told: &Raw, hello: &Raw) -> bool {
    if told.get() == hello.get() {
        return true;
    }
    let read = |raw: &Raw| serde_json::from_str::<Value>(raw.get()).unwrap_or_default();
    let (told, hello) = (read(told), read(hello));
    let version = |of: &Value| of[VERSION].as_u64().unwrap_or_default();
    version(&hello) >= version(&told) && has(&told[ABLE], &hello[ABLE])
}

/// What is said beside the matter, and is no promise.
const META: &str = "_meta";

/// Whether all that is promised in one is there in the other: each `true`, each object with what it
/// promises in turn, each item of a list. `false` and `null` promise as little as what is left out, and a
/// number or a text is no ability: it may be another one after an upgrade.
fn has(told: &Value, there: &Value) -> bool {
    match told {
        Value::Null | Value::Bool(false) | Value::Number(_) | Value::String(_) => true,
        _ if matches!(there, Value::Null | Value::Bool(false)) => false,
        Value::Object(told) => told
            .iter()
            .filter(|(key, _)| *key != META)
            .all(|(key, value)| has(value, there.get(key).unwrap_or(&Value::Null))),
        Value::Array(told) => told.iter().all(|item| {
            let there = there.as_array();
            there.is_some_and(|there| there.iter().any(|one| is_same(item, one)))
        }),
        Value::Bool(true) => true,
    }
}

/// What both have. `true` with `false` is `false`; of what is otherwise unlike there is nothing.
fn common(one: &Value, other: &Value) -> Option<Value> {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let both = one.iter().filter_map(|(key, value)| {
                let value = common(value, other.get(key)?)?;
                Some((key.clone(), value))
            });
            Some(Value::Object(both.collect::<Map<_, _>>()))
        }
        (Value::Array(one), Value::Array(other)) => {
            let has = |item: &&Value| other.iter().any(|there| is_same(item, there));
            Some(Value::Array(one.iter().filter(has).cloned().collect()))
        }
        (Value::Bool(one), Value::Bool(other)) => Some(Value::Bool(*one && *other)),
        (one, other) => (one == other).then(|| one.clone()),
    }
}

/// Items of lists that have an id, such as ways to authenticate, are known by it.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one.get("id"), other.get("id")) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

/// Who answers: what all are, in the lowest of their versions; where they are unlike, the gateway.
fn info(all: &[Value]) -> Value {
    let infos: Vec<&Value> = all.iter().map(|hello| &hello[INFO]).collect();
    let name = infos.first().and_then(|info| info["name"].as_str());
    let alike = infos.iter().all(|info| info["name"].as_str() == name);
    match (name, alike) {
        (Some(_), true) => {
            let lowest = infos
                .iter()
                .min_by_key(|info| ordered(info["version"].as_str().unwrap_or_default()));
            lowest.map_or(Value::Null, |info| (*info).clone())
        }
        _ => json!({"name": "mosaic", "version": env!("CARGO_PKG_VERSION")}),
    }
}

/// A version as what sorts.
fn ordered(version: &str) -> Vec<u64> {
    version
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|part| part.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn of(value: &Value) -> Raw {
        raw(value).unwrap()
    }

    fn one(hellos: &[Value]) -> Value {
        let hellos: Vec<Raw> = hellos.iter().map(of).collect();
        serde_json::from_str(merged(&hellos).unwrap().get()).unwrap()
    }

    #[test]
    fn a_client_is_told_what_all_nodes_can_do() {
        let new = json!({
            "protocolVersion": 2,
            "agentCapabilities": {
                "loadSession": true,
                "promptCapabilities": {"image": true, "audio": true},
                "sessionCapabilities": {"list": {}, "fork": {}},
                "future": {"x": 1},
            },
            "authMethods": [{"id": "a", "name": "new"}, {"id": "b"}],
            "agentInfo": {"name": "goose", "version": "1.60.0"},
            "_meta": {"only": "here"},
        });
        let old = json!({
            "protocolVersion": 1,
            "agentCapabilities": {
                "loadSession": true,
                "promptCapabilities": {"image": true, "audio": false},
                "sessionCapabilities": {"list": {}},
            },
            "authMethods": [{"id": "a", "name": "old"}],
            "agentInfo": {"name": "goose", "version": "1.7.1"},
        });
        let want = json!({
            "protocolVersion": 1,
            "agentCapabilities": {
                "loadSession": true,
                "promptCapabilities": {"image": true, "audio": false},
                "sessionCapabilities": {"list": {}},
            },
            "authMethods": [{"id": "a", "name": "new"}],
            "agentInfo": {"name": "goose", "version": "1.7.1"},
        });
        assert_eq!(one(&[new.clone(), old.clone()]), want);
        assert_eq!(version(&of(&want)), Some(1));
        let other = json!({"protocolVersion": 1, "agentInfo": {"name": "other", "version": "9"}});
        let mixed = one(&[old.clone(), other]);
        assert_eq!(mixed["agentInfo"]["name"], "mosaic");
        assert_eq!(mixed["agentCapabilities"], json!({}));
        // Both can do what the client was told.
        for node in [&new, &old] {
            assert!(covers(&of(&want), &of(node)), "{node}");
        }
        assert!(!covers(&of(&new), &of(&old)) && covers(&of(&old), &of(&new)));
    }

    #[test]
    fn what_is_promised_has_to_be_there_and_nothing_else() {
        let covers = |told: Value, there: Value| {
            let of = |able| of(&json!({"protocolVersion": 1, "agentCapabilities": able}));
            covers(&of(told), &of(there))
        };
        for (told, there) in [
            (json!({"audio": false, "x": null}), json!({})),
            (json!({}), json!({"audio": false})),
            (json!(null), json!({"audio": true})),
            (json!({"load": true}), json!({"load": {}})),
            (json!({"list": {}}), json!({"list": {"more": true}})),
            (json!({"list": {}}), json!({"list": true})),
            (json!({"most": 5, "of": "1.52"}), json!({"most": 9})),
            (
                json!({"a": {"_meta": {"b": true}}, "_meta": {"c": {}}}),
                json!({"a": {}}),
            ),
            (json!({"in": ["text"]}), json!({"in": ["image", "text"]})),
            (
                json!({"in": [{"id": 1, "x": true}]}),
                json!({"in": [{"id": 1}]}),
            ),
        ] {
            assert!(covers(told.clone(), there.clone()), "{told} {there}");
        }
        for (told, there) in [
            (json!({"load": true}), json!({"load": false})),
            (json!({"load": true}), json!({})),
            (json!({"list": {}}), json!({"list": null})),
            (json!({"list": {}}), json!({"list": false})),
            (json!({"list": {}}), json!(null)),
            (
                json!({"list": {"a": {"b": true}}}),
                json!({"list": {"a": {}}}),
            ),
            (json!({"in": ["text"]}), json!({"in": ["image"]})),
            (json!({"in": ["text"]}), json!({"in": true})),
        ] {
            assert!(!covers(told.clone(), there.clone()), "{told} {there}");
        }
    }

    #[test]
    fn one_answer_stays_as_it_came() {
        let text = r#"{ "protocolVersion":1 , "x":1.10 }"#;
        let hello: Raw = serde_json::from_str::<Raw>(text).unwrap();
        assert_eq!(merged(&[hello.clone(), hello]).unwrap().get(), text);
        assert!(merged(&[]).is_none());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (0u8..4).prop_map(Value::from),
            "[ab]".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::btree_map("[abc]|_meta|id", inner, 0..3)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_node_covers_what_is_told(able in proptest::collection::vec(any_json(), 1..4)) {
            let hellos: Vec<Raw> = able
                .iter()
                .enumerate()
                .map(|(n, able)| of(&json!({"protocolVersion": n, "agentCapabilities": {"x": able}})))
                .collect();
            let told = merged(&hellos).unwrap();
            for hello in &hellos {
                prop_assert!(covers(&told, hello), "{} {}", told, hello);
            }
        }
    }
}
