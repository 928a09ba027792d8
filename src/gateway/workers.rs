//! The threads that serve. Each has a runtime of its own and connections to the nodes of its own: a request
//! is read, sent on and answered by one thread that wakes no other one and waits for none, which is most of
//! what a proxy could save. What a thread has begun stays with it, so long work belongs elsewhere.

use std::cell::Cell;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

use super::lock;
use crate::error::{Error, Result};

/// Most threads. Each request is short work, and the machine is the agents'.
pub const MOST: usize = 4;

/// Most threads of one runtime that wait for the disk, or for somebody else's terminal.
const WAITING: usize = 256;

/// A timer that ends later than the next one of its runtime is set without a word. Every other one wakes
/// whoever waits for timers, with a system call, though that is the thread that sets it: so there is always
/// a next one, and those of requests (some seconds each) cost nothing.
const TICK: Duration = Duration::from_secs(1);

/// How long those are given at the end.
const LEFT: Duration = Duration::from_millis(1500);

thread_local! {
    /// Which of the threads this is.
    static SEAT: Cell<usize> = const { Cell::new(MOST) };
}

/// Which of the threads the caller is on, from 0; [`MOST`] for every other thread.
pub fn seat() -> usize {
    SEAT.get()
}

/// The threads. Cheap to clone; they end when the last one is dropped.
#[derive(Debug, Clone, Default)]
pub struct Workers(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    all: Vec<Worker>,
    /// Ends them.
    end: Option<watch::Sender<()>>,
    /// Hung up on when the last one has ended.
    ended: Option<Mutex<Receiver<()>>>,
}

#[derive(Debug)]
struct Worker {
    handle: Handle,
    /// One for itself, and one for each connection.
    connections: Arc<()>,
}

/// What a connection holds of the thread that serves it.
pub type Seat = Arc<()>;

impl Workers {
    /// None: connections are served where they are accepted.
    pub fn none() -> Self {
        Self::default()
    }

    /// As many as the machine has processors, and at most [`MOST`].
    ///
    /// # Errors
    /// A thread cannot be started. Those that were are ended.
    pub fn begin() -> Result<Self> {
        Self::many(std::thread::available_parallelism().map_or(1, |n| n.get().min(MOST)))
    }

    fn many(count: usize) -> Result<Self> {
        let (end, told) = watch::channel(());
        let (alive, ended) = channel();
        let all = (0..count)
            .map(|seat| Worker::begin(seat, told.clone(), alive.clone()))
            .collect::<Result<_>>()?;
        Ok(Self(Arc::new(Inner {
            all,
            end: Some(end),
            ended: Some(Mutex::new(ended)),
        })))
    }

    /// The thread that serves the fewest connections.
    pub fn least(&self) -> Option<(&Handle, Seat)> {
        let of = |worker: &&Worker| Arc::strong_count(&worker.connections);
        let worker = self.0.all.iter().min_by_key(of)?;
        Some((&worker.handle, Arc::clone(&worker.connections)))
    }

    /// Ends them, and what they are at; waits for that for so long at most.
    pub fn end(&self, wait: Duration) {
        let (Some(end), Some(ended)) = (&self.0.end, &self.0.ended) else {
            return;
        };
        let until = Instant::now() + wait;
        end.send_modify(|()| ());
        let ended = lock(ended);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match ended.recv_timeout(left) {
                Ok(()) => {}
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    return tracing::debug!("a thread of the gateway did not end in time");
                }
            }
        }
    }
}

impl Worker {
    fn begin(seat: usize, mut told: watch::Receiver<()>, alive: Sender<()>) -> Result<Self> {
        let no = |e| Error::io("cannot begin a thread of the gateway", e);
        let runtime = Builder::new_current_thread()
            .thread_name("gateway-waits")
            .max_blocking_threads(WAITING)
            .enable_all()
            .build()
            .map_err(no)?;
        let handle = runtime.handle().clone();
        std::thread::Builder::new()
            .name(format!("gateway-{seat}"))
            .spawn(move || {
                let _alive = alive;
                SEAT.set(seat);
                runtime.block_on(async {
                    let mut ticks = tokio::time::interval(TICK);
                    loop {
                        tokio::select! {
                            // An error means that nobody is there any more who could tell.
                            _ = told.changed() => break,
                            _ = ticks.tick() => {}
                        }
                    }
                });
                // What is left waits on other threads, for a disk say.
                runtime.shutdown_timeout(LEFT);
            })
            .map_err(no)?;
        Ok(Self {
            handle,
            connections: Seat::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn seat_of(handle: &Handle) -> usize {
        let (say, said) = channel();
        handle.spawn(async move { say.send(seat()).unwrap() });
        said.recv_timeout(LONG).unwrap()
    }

    #[test]
    fn connections_are_spread_evenly() {
        let workers = Workers::many(3).unwrap();
        let mut held = Vec::new();
        let mut seats = vec![0; 3];
        for _ in 0..9 {
            let (handle, seat) = workers.least().unwrap();
            seats[seat_of(handle)] += 1;
            held.push(seat);
        }
        assert_eq!(seats, [3, 3, 3]);
        // Whose connections are gone gets the next one.
        let (handle, seat) = workers.least().unwrap();
        let first = seat_of(handle);
        drop(seat);
        held.clear();
        let (handle, _seat) = workers.least().unwrap();
        assert_eq!(seat_of(handle), first);
        assert_eq!(super::seat(), MOST);
    }

    #[test]
    fn they_end_with_what_they_are_at() {
        let workers = Workers::many(2).unwrap();
        let (handle, _seat) = workers.least().unwrap();
        let (held, dropped) = channel::<()>();
        handle.spawn(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        let begun = Instant::now();
        workers.end(LONG);
        assert!(begun.elapsed() < LONG / 2);
        let over = dropped.recv_timeout(LONG);
        assert_eq!(over, Err(RecvTimeoutError::Disconnected));
    }

    #[test]
    fn none_is_no_thread() {
        assert!(Workers::none().least().is_none());
        Workers::none().end(LONG);
    }
}
