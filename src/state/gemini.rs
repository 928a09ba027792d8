//! Gemini CLI's record of its conversations: a file of JSON lines each, beside them a log of all that
//! was typed.
//!
//! After `/clear` the process writes on in a file of a new conversation. The log tells when that was
//! typed, under the id that the process was started with; the file that began right then is the new
//! conversation. When a tool call is refused, the whole history is written once more, with new ids and
//! times; that is not something said again.

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::error::Result;
use crate::host::files;
use crate::report::{self, Report, What};
use crate::terminal::conversation;

/// A new conversation's file is made within this time after its command. Measured: 40 ms.
const BEGINS: SignedDuration = SignedDuration::from_secs(5);

/// Two clocks read in a row may seem to run backwards by the rounding of one.
const ROUNDING: SignedDuration = SignedDuration::from_millis(5);

/// Commands that begin a new conversation, as the log has them.
const COMMANDS: [&str; 2] = ["/clear", "/new"];

/// How the context line begins that gemini puts before every history.
const CONTEXT: &str = "<session_context>";

/// The conversations of one process.
#[derive(Debug, Clone)]
pub struct Gemini {
    /// Pattern of the file of the conversation that the process was started with.
    pub pattern: String,
    /// Its id.
    pub id: String,
    /// When the process was started.
    pub started: Option<Timestamp>,
    /// mosaic's own file of reports, where another conversation is noted: it outlives the log.
    pub notes: PathBuf,
}

/// The conversation that goes on now.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Current {
    /// The file that holds it.
    file: PathBuf,
    /// Its id and when it began, where it is not the one the process was started with.
    cleared: Option<(String, Timestamp)>,
}

impl Gemini {
    /// The position behind all there is so far: the present, in milliseconds.
    pub fn mark() -> u64 {
        u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0)
    }

    /// What was added since a mark, oldest first. A new conversation is noted on the way.
    ///
    /// # Errors
    /// The record exists and cannot be read.
    pub fn since(&self, mark: u64) -> Result<Vec<Report>> {
        let from = i64::try_from(mark).unwrap_or(i64::MAX);
        let from = Timestamp::from_millisecond(from).unwrap_or(Timestamp::MAX);
        self.from(from)
    }

    /// The last reports of this process.
    ///
    /// # Errors
    /// The record exists and cannot be read.
    pub fn last(&self, started: Option<Timestamp>) -> Result<Vec<Report>> {
        const STEPS: [u64; 2] = [64 * 1024, 8 * 1024 * 1024];
        let Some(current) = self.current()? else {
            return Ok(Vec::new());
        };
        for step in STEPS {
            let (text, whole) = report::last_lines(&current.file, step)?;
            let mut reports = parse(&text);
            if whole || !reports.is_empty() {
                let begun = current.cleared.as_ref().map(|c| c.1).max(started);
                reports.retain(|r| begun.is_none_or(|t| r.time >= t));
                let began = self.began(&current);
                return Ok(began.into_iter().chain(reports).collect());
            }
        }
        Ok(Vec::new())
    }

    fn from(&self, from: Timestamp) -> Result<Vec<Report>> {
        const STEPS: [u64; 3] = [64 * 1024, 1024 * 1024, 16 * 1024 * 1024];
        let Some(current) = self.current()? else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for step in STEPS {
            let (text, whole) = report::last_lines(&current.file, step)?;
            let reports = parse(&text);
            let enough = whole || reports.first().is_some_and(|r| r.time < from);
            found = reports;
            if enough {
                break;
            }
        }
        let began = self.began(&current);
        let mut all: Vec<Report> = began.into_iter().chain(found).collect();
        all.retain(|r| r.time >= from);
        Ok(all)
    }

    /// Files whose change means that there is something new.
    pub fn files(&self) -> Vec<PathBuf> {
        let Ok(Some(current)) = self.current() else {
            return Vec::new();
        };
        let log = current.file.parent().and_then(Path::parent);
        let log = log.map(|dir| dir.join("logs.json"));
        log.into_iter().chain([current.file]).collect()
    }

    /// The report of a new conversation.
    fn began(&self, current: &Current) -> Option<Report> {
        let (id, time) = current.cleared.clone()?;
        Some(Report {
            time,
            what: What::Session {
                id: Some(id),
                file: None,
                reason: "clear".into(),
            },
        })
    }

    fn current(&self) -> Result<Option<Current>> {
        // Resuming makes further files of the same id, which stay empty; the first one goes on.
        let Some(file) = conversation::find(&self.pattern) else {
            return Ok(None);
        };
        let first = Current {
            file,
            cleared: None,
        };
        let Some(chats) = first.file.parent() else {
            return Ok(Some(first));
        };
        let log = chats
            .parent()
            .map(|dir| files::read_optional(&dir.join("logs.json")))
            .transpose()?
            .flatten()
            .unwrap_or_default();
        let Some(time) = cleared(&log, &self.id, self.started) else {
            return Ok(Some(first));
        };
        let Some((file, id, began)) = begun_after(chats, &self.id, time) else {
            return Ok(Some(first));
        };
        self.note(&id)?;
        Ok(Some(Current {
            file,
            cleared: Some((id, began)),
        }))
    }

    /// Writes down which conversation goes on, for the next start.
    fn note(&self, id: &str) -> Result<()> {
        let known = report::last_session(&report::tail(&self.notes)?);
        if known.is_some_and(|(known, _)| known.as_deref() == Some(id)) {
            return Ok(());
        }
        report::append(
            &self.notes,
            What::Session {
                id: Some(id.to_owned()),
                file: None,
                reason: "clear".into(),
            },
        )
    }
}

