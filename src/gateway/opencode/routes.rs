//! opencode's routes as data: what a request's method and path say about where it belongs. Pure; what a
//! class means is done elsewhere.

use Class::*;

/// Where a request belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A new session: on the best node, or with its parent.
    Place,
    /// The session in the path, on its node.
    Session,
    /// The same, and the answer is another session of that node.
    Fork,
    /// The same, and the session is gone after it.
    Delete,
    /// The session that a field of the body names, on its node.
    Named(&'static str),
    /// What a session asks for, by the id of the request.
    Request(Asked),
    /// All nodes, and one list of what they have.
    Merge(List),
    /// All nodes' events in one stream.
    Events(Stream),
    /// Looked up on one node, the same one as long as it is there.
    Read,
    /// Done once, on the node that is read from: what it changes is a directory's, not a chat's.
    Once,
    /// Done on every node or on none: it changes how they answer.
    Every,
    /// Done where the request says which node is meant: it changes one process.
    Single,
    /// A new terminal.
    PtyNew,
    /// A terminal, by its id.
    Pty,
    /// A terminal's WebSocket.
    PtySocket,
    /// Not through a gateway.
    Refuse(&'static str),
}

/// What a session can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Asked {
    /// To be allowed something.
    Permission,
    /// An answer.
    Question,
}

impl Asked {
    /// Where a node lists what is open.
    pub const fn list(self) -> &'static str {
        match self {
            Asked::Permission => "/permission",
            Asked::Question => "/question",
        }
    }
}

/// Lists that are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// Sessions of a directory or project.
    Sessions,
    /// Sessions of all projects, with a cursor in a header.
    AllSessions,
    /// Sessions in `data`, with cursors beside it.
    PagedSessions,
    /// An object with an entry for each session.
    Status,
    /// The same in `data`.
    StatusData,
    /// An array.
    Array,
    /// The same in `data`.
    ArrayData,
}

/// Streams of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// `/event`: one directory's.
    Directory,
    /// `/global/event`: each with its directory around it.
    Global,
    /// `/api/event`: the second interface's.
    Native,
}

impl Stream {
    /// Where a node has it.
    pub const fn path(self) -> &'static str {
        match self {
            Stream::Directory => "/event",
            Stream::Global => "/global/event",
            Stream::Native => "/api/event",
        }
    }
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    /// Where it belongs.
    pub class: Class,
    /// The id in the path; empty where the class needs none.
    pub key: &'a str,
}

/// What a request to a path that is not there is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Miss {
    /// The path is none of opencode's.
    Path,
    /// The path is, with another method.
    Method,
    /// The path would be another one after its dots are resolved, or its id could be none.
    Unsafe,
}

const UPGRADE: &str = "whoever installed opencode on the nodes upgrades it";
const SYNC: &str = "opencode's servers use it among themselves";

