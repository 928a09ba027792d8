//! Names of sessions within messages: `NODE.NATIVE` towards clients, the node's own towards the node.
//! ACP carries them as `params.sessionId` both ways, and in results as `sessionId`, `session.sessionId`
//! and `sessions[].sessionId`. Nothing else is touched: what a tool says of sessions is its own.

use super::frame::{Bad, Id, Object, Params, Raw, code, raw};
use crate::gateway::ids;

const KEY: &str = "sessionId";

/// The session that parameters name.
///
/// # Errors
/// It is no string.
pub fn named(params: &Params) -> Result<Option<String>, Bad> {
    let Params::Named(object) = params else {
        return Ok(None);
    };
    match object.get(KEY) {
        None => Ok(None),
        Some(name) => match serde_json::from_str(name.get()) {
            Ok(name) => Ok(Some(name)),
            Err(_) => Err(Bad {
                code: code::INVALID_PARAMS,
                why: "params.sessionId must be a string".to_owned(),
                id: Id::Null,
            }),
        },
    }
}

/// Puts a session's name into parameters.
pub fn set(params: &mut Params, name: &str) {
    let Some(name) = raw(&name) else { return };
    match params {
        Params::Named(object) => {
            object.insert(KEY.to_owned(), name);
        }
        Params::None => *params = Params::Named(Object::from([(KEY.to_owned(), name)])),
        Params::Listed(_) => {}
    }
}

/// Renames the session in what a node says by itself; the new name.
pub fn outward(node: &str, params: &mut Params) -> Option<String> {
    let native = named(params).ok().flatten()?;
    let name = ids::join(node, &native)?;
    set(params, &name);
    Some(name)
}

/// Renames the sessions in a node's result.
pub fn result_outward(node: &str, result: Raw) -> Raw {
    if !result.get().contains(KEY) {
        return result;
    }
    let Ok(mut object) = serde_json::from_str::<Object>(result.get()) else {
        return result;
    };
    rename(node, &mut object);
    if let Some(one) = object.get("session")
        && let Ok(mut inner) = serde_json::from_str::<Object>(one.get())
    {
        rename(node, &mut inner);
        replace(&mut object, "session", &inner);
    }
    if let Some(list) = object.get("sessions")
        && let Ok(mut sessions) = serde_json::from_str::<Vec<Raw>>(list.get())
    {
        for session in &mut sessions {
            *session = session_outward(node, session);
        }
        replace(&mut object, "sessions", &sessions);
    }
    raw(&object).unwrap_or(result)
}

/// One entry of a list.
fn session_outward(node: &str, session: &Raw) -> Raw {
    let Ok(mut object) = serde_json::from_str::<Object>(session.get()) else {
        return session.clone();
    };
    rename(node, &mut object);
    raw(&object).unwrap_or_else(|| session.clone())
}

/// The session that a node has made, under the node's own name.
pub fn made(result: &Raw) -> Option<String> {
    let object: Object = serde_json::from_str(result.get()).ok()?;
    let name = |object: &Object| serde_json::from_str(object.get(KEY)?.get()).ok();
    name(&object).or_else(|| name(&serde_json::from_str(object.get("session")?.get()).ok()?))
}

fn rename(node: &str, object: &mut Object) {
    let native: Option<String> = object
        .get(KEY)
        .and_then(|name| serde_json::from_str(name.get()).ok());
    if let Some(name) = native.and_then(|native| ids::join(node, &native)) {
        replace(object, KEY, &name);
    }
}

fn replace(object: &mut Object, key: &str, value: &impl serde::Serialize) {
    if let Some(value) = raw(value) {
        object.insert(key.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::frame::Message;
    use super::*;
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    fn result(text: &str) -> String {
        result_outward("n0", RawValue::from_string(text.to_owned()).unwrap())
            .get()
            .to_owned()
    }

    #[test]
    fn results_are_renamed_where_acp_names_sessions() {
        for (before, after) in [
            (
                r#"{"sessionId":"1_2","modes":{"sessionId":"1_2"}}"#,
                r#"{"modes":{"sessionId":"1_2"},"sessionId":"n0.1_2"}"#,
            ),
            (
                r#"{"sessions":[{"sessionId":"a"},3,{"sessionId":"b","x":1.10}],"nextCursor":"c"}"#,
                r#"{"nextCursor":"c","sessions":[{"sessionId":"n0.a"},3,{"sessionId":"n0.b","x":1.10}]}"#,
            ),
            (
                r#"{"session":{"sessionId":"a"}}"#,
                r#"{"session":{"sessionId":"n0.a"}}"#,
            ),
            // What is none, or no name that a client could give back, stays.
            (r#"{"sessionId":7}"#, r#"{"sessionId":7}"#),
            (r#"{"sessionId":"a/b"}"#, r#"{"sessionId":"a/b"}"#),
            (r#"["sessionId"]"#, r#"["sessionId"]"#),
            (
                r#"{ "stopReason":"end_turn"}"#,
                r#"{ "stopReason":"end_turn"}"#,
            ),
        ] {
            assert_eq!(result(before), after);
        }
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        assert_eq!(made(&raw(r#"{"sessionId":"a"}"#)).as_deref(), Some("a"));
        assert_eq!(
            made(&raw(r#"{"session":{"sessionId":"a"}}"#)).as_deref(),
            Some("a")
        );
        assert_eq!(made(&raw(r#"{"session":null}"#)), None);
    }

    proptest! {
        #[test]
        fn names_round_trip_and_the_rest_stays(
            node in "[a-z0-9][a-z0-9-]{0,9}",
            native in "[A-Za-z0-9._-]{1,20}",
            other in "[a-z]{1,8}",
        ) {
            let text = format!(
                r#"{{"method":"session/update","params":{{"sessionId":"{native}","update":{{"{other}":"sessionId"}}}}}}"#
            );
            let Message::Notification { mut params, .. } = Message::read(&text).unwrap() else {
                panic!("no notification");
            };
            let before = params.text();
            let name = outward(&node, &mut params).unwrap();
            prop_assert_eq!(named(&params).unwrap().unwrap(), name.clone());
            let (to, own) = ids::split(&name).unwrap();
            prop_assert_eq!((to, own), (node.as_str(), native.as_str()));
            let own = own.to_owned();
            set(&mut params, &own);
            prop_assert_eq!(params.text(), before);
        }

        #[test]
        fn no_result_panics(text in "[\\[\\]{}\":,a-zA-Z0-9]{0,40}") {
            if let Ok(raw) = RawValue::from_string(text) {
                let _ = result_outward("n", raw.clone());
                let _ = made(&raw);
            }
        }
    }
}
