//! JSON-RPC 2.0 messages: what one is, from its text and back. Parameters, results and errors stay as they
//! came, byte for byte, but for their outermost names; what they mean is left to others.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

/// JSON as it came.
pub type Raw = Box<RawValue>;

/// An object whose values stay as they came.
pub type Object = BTreeMap<String, Raw>;

/// Codes of JSON-RPC itself.
pub mod code {
    /// The text is no JSON.
    pub const PARSE: i64 = -32700;
    /// It is JSON and no message.
    pub const INVALID_REQUEST: i64 = -32600;
    /// The parameters make no sense.
    pub const INVALID_PARAMS: i64 = -32602;
    /// The gateway's own fault.
    pub const INTERNAL: i64 = -32603;
}

/// Ties an answer to its request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Id {
    /// `null`: a request all the same, as the real server sees it.
    Null,
    /// A number, in the digits in which it came.
    Number(String),
    /// A string.
    Text(String),
}

impl Id {
    fn read(raw: &RawValue) -> Option<Self> {
        let text = raw.get();
        match text.as_bytes().first()? {
            b'n' => Some(Id::Null),
            b'"' => serde_json::from_str(text).ok().map(Id::Text),
            b'-' | b'0'..=b'9' => Some(Id::Number(text.to_owned())),
            _ => None,
        }
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Id::Null => to.serialize_unit(),
            Id::Text(text) => to.serialize_str(text),
            Id::Number(digits) => RawValue::from_string(digits.clone())
                .map_err(serde::ser::Error::custom)?
                .serialize(to),
        }
    }
}

/// What a method is told.
#[derive(Debug, Clone)]
pub enum Params {
    /// Nothing.
    None,
    /// By name, as all of ACP's are.
    Named(Object),
    /// By position.
    Listed(Raw),
}

impl Params {
    fn read(raw: &RawValue) -> Option<Self> {
        match raw.get().as_bytes().first()? {
            b'n' => Some(Params::None),
            b'{' => serde_json::from_str(raw.get()).ok().map(Params::Named),
            b'[' => Some(Params::Listed(raw.to_owned())),
            _ => None,
        }
    }

    /// From something of the gateway's own.
    pub fn of(value: &impl Serialize) -> Self {
        raw(value)
            .as_deref()
            .and_then(Self::read)
            .unwrap_or(Params::None)
    }

    /// One of them, where it is of that kind.
    pub fn get<'a, T: Deserialize<'a>>(&'a self, name: &str) -> Option<T> {
        match self {
            Params::Named(object) => serde_json::from_str(object.get(name)?.get()).ok(),
            _ => None,
        }
    }

    /// One of them that is the id of a request.
    pub fn id(&self, name: &str) -> Option<Id> {
        match self {
            Params::Named(object) => Id::read(object.get(name)?),
            _ => None,
        }
    }

    /// As text.
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Serialize for Params {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Params::None => to.serialize_unit(),
            Params::Named(object) => object.serialize(to),
            Params::Listed(raw) => raw.serialize(to),
        }
    }
}

/// How a request ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Well.
    Result(Raw),
    /// With an error object.
    Error(Raw),
}

/// One message.
#[derive(Debug, Clone)]
pub enum Message {
    /// Wants an answer.
    Request {
        /// Of whoever asks.
        id: Id,
        /// Of what.
        method: String,
        /// With what.
        params: Params,
    },
    /// Wants none.
    Notification {
        /// Of what.
        method: String,
        /// With what.
        params: Params,
    },
    /// An answer.
    Response {
        /// Of the request.
        id: Id,
        /// How it ended.
        outcome: Outcome,
    },
}

/// Why a text is no message, and whose it would have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    /// One of [`code`].
    pub code: i64,
    /// In words.
    pub why: String,
    /// Of the request that it would have been, where that can be told.
    pub id: Id,
}

#[derive(Serialize)]
struct Wire<'a> {
    jsonrpc: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<&'a Params>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a RawValue>,
}

impl Message {
    /// Reads one.
    ///
    /// # Errors
    /// It is none.
    pub fn read(text: &str) -> Result<Self, Bad> {
        let bad = |code, why: &str| Bad {
            code,
            why: why.to_owned(),
            id: Id::Null,
        };
        let whole: &RawValue =
            serde_json::from_str(text).map_err(|e| bad(code::PARSE, &format!("no JSON: {e}")))?;
        let invalid = |why: &str| bad(code::INVALID_REQUEST, why);
        if whole.get().as_bytes().first() != Some(&b'{') {
            return Err(invalid("a message is an object"));
        }
        let object: Object =
            serde_json::from_str(whole.get()).map_err(|e| invalid(&e.to_string()))?;
        let id = match object.get("id") {
            None => None,
            Some(raw) => {
                Some(Id::read(raw).ok_or_else(|| invalid("an id is a number, a string or null"))?)
            }
        };
        let Some(method) = object.get("method") else {
            let outcome = match (object.get("error"), object.get("result")) {
                (Some(error), _) if error.get() != "null" => Outcome::Error(error.clone()),
                (_, Some(result)) => Outcome::Result(result.clone()),
                _ => return Err(invalid("a message has a method, a result or an error")),
            };
            let id = id.ok_or_else(|| invalid("an answer has an id"))?;
            return Ok(Message::Response { id, outcome });
        };
        // From here on it is told by its id what was wrong.
        let invalid = |why: &str| Bad {
            id: id.clone().unwrap_or(Id::Null),
            ..invalid(why)
        };
        let method: String =
            serde_json::from_str(method.get()).map_err(|_| invalid("a method is a string"))?;
        let params = match object.get("params") {
            None => Params::None,
            Some(raw) => {
                Params::read(raw).ok_or_else(|| invalid("parameters are an object or a list"))?
            }
        };
        Ok(match id {
            Some(id) => Message::Request { id, method, params },
            None => Message::Notification { method, params },
        })
    }

