//! How often a text arrived, although every request repeats the whole conversation before it.
//!
//! Histories are kept as a tree: those that begin alike share what they have in common. So a message
//! that a hundred requests repeat is there once, and one that came twice is there twice, in one
//! conversation or in two.

use super::asked::Message;

/// Every message that ever arrived, each where it stands in its conversation.
#[derive(Debug, Default)]
pub struct Arrivals {
    message: Message,
    next: Vec<Arrivals>,
}

impl Arrivals {
    /// Enters a history.
    pub fn enter(&mut self, history: &[Message]) {
        let Some((first, rest)) = history.split_first() else {
            return;
        };
        let known = self.next.iter().position(|a| a.message == *first);
        // Without an answer between them, agents join a message to the one before.
        let grown = || self.next.iter().position(|a| a.grew_to(first));
        let place = known.or_else(grown).unwrap_or_else(|| {
            self.next.push(Self::default());
            self.next.len() - 1
        });
        self.next[place].message.clone_from(first);
        self.next[place].enter(rest);
    }

    fn grew_to(&self, message: &Message) -> bool {
        let joined = || {
            let rest = message
                .first()?
                .strip_prefix(self.message.first()?.as_str())?;
            Some(rest.starts_with('\n'))
        };
        let blocks = message.starts_with(&self.message);
        self.next.is_empty() && (blocks || (self.message.len() == 1 && joined() == Some(true)))
    }

    /// How often a text stands anywhere within a message.
    pub fn within(&self, text: &str) -> usize {
        self.count(&|message| message.join("\n").matches(text).count())
    }

    /// How often a text is a whole message, or a whole block of one.
    pub fn whole(&self, text: &str) -> usize {
        self.count(&|message| {
            let blocks = message.iter().filter(|block| *block == text).count();
            blocks.max(usize::from(message.join("\n") == text))
        })
    }

    /// Every message that holds a text, as often as it does, behind the first of its conversation.
    pub fn holding(&self, text: &str) -> Vec<(Message, Message)> {
        let mut found = Vec::new();
        for begin in &self.next {
            begin.collect(text, &begin.message, &mut found);
        }
        found
    }

    fn collect(&self, text: &str, begin: &Message, found: &mut Vec<(Message, Message)>) {
        let times = self.message.join("\n").matches(text).count();
        let one = (begin.clone(), self.message.clone());
        found.extend(std::iter::repeat_n(one, times));
        for next in &self.next {
            next.collect(text, begin, found);
        }
    }

    fn count(&self, of: &dyn Fn(&Message) -> usize) -> usize {
        let next = self.next.iter().map(|a| a.count(of)).sum::<usize>();
        of(&self.message) + next
    }
}

#[test]
fn a_text_counts_as_often_as_it_arrived() {
    let message = |text: &str| vec![text.to_owned()];
    let history = |texts: &[&str]| texts.iter().map(|t| message(t)).collect::<Vec<_>>();
    let cases: &[(&[&[&str]], usize, usize)] = &[
        (&[], 0, 0),
        (&[&["x"]], 1, 1),
        // The same request again, and the turns after it.
        (&[&["x"], &["x"], &["x", "y"], &["x", "y", "z"]], 1, 1),
        (&[&["a", "x"], &["a", "x", "x"]], 2, 2),
        (&[&["x x"]], 2, 0),
        // Two conversations, from where they differ.
        (&[&["a", "x"], &["b", "x"]], 2, 2),
        (&[&["x", "a"], &["x", "b"]], 1, 1),
        // Joined to what had no answer.
        (&[&["a", "x"], &["a", "x\ny"], &["a", "x\ny", "z"]], 1, 0),
        (&[&["a", "x"], &["a", "x\nx"]], 2, 0),
        // Two messages with a common beginning that are not one.
        (&[&["a", "x"], &["a", "xx"]], 3, 1),
    ];
    for (histories, within, whole) in cases {
        let mut arrivals = Arrivals::default();
        for texts in *histories {
            arrivals.enter(&history(texts));
        }
        let seen = (arrivals.within("x"), arrivals.whole("x"));
        assert_eq!(seen, (*within, *whole), "{histories:?}");
        assert_eq!(arrivals.holding("x").len(), *within, "{histories:?}");
    }
    let mut arrivals = Arrivals::default();
    arrivals.enter(&[vec!["x".to_owned()]]);
    arrivals.enter(&[vec!["x".to_owned(), "y".to_owned()]]);
    assert_eq!((arrivals.whole("x"), arrivals.whole("y")), (1, 1));
}
