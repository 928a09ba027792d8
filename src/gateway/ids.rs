//! Names of chats towards clients: `NODE.NATIVE`. Every node counts its own sessions, so three fresh
//! nodes all have a `20261121_1`; with the node's name before it a session is found without any table, and
//! after any restart.

/// The name of a node's session towards clients. A native name that would not be safe in a path is
/// refused: `None`.
pub fn join(node: &str, native: &str) -> Option<String> {
    let safe = !native.is_empty()
        && native.len() <= 128
        && native
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    safe.then(|| format!("{node}.{native}"))
}

/// Node and native name of a session; `None` when it is no such name.
pub fn split(id: &str) -> Option<(&str, &str)> {
    let (node, native) = id.split_once('.')?;
    // The name of a node holds no dot, a native name may.
    (crate::names::check(node).is_ok() && join(node, native).is_some()).then_some((node, native))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_others_are_refused() {
        let id = join("goosed0", "20261121_1").unwrap_or_default();
        assert_eq!(id, "goosed0.20261121_1");
        assert_eq!(split(&id), Some(("goosed0", "20261121_1")));
        assert_eq!(split("a.b.c"), Some(("a", "b.c")));
        for bad in ["", "a", "a.", ".b", "A.b", "a.b/c", "../x", "a.b c", "a.é"] {
            assert_eq!(split(bad), None, "{bad}");
        }
        assert_eq!(join("a", "x/../y"), None);
    }
}
