//! The connections to nodes that are free at the moment, of one thread.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::wire::Wire;
use crate::gateway::lock;

/// Free connections are kept for less than servers keep them.
const IDLE: Duration = Duration::from_secs(15);

/// Free connections by their nodes' ports. What was used last is used first.
#[derive(Debug)]
pub struct Pool {
    inner: Mutex<Inner>,
    /// How long one is kept; it is closed within a third more.
    idle: Duration,
}

impl Default for Pool {
    fn default() -> Self {
        Self::keeping(IDLE)
    }
}

#[derive(Debug, Default)]
struct Inner {
    free: BTreeMap<u16, Vec<Free>>,
    /// Whether somebody closes those that nobody needs.
    swept: bool,
}

#[derive(Debug)]
struct Free {
    wire: Wire,
    since: Instant,
}

impl Pool {
    /// An empty one that keeps connections for so long.
    pub fn keeping(idle: Duration) -> Self {
        Self {
            inner: Mutex::default(),
            idle,
        }
    }

    /// A connection that stands and is at no request, as far as can be told.
    pub fn take(&self, port: u16) -> Option<Wire> {
        loop {
            // Not looked at under the lock.
            let mut free = lock(&self.inner).free.get_mut(&port)?.pop()?;
            if free.since.elapsed() < self.idle && free.wire.is_free() {
                return Some(free.wire);
            }
        }
    }

    /// Keeps a connection, if it can be used again.
    pub fn put(self: &Arc<Self>, port: u16, mut wire: Wire) {
        // None at the end of a thread: nobody comes for it then.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        if !wire.is_free() {
            return;
        }
        let since = Instant::now();
        let mut inner = lock(&self.inner);
        let free = Free { wire, since };
        inner.free.entry(port).or_default().push(free);
        let first = !std::mem::replace(&mut inner.swept, true);
        // A runtime that ends drops at once what is given to it, which takes the lock.
        drop(inner);
        if first {
            runtime.spawn(swept(Sweeper(Arc::downgrade(self)), self.idle / 3));
        }
    }

    /// Closes what was kept for long enough. Whether something is left.
    fn sweep(&self) -> bool {
        let mut old = Vec::new();
        let mut inner = lock(&self.inner);
        inner.free.retain(|_, all| {
            // The oldest ones stand first.
            let kept = all.partition_point(|free| free.since.elapsed() >= self.idle);
            old.extend(all.drain(..kept));
            !all.is_empty()
        });
        inner.swept = !inner.free.is_empty();
        inner.swept
    }

    #[cfg(test)]
    pub fn count(&self, port: u16) -> usize {
        lock(&self.inner).free.get(&port).map_or(0, Vec::len)
    }
}

/// Who closes them. Where its runtime ends, another one comes with the next connection that is kept.
struct Sweeper(Weak<Pool>);

impl Drop for Sweeper {
    fn drop(&mut self) {
        if let Some(pool) = self.0.upgrade() {
            lock(&pool.inner).swept = false;
        }
    }
}

async fn swept(sweeper: Sweeper, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        match sweeper.0.upgrade() {
            Some(pool) if pool.sweep() => {}
            _ => return,
        }
    }
}
