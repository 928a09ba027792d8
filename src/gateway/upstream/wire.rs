//! One connection to a node. Nothing drives it but whoever waits for its answer: an answer wakes its reader
//! and nobody else, and a connection that nobody uses costs nothing.

use std::pin::{Pin, pin};
use std::sync::Weak;
use std::task::{Context, Poll, Waker, ready};

use axum::BoxError;
use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use futures_util::future::poll_fn;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::coop::{poll_proceed, unconstrained};

use super::pool::Pool;

/// A connection, between two requests or at one.
#[derive(Debug)]
pub struct Wire {
    sender: SendRequest<Body>,
    /// `None` once it has come to its end.
    connection: Option<Box<Connection<TokioIo<TcpStream>, Body>>>,
}

/// What became of a request that was not answered.
#[derive(Debug)]
pub enum Unanswered {
    /// Not a byte of it was written.
    Unsent(hyper::Error, Box<Request<Body>>),
    /// It may have been taken.
    Lost(hyper::Error),
}

impl Wire {
    /// Over a connection, which is not looked at: of one that is gone the first request comes back.
    ///
    /// # Errors
    /// None that is known.
    pub async fn over(stream: TcpStream) -> Result<Self, hyper::Error> {
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        Ok(Self {
            sender,
            connection: Some(Box::new(connection)),
        })
    }

    /// Whether it stands, and is at no request.
    pub fn is_free(&mut self) -> bool {
        // What it waits for is no business of whoever asks.
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.connection.is_some() && self.sender.is_ready()
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && pin!(unconstrained(connection)).poll(cx).is_ready()
        {
            // An error is told to whoever waits for the answer, or for more of it.
            self.connection = None;
        }
    }

    /// Sends a request and waits for the head of the answer. The connection comes with the answer's body, and
    /// goes to `home` at its end.
    ///
    /// # Errors
    /// No answer.
    pub async fn ask(
        mut self,
        request: Request<Body>,
        home: Home,
    ) -> Result<Response<NodeBody>, Unanswered> {
        // Nothing but the connection can complete it, so nothing else need wake this; and nothing may keep it
        // from being seen when that has happened.
        let mut answer = pin!(unconstrained(self.sender.try_send_request(request)));
        let answered = poll_fn(|cx| {
            self.drive(cx);
            answer
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
        });
        match answered.await {
            Ok(answer) => Ok(answer.map(|body| NodeBody {
                body: Some(body),
                wire: Some(self),
                home,
            })),
            Err(e) => Err(unanswered(e)),
        }
    }
}

fn unanswered(mut e: TrySendError<Request<Body>>) -> Unanswered {
    match e.take_message() {
        Some(request) => Unanswered::Unsent(e.into_error(), Box::new(request)),
        None => Unanswered::Lost(e.into_error()),
    }
}

/// Where a connection goes that is free again.
#[derive(Debug)]
pub struct Home {
    /// The pool.
    pub pool: Weak<Pool>,
    /// Which node's.
    pub port: u16,
}

/// The body of a node's answer, as it comes. Reading it is what drives its connection: also what is left of the
/// request's own body goes to the node by that alone. Dropped, it closes the connection, unless the answer had
/// come to its end.
#[derive(Debug)]
pub struct NodeBody {
    /// `None` once it is dropped.
    body: Option<Incoming>,
    wire: Option<Wire>,
    home: Home,
}

impl NodeBody {
    fn look(&mut self) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        // As for the head: the connection alone can bring more.
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()));
        frame.map_err(Into::into)
    }
}

impl HttpBody for NodeBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        // A node that is always quicker than its reader must not keep the thread.
        let step = ready!(poll_proceed(cx));
        let mut frame = self.look();
        if frame.is_pending() {
            if let Some(wire) = &mut self.wire {
                wire.drive(cx);
            }
            frame = self.look();
        }
        if frame.is_ready() {
            step.made_progress();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(SizeHint::default, Incoming::size_hint)
    }
}

impl Drop for NodeBody {
    fn drop(&mut self) {
        // So that the connection drops what is left of it, where that is there already.
        self.body = None;
        if let (Some(wire), Some(pool)) = (self.wire.take(), self.home.pool.upgrade()) {
            pool.put(self.home.port, wire);
        }
    }
}
