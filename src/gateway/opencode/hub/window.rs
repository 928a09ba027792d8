//! Events on their way to clients, kept once however many clients there are, and only until the last one has
//! taken them. How much is kept is counted in bytes: a client that is further behind has lost some, and the
//! others do not wait for it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use tokio::sync::watch;

use crate::gateway::lock;

/// So many bytes of events may stand between the nodes and a client, and one event more, which may be long. A
/// turn has hundreds of some 200 bytes, in seconds; one that tells of files has megabytes.
pub const BEHIND: usize = 8 * 1024 * 1024;

/// What an event takes besides its bytes.
const EACH: usize = 64;

/// See the module.
#[derive(Debug, Default)]
pub struct Window {
    kept: Mutex<Kept>,
    /// How many there were: wakes who waits for more.
    told: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Number of the first one that is kept.
    first: u64,
    events: VecDeque<Slot>,
    bytes: usize,
    clients: usize,
}

#[derive(Debug)]
struct Slot {
    event: Bytes,
    /// Clients that have not taken it. Each takes them in order, so that there are never fewer for a later one.
    waited_for: usize,
}

/// That events are lost to a client: so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost(pub u64);

/// A client's place among them.
#[derive(Debug)]
pub struct Reader {
    window: Arc<Window>,
    /// Number of the one that it takes next.
    next: u64,
    told: watch::Receiver<u64>,
}

impl Window {
    /// Tells of an event. Waits for nobody.
    pub fn push(&self, event: Bytes) {
        let mut kept = lock(&self.kept);
        kept.push(event);
        let end = kept.end();
        drop(kept);
        self.told.send_replace(end);
    }

    /// Who takes every event from now on.
    pub fn reader(self: &Arc<Self>) -> Reader {
        let mut kept = lock(&self.kept);
        kept.clients += 1;
        Reader {
            window: Arc::clone(self),
            next: kept.end(),
            told: self.told.subscribe(),
        }
    }

    /// Bytes that are kept.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        lock(&self.kept).bytes
    }
}

