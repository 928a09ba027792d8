//! The threads beside the requests: one that observes the nodes, one that keeps house (which chats were
//! used, which pins have run out, what the roster says of placement now). Neither waits for the other, and
//! no request waits for them.

use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::nodes::Endpoint;
use super::{Gateway, lock};
use crate::error::{Error, Result};
use crate::paths::Paths;
use crate::routing::node::{Advert, Health, Node};
use crate::routing::policy::Policy;

/// Longest time for one observation of all nodes.
const LONGEST: Duration = Duration::from_secs(1);

/// A node that gave no answer is asked again after this: whether it hangs should be known within seconds,
/// and one on a loaded machine deserves a second question.
const AGAIN: Duration = Duration::from_secs(1);

/// Between two rounds of house-keeping.
const HOUSE: Duration = Duration::from_secs(2);

/// Between two looks for pins that have run out.
const EXPIRE: Duration = Duration::from_secs(60);

/// What observes the nodes of this host.
pub trait Source: Send {
    /// Reads again what nodes there are.
    ///
    /// # Errors
    /// It cannot be read; the nodes stay those known before.
    fn refresh(&mut self) -> Result<()>;
    /// The nodes and where they listen.
    fn nodes(&self) -> Vec<(Node, Option<Endpoint>)>;
    /// Observes all of them, for `wait` at most.
    fn observe(&mut self, wait: Duration) -> Vec<Advert>;
    /// Tells others what was observed.
    ///
    /// # Errors
    /// It cannot be written.
    fn publish(&self, _adverts: &[Advert]) -> Result<()> {
        Ok(())
    }
}

/// The threads. Dropped without [`Watch::end`], they are told to end and not waited for.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<Stop>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Stop {
    told: Mutex<bool>,
    wake: Condvar,
}

impl Stop {
    /// Waits. `false` once it is time to end.
    fn pause(&self, wait: Duration) -> bool {
        let told = lock(&self.told);
        match self.wake.wait_timeout_while(told, wait, |told| !*told) {
            Ok((told, _)) => !*told,
            Err(_) => false,
        }
    }
}

impl Watch {
    /// Observes once, so that the first request finds nodes, and goes on in threads of its own.
    ///
    /// # Errors
    /// The system gives no threads.
    pub fn begin(
        gateway: &Gateway,
        mut source: Box<dyn Source>,
        paths: Option<&Paths>,
    ) -> Result<Self> {
        let mut watch = Self {
            stop: Arc::new(Stop::default()),
            threads: Vec::new(),
        };
        let mut wait = look(gateway, source.as_mut());
        let (shared, stop) = (gateway.clone(), Arc::clone(&watch.stop));
        watch.spawn("observer", move || {
            while stop.pause(wait) {
                wait = look(&shared, source.as_mut());
            }
        })?;
        if let Some(paths) = paths {
            let (shared, stop) = (gateway.clone(), Arc::clone(&watch.stop));
            let mut house = House::new(paths);
            watch.spawn("keeper", move || {
                while stop.pause(HOUSE) {
                    house.keep(&shared);
                }
                // What is not written now would make pins seem older than they are.
                House::flush(&shared);
            })?;
        }
        Ok(watch)
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<()> {
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(run)
            .map_err(|e| Error::io("cannot begin a thread", e))?;
        self.threads.push(thread);
        Ok(())
    }

    /// Ends the threads and waits for what they are at; one that hangs is left behind after `wait`.
    pub fn end(self, wait: Duration) {
        self.tell();
        let deadline = Instant::now() + wait;
        while Instant::now() < deadline && self.threads.iter().any(|t| !t.is_finished()) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn tell(&self) {
        *lock(&self.stop.told) = true;
        self.stop.wake.notify_all();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.tell();
    }
}

/// Observes all nodes once. When to do so again.
fn look(gateway: &Gateway, source: &mut dyn Source) -> Duration {
    let begun = Instant::now();
    if let Err(e) = source.refresh() {
        tracing::warn!("{e}");
    }
    gateway.nodes.set(source.nodes());
    let adverts = source.observe(LONGEST);
    let mut doubtful = false;
    for advert in &adverts {
        let Some(live) = gateway.nodes.get(&advert.id) else {
            continue;
        };
        let before = live.advert();
        let same = before
            .as_ref()
            .is_some_and(|b| b.health.as_str() == advert.health.as_str());
        doubtful |= !same && matches!(advert.health, Health::Timeout(_));
        if !same {
            tracing::info!(
                node = advert.id,
                health = advert.health.as_str(),
                "{}",
                advert.health.why()
            );
        }
        live.observed(advert.clone());
    }
    if let Err(e) = source.publish(&adverts) {
        tracing::warn!("{e}");
    }
    let every = Duration::from_secs(gateway.policy().publish_interval_secs.max(1));
    let next = if doubtful { every.min(AGAIN) } else { every };
    next.saturating_sub(begun.elapsed())
}

/// What tells that the policy's file is another one than before.
type Stamp = Option<(i64, i64, u64)>;

struct House {
    paths: Paths,
    policy: Stamp,
    expired: Instant,
}

impl House {
    fn new(paths: &Paths) -> Self {
        Self {
            policy: stamp(paths),
            paths: paths.clone(),
            expired: Instant::now(),
        }
    }

    fn keep(&mut self, gateway: &Gateway) {
        Self::flush(gateway);
        let now = stamp(&self.paths);
        if now != self.policy {
            match Policy::load(&self.paths) {
                Ok(policy) => {
                    tracing::info!("placement goes by a new policy");
                    gateway.set_policy(policy);
                }
                // The one before is better than none.
                Err(e) => tracing::warn!("{e}"),
            }
            self.policy = now;
        }
        if self.expired.elapsed() >= EXPIRE {
            self.expired = Instant::now();
            Self::expire(gateway, Timestamp::now());
        }
    }

    fn flush(gateway: &Gateway) {
        if let Err(e) = gateway.flush_used() {
            tracing::warn!("{e}");
        }
    }

    fn expire(gateway: &Gateway, now: Timestamp) {
        let Some(secs) = gateway.policy().pin_ttl_secs else {
            return;
        };
        let ttl = SignedDuration::from_secs(i64::try_from(secs).unwrap_or(i64::MAX));
        match gateway.expire(ttl, now) {
            Ok(0) => {}
            Ok(n) => tracing::info!("{n} pins were not used for {secs} s and are released"),
            Err(e) => tracing::warn!("{e}"),
        }
    }
}

fn stamp(paths: &Paths) -> Stamp {
    let meta = std::fs::metadata(paths.routing_policy()).ok()?;
    Some((meta.mtime(), meta.mtime_nsec(), meta.ino()))
}

#[cfg(test)]
mod tests;