/// Methods (`*`: any), path and class; the first that matches counts. `{id}` is the key, `{}` any one
/// segment, `**` any rest that is not empty.
#[rustfmt::skip]
pub const ROUTES: &[(&str, &str, Class)] = &[
    // Sessions.
    ("POST", "/session", Place),
    ("GET", "/session", Merge(List::Sessions)),
    ("GET", "/session/status", Merge(List::Status)),
    ("DELETE", "/session/{id}", Delete),
    ("GET PATCH", "/session/{id}", Session),
    ("POST", "/session/{id}/fork", Fork),
    ("*", "/session/{id}/**", Session),
    ("GET", "/experimental/session", Merge(List::AllSessions)),
    ("*", "/experimental/session/{id}/**", Session),
    ("POST", "/api/session", Place),
    ("GET", "/api/session", Merge(List::PagedSessions)),
    ("GET", "/api/session/active", Merge(List::StatusData)),
    ("DELETE", "/api/session/{id}", Delete),
    ("GET PATCH", "/api/session/{id}", Session),
    ("POST", "/api/session/{id}/fork", Fork),
    ("*", "/api/session/{id}/**", Session),
    ("POST", "/experimental/control-plane/move-session", Named("sessionID")),
    ("POST", "/experimental/workspace/warp", Named("sessionID")),
    // What sessions ask for.
    ("GET", "/permission", Merge(List::Array)),
    ("POST", "/permission/{id}/reply", Request(Asked::Permission)),
    ("GET", "/question", Merge(List::Array)),
    ("POST", "/question/{id}/reply", Request(Asked::Question)),
    ("POST", "/question/{id}/reject", Request(Asked::Question)),
    ("GET", "/api/permission/request", Merge(List::ArrayData)),
    ("GET", "/api/question/request", Merge(List::ArrayData)),
    // Events.
    ("GET", "/event", Events(Stream::Directory)),
    ("GET", "/global/event", Events(Stream::Global)),
    ("GET", "/api/event", Events(Stream::Native)),
    // How the nodes answer.
    ("PATCH", "/config", Every),
    ("PATCH", "/global/config", Every),
    ("PUT DELETE", "/auth/{}", Every),
    ("POST", "/experimental/console/switch", Every),
    ("POST", "/global/dispose", Every),
    ("POST", "/instance/dispose", Every),
    ("POST", "/mcp", Every),
    ("POST", "/mcp/{}/connect", Every),
    ("POST", "/mcp/{}/disconnect", Every),
    ("DELETE", "/mcp/{}/auth", Every),
    ("DELETE", "/api/permission/saved/{}", Every),
    // One process's: what is begun there is ended there.
    ("POST", "/mcp/{}/auth", Single),
    ("POST", "/mcp/{}/auth/**", Single),
    ("POST", "/provider/{}/oauth/**", Single),
    ("POST GET DELETE", "/api/integration/{}/**", Single),
    ("PATCH DELETE", "/api/credential/{}", Single),
    ("POST", "/tui/select-session", Named("sessionID")),
    ("POST", "/tui/**", Single),
    ("GET", "/tui/control/next", Single),
    // A directory's.
    ("POST DELETE", "/experimental/worktree", Once),
    ("POST", "/experimental/worktree/reset", Once),
    ("POST DELETE", "/experimental/workspace", Once),
    ("DELETE", "/experimental/workspace/{}", Once),
    ("POST", "/experimental/workspace/sync-list", Once),
    ("POST DELETE", "/experimental/project/{}/copy", Once),
    ("POST", "/experimental/project/{}/copy/**", Once),
    ("POST", "/project/git/init", Once),
    ("PATCH", "/project/{}", Once),
    ("POST", "/vcs/apply", Once),
    ("POST", "/log", Once),
    // Terminals.
    ("POST", "/pty", PtyNew),
    ("GET", "/pty", Merge(List::Array)),
    ("GET", "/pty/shells", Read),
    ("GET PUT DELETE", "/pty/{id}", Pty),
    ("POST", "/pty/{id}/connect-token", Pty),
    ("GET", "/pty/{id}/connect", PtySocket),
    ("POST", "/api/pty", PtyNew),
    ("GET", "/api/pty", Merge(List::ArrayData)),
    ("GET PUT DELETE", "/api/pty/{id}", Pty),
    ("POST", "/api/pty/{id}/connect-token", Pty),
    ("GET", "/api/pty/{id}/connect", PtySocket),
    // Not here.
    ("POST", "/global/upgrade", Refuse(UPGRADE)),
    ("POST", "/sync/**", Refuse(SYNC)),
    // The rest is looked up.
    ("GET", "/global/health", Read),
    ("GET", "/global/config", Read),
    ("GET", "/api/health", Read),
    ("GET", "/doc", Read),
    ("GET", "/config", Read),
    ("GET", "/config/providers", Read),
    ("GET", "/provider", Read),
    ("GET", "/provider/auth", Read),
    ("GET", "/experimental/**", Read),
    ("GET", "/find", Read),
    ("GET", "/find/**", Read),
    ("GET", "/file", Read),
    ("GET", "/file/**", Read),
    ("GET", "/path", Read),
    ("GET", "/vcs", Read),
    ("GET", "/vcs/**", Read),
    ("GET", "/command", Read),
    ("GET", "/agent", Read),
    ("GET", "/skill", Read),
    ("GET", "/lsp", Read),
    ("GET", "/formatter", Read),
    ("GET", "/mcp", Read),
    ("GET", "/project", Read),
    ("GET", "/project/**", Read),
    ("GET", "/api/**", Read),
];

