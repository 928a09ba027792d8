//! Accepts connections and serves them: limits on heads, connections and time, and an orderly end.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::Gateway;
use super::limits::{Limits, Taking};

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
}

impl Ways {
    /// Without TLS.
    pub fn plain(listener: TcpListener) -> Self {
        Self {
            listener,
            tls: None,
        }
    }
}

/// Serves until `stop` is over: streams are ended then, requests under way answered, new ones refused.
pub async fn serve(gateway: &Gateway, ways: Ways, router: Router, stop: impl Future<Output = ()>) {
    let Ways { listener, tls } = ways;
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
            Ok((stream, place)) => {
                let one = Connection {
                    router: router.clone(),
                    ended: ended.clone(),
                    limits,
                };
                let tls = tls.clone();
                connections.spawn(async move {
                    let stream = Taking::new(stream, limits.stall).in_place(place);
                    match tls {
                        None => one.serve(stream).await,
                        Some(tls) => one.secured(tls, stream).await,
                    }
                });
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
    };
    if tokio::time::timeout(ENDING, all).await.is_err() {
        tracing::warn!("requests under way were broken off");
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, Option<OwnedSemaphorePermit>)> {
    // Never closed, so there is always a place to come.
    let place = Arc::clone(places).acquire_owned().await.ok();
    let (stream, _) = listener.accept().await?;
    // A client that is gone again already is found out by its connection.
    let _ = stream.set_nodelay(true);
    Ok((stream, place))
}

/// One connection.
struct Connection {
    router: Router,
    ended: watch::Receiver<()>,
    limits: Limits,
}

impl Connection {
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
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(self.router))
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
