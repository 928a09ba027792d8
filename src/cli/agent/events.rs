//! `mosaic agent events`: what agents do, as it changes, and what happens to them.

use std::os::fd::AsFd as _;
use std::process::ExitCode;

use serde::Serialize;

use crate::cli::Context;
use crate::cli::context::Selection;
use crate::cli::fleet::events::{describe, local};
use crate::error::Result;
use crate::host::interrupt::Interrupt;
use crate::record::{self, Event, Follow};
use crate::state::{Evidence, State};
use crate::ui::one_line;
use crate::watch::{Asks, Change, Other, Topic, Wanted, Watcher, Whom};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    selection: Selection,
    /// Go on until interrupted
    #[arg(short, long)]
    follow: bool,
    /// Begin with this many of the log's last events
    #[arg(short = 'n', long, default_value_t = 0)]
    lines: usize,
    /// One JSON document per line
    #[arg(long)]
    json: bool,
}

/// A change of state in the shape of the log's events.
#[derive(Debug, Serialize)]
struct StateEvent<'a> {
    time: jiff::Timestamp,
    agent: &'a str,
    event: &'static str,
    /// `null` for the state at the beginning.
    from: Option<State>,
    to: State,
    evidence: &'a Evidence,
}

/// Prints the present state of each, then what changes.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    let install = context.install()?;
    let agents = context.select(&args.selection)?;
    let about = |agent: &str| agents.is_empty() || agents.iter().any(|a| a == agent);
    let interrupt = Interrupt::listen()?;
    let mut follow = Follow::new(&install.paths);
    if args.lines > 0 {
        let mut events = record::events(&install.paths, None);
        events.retain(|e| about(&e.agent));
        let skip = events.len().saturating_sub(args.lines);
        for event in &events[skip..] {
            print_event(context, args.json, event);
        }
    }
    let whom = match agents.is_empty() {
        true => Whom::Everybody,
        false => Whom::Only(agents.iter().cloned().collect()),
    };
    let asks = match args.follow {
        true => Asks::OneClient,
        false => Asks::Clients,
    };
    let mut watcher = Watcher::new(&install, whom, asks)?;
    let log = Wanted::File(install.paths.events());
    watcher.also(&Topic::Log, [log].into());
    let stdout = std::io::stdout();
    loop {
        // Whoever reads a stream of changes waits for each of them.
        let all = watcher.agents().map(str::to_owned).collect();
        watcher.wait_for(all);
        let others = [
            Other::Read(interrupt.as_fd()),
            Other::Closed(stdout.as_fd()),
        ];
        let until = (!args.follow).then(std::time::Instant::now);
        let woken = watcher.next(&others, until)?;
        if interrupt.is_set() {
            return Ok(ExitCode::SUCCESS);
        }
        if woken.topics.contains(&Topic::Log) {
            for event in follow.added(&install.paths) {
                if about(&event.agent) {
                    print_event(context, args.json, &event);
                }
            }
        }
        for change in &woken.changes {
            print_change(context, args.json, change);
        }
        if !args.follow || context.ui.closed() || (woken.called && nobody_reads(&stdout)) {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// Whether the reader at the other end of a pipe has gone.
fn nobody_reads(stdout: &std::io::Stdout) -> bool {
    use rustix::event::{PollFd, PollFlags, poll};
    let mut fds = [PollFd::new(stdout, PollFlags::empty())];
    let now = rustix::time::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut fds, Some(&now)).is_ok_and(|n| n > 0)
}

fn print_change(context: &Context<'_>, json: bool, change: &Change) {
    if json {
        context.ui.json_line(&StateEvent {
            time: change.time,
            agent: &change.agent,
            event: "state",
            from: change.from,
            to: change.to,
            evidence: &change.evidence,
        });
        return;
    }
    let what = match change.from {
        Some(from) => format!("{from} -> {} ({})", change.to, change.evidence),
        None => format!("{} ({})", change.to, change.evidence),
    };
    print_line(context, change.time, &change.agent, &what);
}

fn print_event(context: &Context<'_>, json: bool, event: &Event) {
    if json {
        context.ui.json_line(event);
    } else {
        print_line(context, event.time, &event.agent, &describe(event));
    }
}

fn print_line(context: &Context<'_>, time: jiff::Timestamp, agent: &str, what: &str) {
    context
        .ui
        .line(format!("{}  {agent}  {}", local(time), one_line(what)));
}