/// Where a request belongs.
///
/// # Errors
/// It belongs nowhere.
pub fn find<'a>(method: &str, path: &'a str) -> Result<Found<'a>, Miss> {
    // What is looked up with GET can be looked up with HEAD.
    let method = if method == "HEAD" { "GET" } else { method };
    let path = path.strip_suffix('/').unwrap_or(path);
    let rest = path.strip_prefix('/').ok_or(Miss::Path)?;
    if rest.split('/').any(is_dots) {
        return Err(Miss::Unsafe);
    }
    let mut miss = Miss::Path;
    for (methods, pattern, class) in ROUTES {
        let Some(key) = matched(pattern, rest) else {
            continue;
        };
        if *methods != "*" && !methods.split(' ').any(|m| m == method) {
            miss = Miss::Method;
            continue;
        }
        if !pattern.contains("{id}") {
            return Ok(Found { class: *class, key });
        }
        return match is_id(key) {
            true => Ok(Found { class: *class, key }),
            false => Err(Miss::Unsafe),
        };
    }
    Err(miss)
}

/// The key of a path that has a pattern's form.
fn matched<'a>(pattern: &str, mut rest: &'a str) -> Option<&'a str> {
    let mut key = "";
    let mut pattern = pattern.strip_prefix('/')?;
    loop {
        let (want, more) = pattern.split_once('/').unwrap_or((pattern, ""));
        if want == "**" {
            return (!rest.is_empty()).then_some(key);
        }
        let (got, left) = match rest.split_once('/') {
            Some((got, left)) => (got, Some(left)),
            None => (rest, None),
        };
        match want {
            "{id}" if !got.is_empty() => key = got,
            "{}" if !got.is_empty() => {}
            _ if want == got => {}
            _ => return None,
        }
        match (more, left) {
            ("", None) => return Some(key),
            ("", Some(_)) | (_, None) => return None,
            (more, Some(left)) => (pattern, rest) = (more, left),
        }
    }
}

/// Whether a segment means this directory or the one above, escaped or not.
fn is_dots(segment: &str) -> bool {
    let plain = segment.to_ascii_lowercase().replace("%2e", ".");
    plain == "." || plain == ".."
}

