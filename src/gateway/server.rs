//! Accepts connections and has them served: limits on heads, connections and time, and an orderly end.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::Gateway;
use super::door::Door;
use super::limits::Limits;
use super::taking::{Place, Taking};
use super::workers::Workers;

/// How long a client may take for the handshake of TLS.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Longest head of a request, in bytes. A session's name, a secret and a desktop program's headers are
/// below 4 KB.
const HEAD_BYTES: usize = 64 * 1024;

/// Most headers of a request.
const HEADERS: usize = 100;

/// How long requests under way are given when the gateway stops.
const ENDING: Duration = Duration::from_secs(5);

/// After an accept that failed for want of files or memory.
const PAUSE: Duration = Duration::from_millis(50);

/// How clients come in.
pub struct Ways {
    /// Where.
    pub listener: TcpListener,
    /// What makes a connection one of TLS.
    pub tls: Option<TlsAcceptor>,
    /// Who serves them.
    pub workers: Workers,
}

impl Ways {
    /// Without TLS, served by whoever accepts them.
    pub fn plain(listener: TcpListener) -> Self {
        Self {
            listener,
            tls: None,
            workers: Workers::none(),
        }
    }
}

/// Serves until `stop` is over: streams are ended then, requests under way answered, new ones refused.
pub async fn serve(gateway: &Gateway, ways: Ways, door: Door, stop: impl Future<Output = ()>) {
    let Ways {
        listener,
        tls,
        workers,
    } = ways;
    let limits = gateway.limits;
    let places = Arc::new(Semaphore::new(limits.connections));
    let (end, ended) = watch::channel(());
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            // Not asked while there is none.
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, permit)) => {
                let one = Connection {
                    door: door.clone(),
                    ended: ended.clone(),
                    limits,
                    tls: tls.clone(),
                };
                match workers.least() {
                    None => {
                        let place = Place { permit, seat: None };
                        connections.spawn(one.begin(stream, place));
                    }
                    Some((thread, seat)) => {
                        let seat = Some(seat);
                        let place = Place { permit, seat };
                        connections.spawn_on(one.moved(stream, place), thread);
                    }
                }
            }
            Err(e) => {
                tracing::warn!("cannot accept a connection: {e}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    gateway.stopping.cut();
    drop(end);
    let all = async {
        while connections.join_next().await.is_some() {}
        // Those that have become something else have their places still.
        let every = u32::try_from(limits.connections).unwrap_or(u32::MAX);
        let _ = places.acquire_many(every).await;
        gateway.under_way.done().await;
    };
    if tokio::time::timeout(ENDING, all).await.is_err() {
        tracing::warn!("requests under way were broken off");
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    // Never closed, so there is always a place to come.
    let place = Arc::clone(places).acquire_owned().await;
    let place = place.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    // A client that is gone again already is found out by its connection.
    let _ = stream.set_nodelay(true);
    Ok((stream, place))
}

/// One connection.
struct Connection {
    door: Door,
    ended: watch::Receiver<()>,
    limits: Limits,
    tls: Option<TlsAcceptor>,
}

impl Connection {
    /// On another thread than the one that accepted it.
    async fn moved(self, stream: TcpStream, place: Place) {
        // Whoever waits for it is told by the runtime of the thread that it is on.
        match stream.into_std().and_then(TcpStream::from_std) {
            Ok(stream) => self.begin(stream, place).await,
            Err(e) => tracing::warn!("a connection cannot be served: {e}"),
        }
    }

    async fn begin(mut self, stream: TcpStream, place: Place) {
        let stream = Taking::new(stream, &self.limits).in_place(place);
        match self.tls.take() {
            None => self.serve(stream).await,
            Some(tls) => self.secured(tls, stream).await,
        }
    }

    async fn secured(self, tls: TlsAcceptor, stream: Taking<TcpStream>) {
        match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.serve(stream).await,
            Ok(Err(e)) => tracing::debug!("no TLS came of a connection: {e}"),
            Err(_) => tracing::debug!("no TLS came of a connection in time"),
        }
    }

    /// Serves it; ends it after the request under way when the gateway stops.
    async fn serve(mut self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head)
            .max_buf_size(HEAD_BYTES)
            .max_headers(HEADERS)
            .serve_connection(TokioIo::new(stream), self.door)
            .with_upgrades();
        tokio::pin!(served);
        let done = tokio::select! {
            done = served.as_mut() => done,
            _ = self.ended.changed() => {
                served.as_mut().graceful_shutdown();
                served.await
            }
        };
        if let Err(e) = done {
            // Clients go away at any time.
            tracing::debug!("a connection ended: {e}");
        }
    }
}

#[cfg(test)]
mod tests;
