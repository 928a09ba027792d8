//! `mosaic agent approve` and `mosaic agent deny`: answer the dialog that an agent has open.

use std::process::ExitCode;

use crate::approval::{self, Answered, Decision};
use crate::cli::context::complete_agents;
use crate::cli::{Context, answer_no};
use crate::error::Result;
use crate::names::AgentName;

use super::print_outcome;

/// Arguments of both.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The agent
    #[arg(add = clap_complete::ArgValueCandidates::new(complete_agents))]
    agent: AgentName,
    /// Take the option of this number instead, whatever it says
    #[arg(long, value_name = "N")]
    option: Option<usize>,
    /// Answer only this question, as `agent status --json` and `agent explain` name it
    #[arg(long, value_name = "ID")]
    question_id: Option<String>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Allows what is asked, this once.
pub fn approve(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    run(context, args, Decision::Approve)
}

/// Refuses what is asked.
pub fn deny(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    run(context, args, Decision::Deny)
}

fn run(context: &Context<'_>, args: &Args, decision: Decision) -> Result<ExitCode> {
    let install = context.install()?;
    let launch = context.launch(&args.agent)?;
    let decision = args.option.map_or(decision, Decision::Option);
    let report = approval::answer(&install, &launch, decision, args.question_id.as_deref());
    if args.json {
        context.ui.json(&report);
    } else {
        print(context, &report);
    }
    Ok(if report.answered {
        ExitCode::SUCCESS
    } else {
        answer_no()
    })
}

fn print(context: &Context<'_>, report: &Answered) {
    print_outcome(context.ui, report.answered, &report.line());
    if let Some(question) = report.question.as_ref().filter(|_| !report.answered) {
        for row in &question.screen {
            context.ui.status(format!("  | {row}"));
        }
    }
    if let Some(hint) = &report.hint {
        context.ui.hint(hint.replace("AGENT", &report.agent));
    }
}
