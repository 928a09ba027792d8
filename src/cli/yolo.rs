//! `mosaic yolo`: an agent CLI here and now, without permission questions.

use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use crate::cli::Context;
use crate::error::{Error, Result};
use crate::host::process;
use crate::roster::load_runtime;
use crate::ui::one_line;
use crate::yolo::{Situation, command};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The agent does whatever it likes, as you. It runs in this terminal and this directory, outside the \
fleet.

Skills of pi follow MOSAIC_PI_SKILL_MODE: `all` (the default) gives those of mosaic (`skills` and \
`skills-local` in its configuration directory), of pi (`~/.pi/agent/skills`, `.pi/skills`) and of the \
fleet (`skills` beside the roster); `discover` lets pi find its own and adds the fleet's; `none` gives \
the fleet's alone.")]
pub struct Args {
    /// A built-in runtime, or one of the roster's
    #[arg(add = clap_complete::ArgValueCandidates::new(runtimes))]
    runtime: String,
    /// What it is told first; several words are one prompt
    prompt: Vec<String>,
    /// Arguments passed on to it as they are
    #[arg(last = true, value_name = "ARG")]
    rest: Vec<String>,
    /// Print the command and do not run it
    #[arg(long, alias = "dry-run")]
    print: bool,
}

fn runtimes() -> Vec<clap_complete::CompletionCandidate> {
    crate::runtime::builtin::names()
        .iter()
        .map(clap_complete::CompletionCandidate::new)
        .collect()
}

/// Becomes the agent CLI; returns only with `--print`, or on failure.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    let spec = load_runtime(&context.paths.roster, &args.runtime)?;
    let directory =
        std::env::current_dir().map_err(|e| Error::io("cannot find the present directory", e))?;
    let mosaic =
        std::env::current_exe().map_err(|e| Error::io("cannot find mosaic's own program", e))?;
    let own = context.paths.mosaic_config();
    let made = command(
        &spec,
        &Situation {
            runtime: &args.runtime,
            prompt: &args.prompt.join(" "),
            rest: &args.rest,
            mosaic: &mosaic,
            home: &context.paths.home,
            directory: &directory,
            fleet_skills: &[context.paths.config_dir().join("skills")],
            own_skills: &[own.join("skills"), own.join("skills-local")],
            var: &|name| std::env::var(name).ok(),
        },
    )?;
    for note in &made.notes {
        context.ui.warn(note);
    }
    if args.print {
        context.ui.line(one_line(&made.line()));
        return Ok(ExitCode::SUCCESS);
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let program = process::find_program(&made.program, &path, &directory).ok_or_else(|| {
        let e = Error::config(format!("`{}` is not installed", made.program));
        match &spec.install {
            Some(how) => e.hint(format!("install it: {how}")),
            None => e,
        }
    })?;
    let error = process::command(&program)
        .args(&made.args)
        .envs(&made.env)
        .exec();
    Err(Error::config(format!("cannot execute `{}`", program.display())).because(error))
}
