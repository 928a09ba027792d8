//! The channel against a scripted opencode: what is handed over when, that nothing is doubled, and what
//! is said when it goes wrong.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::*;
use crate::host::procfs;
use crate::report::{self, What};
use crate::state::account::Format;

/// What the scripted opencode does with a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Take {
    #[default]
    Answered,
    /// It keeps it and never says so.
    KeptSilently,
    /// It neither keeps it nor answers.
    Lost,
    /// It says no.
    Refused,
}

#[derive(Debug, Default)]
struct Scripted {
    take: Take,
    status: Value,
    permissions: Value,
    reports: PathBuf,
    /// Sessions with their messages.
    sessions: Vec<(String, Vec<Value>)>,
    /// Requests that change something.
    changes: Vec<(String, Value)>,
}

impl Scripted {
    fn answer(&mut self, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
        let path = path.split('?').next().unwrap();
        if method == "POST" {
            self.changes.push((path.to_owned(), body.clone()));
        }
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        Some(match (method, parts.as_slice()) {
            ("GET", ["global", "health"]) => (200, json!({"healthy": true})),
            ("GET", ["session", "status"]) => (200, self.status.clone()),
            ("GET", ["permission"]) => (200, self.permissions.clone()),
            ("GET", ["question"]) => (200, json!([])),
            ("GET", ["session"]) => {
                let all = self.sessions.iter().map(|(id, _)| json!({"id": id}));
                (200, all.collect())
            }
            ("POST", ["session"]) => {
                let id = format!("ses_{}", self.sessions.len() + 1);
                self.sessions.push((id.clone(), vec![]));
                (200, json!({"id": id}))
            }
            ("POST", ["tui", "select-session"]) => {
                session(&self.reports, body["sessionID"].as_str());
                (200, json!(true))
            }
            ("GET", ["session", id]) => match self.messages(id) {
                Some(_) => (200, json!({"id": id})),
                None => (404, json!({})),
            },
            ("GET", ["session", id, "message"]) => (200, json!(self.messages(id)?)),
            ("GET", ["session", id, "message", message]) => {
                let all = self.messages(id)?;
                match all.iter().find(|m| m["info"]["id"] == *message) {
                    Some(found) => (200, found.clone()),
                    None => (404, json!({})),
                }
            }
            ("POST", ["session", id, "prompt_async"]) => match self.take {
                Take::Lost => return None,
                Take::Refused => (400, json!({"name": "BadRequest"})),
                take => {
                    self.keep(id, body);
                    if take == Take::KeptSilently {
                        return None;
                    }
                    (204, Value::Null)
                }
            },
            _ => (500, json!({"unexpected": path})),
        })
    }

    fn messages(&mut self, session: &str) -> Option<&mut Vec<Value>> {
        let found = self.sessions.iter_mut().find(|(id, _)| id == session);
        found.map(|(_, messages)| messages)
    }

    /// As opencode does it: parts are kept by their ids, and so are messages.
    fn keep(&mut self, session: &str, body: &Value) {
        let id = body["messageID"].clone();
        let part = body["parts"][0].clone();
        let all = self.messages(session).unwrap();
        let at = all.iter().position(|m| m["info"]["id"] == id);
        let at = at.unwrap_or_else(|| {
            all.push(
                json!({"info": {"id": id, "role": "user", "agent": body["agent"],
                "model": body["model"]}, "parts": []}),
            );
            all.len() - 1
        });
        let parts = all[at]["parts"].as_array_mut().unwrap();
        // One without an id gets one of opencode's.
        match parts
            .iter_mut()
            .find(|p| p["id"].is_string() && p["id"] == part["id"])
        {
            Some(old) => *old = part,
            None => parts.push(part),
        }
    }
}

fn session(path: &std::path::Path, id: Option<&str>) {
    let what = What::Session {
        id: id.map(str::to_owned),
        file: None,
        reason: "new".into(),
    };
    report::append(path, what).unwrap();
}

fn serve(stream: TcpStream, scripted: &Mutex<Scripted>) {
    let mut reader = BufReader::new(&stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap() == 0 {
            return;
        }
    }
    let length = head.lines().find_map(|l| {
        l.to_lowercase()
            .strip_prefix("content-length: ")?
            .parse()
            .ok()
    });
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let answer = scripted.lock().unwrap().answer(method, path, &body);
    // Hanging up is no answer either, and a test need not wait for it.
    let Some((status, value)) = answer else {
        return;
    };
    let body = if value.is_null() {
        String::new()
    } else {
        value.to_string()
    };
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    (&stream).write_all(text.as_bytes()).unwrap();
}

