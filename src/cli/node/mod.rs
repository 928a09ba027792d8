//! Verbs about nodes: the agents as chats are placed on them.

mod document;
mod drain;
mod list;
mod next;
mod place;
mod show;
mod wish;

use std::process::ExitCode;

use clap::Subcommand;

use super::Context;
use crate::error::Result;

/// Verbs of `mosaic node`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List the nodes: how they are, how busy, how many chats they have
    List(list::Args),
    /// Show all that is known of a node
    Show(show::Args),
    /// Place a chat, or say where it would go; with the score and every reason
    Place(place::Args),
    /// Keep new chats from nodes; those they have stay
    Drain(drain::Args),
    /// Let new chats on nodes again
    Undrain(drain::Args),
    /// Say where the next new chat goes, once, whatever the scores
    Next(next::Args),
}

/// Runs a verb.
pub fn run(context: &Context<'_>, verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::List(args) => list::run(context, &args),
        Verb::Show(args) => show::run(context, &args),
        Verb::Place(args) => place::run(context, &args),
        Verb::Drain(args) => drain::run(context, &args, true),
        Verb::Undrain(args) => drain::run(context, &args, false),
        Verb::Next(args) => next::run(context, &args),
    }
}
