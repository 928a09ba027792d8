//! codex's conversations, which it calls threads: which ones an app-server has open, what each is
//! doing, and which of them the terminal shows.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::rpc::{Client, Failure};

/// What a thread is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Nothing. After a turn that failed too.
    Idle,
    /// It is in a turn.
    Working,
    /// It asks a person something.
    Waiting,
}

/// A person's conversation. The threads that codex opens for itself (titles, sub-agents, reviews) are
/// none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    /// Its id: a UUID of version 7, so that later ones are greater.
    pub id: String,
    /// Its rollout, which is made with its first message.
    pub rollout: Option<PathBuf>,
    /// What it is doing.
    pub status: Status,
}

impl Status {
    /// Reads codex's `status`.
    pub fn of(value: &Value) -> Self {
        let flags = value.get("activeFlags").and_then(Value::as_array);
        match value.get("type").and_then(Value::as_str) {
            Some("active") if flags.is_some_and(|f| !f.is_empty()) => Status::Waiting,
            Some("active") => Status::Working,
            _ => Status::Idle,
        }
    }
}

impl Thread {
    /// Reads codex's `thread`; `None` for one that is not a person's.
    pub fn of(value: &Value) -> Option<Self> {
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        let own = value.get("ephemeral").and_then(Value::as_bool) != Some(true)
            && matches!(text("threadSource"), None | Some("user"))
            && text("parentThreadId").is_none()
            && text("attachedToThreadId").is_none();
        own.then_some(())?;
        Some(Self {
            id: text("id")?.to_owned(),
            rollout: text("path").map(PathBuf::from),
            status: Status::of(value.get("status").unwrap_or(&Value::Null)),
        })
    }

    /// Asks for one.
    ///
    /// # Errors
    /// There is none of that id, or the connection is gone.
    pub fn read(client: &mut Client, id: &str) -> Result<Option<Self>, Failure> {
        let got = client.call("thread/read", json!({"threadId": id}))?;
        Ok(got.get("thread").and_then(Self::of))
    }

    /// Those that are open, oldest first.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn loaded(client: &mut Client) -> Result<Vec<Self>, Failure> {
        let ids = loaded(client)?;
        Self::among(client, &ids)
    }

    /// Those of a person among some.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn among(client: &mut Client, ids: &[String]) -> Result<Vec<Self>, Failure> {
        let mut threads = Vec::new();
        for id in ids {
            match Self::read(client, id) {
                Ok(found) => threads.extend(found),
                // Closed meanwhile.
                Err(Failure::Refused(_)) => {}
                Err(e) => return Err(e),
            }
        }
        threads.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(threads)
    }
}

/// The ids of all that are open, codex's own among them. Asking for each of those takes tens of
/// milliseconds, and there is one for every turn of the last minute.
///
/// # Errors
/// The connection is gone.
pub fn loaded(client: &mut Client) -> Result<Vec<String>, Failure> {
    let got = client.call("thread/loaded/list", json!({}))?;
    let ids = got.get("data").and_then(Value::as_array);
    let ids = ids.into_iter().flatten().filter_map(Value::as_str);
    Ok(ids.map(str::to_owned).collect())
}

/// The one of several that the terminal shows, by the terminal's title: codex is told to put the
/// thread's id into it, of which it shows the first 29 characters.
pub fn shown<'a>(ids: &'a [String], title: &str) -> Option<&'a String> {
    /// Fewer could be a part of something else. The time a thread began takes the first 13.
    const TELLING: usize = 20;
    let word = title.split_whitespace().last()?;
    let start = word.trim_end_matches(['.', '…']);
    (start.len() >= TELLING).then_some(())?;
    ids.iter().find(|id| id.starts_with(start))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_title_tells_which_thread_is_shown() {
        const OLD: &str = "01a1fdf3-b447-70d2-aefb-027f87670ce0";
        const NEW: &str = "01a1fdf7-59f2-7dc3-b428-e13c058aadc3";
        let ids = [OLD, NEW].map(str::to_owned);
        let by = |title| shown(&ids, title).map(String::as_str);
        assert_eq!(by("Ready | 01a1fdf3-b447-70d2-aefb-027f8..."), Some(OLD));
        assert_eq!(by("⠦ Working | 01a1fdf7-59f2-7dc3-b428-e13c0…"), Some(NEW));
        // Not the newest for want of anything better: a person may have gone back to the old one.
        for title in ["", "work", "Ready | 01a1fdf3-b4..."] {
            assert_eq!(by(title), None, "{title}");
        }
    }

    #[test]
    fn threads_of_codex_itself_are_left_out() {
        let value = |more: Value| {
            let mut base = json!({"id": "x", "ephemeral": false, "threadSource": "user",
                "parentThreadId": null, "path": "/r.jsonl", "status": {"type": "idle"}});
            for (key, v) in more.as_object().unwrap() {
                base[key] = v.clone();
            }
            Thread::of(&base)
        };
        assert_eq!(value(json!({})).unwrap().status, Status::Idle);
        let status = |s: Value| value(json!({"status": s})).unwrap().status;
        assert_eq!(
            status(json!({"type": "active", "activeFlags": []})),
            Status::Working
        );
        assert_eq!(
            status(json!({"type": "active", "activeFlags": ["waitingOnApproval"]})),
            Status::Waiting
        );
        assert_eq!(status(json!({"type": "systemError"})), Status::Idle);
        assert_eq!(value(json!({"ephemeral": true})), None);
        assert_eq!(value(json!({"threadSource": "thread_title"})), None);
        assert_eq!(value(json!({"parentThreadId": "y"})), None);
    }
}
