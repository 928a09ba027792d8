//! What codex asks of a person, and the answer, by its app-server: whoever takes part in a conversation
//! is told of an open question, and the first answer counts. The terminal's dialog closes by itself.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::CodexServer;
use super::rpc::Failure;
use super::thread::Status;
use crate::delivery::stop::Stop;
use crate::install::Install;
use crate::launch::Launch;

/// How long an open question may take to be told. Measured: it comes with the answer to `thread/resume`.
const TOLD: Duration = Duration::from_secs(1);

/// One way to answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// For a person.
    pub label: String,
    /// For codex.
    decision: Value,
}

impl Choice {
    /// It allows what is asked, this once.
    pub fn approves_once(&self) -> bool {
        self.decision == "accept"
    }

    /// It refuses it.
    pub fn denies(&self) -> bool {
        self.decision == "decline" || self.decision == "cancel"
    }
}

/// An open question, with the connection it can be answered on.
#[derive(Debug)]
pub struct Asked<'a> {
    /// Names it: no other question has it.
    pub id: String,
    /// What is asked, one line.
    pub question: String,
    /// How it can be answered; empty for what only the terminal can.
    pub choices: Vec<Choice>,
    request: Value,
    channel: CodexServer<'a>,
}

/// The open question of an agent, `None` where there is none.
///
/// # Errors
/// Its app-server does not answer.
pub fn pending<'a>(install: &'a Install, launch: &Launch) -> Result<Option<Asked<'a>>, Stop> {
    let channel = CodexServer::connect(install, launch)?;
    let thread = channel.thread()?;
    if thread.status != Status::Waiting {
        return Ok(None);
    }
    let lost = |e: Failure| {
        Stop::busy(format!(
            "the app-server of `{}` does not tell what it asks: {e}",
            launch.agent.name
        ))
    };
    let deadline = Instant::now() + TOLD;
    let found = {
        let mut client = channel.client.borrow_mut();
        client
            .call(
                "thread/resume",
                json!({"threadId": thread.id, "excludeTurns": true}),
            )
            .map_err(lost)?;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match client.event(left).map_err(lost)? {
                None => break None,
                Some(event) if event.get("id").is_some() && of(&event, &thread.id) => {
                    break Some(event);
                }
                Some(_) if left.is_zero() => break None,
                Some(_) => {}
            }
        }
    };
    Ok(found.map(|event| {
        let (question, choices) = read(&event);
        Asked {
            question,
            choices,
            id: event["params"]["itemId"]
                .as_str()
                .map_or_else(|| event["id"].to_string(), str::to_owned),
            request: event["id"].clone(),
            channel,
        }
    }))
}

fn of(event: &Value, thread: &str) -> bool {
    event.pointer("/params/threadId").and_then(Value::as_str) == Some(thread)
}

impl Asked<'_> {
    /// Answers, and waits until codex has taken the answer.
    ///
    /// # Errors
    /// The answer did not get through, or the question is open still.
    pub fn answer(self, choice: &Choice) -> Result<(), Stop> {
        let agent = &self.channel.agent;
        let mut client = self.channel.client.borrow_mut();
        client
            .answer(&self.request, &json!({"decision": choice.decision}))
            .map_err(|e| Stop::unknown(format!("the answer to `{agent}` may be lost: {e}")))?;
        let deadline = Instant::now() + TOLD;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match client.event(left) {
                Ok(Some(e)) if e["method"] == "serverRequest/resolved" => return Ok(()),
                Ok(Some(_)) if !left.is_zero() => {}
                _ => {
                    return Err(Stop::unknown(format!(
                        "`{agent}` did not say that it took the answer"
                    )));
                }
            }
        }
    }
}

/// Question and choices of a request.
fn read(event: &Value) -> (String, Vec<Choice>) {
    let params = &event["params"];
    let text = |key: &str| params.get(key).and_then(Value::as_str);
    let reason = text("reason")
        .map(|r| format!(" ({r})"))
        .unwrap_or_default();
    match event["method"].as_str().unwrap_or_default() {
        "item/commandExecution/requestApproval" => {
            let actions = params.pointer("/commandActions/0/command");
            let command = actions
                .and_then(Value::as_str)
                .or_else(|| text("command"))
                .unwrap_or("a command");
            let offered = params.get("availableDecisions").and_then(Value::as_array);
            let offered = offered.cloned().unwrap_or_else(|| {
                ["accept", "cancel"]
                    .map(|d| Value::String(d.to_owned()))
                    .to_vec()
            });
            let choices = offered.iter().map(choice).collect();
            (format!("run `{command}`?{reason}"), choices)
        }
        "item/fileChange/requestApproval" => {
            let choices = ["accept", "acceptForSession", "decline", "cancel"]
                .map(|d| choice(&Value::String(d.to_owned())))
                .to_vec();
            (format!("change files?{reason}"), choices)
        }
        method => (format!("a question of codex ({method})"), Vec::new()),
    }
}

fn choice(decision: &Value) -> Choice {
    let named = decision
        .as_str()
        .or_else(|| Some(decision.as_object()?.keys().next()?.as_str()));
    let label = match named.unwrap_or_default() {
        "accept" => "yes, proceed".to_owned(),
        "acceptForSession" => "yes, and do not ask again in this conversation".to_owned(),
        "acceptWithExecpolicyAmendment" => {
            let words = decision.pointer("/acceptWithExecpolicyAmendment/execpolicy_amendment");
            let words: Vec<&str> = words
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            format!(
                "yes, and do not ask again for commands that start with `{}`",
                words.join(" ")
            )
        }
        "decline" => "no, and go on without it".to_owned(),
        "cancel" => "no, and end the turn".to_owned(),
        other => other.to_owned(),
    };
    Choice {
        label,
        decision: decision.clone(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_request_is_read() {
        // As codex 0.169.0 sends it.
        let event: Value = serde_json::from_str(include_str!("samples/approval.json")).unwrap();
        let (question, choices) = read(&event);
        assert_eq!(
            question,
            "run `touch approved-marker`? (need to make the marker)"
        );
        let labels: Vec<&str> = choices.iter().map(|c| c.label.as_str()).collect();
        assert_eq!(
            labels,
            [
                "yes, proceed",
                "yes, and do not ask again for commands that start with `touch approved-marker`",
                "no, and end the turn"
            ]
        );
        let once: Vec<bool> = choices.iter().map(Choice::approves_once).collect();
        assert_eq!(once, [true, false, false]);
        let denies: Vec<bool> = choices.iter().map(Choice::denies).collect();
        assert_eq!(denies, [false, false, true]);
        let (question, choices) =
            read(&json!({"method": "item/tool/requestUserInput", "params": {}}));
        assert!(question.contains("requestUserInput") && choices.is_empty());
    }
}
