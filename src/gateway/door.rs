//! Where every request comes in: it is told of and let in, or not, and goes to the room of its dialect. What
//! is here costs every request the same again, so it is little: goosed's paths, which are asked most, are
//! looked up in their table at once, and the rest by the framework.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request};
use axum::response::Response;
use axum::routing::get;
use hyper::body::Incoming;
use tower::ServiceExt as _;

use super::{Gateway, access, acp, chats, goosed, metrics, opencode, reply};

/// Everything that the gateway answers. Cheap to clone.
#[derive(Clone)]
pub struct Door {
    gateway: Gateway,
    rooms: Rooms,
}

/// Who answers.
#[derive(Clone)]
pub struct Rooms {
    goosed: Arc<goosed::Paths>,
    others: Router,
}

impl Door {
    /// To every dialect.
    pub fn new(gateway: &Gateway) -> Self {
        let others = Router::new()
            .nest("/opencode", opencode::router(gateway))
            .merge(acp::router(gateway))
            .merge(chats::router(gateway))
            .route("/metrics", get(metrics::show));
        Self::to(gateway, goosed::Paths::all(), others)
    }

    /// To these.
    pub fn to(gateway: &Gateway, goosed: goosed::Paths, others: Router<Gateway>) -> Self {
        let others = others
            .fallback(reply::otherwise)
            .method_not_allowed_fallback(reply::wrong_method)
            // The gateway's own limits are higher, and hold for what is only passed on too.
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(gateway));
        Self {
            gateway: Arc::clone(gateway),
            rooms: Rooms {
                goosed: Arc::new(goosed),
                others,
            },
        }
    }
}

impl Rooms {
    /// Answers a request that may come in.
    pub async fn answer(self, gateway: &Gateway, request: Request) -> Response {
        match self.goosed.at(request.uri().path()) {
            Some(methods) => methods.answer(gateway, request).await,
            // These are far from small.
            None => match Box::pin(self.others.oneshot(request)).await {
                Ok(response) => response,
                Err(never) => match never {},
            },
        }
    }
}

impl hyper::service::Service<axum::http::Request<Incoming>> for Door {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, request: axum::http::Request<Incoming>) -> Self::Future {
        let Self { gateway, rooms } = self.clone();
        Box::pin(async move { Ok(access::tell(&gateway, rooms, request.map(Body::new)).await) })
    }
}
