//! What opencode asks a person, read and answered by its HTTP interface: by the id of the question, so
//! that an answer can only ever meet the question it was meant for.

use super::OpencodeHttp;
use super::client::{Asked, Client, Failure, Permission};
use crate::delivery::stop::Stop;
use crate::install::Install;
use crate::launch::Launch;

/// A question, with what can be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// opencode's id of it.
    pub id: String,
    /// What it asks.
    pub question: String,
    /// The answers to choose from, in the order of the screen.
    pub choices: Vec<String>,
    /// It asks for permission; else for a decision.
    pub permission: bool,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Permission for this once.
    Approve,
    /// No permission, or no answer; the turn ends.
    Deny,
    /// The choice of this place in [`Ask::choices`], from 0.
    Choose(usize),
}

/// The oldest open question of an agent.
///
/// # Errors
/// opencode does not answer; nothing was done.
pub fn pending(install: &Install, launch: &Launch) -> Result<Option<Ask>, Stop> {
    let channel = OpencodeHttp::of(install, launch)?;
    first(&channel.client).map_err(|f| channel.failed(&f))
}

/// Answers a question, and no other: one that is no longer open is refused.
///
/// # Errors
/// `Unknown` only where opencode may have taken the answer without saying so.
pub fn reply(install: &Install, launch: &Launch, ask: &Ask, reply: &Reply) -> Result<(), Stop> {
    let channel = OpencodeHttp::of(install, launch)?;
    let client = &channel.client;
    let done = match (ask.permission, reply) {
        (true, Reply::Approve | Reply::Choose(0)) => client.reply(&ask.id, "once"),
        (true, Reply::Choose(1)) => client.reply(&ask.id, "always"),
        (true, Reply::Deny | Reply::Choose(2)) => client.reply(&ask.id, "reject"),
        (false, Reply::Deny) => client.dismiss(&ask.id),
        (false, Reply::Choose(at)) if *at < ask.choices.len() => {
            client.answer(&ask.id, &[vec![ask.choices[*at].clone()]])
        }
        (false, Reply::Approve) => {
            return Err(Stop::refused(format!(
                "`{}` wants a choice, not an approval: {}",
                channel.agent, ask.question
            ))
            .hint("choose with `--option N`"));
        }
        (_, Reply::Choose(at)) => {
            return Err(Stop::refused(format!(
                "the question has no answer {}",
                at + 1
            )));
        }
    };
    done.map_err(|failure| match failure {
        Failure::NotSent(_) => channel.failed(&failure),
        Failure::Refused { status: 404, .. } => Stop::refused("the question is no longer open"),
        Failure::Refused { .. } => Stop::refused(format!("opencode refuses the answer: {failure}")),
        Failure::NoAnswer(why) => Stop::unknown(format!(
            "the answer was handed to `{}`, which did not answer: {why}",
            channel.agent
        )),
    })
}

/// The oldest open question.
pub(super) fn first(client: &Client) -> Result<Option<Ask>, Failure> {
    if let Some(permission) = client.permissions()?.into_iter().next() {
        return Ok(Some(of_permission(permission)));
    }
    Ok(client.questions()?.into_iter().next().map(of_question))
}

fn of_permission(asked: Permission) -> Ask {
    let question = format!("{} {}", asked.permission, asked.patterns.join(" "));
    let always = match asked.always.as_slice() {
        [] => "Allow always".to_owned(),
        patterns => format!("Allow always: {}", patterns.join(" ")),
    };
    Ask {
        id: asked.id,
        question: question.trim().to_owned(),
        choices: vec!["Allow once".to_owned(), always, "Reject".to_owned()],
        permission: true,
    }
}

fn of_question(asked: Asked) -> Ask {
    let all: Vec<&str> = asked
        .questions
        .iter()
        .map(|q| q.question.as_str())
        .collect();
    // Several at once, or several answers to one, need a person at the screen.
    let choices = match asked.questions.as_slice() {
        [one] if !one.multiple => one.options.iter().map(|o| o.label.clone()).collect(),
        _ => Vec::new(),
    };
    Ask {
        question: all.join(" / "),
        id: asked.id,
        choices,
        permission: false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    // As opencode 1.18.33 wrote them.
    #[test]
    fn a_permission_is_a_question_with_three_answers() {
        let permission = serde_json::from_value(serde_json::json!({
            "id": "per_1", "sessionID": "ses_1", "permission": "bash",
            "patterns": ["touch approved-marker"],
            "metadata": {"command": "touch approved-marker"}, "always": ["touch *"],
            "tool": {"messageID": "msg_1", "callID": "call_1"}
        }))
        .unwrap();
        let ask = of_permission(permission);
        assert_eq!(ask.question, "bash touch approved-marker");
        assert_eq!(
            ask.choices,
            ["Allow once", "Allow always: touch *", "Reject"]
        );
    }

    #[test]
    fn a_single_question_has_its_options_and_more_than_one_has_none() {
        let one = serde_json::json!({"question": "Which colour?", "header": "Colour",
            "options": [{"label": "red", "description": "warm"}, {"label": "blue"}]});
        let asked = |questions: serde_json::Value| {
            let asked =
                serde_json::json!({"id": "que_1", "sessionID": "s", "questions": questions});
            of_question(serde_json::from_value(asked).unwrap())
        };
        let single = asked(serde_json::json!([one]));
        assert_eq!(single.question, "Which colour?");
        assert_eq!(single.choices, ["red", "blue"]);
        let two = asked(serde_json::json!([one, one]));
        assert_eq!(two.question, "Which colour? / Which colour?");
        assert!(two.choices.is_empty());
    }
}
