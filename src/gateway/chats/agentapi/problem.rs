//! Errors in agentapi's shape, which its clients show to people.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::wire::{ErrorDetail, ErrorModel};
use crate::gateway::reply::Reply;

/// A refusal.
#[derive(Debug)]
pub struct Refused {
    status: StatusCode,
    detail: String,
    errors: Vec<ErrorDetail>,
}

impl Refused {
    /// With a status.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            errors: Vec::new(),
        }
    }

    /// The gateway's own.
    pub fn of(reply: &Reply) -> Self {
        Self::new(reply.status, &reply.message)
    }

    /// 503: the node is down.
    pub fn down(node: &str, why: &str) -> Self {
        Self::of(&Reply::down(node, "", why))
    }

    /// A message that was not sent, as agentapi itself answers that, a working agent included.
    pub fn failed(why: &str) -> Self {
        Self {
            errors: vec![ErrorDetail {
                message: format!("failed to send message: {why}"),
                location: None,
            }],
            ..Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "unexpected error occurred",
            )
        }
    }

    /// A body that is not as it should be.
    pub fn invalid(why: &str) -> Self {
        Self {
            errors: vec![ErrorDetail {
                message: why.to_owned(),
                location: Some("body".to_owned()),
            }],
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "validation failed")
        }
    }

    /// What went wrong.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let model = ErrorModel {
            title: self
                .status
                .canonical_reason()
                .unwrap_or_default()
                .to_owned(),
            status: self.status.as_u16(),
            detail: self.detail,
            errors: self.errors,
        };
        let mut response = (self.status, axum::Json(model)).into_response();
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        response
    }
}
