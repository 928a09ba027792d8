//! Which node a thing is on that its node has named: sessions, open requests, terminals. Forgetting is
//! harmless: it is asked for again.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::gateway::lock;

/// So many are remembered; what is used by nobody must not grow for ever.
const MOST: usize = 100_000;

/// Names and nodes.
#[derive(Debug, Default)]
pub struct Remembered {
    all: Mutex<HashMap<String, String>>,
}

impl Remembered {
    /// Notes a thing's node.
    pub fn note(&self, name: &str, node: &str) {
        let mut all = lock(&self.all);
        if all.len() >= MOST && !all.contains_key(name) {
            all.clear();
        }
        all.insert(name.to_owned(), node.to_owned());
    }

    /// A thing's node.
    pub fn node(&self, name: &str) -> Option<String> {
        lock(&self.all).get(name).cloned()
    }

    /// Forgets a thing.
    pub fn forget(&self, name: &str) {
        lock(&self.all).remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_known_and_there_is_an_end_to_it() {
        let all = Remembered::default();
        all.note("per_1", "a");
        all.note("per_1", "b");
        assert_eq!(all.node("per_1").as_deref(), Some("b"));
        all.forget("per_1");
        assert!(all.node("per_1").is_none());
        for n in 0..=MOST {
            all.note(&format!("ses_{n}"), "a");
        }
        assert!(lock(&all.all).len() <= MOST);
        assert!(all.node(&format!("ses_{MOST}")).is_some());
    }
}
