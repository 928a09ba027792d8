//! A client's request on its way to a node, and the node's answer on its way back.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body as HttpBody;

use super::State;
use super::ask::Answer;
use super::named::Named;
use crate::gateway::Gateway;
use crate::gateway::nodes::Live;
use crate::gateway::pieces;
use crate::gateway::reply::Reply;
use crate::gateway::stream;
use crate::gateway::upstream;
use crate::gateway::whole;

/// Largest body of a request that is read first: settings, what a session begins with. What is passed on as it
/// comes may be as long as anything that the gateway takes.
pub const READ: usize = 4 * 1024 * 1024;

/// Which node has answered.
const NODE: HeaderName = HeaderName::from_static("x-mosaic-node");

/// What a client asks.
#[derive(Debug)]
pub struct Asked {
    /// The dialect's state.
    pub state: Arc<State>,
    /// What is named.
    pub named: Named,
    /// The request, its path below the prefix.
    pub request: Request,
}

impl Asked {
    /// The path.
    pub fn path(&self) -> &str {
        self.request.uri().path()
    }

    /// Reads the body, so that it can be looked at and sent more than once.
    ///
    /// # Errors
    /// 413; 400: it broke off.
    pub async fn read(self) -> Result<Read, Reply> {
        let (head, body) = self.request.into_parts();
        let too_large = || {
            Reply::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("at most {READ} bytes are taken here"),
            )
        };
        if length(&head) > READ as u64 {
            return Err(too_large());
        }
        let body = match Limited::new(body, READ).collect().await {
            Ok(body) => body.to_bytes(),
            Err(e) if e.is::<LengthLimitError>() => return Err(too_large()),
            Err(e) => return Err(Reply::bad(format!("the body broke off: {e}"))),
        };
        Ok(Read {
            state: self.state,
            named: self.named,
            head,
            body,
        })
    }

    /// The request as a node gets it, its body as it comes.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn passed(self) -> Result<Request, Reply> {
        let (head, body) = self.request.into_parts();
        rebuilt(&head, &self.named, body)
    }
}

/// The same with its body read.
#[derive(Debug)]
pub struct Read {
    /// The dialect's state.
    pub state: Arc<State>,
    /// What is named.
    pub named: Named,
    /// The head.
    pub head: Parts,
    /// The body.
    pub body: Bytes,
}

impl Read {
    /// The request as a node gets it, to be answered so that the gateway can read it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn request(&self) -> Result<Request, Reply> {
        let mut request = rebuilt(&self.head, &self.named, Body::from(self.body.clone()))?;
        request.headers_mut().remove(header::ACCEPT_ENCODING);
        Ok(request)
    }

    /// The body as JSON; null where it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

fn length(head: &Parts) -> u64 {
    head.headers
        .get(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse().ok())
        .unwrap_or(0)
}

fn rebuilt(head: &Parts, named: &Named, body: Body) -> Result<Request, Reply> {
    let mut request = Request::builder()
        .method(head.method.clone())
        .uri(named.path_and_query(head.uri.path()))
        .body(body)
        .map_err(|e| Reply::bad(e.to_string()))?;
    *request.headers_mut() = head.headers.clone();
    Ok(request)
}

/// A node's answer, its body as it comes.
pub fn back<B>(gateway: &Gateway, live: &Live, answer: Response<B>) -> axum::response::Response
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<axum::BoxError>,
{
    let (mut head, body) = answer.into_parts();
    upstream::clean(&mut head.headers);
    sign(&mut head, live);
    let body = stream::passed_on(body, &[&gateway.stopping, &live.streams]);
    Response::from_parts(head, body)
}

/// The same of an answer that was read; 504 where there is no room for it until its client has it.
pub async fn read_back(gateway: &Gateway, live: &Live, answer: Answer) -> axum::response::Response {
    let Answer { mut head, body } = answer;
    upstream::clean(&mut head.headers);
    head.headers.remove(header::CONTENT_LENGTH);
    sign(&mut head, live);
    let mut response = Response::from_parts(head, Body::empty());
    if !body.bytes.is_empty() {
        match body.for_client(&gateway.answers).await {
            Ok(body) => pieces::answer_with(&mut response, body),
            Err(why) => return whole::lost(live, "", why).into_response(),
        }
    }
    response
}

fn sign(head: &mut axum::http::response::Parts, live: &Live) {
    if let Ok(node) = HeaderValue::from_str(&live.node.id) {
        head.headers.insert(NODE, node);
    }
}
