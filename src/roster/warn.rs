//! Warnings: what a roster may say but probably does not mean.

use std::collections::BTreeMap;
use std::path::Path;

use super::overrides::{COMMAND_VAR, RUNTIME_VAR, WORKDIR_VAR};
use super::parse::Parsed;
use super::resolve::Warning;
use super::source::Span;
use crate::fleet::{Agent, Fleet, Resume};

/// Everything remarkable about a resolved fleet, in the roster's order.
pub(super) fn of_fleet(parsed: &Parsed, fleet: &Fleet) -> Vec<Warning> {
    let mut out = Vec::new();
    if fleet.agents.is_empty() {
        out.push(warning(
            parsed,
            parsed.span(&["agents"]),
            "the roster has no agents".to_owned(),
            "add one under `agents:`",
        ));
    }
    for (index, agent) in fleet.agents.iter().enumerate() {
        of_agent(parsed, index, agent, &mut out);
    }
    shared_directories(parsed, fleet, &mut out);
    out
}

fn warning(parsed: &Parsed, span: Span, message: String, hint: &str) -> Warning {
    Warning {
        message,
        location: vec![parsed.source.place(span)],
        hints: vec![hint.to_owned()],
    }
}

fn of_agent(parsed: &Parsed, index: usize, agent: &Agent, out: &mut Vec<Warning>) {
    let (name, runtime) = (&agent.name, &agent.runtime);
    if let (Some(max), Some(min)) = (agent.limits.memory_max, agent.spec.min_memory)
        && max < min
    {
        out.push(warning(
            parsed,
            parsed.agent_span(index, &["limits", "memory_max"]),
            format!(
                "`memory_max` of agent `{name}` is {}, but `{runtime}` needs {} even when idle",
                mib(max),
                mib(min)
            ),
            "below that the agent is killed and restarted again and again",
        ));
    }
    if let (Some(model), None) = (&agent.model_hint, &agent.spec.model_args) {
        out.push(warning(
            parsed,
            parsed.agent_span(index, &["model_hint"]),
            format!("`model_hint` of agent `{name}` is only a label: runtime `{runtime}` has no model argument"),
            &format!("choose `{}` in the CLI's own settings, or set `model_args` in `runtimes`", super::suggest::clip(model)),
        ));
    }
    for var in [RUNTIME_VAR, WORKDIR_VAR, COMMAND_VAR] {
        if agent.env.contains_key(var) {
            out.push(warning(
                parsed,
                parsed.agent_span(index, &["env", var]),
                format!("`{var}` has no effect in `env` of agent `{name}`"),
                &format!("it is read from `agents/{name}.env` beside the roster"),
            ));
        }
    }
}

/// A runtime that names no conversation can only take up the last one of its directory, and that may
/// be the neighbour's. Runtimes without a reset (servers, shells) have none to mix up.
fn shared_directories(parsed: &Parsed, fleet: &Fleet, out: &mut Vec<Warning>) {
    let mut groups: BTreeMap<(&str, &Path), Vec<usize>> = BTreeMap::new();
    for (index, agent) in fleet.agents.iter().enumerate() {
        let mixes = agent.spec.conversation.is_none() && agent.spec.reset.is_some();
        if agent.enabled && agent.resume == Resume::Last && mixes {
            groups
                .entry((&agent.runtime, &agent.working_directory))
                .or_default()
                .push(index);
        }
    }
    for ((runtime, directory), members) in groups {
        let [_, second, ..] = members.as_slice() else {
            continue;
        };
        let names: Vec<String> = members
            .iter()
            .map(|i| format!("`{}`", fleet.agents[*i].name))
            .collect();
        out.push(warning(
            parsed,
            parsed.agent_span(*second, &["working_directory"]),
            format!(
                "agents {} share the directory `{}`, and mosaic cannot tell the conversations of `{runtime}` apart",
                names.join(", "),
                directory.display()
            ),
            "give each a `working_directory` of its own, or set `resume: none`",
        ));
    }
}

fn mib(bytes: u64) -> String {
    if bytes.is_multiple_of(1 << 30) {
        format!("{}G", bytes >> 30)
    } else if bytes >= 1 << 20 {
        format!("{}M", bytes >> 20)
    } else {
        format!("{bytes} bytes")
    }
}
