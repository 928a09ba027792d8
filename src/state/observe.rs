//! Collects what tells an agent's state: run record, reports, title, and the screen where asked for
//! or where the other signs contradict each other. A few small file reads an agent, so that it can
//! be done for hundreds at a time.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use super::account;
use super::look::look_by;
use super::screen::{Rules, Seen};
use super::{Evidence, Life, Signs, Source, State, decide};
use crate::host::tmux::Pane;
use crate::host::{files, probe};
use crate::install::Install;
use crate::launch::Launch;
use crate::record::{ConversationRecord, NodeRecord, Run};
use crate::runtime::{Reports, TranscriptFormat};
use crate::terminal::{conversation, holder, pane};

/// A server on this machine that is well answers in a few milliseconds; more would make a table of
/// many wait for the sick ones.
const PROBE: Duration = Duration::from_millis(300);

/// What was found of one agent.
#[derive(Debug, Clone)]
pub struct Observation {
    /// What it is doing.
    pub state: State,
    /// Why that is believed.
    pub evidence: Evidence,
    /// Its pane, where it has one.
    pub pane: Option<Pane>,
    /// Its process has that pane as its terminal.
    pub on_pane: bool,
    /// What it recorded at its start.
    pub run: Option<Run>,
    /// Its screen, where it was looked at.
    pub screen: Option<Seen>,
}

/// Observes an agent whose process is looked up in its run record. `panes` is the list of all panes.
pub fn observe(
    install: &Install,
    launch: &Launch,
    panes: &[Pane],
    with_screen: bool,
) -> Observation {
    observe_with(install, launch, None, panes, with_screen)
}

/// Like [`observe`], with what a service manager says of the agent's life in place of the run record.
pub fn observe_with(
    install: &Install,
    launch: &Launch,
    life: Option<Life>,
    panes: &[Pane],
    with_screen: bool,
) -> Observation {
    let tmux = install.tmux();
    let capture = |pane: &str| tmux.screen(pane).ok();
    observe_by(install, launch, life, panes, with_screen, &capture)
}

/// Like [`observe_with`], for those who have a cheaper way to see a pane's screen than a tmux client
/// of its own: `capture` is given the pane's id.
pub fn observe_by(
    install: &Install,
    launch: &Launch,
    life: Option<Life>,
    panes: &[Pane],
    with_screen: bool,
    capture: &dyn Fn(&str) -> Option<String>,
) -> Observation {
    let agent = launch.agent.name.as_str();
    let run = Run::load(&install.paths, agent).ok().flatten();
    let life = life.unwrap_or_else(|| life_of(run.as_ref()));
    let pane = match pane::find(panes, agent) {
        pane::Found::Ours(pane) => Some(pane.clone()),
        pane::Found::Vacant | pane::Found::Foreign | pane::Found::Missing => None,
    };
    if let (Life::Up, Some(path)) = (&life, launch.agent.spec.health_path()) {
        let (state, source, what) = match answers(install, agent, path, PROBE) {
            Ok(what) => (State::Idle, Source::Report, what),
            Err(why) => (State::Unknown, Source::None, why),
        };
        return Observation {
            state,
            evidence: Evidence {
                source,
                what,
                since: None,
            },
            on_pane: on_pane(agent, run.as_ref(), panes),
            pane,
            run,
            screen: None,
        };
    }
    let rules = launch
        .agent
        .spec
        .screen
        .as_ref()
        .and_then(|r| Rules::shared(r).ok());
    let reports =
        account::last(install, launch, run.as_ref().map(|r| r.started)).unwrap_or_default();
    let look_at = || {
        let (pane, rules) = (pane.as_ref()?, rules.as_ref()?);
        look_by(|id| capture(id).ok_or(()), pane, rules).ok()
    };
    let decided = |screen: Option<&Seen>| {
        decide(&Signs {
            life: &life,
            started: run.as_ref().map(|r| r.started),
            now: Timestamp::now(),
            reports: &reports,
            reported_by: match launch.agent.spec.reports {
                Some(Reports::DemoTranscript | Reports::GeminiChats | Reports::GooseSessions) => {
                    Source::Transcript
                }
                _ => Source::Report,
            },
            title: pane.as_ref().map_or("", |p| p.title.as_str()),
            rules: rules.as_deref(),
            screen,
        })
    };
    let mut screen = if with_screen && life == Life::Up {
        look_at()
    } else {
        None
    };
    let mut verdict = decided(screen.as_ref());
    if verdict.look && screen.is_none() {
        screen = look_at();
        verdict = decided(screen.as_ref());
    }
    Observation {
        state: verdict.state,
        evidence: verdict.evidence,
        on_pane: on_pane(agent, run.as_ref(), panes),
        pane,
        run,
        screen,
    }
}

impl Observation {
    /// What a person typed into its box and did not send, where the screen was looked at.
    pub fn draft(&self) -> Option<String> {
        let input = self.screen.as_ref()?.input.as_ref()?;
        (!input.empty).then(|| excerpt(&input.text))
    }
}

