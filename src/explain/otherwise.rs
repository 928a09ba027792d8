//! What would have to be seen for an agent to be in another state.

use crate::launch::Launch;
use crate::report::Report;
use crate::state::{Observation, Source, State};

/// In the order in which it is weighed.
pub(super) fn of(launch: &Launch, seen: &Observation, reports: &[Report]) -> Vec<String> {
    let spec = &launch.agent.spec;
    let mut lines = Vec::new();
    if seen.evidence.source == Source::Unit {
        lines.push("its process would have to run".to_owned());
        return lines;
    }
    if spec.node.is_some() {
        lines.push("`idle` and `unknown` follow the answer on its health path".to_owned());
        return lines;
    }
    if spec.reports.is_some() {
        lines.push(if reports.is_empty() {
            "any report of its own would decide; none came since its start".to_owned()
        } else {
            "a newer report of its own decides".to_owned()
        });
    }
    let Some(screen) = &spec.screen else {
        return lines;
    };
    let mut rule = |state: State, patterns: &[String], place: &str| {
        if seen.state != state && !patterns.is_empty() {
            lines.push(format!(
                "`{state}`: {place} that fits {}",
                patterns
                    .iter()
                    .map(|p| format!("`{p}`"))
                    .collect::<Vec<_>>()
                    .join(" or ")
            ));
        }
    };
    let above = format!("a row within {} above the box", screen.working_within);
    rule(State::Working, &screen.title.working, "a title");
    rule(State::Working, &screen.working, &above);
    rule(State::RateLimited, &screen.limited, &above);
    let options: Vec<String> = screen.menus.iter().map(|m| m.option.clone()).collect();
    rule(
        State::Waiting,
        &options,
        "no box, and at the foot two rows or more, one of them marked,",
    );
    rule(State::Waiting, &screen.dialog, "no box, and a row");
    if seen.state != State::Idle {
        lines.push("`idle`: its input box, and no sign of work".to_owned());
    }
    lines
}
