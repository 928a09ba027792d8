//! mosaic runs a fleet of long-lived coding agents as systemd user services on a dedicated tmux
//! server, delivers messages into them with proof, and resets them between tasks.
pub mod delivery;
pub mod error;
pub mod fleet;
pub mod host;
pub mod install;
pub mod launch;
pub mod names;
pub mod paths;
pub mod record;
pub mod report;
pub mod roster;
pub mod runtime;
pub mod state;
pub mod terminal;
pub mod unit;
