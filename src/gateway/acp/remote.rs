//! A client over HTTP, between its requests: how long it has said nothing, and when it is over.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::client::Client;
use crate::gateway::{Gateway, lock};

/// A client over HTTP.
#[derive(Debug)]
pub struct Remote {
    client: Arc<Client>,
    streams: AtomicUsize,
    used: Mutex<Instant>,
}

impl Remote {
    /// Of a client that has just come.
    pub fn new(client: Arc<Client>) -> Arc<Self> {
        Arc::new(Self {
            client,
            streams: AtomicUsize::new(0),
            used: Mutex::new(Instant::now()),
        })
    }

    /// Who it is.
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// It has just said something.
    pub fn touch(&self) {
        *lock(&self.used) = Instant::now();
    }

    /// It has a stream open for as long as this is kept.
    pub fn opened(self: &Arc<Self>) -> Open {
        self.streams.fetch_add(1, Ordering::SeqCst);
        Open(Arc::clone(self))
    }

    /// How long it has said nothing, with no stream open.
    fn idle(&self) -> Duration {
        match self.streams.load(Ordering::SeqCst) {
            0 => lock(&self.used).elapsed(),
            _ => Duration::ZERO,
        }
    }

    /// Waits until it says that it ends, or says nothing for `idle`, or is cut, or the gateway stops.
    pub async fn over(&self, gateway: &Gateway, idle: Duration) {
        let silent = async {
            while self.idle() < idle {
                tokio::time::sleep(idle / 4).await;
            }
        };
        tokio::select! {
            () = gateway.stopping.wait() => {}
            () = self.client.out.closing() => {}
            () = silent => tracing::debug!("a silent client's connection is ended"),
        }
    }
}

/// One of its streams is open.
#[derive(Debug)]
pub struct Open(Arc<Remote>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.touch();
        self.0.streams.fetch_sub(1, Ordering::SeqCst);
    }
}
