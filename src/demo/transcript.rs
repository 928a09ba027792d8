//! The demo agent's transcript: what is recorded, how a line looks, and what an earlier process of
//! the same session left in it.
//!
//! One JSON object a line, appended with a single write, so that a reader never sees half a line
//! and a killed agent leaves at most its last one unwritten.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The version of the format, written into every `session` line.
const VERSION: u32 = 1;

/// One line, but for its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Record {
    /// A conversation begins or goes on; `resumed` is the number of messages already in it.
    Session {
        id: String,
        reason: Reason,
        pid: u32,
        resumed: u64,
        version: u32,
    },
    /// A message the agent took up, byte for byte.
    User { text: String, session: String },
    /// A message submitted during a turn; its `user` line follows when its own turn begins.
    Queued { text: String },
    /// What the agent is doing changed.
    State {
        state: State,
        #[serde(skip_serializing_if = "Option::is_none")]
        question: Option<&'static str>,
    },
    /// An answer.
    Assistant { text: String },
    /// The dialog was answered with yes.
    Approved,
    /// The dialog was answered with no.
    Denied,
    /// The turn was broken off with Esc or Ctrl-C: no answer follows.
    Interrupted,
    /// A shell command, which is never run; with its `!`.
    Shell { text: String },
    /// The process the `daemon` persona leaves behind.
    Daemon { pid: u32 },
    /// The orderly end. A crash writes none.
    Exit { code: u8, signal: Option<i32> },
}

impl Record {
    /// A `session` line of the current format.
    pub fn session(id: String, reason: Reason, pid: u32, resumed: u64) -> Self {
        Self::Session {
            id,
            reason,
            pid,
            resumed,
            version: VERSION,
        }
    }
}

/// Why a `session` line was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// The first process of a conversation.
    Start,
    /// A later process of a conversation that has messages.
    Resume,
    /// `/clear`.
    Clear,
    /// `/new`.
    New,
}

/// What the agent is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// At the prompt, with nothing to do.
    Idle,
    /// In a turn.
    Working,
    /// In the approval dialog.
    Waiting,
    /// In a turn that waits for the provider.
    Limited,
}

/// The conversation found in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Earlier {
    pub id: String,
    /// `user` lines since the conversation began; never 0.
    pub messages: u64,
}

/// An open transcript; remembers nothing of what it wrote.
#[derive(Debug)]
pub struct Transcript {
    file: File,
    /// The file ended in the middle of a line.
    torn: bool,
}

impl Transcript {
    /// Opens or creates the file (mode 0600, missing directories 0700) and reads what is in it.
    /// Lines that make no sense are passed over.
    ///
    /// # Errors
    /// The file or its directory cannot be created, read or opened for appending.
    pub fn open(path: &Path) -> io::Result<(Self, Option<Earlier>)> {
        if let Some(directory) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)?;
        }
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        let (earlier, torn) = read(BufReader::new(&file))?;
        Ok((Self { file, torn }, earlier))
    }

    /// Appends one line with one write.
    ///
    /// # Errors
    /// The file cannot be written; the line may be there in part, and the next one starts anew.
    pub fn append(&mut self, record: &Record) -> io::Result<()> {
        let now = format!("{:.3}", jiff::Timestamp::now());
        let line = line(record, &now, self.torn)?;
        let result = self.file.write_all(line.as_bytes());
        self.torn = result.is_err();
        result
    }
}

/// The text of one line, on a line of its own after a torn one.
fn line(record: &Record, now: &str, torn: bool) -> io::Result<String> {
    let body = serde_json::to_string(record)?;
    let start = if torn { "\n" } else { "" };
    // Every record is a non-empty object, and a time needs no escaping.
    Ok(format!("{start}{{\"time\":\"{now}\",{}\n", &body[1..]))
}

/// What a later process needs to know of a line.
#[derive(Deserialize)]
struct Seen {
    r#type: String,
    id: Option<String>,
    reason: Option<Reason>,
}

