//! One stream of events over HTTP: what waits for a client, written as it takes it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};

use super::client::Client;
use super::out::{Lease, Parcel};
use super::remote::{Open, Remote};

/// Between two signs of life on a stream, as of the real server.
const ALIVE: Duration = Duration::from_secs(15);

/// An open stream of events.
struct Stream {
    client: Arc<Client>,
    _open: Open,
    lease: Lease,
    /// What was sent last; its place is free once the next one is wanted.
    sent: Option<Parcel>,
}

/// What comes on it, as the body of an answer.
pub fn stream(remote: &Arc<Remote>, lease: Lease) -> Body {
    let stream = Stream {
        client: Arc::clone(remote.client()),
        _open: remote.opened(),
        lease,
        sent: None,
    };
    Body::from_stream(futures_util::stream::unfold(stream, |mut stream| async {
        stream.sent = None;
        let closing = stream.client.out.closing();
        let parcel = tokio::select! {
            biased;
            parcel = stream.lease.next() => parcel,
            () = closing => stream.lease.ready(),
            () = tokio::time::sleep(ALIVE) => {
                return Some((Ok::<_, Infallible>(Bytes::from_static(b":\n\n")), stream));
            }
        }?;
        let event = Bytes::from(format!("data: {}\n\n", parcel.text));
        stream.sent = Some(parcel);
        Some((Ok(event), stream))
    }))
}
