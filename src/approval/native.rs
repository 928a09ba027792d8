//! Questions of agent CLIs that have an interface of their own for them. It names each question, so that
//! an answer can meet no other one; the terminal is not involved.

use super::{Answered, Decision, Question, Source, after};
use crate::delivery::channel::{ChannelKind, ways};
use crate::delivery::opencode;
use crate::delivery::stop::Stop;
use crate::install::Install;
use crate::launch::Launch;
use crate::state::screen::Choice;

/// An interface for questions.
pub(super) enum Native {
    /// opencode's HTTP interface.
    Opencode,
}

/// The one of an agent's runtime.
pub(super) fn of(launch: &Launch) -> Option<Native> {
    ways(launch).into_iter().find_map(|kind| match kind {
        ChannelKind::OpencodeHttp => Some(Native::Opencode),
        ChannelKind::CodexServer | ChannelKind::PiSocket | ChannelKind::Paste => None,
    })
}

impl Native {
    pub(super) fn pending(
        &self,
        install: &Install,
        launch: &Launch,
    ) -> Result<Option<Question>, Stop> {
        let Native::Opencode = self;
        Ok(opencode::pending(install, launch)?.as_ref().map(question))
    }

    pub(super) fn answer(
        &self,
        install: &Install,
        launch: &Launch,
        decision: Decision,
        expected: Option<&str>,
        report: &mut Answered,
    ) -> Result<(), Stop> {
        let Native::Opencode = self;
        let ask = opencode::pending(install, launch)?
            .ok_or_else(|| Stop::refused("nothing is asked: nothing was answered"))?;
        let question = report.question.insert(question(&ask));
        if let Some(expected) = expected
            && question.id != expected
        {
            return Err(Stop::refused(format!(
                "another question is asked by now: {} (`{}`, not `{expected}`)",
                question.question, question.id
            ))
            .hint("look at it and decide anew"));
        }
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
        let state = after(install, launch);
        report.evidence.push(format!("now {state}"));
        report.state = Some(state);
        Ok(())
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
