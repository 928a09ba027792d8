//! Answers that are kept because others of their batch are missing: each in its place until the last one is
//! there, and all that one client's batches keep bounded together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::fault::{Fault, TOO_MUCH};
use super::frame::{Id, Message, code};

/// Most bytes of answers that all batches of one client keep: a batch may be open for as long as a turn, and
/// a client may have as many of them as it likes. One answer of the largest size.
pub const ANSWERS: usize = 50 * 1024 * 1024;

/// An answer of up to so many bytes is kept even where there is no room: mostly it is an error, and says more
/// than that there is none. Too small to matter for as many requests as a node may leave unanswered.
const SHORT: usize = 2048;

/// What the batches of one client keep, in bytes.
#[derive(Debug, Default)]
pub struct Kept(AtomicUsize);

impl Kept {
    /// Whether nothing more can be kept, but for what says so.
    pub fn is_full(&self) -> bool {
        self.0.load(Ordering::SeqCst) >= ANSWERS
    }

    fn take(&self, bytes: usize) -> bool {
        let fits = |kept: usize| Some(kept + bytes).filter(|kept| *kept <= ANSWERS);
        let taken = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits);
        taken.is_ok()
    }
}

/// What one batch has of it, until it is gone, however that came.
#[derive(Debug)]
pub struct Share {
    of: Arc<Kept>,
    bytes: usize,
}

impl Share {
    fn take(&mut self, bytes: usize) -> bool {
        let taken = self.of.take(bytes);
        self.bytes += if taken { bytes } else { 0 };
        taken
    }

    /// Counts what is kept whether or not there is room for it.
    fn count(&mut self, bytes: usize) {
        self.of.0.fetch_add(bytes, Ordering::SeqCst);
        self.bytes += bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.0.fetch_sub(self.bytes, Ordering::SeqCst);
    }
}

/// All answers to a batch, and what they take up until they are on their way.
#[derive(Debug)]
pub struct Whole {
    /// The list.
    pub text: String,
    _share: Share,
}

/// Those of one batch.
#[derive(Debug)]
pub struct Gathered {
    answers: Vec<Option<String>>,
    missing: usize,
    share: Option<Share>,
}

impl Gathered {
    /// So many are missing.
    pub fn new(answers: usize, of: &Arc<Kept>) -> Self {
        Self {
            answers: vec![None; answers],
            missing: answers,
            share: Some(Share {
                of: Arc::clone(of),
                bytes: 0,
            }),
        }
    }

    /// All answers, if this is the last one. A long one that there is no room for is replaced by an error.
    pub fn put(&mut self, at: usize, answer: &Message) -> Option<Whole> {
        let mut text = answer.text();
        let share = self.share.as_mut()?;
        if !share.take(text.len()) {
            if let (true, Message::Response { id, .. }) = (text.len() > SHORT, answer) {
                let why = format!(
                    "the answers to this client's batches are longer than {} MiB",
                    ANSWERS >> 20
                );
                text = Fault::new(code::INTERNAL, why).answer(id.clone()).text();
            }
            share.count(text.len());
        }
        let place = self.answers.get_mut(at)?;
        if place.replace(text).is_none() {
            self.missing -= 1;
        }
        if self.missing > 0 {
            return None;
        }
        let all: Vec<String> = self.answers.drain(..).flatten().collect();
        Some(Whole {
            text: format!("[{}]", all.join(",")),
            _share: self.share.take()?,
        })
    }
}

/// What a request is told that came in a batch when nothing more could be kept. So what those keep that were
/// there already is all that there can be.
pub fn refusal(id: Id) -> Message {
    let why = format!(
        "not taken: {} MiB of answers to this client's batches wait for others already",
        ANSWERS >> 20
    );
    Fault::new(TOO_MUCH, why).answer(id)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn answer(id: &str, text: &str) -> Message {
        let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":"{text}"}}"#);
        Message::read(&text).unwrap()
    }

    #[test]
    fn answers_come_in_the_order_of_the_requests() {
        let mut gathered = Gathered::new(2, &Arc::default());
        assert!(gathered.put(1, &answer("2", "b")).is_none());
        let all = gathered.put(0, &answer("1", "a")).unwrap();
        let want =
            r#"[{"jsonrpc":"2.0","id":1,"result":"a"},{"jsonrpc":"2.0","id":2,"result":"b"}]"#;
        assert_eq!(all.text, want);
    }

    #[test]
    fn all_batches_of_a_client_share_one_bound() {
        let kept = Arc::<Kept>::default();
        let mut one = Gathered::new(2, &kept);
        let mut other = Gathered::new(2, &kept);
        assert!(
            one.put(0, &answer("1", &"x".repeat(ANSWERS - 100)))
                .is_none()
        );
        assert!(!kept.is_full());
        assert!(other.put(0, &answer("3", &"x".repeat(SHORT))).is_none());
        assert!(kept.is_full());
        // What is short is kept all the same.
        let all = other.put(1, &answer("4", "y")).unwrap();
        assert_eq!(all.text.matches("longer than 50 MiB").count(), 1);
        assert!(all.text.ends_with(r#""result":"y"}]"#) && all.text.len() < 300);
        // Room is made by what is on its way, and by what nobody waits for any more.
        drop(all);
        drop(one);
        assert_eq!(kept.0.load(Ordering::SeqCst), 0);
    }
}
