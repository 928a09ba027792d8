//! Questions of agent CLIs that have an interface of their own for them. It names each question, so that
//! an answer can meet no other one; the terminal is not involved.

use super::{Answered, Decision, Question, Source, after, id};
use crate::delivery::channel::{ChannelKind, ways};
use crate::delivery::stop::Stop;
use crate::delivery::{codex, opencode};
use crate::install::Install;
use crate::launch::Launch;
use crate::state::screen::{Choice, lasting};

/// An interface for questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Native {
    /// opencode's HTTP interface.
    Opencode,
    /// codex's app-server.
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
    /// What is asked.
    pub(super) fn pending(
        self,
        install: &Install,
        launch: &Launch,
    ) -> Result<Option<Question>, Stop> {
        Ok(match self {
            Native::Opencode => opencode::pending(install, launch)?
                .as_ref()
                .map(of_opencode),
            Native::Codex => codex::approval::pending(install, launch)?
                .as_ref()
                .map(|asked| of_codex(&asked.question, &asked.choices)),
        })
    }

    /// Answers it. `report` names the question once it is known.
    pub(super) fn answer(
        self,
        install: &Install,
        launch: &Launch,
        decision: Decision,
        expected: Option<&str>,
        report: &mut Answered,
    ) -> Result<(), Stop> {
        let nothing = || Stop::refused("nothing is asked: nothing was answered");
        let chosen = match self {
            Native::Opencode => {
                let ask = opencode::pending(install, launch)?.ok_or_else(nothing)?;
                let question = report.question.insert(of_opencode(&ask));
                let (at, label) = option(question, decision, expected)?;
                let reply = match (decision, at) {
                    (Decision::Approve, _) => opencode::Reply::Approve,
                    (Decision::Deny, _) => opencode::Reply::Deny,
                    (Decision::Option(_), at) => opencode::Reply::Choose(at),
                };
                opencode::reply(install, launch, &ask, &reply)?;
                label
            }
            Native::Codex => {
                let asked = codex::approval::pending(install, launch)?.ok_or_else(nothing)?;
                let question = report
                    .question
                    .insert(of_codex(&asked.question, &asked.choices));
                let (at, label) = option(question, decision, expected)?;
                let choice = asked.choices[at].clone();
                asked.answer(&choice)?;
                label
            }
        };
        report.chosen = Some(chosen);
        report.evidence.push("it took the answer".to_owned());
        let state = after(install, launch);
        report.evidence.push(format!("now {state}"));
        report.state = Some(state);
        Ok(())
    }
}

/// Position and text of the option that a decision means.
fn option(
    question: &Question,
    decision: Decision,
    expected: Option<&str>,
) -> Result<(usize, String), Stop> {
    if let Some(expected) = expected
        && question.id != expected
    {
        return Err(Stop::refused(format!(
            "another question is asked by now: {} (`{}`, not `{expected}`)",
            question.question, question.id
        ))
        .hint("look at it and decide anew"));
    }
    let (number, missing) = match decision {
        Decision::Approve => (question.approve, "is known to allow it just this once"),
        Decision::Deny => (question.deny, "is known to deny it"),
        Decision::Option(number) => (Some(number), "has this number"),
    };
    number
        .and_then(|number| Some((number.checked_sub(1)?, question.label(number)?.to_owned())))
        .ok_or_else(|| {
            let list: Vec<String> = question
                .options
                .iter()
                .map(|c| format!("{} {}", c.number, c.label))
                .collect();
            Stop::refused(format!("no option of `{}` {missing}", question.question))
                .hint(format!("name one with `--option N`: {}", list.join("; ")))
        })
}

fn asked(
    id: String,
    question: &str,
    labels: &[String],
    approve: Option<usize>,
    deny: Option<usize>,
) -> Question {
    Question {
        id,
        question: question.to_owned(),
        options: labels
            .iter()
            .enumerate()
            .map(|(at, label)| Choice {
                number: at + 1,
                label: label.clone(),
                selected: false,
                row: 0,
            })
            .collect(),
        approve: approve.map(|at| at + 1),
        deny: deny.map(|at| at + 1),
        cancel: None,
        source: Source::Api,
        screen: Vec::new(),
    }
}

fn of_opencode(ask: &opencode::Ask) -> Question {
    // Once, always, never.
    let permission = ask.permission && ask.choices.len() == 3;
    asked(
        ask.id.clone(),
        &ask.question,
        &ask.choices,
        permission.then_some(0),
        permission.then_some(2),
    )
}

fn of_codex(question: &str, choices: &[codex::approval::Choice]) -> Question {
    let labels: Vec<String> = choices.iter().map(|c| c.label.clone()).collect();
    let mut told = vec![question.to_owned()];
    told.extend(labels.iter().cloned());
    asked(
        id(&told),
        question,
        &labels,
        choices
            .iter()
            .position(|c| c.approves() && !lasting(&c.label)),
        choices.iter().position(|c| !c.approves()),
    )
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
        let asked = of_opencode(&ask(true, &["Allow once", "Allow always", "Reject"]));
        assert_eq!((asked.approve, asked.deny), (Some(1), Some(3)));
        assert_eq!(asked.label(2), Some("Allow always"));
        let asked = of_opencode(&ask(false, &["red", "blue"]));
        assert_eq!((asked.approve, asked.deny), (None, None));
        assert!(option(&asked, Decision::Approve, None).is_err());
        let two = option(&asked, Decision::Option(2), Some("per_1")).ok();
        assert_eq!(two, Some((1, "blue".to_owned())));
        for (number, id) in [(0, "per_1"), (3, "per_1"), (2, "per_2")] {
            assert!(option(&asked, Decision::Option(number), Some(id)).is_err());
        }
    }
}
