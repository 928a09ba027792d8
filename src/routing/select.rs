//! Which nodes are meant: by name, class, host, runtime, dialect or label.

use std::fmt;
use std::str::FromStr;

use super::node::Node;

/// One condition, as written: `NAME`, `class:implementer`, `host:build1`, `runtime:claude`,
/// `dialect:goosed`, `label:gpu=yes`, `label:gpu`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(into = "String")]
pub enum Term {
    /// The node itself; never a prefix of its name.
    Id(String),
    /// Its class.
    Class(String),
    /// Its host.
    Host(String),
    /// Its runtime.
    Runtime(String),
    /// Its dialect.
    Dialect(String),
    /// A label, and its value where one is named.
    Label(String, Option<String>),
}

impl Term {
    fn matches(&self, node: &Node) -> bool {
        match self {
            Term::Id(id) => node.id == *id,
            Term::Class(class) => node.class == *class,
            Term::Host(host) => node.host == *host,
            Term::Runtime(runtime) => node.runtime == *runtime,
            Term::Dialect(dialect) => node.dialect.as_str() == dialect,
            Term::Label(key, value) => node
                .labels
                .get(key)
                .is_some_and(|got| value.as_ref().is_none_or(|v| v == got)),
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Term::Id(id) => f.write_str(id),
            Term::Class(class) => write!(f, "class:{class}"),
            Term::Host(host) => write!(f, "host:{host}"),
            Term::Runtime(runtime) => write!(f, "runtime:{runtime}"),
            Term::Dialect(dialect) => write!(f, "dialect:{dialect}"),
            Term::Label(key, Some(value)) => write!(f, "label:{key}={value}"),
            Term::Label(key, None) => write!(f, "label:{key}"),
        }
    }
}

impl From<Term> for String {
    fn from(term: Term) -> Self {
        term.to_string()
    }
}

impl FromStr for Term {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = "give a node's name, or `class:`, `host:`, `runtime:`, `dialect:`, `label:KEY` or `label:KEY=VALUE`";
        let Some((what, value)) = text.split_once(':') else {
            return match text {
                "" => Err(format!("an empty selector: {known}")),
                name => Ok(Term::Id(name.to_owned())),
            };
        };
        if value.is_empty() {
            return Err(format!("`{text}` names nothing after the colon"));
        }
        let value = value.to_owned();
        match what {
            "class" => Ok(Term::Class(value)),
            "host" => Ok(Term::Host(value)),
            "runtime" => Ok(Term::Runtime(value)),
            "dialect" => Ok(Term::Dialect(value)),
            "node" => Ok(Term::Id(value)),
            "label" => match value.split_once('=') {
                Some(("", _)) => Err(format!("`{text}` names no label")),
                Some((key, value)) => Ok(Term::Label(key.to_owned(), Some(value.to_owned()))),
                None => Ok(Term::Label(value, None)),
            },
            _ => Err(format!("`{what}:` is no selector: {known}")),
        }
    }
}

/// All of several conditions; none means every node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Selector(pub Vec<Term>);

impl Selector {
    /// The first condition that a node does not meet; `None` when it is meant.
    pub fn unmet(&self, node: &Node) -> Option<&Term> {
        self.0.iter().find(|term| !term.matches(node))
    }

    /// Whether a node is meant.
    pub fn matches(&self, node: &Node) -> bool {
        self.unmet(node).is_none()
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let terms: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&terms.join(","))
    }
}

impl FromStr for Selector {
    type Err = String;

    /// Conditions separated by commas.
    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',')
            .map(|term| term.trim().parse())
            .collect::<Result<_, _>>()
            .map(Selector)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn selectors_are_read_and_written_alike() {
        for text in [
            "coder0",
            "class:implementer",
            "label:gpu",
            "label:gpu=a=b",
            "host:h,runtime:claude,dialect:goosed",
        ] {
            assert_eq!(text.parse::<Selector>().unwrap().to_string(), text);
        }
        for (text, why) in [
            ("", "empty"),
            ("a,", "empty"),
            ("class:", "after the colon"),
            ("label:=x", "names no label"),
            ("clas:x", "no selector"),
        ] {
            let said = text.parse::<Selector>().unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }
}
