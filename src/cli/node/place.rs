//! `mosaic node place`: places a chat, or says where it would go, with every node's score and every
//! rejection's reason.

use std::process::ExitCode;

use serde::Serialize;

use super::document::VERSION;
use super::wish::WishArgs;
use crate::cli::{Context, answer};
use crate::error::{Error, Result};
use crate::routing::choose::{Chooser, Source, refusal};
use crate::routing::pins::{Ledger, Pin, Placing};
use crate::routing::placement::{Empty, Reason, Terms, Verdict, Wish};
use crate::ui::{Tone, cell, toned};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    wish: WishArgs,
    /// Pin the chat of this name; without it nothing is pinned
    #[arg(long, value_name = "ID")]
    chat: Option<String>,
    /// Only say where it would go
    #[arg(long)]
    dry_run: bool,
    /// JSON
    #[arg(long)]
    json: bool,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    /// It is pinned now.
    Placed,
    /// It was pinned before.
    WasPinned,
    /// It would go there.
    DryRun,
    /// No node is eligible.
    Refused,
}

/// The document.
#[derive(Debug, Serialize)]
struct Document<'a> {
    version: u32,
    source: Source,
    outcome: Outcome,
    chat: Option<&'a str>,
    node: Option<String>,
    /// What decided; `null` for a chat that was pinned before.
    reason: Option<Reason>,
    score: Option<f64>,
    /// The filter that left none.
    empty: Option<&'a Empty>,
    pin: Option<&'a Pin>,
    nodes: &'a [Verdict],
}

/// What was decided, and by what.
#[derive(Debug, Default)]
struct Decided {
    nodes: Vec<Verdict>,
    node: Option<String>,
    reason: Option<Reason>,
    score: Option<f64>,
    empty: Option<Empty>,
}

impl Decided {
    fn by(chooser: &Chooser, ledger: &Ledger, wish: &Wish) -> Self {
        let nodes = chooser.explain(ledger, wish);
        match chooser.decide(ledger, wish) {
            Ok(placed) => Self {
                nodes,
                node: Some(placed.node.id.clone()),
                reason: Some(placed.reason),
                score: Some(placed.score),
                empty: None,
            },
            Err(empty) => Self {
                nodes,
                empty: Some(empty),
                ..Self::default()
            },
        }
    }
}

/// Runs it.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    let chooser = Chooser::new(&context.install()?)?;
    let wish = args.wish.wish()?;
    let mut pins = chooser.pins()?;
    let mut decided = Decided::default();
    let (outcome, pin) = match args.chat.as_deref().filter(|_| !args.dry_run) {
        Some(chat) => {
            let mut refused = None;
            let placing = pins.place(chat, |ledger| {
                decided = Decided::by(&chooser, ledger, &wish);
                // What is missing of it is why there is none.
                let node = decided.node.as_ref().and_then(|id| chooser.node(id));
                node.map(|k| k.node.clone()).ok_or_else(|| {
                    let error = decided.empty.as_ref().map_or_else(
                        || Error::bug("a node that was chosen is not there"),
                        refusal,
                    );
                    refused = Some(error.clone());
                    error
                })
            });
            match (placing, refused) {
                (Ok(Placing::New(pin)), _) => (Outcome::Placed, Some(pin)),
                (Ok(Placing::Was(pin)), _) => {
                    decided.nodes = chooser.explain(&pins.ledger()?, &wish);
                    (Outcome::WasPinned, Some(pin))
                }
                (Err(_), Some(_)) => (Outcome::Refused, None),
                (Err(e), None) => return Err(e),
            }
        }
        None => {
            let pinned = match &args.chat {
                Some(chat) => pins.pin(chat)?,
                None => None,
            };
            decided = Decided::by(&chooser, &pins.ledger()?, &wish);
            match (pinned, &decided.empty) {
                (Some(pin), _) => (Outcome::WasPinned, Some(pin)),
                (None, None) => (Outcome::DryRun, None),
                (None, Some(_)) => (Outcome::Refused, None),
            }
        }
    };
    if let Some(pin) = &pin {
        decided.node = Some(pin.node.clone());
    }
    if outcome == Outcome::WasPinned {
        (decided.reason, decided.score, decided.empty) = (None, None, None);
    }
    if args.json {
        context.ui.json(&Document {
            version: VERSION,
            source: chooser.source(),
            outcome,
            chat: args.chat.as_deref(),
            node: decided.node.clone(),
            reason: decided.reason,
            score: decided.score,
            empty: decided.empty.as_ref(),
            pin: pin.as_ref(),
            nodes: &decided.nodes,
        });
    } else {
        table(context, &decided);
        say(context, args, outcome, &decided);
    }
    warn(context, &chooser, outcome, &decided);
    if let Some(empty) = decided
        .empty
        .as_ref()
        .filter(|_| outcome == Outcome::Refused)
    {
        return Err(refusal(empty));
    }
    Ok(answer(true))
}

fn table(context: &Context<'_>, decided: &Decided) {
    let term = |terms: Option<Terms>, pick: fn(&Terms) -> f64| {
        cell(terms.map_or("-".to_owned(), |t| format!("{:.1}", pick(&t))))
    };
    let rows: Vec<_> = decided
        .nodes
        .iter()
        .map(|v| {
            let why: Vec<String> = v
                .rejected
                .iter()
                .map(|r| format!("{}: it {}", r.filter.as_str(), r.why))
                .collect();
            vec![
                toned(&v.id, Tone::Strong),
                cell(&v.host),
                cell(v.score.map_or("-".to_owned(), |s| format!("{s:.1}"))),
                term(v.terms, |t| t.rtt),
                term(v.terms, |t| t.active_chats),
                term(v.terms, |t| t.cpu_load),
                term(v.terms, |t| t.memory_used),
                match why.is_empty() {
                    true => toned("eligible", Tone::Good),
                    false => toned("rejected", Tone::Attention),
                },
                cell(match why.is_empty() {
                    true => "-".to_owned(),
                    false => why.join("; "),
                }),
            ]
        })
        .collect();
    context.ui.table(
        &[
            "NODE", "HOST", "SCORE", "RTT", "CHATS", "CPU", "MEMORY", "VERDICT", "WHY",
        ],
        &rows,
    );
}

fn say(context: &Context<'_>, args: &Args, outcome: Outcome, decided: &Decided) {
    let Some(node) = &decided.node else { return };
    let chat = args.chat.as_deref().unwrap_or("a chat");
    let why = match (decided.reason, decided.score) {
        (Some(reason), Some(score)) => format!(" ({reason}, score {score:.1})"),
        _ => String::new(),
    };
    context.ui.line(match outcome {
        Outcome::Placed => format!("{chat}: placed on {node}{why}"),
        Outcome::WasPinned => format!("{chat}: on {node} since before"),
        Outcome::DryRun | Outcome::Refused => format!("{chat} would go to {node}{why}"),
    });
}

/// A pin holds whatever became of its node; whoever asks is told.
fn warn(context: &Context<'_>, chooser: &Chooser, outcome: Outcome, decided: &Decided) {
    if outcome != Outcome::WasPinned {
        return;
    }
    let Some(id) = &decided.node else { return };
    match chooser.advert(id) {
        Some(advert) if advert.health.is_healthy() => {}
        Some(advert) => context.ui.warn(format!(
            "{id} is {}: {}",
            advert.health.as_str(),
            advert.health.why()
        )),
        None => context.ui.warn(format!("{id} is no node any more")),
    }
}
