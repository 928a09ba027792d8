//! `mosaic node show`: all that is known of one node.

use std::process::ExitCode;

use serde::Serialize;

use super::document::{NodeDocument, VERSION, document};
use crate::cli::Context;
use crate::cli::context::{complete_agents, unknown_agent};
use crate::error::{Error, Result};
use crate::routing::choose::Chooser;
use crate::routing::pins::Pin;
use crate::ui::{bytes, one_line};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The node, by exact name
    #[arg(value_name = "NODE", add = clap_complete::ArgValueCandidates::new(complete_agents))]
    node: String,
    /// JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown<'a> {
    version: u32,
    node: NodeDocument<'a>,
    /// The chats on it.
    pins: Vec<Pin>,
}

/// Runs it.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    let chooser = Chooser::new(&context.install()?)?;
    let pins = chooser.pins()?;
    let ledger = pins.ledger()?;
    let node = document(&chooser, &ledger)
        .nodes
        .into_iter()
        .find(|n| n.id == args.node)
        .ok_or_else(|| unknown(context, &args.node))?;
    let mut chats = pins.list()?;
    chats.retain(|p| p.node == args.node);
    if args.json {
        context.ui.json(&Shown {
            version: VERSION,
            node,
            pins: chats,
        });
    } else {
        print(context, &node, &chats);
    }
    Ok(ExitCode::SUCCESS)
}

fn unknown(context: &Context<'_>, name: &str) -> Error {
    let installed = crate::launch::installed(&context.paths);
    if installed.iter().any(|n| n == name) {
        return Error::config(format!("the agent `{name}` is disabled, so it is no node"))
            .hint("`enabled: true` in the roster, then `mosaic fleet up`");
    }
    unknown_agent(name, &installed)
}

fn print(context: &Context<'_>, node: &NodeDocument<'_>, chats: &[Pin]) {
    let line = |name: &str, value: &str| {
        context.ui.line(format!("{name:<12} {}", one_line(value)));
    };
    line("node", node.id);
    line("host", node.host);
    line("class", node.class);
    line("runtime", node.runtime);
    line("dialect", node.dialect.as_str());
    line("endpoint", node.endpoint.as_deref().unwrap_or("-"));
    for (key, value) in node.labels {
        line("label", &format!("{key}={value}"));
    }
    if let Some(model) = node.model_hint {
        line("model hint", model);
    }
    line("directory", &node.working_directory.display().to_string());
    line("priority", &node.priority.to_string());
    line("state", node.state);
    line("health", node.health.unwrap_or("unknown"));
    if !node.why.is_empty() {
        line("because", node.why);
    }
    if let Some(at) = node.observed {
        line("observed", &at.to_string());
    }
    if let (Some(load), Some(rtt)) = (node.load, node.rtt_ms) {
        line("round trip", &format!("{rtt:.2} ms"));
        line(
            "processor",
            &format!("{:.1} % of the host", load.cpu_load_pct),
        );
        line(
            "memory",
            &format!("{:.1} % of the host", load.memory_used_pct),
        );
        if let Some(own) = load.agent_memory_bytes {
            line("own memory", &bytes(own));
        }
        if let Some(own) = load.agent_cpu_seconds {
            line("own cpu", &format!("{own:.1} s"));
        }
        line("disk free", &bytes(load.disk_available_bytes));
    }
    if let (Some(terms), Some(score)) = (node.terms, node.score) {
        line(
            "score",
            &format!(
                "{score:.1} = {:.1} round trip + {:.1} chats + {:.1} processor + {:.1} memory",
                terms.rtt, terms.active_chats, terms.cpu_load, terms.memory_used
            ),
        );
    }
    let most = node.max_chats.map_or(String::new(), |m| format!(" of {m}"));
    line("chats", &format!("{}{most}", node.chats));
    for pin in chats {
        line("chat", &pin.chat);
    }
    for rejection in &node.rejected {
        line(
            "gets none",
            &format!("{}: it {}", rejection.filter.as_str(), rejection.why),
        );
    }
}
