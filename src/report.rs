//! What agents say of themselves: a file of JSON lines per agent, written by Claude Code hooks, by a
//! pi extension, or by the demo agent, all in one format. It tells which conversation the agent is
//! in, what was submitted to it, and what it is doing, without looking at its screen.

mod claude;
mod demo;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::host::files;
use crate::paths::Paths;

pub use claude::{claude_settings, from_claude_hook};
pub use demo::from_demo_line;

/// Reports are cut back to their newest half at this size, at the agent's next start.
const LIMIT: u64 = 2 * 1024 * 1024;

/// Environment variable that tells a reporter where to write.
pub const VARIABLE: &str = "MOSAIC_REPORTS";

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// When.
    pub time: jiff::Timestamp,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What an agent reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum What {
    /// The agent is in this conversation from now on.
    Session {
        /// The agent's own id of it.
        #[serde(default)]
        id: Option<String>,
        /// Its file; it may not exist yet.
        #[serde(default)]
        file: Option<PathBuf>,
        /// `startup`, `resume`, `clear`, `new` …, as the agent calls it.
        #[serde(default)]
        reason: String,
    },
    /// A message was submitted.
    Prompt {
        /// Its text as the agent took it.
        text: String,
    },
    /// The agent began to work.
    Working,
    /// The agent's turn ended.
    Idle,
    /// The agent asks for approval.
    Waiting {
        /// For what.
        #[serde(default)]
        question: String,
    },
    /// The agent said something to the user. The last one before [`What::Idle`] is its answer.
    Answer {
        /// The text, without thoughts and tool calls.
        text: String,
    },
    /// The agent cannot go on for now: its provider refuses more requests. It is parked, not broken.
    Limited {
        /// What it was told.
        #[serde(default)]
        what: String,
        /// Until when, where that was said.
        #[serde(default)]
        until: Option<jiff::Timestamp>,
    },
    /// The agent says it ends.
    Ended {
        /// Why.
        #[serde(default)]
        reason: String,
    },
}

/// An agent's report file.
pub fn path(paths: &Paths, agent: &str) -> PathBuf {
    paths.agent_dir(agent).join("reports.jsonl")
}

/// All reports, oldest first. Lines that are no reports are left out.
///
/// # Errors
/// The file exists and cannot be read.
pub fn read(path: &Path) -> Result<Vec<Report>> {
    Ok(files::read_optional(path)?
        .map(|text| parse(&text))
        .unwrap_or_default())
}

/// Parses report lines.
pub fn parse(text: &str) -> Vec<Report> {
    text.lines()
        .filter_map(|l| serde_json::from_str(l).ok())
        .collect()
}

/// The reports at the end of the file: enough for the present state, whatever its size.
///
/// # Errors
/// The file exists and cannot be read.
pub fn tail(path: &Path) -> Result<Vec<Report>> {
    // Holds the last several events even when prompts are long.
    const TAIL: u64 = 64 * 1024;
    Ok(parse(&last_lines(path, TAIL)?.0))
}

/// The whole lines in the last `bytes` of a file, and whether they are all of it. A missing file is
/// an empty one.
///
/// # Errors
/// The file exists and cannot be read.
pub fn last_lines(path: &Path, bytes: u64) -> Result<(String, bool)> {
    let length = length(path);
    if length <= bytes {
        return Ok((files::read_optional(path)?.unwrap_or_default(), true));
    }
    let text = read_from(path, length - bytes, bytes)?;
    Ok((
        text.split_once('\n')
            .map_or(String::new(), |(_, rest)| rest.to_owned()),
        false,
    ))
}

/// What was added to a file since it was `offset` bytes long, up to a bound. A file that is shorter
/// than that by now was replaced, and is read from its start.
///
/// # Errors
/// The file exists and cannot be read.
pub fn lines_since(path: &Path, offset: u64) -> Result<String> {
    // Many times the longest message that is sent, and never a whole old conversation.
    const MOST: u64 = 8 * 1024 * 1024;
    let length = length(path);
    if length == 0 {
        return Ok(String::new());
    }
    read_from(path, if length < offset { 0 } else { offset }, MOST)
}

/// Length of a file; 0 for a missing one.
pub fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |m| m.len())
}