/// Whether opencode could have given it: `ses_…`, `per_…`, `pty_…`.
pub fn is_id(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 128
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const S: &str = "ses_ddcb6d512ffewjr4JKcIdMTdYJ";

    #[test]
    fn every_operation_that_opencode_describes_has_a_class() {
        let described = include_str!("../../../tests/fixtures/opencode/routes.txt");
        let mut used = std::collections::BTreeSet::new();
        let mut count = 0;
        for line in described.lines().filter(|l| !l.starts_with('#')) {
            let (path, method) = line.split_once(' ').unwrap();
            let filled: Vec<&str> = path
                .split('/')
                .map(|s| if s.starts_with('{') { "x1" } else { s })
                .collect();
            let path_of = filled.join("/");
            let found = find(method, &path_of);
            let found = found.unwrap_or_else(|miss| panic!("{line}: {miss:?}"));
            // What names a session in its path goes to that session's node, whatever else it is.
            let pinned = matches!(found.class, Session | Fork | Delete);
            assert_eq!(pinned, path.contains("{sessionID}"), "{line}: {found:?}");
            // Whatever changes something is no mere reading.
            assert!(method == "GET" || found.class != Read, "{line}");
            used.extend(first_match(method, &path_of));
            count += 1;
        }
        assert_eq!(count, 188);
        // Rows that no operation uses, kept for what the second interface will most likely get.
        let spare: Vec<&str> = (0..ROUTES.len())
            .filter(|n| !used.contains(n))
            .map(|n| ROUTES[n].1)
            .collect();
        assert_eq!(
            spare,
            ["/api/session/{id}", "/api/session/{id}/fork", "/doc"]
        );
    }

    fn first_match(method: &str, path: &str) -> Option<usize> {
        ROUTES.iter().position(|(methods, pattern, _)| {
            matched(pattern, &path[1..]).is_some()
                && (*methods == "*" || methods.split(' ').any(|m| m == method))
        })
    }

    #[test]
    fn requests_go_where_they_belong() {
        fn class<'a>(method: &str, path: &'a str) -> Result<(Class, &'a str), Miss> {
            find(method, path).map(|f| (f.class, f.key))
        }
        let session = |rest: &str| format!("/session/{S}{rest}");
        for (method, rest, want) in [
            ("GET", "", Session),
            ("HEAD", "", Session),
            ("PATCH", "", Session),
            ("DELETE", "", Delete),
            ("DELETE", "/share", Session),
            ("POST", "/fork", Fork),
            ("POST", "/message", Session),
            ("POST", "/prompt_async", Session),
            ("POST", "/permissions/per_1", Session),
            ("PATCH", "/message/msg_1/part/prt_1", Session),
            ("POST", "/something/of/tomorrow", Session),
        ] {
            assert_eq!(
                class(method, &session(rest)),
                Ok((want, S)),
                "{method} {rest}"
            );
        }
        for (method, path, want, key) in [
            ("POST", "/session", Place, ""),
            ("POST", "/session/", Place, ""),
            ("GET", "/session/status", Merge(List::Status), ""),
            ("GET", "/api/session/active", Merge(List::StatusData), ""),
            (
                "POST",
                "/permission/per_1/reply",
                Request(Asked::Permission),
                "per_1",
            ),
            (
                "POST",
                "/question/que_1/reject",
                Request(Asked::Question),
                "que_1",
            ),
            ("POST", "/tui/select-session", Named("sessionID"), ""),
            ("POST", "/tui/submit-prompt", Single, ""),
            ("GET", "/api/pty/pty_1/connect", PtySocket, "pty_1"),
            ("GET", "/api/fs/read/a/b.txt", Read, ""),
            ("GET", "/experimental/of/tomorrow", Read, ""),
        ] {
            assert_eq!(class(method, path), Ok((want, key)), "{method} {path}");
        }
        for (method, path, want) in [
            ("GET", "/", Miss::Path),
            ("GET", "", Miss::Path),
            ("GET", "/index.html", Miss::Path),
            ("GET", "/sessions", Miss::Path),
            ("GET", "//session", Miss::Path),
            ("PUT", "/session", Miss::Method),
            ("POST", "/config", Miss::Method),
            ("GET", "/session/../config", Miss::Unsafe),
            ("GET", "/session/%2E%2e/config", Miss::Unsafe),
            ("GET", "/session/a%2fb", Miss::Unsafe),
            ("GET", "/session/é", Miss::Unsafe),
        ] {
            assert_eq!(class(method, path), Err(want), "{method} {path}");
        }
    }

    proptest! {
        #[test]
        fn no_request_makes_it_panic(method in "[A-Z]{0,7}", path in ".{0,60}") {
            let _ = find(&method, &path);
        }

        #[test]
        fn whatever_is_below_a_session_goes_to_it(
            method in "GET|POST|PUT|PATCH",
            id in "ses_[A-Za-z0-9]{1,30}",
            rest in "(/[a-z_]{1,9}){1,4}",
        ) {
            for base in ["/session", "/api/session"] {
                let path = format!("{base}/{id}{rest}");
                let found = find(&method, &path).unwrap();
                prop_assert_eq!(found.key, &id);
                prop_assert!(matches!(found.class, Session | Fork));
            }
        }

        #[test]
        fn a_key_is_always_one_segment_that_is_safe(path in "(/[a-z_.%/]{0,12}){0,6}") {
            if let Ok(found) = find("GET", &path) {
                prop_assert!(found.key.is_empty() || is_id(found.key));
            }
        }
    }
}
