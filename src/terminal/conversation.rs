//! Which conversation an agent takes up when it starts, and the arguments that say so. A wrong
//! `resume` argument is a crash loop with most agent CLIs, so it is chosen from what exists on disk.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::fleet::Resume;
use crate::record::ConversationRecord;
use crate::runtime::Conversation;

/// What was decided.
#[derive(Debug, PartialEq, Eq)]
pub struct Choice {
    /// Arguments to add.
    pub args: Vec<String>,
    /// The record to store, marked as begun.
    pub record: ConversationRecord,
    /// An earlier conversation is taken up.
    pub resumed: bool,
}

/// What a choice depends on besides the record of the last start.
#[derive(Debug)]
pub struct Situation<'a> {
    /// The runtime's rule.
    pub rule: &'a Conversation,
    /// The roster's wish.
    pub resume: Resume,
    /// The runtime's name.
    pub runtime: &'a str,
    /// The agent's working directory.
    pub directory: &'a Path,
    /// Id for a conversation that begins.
    pub new_id: &'a str,
}

/// What is on disk of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// Nothing: its id is free.
    Nothing,
    /// A file that holds no conversation: it can neither be resumed nor begun again under its id.
    Husk,
    /// A conversation that can be resumed.
    Whole,
}

/// Decides. `old` is the record of the last start, with what the agent reported since folded in;
/// `expand` fills a template, `stored` looks for a file (with `*` in segments).
pub fn choose(
    situation: &Situation<'_>,
    old: Option<ConversationRecord>,
    expand: &dyn Fn(&str, &ConversationRecord) -> String,
    stored: &dyn Fn(&str) -> Stored,
) -> Choice {
    let rule = situation.rule;
    let fits = |r: &ConversationRecord| {
        r.runtime == situation.runtime && r.directory == situation.directory
    };
    let (mut record, kept) = match old {
        Some(mut old) if situation.resume == Resume::Last && fits(&old) => {
            old.shorten();
            (old, true)
        }
        old => {
            let mut earlier = old.as_ref().map(|o| o.earlier.clone()).unwrap_or_default();
            earlier.extend(old.map(|o| o.id));
            let mut fresh = ConversationRecord {
                version: 1,
                runtime: situation.runtime.to_owned(),
                directory: situation.directory.to_owned(),
                id: situation.new_id.to_owned(),
                file: None,
                begun: false,
                reported: false,
                earlier,
            };
            fresh.shorten();
            (fresh, false)
        }
    };
    // Its id was a placeholder, or the agent has left that conversation for none.
    if rule.reported && !record.reported && kept {
        record.take_up(situation.new_id.to_owned());
        record.file = None;
        record.begun = false;
    }
    let found = match (&record.file, &rule.exists) {
        _ if !(kept && record.begun) => Stored::Nothing,
        (Some(file), Some(_)) => stored(&file.to_string_lossy()),
        (None, Some(pattern)) => stored(&expand(pattern, &record)),
        (_, None) => Stored::Whole,
    };
    if found == Stored::Husk {
        situation.new_id.clone_into(&mut record.id);
        record.file = None;
    }
    let resumed = found == Stored::Whole;
    let template = if resumed { &rule.resume } else { &rule.first };
    let args = template.iter().map(|a| expand(a, &record)).collect();
    record.begun = true;
    Choice {
        args,
        record,
        resumed,
    }
}

/// Fills `{id}`, `{id8}`, `{file}` and `{dir}` of a template, a leading `~`, and `${VAR}` or
/// `${VAR:-default}` from the agent's environment.
pub fn expand(
    template: &str,
    record: &ConversationRecord,
    own_dir: &Path,
    env: &BTreeMap<OsString, OsString>,
) -> String {
    let var = |name: &str| {
        env.get(&OsString::from(name))
            .map(|v| v.to_string_lossy().into_owned())
    };
    let home = var("HOME").unwrap_or_default();
    let dir = own_dir.join("conversation");
    let file = record
        .file
        .clone()
        .unwrap_or_else(|| dir.join(format!("{}.jsonl", record.id)));
    let mut out = String::new();
    let mut rest = template;
    while let Some(at) = rest.find("${") {
        out.push_str(&rest[..at]);
        let Some(end) = rest[at..].find('}') else {
            break;
        };
        let body = &rest[at + 2..at + end];
        let (name, default) = body.split_once(":-").unwrap_or((body, ""));
        out.push_str(
            &var(name)
                .filter(|v| !v.is_empty())
                .unwrap_or_else(|| default.to_owned()),
        );
        rest = &rest[at + end + 1..];
    }
    out.push_str(rest);
    let out = out
        .replace("{id}", &record.id)
        .replace("{id8}", record.id.get(..8).unwrap_or(&record.id))
        .replace("{file}", &file.to_string_lossy())
        .replace("{dir}", &dir.to_string_lossy());
    match out.strip_prefix("~/") {
        Some(rest) => format!("{home}/{rest}"),
        None => out,
    }
}

