//! Bodies that are passed on byte by byte, as they come, and that can be ended: when the gateway stops, or
//! when their node hangs.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::watch;

/// Ends all that was begun before it is cut; a latch also what is begun afterwards.
#[derive(Debug, Clone)]
pub struct Switch {
    sender: watch::Sender<u64>,
    for_good: bool,
}

impl Default for Switch {
    fn default() -> Self {
        Self {
            sender: watch::Sender::new(0),
            for_good: false,
        }
    }
}

impl Switch {
    /// One that stays cut.
    pub fn latch() -> Self {
        Self {
            for_good: true,
            ..Self::default()
        }
    }

    /// Ends what was begun so far.
    pub fn cut(&self) {
        self.sender.send_modify(|n| *n += 1);
    }

    /// How many wait for the next cut.
    pub fn waiting(&self) -> usize {
        self.sender.receiver_count()
    }

    /// Waits for the next cut after this call, whenever it is polled first; of a latch for the first one
    /// of all.
    pub fn wait(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut receiver = self.sender.subscribe();
        let for_good = self.for_good;
        async move {
            // An error means that the switch is gone, and so is whoever could have cut.
            if for_good {
                let _ = receiver.wait_for(|cuts| *cuts > 0).await.map(drop);
            } else {
                let _ = receiver.changed().await;
            }
        }
    }
}

/// The body of a node's answer. Ends early when one of the switches is cut; dropped
/// before its end, it closes the connection to the node.
pub fn passed_on<B>(body: B, switches: &[&Switch]) -> Body
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<axum::BoxError>,
{
    let waits: Vec<Pin<Box<dyn Future<Output = ()> + Send>>> = switches
        .iter()
        .map(|s| Box::pin(s.wait()) as Pin<Box<dyn Future<Output = ()> + Send>>)
        .collect();
    Body::new(Passed { body, waits })
}

struct Passed<B> {
    body: B,
    waits: Vec<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<B> HttpBody for Passed<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<axum::BoxError>,
{
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame.map(|f| f.map_err(Into::into)));
        }
        for wait in &mut self.waits {
            if wait.as_mut().poll(cx).is_ready() {
                // An error, and no proper end: a client must not take what it has for the whole.
                return Poll::Ready(Some(Err("the gateway ended the stream".into())));
            }
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn is_over(wait: impl Future<Output = ()>) -> bool {
        tokio::time::timeout(Duration::from_millis(20), wait)
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn a_cut_before_the_first_look_counts() {
        let switch = Switch::default();
        let wait = switch.wait();
        switch.cut();
        assert!(is_over(wait).await);
        // What is begun afterwards goes on.
        assert!(!is_over(switch.wait()).await);
    }

    #[tokio::test]
    async fn a_latch_ends_what_is_begun_later_too() {
        let switch = Switch::latch();
        let wait = switch.wait();
        switch.cut();
        assert!(is_over(wait).await && is_over(switch.wait()).await);
    }
}
