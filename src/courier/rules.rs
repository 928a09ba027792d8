//! When an agent's mailbox is worked on. Pure: what is known of agent and mailbox in, what to do out.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::delivery::mailbox::{Row, Stage};
use crate::state::State;

/// Pauses after a delivery that could not begin although the agent looks idle (a person's draft, a
/// lock that is held): a look costs two questions to tmux, and most such things end soon.
const PAUSES: [Duration; 6] = [
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
];

/// Between two tries at an agent that has no way to tell that it is idle: its box is all there is to
/// see, and the guard looks at it.
pub const BLIND: Duration = Duration::from_secs(2);

/// What an agent's mailbox holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The first message.
    pub first: String,
    /// It was begun by somebody who may be gone: it is found out about, not typed.
    pub begun: bool,
    /// When the first of them is too old.
    pub expires: Option<Timestamp>,
}

impl Waiting {
    /// What the messages that wait amount to; `None` when there is none.
    pub fn of(rows: &[Row]) -> Option<Self> {
        let begun = rows.iter().find(|r| r.stage != Stage::Queued);
        let first = begun.or(rows.first())?;
        Some(Self {
            first: first.id.clone(),
            begun: begun.is_some(),
            // What was begun is not taken back by time.
            expires: rows
                .iter()
                .filter(|r| r.stage == Stage::Queued)
                .filter_map(|r| r.expires)
                .min(),
        })
    }
}

/// One agent's turn.
#[derive(Debug, Clone)]
pub struct Turn {
    /// Somebody of ours is at it.
    pub busy: bool,
    /// Not before this.
    pub not_before: Instant,
    /// When the last delivery ended: what the agent was seen doing before says nothing any more.
    pub ended: Option<Instant>,
    tries: usize,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Work on the mailbox now.
    Deliver,
    /// Look again then.
    At(Instant),
    /// Wait until something changes.
    Wait,
}

impl Turn {
    /// From then on.
    pub fn new(not_before: Instant) -> Self {
        Self {
            busy: false,
            not_before,
            ended: None,
            tries: 0,
        }
    }

    /// Decides. `blind`: nothing can ever tell that the agent is idle.
    pub fn decide(
        &self,
        waiting: &Waiting,
        state: Option<State>,
        blind: bool,
        now: (Instant, Timestamp),
    ) -> Act {
        if self.busy {
            return Act::Wait;
        }
        let expired = waiting.expires.is_some_and(|t| t <= now.1);
        let may = expired
            || match state {
                Some(State::Idle) => true,
                // What became of a message is on the agent's record, whatever it does now.
                Some(State::Working | State::Waiting | State::RateLimited) => waiting.begun,
                Some(State::Unknown) => waiting.begun || blind,
                Some(State::Starting | State::Exited | State::Failed) | None => false,
            };
        if may && self.not_before <= now.0 {
            return Act::Deliver;
        }
        let left = waiting
            .expires
            .and_then(|t| Duration::try_from(t.duration_since(now.1)).ok())
            .map(|left| now.0 + left);
        match (may.then_some(self.not_before), left) {
            (Some(a), Some(b)) => Act::At(a.min(b.max(now.0))),
            (Some(at), None) => Act::At(at),
            (None, Some(at)) => Act::At(at),
            (None, None) => Act::Wait,
        }
    }

    /// Nothing could be done now.
    pub fn put_off(&mut self, now: Instant, blind: bool) {
        let pause = PAUSES[self.tries.min(PAUSES.len() - 1)];
        self.tries += 1;
        self.not_before = now + if blind { pause.max(BLIND) } else { pause };
    }

    /// Something was done, or the agent does something else: the next try need not wait.
    pub fn anew(&mut self, now: Instant) {
        self.tries = 0;
        self.not_before = now;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::delivery::mailbox::{Journal as _, Mailbox, NewMessage};

    fn waiting(begun: bool) -> Waiting {
        Waiting {
            first: "m".into(),
            begun,
            expires: None,
        }
    }

    #[test]
    fn only_an_idle_agent_is_given_something_new() {
        let now = (Instant::now(), Timestamp::UNIX_EPOCH);
        let turn = Turn::new(now.0);
        let act = |begun, state, blind| turn.decide(&waiting(begun), state, blind, now);
        for state in [
            State::Working,
            State::Waiting,
            State::RateLimited,
            State::Unknown,
        ] {
            assert_eq!(act(false, Some(state), false), Act::Wait, "{state}");
            assert_eq!(act(true, Some(state), false), Act::Deliver, "{state}");
        }
        for state in [State::Starting, State::Exited, State::Failed] {
            assert_eq!(act(true, Some(state), true), Act::Wait, "{state}");
        }
        assert_eq!(act(false, Some(State::Idle), false), Act::Deliver);
        assert_eq!(act(false, Some(State::Unknown), true), Act::Deliver);
        assert_eq!(act(false, None, false), Act::Wait);
        let busy = Turn { busy: true, ..turn };
        assert_eq!(
            busy.decide(&waiting(false), Some(State::Idle), false, now),
            Act::Wait
        );
    }

    #[test]
    fn pauses_grow_until_something_happens() {
        let now = (Instant::now(), Timestamp::UNIX_EPOCH);
        let mut turn = Turn::new(now.0);
        let mut before = Duration::ZERO;
        for _ in 0..10 {
            turn.put_off(now.0, false);
            let pause = turn.not_before - now.0;
            assert!(pause >= before && pause <= Duration::from_secs(5));
            before = pause;
            assert_eq!(
                turn.decide(&waiting(false), Some(State::Idle), false, now),
                Act::At(turn.not_before)
            );
        }
        assert_eq!(before, Duration::from_secs(5));
        turn.anew(now.0);
        assert_eq!(
            turn.decide(&waiting(false), Some(State::Idle), false, now),
            Act::Deliver
        );
        turn.put_off(now.0, true);
        assert_eq!(turn.not_before - now.0, BLIND);
    }

    #[test]
    fn an_expired_message_is_seen_to_whatever_the_agent_does() {
        let now = (Instant::now(), Timestamp::UNIX_EPOCH);
        let turn = Turn::new(now.0);
        let mut mail = waiting(false);
        mail.expires = Some(Timestamp::UNIX_EPOCH);
        assert_eq!(
            turn.decide(&mail, Some(State::Exited), false, now),
            Act::Deliver
        );
        mail.expires = Timestamp::from_second(7).ok();
        assert_eq!(
            turn.decide(&mail, Some(State::Exited), false, now),
            Act::At(now.0 + Duration::from_secs(7))
        );
    }

    #[test]
    fn a_message_that_was_begun_does_not_expire() {
        let dir = tempfile::tempdir().unwrap();
        let mailbox = Mailbox::at(&dir.path().join("db"), &dir.path().join("poke")).unwrap();
        let enqueue = |text: &str, expires| {
            let new = NewMessage {
                agent: "a".into(),
                text: text.into(),
                expires: Some(Timestamp::from_second(expires).unwrap()),
                ..NewMessage::default()
            };
            mailbox.enqueue(&new).unwrap()
        };
        let mut one = enqueue("one", 7);
        enqueue("two", 9);
        let expires = || {
            let waiting = Waiting::of(&mailbox.pending("a").unwrap()).unwrap();
            (waiting.begun, waiting.expires.unwrap().as_second())
        };
        assert_eq!(expires(), (false, 7));
        one.stage = Stage::Typed;
        assert!(mailbox.save(&mut one).unwrap());
        assert_eq!(expires(), (true, 9));
    }
}
