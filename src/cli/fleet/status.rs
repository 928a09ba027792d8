//! `mosaic fleet status`: every agent in one table.

use std::process::ExitCode;
use std::time::Duration;

use crate::cli::Context;
use crate::error::Result;
use crate::host::interrupt::Interrupt;
use crate::install::{Install, Mode};
use crate::state::State;
use crate::status::{self, AgentStatus, Status};
use crate::ui::{self, Tone, cell, toned};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// One JSON document; with --watch one per line
    #[arg(long)]
    json: bool,
    /// Show it again every two seconds until interrupted
    #[arg(long)]
    watch: bool,
}

/// Runs it.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    let install = context.install()?;
    if args.watch {
        return watch(context, &install, args.json);
    }
    if args.json {
        context.ui.json(&status::collect(&install)?);
        return Ok(ExitCode::SUCCESS);
    }
    show(context, &install)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the table.
pub fn show(context: &Context<'_>, install: &Install) -> Result<()> {
    print(context, &status::collect(install)?, None);
    Ok(())
}

/// Prints the table for the agents named.
pub fn print(context: &Context<'_>, status: &Status, only: Option<&[String]>) {
    let agents: Vec<&AgentStatus> = status
        .agents
        .iter()
        .filter(|a| only.is_none_or(|names| names.contains(&a.name)))
        .collect();
    let rows: Vec<_> = agents.iter().map(|a| row(a)).collect();
    context.ui.table(
        &[
            "AGENT",
            "CLASS",
            "RUNTIME",
            "UNIT",
            "STATE",
            "SINCE",
            "RESTARTS",
            "LAST EXIT",
            "MEMORY",
            "PID",
            "PANE",
            "VIEWERS",
            "EVIDENCE",
        ],
        &rows,
    );
    if only.is_none() {
        let server = if status.server.up { "up" } else { "down" };
        let keeper = match status.mode {
            Mode::Systemd => "systemd",
            Mode::Supervisor => "supervisors, no systemd",
        };
        context.ui.status(format!(
            "tmux server {server} on {} ({} restarts); {} agents under {keeper}",
            status.server.socket.display(),
            status.server.restarts,
            status.agents.len()
        ));
        if let Some(courier) = &status.courier {
            let now = jiff::Timestamp::now();
            context.ui.status(format!(
                "courier: pid {}, for {}",
                courier.pid,
                ui::span(now.as_second() - courier.since.as_second())
            ));
        } else if status.server.up {
            context
                .ui
                .warn("no courier: messages that wait are delivered only by the next `agent send`");
        }
        if let Some(gateway) = &status.gateway {
            let now = jiff::Timestamp::now();
            context.ui.status(format!(
                "gateway: {}, pid {}, for {}",
                gateway.url.as_deref().unwrap_or("waits for its port"),
                gateway.pid,
                ui::span(now.as_second() - gateway.since.as_second())
            ));
        } else if status.server.up && status.wants_gateway {
            context
                .ui
                .warn("no gateway: clients find no node of the fleet");
        }
    }
    for agent in agents {
        for problem in &agent.problems {
            context.ui.warn(format!("{}: {problem}", agent.name));
        }
        if agent.state == State::Waiting {
            let name = &agent.name;
            if let Some(question) = &agent.question {
                context
                    .ui
                    .status(format!("{name} asks: {}", question.question));
                for choice in &question.options {
                    context
                        .ui
                        .status(format!("  {}. {}", choice.number, choice.label));
                }
            }
            context.ui.hint(format!(
                "{name} asks for something; answer it: `mosaic agent approve {name}`, `mosaic agent deny {name}`, or `mosaic agent attach {name}`"
            ));
        }
    }
}

fn row(a: &AgentStatus) -> Vec<ui::TableCell> {
    let unit = format!("{}/{}", a.active, a.sub);
    let unit_tone = match a.active.as_str() {
        "active" => Tone::Good,
        "failed" => Tone::Bad,
        "activating" | "deactivating" => Tone::Attention,
        _ => Tone::Faint,
    };
    let state_tone = match a.state {
        State::Idle => Tone::Good,
        State::Working => Tone::Strong,
        State::Waiting | crate::state::State::RateLimited | State::Starting => Tone::Attention,
        State::Failed => Tone::Bad,
        State::Unknown | State::Exited => Tone::Faint,
    };
    let dash = |text: Option<String>| cell(text.unwrap_or_else(|| "-".to_owned()));
    let now = jiff::Timestamp::now();
    // A table cell holds a phrase; the whole reason is in `fleet events` and in the JSON.
    let short = |text: &str| {
        if text.chars().count() > 40 {
            format!("{}…", text.chars().take(39).collect::<String>())
        } else {
            text.to_owned()
        }
    };
    vec![
        toned(&a.name, Tone::Strong),
        cell(&a.class),
        cell(&a.runtime),
        toned(unit, unit_tone),
        toned(a.state.to_string(), state_tone),
        dash(a.since.map(|t| ui::span(now.as_second() - t.as_second()))),
        cell(a.restarts.to_string()),
        dash(a.last_exit.as_deref().map(short)),
        dash(a.memory.map(ui::bytes)),
        dash(a.pid.map(|p| p.to_string())),
        dash(a.pane.clone()),
        cell(a.viewers.to_string()),
        toned(a.evidence.to_string(), Tone::Faint),
    ]
}

fn watch(context: &Context<'_>, install: &Install, json: bool) -> Result<ExitCode> {
    const PERIOD: Duration = Duration::from_secs(2);
    let interrupt = Interrupt::listen()?;
    while !interrupt.is_set() && !context.ui.closed() {
        let status = status::collect(install)?;
        if json {
            context.ui.json_line(&status);
        } else {
            context.ui.write("\x1b[H\x1b[2J");
            print(context, &status, None);
        }
        let mut left = PERIOD;
        let step = Duration::from_millis(100);
        while !left.is_zero() && !interrupt.is_set() {
            std::thread::sleep(step);
            left = left.saturating_sub(step);
        }
    }
    Ok(ExitCode::SUCCESS)
}
