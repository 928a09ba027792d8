#![allow(clippy::unwrap_used)]
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::*;
use crate::delivery::stop::Reached;
use crate::install::Mode;

/// What a stand-in for an app-server does with a message.
#[derive(Clone, Copy)]
enum Takes {
    /// Writes it into the record.
    Records,
    /// Answers well and records nothing.
    Forgets,
    /// Answers that it does not.
    Refuses,
    /// Records it and closes the connection.
    RecordsAndGoes,
}

struct Stand {
    _dirs: [tempfile::TempDir; 2],
    install: Install,
    channel_of: PathBuf,
    rollout: PathBuf,
    /// Messages that were handed over.
    turns: Arc<AtomicUsize>,
}

impl Stand {
    /// An app-server with one thread in a state.
    fn new(status: &'static str, takes: Takes) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let rollout = dir.path().join("rollout.jsonl");
        let turns = Arc::new(AtomicUsize::new(0));
        let (file, count) = (rollout.clone(), Arc::clone(&turns));
        let (own, socket) = rpc::tests::served(move |request| {
            let result = |r: Value| vec![json!({"result": r})];
            match request["method"].as_str().unwrap() {
                "thread/loaded/list" => result(json!({"data": ["a"]})),
                "thread/read" => result(json!({"thread": {"id": "a", "path": file,
                    "status": {"type": status, "activeFlags": []}}})),
                "turn/start" => {
                    count.fetch_add(1, Ordering::SeqCst);
                    let line = json!({"timestamp": "2026-01-02T03:04:05Z", "type": "event_msg",
                        "payload": {"type": "item_completed", "turn_id": "t", "item": {
                            "type": "UserMessage", "client_id": request["params"]["clientUserMessageId"],
                            "content": request["params"]["input"]}}});
                    let record = || std::fs::write(&file, format!("{line}\n")).unwrap();
                    match takes {
                        Takes::Records => record(),
                        Takes::Forgets => {}
                        Takes::Refuses => return vec![json!({"error": {"message": "too long"}})],
                        Takes::RecordsAndGoes => {
                            record();
                            panic!("goes");
                        }
                    }
                    result(json!({"turn": {"id": "t"}}))
                }
                _ => result(json!({})),
            }
        });
        let at = |name: &str| own.path().join(name);
        let install = Install {
            version: 1,
            mode: Mode::Supervisor,
            unit_prefix: "mosaic".into(),
            paths: Paths {
                home: at("home"),
                roster: at("roster.yaml"),
                state: at("state"),
                runtime: at("run"),
                units: at("units"),
            },
            socket_name: "none".into(),
            socket: at("tmux"),
            holder_session: "_holder".into(),
            tmux: "tmux".into(),
            mosaic: "mosaic".into(),
            path: String::new(),
        };
        Self {
            _dirs: [dir, own],
            install,
            channel_of: socket,
            rollout,
            turns,
        }
    }

    fn channel(&self) -> CodexServer<'_> {
        CodexServer {
            install: &self.install,
            agent: "cx".into(),
            run: Run {
                version: 1,
                pid: 7,
                start_ticks: 8,
                boot: String::new(),
                digest: String::new(),
                pane: "%1".into(),
                tty: "/dev/null".into(),
                placeholder: None,
                started: jiff::Timestamp::UNIX_EPOCH,
                conversation: None,
                resumed: false,
            },
            account: None,
            client: RefCell::new(Client::connect(&self.channel_of).unwrap()),
        }
    }

    fn handed_over(&self) -> usize {
        self.turns.load(Ordering::SeqCst)
    }
}

const MESSAGE: Outgoing<'_> = Outgoing {
    id: "m",
    text: "hello",
    command: false,
};

#[test]
fn a_message_on_record_is_accepted_and_found_again() {
    for takes in [Takes::Records, Takes::RecordsAndGoes] {
        let stand = Stand::new("idle", takes);
        let channel = stand.channel();
        channel.ready(Duration::ZERO).unwrap();
        let mark = channel.mark();
        assert_eq!(channel.find(&MESSAGE, &mark), Found::Nothing);
        let done = channel.submit(&MESSAGE, &mark).unwrap();
        assert!(done.accepted, "{}", done.evidence);
        assert!(matches!(
            channel.find(&MESSAGE, &mark),
            Found::Accepted { recorded: Some(text), .. } if text == "hello"
        ));
        // Not an earlier one of the same id: only what came after the mark counts.
        let later = Mark {
            transcript: Some((stand.rollout.clone(), report::length(&stand.rollout))),
            ..mark
        };
        assert_eq!(channel.find(&MESSAGE, &later), Found::Nothing);
    }
}

#[test]
fn what_is_not_on_record_is_not_accepted() {
    let stand = Stand::new("idle", Takes::Forgets);
    let channel = stand.channel();
    let mark = channel.mark();
    let done = channel.submit(&MESSAGE, &mark).unwrap();
    assert!(!done.accepted, "{}", done.evidence);

    let stand = Stand::new("idle", Takes::Refuses);
    let channel = stand.channel();
    let stop = channel.submit(&MESSAGE, &channel.mark()).unwrap_err();
    assert_eq!((stop.reached, stop.retry), (Reached::Nothing, false));
    assert!(stop.reason.contains("too long"), "{}", stop.reason);
}

#[test]
fn nothing_is_handed_over_but_to_the_conversation_that_was_looked_at() {
    let stand = Stand::new("idle", Takes::Records);
    let channel = stand.channel();
    let mark = Mark {
        session: Some("b 7 8".into()),
        ..channel.mark()
    };
    let stop = channel.submit(&MESSAGE, &mark).unwrap_err();
    assert_eq!((stop.reached, stop.retry), (Reached::Nothing, true));
    let command = Outgoing {
        command: true,
        ..MESSAGE
    };
    let stop = channel.submit(&command, &channel.mark()).unwrap_err();
    assert_eq!(stop.reached, Reached::Nothing);
    assert_eq!(stand.handed_over(), 0);

    let busy = Stand::new("active", Takes::Records);
    let stop = busy.channel().ready(Duration::ZERO).unwrap_err();
    assert!(stop.retry && stop.reason.contains("working"), "{stop:?}");
}

#[test]
fn a_message_is_handed_over_again_only_if_the_same_process_does_not_have_it() {
    let stand = Stand::new("idle", Takes::Records);
    let channel = stand.channel();
    let mark = channel.mark();
    assert_eq!(channel.left(&MESSAGE, &mark), Left::Whole);
    // A process that is gone may have told the model without telling its record.
    let other = Mark {
        session: Some("a 7 9".into()),
        ..mark.clone()
    };
    assert!(matches!(channel.left(&MESSAGE, &other), Left::Other(_)));
    channel.submit(&MESSAGE, &mark).unwrap();
    assert!(matches!(channel.left(&MESSAGE, &mark), Left::Unseen(_)));
    assert_eq!(stand.handed_over(), 1);

    let busy = Stand::new("active", Takes::Records);
    let channel = busy.channel();
    let mark = channel.mark();
    assert!(matches!(channel.left(&MESSAGE, &mark), Left::Unseen(_)));
}
