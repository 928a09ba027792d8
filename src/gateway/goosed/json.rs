//! Finds strings in JSON without building it, and replaces them where they are.
//!
//! Why not read it, change it and write it: a history of megabytes would be built as a tree and written
//! anew, and would come out otherwise than it was (order of keys, digits of numbers, keys that are there
//! twice). Like this every byte but those of the names is as the other side wrote it.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use axum::body::Bytes;
use serde::de::{self, Deserializer as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A step into JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The value of a key, every time the key is there.
    Key(&'static str),
    /// Each item of a list.
    Each,
}

/// A value and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    /// As it is written.
    pub text: &'a str,
    /// Its first byte.
    pub at: usize,
}

impl Found<'_> {
    /// Where it is.
    pub const fn span(&self) -> Range<usize> {
        self.at..self.at + self.text.len()
    }

    /// Its characters, where it is a string.
    pub fn string(&self) -> Option<String> {
        serde_json::from_str(self.text).ok()
    }
}

/// The values at the end of a path, in their order. Where the path leads nowhere there are none.
///
/// # Errors
/// The text is no JSON, as far as it was read.
pub fn find<'a>(text: &'a str, path: &[Step]) -> Result<Vec<Found<'a>>, serde_json::Error> {
    let mut found = vec![Found { text, at: 0 }];
    for step in path {
        let mut next = Vec::new();
        for value in found {
            let inner = match step {
                Step::Key(key) => fields(value.text, &[*key])?
                    .into_iter()
                    .map(|f| f.1)
                    .collect(),
                Step::Each => items(value.text)?,
            };
            next.extend(inner.into_iter().map(|f| Found {
                at: f.at + value.at,
                ..f
            }));
        }
        found = next;
    }
    Ok(found)
}

/// The values of some keys of an object, with their keys; none where it is no object.
///
/// # Errors
/// The text is no JSON.
pub fn fields<'a>(
    text: &'a str,
    keys: &[&'static str],
) -> Result<Vec<(&'static str, Found<'a>)>, serde_json::Error> {
    if !text.trim_start().starts_with('{') {
        return Ok(Vec::new());
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let found = reader.deserialize_map(Fields(keys))?;
    reader.end()?;
    Ok(found
        .into_iter()
        .map(|(key, raw)| (key, within(text, raw.get())))
        .collect())
}

/// The items of a list; none where it is no list.
///
/// # Errors
/// The text is no JSON.
pub fn items(text: &str) -> Result<Vec<Found<'_>>, serde_json::Error> {
    if !text.trim_start().starts_with('[') {
        return Ok(Vec::new());
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let found = reader.deserialize_seq(Items)?;
    reader.end()?;
    Ok(found.into_iter().map(|r| within(text, r.get())).collect())
}

/// A part of a text, with where in it it is.
fn within<'a>(text: &str, part: &'a str) -> Found<'a> {
    Found {
        text: part,
        at: (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize),
    }
}

struct Fields<'k>(&'k [&'static str]);

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = Vec<(&'static str, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        #[derive(serde::Deserialize)]
        struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
        let mut found = Vec::new();
        while let Some(Name(name)) = map.next_key()? {
            match self.0.iter().find(|key| **key == name) {
                Some(key) => found.push((*key, map.next_value()?)),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

struct Items;

impl<'de> Visitor<'de> for Items {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::new();
        while let Some(item) = list.next_element()? {
            found.push(item);
        }
        Ok(found)
    }
}

/// One replacement.
pub type Edit = (Range<usize>, String);

/// The text as a JSON string.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A text with parts replaced, as pieces: those that stay are not copied. Edits that overlap one before
/// them, or lie outside, are left out.
pub fn spliced(text: &Bytes, mut edits: Vec<Edit>) -> Vec<Bytes> {
    edits.sort_by_key(|(span, _)| span.start);
    let mut pieces = Vec::with_capacity(edits.len() * 2 + 1);
    let mut at = 0;
    for (span, new) in edits {
        if span.start < at || span.end < span.start || span.end > text.len() {
            continue;
        }
        pieces.push(text.slice(at..span.start));
        pieces.push(new.into());
        at = span.end;
    }
    pieces.push(text.slice(at..));
    pieces
}

/// For errors where the bytes are not even text.
pub fn text(bytes: &[u8]) -> Result<&str, serde_json::Error> {
    std::str::from_utf8(bytes).map_err(de::Error::custom)
}
