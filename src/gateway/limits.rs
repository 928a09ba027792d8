//! What a client may take: connections, heads, bodies, time. A client that stands still holds a place that
//! another one needs, and behind a body that never ends a node would wait. How it takes what it is answered is
//! looked at in [`super::taking`].

use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

use super::lock;
use super::reply::Reply;

/// Bytes of a permit in [`Budget`], which counts in `u32`.
const PERMIT: u64 = 1024;

/// The limits.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most connections at a time; others wait to be accepted.
    pub connections: usize,
    /// A connection on which no head of a request comes for so long is closed: heads come in one piece, and
    /// clients that keep a connection open use it.
    pub head: Duration,
    /// Longest body of a request in bytes. Clients of goosed send images and whole sessions.
    pub body: u64,
    /// Most bytes of all bodies of requests that are held at a time.
    pub bodies: u64,
    /// The same of all answers that are read whole. They have a room of their own: a request's body takes what
    /// it needs or is refused, and an answer that waits for room would make all of them be refused.
    pub answers: u64,
    /// The same of what the gateway itself reads, and no client holds up.
    pub looks: u64,
    /// A body may be waited for so long, whatever comes of it.
    pub patience: Duration,
    /// And a second more for so many bytes of it that came.
    pub rate: u64,
    /// How long a client may take nothing of an answer, and send nothing of a body it has begun.
    pub stall: Duration,
    /// How many bytes of an answer a client takes in a second at least, while there are more for it.
    pub taken: u64,
    /// And for how long in all it may be behind that.
    pub behind: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Thousands of streams, and still far from the usual limit of open files.
            connections: 4096,
            head: Duration::from_secs(30),
            body: 50 * 1024 * 1024,
            bodies: 256 * 1024 * 1024,
            // Twice the longest one that is read.
            answers: 256 * 1024 * 1024,
            looks: 256 * 1024 * 1024,
            patience: Duration::from_secs(30),
            rate: 16 * 1024,
            stall: Duration::from_secs(30),
            // As of bodies: who has a slow line is no foe, and a terminal or a stream of events is one too.
            taken: 16 * 1024,
            behind: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// Whether a body that says how long it is, is too long.
    pub fn refuses(&self, headers: &HeaderMap) -> bool {
        headers
            .get(header::CONTENT_LENGTH)
            .and_then(|v| v.to_str().ok()?.parse::<u64>().ok())
            .is_some_and(|length| length > self.body)
    }

    /// What is said of a body that is too long.
    pub fn too_long(&self) -> Response {
        let most = self.body / (1024 * 1024);
        let why = format!("the body is longer than {most} MiB");
        closing(Reply::new(StatusCode::PAYLOAD_TOO_LARGE, why).into_response())
    }

    fn stalled(&self) -> Response {
        let why = format!("nothing of the body came within {} s", self.stall.as_secs());
        closing(Reply::new(StatusCode::REQUEST_TIMEOUT, why).into_response())
    }

    fn slow(&self) -> Response {
        let why = format!(
            "the body came slower than {} KiB/s for more than {} s",
            self.rate / 1024,
            self.patience.as_secs()
        );
        closing(Reply::new(StatusCode::REQUEST_TIMEOUT, why).into_response())
    }

    fn full(&self) -> Response {
        let why = format!(
            "the bodies of all requests are more than {} MiB at the moment; try again",
            self.bodies / (1024 * 1024)
        );
        closing(Reply::new(StatusCode::SERVICE_UNAVAILABLE, why).into_response())
    }

    /// A body within the limits, and what came of it.
    pub fn bound(&self, body: Body, budget: &Budget) -> (Body, Verdict) {
        let verdict = Verdict {
            how: Arc::new(AtomicU8::new(FINE)),
            held: Held::default(),
        };
        let bounded = Bounded {
            body,
            came: 0,
            limits: *self,
            budget: budget.clone(),
            timer: None,
            waited: Duration::ZERO,
            verdict: verdict.clone(),
        };
        (Body::new(bounded), verdict)
    }
}

/// What is said of a body where none is read.
pub fn unwanted() -> Response {
    let why = "no body is taken here";
    closing(Reply::new(StatusCode::PAYLOAD_TOO_LARGE, why).into_response())
}

/// What all bodies of a kind together may take.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Semaphore>);