fn read_from(path: &Path, offset: u64, most: u64) -> Result<String> {
    use std::io::{Read as _, Seek as _};
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(path)?;
        file.seek(std::io::SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read()
        .map_err(|e| crate::error::Error::io(format!("cannot read `{}`", path.display()), e))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The position behind all that was ever reported; see [`since`].
pub fn position(path: &Path) -> u64 {
    let shift = std::fs::File::open(path).map_or(0, |mut f| shift(&mut f));
    length(path) + shift
}

/// What was reported since a position, up to a bound. Positions stay right when the file is cut back
/// ([`trim`]): what was before is never taken for what came after. A file that was removed since is read
/// from its start.
///
/// # Errors
/// The file exists and cannot be read.
pub fn since(path: &Path, position: u64) -> Result<String> {
    let shift = std::fs::File::open(path).map_or(0, |mut f| shift(&mut f));
    lines_since(path, position.saturating_sub(shift))
}

/// First line of a file that was cut back.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cut {
    /// `cut`; no event of [`What`].
    event: String,
    /// What to add to an offset to have its position. A text of constant length, so that the line's
    /// own length is known before.
    shift: String,
}

impl Cut {
    fn line(shift: u64) -> String {
        let cut = Self {
            event: "cut".to_owned(),
            shift: format!("{shift:020}"),
        };
        serde_json::to_string(&cut).unwrap_or_default() + "\n"
    }
}

/// How much was cut off in front of a file's first byte.
fn shift(file: &mut std::fs::File) -> u64 {
    use std::io::{BufRead as _, Read as _};
    // Longer than the line of a cut, shorter than a message.
    const MOST: u64 = 128;
    let mut line = String::new();
    let read = std::io::BufReader::new(file.take(MOST)).read_line(&mut line);
    let cut = read
        .ok()
        .and_then(|_| serde_json::from_str::<Cut>(&line).ok());
    cut.and_then(|c| c.shift.parse().ok()).unwrap_or(0)
}

/// Adds a line.
///
/// # Errors
/// The line is missing then.
pub fn append(path: &Path, what: What) -> Result<()> {
    let report = Report {
        time: jiff::Timestamp::now(),
        what,
    };
    files::append_line(
        path,
        &serde_json::to_string(&report).unwrap_or_default(),
        u64::MAX,
    )
}

/// Cuts a large report file back; called before the agent starts, when nobody writes.
///
/// # Errors
/// The old file is whole.
pub fn trim(path: &Path) -> Result<()> {
    if std::fs::metadata(path).is_ok_and(|m| m.len() > LIMIT) {
        let text = files::read_optional(path)?.unwrap_or_default();
        let half = text.len() / 2;
        let cut = text
            .char_indices()
            .find(|(i, c)| *i >= half && *c == '\n')
            .map_or(text.len(), |(i, _)| i + 1);
        let before = std::fs::File::open(path).map_or(0, |mut f| shift(&mut f));
        // The line itself takes room too.
        let own = Cut::line(0).len();
        let shift = before + (cut.saturating_sub(own)) as u64;
        let text = Cut::line(shift) + &text[cut..];
        files::write_atomic(path, text.as_bytes(), files::PRIVATE)?;
    }
    Ok(())
}

/// The conversation the agent said last that it is in.
pub fn last_session(reports: &[Report]) -> Option<(Option<String>, Option<PathBuf>)> {
    reports.iter().rev().find_map(|r| match &r.what {
        What::Session { id, file, .. } => Some((id.clone(), file.clone())),
        _ => None,
    })
}

/// The extension by which pi reports.
pub const PI_EXTENSION: &str = include_str!("runtime/reporters/pi.ts");

/// The plugin by which opencode's terminal interface reports.
pub const OPENCODE_PLUGIN: &str = include_str!("runtime/reporters/opencode.ts");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_large_file_is_trimmed_at_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.jsonl");
        let text = "x".repeat(2000);
        for _ in 0..1100 {
            append(&path, What::Prompt { text: text.clone() }).unwrap();
        }
        append(&path, What::Idle).unwrap();
        trim(&path).unwrap();
        let left = read(&path).unwrap();
        assert!((500..600).contains(&left.len()), "{}", left.len());
        assert_eq!(left.last().unwrap().what, What::Idle);
        assert_eq!(tail(&path).unwrap().last().unwrap().what, What::Idle);
    }

    #[test]
    fn a_position_stays_right_when_the_file_is_cut_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.jsonl");
        let said = |text: &str| append(&path, What::Prompt { text: text.into() }).unwrap();
        let fill = || (0..1100).for_each(|_| said(&"x".repeat(2000)));
        let after = |at: u64| {
            let got = parse(&since(&path, at).unwrap());
            got.into_iter().map(|r| r.what).collect::<Vec<_>>()
        };
        assert_eq!((position(&path), after(0)), (0, vec![]));
        // Twice: what an earlier cut took away counts too.
        for _ in 0..2 {
            fill();
            said("go on");
            let mark = position(&path);
            trim(&path).unwrap();
            assert!(length(&path) < mark);
            assert_eq!(position(&path), mark);
            // An old one is not taken for one that was said since.
            assert_eq!(after(mark), []);
            said("done");
            let done = What::Prompt {
                text: "done".into(),
            };
            assert_eq!(after(mark), [done]);
            // What was cut off cannot be given; all that is left came later.
            assert_eq!(after(1).len(), read(&path).unwrap().len());
        }
        let before = position(&path);
        std::fs::remove_file(&path).unwrap();
        said("anew");
        assert_eq!(after(before).len(), 1);
    }
}
