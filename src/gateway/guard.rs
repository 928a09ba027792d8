//! Who may ask: the gateway's own secret, by whatever way the client of a dialect gives it; and no web
//! page of anybody's (Host, Origin).

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Body as _;
use percent_encoding::percent_decode_str;
use subtle::ConstantTimeEq as _;

use super::credentials::{SECRET_HEADER, USER};
use super::door::Rooms;
use super::reply::Reply;
use super::tls::Names;
use super::{Gateway, limits};
use crate::host::basic_auth::basic;

/// Paths that are answered without a secret, as the servers whose clients ask them do; by the gateway
/// itself, for what a node says is for those who may ask.
const OPEN: [&str; 2] = ["/status", "/health"];

/// The gateway's secret, in the forms in which it can be given.
#[derive(Clone)]
pub struct Secret {
    plain: String,
    basic: String,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// From the plain text.
    pub fn new(plain: &str) -> Self {
        Self {
            plain: plain.to_owned(),
            basic: basic(USER, plain),
        }
    }

    /// Whether a request gives it: `X-Secret-Key`, `Authorization: Bearer`, HTTP Basic as `opencode`, or
    /// for event sources, which can set no header, `?token=` or `?auth_token=` (the latter in base64).
    pub fn given(&self, headers: &HeaderMap, query: Option<&str>) -> bool {
        let is = |got: &[u8], want: &str| bool::from(got.ct_eq(want.as_bytes()));
        if let Some(key) = headers.get(SECRET_HEADER) {
            return is(key.as_bytes(), &self.plain);
        }
        if let Some(value) = headers.get(header::AUTHORIZATION) {
            let value = value.as_bytes();
            return match value.strip_prefix(b"Bearer ") {
                Some(token) => is(token, &self.plain),
                None => is(value, &self.basic),
            };
        }
        let encoded = self.basic.strip_prefix("Basic ").unwrap_or_default();
        query
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .any(|(key, value)| match key {
                "token" => is(value.as_bytes(), &self.plain),
                // The padding may come as it is or escaped.
                "auth_token" => is(value.replace("%3D", "=").as_bytes(), encoded),
                _ => false,
            })
    }
}

/// Refuses what may not be asked; answers preflight requests of pages that may ask.
pub async fn check(gateway: &Gateway, rooms: Rooms, request: Request) -> Response {
    let headers = request.headers();
    if let Err(why) = one_of_each(request.uri(), headers) {
        return Reply::bad(why).into_response();
    }
    if let Err(why) = from_here(headers, &gateway.names) {
        return Reply::new(StatusCode::FORBIDDEN, why).into_response();
    }
    let origin = headers.get(header::ORIGIN).cloned();
    let open = OPEN.contains(&request.uri().path());
    let given = gateway.secret.given(headers, request.uri().query());
    // A browser asks beforehand, without any secret, and is only told what it may send.
    let beforehand = request.method() == Method::OPTIONS;
    if origin.as_ref().is_some_and(|o| o == "null") && (open || !(given || beforehand)) {
        let why = "pages without an origin give the gateway's secret";
        return Reply::new(StatusCode::FORBIDDEN, why).into_response();
    }
    let response = if beforehand && origin.is_some() {
        preflight(headers)
    } else if open && !request.body().is_end_stream() {
        // Anybody's: not a byte of it is read.
        limits::unwanted()
    } else if open || given {
        within_limits(gateway, rooms, request).await
    } else {
        Reply::new(
            StatusCode::UNAUTHORIZED,
            "the gateway's secret is missing or wrong: `mosaic gateway status` says where it is",
        )
        .into_response()
    };
    match origin {
        Some(origin) => shared_with(response, origin),
        None => response,
    }
}

async fn within_limits(gateway: &Gateway, rooms: Rooms, request: Request) -> Response {
    // No route has a name in it that is no text; the framework would say so in a form of its own.
    let path = percent_decode_str(request.uri().path());
    if path.decode_utf8().is_err() {
        return Reply::bad("the path is no UTF-8").into_response();
    }
    let limits = &gateway.limits;
    if limits.refuses(request.headers()) {
        return limits.too_long();
    }
    if request.body().is_end_stream() {
        return rooms.answer(gateway, request).await;
    }
    let (mut head, body) = request.into_parts();
    let (body, verdict) = limits.bound(body, &gateway.bodies);
    verdict.goes_with(&mut head);
    let response = rooms.answer(gateway, Request::from_parts(head, body)).await;
    verdict.over(response, limits)
}

/// What is looked at must be what is meant: one host, one origin.
fn one_of_each(uri: &Uri, headers: &HeaderMap) -> Result<(), &'static str> {
    let several = |name: HeaderName| headers.get_all(name).iter().nth(1).is_some();
    if several(header::HOST) || several(header::ORIGIN) {
        return Err("a request has one Host and one Origin");
    }
    // A proxy's client names whom it wants in the request line.
    match (uri.authority(), headers.get(header::HOST)) {
        (Some(line), Some(host))
            if line
                .as_str()
                .as_bytes()
                .eq_ignore_ascii_case(host.as_bytes()) =>
        {
            Ok(())
        }
        (Some(_), _) => Err("the request line names another host than the header"),
        (None, _) => Ok(()),
    }
}

