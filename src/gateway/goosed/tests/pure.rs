//! The table, the key and the replacing: without sockets.

use std::collections::BTreeSet;

use axum::body::Bytes;
use proptest::prelude::*;

use super::goosed::routes::ALL;
use crate::gateway::goosed::answer::renamed;
use crate::gateway::goosed::json::{self, Step};
use crate::gateway::goosed::key::{Missing, native, unescaped, without_secret};
use crate::gateway::goosed::table::{Class, Merge, ROUTES, Route, Undo, Where};
use crate::gateway::goosed::{Methods, Paths, fan};

/// Without the names of variable segments.
fn shape(method: &str, path: &str) -> String {
    let segments = path.split('/').map(|s| match s.starts_with('{') {
        true => "{}",
        false => s,
    });
    format!("{method} {}", segments.collect::<Vec<_>>().join("/"))
}

#[test]
fn the_table_has_every_route_of_goosed_once_and_no_other() {
    let want: BTreeSet<String> = ALL
        .lines()
        .map(|l| l.split_once(' ').unwrap())
        .map(|(method, path)| shape(method, path))
        .collect();
    let got: BTreeSet<String> = ROUTES.iter().map(|r| shape(r.method, r.path)).collect();
    let missing: Vec<_> = want.difference(&got).collect();
    let more: Vec<_> = got.difference(&want).collect();
    assert!(
        missing.is_empty() && more.is_empty(),
        "{missing:?} {more:?}"
    );
    assert_eq!(ROUTES.len(), got.len(), "one is there twice");
    for route in ROUTES {
        let in_path = route.path.contains("{session}");
        let by_path = route.class == Class::Pinned(Where::Path);
        assert_eq!(in_path, by_path, "{route:?}");
    }
    // None stands in another's way.
    let paths = Paths::all();
    for route in ROUTES {
        let path = route.path.replace(['{', '}'], "");
        let methods = paths.at(&path).map(Methods::names).unwrap_or_default();
        assert!(
            methods.split(", ").any(|m| m == route.method),
            "{route:?}: {methods}"
        );
    }
}

/// What the documentation says of a class.
fn words(class: Class) -> String {
    match class {
        Class::Local => "answered by the gateway".into(),
        Class::Start => "placed, and given its model".into(),
        Class::Import => "placed".into(),
        Class::Pinned(Where::Path) => "the chat's node, by the path".into(),
        Class::Pinned(Where::Query) => "the chat's node, by `session_id` in the query".into(),
        Class::Pinned(Where::Body) => {
            "the chat's node, by `session_id` or `sessionId` in the body".into()
        }
        Class::PinnedOrFixed => {
            "the chat's node, by `session_id` in the query; without it the fixed node".into()
        }
        Class::Fan(Merge::Sessions) => "all nodes, merged, the last changed first".into(),
        Class::Fan(Merge::Found) => "all nodes, merged, the last changed first, to `limit`".into(),
        Class::Fan(Merge::Sum) => "all nodes, added up".into(),
        Class::Any => "the first healthy node".into(),
        Class::All(Undo::None) => "all nodes or none".into(),
        Class::All(_) => "all nodes or none; put back when one fails".into(),
        Class::Fixed => "the fixed node".into(),
        Class::Not(why) => format!("501: {why}"),
    }
}

#[test]
fn the_documentation_has_the_table_as_it_is() {
    let path = "docs/gateway/goosed.md";
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let text = std::fs::read_to_string(file).unwrap();
    let (head, rest) = text.split_once("<!-- routes -->\n").unwrap();
    let (_, tail) = rest.split_once("<!-- /routes -->\n").unwrap();
    let mut table = "| route | goes to |\n| --- | --- |\n".to_owned();
    for route in ROUTES {
        let (method, path) = (route.method, route.path);
        table += &format!("| `{method} {path}` | {} |\n", words(route.class));
    }
    let want = format!("{head}<!-- routes -->\n{table}<!-- /routes -->\n{tail}");
    crate::golden::check(path, &want);
}

fn route(method: &str, path: &str) -> &'static Route {
    ROUTES
        .iter()
        .find(|r| r.method == method && r.path == path)
        .unwrap()
}

