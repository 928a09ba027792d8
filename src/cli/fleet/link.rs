//! `mosaic fleet link`: the commands `fleet` and `agent`.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::Context;
use crate::error::{Error, Result};
use crate::host::files;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to [default: the directory of the mosaic program]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Replace links that point elsewhere
    #[arg(long)]
    force: bool,
}

/// Makes the links; files of others are never replaced.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    let own =
        std::env::current_exe().map_err(|e| Error::io("cannot find mosaic's own program", e))?;
    let directory = match &args.directory {
        Some(dir) => {
            std::path::absolute(dir).map_err(|e| Error::io("cannot resolve the directory", e))?
        }
        None => own.parent().map(PathBuf::from).unwrap_or_default(),
    };
    std::fs::create_dir_all(&directory)
        .map_err(|e| Error::io(format!("cannot make `{}`", directory.display()), e))?;
    for name in ["fleet", "agent"] {
        let link = directory.join(name);
        match std::fs::read_link(&link) {
            Ok(target) if target == own => {
                context
                    .ui
                    .status(format!("{} is there already", link.display()));
                continue;
            }
            Ok(_) if args.force => {
                files::remove(&link)?;
            }
            Ok(target) => {
                return Err(Error::no(format!(
                    "`{}` points to `{}`",
                    link.display(),
                    target.display()
                ))
                .hint("replace it with `--force`, or choose another `--directory`"));
            }
            Err(_) if link.exists() => {
                return Err(
                    Error::no(format!("`{}` exists and is not a link", link.display()))
                        .hint("choose another `--directory`"),
                );
            }
            Err(_) => {}
        }
        std::os::unix::fs::symlink(&own, &link)
            .map_err(|e| Error::io(format!("cannot make `{}`", link.display()), e))?;
        context
            .ui
            .status(format!("{} -> {}", link.display(), own.display()));
    }
    Ok(ExitCode::SUCCESS)
}