fn read(mut reader: impl io::BufRead) -> io::Result<(Option<Earlier>, bool)> {
    let mut id = None;
    let mut messages = 0;
    let mut torn = false;
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        torn = line.last() != Some(&b'\n');
        if let Ok(seen) = serde_json::from_slice::<Seen>(&line) {
            match seen.r#type.as_str() {
                "session" => {
                    id = seen.id;
                    if seen.reason != Some(Reason::Resume) {
                        messages = 0;
                    }
                }
                "user" => messages += 1,
                _ => {}
            }
        }
        line.clear();
    }
    let earlier = id
        .filter(|_| messages > 0)
        .map(|id| Earlier { id, messages });
    Ok((earlier, torn))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    /// A file as version 1 wrote it. It must be understood for ever.
    const VERSION_1: &str = r#"{"time":"2025-01-02T03:04:05.678Z","type":"session","id":"a","reason":"start","pid":7,"resumed":0,"version":1}
{"time":"2025-01-02T03:04:05.679Z","type":"state","state":"idle"}
{"time":"2025-01-02T03:04:06.000Z","type":"user","text":"one","session":"a"}
{"time":"2025-01-02T03:04:06.000Z","type":"state","state":"waiting","question":"Do you want to proceed?"}
{"time":"2025-01-02T03:04:07.000Z","type":"session","id":"b","reason":"clear","pid":7,"resumed":0,"version":1}
{"time":"2025-01-02T03:04:08.000Z","type":"user","text":"two\n","session":"b"}
{"time":"2025-01-02T03:04:09.000Z","type":"exit","code":143,"signal":15}
{"time":"2025-01-02T03:05:00.000Z","type":"session","id":"b","reason":"resume","pid":8,"resumed":1,"version":1}
not json
{"time":"2025-01-02T03:05:01.000Z","type":"user","text":"three","session":"b"}
"#;

    fn earlier(text: &str) -> (Option<Earlier>, bool) {
        read(text.as_bytes()).expect("memory")
    }

    #[test]
    fn an_old_file_is_understood() {
        let expected = Earlier {
            id: "b".into(),
            messages: 2,
        };
        assert_eq!(earlier(VERSION_1), (Some(expected), false));
    }

    #[test]
    fn a_conversation_without_messages_is_not_resumed() {
        let upto = |n: usize| VERSION_1.lines().take(n).collect::<Vec<_>>().join("\n") + "\n";
        assert_eq!(earlier(""), (None, false));
        assert_eq!(earlier(&upto(2)), (None, false));
        assert_eq!(earlier(&upto(5)), (None, false));
        assert!(earlier(&upto(3)).0.is_some());
    }

    #[test]
    fn lines_are_as_documented() {
        let table = [
            (
                Record::session("x".into(), Reason::New, 7, 0),
                r#"{"time":"T","type":"session","id":"x","reason":"new","pid":7,"resumed":0,"version":1}"#,
            ),
            (
                Record::User {
                    text: "a\tü\n\"".into(),
                    session: "x".into(),
                },
                r#"{"time":"T","type":"user","text":"a\tü\n\"","session":"x"}"#,
            ),
            (
                Record::State {
                    state: State::Working,
                    question: None,
                },
                r#"{"time":"T","type":"state","state":"working"}"#,
            ),
            (
                Record::State {
                    state: State::Waiting,
                    question: Some("why?"),
                },
                r#"{"time":"T","type":"state","state":"waiting","question":"why?"}"#,
            ),
            (Record::Denied, r#"{"time":"T","type":"denied"}"#),
            (
                Record::Exit {
                    code: 129,
                    signal: Some(1),
                },
                r#"{"time":"T","type":"exit","code":129,"signal":1}"#,
            ),
            (
                Record::Exit {
                    code: 0,
                    signal: None,
                },
                r#"{"time":"T","type":"exit","code":0,"signal":null}"#,
            ),
        ];
        for (record, expected) in table {
            let line = line(&record, "T", false).expect("serializable");
            assert_eq!(line, format!("{expected}\n"));
        }
    }

    #[test]
    fn a_file_is_private_and_a_torn_line_stays_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("new/session.jsonl");
        let (mut transcript, found) = Transcript::open(&path).expect("created");
        assert_eq!(found, None);
        let mode = std::fs::metadata(&path).expect("there").permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        transcript
            .append(&Record::session("x".into(), Reason::Start, 1, 0))
            .expect("written");
        drop(transcript);
        let torn = std::fs::read_to_string(&path).expect("text") + "{\"type\":\"us";
        std::fs::write(&path, &torn).expect("written");

        let (mut transcript, _) = Transcript::open(&path).expect("opened");
        let user = Record::User {
            text: "one".into(),
            session: "x".into(),
        };
        transcript.append(&user).expect("written");
        drop(transcript);
        let (_, found) = Transcript::open(&path).expect("opened");
        assert_eq!(found.map(|e| e.messages), Some(1));
        let text = std::fs::read_to_string(&path).expect("text");
        assert_eq!(text.lines().count(), 3);
    }
}
