//! Serde over a [`Node`] tree: types with derived `Deserialize` are read, and an error knows the place
//! and the path of what is wrong, so that the reader can take it out and go on to the next error.

use std::fmt::{self, Display};

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, Expected, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};

use super::source::Span;
use super::suggest;
use super::tree::{Key, Node, Scalar, Value};

/// A step from a node to one inside it: the position of the entry or item.
pub type Step = usize;

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Sort of the problem, with its words.
    pub what: What,
    /// What to do.
    pub hint: Option<String>,
    /// Where.
    pub span: Option<Span>,
    /// The way to the wrong entry, outermost step first.
    pub path: Vec<Step>,
}

/// The sorts of problems that read differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A key that is not known.
    UnknownKey(String),
    /// A key that must be there.
    MissingKey(String),
    /// A value that does not fit.
    Invalid(String),
}

impl Problem {
    fn invalid(message: impl Into<String>) -> Self {
        Self {
            what: What::Invalid(message.into()),
            hint: None,
            span: None,
            path: Vec::new(),
        }
    }
    /// Called on the way out of `step`: the innermost place is the one shown.
    fn within(mut self, step: Step, span: Span) -> Self {
        self.path.insert(0, step);
        self.span.get_or_insert(span);
        self
    }
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::UnknownKey(key) => write!(f, "unknown key `{key}`"),
            What::MissingKey(key) => write!(f, "missing key `{key}`"),
            What::Invalid(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Problem {}

impl de::Error for Problem {
    fn custom<T: Display>(message: T) -> Self {
        Self::invalid(message.to_string())
    }
    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        // Serde's own words for its numbers are Rust's.
        let expected = match expected.to_string().as_str() {
            "u8" | "u16" | "u32" | "u64" => "a whole number, not negative and not huge".to_owned(),
            "i8" | "i16" | "i32" | "i64" => "a whole number, not huge".to_owned(),
            other => other.to_owned(),
        };
        Self::invalid(format!("expected {expected}, found {}", shown(found)))
    }
    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }
    fn unknown_variant(found: &str, expected: &'static [&'static str]) -> Self {
        let mut problem = Self::invalid(format!(
            "expected {}, found `{}`",
            suggest::one_of(expected),
            suggest::clip(found)
        ));
        problem.hint = suggest::nearest(found, expected.iter().copied())
            .map(|n| format!("did you mean `{n}`?"));
        problem
    }
    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let mut problem = Self::invalid("");
        problem.what = What::UnknownKey(field.to_owned());
        problem.hint = Some(suggest::hint(field, "keys", expected.iter().copied()));
        problem
    }
    fn missing_field(field: &'static str) -> Self {
        let mut problem = Self::invalid("");
        problem.what = What::MissingKey(field.to_owned());
        problem
    }
}

fn shown(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Str(text) => format!("`{}`", suggest::clip(text)),
        Unexpected::Bool(v) => format!("`{v}`"),
        Unexpected::Unsigned(v) => format!("`{v}`"),
        Unexpected::Signed(v) => format!("`{v}`"),
        Unexpected::Float(v) => format!("`{v}`"),
        Unexpected::Unit => "nothing".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a mapping".to_owned(),
        other => other.to_string(),
    }
}

/// The deserializer of one node.
#[derive(Clone, Copy)]
pub struct De<'a>(pub &'a Node);

impl De<'_> {
    fn expected(self, what: &str) -> Problem {
        let found = match &self.0.value {
            Value::Null => "nothing".to_owned(),
            Value::Scalar(_, text) | Value::Text(text) => format!("`{}`", suggest::clip(text)),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        };
        let mut problem = Problem::invalid(format!("expected {what}, found {found}"));
        problem.span = Some(self.0.span);
        problem
    }
    fn number<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.0.value {
            Value::Scalar(Scalar::Unsigned(v), _) => visitor.visit_u64(v),
            Value::Scalar(Scalar::Signed(v), _) => visitor.visit_i64(v),
            _ => Err(self.expected("a whole number")),
        }
    }
    fn text<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        // `name: 0815` and `model_hint: 4.5` mean what is written, not a number.
        match self.0.as_text() {
            Some(text) => visitor.visit_str(text),
            None => Err(self.expected("text")),
        }
    }
}

macro_rules! numbers {
    ($($name:ident)*) => {$(
        fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> { self.number(visitor) }
    )*};
}

macro_rules! texts {
    ($($name:ident)*) => {$(
        fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> { self.text(visitor) }
    )*};
}