struct Lab {
    channel: OpencodeHttp,
    scripted: Arc<Mutex<Scripted>>,
    reports: PathBuf,
    _dir: tempfile::TempDir,
}

/// A channel to a scripted opencode that shows its first page.
fn lab() -> Lab {
    let dir = tempfile::tempdir().unwrap();
    let reports = dir.path().join("reports.jsonl");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let scripted = Arc::new(Mutex::new(Scripted {
        status: json!({}),
        permissions: json!([]),
        reports: reports.clone(),
        ..Scripted::default()
    }));
    let theirs = Arc::clone(&scripted);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            serve(stream.unwrap(), &theirs);
        }
    });
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    let run: Run = serde_json::from_value(json!({
        "version": 1, "pid": pid, "start_ticks": procfs::stat(pid).unwrap().start,
        "boot": procfs::boot_id(), "digest": "d", "pane": "%1", "tty": "/dev/pts/1",
        "started": jiff::Timestamp::now(), "conversation": null, "resumed": false,
    }))
    .unwrap();
    session(&reports, None);
    let channel = OpencodeHttp {
        client: Client::new(port, "s"),
        agent: "oc0".to_owned(),
        run,
        account: Account::Lines {
            path: reports.clone(),
            format: Format::Reports,
        },
        launched: session::Choice {
            agent: Some("plan".to_owned()),
            model: None,
        },
    };
    Lab {
        channel,
        scripted,
        reports,
        _dir: dir,
    }
}

const MESSAGE: Outgoing<'static> = Outgoing {
    id: "mine",
    text: "a\tb\n",
    command: false,
};

#[test]
fn the_first_message_makes_a_session_and_the_next_one_goes_there_too() {
    let lab = lab();
    lab.channel.ready(Duration::ZERO).unwrap();
    let mark = lab.channel.mark();
    let done = lab.channel.submit(&MESSAGE, &mark).unwrap();
    assert!(done.accepted && done.evidence.contains("ses_1"), "{done:?}");
    let next = Outgoing {
        id: "next",
        ..MESSAGE
    };
    lab.channel.submit(&next, &lab.channel.mark()).unwrap();
    let scripted = lab.scripted.lock().unwrap();
    assert_eq!(scripted.sessions.len(), 1);
    let held = &scripted.sessions[0].1;
    assert_eq!(held.len(), 2);
    assert_eq!(held[0]["parts"][0]["text"], MESSAGE.text);
    // As launched, then as the message before.
    assert_eq!(held[0]["info"]["agent"], "plan");
    assert_eq!(held[1]["info"]["agent"], "plan");
}

#[test]
fn a_message_given_twice_stands_once() {
    let lab = lab();
    session(&lab.reports, Some("ses_1"));
    lab.scripted
        .lock()
        .unwrap()
        .sessions
        .push(("ses_1".to_owned(), vec![]));
    let mark = lab.channel.mark();
    for _ in 0..2 {
        lab.channel.submit(&MESSAGE, &mark).unwrap();
    }
    let scripted = lab.scripted.lock().unwrap();
    assert_eq!(scripted.sessions[0].1.len(), 1);
    assert_eq!(
        scripted.sessions[0].1[0]["parts"].as_array().unwrap().len(),
        1
    );
}

#[test]
fn what_is_not_at_rest_gets_nothing() {
    let lab = lab();
    let stop = |status: Value, permissions: Value| {
        let mut scripted = lab.scripted.lock().unwrap();
        scripted.status = status;
        scripted.permissions = permissions;
        drop(scripted);
        let stop = lab.channel.ready(Duration::ZERO).unwrap_err();
        assert!(stop.retry && !stop.touched(), "{stop:?}");
        stop.reason
    };
    let busy = json!({"ses_1": {"type": "busy"}});
    assert_eq!(stop(busy.clone(), json!([])), "`oc0` is working");
    let permission = json!([{"id": "per_1", "sessionID": "ses_1", "permission": "bash",
        "patterns": ["rm x"]}]);
    assert_eq!(stop(busy, permission.clone()), "`oc0` asks: bash rm x");
    let limited = json!({"ses_1": {"type": "retry", "message": "slow down"}});
    assert!(stop(limited, json!([])).ends_with("refuses requests: slow down"));
    // Right after an interrupt opencode still lists the question of the turn that is over.
    lab.scripted.lock().unwrap().status = json!({});
    lab.scripted.lock().unwrap().permissions = permission;
    lab.channel.ready(Duration::ZERO).unwrap();
    assert!(lab.scripted.lock().unwrap().changes.is_empty());
}

