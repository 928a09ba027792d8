//! What the gateway does with a method: pure. The list is of goose 1.52; what it does not know goes by its
//! session, or without one to the one node that also has all else that is not a chat's.

/// Where a client's request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Answered with a node's own answer to it.
    Initialize,
    /// Placed; the answer names the new session.
    Create,
    /// Placed as well; no working directory to look at.
    Import,
    /// All nodes, their answers merged.
    List,
    /// The session's node, which makes another session from it.
    Fork,
    /// The session's node.
    Session,
    /// About a session, and names none.
    Nameless,
    /// The first node that answers: all are configured alike.
    Any,
    /// All nodes, or none.
    Every,
}

/// Methods that the real server refuses without a session.
const ABOUT_A_SESSION: [&str; 10] = [
    "session/prompt",
    "session/cancel",
    "session/close",
    "session/delete",
    "session/fork",
    "session/load",
    "session/resume",
    "session/set_config_option",
    "session/set_mode",
    "session/set_model",
];

/// What changes a node's configuration, and so would make one node unlike the others.
/// Sorted.
const CONFIGURING: [&str; 30] = [
    "_goose/unstable/config/extensions/add",
    "_goose/unstable/config/extensions/remove",
    "_goose/unstable/config/extensions/set-enabled",
    "_goose/unstable/config/prompts/reset",
    "_goose/unstable/config/prompts/save",
    "_goose/unstable/config/remove",
    "_goose/unstable/config/upsert",
    "_goose/unstable/defaults/clear",
    "_goose/unstable/defaults/save",
    "_goose/unstable/onboarding/import/apply",
    "_goose/unstable/preferences/remove",
    "_goose/unstable/preferences/save",
    "_goose/unstable/providers/config/authenticate",
    "_goose/unstable/providers/config/delete",
    "_goose/unstable/providers/config/save",
    "_goose/unstable/providers/custom/create",
    "_goose/unstable/providers/custom/delete",
    "_goose/unstable/providers/custom/update",
    "_goose/unstable/providers/inventory/refresh",
    "_goose/unstable/providers/secrets/delete",
    "_goose/unstable/providers/secrets/save",
    "_goose/unstable/recipes/delete",
    "_goose/unstable/recipes/save",
    "_goose/unstable/recipes/slash-command",
    "_goose/unstable/sources/create",
    "_goose/unstable/sources/delete",
    "_goose/unstable/sources/update",
    "_goose/unstable/tools/permissions/set",
    "authenticate",
    "logout",
];

/// Of a request.
pub fn class(method: &str, names_a_session: bool) -> Class {
    match method {
        "initialize" => Class::Initialize,
        "session/new" => Class::Create,
        "_goose/unstable/session/import" => Class::Import,
        "session/list" => Class::List,
        "session/fork" if names_a_session => Class::Fork,
        _ if names_a_session => Class::Session,
        _ if needs_a_session(method) => Class::Nameless,
        _ if CONFIGURING.binary_search(&method).is_ok() => Class::Every,
        _ => Class::Any,
    }
}

/// Whether a method makes no sense without a session: the real server answers 400 then.
pub fn needs_a_session(method: &str) -> bool {
    ABOUT_A_SESSION.contains(&method)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_its_class() {
        for (method, session, want) in [
            ("initialize", false, Class::Initialize),
            ("session/new", false, Class::Create),
            ("_goose/unstable/session/import", false, Class::Import),
            ("session/list", false, Class::List),
            ("session/fork", true, Class::Fork),
            ("session/fork", false, Class::Nameless),
            ("session/load", true, Class::Session),
            ("session/prompt", true, Class::Session),
            ("session/prompt", false, Class::Nameless),
            ("session/nonsense", true, Class::Session),
            ("_goose/unstable/session/steer", true, Class::Session),
            ("_goose/unstable/slash-commands/list", true, Class::Session),
            ("_goose/unstable/slash-commands/list", false, Class::Any),
            ("_goose/unstable/config/read", false, Class::Any),
            ("_goose/unstable/config/upsert", false, Class::Every),
            ("authenticate", false, Class::Every),
            ("_goose/unstable/schedules/list", false, Class::Any),
            ("", false, Class::Any),
        ] {
            assert_eq!(class(method, session), want, "{method}");
        }
    }

    #[test]
    fn the_list_is_sorted_and_each_of_it_is_found() {
        assert!(CONFIGURING.is_sorted());
        for method in CONFIGURING {
            assert_eq!(class(method, false), Class::Every, "{method}");
        }
    }
}
