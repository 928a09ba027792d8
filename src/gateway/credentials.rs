//! How a secret is said: by clients to the gateway, and by the gateway to nodes, alike.

use axum::http::HeaderName;

/// goosed's header of the secret, and goose's.
pub const SECRET_HEADER: HeaderName = HeaderName::from_static("x-secret-key");

/// The user in HTTP Basic, as opencode's clients send it and its servers expect it.
pub const USER: &str = "opencode";
