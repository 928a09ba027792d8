//! What stands in the server: its panes, each asked for by one line of fields.

use super::{SEP, Tmux, TmuxError};

/// One pane, as listed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Pane {
    /// `%N`.
    pub id: String,
    /// The process tmux itself started in it.
    pub pid: i32,
    /// The terminal's path.
    pub tty: String,
    /// Its program has ended.
    pub dead: bool,
    /// Copy mode or another mode is on.
    pub in_mode: bool,
    /// Clients that show the session.
    pub viewers: u32,
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
    /// Cursor row, from 0.
    pub cursor_y: u16,
    /// When its window last printed something, in seconds since the epoch.
    pub activity: i64,
    /// The agent that mosaic made the pane for; empty for others.
    pub agent: String,
    /// The agent that mosaic made the session for; empty for others.
    pub owner: String,
    /// Session name.
    pub session: String,
    /// Title set by the program.
    pub title: String,
}

const PANE_FIELDS: [&str; 14] = [
    "pane_id",
    "pane_pid",
    "pane_tty",
    "pane_dead",
    "pane_in_mode",
    "session_attached",
    "pane_width",
    "pane_height",
    "cursor_y",
    "window_activity",
    "@mosaic_agent",
    "@mosaic_session",
    "session_name",
    "pane_title",
];

pub(in crate::host) fn pane_format() -> String {
    PANE_FIELDS
        .map(|f| format!("#{{{f}}}"))
        .join(&SEP.to_string())
}

pub(in crate::host) fn parse_pane(line: &str) -> Option<Pane> {
    let mut f = line.splitn(PANE_FIELDS.len(), SEP);
    let mut next = || f.next();
    Some(Pane {
        id: next()?.to_owned(),
        pid: next()?.parse().unwrap_or(0),
        tty: next()?.to_owned(),
        dead: next()? == "1",
        in_mode: next()? != "0",
        viewers: next()?.parse().unwrap_or(0),
        width: next()?.parse().unwrap_or(0),
        height: next()?.parse().unwrap_or(0),
        cursor_y: next()?.parse().unwrap_or(0),
        activity: next()?.parse().unwrap_or(0),
        agent: next()?.to_owned(),
        owner: next()?.to_owned(),
        session: next()?.to_owned(),
        title: next()?.to_owned(),
    })
}

impl Tmux {
    /// Every pane of the server.
    ///
    /// # Errors
    /// `NoServer` when nobody listens.
    pub fn panes(&self) -> Result<Vec<Pane>, TmuxError> {
        match self.call(&["list-panes", "-a", "-F", &pane_format()], None) {
            Ok(out) => Ok(out.stdout.lines().filter_map(parse_pane).collect()),
            // A server that has just started and holds no session says so in this way.
            Err(TmuxError::NoTarget(_)) => Ok(Vec::new()),
            Err(TmuxError::Refused { message, .. }) if message.contains("no current") => {
                Ok(Vec::new())
            }
            Err(e) => Err(e),
        }
    }

    /// The server's process id, which also says that it answers.
    ///
    /// # Errors
    /// `NoServer` when nobody listens.
    pub fn server_pid(&self) -> Result<i32, TmuxError> {
        let out = self.call(&["display-message", "-p", "#{pid}"], None)?;
        Ok(out.stdout.trim().parse().unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_may_hold_anything() {
        let line = [
            "%3",
            "42",
            "/dev/pts/3",
            "0",
            "0",
            "1",
            "200",
            "50",
            "48",
            "1795000000",
            "coder0",
            "coder0",
            "coder0",
            "a␟b\u{7f}",
        ]
        .join("\u{241f}");
        let pane = parse_pane(&line);
        assert_eq!(pane.as_ref().map(|p| p.title.as_str()), Some("a␟b\u{7f}"));
        assert_eq!(
            pane.map(|p| (p.pid, p.viewers, p.activity)),
            Some((42, 1, 1_795_000_000))
        );
        assert_eq!(parse_pane("short"), None);
    }
}
