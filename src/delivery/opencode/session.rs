//! Which session of opencode an agent is in, and what stands in it. Only its terminal knows which one
//! it shows, and mosaic's plugin there reports it.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::client::{Client, Message, Model};
use crate::delivery::channel::{Found, Mark};
use crate::report::{self, What};
use crate::state::account::Account;

/// Sessions that are looked at for a message that one was made for: those of other agents in the same
/// directory are listed too.
const NEWEST: usize = 20;

/// Between two looks for a report.
const LOOK: Duration = Duration::from_millis(10);

/// What the terminal shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// It has not said so since its start.
    Unknown,
    /// Its first page: the next message begins a session.
    Home,
    /// A session.
    Session(String),
}

/// What the terminal of an agent shows, by its reports since its start.
pub fn shown(account: &Account, started: Timestamp) -> Shown {
    // The last report of it may stand far before the last one.
    const STEPS: [u64; 4] = [8 * 1024, 256 * 1024, 4 * 1024 * 1024, u64::MAX];
    for path in account.files() {
        for step in STEPS {
            let Ok((text, whole)) = report::last_lines(&path, step) else {
                break;
            };
            let mut reports = report::parse(&text);
            reports.retain(|r| r.time >= started);
            match report::last_session(&reports) {
                Some((Some(id), _)) => return Shown::Session(id),
                Some((None, _)) => return Shown::Home,
                None if whole => break,
                None => {}
            }
        }
    }
    Shown::Unknown
}

/// Waits until the terminal reports that it shows a session; whether it did.
pub fn wait_shown(account: &Account, mark: u64, session: &str, wait: Duration) -> bool {
    let begun = Instant::now();
    loop {
        let reports = account.since(mark).unwrap_or_default();
        if reports
            .iter()
            .any(|r| matches!(&r.what, What::Session { id: Some(id), .. } if id == session))
        {
            return true;
        }
        if begun.elapsed() >= wait {
            return false;
        }
        std::thread::sleep(LOOK);
    }
}

/// The session at the root of one of a subagent's.
pub fn root(client: &Client, id: String) -> String {
    // Subagents of subagents are not made by default; a circle must not hold us.
    const DEEPEST: usize = 8;
    let mut id = id;
    for _ in 0..DEEPEST {
        match client.session(&id).ok().and_then(|s| s.parent) {
            Some(parent) => id = parent,
            None => break,
        }
    }
    id
}

/// Ids of the sessions changed last.
pub fn newest(client: &Client) -> Vec<String> {
    let all = client.sessions().unwrap_or_default();
    let roots = all.into_iter().filter(|s| s.parent.is_none());
    roots.map(|s| s.id).take(NEWEST).collect()
}

/// Where a message goes, and the time its id is made of; kept in its [`Mark`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The session; `None` where one has to be made.
    pub session: Option<String>,
    /// Milliseconds since 1970.
    pub time: i64,
}

impl Place {
    /// Reads it back.
    pub fn of(mark: &Mark) -> Option<Self> {
        let (session, time) = mark.session.as_deref()?.split_once('@')?;
        Some(Self {
            session: (!session.is_empty()).then(|| session.to_owned()),
            time: time.parse().ok()?,
        })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}@{}",
            self.session.as_deref().unwrap_or_default(),
            self.time
        )
    }
}

/// The role that opencode plays and the model it asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// Role.
    pub agent: Option<String>,
    /// Model.
    pub model: Option<Model>,
}

impl Choice {
    /// Of the newest message: what a person chose in the terminal holds for others too.
    pub fn last(messages: &[Message]) -> Option<Self> {
        let info = &messages.last()?.info;
        let answered_by = || {
            Some(Model {
                provider: info.provider.clone()?,
                model: info.answered_by.clone()?,
                variant: info.variant.clone(),
            })
        };
        Some(Self {
            agent: info.agent.clone(),
            model: info.model.clone().or_else(answered_by),
        })
    }

    /// Of the arguments of a launch: `--agent NAME`, `--model PROVIDER/MODEL`, `-m`.
    pub fn of(command: &[String]) -> Self {
        let value = |flags: &[&str]| {
            let mut found = None;
            let mut args = command.iter().skip(1);
            while let Some(arg) = args.next() {
                for flag in flags {
                    if arg == flag {
                        found = args.clone().next().cloned();
                    } else if let Some(value) = arg
                        .strip_prefix(flag)
                        .and_then(|rest| rest.strip_prefix('='))
                    {
                        found = Some(value.to_owned());
                    }
                }
            }
            found
        };
        let model = value(&["--model", "-m"]).and_then(|text| {
            let (provider, model) = text.split_once('/')?;
            Some(Model {
                provider: provider.to_owned(),
                model: model.to_owned(),
                variant: None,
            })
        });
        Self {
            agent: value(&["--agent"]),
            model,
        }
    }
}