/// Target and body as the node gets them; the chat.
fn to_node(
    method: &str,
    path: &str,
    target: &str,
    body: &str,
) -> Result<(String, String, String), Missing> {
    let route = route(method, path);
    let place = match route.class {
        Class::Pinned(place) => place,
        _ => Where::Query,
    };
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let native = native(
        route,
        place,
        path,
        query,
        &Bytes::copy_from_slice(body.as_bytes()),
    )?;
    let body = String::from_utf8(native.body.concat()).unwrap();
    Ok((native.target, body, native.key.chat))
}

#[test]
fn a_chat_is_found_where_its_route_has_it() {
    let table = [
        (
            "GET",
            "/sessions/{session}",
            "/sessions/g0.20261121_1",
            "",
            "/sessions/20261121_1",
            "",
        ),
        // A client that escapes what needs no escape.
        (
            "GET",
            "/sessions/{session}",
            "/sessions/g0%2E1?a=b",
            "",
            "/sessions/1?a=b",
            "",
        ),
        (
            "DELETE",
            "/sessions/{session}",
            "/sessions/a-b.c.d_1",
            "",
            "/sessions/c.d_1",
            "",
        ),
        (
            "PUT",
            "/sessions/{session}/name",
            "/sessions/g0.1/name",
            r#"{"name":"g0.1","session_id":"g9.9"}"#,
            "/sessions/1/name",
            r#"{"name":"g0.1","session_id":"g9.9"}"#,
        ),
        (
            "GET",
            "/diagnostics/{session}",
            "/diagnostics/g0.1",
            "",
            "/diagnostics/1",
            "",
        ),
        (
            "GET",
            "/agent/tools",
            "/agent/tools?extension_name=g0.1&session_id=g0.1&x=%20+",
            "",
            "/agent/tools?extension_name=g0.1&session_id=1&x=%20+",
            "",
        ),
        (
            "POST",
            "/agent/stop",
            "/agent/stop",
            "{ \"x\": 1.10, \"session_id\" :\t\"g0.1\", \"n\": {\"session_id\": \"g0.1\"} }",
            "/agent/stop",
            "{ \"x\": 1.10, \"session_id\" :\t\"1\", \"n\": {\"session_id\": \"g0.1\"} }",
        ),
        (
            "POST",
            "/action-required/tool-confirmation",
            "/action-required/tool-confirmation",
            r#"{"id":"g0.9","sessionId":"g0.1","action":"allow_once"}"#,
            "/action-required/tool-confirmation",
            r#"{"id":"g0.9","sessionId":"1","action":"allow_once"}"#,
        ),
        // Both spellings, one chat; an escape in a key and in a name.
        (
            "POST",
            "/agent/stop",
            "/agent/stop",
            r#"{"session\u005fid":"g0.1","sessionId":"g0\u002e1","session_id":""}"#,
            "/agent/stop",
            r#"{"session\u005fid":"1","sessionId":"1","session_id":""}"#,
        ),
    ];
    for (method, path, target, body, want_target, want_body) in table {
        let (got_target, got_body, _) = to_node(method, path, target, body).unwrap();
        assert_eq!(
            (got_target.as_str(), got_body.as_str()),
            (want_target, want_body)
        );
    }
}

