//! `mosaic agent reset`: an empty context.

use std::process::ExitCode;
use std::time::Duration;

use super::{print_json, print_outcome, worst};
use crate::apply::run_jobs;
use crate::cli::Context;
use crate::cli::context::Selection;
use crate::cli::there::HostArg;
use crate::delivery::{self, Mode, Permitted, ResetOptions, ResetReport};
use crate::error::{Error, Result};
use crate::host::manager::Verb;
use crate::install::Install;
use crate::launch::Launch;
use crate::services::Services;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    there: HostArg,
    /// Use the agent's command that empties its context (the default)
    #[arg(long, group = "mode")]
    clear: bool,
    /// Use the agent's command that begins a new conversation
    #[arg(long, group = "mode")]
    new: bool,
    /// Start its process anew with a new conversation
    #[arg(long, group = "mode")]
    restart: bool,
    /// Break off the turn it is in; without it, its end is waited for
    #[arg(long)]
    interrupt: bool,
    /// Reset an agent with a persistent persona; with --restart also one that works; and one with a
    /// draft in its box, which is given up by starting it anew
    #[arg(long)]
    force: bool,
    /// Confirm the reset of a semi-persistent persona
    #[arg(long)]
    yes: bool,
    /// How long to wait, in seconds, for the agent to be idle
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    wait: u64,
    /// Print the reports as JSON: one document for one agent, an array for several
    #[arg(long)]
    json: bool,
}

impl Args {
    fn mode(&self) -> Mode {
        if self.restart {
            Mode::Restart
        } else if self.new {
            Mode::New
        } else {
            Mode::Clear
        }
    }
}

/// Resets one agent after the other; a failure does not keep the rest from theirs.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    let install = context.install()?;
    let agents = context.select(&args.selection)?;
    if agents.is_empty() {
        return Err(Error::usage("no agent named")
            .hint("name agents, or use `--class CLASS`: `mosaic agent reset coder0 --clear`"));
    }
    let mut reports = Vec::new();
    let mut refused = Vec::new();
    for agent in &agents {
        let launch = Launch::load(&install.paths.launch(agent))?;
        match permitted(context, args, &launch) {
            Ok(()) => {}
            Err(e) => {
                refused.push(e);
                continue;
            }
        }
        let report = reset(&install, &launch, args);
        if !args.json {
            print(context, &report);
        }
        reports.push(report);
    }
    if args.json {
        print_json(context.ui, &reports);
    }
    if let Some(e) = Error::all(refused) {
        return Err(e);
    }
    Ok(worst(reports.iter().map(ResetReport::exit_code)))
}

fn permitted(context: &Context<'_>, args: &Args, launch: &Launch) -> Result<()> {
    let agent = &launch.agent.name;
    match delivery::permitted(
        launch.agent.persistent_persona,
        args.force,
        args.yes,
        context.ui.interactive(),
    ) {
        Permitted::Permitted => Ok(()),
        Permitted::Ask
            if context
                .ui
                .confirm(&format!("empty the context of `{agent}`?")) =>
        {
            Ok(())
        }
        Permitted::Ask => Err(Error::no(format!("`{agent}` was not reset: not confirmed"))),
        Permitted::Refused(why) => Err(Error::no(format!("`{agent}` was not reset: {why}"))),
    }
}

fn reset(install: &Install, launch: &Launch, args: &Args) -> ResetReport {
    let options = ResetOptions {
        wait: Duration::from_secs(args.wait),
        force: args.force,
        interrupt: args.interrupt,
        ..ResetOptions::new(delivery::host_name())
    };
    reset_by(install, launch, args.mode(), &options)
}

/// Resets, restarting by whatever runs the fleet.
pub(super) fn reset_by(
    install: &Install,
    launch: &Launch,
    mode: Mode,
    options: &ResetOptions,
) -> ResetReport {
    let agent = launch.agent.name.as_str();
    let restart = || -> Result<()> {
        let _lock = crate::converge::lock(&install.paths, &format!("restart `{agent}`"))?;
        let services = Services::connect(install)?;
        services.start_server()?;
        for (_, result) in run_jobs(&services, Verb::Restart, &[agent.to_owned()])? {
            result?;
        }
        Ok(())
    };
    delivery::reset(install, launch, mode, options, &restart)
}

fn print(context: &Context<'_>, report: &ResetReport) {
    print_outcome(context.ui, report.exit_code() == 0, &report.line());
    let kickstart = report.kickstart.as_ref().and_then(|k| k.hint.as_ref());
    for hint in report.hint.iter().chain(kickstart) {
        context.ui.hint(hint);
    }
}
