//! `mosaic agent ask`: a message, and the answer as the agent's own record has it.

use std::process::ExitCode;

use super::send;
use crate::cli::Context;
use crate::delivery::{Receipt, Rung};
use crate::error::{Error, Result};
use crate::ui::plain;

/// Arguments.
#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(
    mut_arg("until", |a| a.hide(true)),
    mut_arg("queue", |a| a.hide(true)),
    mut_arg("command", |a| a.hide(true)),
    mut_arg("pane", |a| a.hide(true)),
    mut_arg("socket", |a| a.hide(true)),
    mut_arg("submits", |a| a.hide(true)),
    mut_arg("force", |a| a.hide(true))
)]
pub struct Args {
    #[command(flatten)]
    pub(super) send: send::Args,
}

impl Args {
    /// As a message.
    ///
    /// # Errors
    /// Flags that a question cannot have.
    pub fn send(&self) -> Result<&send::Args> {
        match self.send.no_question() {
            Some(flag) => Err(Error::usage(format!("a question cannot have `{flag}`"))
                .hint("`mosaic agent send` has it")),
            None => Ok(&self.send),
        }
    }
}

/// Prints the answers; what else there is to say goes to standard error.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    let show = |receipt: &Receipt| match &receipt.answer {
        Some(answer) if receipt.receipt == Rung::Answered => {
            if answer.trim().is_empty() {
                context
                    .ui
                    .status(format!("{}: the turn ended without a word", receipt.agent));
            } else {
                context.ui.line(plain(answer.trim_end()));
            }
        }
        _ => {
            context.ui.warn(receipt.line());
            if let Some(hint) = &receipt.hint {
                context.ui.hint(hint);
            }
        }
    };
    send::send(context, args.send()?, Rung::Answered, &show)
}
