//! The command line: one verb per file, each an `Args` and a `run`. This file knows the tree of
//! verbs, the global flags, and how an error becomes an exit code.

mod agent;
mod completions;
mod context;
mod courier;
mod fleet;
mod gateway;
mod internal;
mod node;
mod pin;
#[cfg(test)]
mod reference;
mod runtime;
mod there;
mod yolo;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::error::Result;
use crate::ui::{Color, Ui};

pub use context::Context;

/// Runs a fleet of long-lived coding agents as systemd user services on a dedicated tmux server
#[derive(Debug, Parser)]
#[command(
    name = "mosaic",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Args)]
struct Global {
    /// Roster file [default: $XDG_CONFIG_HOME/mosaic/fleet/roster.yaml]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "MOSAIC_CONFIG",
        hide_env_values = true
    )]
    config: Option<PathBuf>,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    color: Color,
    /// Say more on standard error; twice for debugging (MOSAIC_LOG sets it in detail)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Print no progress and no hints
    #[arg(short, long, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The fleet as a whole: set up, converge, start, stop, prove
    #[command(subcommand)]
    Fleet(fleet::Verb),
    /// Single agents: look, attach, send, reset
    #[command(subcommand)]
    Agent(agent::Verb),
    /// Agent CLIs: what is known of them, and how to get to know another one
    #[command(subcommand)]
    Runtime(runtime::Verb),
    /// The resident that delivers what waits and tells of changes
    #[command(subcommand)]
    Courier(courier::Verb),
    /// Agents as nodes: how they are, and where the next chat goes
    #[command(subcommand)]
    Node(node::Verb),
    /// Which chat is on which node
    #[command(subcommand)]
    Pin(pin::Verb),
    /// One local URL for every node of the fleet
    #[command(subcommand)]
    Gateway(gateway::Verb),
    /// Become an agent CLI, here, without permission questions
    Yolo(yolo::Args),
    /// Print a completion script for a shell
    Completions(completions::Args),
    /// Write the man pages into a directory
    Man(completions::ManArgs),
    /// What units and panes run; not for people
    #[command(subcommand, hide = true)]
    Internal(internal::Verb),
}

/// Parses the command line, runs the verb, prints its error, returns the exit status.
pub fn main() -> ExitCode {
    clap_complete::CompleteEnv::with_factory(command).complete();
    let args = expand_alias(std::env::args_os().collect());
    let matches = match command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(e) => {
            let _ = e.print();
            return ExitCode::from(u8::try_from(e.exit_code()).unwrap_or(2));
        }
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            return ExitCode::from(2);
        }
    };
    init_tracing(cli.global.verbose, cli.global.color);
    let ui = Ui::new(cli.global.color, cli.global.quiet).saying_more(cli.global.verbose > 0);
    let mut tree = command();
    tree.build();
    let verb = there::Verb::of(tree, &matches);
    match run(&ui, cli, &verb) {
        Ok(code) => code,
        Err(error) => {
            ui.error(&error);
            ExitCode::from(error.kind.exit_code())
        }
    }
}

/// The whole command tree, for parsing, completions and the reference.
pub fn command() -> clap::Command {
    Cli::command()
}

fn run(ui: &Ui, cli: Cli, verb: &there::Verb<'_>) -> Result<ExitCode> {
    let config = cli.global.config;
    let context = || Context::new(ui, config.as_deref());
    if let Some(host) = verb.host() {
        return match cli.command {
            Command::Agent(agent::Verb::Send(args)) => {
                agent::send_there(&context()?, &args, verb, host)
            }
            Command::Agent(agent::Verb::Ask(args)) => {
                agent::send_there(&context()?, args.send()?, verb, host)
            }
            _ => there::forward(&context()?, verb, host),
        };
    }
    match cli.command {
        Command::Fleet(verb) => fleet::run(&context()?, verb),
        Command::Agent(verb) => agent::run(&context, verb),
        Command::Runtime(verb) => runtime::run(&context()?, verb),
        Command::Courier(verb) => courier::run(&context, verb),
        Command::Node(verb) => node::run(&context()?, verb),
        Command::Pin(verb) => pin::run(&context()?, verb),
        Command::Gateway(verb) => gateway::run(&context, verb),
        Command::Yolo(args) => yolo::run(&context()?, &args),
        Command::Completions(args) => completions::run(ui, &args),
        Command::Man(args) => completions::man(ui, &args),
        Command::Internal(verb) => internal::run(verb),
    }
}

/// `fleet x` and `agent x` mean `mosaic fleet x` and `mosaic agent x` when the program is called so.
fn expand_alias(mut args: Vec<OsString>) -> Vec<OsString> {
    let name = args.first().map(|a| {
        std::path::Path::new(a)
            .file_name()
            .unwrap_or_default()
            .to_owned()
    });
    if let Some(name) = name.filter(|n| n == "fleet" || n == "agent") {
        args.insert(1, name);
        // Usage lines begin with this word.
        args[0] = "mosaic".into();
    }
    args
}

fn init_tracing(verbose: u8, color: Color) {
    use tracing_subscriber::EnvFilter;
    let level = match verbose {
        0 => "warn",
        1 => "mosaic=info,warn",
        _ => "mosaic=debug,info",
    };
    let filter = EnvFilter::try_from_env("MOSAIC_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never
            }
        })
        .with_target(false)
        .without_time()
        .init();
}

/// Exit status 1 without an error message: what was printed is the answer.
fn answer_no() -> ExitCode {
    ExitCode::from(crate::error::Kind::No.exit_code())
}

/// Exit status of a yes-or-no answer.
fn answer(yes: bool) -> ExitCode {
    if yes { ExitCode::SUCCESS } else { answer_no() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_tree_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn the_links_are_the_same_binary() {
        let e = |v: &[&str]| {
            expand_alias(v.iter().map(OsString::from).collect())
                .into_iter()
                .map(|s| s.to_string_lossy().into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(e(&["/usr/bin/fleet", "plan"]), ["mosaic", "fleet", "plan"]);
        assert_eq!(e(&["agent", "send"]), ["mosaic", "agent", "send"]);
        assert_eq!(e(&["mosaic", "fleet"]), ["mosaic", "fleet"]);
    }
}