impl<'de> Deserializer<'de> for De<'_> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match &self.0.value {
            Value::Null => visitor.visit_unit(),
            Value::Scalar(Scalar::Bool(v), _) => visitor.visit_bool(*v),
            Value::Scalar(Scalar::Unsigned(v), _) => visitor.visit_u64(*v),
            Value::Scalar(Scalar::Signed(v), _) => visitor.visit_i64(*v),
            Value::Scalar(Scalar::Float(v), _) => visitor.visit_f64(*v),
            Value::Text(text) => visitor.visit_str(text),
            Value::List(items) => visitor.visit_seq(Items { items, at: 0 }),
            Value::Map(entries) => visitor.visit_map(Entries { entries, at: 0 }),
        }
    }
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.0.value {
            Value::Scalar(Scalar::Bool(v), _) => visitor.visit_bool(v),
            _ => Err(self.expected("`true` or `false`")),
        }
    }
    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }
    texts! { deserialize_char deserialize_str deserialize_string deserialize_identifier }
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.0.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match &self.0.value {
            Value::List(items) => visitor.visit_seq(Items { items, at: 0 }),
            _ => Err(self.expected("a list")),
        }
    }
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match &self.0.value {
            Value::Map(entries) => visitor.visit_map(Entries { entries, at: 0 }),
            _ => Err(self.expected("a mapping (`key: value`)")),
        }
    }
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.deserialize_map(visitor)
    }
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        match &self.0.value {
            Value::Map(entries) => match entries.as_slice() {
                [(key, value)] => visitor.visit_enum(Variant {
                    key: &key.text,
                    value: Some(value),
                    span: key.span,
                }),
                _ => Err(self.expected(&format!("one key: {}", suggest::one_of(variants)))),
            },
            _ => match self.0.as_text() {
                Some(text) => visitor.visit_enum(Variant {
                    key: text,
                    value: None,
                    span: self.0.span,
                }),
                None => Err(self.expected(&suggest::one_of(variants))),
            },
        }
    }
    serde::forward_to_deserialize_any! {
        f32 f64 i128 u128 bytes byte_buf unit unit_struct tuple tuple_struct ignored_any
    }
}

struct Items<'a> {
    items: &'a [Node],
    at: Step,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Problem;
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Problem> {
        let Some(node) = self.items.get(self.at) else {
            return Ok(None);
        };
        self.at += 1;
        seed.deserialize(De(node))
            .map(Some)
            .map_err(|p| p.within(self.at - 1, node.span))
    }
}

struct Entries<'a> {
    entries: &'a [(Key, Node)],
    at: Step,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Problem;
    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Problem> {
        let Some((key, _)) = self.entries.get(self.at) else {
            return Ok(None);
        };
        self.at += 1;
        seed.deserialize(de::value::StrDeserializer::<Problem>::new(&key.text))
            .map(Some)
            .map_err(|p| p.within(self.at - 1, key.span))
    }
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Problem> {
        let Some((key, node)) = self.at.checked_sub(1).and_then(|i| self.entries.get(i)) else {
            return Err(Problem::invalid("a value was asked for before its key"));
        };
        // An empty value has no place of its own.
        let span = if node.value == Value::Null {
            key.span
        } else {
            node.span
        };
        seed.deserialize(De(node))
            .map_err(|p| p.within(self.at - 1, span))
    }
}

/// A word (`both`), or a mapping of one key (`text: …`).
struct Variant<'a> {
    key: &'a str,
    value: Option<&'a Node>,
    span: Span,
}

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = Problem;
    type Variant = Self;
    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Problem> {
        let name = seed
            .deserialize(de::value::StrDeserializer::<Problem>::new(self.key))
            .map_err(|mut p| {
                p.span.get_or_insert(self.span);
                p
            })?;
        Ok((name, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Problem;
    fn unit_variant(self) -> Result<(), Problem> {
        match self.value {
            None => Ok(()),
            Some(node) => Err(De(node).expected(&format!("nothing after `{}`", self.key))),
        }
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Problem> {
        match self.value {
            Some(node) => seed.deserialize(De(node)).map_err(|mut p| {
                p.span.get_or_insert(node.span);
                p
            }),
            None => Err(Problem::invalid(format!(
                "expected a mapping `{}: …`",
                self.key
            ))),
        }
    }
    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Problem> {
        Err(Problem::invalid("not supported in a roster"))
    }
    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Problem> {
        Err(Problem::invalid("not supported in a roster"))
    }
}
