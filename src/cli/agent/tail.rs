//! `mosaic agent tail`: the end of an agent's terminal.

use std::process::ExitCode;
use std::time::Duration;

use crate::cli::Context;
use crate::cli::context::complete_agents;
use crate::cli::there::HostArg;
use crate::error::{Error, Result};
use crate::host::interrupt::Interrupt;
use crate::names::AgentName;
use crate::terminal::pane::{Found, find, foreign};
use crate::ui;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The agent
    #[arg(add = clap_complete::ArgValueCandidates::new(complete_agents))]
    agent: AgentName,
    #[command(flatten)]
    there: HostArg,
    /// How many lines
    #[arg(short = 'n', long, default_value_t = 80)]
    lines: usize,
    /// Go on printing lines as they appear
    #[arg(short, long)]
    follow: bool,
    /// Keep colours and styles
    #[arg(long)]
    styled: bool,
}

/// How often a followed pane is looked at.
const PERIOD: Duration = Duration::from_millis(300);

/// Runs it.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    let install = context.install()?;
    context.launch(&args.agent)?;
    let tmux = install.tmux();
    let panes = tmux.panes()?;
    let pane = match find(&panes, args.agent.as_str()) {
        Found::Ours(pane) => pane.id.clone(),
        Found::Foreign => return Err(foreign(&install, args.agent.as_str())),
        Found::Vacant | Found::Missing => {
            return Err(Error::no(format!("`{}` has no pane", args.agent))
                .hint(format!("start it: `mosaic fleet start {}`", args.agent)));
        }
    };
    let look = || -> Result<Vec<String>> {
        let lines = u32::try_from(args.lines).unwrap_or(u32::MAX).max(1);
        let text = tmux.history(&pane, lines, args.styled)?;
        let mut rows: Vec<String> = text
            .trim_end()
            .lines()
            .skip_while(|l| l.trim().is_empty())
            .map(|l| l.trim_end().to_owned())
            .collect();
        let skip = rows.len().saturating_sub(args.lines);
        rows.drain(..skip);
        Ok(rows)
    };
    let print = |row: &String| match args.styled {
        // tmux writes these sequences itself, of what it understood.
        true => context.ui.write(&format!("{row}\n")),
        false => context.ui.line(ui::plain(row)),
    };
    let mut shown = look()?;
    shown.iter().for_each(print);
    if !args.follow {
        return Ok(ExitCode::SUCCESS);
    }
    let interrupt = Interrupt::listen()?;
    while !interrupt.is_set() && !context.ui.closed() {
        std::thread::sleep(PERIOD);
        let now = look()?;
        fresh(&shown, &now).iter().for_each(print);
        shown = now;
    }
    Ok(ExitCode::SUCCESS)
}

/// The rows of `now` that come after what `before` ended with: the longest end of `before` that is a
/// beginning of `now`, as when a terminal has scrolled; else the rows from the first change on.
fn fresh<'n>(before: &[String], now: &'n [String]) -> &'n [String] {
    let same = before.iter().zip(now).take_while(|(a, b)| a == b).count();
    if same > 0 || before.is_empty() {
        return &now[same..];
    }
    let overlap = (1..=before.len().min(now.len()))
        .rev()
        .find(|n| before[before.len() - n..] == now[..*n])
        .unwrap_or(0);
    &now[overlap..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_rows_are_printed() {
        let v = |s: &str| s.chars().map(String::from).collect::<Vec<_>>();
        let f = |a: &str, b: &str| fresh(&v(a), &v(b)).concat();
        assert_eq!(f("abc", "abcd"), "d");
        assert_eq!(f("abc", "bcd"), "d");
        assert_eq!(f("abc", "abc"), "");
        assert_eq!(f("abc", "abx"), "x");
        assert_eq!(f("abc", "xyz"), "xyz");
        assert_eq!(f("", "x"), "x");
    }
}
