//! The values a roster writes in a form of their own: sizes, shares, pauses, command lines, lists of
//! files. Each reads every spelling it documents and says in its errors what it expects.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Unexpected, Visitor};

use super::words;

/// Longest pause before a restart: a day. More is a slip.
const MAX_DELAY_MS: u64 = 24 * 60 * 60 * 1000;

/// When a pin was used last is remembered to a minute; a shorter lifetime could end one in use.
const LIFETIME_LEAST: u64 = 2 * 60;

/// A hundred years: more is a slip.
const LIFETIME_MOST: u64 = 100 * 366 * 86_400;

/// Bytes of memory: `2G`, `512M`, `1.5G`, or a number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

/// Per cent of one processor: `150%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percent(pub u32);

/// A pause: `500ms`, `1s`, `2m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delay(pub u64);

/// How much something counts in a sum: a number of at least 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weight(pub f64);

/// Per cent of a whole: `95` or `95%`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share(pub f64);

/// Room on a disk: `10G`, or a number of bytes; `0` for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room(pub u64);

/// How long something is kept, in seconds: `7d`, `12h`, `30m`; `None` for `never` an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime(pub Option<u64>);

/// Program and arguments: a line split like a shell's, or a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command(pub Vec<String>);

/// One path or a list of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths(pub Vec<String>);

/// Splits `1.5G` into whole part, tenths, and unit.
fn number_and_unit(text: &str) -> Option<(u64, u64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (whole, tenths) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || tenths.len() != 1 {
        return None;
    }
    Some((whole.parse().ok()?, tenths.parse().ok()?, unit))
}

/// `None`: not a size, zero, or more than can be counted.
fn bytes(text: &str) -> Option<u64> {
    room(text).filter(|total| *total > 0)
}

/// `None`: not a size, or more than can be counted.
fn room(text: &str) -> Option<u64> {
    let (whole, tenths, unit) = number_and_unit(text)?;
    let factor: u64 = match unit {
        "" => 1,
        "K" | "k" => 1 << 10,
        "M" | "m" => 1 << 20,
        "G" | "g" => 1 << 30,
        "T" | "t" => 1 << 40,
        _ => return None,
    };
    whole.checked_mul(factor)?.checked_add(tenths * factor / 10)
}

fn delay(text: &str) -> Option<u64> {
    let (whole, tenths, unit) = number_and_unit(text)?;
    let factor: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let total = whole
        .checked_mul(factor)?
        .checked_add(tenths * factor / 10)?;
    (total <= MAX_DELAY_MS).then_some(total)
}

/// `None`: no time, or one out of bounds.
fn lifetime(text: &str) -> Option<Option<u64>> {
    if text == "never" {
        return Some(None);
    }
    let (whole, tenths, unit) = number_and_unit(text)?;
    let factor: u64 = match unit {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    let total = whole
        .checked_mul(factor)?
        .checked_add(tenths * factor / 10)?;
    (LIFETIME_LEAST..=LIFETIME_MOST)
        .contains(&total)
        .then_some(Some(total))
}

fn share(text: &str) -> Option<f64> {
    let number = text.strip_suffix('%').unwrap_or(text).trim_end();
    number.parse().ok().filter(|v| (0.0..=100.0).contains(v))
}

fn percent(text: &str) -> Option<u32> {
    let share = text.strip_suffix('%')?.trim_end().parse().ok()?;
    (share > 0).then_some(share)
}

macro_rules! read_from_text {
    ($type:ident, $expected:literal, $parse:expr $(, $integer:expr)?) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                struct V;
                impl Visitor<'_> for V {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }
                    fn visit_str<E: Error>(self, v: &str) -> Result<$type, E> {
                        ($parse)(v.trim()).map($type).ok_or_else(|| E::invalid_value(Unexpected::Str(v), &self))
                    }
                    $(fn visit_u64<E: Error>(self, v: u64) -> Result<$type, E> {
                        ($integer)(v).map($type).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(v), &self))
                    })?
                }
                d.deserialize_any(V)
            }
        }
    };
}

read_from_text!(
    Bytes,
    "a size such as `512M`, `2G` or a number of bytes",
    bytes,
    |v: u64| (v > 0).then_some(v)
);
read_from_text!(Percent, "a share of one processor such as `150%`", percent);
read_from_text!(
    Delay,
    "a time such as `500ms`, `2s` or `1m`, at most a day",
    delay
);

read_from_text!(
    Room,
    "a size such as `10G`, or a number of bytes",
    room,
    |v: u64| Some(v)
);
read_from_text!(
    Lifetime,
    "`never`, or a time of at least two minutes such as `12h` or `7d`",
    lifetime
);

macro_rules! read_from_number {
    ($type:ident, $expected:literal, $check:expr $(, $text:expr)?) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                struct V;
                impl Visitor<'_> for V {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }
                    fn visit_f64<E: Error>(self, v: f64) -> Result<$type, E> {
                        if ($check)(v) {
                            Ok($type(v))
                        } else {
                            Err(E::invalid_value(Unexpected::Float(v), &self))
                        }
                    }
                    fn visit_u64<E: Error>(self, v: u64) -> Result<$type, E> {
                        // Weights and shares are small; what is too large for a float's 53 bits is
                        // refused or does not matter.
                        #[allow(clippy::cast_precision_loss)]
                        let float = v as f64;
                        if ($check)(float) {
                            Ok($type(float))
                        } else {
                            Err(E::invalid_value(Unexpected::Unsigned(v), &self))
                        }
                    }
                    $(fn visit_str<E: Error>(self, v: &str) -> Result<$type, E> {
                        ($text)(v.trim()).map($type).ok_or_else(|| E::invalid_value(Unexpected::Str(v), &self))
                    })?
                }
                d.deserialize_any(V)
            }
        }
    };
}