/// A page of somebody else's, or a name that was made to point here, has no business here.
fn from_here(headers: &HeaderMap, names: &Names) -> Result<(), String> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let host = headers.get(header::HOST).map(text);
    if let Some(host) = host.as_deref().map(host_of)
        && !is_fixed(host)
        && !names.hold(host)
    {
        return Err(format!(
            "the gateway does not answer as `{host}`; use 127.0.0.1 or localhost, or a name of its certificate"
        ));
    }
    let Some(origin) = headers.get(header::ORIGIN).map(text) else {
        return Ok(());
    };
    let allowed = match origin.split_once("://") {
        // A page from a file, and desktop programs; but any page of the web can be so too, in a frame.
        // The secret tells them apart.
        None => origin == "null",
        // Of this machine, or of the gateway itself. Any other address is somebody else's machine.
        Some(("http" | "https", rest)) => is_here(host_of(rest)) || host.as_deref() == Some(rest),
        Some(("file" | "app" | "tauri" | "vscode-webview" | "goose", _)) => true,
        Some(_) => false,
    };
    match allowed {
        true => Ok(()),
        false => Err(format!("pages of `{origin}` may not use the gateway")),
    }
}

fn host_of(authority: &str) -> &str {
    let authority = authority.split('/').next().unwrap_or_default();
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority
            .rsplit_once(':')
            .map_or(authority, |(host, port)| {
                if port.bytes().all(|b| b.is_ascii_digit()) {
                    host
                } else {
                    authority
                }
            }),
    }
}

/// A name that no DNS can turn elsewhere: an address, or localhost.
fn is_fixed(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok()
}

/// This machine, as it calls itself.
fn is_here(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn preflight(headers: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let out = response.headers_mut();
    out.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE"),
    );
    if let Some(asked) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        out.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    out.insert(
        header::ACCESS_CONTROL_MAX_AGE,
        HeaderValue::from_static("600"),
    );
    response
}

/// The answer is for a page that may ask, and for no other, whatever the node said.
fn shared_with(mut response: Response, origin: HeaderValue) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(k, v)| {
                (
                    k.parse::<axum::http::HeaderName>().unwrap(),
                    HeaderValue::from_str(v).unwrap(),
                )
            })
            .collect()
    }

    #[test]
    fn the_secret_is_taken_in_every_clients_way() {
        let secret = Secret::new("s3cret");
        // base64 of `opencode:s3cret`
        let basic = "b3BlbmNvZGU6czNjcmV0";
        for pairs in [
            ("x-secret-key", "s3cret".to_owned()),
            ("authorization", "Bearer s3cret".to_owned()),
            ("authorization", format!("Basic {basic}")),
        ] {
            assert!(
                secret.given(&headers(&[(pairs.0, &pairs.1)]), None),
                "{pairs:?}"
            );
        }
        assert!(secret.given(&HeaderMap::new(), Some("a=b&token=s3cret")));
        assert!(secret.given(&HeaderMap::new(), Some(&format!("auth_token={basic}"))));
        for pairs in [
            ("x-secret-key", ""),
            ("x-secret-key", "s3cretx"),
            ("authorization", "Bearer "),
            ("authorization", "s3cret"),
        ] {
            assert!(!secret.given(&headers(&[pairs]), Some("x=1")), "{pairs:?}");
        }
        assert!(!secret.given(&HeaderMap::new(), None));
        // A wrong header is not mended by a query.
        assert!(!secret.given(&headers(&[("x-secret-key", "no")]), Some("token=s3cret")));
    }

    #[test]
    fn only_pages_of_this_machine_may_ask() {
        let ok = |pairs: &[(&str, &str)]| from_here(&headers(pairs), &Names::default()).is_ok();
        for host in ["127.0.0.1:43123", "localhost", "[::1]:43123", "10.0.0.1"] {
            assert!(ok(&[("host", host)]), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:1", ""] {
            assert!(!ok(&[("host", host)]), "{host}");
        }
        for origin in [
            "null",
            "file://",
            "http://localhost:5173",
            "http://127.0.0.9",
            "http://[::1]:1",
            "app://goose",
        ] {
            assert!(ok(&[("origin", origin)]), "{origin}");
        }
        for origin in [
            "https://evil.example",
            "http://127.0.0.1.evil.example",
            "http://6.6.6.6",
            "chrome-extension://x",
            "x",
        ] {
            assert!(!ok(&[("origin", origin)]), "{origin}");
        }
        // A page of the gateway's own address, and no other of that network.
        let own = ("host", "10.0.0.1:43123");
        assert!(ok(&[own, ("origin", "https://10.0.0.1:43123")]));
        assert!(!ok(&[own, ("origin", "https://10.0.0.1:80")]));
    }

    #[test]
    fn names_of_the_certificate_are_the_gateways() {
        let of = |name: &str| {
            std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("tests/fixtures/gateway")
                .join(name)
        };
        let names = super::super::tls::Tls::load(&of("cert.pem"), &of("key.pem"))
            .unwrap()
            .names;
        let ok = |host: &str| from_here(&headers(&[("host", host)]), &names).is_ok();
        for host in ["gateway.example:43123", "a.agents.example", "127.0.0.1"] {
            assert!(ok(host), "{host}");
        }
        for host in [
            "evil.example",
            "agents.example",
            "a.b.agents.example",
            ".",
            "",
        ] {
            assert!(!ok(host), "{host}");
        }
    }
}
