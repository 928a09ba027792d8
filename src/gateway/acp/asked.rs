//! Which request is whose: pure. Every node counts its requests by itself, as every client does, so both
//! get ids of the gateway's own on the other side, and answers find their way back by them.

use std::collections::BTreeMap;

use super::frame::Id;

/// Requests that were passed on and are not answered yet.
#[derive(Debug)]
pub struct Waiting<T> {
    next: u64,
    most: usize,
    open: BTreeMap<u64, T>,
    ended: bool,
}

/// Why a request cannot be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// Too many wait.
    TooMany,
    /// Nothing will be answered any more.
    Ended,
}

impl<T> Waiting<T> {
    /// For so many at a time.
    pub fn new(most: usize) -> Self {
        Self {
            next: 1,
            most,
            open: BTreeMap::new(),
            ended: false,
        }
    }

    /// Keeps one; the id under which it goes on.
    ///
    /// # Errors
    /// It cannot; here it is again.
    pub fn keep(&mut self, one: T) -> Result<u64, (Full, T)> {
        if self.ended {
            return Err((Full::Ended, one));
        }
        if self.open.len() >= self.most {
            return Err((Full::TooMany, one));
        }
        let id = self.next;
        self.next += 1;
        self.open.insert(id, one);
        Ok(id)
    }

    /// Whose an answer is.
    pub fn take(&mut self, id: &Id) -> Option<T> {
        let Id::Number(digits) = id else { return None };
        self.open.remove(&digits.parse().ok()?)
    }

    /// The id of the first that is meant.
    pub fn find(&self, meant: impl Fn(&T) -> bool) -> Option<u64> {
        self.open
            .iter()
            .find(|(_, one)| meant(one))
            .map(|(id, _)| *id)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether nothing will be answered any more.
    pub fn is_over(&self) -> bool {
        self.ended
    }

    /// Takes no more. Those that wait are for [`Waiting::end`].
    pub fn close(&mut self) {
        self.ended = true;
    }

    /// Takes all, and takes no more.
    pub fn end(&mut self) -> Vec<T> {
        self.ended = true;
        std::mem::take(&mut self.open).into_values().collect()
    }
}

/// A request of a node: on which connection, and its id there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The node.
    pub node: String,
    /// Which of the connections to it, since the node counts anew on each.
    pub wire: u64,
    /// The node's id.
    pub id: Id,
}

/// Requests of nodes that the client has to answer.
#[derive(Debug, Default)]
pub struct Questions {
    next: u64,
    open: BTreeMap<String, Question>,
}

/// Most questions that a client may leave unanswered.
const QUESTIONS: usize = 1024;

impl Questions {
    /// Keeps one; the id under which the client gets it. `None`: too many are unanswered.
    pub fn ask(&mut self, question: Question) -> Option<Id> {
        if self.open.len() >= QUESTIONS {
            return None;
        }
        self.next += 1;
        // A string, as goose's own are; a client's numbers cannot be mistaken for it.
        let id = format!("mosaic-{}", self.next);
        self.open.insert(id.clone(), question);
        Some(Id::Text(id))
    }

    /// Whose question was answered.
    pub fn answered(&mut self, id: &Id) -> Option<Question> {
        match id {
            Id::Text(id) => self.open.remove(id),
            _ => None,
        }
    }

    /// The client's id of a question that its node needs no answer to any more.
    pub fn withdrawn(&mut self, wire: u64, id: &Id) -> Option<Id> {
        let name = self
            .open
            .iter()
            .find(|(_, q)| q.wire == wire && q.id == *id)
            .map(|(name, _)| name.clone())?;
        self.open.remove(&name);
        Some(Id::Text(name))
    }

    /// The client's ids of all questions of a connection that is gone.
    pub fn gone(&mut self, wire: u64) -> Vec<Id> {
        let (gone, open) = std::mem::take(&mut self.open)
            .into_iter()
            .partition(|(_, q)| q.wire == wire);
        self.open = open;
        let gone: BTreeMap<String, Question> = gone;
        gone.into_keys().map(Id::Text).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn question(node: &str, wire: u64, id: &str) -> Question {
        Question {
            node: node.to_owned(),
            wire,
            id: Id::Number(id.to_owned()),
        }
    }

    #[test]
    fn the_same_id_of_two_nodes_is_two_questions() {
        let mut questions = Questions::default();
        let a = questions.ask(question("a", 1, "0")).unwrap();
        let b = questions.ask(question("b", 2, "0")).unwrap();
        assert_ne!(a, b);
        assert_eq!(questions.answered(&b).unwrap().node, "b");
        assert_eq!(questions.answered(&b), None);
        assert_eq!(questions.answered(&Id::Number("1".into())), None);
        assert_eq!(questions.withdrawn(2, &Id::Number("0".into())), None);
        assert_eq!(
            questions.withdrawn(1, &Id::Number("0".into())),
            Some(a.clone())
        );
        assert_eq!(questions.answered(&a), None);
        let c = questions.ask(question("a", 1, "1")).unwrap();
        let d = questions.ask(question("a", 3, "1")).unwrap();
        assert_eq!(questions.gone(1), [c]);
        assert_eq!(questions.answered(&d).unwrap().wire, 3);
    }

    #[test]
    fn what_waits_is_bounded_and_ends() {
        let mut waiting = Waiting::new(2);
        let id = waiting.keep("a").unwrap();
        waiting.keep("b").unwrap();
        assert_eq!(waiting.keep("c"), Err((Full::TooMany, "c")));
        assert_eq!(waiting.find(|one| *one == "b"), Some(2));
        assert_eq!(waiting.take(&Id::Number(id.to_string())), Some("a"));
        assert_eq!(waiting.take(&Id::Number(id.to_string())), None);
        assert_eq!(waiting.take(&Id::Text("2".into())), None);
        assert_eq!(waiting.end(), ["b"]);
        assert_eq!(waiting.keep("d"), Err((Full::Ended, "d")));
        assert!(waiting.is_empty());
    }

    proptest! {
        #[test]
        fn every_answer_finds_its_question_whatever_the_order(
            asked in proptest::collection::vec((0u64..3, 0u8..4), 1..20),
            order in any::<u64>(),
        ) {
            let mut questions = Questions::default();
            let mut open: Vec<(Id, Question)> = asked
                .iter()
                .map(|(wire, id)| {
                    let q = question("n", *wire, &id.to_string());
                    (questions.ask(q.clone()).unwrap(), q)
                })
                .collect();
            let mut order = order;
            while !open.is_empty() {
                let (id, q) = open.swap_remove(order as usize % open.len());
                order = order.rotate_left(7) ^ 0x9e37;
                prop_assert_eq!(questions.answered(&id), Some(q));
            }
        }
    }
}