read_from_number!(Weight, "a number of at least 0", |v: f64| v.is_finite()
    && v >= 0.0);
read_from_number!(
    Share,
    "per cent from 0 to 100",
    |v: f64| (0.0..=100.0).contains(&v),
    share
);

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Command;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a command line or a list of words")
            }
            fn visit_str<E: Error>(self, v: &str) -> Result<Command, E> {
                words::split(v).map(Command).map_err(E::custom)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Command, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = seq.next_element::<String>()? {
                    words.push(word);
                }
                Ok(Command(words))
            }
        }
        d.deserialize_any(V)
    }
}

impl<'de> Deserialize<'de> for Paths {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Paths;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path or a list of paths")
            }
            fn visit_str<E: Error>(self, v: &str) -> Result<Paths, E> {
                Ok(Paths(vec![v.to_owned()]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Paths, A::Error> {
                let mut paths = Vec::new();
                while let Some(path) = seq.next_element::<String>()? {
                    paths.push(path);
                }
                Ok(Paths(paths))
            }
        }
        d.deserialize_any(V)
    }
}

macro_rules! schema {
    ($type:ident, $schema:tt) => {
        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

schema!(Bytes, { "anyOf": [
    { "type": "integer", "minimum": 1 },
    { "type": "string", "pattern": "^[0-9]+(\\.[0-9])?[KkMmGgTt]?$" },
] });
schema!(Percent, { "type": "string", "pattern": "^[0-9]+ *%$" });
schema!(Delay, { "type": "string", "pattern": "^[0-9]+(\\.[0-9])?(ms|s|m|min|h)$" });
schema!(Weight, { "type": "number", "minimum": 0 });
schema!(Share, { "anyOf": [
    { "type": "number", "minimum": 0, "maximum": 100 },
    { "type": "string", "pattern": "^[0-9]+(\\.[0-9]+)? *%$" },
] });
schema!(Room, { "anyOf": [
    { "type": "integer", "minimum": 0 },
    { "type": "string", "pattern": "^[0-9]+(\\.[0-9])?[KkMmGgTt]?$" },
] });
schema!(Lifetime, { "type": "string", "pattern": "^(never|[0-9]+(\\.[0-9])?(s|m|min|h|d))$" });
schema!(Command, { "anyOf": [
    { "type": "string" },
    { "type": "array", "items": { "type": "string" }, "minItems": 1 },
] });
schema!(Paths, { "anyOf": [
    { "type": "string" },
    { "type": "array", "items": { "type": "string" } },
] });

/// Labels by name.
pub(super) fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["object", "null"],
        "propertyNames": { "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$" },
        "additionalProperties": { "type": ["string", "number", "boolean"] },
    })
}

/// Variables by name. Numbers and booleans are taken as they are written.
pub(super) fn variables(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["object", "null"],
        "propertyNames": { "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" },
        "additionalProperties": { "type": ["string", "number", "boolean"] },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, want) in [
            ("512M", Some(512 << 20)),
            ("2G", Some(2 << 30)),
            ("2g", Some(2 << 30)),
            ("1.5G", Some(3 << 29)),
            ("1T", Some(1 << 40)),
            ("64K", Some(64 << 10)),
            ("1048576", Some(1 << 20)),
            ("0", None),
            ("0M", None),
            ("", None),
            ("G", None),
            ("-1G", None),
            ("2GB", None),
            ("2 G", None),
            ("1..5G", None),
            ("1.55G", None),
            ("99999999T", None),
            ("18446744073709551616", None),
            ("50%", None),
        ] {
            assert_eq!(bytes(text), want, "{text:?}");
        }
    }

    #[test]
    fn pauses() {
        for (text, want) in [
            ("1s", Some(1000)),
            ("500ms", Some(500)),
            ("2m", Some(120_000)),
            ("2min", Some(120_000)),
            ("1.5s", Some(1500)),
            ("0s", Some(0)),
            ("24h", Some(86_400_000)),
            ("25h", None),
            ("1", None),
            ("s", None),
            ("-1s", None),
            ("99999999999999999999s", None),
            ("18446744073709551615h", None),
        ] {
            assert_eq!(delay(text), want, "{text:?}");
        }
    }

    #[test]
    fn room_may_be_none() {
        assert_eq!(room("0"), Some(0));
        assert_eq!(room("10G"), Some(10 << 30));
        assert_eq!(room("-1"), None);
    }

    #[test]
    fn lifetimes() {
        for (text, want) in [
            ("never", Some(None)),
            ("7d", Some(Some(604_800))),
            ("12h", Some(Some(43_200))),
            ("1.5h", Some(Some(5_400))),
            ("2m", Some(Some(120))),
            ("119s", None),
            ("0d", None),
            ("40000d", None),
            ("7", None),
            ("1w", None),
        ] {
            assert_eq!(lifetime(text), want, "{text:?}");
        }
    }

    #[test]
    fn shares_of_a_whole() {
        for (text, want) in [
            ("95%", Some(95.0)),
            ("99.5 %", Some(99.5)),
            ("0%", Some(0.0)),
            ("101%", None),
            ("-1%", None),
            ("nan%", None),
            ("%", None),
        ] {
            assert_eq!(share(text), want, "{text:?}");
        }
    }

    #[test]
    fn shares() {
        for (text, want) in [
            ("150%", Some(150)),
            ("1%", Some(1)),
            ("50 %", Some(50)),
            ("0%", None),
            ("150", None),
            ("-1%", None),
            ("1.5%", None),
            ("99999999999%", None),
        ] {
            assert_eq!(percent(text), want, "{text:?}");
        }
    }
}
