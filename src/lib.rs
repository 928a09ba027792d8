//! mosaic runs a fleet of long-lived coding agents as systemd user services on a dedicated tmux
//! server, delivers messages into them with proof, and resets them between tasks.
pub mod apply;
pub mod approval;
pub mod cli;
pub mod converge;
pub mod courier;
pub mod delivery;
pub mod demo;
pub mod desired;
pub mod doctor;
pub mod error;
pub mod explain;
pub mod fleet;
#[cfg(test)]
mod golden;
pub mod host;
pub mod install;
pub mod inventory;
pub mod launch;
pub mod learn;
pub mod names;
pub mod notices;
pub mod paths;
pub mod plan;
pub mod record;
pub mod remote;
pub mod report;
pub mod roster;
pub mod runtime;
pub mod services;
pub mod state;
pub mod status;
pub mod terminal;
pub mod ui;
pub mod unit;
pub mod verify;
pub mod watch;
pub mod yolo;