#[test]
fn what_names_no_chat_is_refused_and_why() {
    let stop = |body: &str| to_node("POST", "/agent/stop", "/agent/stop", body).unwrap_err();
    let at = "as `session_id` or `sessionId` in its body";
    for body in [
        "{}",
        "[]",
        "1",
        "null",
        r#"{"session_id":1}"#,
        r#"{"session_id":""}"#,
    ] {
        assert_eq!(stop(body), Missing::Nothing(at), "{body}");
    }
    for body in ["{", "", r#"{"session_id":"g0.1"} x"#, "{\"a\":\u{1}}"] {
        let found = to_node("POST", "/agent/stop", "/agent/stop", body);
        let nothing = matches!(found, Err(Missing::NoJson(_) | Missing::Nothing(_)));
        assert!(nothing, "{body}: {found:?}");
    }
    let two = stop(r#"{"session_id":"g0.1","sessionId":"g1.1"}"#);
    assert_eq!(two, Missing::Two("g0.1".into(), "g1.1".into()));
    for name in ["20261121_1", "G0.1", "g0.", ".1", "g0..", "g0.a/b", "g0.é"] {
        let body = serde_json::json!({"session_id": name}).to_string();
        assert_eq!(stop(&body), Missing::Unknown(name.to_owned()));
    }
    let path = |target: &str| to_node("GET", "/sessions/{session}", target, "").unwrap_err();
    assert_eq!(path("/sessions/x"), Missing::Unknown("x".to_owned()));
    assert_eq!(path("/sessions/"), Missing::Nothing("in its path"));
    assert_eq!(path("/sessions/%zz"), Missing::Nothing("in its path"));
    let tools = to_node("GET", "/agent/tools", "/agent/tools?session_id", "");
    assert_eq!(
        tools.unwrap_err(),
        Missing::Nothing("as `session_id` in its query")
    );
}

#[test]
fn only_the_names_are_replaced_and_not_a_byte_else() {
    let body = "{\"id\":\"1\" , \"n\":1.10,\"n\":1E400,\"conversation\":[{\"id\":\"1\"}],\n\"z\":\"\\u0041\"}";
    let put = |body: &str, ids| {
        let bytes = Bytes::copy_from_slice(body.as_bytes());
        let pieces = json::spliced(&bytes, renamed(body.as_bytes(), "g0", ids));
        String::from_utf8(pieces.concat()).unwrap()
    };
    let of = |method: &str, path: &str| route(method, path).ids;
    let session = of("GET", "/sessions/{session}");
    assert_eq!(put(body, session), body.replacen("\"1\"", "\"g0.1\"", 1));
    let resumed = format!("{{\"id\":\"1\",\"session\":{body}}}");
    let want = format!(
        "{{\"id\":\"1\",\"session\":{}}}",
        body.replacen("\"1\"", "\"g0.1\"", 1)
    );
    assert_eq!(put(&resumed, of("POST", "/agent/resume")), want);
    let table = [
        (
            "POST",
            "/sessions/{session}/fork",
            r#"{"sessionId":"2"}"#,
            r#"{"sessionId":"g0.2"}"#,
        ),
        (
            "POST",
            "/schedule/{job}/run_now",
            r#"{"session_id":"2"}"#,
            r#"{"session_id":"g0.2"}"#,
        ),
        // No name, nothing, and what no URL can hold.
        (
            "POST",
            "/schedule/{job}/run_now",
            r#"{"session_id":"CANCELLED"}"#,
            r#"{"session_id":"CANCELLED"}"#,
        ),
        (
            "GET",
            "/schedule/{job}/inspect",
            r#"{"sessionId":null}"#,
            r#"{"sessionId":null}"#,
        ),
        (
            "GET",
            "/schedule/{job}/inspect",
            r#"{"sessionId":"a/b"}"#,
            r#"{"sessionId":"a/b"}"#,
        ),
        (
            "GET",
            "/schedule/{job}/sessions",
            r#"[{"id":"2"},3,{"id":"4"}]"#,
            r#"[{"id":"g0.2"},3,{"id":"g0.4"}]"#,
        ),
        (
            "GET",
            "/schedule/list",
            r#"{"jobs":[{"id":"j","current_session_id":"2"}]}"#,
            r#"{"jobs":[{"id":"j","current_session_id":"g0.2"}]}"#,
        ),
        ("GET", "/sessions/{session}", "no json", "no json"),
        ("GET", "/sessions/{session}", r#""id""#, r#""id""#),
    ];
    for (method, path, said, want) in table {
        assert_eq!(put(said, of(method, path)), want);
    }
}

#[test]
fn pieces_that_stay_are_not_copied() {
    let body = Bytes::from(format!(
        r#"{{"id":"1","conversation":"{}"}}"#,
        "x".repeat(1 << 20)
    ));
    let ids = route("GET", "/sessions/{session}").ids;
    let pieces = json::spliced(&body, renamed(&body, "g0", ids));
    assert_eq!(pieces.len(), 3);
    let range = body.as_ptr_range();
    assert!(range.contains(&pieces[0].as_ptr()) && range.contains(&pieces[2].as_ptr()));
}

#[test]
fn lists_merge_by_time_and_figures_add_up() {
    let part = |text: &'static str| Bytes::from_static(text.as_bytes());
    let got = [
        (
            "g0",
            part(
                r#"[{"id":"1","updated_at":"2026-11-21T10:00:00Z"},{"id":"2","updated_at":"2026-11-21T08:00:00Z"}]"#,
            ),
        ),
        // As text this would be earlier than ten o'clock sharp.
        (
            "g1",
            part(r#"[{"id":"1","updated_at":"2026-11-21T10:00:00.5Z"},{"id":"3"}]"#),
        ),
    ];
    let ids = |most| {
        let list = fan::list(&got, &[], most).concat();
        let list = format!("[{}]", String::from_utf8(list).unwrap());
        let list: Vec<serde_json::Value> = serde_json::from_str(&list).unwrap();
        let ids = list.iter().map(|s| s["id"].as_str().unwrap().to_owned());
        ids.collect::<Vec<_>>().join(" ")
    };
    // Nothing of what a node told is copied, but the names.
    let all = fan::list(&got, &[], 10);
    let own = |piece: &Bytes| {
        let piece = piece.as_ptr_range();
        got.iter().any(|(_, body)| {
            let body = body.as_ptr_range();
            body.start <= piece.start && piece.end <= body.end
        })
    };
    let copied: Vec<&Bytes> = all.iter().filter(|piece| !own(piece)).collect();
    assert!(
        copied.iter().all(|piece| piece.len() <= "\"g0.1\"".len()),
        "{copied:?}"
    );
    assert_eq!(ids(10), "g1.1 g0.1 g0.2 g1.3");
    assert_eq!(ids(2), "g1.1 g0.1");
    for (query, want) in [
        (None, 10),
        (Some("query=x"), 10),
        (Some("limit=3&query=x"), 3),
        (Some("limit=99"), 50),
        (Some("limit=x"), 10),
    ] {
        assert_eq!(fan::limit(query), want, "{query:?}");
    }
    let sum = fan::sum(&[
        ("g0", part(r#"{"totalSessions":2,"cost":0.5,"name":"a"}"#)),
        (
            "g1",
            part(r#"{"totalSessions":3,"cost":0.25,"name":"b","more":1}"#),
        ),
    ]);
    assert_eq!(
        sum,
        serde_json::json!({"totalSessions": 5, "cost": 0.75, "name": "a", "more": 1})
    );
}

proptest! {
    #[test]
    fn no_request_and_no_answer_makes_it_panic(
        n in 0..ROUTES.len(),
        path in "(/[a-z.%0-9é]{0,8}){0,4}",
        query in proptest::option::of("[a-z_=&%+.0-9]{0,30}|session_id=[ -~]{0,9}"),
        body in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        for place in [Where::Path, Where::Query, Where::Body] {
            let _ = native(&ROUTES[n], place, &path, query.as_deref(), &Bytes::from(body.clone()));
        }
        let _ = renamed(&body, "g0", ROUTES[n].ids);
        let _ = fan::sum(&[("g0", Bytes::from(body.clone()))]);
        let _ = fan::list(&[("g0", Bytes::from(body))], &[Step::Key("sessions")], 10);
        let _ = unescaped(&path, true);
        let _ = without_secret(&path, query.as_deref());
    }

    #[test]
    fn a_chat_in_any_json_reaches_its_node_and_the_rest_stays(
        native_name in "[a-zA-Z0-9_-]{1,20}",
        key in "[a-z\"\\\\é]{0,6}",
        text in ".{0,20}",
        number in any::<f64>(),
    ) {
        prop_assume!(key != "session_id" && key != "sessionId");
        let chat = format!("g0.{native_name}");
        let body = |id: &str| serde_json::json!({
            "session_id": id, &key: [text, number, {"session_id": chat}],
        }).to_string();
        let got = to_node("POST", "/agent/stop", "/agent/stop", &body(&chat)).unwrap();
        prop_assert_eq!(got, ("/agent/stop".to_owned(), body(&native_name), chat));
    }
}
