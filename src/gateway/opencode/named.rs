//! What a request names besides its path: a directory, a node; and its query without what is the
//! gateway's. Pure.

use axum::http::{HeaderMap, HeaderName, Uri};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// The directory a client works in, percent-encoded; its query has the same as `directory`.
pub const DIRECTORY: HeaderName = HeaderName::from_static("x-opencode-directory");

/// What a request names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// The directory, without a slash at its end.
    pub directory: Option<String>,
    /// The node: the gateway's own `node=`.
    pub node: Option<String>,
    /// The query as a node is to get it: without secrets of the gateway and without `node`. Nothing else
    /// is touched.
    pub query: String,
}

impl Named {
    /// Reads a request's head.
    pub fn of(uri: &Uri, headers: &HeaderMap) -> Self {
        let mut named = Self::default();
        let mut kept: Vec<&str> = Vec::new();
        for pair in uri.query().unwrap_or_default().split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match decoded(key).as_str() {
                "auth_token" | "token" => continue,
                "node" => {
                    named.node = Some(decoded(value)).filter(|v| !v.is_empty());
                    continue;
                }
                // The second interface has it nested.
                "directory" | "location[directory]" => named.directory = directory(&decoded(value)),
                _ => {}
            }
            kept.push(pair);
        }
        named.query = kept.join("&");
        if named.directory.is_none() {
            named.directory = headers
                .get(DIRECTORY)
                .and_then(|v| directory(&percent_decode_str(v.to_str().ok()?).decode_utf8_lossy()));
        }
        named
    }

    /// The same for a request that the gateway makes itself, without the client's headers: a directory that
    /// stood in one of them is added.
    pub fn whole(&self, path: &str) -> String {
        let inside = self
            .value("directory")
            .or(self.value("location[directory]"));
        let mut parts: Vec<String> = Vec::new();
        if !self.query.is_empty() {
            parts.push(self.query.clone());
        }
        if let (Some(directory), None) = (&self.directory, inside) {
            parts.push(format!(
                "directory={}",
                utf8_percent_encode(directory, NON_ALPHANUMERIC)
            ));
        }
        match parts.join("&").as_str() {
            "" => path.to_owned(),
            query => format!("{path}?{query}"),
        }
    }

    /// The same with only these keys in its query, always written alike.
    pub fn only(&self, keys: &[&str]) -> Self {
        let kept = keys.iter().filter_map(|key| {
            let value = self.value(key).filter(|v| !v.is_empty())?;
            let [key, value] =
                [*key, value.as_str()].map(|t| utf8_percent_encode(t, NON_ALPHANUMERIC));
            Some(format!("{key}={value}"))
        });
        Self {
            query: kept.collect::<Vec<_>>().join("&"),
            ..self.clone()
        }
    }

    /// A node's path with this query.
    pub fn path_and_query(&self, path: &str) -> String {
        match self.query.as_str() {
            "" => path.to_owned(),
            query => format!("{path}?{query}"),
        }
    }

    /// The value of another key of the query.
    pub fn value(&self, key: &str) -> Option<String> {
        self.query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(k, _)| decoded(k) == key)
            .map(|(_, value)| decoded(value))
    }
}

/// A part of a query, as forms write it.
fn decoded(text: &str) -> String {
    let spaces = text.replace('+', " ");
    percent_decode_str(&spaces).decode_utf8_lossy().into_owned()
}

fn directory(text: &str) -> Option<String> {
    let short = text.trim_end_matches('/');
    match (short, text) {
        ("", "") => None,
        ("", _) => Some("/".to_owned()),
        (short, _) => Some(short.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn named(uri: &str, header: Option<&str>) -> Named {
        let mut headers = HeaderMap::new();
        if let Some(value) = header {
            headers.insert(DIRECTORY, value.parse().unwrap());
        }
        Named::of(&uri.parse().unwrap(), &headers)
    }

    #[test]
    fn directories_are_read_as_clients_write_them() {
        for (uri, header, want) in [
            ("/session", None, None),
            ("/session?directory=", None, None),
            ("/session?directory=%2Fa%2Fb", None, Some("/a/b")),
            ("/session?limit=1&directory=/a/b/", None, Some("/a/b")),
            ("/session?directory=/a+b", None, Some("/a b")),
            ("/session?directory=/", None, Some("/")),
            ("/session", Some("%2Ftmp%2Fw%C3%A9"), Some("/tmp/wé")),
            ("/session", Some("/tmp/w"), Some("/tmp/w")),
            // What is in the line is nearer.
            ("/session?directory=/a", Some("/b"), Some("/a")),
            ("/api/model?location[directory]=%2Fa&", None, Some("/a")),
            ("/api/model?location%5Bdirectory%5D=%2Fa", None, Some("/a")),
        ] {
            assert_eq!(
                named(uri, header).directory.as_deref(),
                want,
                "{uri} {header:?}"
            );
        }
    }

    #[test]
    fn what_is_the_gateways_is_not_passed_on() {
        let got = named(
            "/event?auth_token=eA%3D%3D&directory=%2Fa&node=oc1&token=x&path=a%20b",
            None,
        );
        assert_eq!(got.node.as_deref(), Some("oc1"));
        assert_eq!(
            got.path_and_query("/event"),
            "/event?directory=%2Fa&path=a%20b"
        );
        assert_eq!(got.value("path").as_deref(), Some("a b"));
        assert_eq!(got.value("limit"), None);
        assert_eq!(named("/event", None).path_and_query("/event"), "/event");
        // A ticket for a terminal is the node's own.
        let pty = named("/pty/pty_1/connect?ticket=t&cursor=3", None);
        assert_eq!(pty.query, "ticket=t&cursor=3");
    }

    #[test]
    fn a_directory_of_a_header_comes_along() {
        let whole = |uri: &str, header| named(uri, header).whole("/event");
        assert_eq!(whole("/event", None), "/event");
        assert_eq!(whole("/event", Some("/a")), "/event?directory=%2Fa");
        assert_eq!(
            whole("/event?workspace=w", Some("/a")),
            "/event?workspace=w&directory=%2Fa"
        );
        assert_eq!(
            whole("/event?directory=/b", Some("/a")),
            "/event?directory=/b"
        );
    }

    proptest! {
        #[test]
        fn no_query_makes_it_panic_or_lets_a_secret_through(query in "[a-z%&=+/0-9]{0,60}") {
            let Ok(uri) = format!("/session?{query}&auth_token=s3cret").parse() else { return Ok(()) };
            let got = Named::of(&uri, &HeaderMap::new());
            prop_assert!(!got.query.contains("s3cret"));
        }
    }
}
