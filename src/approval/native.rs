//! Questions of agent CLIs that have an interface of their own for them. It names each question, so that
//! an answer can meet no other one; the terminal is not involved.

use super::{Answered, Decision, Question, Source, after};
use crate::delivery::channel::{ChannelKind, ways};
use crate::delivery::stop::Stop;
use crate::delivery::{codex, opencode};
use crate::install::Install;
use crate::launch::Launch;
use crate::state::screen::Choice;

/// An interface for questions.
pub(super) enum Native {
    /// opencode's HTTP interface.
    Opencode,
    /// codex's app-server, which knows the model's questions, and not the dialogs that codex opens itself.
    Codex,
}

/// The one of an agent's runtime.
pub(super) fn of(launch: &Launch) -> Option<Native> {
    ways(launch).into_iter().find_map(|kind| match kind {
        ChannelKind::OpencodeHttp => Some(Native::Opencode),
        ChannelKind::CodexServer => Some(Native::Codex),
        ChannelKind::PiSocket | ChannelKind::Paste => None,
    })
}

impl Native {
    pub(super) fn pending(
        &self,
        install: &Install,
        launch: &Launch,
    ) -> Result<Option<Question>, Stop> {
        Ok(match self {
            Native::Opencode => opencode::pending(install, launch)?.as_ref().map(question),
            Native::Codex => codex::approval::pending(install, launch)?
                .as_ref()
                .map(of_codex)
                .filter(|q| !q.options.is_empty()),
        })
    }

    /// Whether no dialog but its own can be open.
    pub(super) fn knows_all(&self) -> bool {
        matches!(self, Native::Opencode)
    }

    pub(super) fn answer(
        &self,
        install: &Install,
        launch: &Launch,
        decision: Decision,
        expected: Option<&str>,
        report: &mut Answered,
    ) -> Result<(), Stop> {
        match self {
            Native::Opencode => by_opencode(install, launch, decision, expected, report)?,
            Native::Codex => by_codex(install, launch, decision, expected, report)?,
        }
        let state = after(install, launch);
        report.evidence.push(format!("now {state}"));
        report.state = Some(state);
        Ok(())
    }
}

fn nothing() -> Stop {
    Stop::refused("nothing is asked: nothing was answered")
}

/// Only the question that was meant is answered.
fn meant(question: &Question, expected: Option<&str>) -> Result<(), Stop> {
    match expected {
        Some(expected) if question.id != expected => Err(Stop::refused(format!(
            "another question is asked by now: {} (`{}`, not `{expected}`)",
            question.question, question.id
        ))
        .hint("look at it and decide anew")),
        _ => Ok(()),
    }
}

fn by_opencode(
    install: &Install,
    launch: &Launch,
    decision: Decision,
    expected: Option<&str>,
    report: &mut Answered,
) -> Result<(), Stop> {
    let ask = opencode::pending(install, launch)?.ok_or_else(nothing)?;
    let question = report.question.insert(question(&ask));
    meant(question, expected)?;
    let (reply, chosen) = match decision {
        Decision::Approve => (opencode::Reply::Approve, "approve".to_owned()),
        Decision::Deny => (opencode::Reply::Deny, "deny".to_owned()),
        Decision::Option(number) => {
            let label = question
                .label(number)
                .ok_or_else(|| Stop::refused(format!("the question has no option {number}")))?;
            (opencode::Reply::Choose(number - 1), label.to_owned())
        }
    };
    opencode::reply(install, launch, &ask, &reply)?;
    report.chosen = Some(chosen);
    report.evidence.push("opencode took the answer".to_owned());
    Ok(())
}

fn by_codex(
    install: &Install,
    launch: &Launch,
    decision: Decision,
    expected: Option<&str>,
    report: &mut Answered,
) -> Result<(), Stop> {
    let asked = codex::approval::pending(install, launch)?.ok_or_else(nothing)?;
    let question = report.question.insert(of_codex(&asked));
    meant(question, expected)?;
    let number = match decision {
        Decision::Approve => question.approve,
        Decision::Deny => question.deny,
        Decision::Option(number) => Some(number),
    };
    let at = number.and_then(|n| n.checked_sub(1));
    let choice = at.and_then(|at| asked.choices.get(at)).cloned();
    let choice = choice.ok_or_else(|| {
        Stop::refused("the question has no such option").hint("name one of those shown, by number")
    })?;
    report.chosen = Some(choice.label.clone());
    asked.answer(&choice)?;
    report.evidence.push("codex took the answer".to_owned());
    Ok(())
}

fn of_codex(asked: &codex::approval::Asked<'_>) -> Question {
    let number = |fits: &dyn Fn(&codex::approval::Choice) -> bool| {
        asked.choices.iter().position(fits).map(|at| at + 1)
    };
    let label = |(at, choice): (usize, &codex::approval::Choice)| Choice {
        number: at + 1,
        label: choice.label.clone(),
        selected: false,
        row: 0,
    };
    Question {
        id: asked.id.clone(),
        question: asked.question.clone(),
        options: asked.choices.iter().enumerate().map(label).collect(),
        approve: number(&codex::approval::Choice::approves_once),
        deny: number(&codex::approval::Choice::denies),
        cancel: None,
        source: Source::Api,
        screen: Vec::new(),
    }
}

fn question(ask: &opencode::Ask) -> Question {
    Question {
        id: ask.id.clone(),
        question: ask.question.clone(),
        options: ask
            .choices
            .iter()
            .enumerate()
            .map(|(at, label)| Choice {
                number: at + 1,
                label: label.clone(),
                selected: false,
                row: 0,
            })
            .collect(),
        approve: ask.permission.then_some(1),
        deny: (ask.permission && ask.choices.len() == 3).then_some(3),
        cancel: None,
        source: Source::Api,
        screen: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permission_names_what_approves_and_a_choice_does_not() {
        let ask = |permission, choices: &[&str]| opencode::Ask {
            id: "per_1".into(),
            question: "bash touch x".into(),
            choices: choices.iter().map(|c| (*c).to_owned()).collect(),
            permission,
        };
        let asked = question(&ask(true, &["Allow once", "Allow always", "Reject"]));
        assert_eq!((asked.approve, asked.deny), (Some(1), Some(3)));
        assert_eq!(asked.label(2), Some("Allow always"));
        let asked = question(&ask(false, &["red", "blue"]));
        assert_eq!((asked.approve, asked.deny), (None, None));
    }
}
