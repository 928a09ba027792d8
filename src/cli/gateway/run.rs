//! `mosaic gateway run`: be the fleet's gateway.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::Context;
use crate::error::{Error, Result};
use crate::gateway;
use crate::gateway::listen::Wish;
use crate::install::Install;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The fleet's state directory; what the unit gives
    #[arg(long, value_name = "DIR", hide = true)]
    state: Option<PathBuf>,
    /// Address to listen on; beyond loopback only with TLS [default: the roster's, else 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<IpAddr>,
    /// Port to listen on [default: the roster's, else 43123]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Certificate chain in PEM: speak TLS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's key in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

/// Runs it. The unit tells the state directory, and must not depend on the environment it happens to
/// have.
pub fn run<'a>(context: &dyn Fn() -> Result<Context<'a>>, args: Args) -> Result<ExitCode> {
    let absolute = |path: PathBuf| {
        std::path::absolute(&path)
            .map_err(|e| Error::io(format!("cannot resolve `{}`", path.display()), e))
    };
    let tls = match (args.tls_cert, args.tls_key) {
        (Some(cert), Some(key)) => Some((absolute(cert)?, absolute(key)?)),
        _ => None,
    };
    let wish = Wish {
        address: args.listen,
        port: args.port,
        tls,
    };
    match args.state {
        Some(state) => {
            let install = Install::require(&state)?;
            let source = gateway::source::of(&install)?;
            gateway::run::run(&install, &wish, false, source, &|_| {})?;
        }
        None => {
            let context = context()?;
            let install = context.install()?;
            let source = gateway::source::of(&install)?;
            let ui = context.ui;
            gateway::run::run(&install, &wish, true, source, &|url| {
                ui.status(format!("gateway on {url}"));
                ui.hint(format!(
                    "its secret is in `{}`",
                    install.paths.gateway_secret().display()
                ));
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