/// When a process last began a new conversation, by the log of what was typed.
fn cleared(log: &str, id: &str, started: Option<Timestamp>) -> Option<Timestamp> {
    // In the midst of being written it is no JSON; it is read again.
    let entries: Vec<Value> = serde_json::from_str(log).ok()?;
    entries
        .iter()
        .rev()
        .filter(|e| e["sessionId"] == id)
        .filter(|e| {
            let text = e["message"].as_str().unwrap_or_default();
            COMMANDS.contains(&text.trim())
        })
        .find_map(|e| e["timestamp"].as_str()?.parse::<Timestamp>().ok())
        .filter(|time| started.is_none_or(|s| *time >= s))
}

/// The conversation that began right after a time: its file, its id, when. Not the one of the given
/// id, which may have made another file.
fn begun_after(chats: &Path, but: &str, time: Timestamp) -> Option<(PathBuf, String, Timestamp)> {
    let window = (time - ROUNDING)..(time + BEGINS);
    let mut found: Vec<(Timestamp, PathBuf, String)> = std::fs::read_dir(chats)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "jsonl"))
        .filter_map(|path| {
            let head = first_line(&path)?;
            let began: Timestamp = head["startTime"].as_str()?.parse().ok()?;
            let id = head["sessionId"].as_str()?.to_owned();
            (window.contains(&began) && id != but).then_some((began, path, id))
        })
        .collect();
    found.sort();
    let (began, path, id) = found.into_iter().next()?;
    Some((path, id, began))
}

fn first_line(path: &Path) -> Option<Value> {
    use std::io::BufRead as _;
    let file = std::fs::File::open(path).ok()?;
    let line = std::io::BufReader::new(file).lines().next()?.ok()?;
    serde_json::from_str(&line).ok()
}

/// Reads lines of a conversation. A history that is written once more is left out.
pub fn parse(text: &str) -> Vec<Report> {
    let mut reports = Vec::new();
    let mut again = false;
    for line in text.lines() {
        let Ok(v) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        if let Some(set) = v.get("$set") {
            again &= set.get("messages").is_none();
            continue;
        }
        let kind = v["type"].as_str().unwrap_or_default();
        again |= kind == "user" && text_of(&v["content"]).starts_with(CONTEXT);
        if again {
            continue;
        }
        let Some(time) = v["timestamp"].as_str().and_then(|t| t.parse().ok()) else {
            continue;
        };
        let what = match kind {
            "user" => typed(&v).map(|text| What::Prompt { text }),
            // The same record is written again with the tool calls that came with it.
            "gemini" if v.get("toolCalls").is_some() => Some(What::Working),
            "gemini" => match text_of(&v["content"]) {
                text if text.is_empty() => Some(What::Working),
                text => Some(What::Answer { text }),
            },
            // A turn that was broken off.
            "info" if text_of(&v["content"]).starts_with("Request cancelled") => Some(What::Idle),
            "error" => Some(What::Idle),
            _ => None,
        };
        reports.extend(what.map(|what| Report { time, what }));
    }
    reports
}

/// What a person typed, of a record.
pub fn typed(v: &Value) -> Option<String> {
    let text = text_of(v.get("content").filter(|_| v["type"] == "user")?);
    (!text.is_empty() && !text.starts_with(CONTEXT)).then_some(text)
}

/// The text of a record's content: a text, or parts of which some have one.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        parts => {
            let parts = parts.as_array().map(Vec::as_slice).unwrap_or_default();
            parts.iter().filter_map(|p| p["text"].as_str()).collect()
        }
    }
}

#[cfg(test)]
mod tests;
