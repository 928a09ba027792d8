//! What the gateway remembers of goosed's chats as long as it runs: what was said.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Mutex;

use crate::gateway::lock;

/// Messages that were said lately. goosed takes a message twice; what is said again is known by this, and
/// by the session's own record where goosed keeps the message's id.
#[derive(Debug, Default)]
pub struct Said {
    inner: Mutex<Remembered>,
}

/// Chats and ids, to be found, and the oldest first.
#[derive(Debug, Default)]
struct Remembered {
    all: BTreeSet<(String, String)>,
    order: VecDeque<(String, String)>,
}

impl Said {
    /// So many are remembered.
    const MOST: usize = 10_000;

    /// Whether a message of this id was said.
    pub fn knows(&self, chat: &str, id: &str) -> bool {
        lock(&self.inner)
            .all
            .contains(&(chat.to_owned(), id.to_owned()))
    }

    /// A message is said from now on.
    pub fn note(&self, chat: &str, id: &str) {
        let mut inner = lock(&self.inner);
        let one = (chat.to_owned(), id.to_owned());
        if inner.all.insert(one.clone()) {
            inner.order.push_back(one);
        }
        if inner.order.len() > Self::MOST
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.all.remove(&oldest);
        }
    }

    /// It was not said after all.
    pub fn forget(&self, chat: &str, id: &str) {
        let mut inner = lock(&self.inner);
        let one = (chat.to_owned(), id.to_owned());
        if inner.all.remove(&one) {
            inner.order.retain(|other| *other != one);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_remembered_for_a_while() {
        let said = Said::default();
        for n in 0..Said::MOST + 2 {
            said.note("c", &n.to_string());
            said.note("c", &n.to_string());
        }
        assert!(!said.knows("c", "1"));
        assert!(said.knows("c", "2"));
        assert!(!said.knows("d", "2"));
        said.forget("c", "2");
        assert!(!said.knows("c", "2"));
        assert!(said.knows("c", "3"));
    }
}
