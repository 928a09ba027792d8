//! `mosaic agent explain`: what an agent does, and how that is known.

use std::process::ExitCode;

use crate::cli::Context;
use crate::cli::context::complete_agents;
use crate::error::Result;
use crate::explain::{self, Explanation};
use crate::names::AgentName;
use crate::ui::{self, one_line, span};

/// Most of a row that is shown; rules span whole panes.
const ROW: usize = 80;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The agent
    #[arg(add = clap_complete::ArgValueCandidates::new(complete_agents))]
    agent: AgentName,
    /// JSON
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    let install = context.install()?;
    let launch = context.launch(&args.agent)?;
    let explanation = explain::explain(&install, &launch)?;
    if args.json {
        context.ui.json(&explanation);
    } else {
        print(context, &explanation);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(context: &Context<'_>, e: &Explanation) {
    let say = |label: &str, text: &str| {
        let strong = ui::Tone::Strong.style();
        context
            .ui
            .line(format!("{strong}{label:<11}{strong:#}{}", one_line(text)));
    };
    let since = e.evidence.since.map(|t| {
        let ago = jiff::Timestamp::now().as_second() - t.as_second();
        format!(" since {t:.0} ({} ago)", span(ago))
    });
    say(
        "state",
        &format!("{}{}", e.state, since.unwrap_or_default()),
    );
    say("because", &e.evidence.to_string());
    say("authority", &e.authority.name);
    for said in &e.authority.last {
        say("", &format!("{:>6} ms ago  {}", said.age_ms, said.what));
    }
    if !e.title.text.is_empty() {
        say(
            "title",
            &format!("`{}` tells {}", e.title.text, e.title.tells),
        );
    }
    for (at, m) in e.matched.iter().enumerate() {
        let label = if at == 0 { "rules" } else { "" };
        let text: String = m.text.chars().take(ROW).collect();
        say(label, &format!("{:<8} row {:>3}  {text}", m.rule, m.row));
    }
    match &e.input {
        Some(input) if input.text.is_empty() => say("box", input.holds),
        Some(input) => say(
            "box",
            &format!(
                "{}{}: `{}`",
                input.holds,
                if input.tail {
                    ", only its end is shown"
                } else {
                    ""
                },
                input.text
            ),
        ),
        None if e.pane.is_some() => say("box", "none is seen"),
        None => {}
    }
    if let Some(question) = &e.question {
        say(
            "asks",
            &format!("{} (question {})", question.question, question.id),
        );
        for choice in &question.options {
            let means = match Some(choice.number) {
                n if n == question.approve => "  (approve)",
                n if n == question.deny => "  (deny)",
                _ => "",
            };
            let mark = if choice.selected { ">" } else { " " };
            say(
                "",
                &format!("{mark} {}. {}{means}", choice.number, choice.label),
            );
        }
    }
    for (at, way) in e.channels.iter().enumerate() {
        let label = if at == 0 { "channels" } else { "" };
        let kind = way.channel.as_str();
        match (&way.why, way.taken) {
            (Some(why), _) => say(label, &format!("{kind}: not open: {why}")),
            (None, true) => say(label, &format!("{kind}: a message takes this one")),
            (None, false) => say(label, &format!("{kind}: open")),
        }
    }
    if e.channels.is_empty() {
        say("channels", "none: nothing is ever sent to it");
    }
    if let Some(held) = &e.held_back {
        say("", held);
    }
    if let Some(pane) = &e.pane {
        let mode = if pane.in_mode { ", in copy mode" } else { "" };
        say(
            "pane",
            &format!(
                "{} of session {}, {}x{}, {} viewers{mode}",
                pane.id, pane.session, pane.size.0, pane.size.1, pane.viewers
            ),
        );
        let who = pane
            .foreground
            .as_deref()
            .unwrap_or("nothing that is known");
        let own = if pane.agent_in_foreground {
            "the agent: "
        } else {
            "not the agent: "
        };
        say("foreground", &format!("{own}{who}"));
    } else {
        say("pane", "none");
    }
    match &e.process {
        Some(p) if p.alive => say("process", &format!("{} since {:.0}", p.pid, p.started)),
        Some(p) => say("process", &format!("{} is gone", p.pid)),
        None => say("process", "not started since boot"),
    }
    if let Some(exit) = &e.last_exit {
        say("last exit", exit);
    }
    for (at, line) in e.otherwise.iter().enumerate() {
        say(if at == 0 { "otherwise" } else { "" }, line);
    }
    for (at, line) in e.missing.iter().enumerate() {
        say(if at == 0 { "missing" } else { "" }, line);
    }
}