/// The beginning of a text in one line, for a message to a person.
pub fn excerpt(text: &str) -> String {
    const MOST: usize = 60;
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

fn on_pane(agent: &str, run: Option<&Run>, panes: &[Pane]) -> bool {
    run.is_some_and(|r| holder::on_a_pane_of(agent, r.pid, panes))
}

/// Whether an agent that is a server answers on its health path, within `wait`; what was seen.
///
/// # Errors
/// What was seen instead.
pub fn answers(
    install: &Install,
    agent: &str,
    path: &str,
    wait: Duration,
) -> std::result::Result<String, String> {
    let record = files::read_json::<NodeRecord>(&install.paths.node(agent))
        .map_err(|e| e.to_string())?
        .ok_or("no port is recorded")?;
    probe::healthy(record.port, path, wait)?;
    Ok(format!("`{path}` answers on port {}", record.port))
}

fn life_of(run: Option<&Run>) -> Life {
    match run {
        Some(run) if run.alive() => Life::Up,
        Some(run) => Life::Exited(format!("process {} is gone", run.pid)),
        None => Life::Exited("not started since boot".into()),
    }
}

/// The record of the conversation an agent was started with.
pub fn record(install: &Install, launch: &Launch) -> Option<ConversationRecord> {
    files::read_json(&install.paths.conversation(launch.agent.name.as_str())).ok()?
}

/// Fills a template of the runtime's with the agent's own values.
pub fn expand(
    install: &Install,
    launch: &Launch,
    template: &str,
    record: &ConversationRecord,
) -> String {
    let mut env: std::collections::BTreeMap<_, _> = launch
        .agent
        .env
        .iter()
        .map(|(k, v)| (std::ffi::OsString::from(k), std::ffi::OsString::from(v)))
        .collect();
    env.entry("HOME".into())
        .or_insert_with(|| install.paths.home.clone().into());
    let own = install.paths.agent_dir(launch.agent.name.as_str());
    conversation::expand(template, record, &own, &env)
}

/// The transcript of an agent's present conversation, by its runtime's rule. A pattern that fits no
/// file yet is `None`.
pub fn transcript(install: &Install, launch: &Launch) -> Option<PathBuf> {
    let rule = launch.agent.spec.transcript.as_ref()?;
    let path = expand(install, launch, &rule.file, &record(install, launch)?);
    if path.contains('*') {
        conversation::find(&path)
    } else {
        Some(PathBuf::from(path))
    }
}

/// The messages of a person in lines of a transcript.
pub fn told(format: TranscriptFormat, lines: &str) -> Vec<String> {
    let text = |content: &serde_json::Value| match content {
        serde_json::Value::String(text) => text.clone(),
        blocks => {
            let blocks = blocks.as_array().map(Vec::as_slice).unwrap_or_default();
            let texts = blocks.iter().filter_map(|b| b.get("text")?.as_str());
            texts.collect::<Vec<_>>().join("\n")
        }
    };
    let one = |v: serde_json::Value| match format {
        TranscriptFormat::Claude if v.get("type")? == "user" => {
            v.pointer("/message/content").map(text)
        }
        TranscriptFormat::Pi if v.pointer("/message/role")? == "user" => {
            v.pointer("/message/content").map(text)
        }
        TranscriptFormat::Gemini => crate::state::gemini::typed(&v),
        TranscriptFormat::Demo if v.get("type")? == "user" => v.get("text").map(text),
        _ => None,
    };
    lines
        .lines()
        .filter_map(|l| one(serde_json::from_str(l).ok()?))
        .filter(|t| !t.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_are_one_short_line() {
        assert_eq!(excerpt("a\n  b"), "a b");
        assert_eq!(excerpt(&"é".repeat(80)).chars().count(), 61);
    }

    #[test]
    fn transcripts_tell_what_was_said_to_the_agent() {
        let claude = r#"{"type":"user","message":{"role":"user","content":"one"}}
{"type":"user","message":{"role":"user","content":[{"type":"text","text":"two"},{"type":"text","text":"three"}]}}
{"type":"user","message":{"role":"user","content":[{"type":"tool_result","content":"x"}]}}
{"type":"assistant","message":{"role":"assistant","content":[{"type":"text","text":"no"}]}}
{"type":"us"#;
        assert_eq!(
            told(TranscriptFormat::Claude, claude),
            ["one", "two\nthree"]
        );
        let pi = r#"{"type":"session","id":"x"}
{"type":"message","message":{"role":"user","content":[{"type":"text","text":"one"}]}}
{"type":"message","message":{"role":"assistant","content":[{"type":"text","text":"no"}]}}"#;
        assert_eq!(told(TranscriptFormat::Pi, pi), ["one"]);
        assert_eq!(
            told(TranscriptFormat::Demo, r#"{"type":"user","text":"one"}"#),
            ["one"]
        );
    }
}
