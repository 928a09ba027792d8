//! What comes in: JSON bodies of a bounded size, ids of messages, and errors in the gateway's own words.

use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::gateway::reply::Reply;

/// Longest body: far beyond what any agent takes by its prompt.
pub const MOST: usize = 4 * 1024 * 1024;

/// The header that names a message.
const KEY: &str = "idempotency-key";

/// A JSON body; an empty one counts as `{}`.
#[derive(Debug)]
pub struct Given<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Given<T> {
    type Rejection = Reply;

    async fn from_request(request: Request, state: &S) -> Result<Self, Reply> {
        let bytes = bytes(request, state).await?;
        read(&bytes)
            .map(Self)
            .map_err(|e| Reply::bad(format!("the body is not as it should be: {e}")))
    }
}

/// A whole body.
///
/// # Errors
/// 413: it is too long. 400: it broke off.
pub async fn bytes<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Reply> {
    Bytes::from_request(request, state).await.map_err(|e| {
        let why = e.body_text();
        match e.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Reply::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the body is longer than {MOST} bytes"),
            ),
            status => Reply::new(status, format!("the body cannot be read: {why}")),
        }
    })
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    match bytes.trim_ascii() {
        [] => serde_json::from_slice(b"{}"),
        // serde would take a list for an object whose keys may all be left out.
        [b'{', ..] => serde_json::from_slice(bytes),
        _ => Err(serde::de::Error::custom("a JSON object is wanted")),
    }
}

/// The id of a message: in its body, or in the header, which may put it in quotes.
///
/// # Errors
/// 400: both, and they differ; or it is no text.
pub fn id_of(headers: &HeaderMap, given: Option<String>) -> Result<Option<String>, Reply> {
    let Some(value) = headers.get(KEY) else {
        return Ok(given);
    };
    let text = value
        .to_str()
        .map_err(|_| Reply::bad("`Idempotency-Key` is no plain text"))?
        .trim();
    let text = text
        .strip_prefix('"')
        .and_then(|t| t.strip_suffix('"'))
        .unwrap_or(text)
        .to_owned();
    match given {
        Some(id) if id != text => Err(Reply::bad(format!(
            "the message is called `{id}` in its body and `{text}` in `Idempotency-Key`"
        ))),
        _ => Ok(Some(text)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::gateway::chats::wire::{Begin, Say};

    #[test]
    fn a_message_has_one_id() {
        let mut headers = HeaderMap::new();
        let id = |headers: &HeaderMap, given: Option<&str>| {
            id_of(headers, given.map(str::to_owned)).map_err(|r| r.status.as_u16())
        };
        assert_eq!(id(&headers, None), Ok(None));
        assert_eq!(id(&headers, Some("a")), Ok(Some("a".to_owned())));
        headers.insert(KEY, "\"a b\"".parse().unwrap());
        assert_eq!(id(&headers, None), Ok(Some("a b".to_owned())));
        assert_eq!(id(&headers, Some("a b")), Ok(Some("a b".to_owned())));
        assert_eq!(id(&headers, Some("c")), Err(400));
        headers.insert(KEY, axum::http::HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(id(&headers, None), Err(400));
    }

    #[test]
    fn an_empty_body_asks_for_nothing_special_and_an_unknown_key_is_told() {
        assert!(read::<Begin>(b" \n").unwrap().chat.is_none());
        assert!(read::<Say>(b"").is_err());
        let said = read::<Say>(br#"{"text":"x","untill":"queued"}"#).unwrap_err();
        assert!(said.to_string().contains("untill"), "{said}");
    }
}