/// What became of a message that a session holds.
pub fn answered(client: &Client, session: &str, native: &str, recorded: String) -> Found {
    let id = format!("msg_{native}");
    let accepted = Found::Accepted {
        evidence: format!("opencode has it as {id} in {session}"),
        recorded: Some(recorded.clone()),
    };
    let (Ok(busy), Ok(messages)) = (client.status(), client.messages(session, super::TURN)) else {
        return accepted;
    };
    if busy.contains_key(session) {
        return accepted;
    }
    match answer(&messages, &id) {
        Some(answer) => Found::Answered {
            evidence: format!("opencode ended the turn of {id}"),
            recorded: Some(recorded),
            answer,
        },
        None => accepted,
    }
}

/// What was said last in the turn that a message began; `None` where no turn was ended.
fn answer(messages: &[Message], id: &str) -> Option<String> {
    let turn: Vec<&Message> = messages
        .iter()
        .filter(|m| m.info.parent.as_deref() == Some(id))
        .collect();
    turn.last()?.info.time.completed?;
    let said = turn.iter().rev().map(|m| m.text()).find(|t| !t.is_empty());
    Some(said.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::state::account::Format;

    fn messages() -> Vec<Message> {
        serde_json::from_value(serde_json::json!([
            {"info": {"id": "msg_1", "role": "user", "agent": "plan",
                "model": {"providerID": "p", "modelID": "m"}}, "parts": []},
            {"info": {"id": "msg_2", "role": "assistant", "parentID": "msg_1",
                "agent": "build", "providerID": "q", "modelID": "n",
                "time": {"created": 1, "completed": 2}}, "parts": [{"type": "text", "text": "first"}]},
            {"info": {"id": "msg_3", "role": "assistant", "parentID": "msg_1",
                "time": {"created": 1, "completed": 2}}, "parts": [{"type": "text", "text": "last"}]},
            {"info": {"id": "msg_4", "role": "assistant", "parentID": "msg_1",
                "time": {"created": 1, "completed": 2}}, "parts": [{"type": "tool"}]},
            {"info": {"id": "msg_5", "role": "user"}, "parts": []},
            {"info": {"id": "msg_6", "role": "assistant", "parentID": "msg_5",
                "time": {"created": 1}}, "parts": [{"type": "text", "text": "broken off"}]},
            {"info": {"id": "msg_7", "role": "user"}, "parts": []},
        ]))
        .unwrap()
    }

    #[test]
    fn an_answer_is_what_was_said_last_for_a_message_whose_turn_ended() {
        let messages = messages();
        assert_eq!(answer(&messages, "msg_1").as_deref(), Some("last"));
        assert_eq!(answer(&messages, "msg_5"), None);
        assert_eq!(answer(&messages, "msg_7"), None);
    }

    #[test]
    fn the_choice_is_the_last_users_else_the_launchs() {
        let last = |count: usize| {
            let choice = Choice::last(&messages()[..count]).unwrap();
            let model = choice.model.unwrap();
            (choice.agent.unwrap(), model.provider, model.model)
        };
        assert_eq!(last(1), ("plan".into(), "p".into(), "m".into()));
        assert_eq!(last(2), ("build".into(), "q".into(), "n".into()));
        assert_eq!(Choice::last(&[]), None);
        let of =
            |args: &[&str]| Choice::of(&args.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>());
        let both = of(&["opencode", "--agent=plan", "-m", "p/org/m"]);
        assert_eq!(both.agent.as_deref(), Some("plan"));
        let model = both.model.unwrap();
        assert_eq!(
            (model.provider.as_str(), model.model.as_str()),
            ("p", "org/m")
        );
        assert_eq!(of(&["opencode", "--port", "1"]), Choice::default());
    }

    #[test]
    fn a_place_survives_in_a_mark() {
        for session in [None, Some("ses_1".to_owned())] {
            let place = Place { session, time: 17 };
            let mark = Mark {
                session: Some(place.to_string()),
                ..Mark::default()
            };
            assert_eq!(Place::of(&mark), Some(place));
        }
        assert_eq!(Place::of(&Mark::default()), None);
    }

    #[test]
    fn the_session_is_the_one_reported_last_since_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.jsonl");
        let account = Account::Lines {
            path: path.clone(),
            format: Format::Reports,
        };
        let start = Timestamp::now();
        assert_eq!(shown(&account, start), Shown::Unknown);
        let session = |id: Option<&str>| What::Session {
            id: id.map(str::to_owned),
            file: None,
            reason: "new".into(),
        };
        report::append(&path, session(None)).unwrap();
        assert_eq!(shown(&account, start), Shown::Home);
        report::append(&path, session(Some("ses_1"))).unwrap();
        // Behind more than one look's worth of other reports.
        for _ in 0..20 {
            let text = "x".repeat(1000);
            report::append(&path, What::Prompt { text }).unwrap();
        }
        assert_eq!(shown(&account, start), Shown::Session("ses_1".into()));
        // Those of an earlier process say nothing of this one.
        assert_eq!(shown(&account, Timestamp::now()), Shown::Unknown);
        let mark = account.mark();
        assert!(!wait_shown(&account, mark, "ses_2", Duration::ZERO));
        report::append(&path, session(Some("ses_2"))).unwrap();
        assert!(wait_shown(&account, mark, "ses_2", Duration::ZERO));
    }
}