impl Budget {
    /// So many bytes.
    pub fn of(bytes: u64) -> Self {
        let permits = usize::try_from(bytes / PERMIT).unwrap_or(usize::MAX);
        Self(Arc::new(Semaphore::new(
            permits.min(Semaphore::MAX_PERMITS),
        )))
    }

    /// What is left of it, in KiB.
    #[cfg(test)]
    pub fn left(&self) -> usize {
        self.0.available_permits()
    }

    /// Takes so many bytes, waiting for others to give theirs back. `None`: not in time.
    pub async fn within(&self, bytes: u64, wait: Duration) -> Option<OwnedSemaphorePermit> {
        let permits = u32::try_from(bytes.div_ceil(PERMIT)).ok()?;
        let taken = Arc::clone(&self.0).acquire_many_owned(permits);
        tokio::time::timeout(wait, taken).await.ok()?.ok()
    }

    /// Takes as much as makes `held` enough for so many bytes. Whether there was as much.
    fn take(&self, held: &Held, bytes: u64) -> bool {
        let mut held = lock(&held.0);
        let has = held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits) as u64;
        let more = bytes.div_ceil(PERMIT).saturating_sub(has);
        let Ok(more) = u32::try_from(more) else {
            return false;
        };
        let Ok(taken) = Arc::clone(&self.0).try_acquire_many_owned(more) else {
            return false;
        };
        match held.as_mut() {
            Some(held) => held.merge(taken),
            None => *held = Some(taken),
        }
        true
    }
}

/// A request's part of the [`Budget`]: given back when nobody has the request any more, a task that
/// outlives its client included.
#[derive(Debug, Clone, Default)]
struct Held(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

/// What is left of the body is not read.
fn closing(mut response: Response) -> Response {
    let close = header::HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}

const FINE: u8 = 0;
const LONG: u8 = 1;
const STALLED: u8 = 2;
const SLOW: u8 = 3;
const FULL: u8 = 4;

/// What came of a body while it was read.
#[derive(Debug, Clone)]
pub struct Verdict {
    how: Arc<AtomicU8>,
    held: Held,
}

impl Verdict {
    /// Lets the body's part of the budget live as long as the head of its request.
    pub fn goes_with(&self, head: &mut axum::http::request::Parts) {
        head.extensions.insert(self.held.clone());
    }

    /// The answer to a request whose body broke a limit, whatever became of it then; else its own.
    pub fn over(&self, response: Response, limits: &Limits) -> Response {
        match self.how.load(Ordering::Relaxed) {
            LONG => limits.too_long(),
            STALLED => limits.stalled(),
            SLOW => limits.slow(),
            FULL => limits.full(),
            _ => response,
        }
    }
}

/// A client's body that ends with an error where it breaks a limit.
struct Bounded {
    body: Body,
    came: u64,
    limits: Limits,
    budget: Budget,
    /// While it is waited for: since when, and for how long at most.
    timer: Option<(Instant, Pin<Box<Sleep>>)>,
    /// How long it was waited for before. The time in which its node takes nothing is not the client's.
    waited: Duration,
    verdict: Verdict,
}

impl Bounded {
    fn broken(&self, how: u8, why: &'static str) -> Poll<Option<Framed>> {
        self.verdict.how.store(how, Ordering::Relaxed);
        Poll::Ready(Some(Err(axum::Error::new(why))))
    }

    /// How long it may still be waited for in all.
    fn patience(&self) -> Duration {
        let earned = Duration::from_secs(self.came / self.limits.rate.max(1));
        (self.limits.patience + earned).saturating_sub(self.waited)
    }
}

type Framed = std::result::Result<Frame<Bytes>, axum::Error>;

impl HttpBody for Bounded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Framed>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            let (patience, stall) = (self.patience(), self.limits.stall);
            let (_, timer) = self
                .timer
                .get_or_insert_with(|| (Instant::now(), Box::pin(sleep(stall.min(patience)))));
            ready!(timer.as_mut().poll(cx));
            return match patience < stall {
                true => self.broken(SLOW, "the body is too slow"),
                false => self.broken(STALLED, "the body stands still"),
            };
        };
        if let Some((since, _)) = self.timer.take() {
            self.waited += since.elapsed();
        }
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.came += data.len() as u64;
            if self.came > self.limits.body {
                return self.broken(LONG, "the body is too long");
            }
            if !self.budget.take(&self.verdict.held, self.came) {
                return self.broken(FULL, "there is no room for the body");
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
