//! Which chats were used, and which are in use: a pin that expires when it is unused must not do so while a
//! stream or a turn of its chat is under way, however long that lasts.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::response::Response;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::lock;

/// Chats that are in use are written down as used so often: what is written is exact to a minute.
const AGAIN: Duration = Duration::from_secs(60);

/// What is not written down yet.
#[derive(Debug, Default)]
pub struct Used {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    used: BTreeSet<String>,
    /// How often each is in use.
    open: BTreeMap<String, usize>,
    /// When those were taken last.
    taken: Option<Instant>,
}

impl Used {
    /// A chat was used just now.
    pub fn note(&self, chat: &str) {
        lock(&self.inner).used.insert(chat.to_owned());
    }

    /// A chat is used from now on.
    pub fn hold(self: &Arc<Self>, chat: &str) -> Using {
        let mut inner = lock(&self.inner);
        inner.used.insert(chat.to_owned());
        *inner.open.entry(chat.to_owned()).or_default() += 1;
        Using {
            of: Arc::clone(self),
            chat: chat.to_owned(),
        }
    }

    /// What is to be written down: what was used since the last time, and now and then what is in use.
    pub fn take(&self) -> BTreeSet<String> {
        let mut inner = lock(&self.inner);
        let mut used = std::mem::take(&mut inner.used);
        if inner.taken.is_none_or(|at| at.elapsed() >= AGAIN) {
            inner.taken = Some(Instant::now());
            used.extend(inner.open.keys().cloned());
        }
        used
    }

    /// What is in use.
    pub fn open(&self) -> BTreeSet<String> {
        lock(&self.inner).open.keys().cloned().collect()
    }
}

/// A chat is in use as long as this is there.
#[derive(Debug)]
pub struct Using {
    of: Arc<Used>,
    chat: String,
}

impl Using {
    /// As long as an answer is passed on.
    pub fn until_the_end_of(self, answer: Response) -> Response {
        answer.map(|body| Body::new(InUse { body, _using: self }))
    }
}

impl Drop for Using {
    fn drop(&mut self) {
        let mut inner = lock(&self.of.inner);
        inner.used.insert(self.chat.clone());
        if let Some(open) = inner.open.get_mut(&self.chat) {
            *open -= 1;
            if *open == 0 {
                inner.open.remove(&self.chat);
            }
        }
    }
}

/// A body that keeps a chat in use.
struct InUse {
    body: Body,
    _using: Using,
}

impl HttpBody for InUse {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(chats: &[&str]) -> BTreeSet<String> {
        chats.iter().map(|c| (*c).to_owned()).collect()
    }

    #[test]
    fn what_is_in_use_counts_until_its_end_and_then_once_more() {
        let used = Arc::new(Used::default());
        used.note("a");
        let (one, other) = (used.hold("b"), used.hold("b"));
        assert_eq!(used.take(), set(&["a", "b"]));
        // Not with every look.
        assert_eq!(used.take(), set(&[]));
        drop(one);
        assert_eq!((used.take(), used.open()), (set(&["b"]), set(&["b"])));
        drop(other);
        assert_eq!((used.take(), used.open()), (set(&["b"]), set(&[])));
    }
}
