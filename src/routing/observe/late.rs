//! A question whose answer is waited for no longer than a given time, though the question itself may
//! hang: a file system of a dead server, a tmux that was stopped.

use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Instant;

/// A question in a thread of its own. While one is open no other is asked, so that hanging threads do not
/// pile up; its answer, when it comes at last, is that of a later wait.
#[derive(Debug)]
pub struct Late<T> {
    open: Option<Receiver<T>>,
}

impl<T> Default for Late<T> {
    fn default() -> Self {
        Self { open: None }
    }
}

impl<T: Send + 'static> Late<T> {
    /// Asks, unless an earlier question is still open.
    pub fn ask(&mut self, question: impl FnOnce() -> T + Send + 'static) {
        if self.open.is_some() {
            return;
        }
        let (answer, open) = sync_channel(1);
        let asked = std::thread::Builder::new().spawn(move || {
            // Nobody waits any more: then nobody needs it.
            let _ = answer.send(question());
        });
        // Without a thread there is no answer either.
        self.open = asked.is_ok().then_some(open);
    }

    /// The answer; `None` when it did not come in time.
    pub fn answer(&mut self, deadline: Instant) -> Option<T> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.open.as_ref()?.recv_timeout(left) {
            Ok(answer) => {
                self.open = None;
                Some(answer)
            }
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                self.open = None;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    fn within(ms: u64) -> Instant {
        Instant::now() + Duration::from_millis(ms)
    }

    #[test]
    fn a_hanging_question_is_asked_once_and_answered_later() {
        let mut late = Late::default();
        let (go, hang) = channel::<()>();
        late.ask(move || hang.recv().is_ok());
        assert_eq!(late.answer(within(20)), None);
        late.ask(|| panic!("the first one is open"));
        assert_eq!(late.answer(within(20)), None);
        assert!(go.send(()).is_ok());
        assert_eq!(late.answer(within(10_000)), Some(true));
        assert_eq!(late.answer(within(0)), None);
        late.ask(|| false);
        let begun = Instant::now();
        while late.answer(within(0)) != Some(false) {
            assert!(begun.elapsed() < Duration::from_secs(10));
        }
    }

    #[test]
    fn a_question_that_panics_is_not_waited_for() {
        let mut late = Late::<()>::default();
        late.ask(|| panic!("on purpose"));
        let begun = Instant::now();
        assert_eq!(late.answer(within(10_000)), None);
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}
