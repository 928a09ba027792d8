//! `mosaic gateway install-goose`: what Goose Desktop needs to use the gateway for its backend.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::Context;
use crate::error::{Error, Result};
use crate::gateway::{goose_desktop, listen, secret};
use crate::host::files;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write it into Goose's settings; the file of before is kept beside it
    #[arg(long)]
    write: bool,
    /// Goose's settings [default: $XDG_CONFIG_HOME/Goose/settings.json]
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
}

/// Runs it.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    let install = context.install()?;
    let url = listen::url(&install)?;
    let secret = secret::obtain(&install.paths)?;
    let path = match &args.settings {
        Some(path) => path.clone(),
        None => goose_desktop::settings(&context.paths),
    };
    if args.write {
        write(context, &path, &url, &secret)?;
        return Ok(ExitCode::SUCCESS);
    }
    let wanted = serde_json::json!({"externalGoosed": goose_desktop::backend(&url, &secret)});
    context.ui.line(files::to_json(&wanted).trim_end());
    context.ui.status(format!(
        "this belongs into {} (`--write` puts it there, while Goose is closed)",
        path.display()
    ));
    context.ui.hint(format!(
        "for one start of it: GOOSE_EXTERNAL_BACKEND=true GOOSE_EXTERNAL_BACKEND_URL={url} GOOSE_PORT={} GOOSE_SERVER__SECRET_KEY=$(cat {}) goose-desktop",
        url.rsplit(':').next().unwrap_or_default(),
        install.paths.gateway_secret().display()
    ));
    Ok(ExitCode::SUCCESS)
}

fn write(context: &Context<'_>, path: &std::path::Path, url: &str, secret: &str) -> Result<()> {
    let old = files::read_optional(path)?;
    let failed = |e: Error| e.context(format!("cannot change `{}`", path.display()));
    let Some(new) = goose_desktop::with_backend(old.as_deref(), url, secret).map_err(failed)?
    else {
        context
            .ui
            .status(format!("{} has it already", path.display()));
        return Ok(());
    };
    if let Some(old) = old {
        let kept = backup(path);
        files::write_atomic(&kept, old.as_bytes(), files::PRIVATE)?;
        context
            .ui
            .status(format!("kept {} as {}", path.display(), kept.display()));
    }
    // It holds a secret now.
    files::write_atomic(path, new.as_bytes(), files::PRIVATE)?;
    context
        .ui
        .line(format!("{}: Goose uses {url}", path.display()));
    context
        .ui
        .hint("restart Goose: it reads its settings when it starts");
    Ok(())
}

/// A name beside it that nothing has yet.
fn backup(path: &std::path::Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S%fZ");
    path.with_file_name(format!("{name}.{time}.bak"))
}
