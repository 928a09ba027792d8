//! Accepts connections and serves them: limits on heads, connections and time, and an orderly end.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::Gateway;

/// A head that takes longer is no head of ours: it comes in one piece.
const HEAD: Duration = Duration::from_secs(10);

/// Longest head of a request, in bytes. A session's name, a secret and a desktop program's headers are
/// below 4 KB.
const HEAD_BYTES: usize = 64 * 1024;

/// Most headers of a request.
const HEADERS: usize = 100;

/// Most connections at a time: thousands of streams, and still far from the usual limit of open files.
const CONNECTIONS: usize = 4096;

/// How long requests under way are given when the gateway stops.
const ENDING: Duration = Duration::from_secs(5);

/// After an accept that failed for want of files or memory.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop` is over: streams are ended then, requests under way answered, new ones refused.
pub async fn serve(
    gateway: &Gateway,
    listener: TcpListener,
    router: Router,
    stop: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let (end, ended) = watch::channel(());
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, place)) => {
                let (router, ended) = (router.clone(), ended.clone());
                connections.spawn(async move {
                    connection(stream, router, ended).await;
                    drop(place);
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
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(ENDING, all).await.is_err() {
        tracing::warn!("requests under way were broken off");
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, Option<tokio::sync::OwnedSemaphorePermit>)> {
    // Never closed, so there is always a place to come.
    let place = Arc::clone(places).acquire_owned().await.ok();
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, place))
}

/// Serves one connection; ends it after the request under way when `ended` is closed.
async fn connection(stream: TcpStream, router: Router, mut ended: watch::Receiver<()>) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    tokio::pin!(served);
    let done = tokio::select! {
        done = served.as_mut() => done,
        _ = ended.changed() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(e) = done {
        // Clients go away at any time.
        tracing::debug!("a connection ended: {e}");
    }
}
