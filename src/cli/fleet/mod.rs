//! Verbs about the fleet as a whole.

mod apply;
mod doctor;
pub(super) mod events;
mod init;
mod install;
mod jobs;
mod link;
mod plan;
mod roster;
pub(super) mod status;
mod uninstall;
mod up;
mod verify;

use std::process::ExitCode;

use clap::Subcommand;

use super::Context;
use crate::error::Result;

/// Verbs of `mosaic fleet`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Bring a fleet up from nothing: init, install, start, status, verify
    Up(up::Args),
    /// Write a commented roster with the runtimes found on this machine
    Init(init::Args),
    /// Show what would change, and why; exit 0 in sync, 1 otherwise
    Plan(plan::Args),
    /// Bring the machine in line with the roster
    Apply(apply::Args),
    /// Write and enable the units without starting anything
    InstallSystemd(install::Args),
    /// Start agents, or the whole fleet
    Start(jobs::StartArgs),
    /// Stop agents, or the whole fleet
    Stop(jobs::StopArgs),
    /// Restart agents, or all of them
    Restart(jobs::RestartArgs),
    /// Show every agent: unit, state, evidence
    Status(status::Args),
    /// Prove that the fleet is what it should be; changes nothing
    Verify(verify::Args),
    /// Find what keeps a fleet from working on this machine
    Doctor(doctor::Args),
    /// Check the roster
    Validate(roster::ValidateArgs),
    /// Print the roster's JSON Schema
    Schema(roster::SchemaArgs),
    /// Show the log of starts, exits and restarts
    Events(events::Args),
    /// Install the commands `fleet` and `agent` as links to mosaic
    Link(link::Args),
    /// Stop everything and remove what mosaic wrote, but the roster
    Uninstall(uninstall::Args),
}

/// Runs a verb.
pub fn run(context: &Context<'_>, verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Up(args) => up::run(context, &args),
        Verb::Init(args) => init::run(context, &args),
        Verb::Plan(args) => plan::run(context, &args),
        Verb::Apply(args) => apply::run(context, &args),
        Verb::InstallSystemd(args) => install::run(context, &args),
        Verb::Start(args) => jobs::start(context, &args),
        Verb::Stop(args) => jobs::stop(context, &args),
        Verb::Restart(args) => jobs::restart(context, &args),
        Verb::Status(args) => status::run(context, &args),
        Verb::Verify(args) => verify::run(context, &args),
        Verb::Doctor(args) => doctor::run(context, &args),
        Verb::Validate(args) => roster::validate(context, &args),
        Verb::Schema(args) => roster::schema(context, &args),
        Verb::Events(args) => events::run(context, &args),
        Verb::Link(args) => link::run(context, &args),
        Verb::Uninstall(args) => uninstall::run(context, &args),
    }
}
