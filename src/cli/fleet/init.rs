//! `mosaic fleet init`: writes the roster.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::cli::Context;
use crate::error::{Error, Result};
use crate::host::files;
use crate::roster::{profile, schema};
use crate::runtime::builtin;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Profile: minimal, usc (a software factory), demo, goosed, goose-pool, or a file
    #[arg(long, default_value = "minimal")]
    profile: String,
    /// Where the agents work [default: the current directory]
    #[arg(long, value_name = "DIR")]
    working_directory: Option<PathBuf>,
    /// Write the roster (the default)
    #[arg(long, conflicts_with = "dry_run")]
    write: bool,
    /// Print it instead
    #[arg(long)]
    dry_run: bool,
    /// Overwrite an existing roster; a copy of it is kept
    #[arg(long)]
    force: bool,
}

/// Runs it.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    let directory = working_directory(args.working_directory.as_deref())?;
    let text = fill(context, &args.profile, &directory)?;
    if args.dry_run {
        context.ui.write(&text);
        return Ok(ExitCode::SUCCESS);
    }
    write(context, &text, args.force)?;
    context.ui.hint("look at it, then `mosaic fleet up`");
    Ok(ExitCode::SUCCESS)
}

/// The directory given, or the current one, absolute.
///
/// # Errors
/// It does not exist.
pub fn working_directory(given: Option<&Path>) -> Result<PathBuf> {
    let path = given.unwrap_or(Path::new("."));
    let absolute = path.canonicalize().map_err(|e| {
        Error::config(format!(
            "the working directory `{}` does not exist",
            path.display()
        ))
        .because(e)
    })?;
    if absolute.is_dir() {
        Ok(absolute)
    } else {
        Err(Error::config(format!(
            "`{}` is not a directory",
            path.display()
        )))
    }
}

/// Fills a profile with what this machine has, and says what was found.
///
/// # Errors
/// Unknown profile.
pub fn fill(context: &Context<'_>, name: &str, directory: &Path) -> Result<String> {
    let profile = profile::find(name)?;
    let mut found: Vec<&str> = profile::PREFERENCE
        .into_iter()
        .filter(|r| which::which(r).is_ok())
        .collect();
    for server in profile::SERVERS {
        let program = builtin::get(server).and_then(|spec| spec.command.as_deref());
        if program.is_some_and(|program| which::which(program).is_ok()) {
            found.push(server);
        }
    }
    let filled = profile::fill(&profile, &found, directory);
    for note in &filled.notes {
        context.ui.status(note);
    }
    Ok(filled.text)
}

/// Writes roster and schema; an existing roster is only replaced with `force`, and kept as a copy.
///
/// # Errors
/// It exists, or cannot be written.
pub fn write(context: &Context<'_>, text: &str, force: bool) -> Result<()> {
    let path = &context.paths.roster;
    if let Some(old) = files::read_optional(path)? {
        if !force {
            return Err(Error::no(format!("`{}` exists", path.display()))
                .hint("edit it, or overwrite it with `--force` (a copy is kept)")
                .hint("`--dry-run` prints what would be written"));
        }
        let stamp = jiff::Zoned::now().strftime("%Y%m%d-%H%M%S");
        let mut backup = path.with_extension(format!("yaml.{stamp}.bak"));
        let mut n = 1;
        while backup.exists() {
            n += 1;
            backup = path.with_extension(format!("yaml.{stamp}-{n}.bak"));
        }
        files::write_atomic(&backup, old.as_bytes(), files::PRIVATE)?;
        context
            .ui
            .status(format!("kept the old roster as {}", backup.display()));
    }
    let beside = path
        .parent()
        .unwrap_or(Path::new("/"))
        .join("roster.schema.json");
    files::write_atomic(&beside, schema::schema().as_bytes(), files::PUBLIC)?;
    files::write_atomic(path, text.as_bytes(), files::PRIVATE)?;
    context.ui.status(format!("wrote {}", path.display()));
    Ok(())
}
