//! Empties an agent's context between tasks, by its runtime's own command or by a restart with a
//! fresh conversation, and sends the kickstart afterwards. A turn is interrupted only where that is
//! asked for: else a working agent is waited for, and then refused.

mod command;
mod forget;
mod idle;
mod interrupt;
mod permission;
mod report;
mod restart;

use std::time::{Duration, Instant};

use super::kickstart::{self, sent_since};
use super::send::DEFAULT_WAIT;
use crate::error::Result;
use crate::fleet::KickstartOn;
use crate::install::Install;
use crate::launch::Launch;
use crate::record;
use crate::state::observe;
use command::{by_command, by_its_server};
use restart::by_restart;

pub use forget::forget_conversation;
pub use interrupt::interrupt;
pub use permission::{Permitted, permitted};
pub use report::{Mode, ResetReport};

/// How long a restarted agent may take to its prompt, unless told otherwise. The slowest measured one
/// takes nine seconds on an idle machine.
const READY_WAIT: Duration = Duration::from_secs(30);

/// How to reset.
#[derive(Debug, Clone)]
pub struct ResetOptions {
    /// How long to wait for the agent to be idle.
    pub wait: Duration,
    /// How long a restarted agent may take to its prompt.
    pub ready_wait: Duration,
    /// Restart whatever the agent is doing, and give a draft up. The commands are never typed into a
    /// working agent.
    pub force: bool,
    /// Break a turn that is under way off.
    pub interrupt: bool,
    /// Short name of this host, for the kickstart.
    pub host: String,
}

impl ResetOptions {
    /// The usual ones.
    pub fn new(host: String) -> Self {
        Self {
            wait: DEFAULT_WAIT,
            ready_wait: READY_WAIT,
            force: false,
            interrupt: false,
            host,
        }
    }
}

/// What a way of resetting found out.
struct Done {
    evidence: Vec<String>,
    conversation: Option<String>,
    /// A proof that is still to come.
    pending: Option<command::Pending>,
}

fn has_draft(install: &Install, launch: &Launch) -> bool {
    let panes = install.tmux().panes().unwrap_or_default();
    observe(install, launch, &panes, true).draft().is_some()
}

/// Resets. `restart` stops the agent and starts it again, and returns once it runs; it is called
/// after the conversation was forgotten, so that the start begins a new one.
pub fn reset(
    install: &Install,
    launch: &Launch,
    asked: Mode,
    options: &ResetOptions,
    restart: &dyn Fn() -> Result<()>,
) -> ResetReport {
    let begun = Instant::now();
    let asked_at = jiff::Timestamp::now();
    let agent = launch.agent.name.as_str();
    let commands = launch.agent.spec.reset.clone().unwrap_or_default();
    let command = match asked {
        Mode::Clear => commands.clear,
        Mode::New => commands.new,
        Mode::Restart => None,
    };
    // Nothing is typed into an agent whose screen cannot be read; and only a new process is sure to be
    // rid of a draft.
    let spec = &launch.agent.spec;
    let command = command.filter(|_| spec.screen.is_some() || by_its_server(spec));
    let fell_back = match &command {
        _ if asked == Mode::Restart => None,
        None => Some(format!(
            "its runtime has no command for `{}`",
            asked.as_str()
        )),
        Some(_) if options.force && has_draft(install, launch) => {
            Some("a draft was given up".to_owned())
        }
        Some(_) => None,
    };
    let (mode, result) = match command.filter(|_| fell_back.is_none()) {
        Some(command) => (asked, by_command(install, launch, &command, options)),
        None => (Mode::Restart, by_restart(install, launch, options, restart)),
    };
    let mut report = ResetReport {
        agent: agent.to_owned(),
        asked,
        mode,
        reset: result.is_ok(),
        evidence: Vec::new(),
        fell_back,
        conversation: None,
        reason: None,
        hint: None,
        retry: false,
        kickstart: None,
        elapsed_ms: 0,
    };
    match result {
        Ok(done) => {
            report.evidence = done.evidence;
            report.conversation = done.conversation;
            let wanted = matches!(
                launch.agent.kickstart_on,
                KickstartOn::Reset | KickstartOn::Both
            );
            // A restart is a start, and that may have sent it.
            if mode == Mode::Restart && sent_since(install, agent, asked_at) {
                report
                    .evidence
                    .push("its start sent the kickstart".to_owned());
            } else if wanted {
                report.kickstart = kickstart::kickstart(install, launch, &options.host);
            }
            if let Some(pending) = done.pending {
                pending.settle(install, launch, &mut report);
            }
        }
        Err(stop) => {
            report.retry = stop.retry && !stop.touched();
            report.reason = Some(stop.reason);
            report.hint = stop.hint;
        }
    }
    report.elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let detail = match &report.reason {
        Some(reason) => format!("{} failed: {reason}", mode.as_str()),
        None => mode.as_str().to_owned(),
    };
    record::event(
        &install.paths,
        agent,
        record::What::Command {
            verb: "reset".into(),
            detail,
        },
    );
    report
}
