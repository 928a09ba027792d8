//! A bounded number of threads for what blocks. Whoever asked and went away is not worked for any longer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::Semaphore;

use crate::gateway::reply::Reply;
use crate::gateway::stream::Switch;

/// How long a place is waited for.
const WAIT: Duration = Duration::from_secs(5);

/// The threads.
#[derive(Debug)]
pub struct Threads {
    doing: &'static str,
    most: usize,
    places: Arc<Semaphore>,
}

/// Tells a thread to leave off, at the latest when the request is dropped.
struct Leave(Arc<AtomicBool>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Threads {
    /// At most so many; `doing` completes "64 …" in the refusal.
    pub fn new(doing: &'static str, most: usize) -> Self {
        Self {
            doing,
            most,
            places: Arc::new(Semaphore::new(most)),
        }
    }

    /// Runs something that blocks. It is given a question to ask meanwhile: whether to leave off, since the
    /// client has gone or the gateway stops.
    ///
    /// # Errors
    /// 503: all are busy. 500: it panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        stopping: &Switch,
        run: impl FnOnce(&dyn Fn() -> bool) -> T + Send + 'static,
    ) -> Result<T, Reply> {
        let place = tokio::time::timeout(WAIT, Arc::clone(&self.places).acquire_owned()).await;
        let Ok(Ok(place)) = place else {
            return Err(Reply::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("{} {} at the moment; try again", self.most, self.doing),
            ));
        };
        let leave = Leave(Arc::new(AtomicBool::new(false)));
        let asked = Arc::clone(&leave.0);
        let stopped = stopping.wait();
        let mut running = tokio::task::spawn_blocking(move || {
            let done = run(&|| asked.load(Ordering::Relaxed));
            drop(place);
            done
        });
        let done = tokio::select! {
            done = &mut running => done,
            () = stopped => {
                leave.0.store(true, Ordering::Relaxed);
                running.await
            }
        };
        done.map_err(|e| {
            Reply::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("a thread of the gateway's broke off: {e}"),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap()
    }

    fn wait(left: &dyn Fn() -> bool) {
        while !left() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn whoever_goes_away_or_stops_ends_the_work() {
        let (told, heard) = std::sync::mpsc::channel();
        runtime().block_on(async move {
            let threads = Threads::new("are busy", 1);
            let stopping = Switch::default();
            let told_by_drop = told.clone();
            let dropped = threads.run(&stopping, move |left| {
                wait(left);
                told_by_drop.send("dropped").unwrap();
            });
            assert!(
                tokio::time::timeout(Duration::from_millis(50), dropped)
                    .await
                    .is_err()
            );
            let stopped = threads.run(&stopping, |left| {
                wait(left);
                "stopped"
            });
            let (stopped, ()) = tokio::join!(stopped, async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                stopping.cut();
            });
            told.send(stopped.unwrap()).unwrap();
        });
        assert_eq!(heard.iter().collect::<Vec<_>>(), ["dropped", "stopped"]);
    }
}
