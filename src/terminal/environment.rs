//! The agent's environment, as a pure function: what the service manager gave, without what is not
//! the agent's business, then the launch file's layers.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// Variables of the service manager and of tmux: an agent that inherited them would notify the
/// wrong unit or drive the fleet's own tmux server.
pub const UNSET: [&str; 15] = [
    "INVOCATION_ID",
    "MANAGERPID",
    "MANAGERPIDFDID",
    "SYSTEMD_EXEC_PID",
    "NOTIFY_SOCKET",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "JOURNAL_STREAM",
    "MEMORY_PRESSURE_WATCH",
    "MEMORY_PRESSURE_WRITE",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "TMUX",
    "TMUX_PANE",
];

/// Terminal type of every pane, as the fleet's tmux.conf sets it.
pub const TERM: &str = "tmux-256color";

/// Builds it. Later layers win: inherited, PATH of the install, the roster's (runtime, defaults,
/// agent), the environment files in order. `TERM` and mosaic's own marks come last.
pub fn build(
    inherited: impl IntoIterator<Item = (OsString, OsString)>,
    path: &str,
    roster: &BTreeMap<String, String>,
    files: &[(String, String)],
    marks: &[(&str, String)],
) -> BTreeMap<OsString, OsString> {
    let mut env: BTreeMap<OsString, OsString> = inherited
        .into_iter()
        .filter(|(k, _)| !UNSET.iter().any(|u| k.as_os_str() == *u))
        .collect();
    // A user manager seldom knows the locale of the login; without one, programs take text for ASCII.
    if !["LANG", "LC_ALL", "LC_CTYPE"]
        .iter()
        .any(|k| env.contains_key(&OsString::from(k)))
    {
        env.insert("LANG".into(), "C.UTF-8".into());
    }
    env.insert("PATH".into(), path.into());
    env.insert("TERM".into(), TERM.into());
    env.insert("COLORTERM".into(), "truecolor".into());
    for (k, v) in roster {
        env.insert(k.into(), v.into());
    }
    for (k, v) in files {
        env.insert(k.into(), v.into());
    }
    for (k, v) in marks {
        env.insert(k.into(), v.into());
    }
    env
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_layers_win_and_the_managers_variables_go() {
        let inherited = [
            ("TMUX", "x"),
            ("HOME", "/h"),
            ("A", "inherited"),
            ("PATH", "/bin"),
            ("NOTIFY_SOCKET", "n"),
        ]
        .map(|(k, v)| (OsString::from(k), OsString::from(v)));
        let roster = BTreeMap::from([
            ("A".to_owned(), "roster".to_owned()),
            ("B".to_owned(), "roster".to_owned()),
        ]);
        let env = build(
            inherited,
            "/p",
            &roster,
            &[("B".into(), "file".into())],
            &[("MOSAIC_AGENT", "c".into())],
        );
        let got: Vec<(String, String)> = env
            .into_iter()
            .map(|(k, v)| {
                (
                    k.to_string_lossy().into_owned(),
                    v.to_string_lossy().into_owned(),
                )
            })
            .collect();
        let want = [
            ("A", "roster"),
            ("B", "file"),
            ("COLORTERM", "truecolor"),
            ("HOME", "/h"),
            ("LANG", "C.UTF-8"),
            ("MOSAIC_AGENT", "c"),
            ("PATH", "/p"),
            ("TERM", "tmux-256color"),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(got, want);
    }
}
