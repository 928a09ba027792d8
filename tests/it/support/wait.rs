//! Waiting: for conditions, with deadlines; for a place among the tests that run at once; and the
//! watchdog that ends a test that does not end.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Longest wait for a condition. What is waited for takes tenths of a second on an idle machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Tests with processes at one time: more only disturb each other on the two cores CI has.
const AT_ONCE: usize = 3;

/// Waits until a condition holds.
#[track_caller]
pub fn eventually(what: &str, condition: impl Fn() -> bool) {
    eventually_some(what, || condition().then_some(()));
}

/// Waits until there is an answer.
#[track_caller]
pub fn eventually_some<T>(what: &str, answer: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(
            Instant::now() < deadline,
            "waited {} s in vain: {what}",
            PATIENCE.as_secs()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

static RUNNING: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// A place among the tests that run at once.
#[derive(Debug)]
pub struct Permit(());

/// Waits for a place.
pub fn permit() -> Permit {
    let mut running = RUNNING.0.lock().unwrap();
    while *running >= AT_ONCE {
        running = RUNNING.1.wait(running).unwrap();
    }
    *running += 1;
    Permit(())
}

impl Drop for Permit {
    fn drop(&mut self) {
        *RUNNING.0.lock().unwrap() -= 1;
        RUNNING.1.notify_one();
    }
}

/// Runs a rescue when it is not dropped in time, and ends the whole process when even that does not
/// bring the test to its end.
#[derive(Debug)]
pub struct Watchdog(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug, PartialEq, Eq)]
enum State {
    Watching,
    Barked,
    Done,
}

impl Watchdog {
    /// Begins to watch the calling test.
    pub fn new(deadline: Duration, rescue: impl FnOnce() + Send + 'static) -> Self {
        let shared = Arc::new((Mutex::new(State::Watching), Condvar::new()));
        let theirs = Arc::clone(&shared);
        let name = std::thread::current().name().unwrap_or("a test").to_owned();
        std::thread::spawn(move || {
            let done = |time: Duration| {
                let guard = theirs.0.lock().unwrap();
                let (guard, _) = theirs
                    .1
                    .wait_timeout_while(guard, time, |s| *s != State::Done)
                    .unwrap();
                *guard == State::Done
            };
            if done(deadline) {
                return;
            }
            eprintln!("DEADLINE {name}: not done after {} s", deadline.as_secs());
            *theirs.0.lock().unwrap() = State::Barked;
            rescue();
            if !done(PATIENCE * 2) {
                eprintln!("DEADLINE {name}: hangs, ending all tests");
                std::process::abort();
            }
        });
        Self(shared)
    }

    /// Whether the deadline has passed.
    pub fn barked(&self) -> bool {
        *self.0.0.lock().unwrap() == State::Barked
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap() = State::Done;
        self.0.1.notify_all();
    }
}
