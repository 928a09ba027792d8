//! What it means that a node gave no answer: only what it certainly did not take may be tried again, or
//! elsewhere.

/// Why there is no answer of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The node certainly did not take the request.
    NotSent(String),
    /// It may have taken it.
    NoAnswer(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::NotSent(why) | Failure::NoAnswer(why) => f.write_str(why),
        }
    }
}
