//! systemd units as text. The templates in `units/` are static; per-agent values go into a drop-in
//! as validated numbers and enumerations, so that no text from a roster is ever read by systemd
//! but escaped absolute paths.

mod dropin;
mod escape;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use crate::install::Install;

pub use dropin::agent_dropin;
pub use escape::{exec_argument, exec_program, path_value};

const HOLDER: &str = include_str!("../../units/mosaic-tmux-holder.service");
const AGENT: &str = include_str!("../../units/mosaic-agent@.service");
const COURIER: &str = include_str!("../../units/mosaic-courier.service");
const GATEWAY: &str = include_str!("../../units/mosaic-gateway.service");
const TARGET: &str = include_str!("../../units/mosaic-fleet.target");

/// A unit file to be written below the user's unit directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitFile {
    /// Path relative to the unit directory.
    pub path: PathBuf,
    /// Content.
    pub text: String,
}

/// The units every fleet has.
pub fn templates(install: &Install) -> Vec<UnitFile> {
    [
        (install.holder_unit(), HOLDER),
        (install.agent_template(), AGENT),
        (install.courier_unit(), COURIER),
        (install.target_unit(), TARGET),
    ]
    .into_iter()
    .map(|(name, text)| UnitFile {
        path: name.into(),
        text: fill(text, install),
    })
    .collect()
}

/// The unit of the gateway, which only some fleets have.
pub fn gateway(install: &Install) -> UnitFile {
    UnitFile {
        path: install.gateway_unit().into(),
        text: fill(GATEWAY, install),
    }
}

fn fill(template: &str, install: &Install) -> String {
    let path = |p: &std::path::Path| exec_argument(&p.to_string_lossy());
    // Programs that systemd refuses were refused at installation.
    let program = |p: &std::path::Path| exec_program(&p.to_string_lossy()).unwrap_or_default();
    let orphans = crate::terminal::holder::orphans_command(install);
    template
        .replace("@PREFIX@", &install.unit_prefix)
        .replace("@MOSAIC@", &program(&install.mosaic))
        .replace("@STATE@", &path(&install.paths.state))
        .replace("@TMUX@", &program(&install.tmux))
        .replace("@SOCKET@", &path(&install.socket))
        .replace("@ORPHANS@", &exec_argument(&orphans))
}
