//! The scheduler: of all processes exactly one runs at a time, and at each step a seeded generator says
//! which, how much time passes, and whether the process dies here.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::agent::Agent;
use crate::delivery::mailbox::Row;
use crate::host::owner::Owner;

/// What a dying process unwinds with.
pub struct Crash;

/// A generator whose whole state is one number (splitmix64).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x9e37_79b9_7f4a_7c15)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        n > 0 && self.below(n) == 0
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Doing {
    Ready,
    Asleep(u64),
    Over,
}

/// All that there is.
pub struct State {
    pub dice: Dice,
    /// Milliseconds since the start.
    pub clock: u64,
    pub agent: Agent,
    /// The scripted mailbox.
    pub rows: Vec<Row>,
    /// Who holds the agent.
    pub held: Option<i32>,
    /// Processes that live.
    pub living: Vec<i32>,
    pub next_pid: i32,
    /// One crash in so many steps; 0 for none.
    pub crash_in: u64,
    pub crashes: u32,
    pub trace: Vec<String>,
    steps: u64,
    actors: Vec<Doing>,
    turn: usize,
}

pub struct World {
    state: Mutex<State>,
    turns: Vec<Condvar>,
    base: Timestamp,
}

impl World {
    pub fn new(seed: u64, actors: usize, base: Timestamp) -> Arc<Self> {
        let mut dice = Dice::new(seed);
        let agent = Agent::new(&mut dice);
        let crash_in = [0, 60, 120, 250, 600][usize::try_from(dice.below(5)).unwrap_or(0)];
        Arc::new(Self {
            turns: (0..actors).map(|_| Condvar::new()).collect(),
            base,
            state: Mutex::new(State {
                dice,
                clock: 0,
                agent,
                rows: Vec::new(),
                held: None,
                living: Vec::new(),
                next_pid: 100,
                crash_in,
                crashes: 0,
                trace: Vec::new(),
                steps: 0,
                actors: vec![Doing::Ready; actors],
                turn: 0,
            }),
        })
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn now(&self) -> Timestamp {
        let ms = i64::try_from(self.state().clock).unwrap_or(i64::MAX);
        self.base + SignedDuration::from_millis(ms)
    }

    /// A new process for an actor.
    pub fn spawn(&self) -> Owner {
        let mut state = self.state();
        state.next_pid += 1;
        let pid = state.next_pid;
        state.living.push(pid);
        Owner {
            pid,
            start_ticks: 1,
            boot: "this".to_owned(),
        }
    }

    /// A point at which anything may happen: time passes, others run, this process dies.
    pub fn step(&self, me: usize, what: &str) {
        let mut state = self.state();
        state.steps += 1;
        assert!(state.steps < 400_000, "it goes on for ever");
        let passed = state.dice.below(4);
        state.clock += passed;
        let line = format!("{:>6} {me} {what}", state.clock);
        state.trace.push(line);
        let crash_in = state.crash_in;
        if state.dice.one_in(crash_in) {
            state.crashes += 1;
            state.trace.push(format!("       {me} dies"));
            drop(state);
            std::panic::resume_unwind(Box::new(Crash));
        }
        state.live();
        self.give_way(state, me);
    }

    /// Passes time; others run meanwhile.
    pub fn sleep(&self, me: usize, time: Duration) {
        let mut state = self.state();
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
        // A machine under load wakes nobody in time.
        let late = state.dice.below(4) + 1;
        state.actors[me] = Doing::Asleep(state.clock + ms * late);
        self.give_way(state, me);
    }

    /// An actor has ended.
    pub fn over(&self, me: usize) {
        let mut state = self.state();
        state.actors[me] = Doing::Over;
        if let Some(next) = state.pick() {
            state.turn = next;
            self.turns[next].notify_one();
        }
    }

    /// Waits for the first turn.
    pub fn begin(&self, me: usize) {
        let state = self.state();
        drop(self.wait(state, me));
    }

    /// Gives the only turn there still is to one who goes on after all have ended.
    pub fn rest(&self, me: usize) {
        let mut state = self.state();
        state.actors[me] = Doing::Ready;
        state.turn = me;
        state.steps = 0;
    }

    /// Whether all the others have ended.
    pub fn alone(&self, me: usize) -> bool {
        let state = self.state();
        (0..state.actors.len()).all(|a| a == me || state.actors[a] == Doing::Over)
    }

    fn give_way(&self, mut state: MutexGuard<'_, State>, me: usize) {
        let stay = state.actors[me] == Doing::Ready && !state.dice.one_in(3);
        if stay {
            return;
        }
        if let Some(next) = state.pick() {
            state.turn = next;
            if next != me {
                self.turns[next].notify_one();
                drop(self.wait(state, me));
            }
        }
    }

    fn wait<'a>(&self, mut state: MutexGuard<'a, State>, me: usize) -> MutexGuard<'a, State> {
        while state.turn != me {
            state = self.turns[me]
                .wait(state)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        state
    }
}

impl State {
    /// The agent and its person live on.
    fn live(&mut self) {
        let Self {
            agent,
            dice,
            clock,
            trace,
            ..
        } = self;
        agent.live(*clock, dice, trace);
    }

    /// Whose turn is next: anybody who is ready; when all sleep, time passes.
    fn pick(&mut self) -> Option<usize> {
        loop {
            let clock = self.clock;
            for doing in &mut self.actors {
                if matches!(doing, Doing::Asleep(until) if *until <= clock) {
                    *doing = Doing::Ready;
                }
            }
            let ready: Vec<usize> = (0..self.actors.len())
                .filter(|a| self.actors[*a] == Doing::Ready)
                .collect();
            if !ready.is_empty() {
                let at = self.dice.below(ready.len() as u64);
                return Some(ready[usize::try_from(at).unwrap_or(0)]);
            }
            let wakes = self.actors.iter().filter_map(|d| match d {
                Doing::Asleep(until) => Some(*until),
                _ => None,
            });
            self.clock = wakes.min()?;
            self.live();
        }
    }
}
