//! YAML text to a tree in which every key and value knows its place.
//!
//! The only file that calls the YAML library. Duplicate keys stay in the tree, so that they can be
//! reported together with everything else. What the keys mean is left to [`super::document`].

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::source::{Source, Span};
use super::suggest;
use super::syntax::{SyntaxError, syntax_error, too_big, too_many};

/// Largest text accepted. A roster of 1,000 agents with everything written out is about 300 kB.
pub const MAX_BYTES: usize = 1 << 20;

/// Deepest nesting; the schema needs six levels.
pub(super) const MAX_DEPTH: usize = 32;

/// Most values, those that aliases repeat included: ten times what a large roster needs.
pub(super) const MAX_NODES: usize = 100_000;

/// A value and its place.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Node {
    /// Where it stands.
    pub span: Span,
    /// What stands there.
    pub value: Value,
    /// Keys of entries that were taken out because they were wrong.
    pub removed: Vec<String>,
}

/// What a node holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Value {
    /// Nothing, `~` or `null`.
    #[default]
    Null,
    /// A plain `true`, number and so on, as written, with what YAML takes it for.
    Scalar(Scalar, String),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping in the order written.
    Map(Vec<(Key, Node)>),
}

/// What YAML takes an unquoted word for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number that is not negative.
    Unsigned(u64),
    /// A negative whole number.
    Signed(i64),
    /// Any other number.
    Float(f64),
}

/// A key and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Where it stands.
    pub span: Span,
    /// The key.
    pub text: String,
}

impl Node {
    /// The value under a key; the last one where the key is there twice.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries
                .iter()
                .rev()
                .find(|(k, _)| k.text == key)
                .map(|(_, v)| v),
            _ => None,
        }
    }
    /// The place of a key.
    pub fn key_span(&self, key: &str) -> Option<Span> {
        match &self.value {
            Value::Map(entries) => entries
                .iter()
                .rev()
                .find(|(k, _)| k.text == key)
                .map(|(k, _)| k.span),
            _ => None,
        }
    }
    /// Whether a key is missing only because it, or what looks like a slip of it, was taken out: that
    /// it is missing is then no further error.
    pub fn lost(&self, key: &str) -> bool {
        self.removed
            .iter()
            .any(|r| r == key || suggest::nearest(r, [key]).is_some())
    }
    /// The items of a list; none of anything else.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }
    /// The text as written of a scalar.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) | Value::Scalar(_, text) => Some(text),
            _ => None,
        }
    }
}

/// Reads one YAML document.
///
/// # Errors
/// The first error of syntax, or the limit that the text exceeds. Bounded in time and memory for
/// any text.
pub fn parse(source: &Source) -> Result<Node, SyntaxError> {
    let text = source.text();
    if text.len() > MAX_BYTES {
        return Err(too_big(text.len()));
    }
    if let Some(at) = text.find('\0') {
        let before = &text[..at];
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        return Err(SyntaxError {
            message: "a NUL byte: this is not a text file".to_owned(),
            hint: None,
            span: Span {
                line: before.matches('\n').count() + 1,
                column,
                width: 1,
            },
        });
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: 2 * MAX_NODES,
            max_documents: 1,
            max_recorded_anchor_events: MAX_NODES,
            max_recorded_anchor_bytes: 8 * MAX_BYTES,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_NODES,
            max_replay_stack_depth: 8,
        },
        // Duplicates are found by our own reader, all of them and with both places.
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins,
        // `off`, `no` and `on` are words here: `sandbox: off`.
        strict_booleans: true,
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::AsString,
        with_snippet: false,
    };
    let raw: Spanned<Raw> =
        serde_saphyr::from_str_with_options(text, options).map_err(|e| syntax_error(&e))?;
    let mut left = MAX_NODES;
    convert(raw, text, &mut left).ok_or_else(too_many)
}

pub(super) fn span_of(location: &Location) -> Span {
    let number = |n: u64| usize::try_from(n).unwrap_or(0);
    Span {
        line: number(location.line()),
        column: number(location.column()),
        width: number(location.span().len()),
    }
}

/// A value as the library hands it over, before plain scalars are given their text.
enum Raw {
    Null,
    Scalar(Scalar),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<RawKey>, Spanned<Raw>)>),
}

/// A key: a scalar of any sort, or something that cannot be a key here.
struct RawKey(Option<String>);

impl<'de> Deserialize<'de> for RawKey {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Self(match Raw::deserialize(d)? {
            Raw::Text(text) => Some(text),
            Raw::Scalar(_) => Some(String::new()),
            Raw::Null => Some("~".to_owned()),
            _ => None,
        }))
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Raw;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_unit<E>(self) -> Result<Raw, E> {
                Ok(Raw::Null)
            }
            fn visit_none<E>(self) -> Result<Raw, E> {
                Ok(Raw::Null)
            }
            fn visit_bool<E>(self, v: bool) -> Result<Raw, E> {
                Ok(Raw::Scalar(Scalar::Bool(v)))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Raw, E> {
                Ok(Raw::Scalar(Scalar::Unsigned(v)))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Raw, E> {
                Ok(Raw::Scalar(
                    u64::try_from(v).map_or(Scalar::Signed(v), Scalar::Unsigned),
                ))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Raw, E> {
                Ok(Raw::Scalar(Scalar::Float(v)))
            }
            fn visit_str<E>(self, v: &str) -> Result<Raw, E> {
                Ok(Raw::Text(v.to_owned()))
            }
            fn visit_string<E>(self, v: String) -> Result<Raw, E> {
                Ok(Raw::Text(v))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Raw::List(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Raw::Map(entries))
            }
        }
        d.deserialize_any(V)
    }
}

/// Gives plain scalars the text they were written with (`1.10` is a version to whoever wrote it, not
/// the number 1.1). `None` once `left` is used up.
fn convert(raw: Spanned<Raw>, text: &str, left: &mut usize) -> Option<Node> {
    *left = left.checked_sub(1)?;
    let span = span_of(&raw.referenced);
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Text(text) => Value::Text(text),
        Raw::Scalar(scalar) => Value::Scalar(scalar, written(&raw.defined, text, scalar)),
        Raw::List(items) => {
            let mut out = Vec::with_capacity(items.len());
            for item in items {
                out.push(convert(item, text, left)?);
            }
            Value::List(out)
        }
        Raw::Map(entries) => {
            let mut out = Vec::with_capacity(entries.len());
            for (key, value) in entries {
                let name = match key.value.0 {
                    Some(name) if !name.is_empty() => name,
                    Some(_) => slice(&key.defined, text).unwrap_or_default().to_owned(),
                    None => "{…}".to_owned(),
                };
                out.push((
                    Key {
                        span: span_of(&key.referenced),
                        text: name,
                    },
                    convert(value, text, left)?,
                ));
            }
            Value::Map(out)
        }
    };
    Some(Node {
        span,
        value,
        removed: Vec::new(),
    })
}

fn slice<'t>(location: &Location, text: &'t str) -> Option<&'t str> {
    let start = usize::try_from(location.span().byte_offset()?).ok()?;
    let len = usize::try_from(location.span().byte_len()?).ok()?;
    text.get(start..start.checked_add(len)?).map(str::trim)
}

fn written(location: &Location, text: &str, scalar: Scalar) -> String {
    match slice(location, text) {
        Some(word) if !word.is_empty() => word.to_owned(),
        _ => match scalar {
            Scalar::Bool(v) => v.to_string(),
            Scalar::Unsigned(v) => v.to_string(),
            Scalar::Signed(v) => v.to_string(),
            Scalar::Float(v) => v.to_string(),
        },
    }
}
