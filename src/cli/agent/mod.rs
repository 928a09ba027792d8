//! Verbs about single agents.

mod approve;
mod ask;
mod attach;
mod events;
mod explain;
mod inbox;
mod message;
mod pane;
mod reset;
mod roster;
mod run;
mod send;
mod send_there;
mod send_to;
mod status;
mod tail;
mod wait;

use std::process::ExitCode;

pub(super) use message::message_text;
pub(super) use send_there::send_there;

/// How long an answer is waited for, in seconds, unless told otherwise.
pub(super) const ANSWER_TIMEOUT: u64 = send::ANSWER_TIMEOUT;

use clap::Subcommand;

use super::Context;
use crate::error::Result;

/// Verbs of `mosaic agent`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List the agents of the roster
    Roster(roster::Args),
    /// Show single agents
    Status(status::Args),
    /// Show an agent's terminal here
    Attach(attach::Args),
    /// Print the end of an agent's terminal
    Tail(tail::Args),
    /// Send a message, and prove how far it got
    Send(Box<send::Args>),
    /// Send a message, wait for the end of the turn, and print the answer
    Ask(Box<ask::Args>),
    /// Look after messages that wait, or were not delivered
    Inbox(inbox::Args),
    /// Wait until agents are idle, ask something, or are in another state
    Wait(wait::Args),
    /// Show what agents do, as it changes, and what happens to them
    Events(events::Args),
    /// Empty an agent's context
    Reset(reset::Args),
    /// Allow what an agent asks for, this once
    Approve(approve::Args),
    /// Refuse what an agent asks for
    Deny(approve::Args),
    /// Say what an agent does, and how that is known
    Explain(explain::Args),
    /// Become an agent; what the units run
    #[command(hide = true)]
    Run(run::Args),
}

/// Prints what became of each agent as JSON: one document for one, an array for several, nothing
/// where every one was refused before it was tried (the error then says why).
fn print_json(ui: &crate::ui::Ui, all: &[impl serde::Serialize]) {
    match all {
        [] => {}
        [one] => ui.json(one),
        all => ui.json(&all),
    }
}

/// Prints what became of one agent, in one line whatever its screen held.
fn print_outcome(ui: &crate::ui::Ui, ok: bool, line: &str) {
    use crate::ui::{Tone, one_line};
    let style = if ok { Tone::Good } else { Tone::Bad }.style();
    ui.line(format!("{style}{}{style:#}", one_line(line)));
}

/// The exit status for several agents: a refusal tells more than a time-out, and both more than
/// success.
fn worst(codes: impl Iterator<Item = u8>) -> ExitCode {
    let weight = |code: &u8| match code {
        0 => 2,
        75 => 1,
        _ => 0,
    };
    ExitCode::from(codes.min_by_key(weight).unwrap_or(0))
}

/// Runs a verb. `run` does without a context: it is told everything, and must not depend on the
/// environment a unit happens to have.
pub fn run<'a>(context: &dyn Fn() -> Result<Context<'a>>, verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Roster(args) => roster::run(&context()?, &args),
        Verb::Status(args) => status::run(&context()?, &args),
        Verb::Attach(args) => attach::run(&context()?, &args),
        Verb::Tail(args) => tail::run(&context()?, &args),
        Verb::Send(args) => send::run(&context()?, &args),
        Verb::Ask(args) => ask::run(&context()?, &args),
        Verb::Inbox(args) => inbox::run(&context()?, &args),
        Verb::Wait(args) => wait::run(&context()?, &args),
        Verb::Events(args) => events::run(&context()?, &args),
        Verb::Reset(args) => reset::run(&context()?, &args),
        Verb::Approve(args) => approve::approve(&context()?, &args),
        Verb::Deny(args) => approve::deny(&context()?, &args),
        Verb::Explain(args) => explain::run(&context()?, &args),
        Verb::Run(args) => run::run(&args),
    }
}