impl Reader {
    /// The next event; waits for it. May be given up and asked again.
    ///
    /// # Errors
    /// It is too far behind.
    pub async fn next(&mut self) -> Result<Bytes, Lost> {
        loop {
            let _ = *self.told.borrow_and_update();
            if let Some(event) = lock(&self.window.kept).take(self.next)? {
                self.next += 1;
                return Ok(event);
            }
            // Never an error: the window is held here.
            let _ = self.told.changed().await;
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        lock(&self.window.kept).leave(self.next);
    }
}

impl Kept {
    fn end(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    fn push(&mut self, event: Bytes) {
        let newest = event.len() + EACH;
        self.bytes += newest;
        self.events.push_back(Slot {
            event,
            waited_for: self.clients,
        });
        // The newest one is not counted: nobody has had the time to take what came before it.
        while self.bytes - newest > BEHIND && self.events.len() > 1 {
            self.drop_first();
        }
        self.tidy();
    }

    /// `None`: there is none yet.
    fn take(&mut self, number: u64) -> Result<Option<Bytes>, Lost> {
        let at = number
            .checked_sub(self.first)
            .ok_or_else(|| Lost(self.first - number))?;
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let Some(slot) = self.events.get_mut(at) else {
            return Ok(None);
        };
        slot.waited_for = slot.waited_for.saturating_sub(1);
        let event = slot.event.clone();
        self.tidy();
        Ok(Some(event))
    }

    /// A client goes, which had yet to take that one.
    fn leave(&mut self, number: u64) {
        self.clients = self.clients.saturating_sub(1);
        let taken = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        for slot in self.events.iter_mut().skip(taken) {
            slot.waited_for = slot.waited_for.saturating_sub(1);
        }
        self.tidy();
    }

    fn tidy(&mut self) {
        while self.events.front().is_some_and(|s| s.waited_for == 0) {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        if let Some(slot) = self.events.pop_front() {
            self.first += 1;
            self.bytes -= slot.event.len() + EACH;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures_util::FutureExt as _;
    use proptest::prelude::*;

    use super::*;

    fn event(length: usize) -> Bytes {
        Bytes::from(vec![b'x'; length])
    }

    /// What there is for it at once.
    fn now(reader: &mut Reader) -> Option<Result<usize, Lost>> {
        reader.next().now_or_never().map(|r| r.map(|b| b.len()))
    }

    #[test]
    fn what_all_have_taken_is_not_kept() {
        let window = Arc::new(Window::default());
        window.push(event(1));
        assert_eq!(window.bytes(), 0);
        let (mut one, mut other) = (window.reader(), window.reader());
        window.push(event(2));
        window.push(event(3));
        assert_eq!(now(&mut one), Some(Ok(2)));
        assert_eq!(window.bytes(), 2 + 3 + 2 * EACH);
        assert_eq!(now(&mut other), Some(Ok(2)));
        assert_eq!(window.bytes(), 3 + EACH);
        assert_eq!(now(&mut one), Some(Ok(3)));
        assert_eq!(now(&mut one), None);
        drop(other);
        assert_eq!(window.bytes(), 0);
        window.push(event(4));
        assert_eq!(now(&mut one), Some(Ok(4)));
    }

    #[test]
    fn who_does_not_keep_up_loses_and_nobody_else_does() {
        let window = Arc::new(Window::default());
        let (mut slow, mut quick) = (window.reader(), window.reader());
        for n in 0..100 {
            window.push(event(1024 * 1024));
            assert_eq!(now(&mut quick), Some(Ok(1024 * 1024)), "{n}");
            assert!(window.bytes() <= BEHIND + 1024 * 1024 + EACH);
        }
        assert_eq!(now(&mut slow), Some(Err(Lost(92))));
        drop(slow);
        assert_eq!(window.bytes(), 0);
    }

    #[test]
    fn a_long_event_is_no_reason_to_lose_the_one_before() {
        let window = Arc::new(Window::default());
        let mut reader = window.reader();
        for length in [1, 4 * BEHIND] {
            window.push(event(length));
        }
        for length in [1, 4 * BEHIND] {
            assert_eq!(now(&mut reader), Some(Ok(length)));
        }
        // Very many short ones are much as well.
        for _ in 0..BEHIND / EACH + 2 {
            window.push(event(0));
        }
        assert_eq!(now(&mut reader), Some(Err(Lost(1))));
    }

    #[tokio::test]
    async fn who_waits_is_told() {
        let window = Arc::new(Window::default());
        let mut reader = window.reader();
        let other = Arc::clone(&window);
        let told = tokio::spawn(async move { reader.next().await });
        tokio::task::yield_now().await;
        other.push(event(5));
        assert_eq!(told.await.unwrap().unwrap().len(), 5);
    }

    proptest! {
        /// Whatever comes, is taken, begun and ended in whatever order: each client gets what came since it
        /// began, in order, or is told that it lost some.
        #[test]
        fn events_are_whole_or_lost(steps in proptest::collection::vec((0..6u8, 0..3usize, 0..3usize), 1..200)) {
            const SIZES: [usize; 3] = [10, BEHIND / 3, BEHIND];
            let window = Arc::new(Window::default());
            let mut clients: [Option<(Reader, VecDeque<usize>)>; 3] = [None, None, None];
            for (what, which, size) in steps {
                match what {
                    0 => clients[which] = Some((window.reader(), VecDeque::new())),
                    1 => clients[which] = None,
                    2 | 3 => {
                        let length = SIZES[size];
                        window.push(event(length));
                        clients.iter_mut().flatten().for_each(|(_, due)| due.push_back(length));
                    }
                    _ => {
                        let Some((reader, due)) = &mut clients[which] else { continue };
                        match now(reader) {
                            Some(Err(Lost(_))) => {
                                let behind: usize = due.iter().rev().skip(1).map(|n| n + EACH).sum();
                                prop_assert!(behind > BEHIND);
                                clients[which] = None;
                            }
                            got => prop_assert_eq!(got, due.pop_front().map(Ok)),
                        }
                    }
                }
                prop_assert!(window.bytes() <= BEHIND + SIZES[2] + EACH);
                if clients.iter().flatten().all(|(_, due)| due.is_empty()) {
                    prop_assert_eq!(window.bytes(), 0);
                }
            }
        }
    }
}
