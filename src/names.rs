//! Validated names. Whatever passes here is safe as a tmux session name, as a systemd instance, and
//! as a file name, so nothing further down has to quote or escape it.

use std::fmt;

/// Longest name: a session called so still leaves room in unit names and socket paths.
pub const MAX_NAME: usize = 63;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The empty string.
    #[error("a name cannot be empty")]
    Empty,
    /// More than [`MAX_NAME`] bytes.
    #[error("a name holds at most {MAX_NAME} characters, this one has {0}")]
    TooLong(usize),
    /// A character outside the allowed set, or a first character that is not a letter or digit.
    #[error("a name is lower-case letters, digits and `-`, and starts with a letter or digit")]
    Characters,
}

/// Accepts `[a-z0-9][a-z0-9-]{0,62}`.
///
/// tmux turns `.` and `:` into `_` and reads `=`, `$`, `@`, `*` in targets; systemd escapes `/` and
/// `-` in paths but not in instances. This set has no meaning to either.
///
/// # Errors
/// Says which rule the text breaks.
pub fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > MAX_NAME {
        return Err(NameError::TooLong(text.len()));
    }
    let ok = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !ok(text.as_bytes()[0]) || !text.bytes().all(|c| ok(c) || c == b'-') {
        return Err(NameError::Characters);
    }
    Ok(())
}

/// The nearest valid name, for a hint; `None` when nothing is left of the text.
pub fn suggest(text: &str) -> Option<String> {
    let mut out = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            out.push(c);
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    }
    let out: String = out.trim_end_matches('-').chars().take(MAX_NAME).collect();
    (!out.is_empty()).then_some(out)
}

/// The name of an agent: also its tmux session, its systemd instance and its file names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(transparent)]
pub struct AgentName(String);

impl AgentName {
    /// Validates.
    ///
    /// # Errors
    /// See [`check`].
    pub fn new(text: &str) -> Result<Self, NameError> {
        check(text)?;
        Ok(Self(text.to_owned()))
    }
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for AgentName {
    type Err = NameError;
    /// As typed by a user: a leading `=` (tmux's mark for an exact match) is accepted and dropped.
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::new(s.strip_prefix('=').unwrap_or(s))
    }
}

impl<'de> serde::Deserialize<'de> for AgentName {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        AgentName::new(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_only_the_safe_set() {
        for good in ["a", "0", "coder0", "mos-claude", "a-", &"x".repeat(63)] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "-a",
            "A",
            "a.b",
            "a:b",
            "a b",
            "a/b",
            "../x",
            "=a",
            "$1",
            "@1",
            "%1",
            "a*",
            "_holder",
            "a\n",
            "é",
            &"x".repeat(64),
        ] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn suggestion_is_always_valid() {
        assert_eq!(suggest("Coder 0.5!").as_deref(), Some("coder-0-5"));
        assert_eq!(suggest("../../x").as_deref(), Some("x"));
        assert_eq!(suggest("::"), None);
        for text in ["Ünïcode", "a--b", "%%%a", &"Z".repeat(200)] {
            if let Some(s) = suggest(text) {
                assert_eq!(check(&s), Ok(()), "{text}");
            }
        }
    }

    #[test]
    fn an_equals_sign_is_tmux_for_exact() {
        assert_eq!(
            "=coder0".parse::<AgentName>().map(|n| n.to_string()),
            Ok("coder0".into())
        );
        assert!("==coder0".parse::<AgentName>().is_err());
    }
}