#[test]
fn an_opencode_that_has_not_said_what_it_shows_is_starting() {
    let lab = lab();
    std::fs::remove_file(&lab.reports).unwrap();
    let stop = lab.channel.ready(Duration::from_millis(60)).unwrap_err();
    assert_eq!(
        (stop.reason.as_str(), stop.retry),
        ("`oc0` is starting", true)
    );
}

#[test]
fn how_far_a_message_came_is_told_truly() {
    let reached = |take: Take| {
        let lab = lab();
        lab.scripted.lock().unwrap().take = take;
        let mark = lab.channel.mark();
        let done = lab.channel.submit(&MESSAGE, &mark);
        let found = lab.channel.find(&MESSAGE, &mark) != Found::Nothing;
        (done.map_err(|stop| stop.reached), found)
    };
    let (done, found) = reached(Take::KeptSilently);
    assert!(done.unwrap().accepted && found);
    let (done, found) = reached(Take::Refused);
    assert_eq!((done.unwrap_err(), found), (Reached::Nothing, false));
    // A session was made for it, and another try would make another one.
    let (done, found) = reached(Take::Lost);
    assert_eq!((done.unwrap_err(), found), (Reached::Unknown, false));

    let gone = lab();
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let channel = OpencodeHttp {
        client: Client::new(port, "s"),
        ..gone.channel
    };
    session(&gone.reports, Some("ses_1"));
    let stop = channel.submit(&MESSAGE, &channel.mark()).unwrap_err();
    assert_eq!((stop.reached, stop.retry), (Reached::Nothing, true));
    let command = Outgoing {
        command: true,
        ..MESSAGE
    };
    assert!(
        !channel
            .submit(&command, &channel.mark())
            .unwrap_err()
            .touched()
    );
}

#[test]
fn a_message_of_unknown_fate_is_handed_over_again_within_its_session() {
    let lab = lab();
    let nowhere = lab.channel.mark();
    assert!(matches!(
        lab.channel.left(&MESSAGE, &nowhere),
        Left::Other(_)
    ));
    session(&lab.reports, Some("ses_1"));
    let mut scripted = lab.scripted.lock().unwrap();
    scripted.sessions.push(("ses_1".to_owned(), vec![]));
    scripted.take = Take::Lost;
    drop(scripted);
    let mark = lab.channel.mark();
    let stop = lab.channel.submit(&MESSAGE, &mark).unwrap_err();
    assert_eq!(stop.reached, Reached::Typed);
    lab.scripted.lock().unwrap().take = Take::Answered;
    // Whatever a person does in the meantime, it belongs to that session.
    session(&lab.reports, None);
    lab.scripted.lock().unwrap().status = json!({"ses_1": {"type": "busy"}});
    assert!(matches!(lab.channel.left(&MESSAGE, &mark), Left::Unseen(_)));
    lab.scripted.lock().unwrap().status = json!({});
    assert_eq!(lab.channel.left(&MESSAGE, &mark), Left::Whole);
    for _ in 0..2 {
        assert!(lab.channel.submit(&MESSAGE, &mark).unwrap().accepted);
    }
    let scripted = lab.scripted.lock().unwrap();
    assert_eq!(scripted.sessions.len(), 1);
    assert_eq!(
        scripted.sessions[0].1[0]["parts"].as_array().unwrap().len(),
        1
    );
}

#[test]
fn a_message_is_found_again_by_its_id_alone() {
    let lab = lab();
    // Before there was a session, and after a crash of the sender.
    let mark = lab.channel.mark();
    assert_eq!(lab.channel.find(&MESSAGE, &mark), Found::Nothing);
    lab.channel.submit(&MESSAGE, &mark).unwrap();
    let other = Outgoing {
        id: "other",
        ..MESSAGE
    };
    assert_eq!(lab.channel.find(&other, &mark), Found::Nothing);
    let Found::Accepted { recorded, .. } = lab.channel.find(&MESSAGE, &mark) else {
        panic!("not found");
    };
    assert_eq!(recorded.as_deref(), Some(MESSAGE.text));
    let mut scripted = lab.scripted.lock().unwrap();
    let id = scripted.sessions[0].1[0]["info"]["id"].clone();
    scripted.sessions[0].1.push(json!({
        "info": {"id": "msg_z", "role": "assistant", "parentID": id, "time": {"completed": 1}},
        "parts": [{"type": "text", "text": "done"}],
    }));
    drop(scripted);
    let Found::Answered { answer, .. } = lab.channel.find(&MESSAGE, &mark) else {
        panic!("not answered");
    };
    assert_eq!(answer, "done");
    // A turn under way may say more.
    lab.scripted.lock().unwrap().status = json!({"ses_1": {"type": "busy"}});
    let found = lab.channel.find(&MESSAGE, &mark);
    assert!(matches!(found, Found::Accepted { .. }), "{found:?}");
}
