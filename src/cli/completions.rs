//! `mosaic completions` and `mosaic man`.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::error::{Error, Result};
use crate::host::files;
use crate::ui::Ui;

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

/// Prints the script. It asks mosaic itself at each completion, so agents' names complete.
pub fn run(ui: &Ui, args: &Args) -> Result<ExitCode> {
    let name = args.shell.to_string();
    let shells = clap_complete::env::Shells::builtins();
    let shell = shells
        .completer(&name)
        .ok_or_else(|| Error::usage(format!("no completions for `{name}`")))?;
    let mut script = Vec::new();
    shell
        .write_registration("COMPLETE", "mosaic", "mosaic", "mosaic", &mut script)
        .map_err(|e| Error::bug("cannot write the completion script").because(e))?;
    ui.write(&String::from_utf8_lossy(&script));
    Ok(ExitCode::SUCCESS)
}

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// Where to, e.g. ~/.local/share/man/man1
    directory: PathBuf,
}

/// Writes a page for every verb.
pub fn man(ui: &Ui, args: &ManArgs) -> Result<ExitCode> {
    files::make_private_dir(&args.directory)?;
    clap_mangen::generate_to(super::command(), &args.directory).map_err(|e| {
        Error::io(
            format!("cannot write man pages to `{}`", args.directory.display()),
            e,
        )
    })?;
    ui.status(format!("wrote man pages to {}", args.directory.display()));
    Ok(ExitCode::SUCCESS)
}
