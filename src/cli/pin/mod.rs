//! Verbs about pins: which chat is on which node.

mod list;
mod moving;
mod release;
mod show;

use std::process::ExitCode;

use clap::Subcommand;

use super::Context;
use crate::error::{Error, Result};
use crate::routing::pins::{Pin, Pins};

/// Version of the documents.
const VERSION: u32 = 1;

/// Verbs of `mosaic pin`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List the chats and their nodes
    List(list::Args),
    /// Show where a chat is
    Show(show::Args),
    /// Forget chats: the next message to one places it anew
    Release(release::Args),
    /// Put a chat on another node; what was said in it so far stays behind
    Move(moving::Args),
}

/// Runs a verb.
pub fn run(context: &Context<'_>, verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::List(args) => list::run(context, &args),
        Verb::Show(args) => show::run(context, &args),
        Verb::Release(args) => release::run(context, &args),
        Verb::Move(args) => moving::run(context, &args),
    }
}

/// A chat's pin.
fn require(pins: &Pins, chat: &str) -> Result<Pin> {
    pins.pin(chat)?.ok_or_else(|| {
        Error::no(format!("the chat `{chat}` is not pinned"))
            .hint("`mosaic pin list` shows those that are")
    })
}