/// Looks on disk: a file that fits `pattern` (see [`find`]) and holds `text`, where that is given.
pub fn stored(pattern: &str, text: Option<&str>) -> Stored {
    use std::io::BufRead as _;
    let Some(path) = find(pattern) else {
        return Stored::Nothing;
    };
    let Some(text) = text else {
        return Stored::Whole;
    };
    // It stands near the beginning, so a long file is hardly ever read to its end.
    let holds = std::fs::File::open(&path).map(|file| {
        std::io::BufReader::new(file)
            .split(b'\n')
            .map_while(Result::ok)
            .any(|line| String::from_utf8_lossy(&line).contains(text))
    });
    match holds {
        // A file that cannot be read is the agent's to complain about.
        Ok(true) | Err(_) => Stored::Whole,
        Ok(false) => Stored::Husk,
    }
}

/// Finds a file by a pattern whose segments may hold one `*` each; the first match in name order.
pub fn find(pattern: &str) -> Option<PathBuf> {
    fn matches(pattern: &str, name: &str) -> bool {
        match pattern.split_once('*') {
            None => pattern == name,
            Some((head, tail)) => {
                name.len() >= head.len() + tail.len()
                    && name.starts_with(head)
                    && name.ends_with(tail)
            }
        }
    }
    let mut found = vec![PathBuf::from("/")];
    for segment in pattern.split('/').filter(|s| !s.is_empty()) {
        let mut next = Vec::new();
        for dir in found {
            if segment.contains('*') {
                let mut names: Vec<_> = std::fs::read_dir(&dir)
                    .map(|d| d.flatten().map(|e| e.file_name()).collect())
                    .unwrap_or_default();
                names.sort();
                next.extend(
                    names
                        .into_iter()
                        .filter(|n| matches(segment, &n.to_string_lossy()))
                        .map(|n| dir.join(n)),
                );
            } else {
                next.push(dir.join(segment));
            }
        }
        found = next;
    }
    found.into_iter().find(|p| p.exists())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn claude() -> Conversation {
        Conversation {
            first: vec!["--session-id".into(), "{id}".into()],
            resume: vec!["--resume".into(), "{id}".into()],
            exists: Some("~/.claude/projects/*/{id}.jsonl".into()),
            holds: None,
            store: crate::runtime::Store::File,
            reported: false,
        }
    }

    fn record(id: &str) -> ConversationRecord {
        ConversationRecord {
            version: 1,
            runtime: "claude".into(),
            directory: "/w".into(),
            id: id.into(),
            file: None,
            begun: true,
            reported: false,
            earlier: vec![],
        }
    }

    fn run(
        old: Option<ConversationRecord>,
        resume: Resume,
        found: Stored,
    ) -> (Vec<String>, bool, String) {
        let env = BTreeMap::from([("HOME".into(), "/h".into())]);
        let own = Path::new("/s/agents/c");
        let c = choose(
            &Situation {
                rule: &claude(),
                resume,
                runtime: "claude",
                directory: Path::new("/w"),
                new_id: "new",
            },
            old,
            &|t, r| expand(t, r, own, &env),
            &|p| {
                assert!(p.starts_with("/h/.claude/projects/*/"), "{p}");
                found
            },
        );
        assert!(c.record.begun);
        (c.args, c.resumed, c.record.id)
    }

    #[test]
    fn the_argument_follows_what_exists() {
        let s = |v: &[&str]| v.iter().map(|x| (*x).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            run(None, Resume::Last, Stored::Nothing),
            (s(&["--session-id", "new"]), false, "new".into())
        );
        assert_eq!(
            run(Some(record("a")), Resume::Last, Stored::Whole),
            (s(&["--resume", "a"]), true, "a".into())
        );
        // Started once, nothing said: there is nothing to resume, and the id is free.
        assert_eq!(
            run(Some(record("a")), Resume::Last, Stored::Nothing),
            (s(&["--session-id", "a"]), false, "a".into())
        );
        // Killed right after a reset: a file with no message in it.
        assert_eq!(
            run(Some(record("a")), Resume::Last, Stored::Husk),
            (s(&["--session-id", "new"]), false, "new".into())
        );
        assert_eq!(
            run(Some(record("a")), Resume::None, Stored::Whole),
            (s(&["--session-id", "new"]), false, "new".into())
        );
        let mut other = record("a");
        other.runtime = "pi".into();
        assert_eq!(run(Some(other), Resume::Last, Stored::Whole).2, "new");
        let mut moved = record("a");
        moved.directory = "/elsewhere".into();
        assert_eq!(run(Some(moved), Resume::Last, Stored::Whole).2, "new");
    }

    #[test]
    fn an_id_of_the_agents_own_making_is_resumed_only_once_it_was_reported() {
        let rule = Conversation {
            first: vec![],
            resume: vec!["--session".into(), "{id}".into()],
            store: crate::runtime::Store::OpencodeSessions,
            exists: None,
            holds: None,
            reported: true,
        };
        let start = |old: Option<ConversationRecord>| {
            let situation = Situation {
                rule: &rule,
                resume: Resume::Last,
                runtime: "claude",
                directory: Path::new("/w"),
                new_id: "new",
            };
            let env = BTreeMap::new();
            let fill = |t: &str, r: &ConversationRecord| expand(t, r, Path::new("/s"), &env);
            choose(&situation, old, &fill, &|_| panic!("nothing to look for"))
        };
        let first = start(None);
        assert_eq!((first.args.len(), first.resumed), (0, false));
        // Started, and ended before it said anything: the id of the record is a placeholder.
        assert!(start(Some(first.record.clone())).args.is_empty());
        let mut said = first.record;
        said.take_up("ses_1".into());
        said.reported = true;
        let second = start(Some(said.clone()));
        assert_eq!(second.args, ["--session", "ses_1"]);
        assert!(second.resumed);
        // It left that conversation for none.
        said.reported = false;
        let third = start(Some(said));
        assert!(third.args.is_empty() && !third.resumed);
        assert_eq!(third.record.earlier.last().unwrap(), "ses_1");
    }

    #[test]
    fn templates_are_filled() {
        let env = BTreeMap::from([("HOME".into(), "/h".into()), ("X".into(), "/x".into())]);
        let e = |t| expand(t, &record("i"), Path::new("/s"), &env);
        assert_eq!(e("${X:-~/.d}/{id}"), "/x/i");
        assert_eq!(e("${Y:-~/.d}/{id}"), "/h/.d/i");
        assert_eq!(e("{file}"), "/s/conversation/i.jsonl");
        assert_eq!(e("{dir}"), "/s/conversation");
        assert_eq!(e("-{id8}-"), "-i-");
        assert_eq!(e("${broken"), "${broken");
    }

    #[test]
    fn a_file_without_a_message_is_a_husk() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        let look = || stored(&path.to_string_lossy(), Some(r#""type":"user""#));
        assert_eq!(look(), Stored::Nothing);
        std::fs::write(&path, "{\"type\":\"mode\"}\n").unwrap();
        assert_eq!(look(), Stored::Husk);
        std::fs::write(&path, "{\"type\":\"mode\"}\n{\"type\":\"user\"}\n").unwrap();
        assert_eq!(look(), Stored::Whole);
        assert_eq!(stored(&path.to_string_lossy(), None), Stored::Whole);
    }

    #[test]
    fn patterns_find_files() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("p/one")).unwrap();
        std::fs::write(dir.path().join("p/one/a.jsonl"), "").unwrap();
        let base = dir.path().to_string_lossy();
        assert!(find(&format!("{base}/p/*/a.jsonl")).is_some());
        assert!(find(&format!("{base}/p/*/b.jsonl")).is_none());
        assert!(find(&format!("{base}/none/*/a.jsonl")).is_none());
    }
}