    /// As text, in one line.
    pub fn text(&self) -> String {
        let mut wire = Wire {
            jsonrpc: "2.0",
            id: None,
            method: None,
            params: None,
            result: None,
            error: None,
        };
        let given = |params| match params {
            &Params::None => None,
            some => Some(some),
        };
        match self {
            Message::Request { id, method, params } => {
                wire.id = Some(id);
                wire.method = Some(method);
                wire.params = given(params);
            }
            Message::Notification { method, params } => {
                wire.method = Some(method);
                wire.params = given(params);
            }
            Message::Response { id, outcome } => {
                wire.id = Some(id);
                match outcome {
                    Outcome::Result(result) => wire.result = Some(result),
                    Outcome::Error(error) => wire.error = Some(error),
                }
            }
        }
        let text = serde_json::to_string(&wire).unwrap_or_default();
        // Within JSON a line break can only be between its parts.
        match text.contains(['\n', '\r']) {
            true => text.replace(['\n', '\r'], " "),
            false => text,
        }
    }
}

/// Something of the gateway's own as JSON.
pub fn raw(value: &impl Serialize) -> Option<Raw> {
    serde_json::value::to_raw_value(value).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_round_trip_with_their_ids_as_they_came() {
        for text in [
            r#"{"jsonrpc":"2.0","id":1,"method":"session/list","params":{"a":1.10,"b":[1e400]}}"#,
            r#"{"jsonrpc":"2.0","id":"x\ny","method":"m"}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"m","params":[1]}"#,
            r#"{"jsonrpc":"2.0","id":123456789012345678901234567890,"method":"m"}"#,
            r#"{"jsonrpc":"2.0","id":-1.50,"method":"m"}"#,
            r#"{"jsonrpc":"2.0","method":"session/update","params":{}}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":null}"#,
            r#"{"jsonrpc":"2.0","id":7,"error":{"code":-1,"message":"é"}}"#,
        ] {
            assert_eq!(Message::read(text).unwrap().text(), text);
        }
    }

    #[test]
    fn what_is_no_message_is_said() {
        for (text, code, why) in [
            ("", code::PARSE, "no JSON"),
            ("{", code::PARSE, "no JSON"),
            ("{} {}", code::PARSE, "no JSON"),
            ("[]", code::INVALID_REQUEST, "object"),
            ("3", code::INVALID_REQUEST, "object"),
            ("{}", code::INVALID_REQUEST, "a method, a result"),
            (r#"{"id":3}"#, code::INVALID_REQUEST, "a method, a result"),
            (r#"{"id":{},"method":"m"}"#, code::INVALID_REQUEST, "an id"),
            (
                r#"{"id":true,"method":"m"}"#,
                code::INVALID_REQUEST,
                "an id",
            ),
            (r#"{"method":3}"#, code::INVALID_REQUEST, "a string"),
            (
                r#"{"method":"m","params":3}"#,
                code::INVALID_REQUEST,
                "list",
            ),
            (r#"{"result":3}"#, code::INVALID_REQUEST, "has an id"),
        ] {
            let bad = Message::read(text).unwrap_err();
            assert_eq!(bad.code, code, "{text}");
            assert!(bad.why.contains(why), "{text}: {}", bad.why);
        }
    }

    #[test]
    fn what_is_wrong_with_a_request_is_told_by_its_id() {
        for (text, id) in [
            (r#"{"id":3,"method":"m","params":"x"}"#, "3"),
            (r#"{"id":"a","method":7}"#, "a"),
            (r#"{"method":7}"#, ""),
            (r#"{"id":{},"method":"m"}"#, ""),
        ] {
            let told = match Message::read(text).unwrap_err().id {
                Id::Null => String::new(),
                Id::Number(id) | Id::Text(id) => id,
            };
            assert_eq!(told, id, "{text}");
        }
    }

    #[test]
    fn a_message_over_several_lines_becomes_one() {
        let text = "{\r\n\"method\": \"m\",\n\"params\": {\"a\":\n1}}";
        let line = Message::read(text).unwrap().text();
        assert_eq!(line, r#"{"jsonrpc":"2.0","method":"m","params":{"a":1}}"#);
        let nested = Message::read("{\"method\":\"m\",\"params\":{\"a\":{\n\"b\":1}}}").unwrap();
        assert!(!nested.text().contains('\n'));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,80}") {
            let _ = Message::read(&text);
        }

        #[test]
        fn whatever_is_read_is_read_again(
            id in prop_oneof!["-?[0-9]{1,30}", "\"[a-z\\\\\\\\n]{0,9}\"", "null", "[0-9]\\.[0-9]"],
            rest in prop_oneof![
                Just(r#""method":"m""#), Just(r#""method":"m","params":{"sessionId":"a.b"}"#),
                Just(r#""result":{"x":[1,{}]}"#), Just(r#""error":{}"#), Just(r#""params":null,"method":"""#),
            ],
        ) {
            let text = format!("{{\"id\":{id},{rest}}}");
            if let Ok(message) = Message::read(&text) {
                let again = Message::read(&message.text()).unwrap();
                prop_assert_eq!(again.text(), message.text());
            }
        }
    }
}
