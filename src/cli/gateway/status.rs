//! `mosaic gateway status`: whether it runs, where clients find it, and what it has to give.

use std::path::PathBuf;
use std::process::ExitCode;

use jiff::Timestamp;
use serde::Serialize;

use crate::cli::{Context, answer};
use crate::error::Result;
use crate::gateway::{ask, listen};
use crate::resident::Resident;
use crate::routing::choose::Chooser;
use crate::routing::node::Dialect;
use crate::ui::{Tone, cell, span, toned};

/// Version of the document.
const VERSION: u32 = 1;

/// How long it may take to say that it is up; it does so by itself, in milliseconds.
const WAIT: std::time::Duration = std::time::Duration::from_secs(3);

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// One JSON document
    #[arg(long)]
    json: bool,
}

/// All of it.
#[derive(Debug, Serialize)]
struct Document {
    version: u32,
    /// It runs and answers.
    running: bool,
    pid: Option<i32>,
    since: Option<Timestamp>,
    mosaic: Option<String>,
    /// Where clients find it, or would.
    url: String,
    /// The file with the secret that they give.
    secret_file: PathBuf,
    /// The fleet starts it by itself.
    resident: bool,
    /// Why it does not answer.
    problem: Option<String>,
    nodes: Vec<NodeDocument>,
}

#[derive(Debug, Serialize)]
struct NodeDocument {
    id: String,
    dialect: Dialect,
    health: Option<&'static str>,
    why: String,
    chats: u32,
    drained: bool,
}

/// Runs it. Exit 0 when it runs and answers, else 1.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    let document = look(context)?;
    if args.json {
        context.ui.json(&document);
    } else {
        print(context, &document);
    }
    Ok(answer(document.running))
}

fn look(context: &Context<'_>) -> Result<Document> {
    let install = context.install()?;
    let chooser = Chooser::new(&install)?;
    let ledger = chooser.pins()?.ledger()?;
    let resident = chooser.policy().gateway;
    let record = Resident::Gateway.running(&install);
    let problem = match record.as_ref().map(|r| r.listens.as_ref()) {
        None if !resident => Some("it does not run".to_owned()),
        // One that is kept by the fleet tries again and again.
        None | Some(None) => {
            let taken = listen::port_is_taken(&install).map(|e| e.to_string());
            taken.or_else(|| Some("it does not listen".to_owned()))
        }
        Some(Some(at)) => match ask::get(at, "/status", None, WAIT) {
            Ok(answer) if answer.status.is_success() => None,
            Ok(answer) => Some(format!("it answers {}", answer.status)),
            Err(e) => Some(e.causes.first().cloned().unwrap_or(e.message)),
        },
    };
    let nodes = chooser.nodes().iter().map(|known| {
        let node = &known.node;
        let health = chooser.advert(&node.id).map(|advert| &advert.health);
        NodeDocument {
            id: node.id.clone(),
            dialect: node.dialect,
            health: health.map(|h| h.as_str()),
            why: health.map(|h| h.why().to_owned()).unwrap_or_default(),
            chats: ledger.chats.get(&node.id).copied().unwrap_or(0),
            drained: ledger.drained.contains(&node.id),
        }
    });
    Ok(Document {
        version: VERSION,
        running: problem.is_none(),
        pid: record.as_ref().map(|r| r.pid),
        since: record.as_ref().map(|r| r.started),
        mosaic: record.as_ref().map(|r| r.mosaic.clone()),
        url: listen::url(&install)?,
        secret_file: install.paths.gateway_secret(),
        resident,
        problem,
        nodes: nodes.collect(),
    })
}

fn print(context: &Context<'_>, document: &Document) {
    let rows: Vec<_> = document
        .nodes
        .iter()
        .map(|node| {
            let health = node.health.unwrap_or("unknown");
            let tone = match health {
                "healthy" => Tone::Good,
                "unfit" | "unknown" => Tone::Attention,
                _ => Tone::Bad,
            };
            let why = match (node.drained, node.why.as_str()) {
                (true, "") => "drained",
                (_, "") => "-",
                (_, why) => why,
            };
            vec![
                toned(&node.id, Tone::Strong),
                cell(node.dialect.as_str()),
                toned(health, tone),
                cell(node.chats.to_string()),
                toned(why, Tone::Faint),
            ]
        })
        .collect();
    context
        .ui
        .table(&["NODE", "DIALECT", "HEALTH", "CHATS", "WHY NOT"], &rows);
    match (document.pid, document.since) {
        (Some(pid), Some(since)) if document.running => context.ui.status(format!(
            "gateway on {}, pid {pid}, for {}",
            document.url,
            span(Timestamp::now().as_second() - since.as_second())
        )),
        _ => {
            let problem = document.problem.as_deref().unwrap_or_default();
            context.ui.warn(format!("no gateway: {problem}"));
            context.ui.hint(match document.resident {
                true => "`mosaic fleet start` starts it",
                false => {
                    "`mosaic gateway run` runs it here; `routing: {gateway: true}` in the roster lets the fleet start it"
                }
            });
        }
    }
    context.ui.status(format!(
        "its secret is in {}",
        document.secret_file.display()
    ));
}
