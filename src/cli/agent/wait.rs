//! `mosaic agent wait`: until agents are in a state.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cli::Context;
use crate::cli::context::Selection;
use crate::error::{Error, Kind, Result};
use crate::host::interrupt::Interrupt;
use crate::state::{Evidence, State};
use crate::watch::{Asks, Other, Watcher, Whom};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    selection: Selection,
    /// For which state; several, parted by commas, for any of them
    #[arg(
        long = "for",
        value_name = "STATE",
        value_enum,
        value_delimiter = ',',
        default_value = "idle"
    )]
    states: Vec<Wanted>,
    /// How long, in seconds [default: without end]
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<f64>,
    /// The first agent that is there is enough
    #[arg(long)]
    any: bool,
    /// JSON
    #[arg(long)]
    json: bool,
}

/// A state to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Wanted {
    /// It stands at its prompt with nothing to do
    Idle,
    /// It asks a person something
    Waiting,
    /// It is in a turn
    Working,
    /// Its process is gone, whether or not it comes back
    Exited,
    /// Its provider refuses more requests for now
    RateLimited,
}

impl Wanted {
    fn is(self, state: State) -> bool {
        match self {
            Wanted::Idle => state == State::Idle,
            Wanted::Waiting => state == State::Waiting,
            Wanted::Working => state == State::Working,
            Wanted::Exited => matches!(state, State::Exited | State::Failed),
            Wanted::RateLimited => state == State::RateLimited,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Wanted::Idle => "idle",
            Wanted::Waiting => "waiting",
            Wanted::Working => "working",
            Wanted::Exited => "exited",
            Wanted::RateLimited => "rate-limited",
        }
    }
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Answer {
    reached: bool,
    elapsed_ms: u64,
    agents: Vec<One>,
}

#[derive(Debug, Clone, Serialize)]
struct One {
    agent: String,
    reached: bool,
    state: State,
    evidence: Evidence,
}

/// Each agent counts from when it was seen in the state once.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    let install = context.install()?;
    let agents = context.select(&args.selection)?;
    if agents.is_empty() {
        return Err(Error::usage("no agent named")
            .hint("name agents, or use `--class CLASS`: `mosaic agent wait coder0 --for idle`"));
    }
    let begun = Instant::now();
    let until = args.timeout.map(timeout).transpose()?.map(|t| begun + t);
    let interrupt = Interrupt::listen()?;
    let names: BTreeSet<String> = agents.iter().cloned().collect();
    let mut watcher = Watcher::new(&install, Whom::Only(names.clone()), Asks::Clients)?;
    watcher.wait_for(names);
    let mut seen: BTreeMap<String, One> = BTreeMap::new();
    let enough = |seen: &BTreeMap<String, One>| {
        let reached = seen.values().filter(|o| o.reached).count();
        reached == agents.len() || (args.any && reached > 0)
    };
    loop {
        let woken = watcher.next(&[Other::Read(interrupt.as_fd())], until)?;
        for change in woken.changes {
            let before = seen.get(&change.agent);
            if before.is_some_and(|o| o.reached) {
                continue;
            }
            let one = One {
                agent: change.agent.clone(),
                reached: args.states.iter().any(|w| w.is(change.to)),
                state: change.to,
                evidence: change.evidence,
            };
            if one.reached && !args.json {
                let line = format!("{}: {} ({})", one.agent, one.state, one.evidence);
                super::print_outcome(context.ui, true, &line);
            }
            seen.insert(change.agent, one);
        }
        if interrupt.is_set() || enough(&seen) || until.is_some_and(|t| Instant::now() >= t) {
            break;
        }
    }
    let reached = enough(&seen);
    if args.json {
        context.ui.json(&Answer {
            reached,
            elapsed_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            agents: seen.values().cloned().collect(),
        });
    }
    if reached {
        return Ok(ExitCode::SUCCESS);
    }
    if !args.json {
        let wanted: Vec<_> = args.states.iter().map(|w| w.as_str()).collect();
        for agent in &agents {
            let is = match seen.get(agent) {
                Some(one) if one.reached => continue,
                Some(one) => format!("{} ({})", one.state, one.evidence),
                None => "not seen at all".to_owned(),
            };
            let line = format!("{agent}: not {}, but {is}", wanted.join(" or "));
            super::print_outcome(context.ui, false, &line);
        }
    }
    Ok(ExitCode::from(Kind::Busy.exit_code()))
}

/// A time in seconds from the command line.
///
/// # Errors
/// Kind `Usage` when it is none.
pub fn timeout(seconds: f64) -> Result<Duration> {
    // A year: what is longer is meant as "without end", and would overflow the clock.
    const MOST: f64 = 366.0 * 86_400.0;
    let seconds = if seconds > MOST { MOST } else { seconds };
    Duration::try_from_secs_f64(seconds).map_err(|e| {
        Error::usage(format!("`{seconds}` is no time to wait"))
            .because(e)
            .hint("give seconds: `--timeout 60`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_is_none_of_the_states_that_can_be_waited_for() {
        use clap::ValueEnum as _;
        for wanted in Wanted::value_variants() {
            assert!(!wanted.is(State::Unknown) && !wanted.is(State::Starting));
        }
        assert!(Wanted::Exited.is(State::Failed) && !Wanted::Idle.is(State::RateLimited));
    }

    #[test]
    fn times_that_are_none_are_refused() {
        assert!(timeout(-1.0).is_err() && timeout(f64::NAN).is_err());
        assert!(timeout(f64::INFINITY).is_ok());
        assert_eq!(timeout(0.25).ok(), Some(Duration::from_millis(250)));
    }
}
