//! Proof that a fleet is what it should be: checks of the live fleet, which change nothing, and a
//! canary fleet of its own on a private socket, on which crashes are tried for real.

mod canary;
mod live;

use std::time::Instant;

use serde::Serialize;

use crate::error::Result;
use crate::fleet::Fleet;
use crate::host::interrupt::Interrupt;
use crate::install::Install;

/// Version of the JSON document.
pub const VERSION: u32 = 1;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It holds.
    Pass,
    /// It does not.
    Fail,
    /// It holds in general, but somebody should look.
    Warn,
    /// It was not looked at.
    Skip,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// `live` or `canary`.
    pub group: &'static str,
    /// What is claimed.
    pub name: String,
    /// Whether it holds.
    pub outcome: Outcome,
    /// What was seen, or why it was skipped.
    pub seen: String,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
}

/// All checks.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Format version.
    pub version: u32,
    /// No check failed.
    pub ok: bool,
    /// In the order they were made.
    pub checks: Vec<Check>,
}

/// What a check saw, before it has a name and a time.
#[derive(Debug, Clone)]
pub struct Seen(Outcome, String);

impl Seen {
    fn pass(text: impl Into<String>) -> Self {
        Self(Outcome::Pass, text.into())
    }
    fn fail(text: impl Into<String>) -> Self {
        Self(Outcome::Fail, text.into())
    }
    fn warn(text: impl Into<String>) -> Self {
        Self(Outcome::Warn, text.into())
    }
    fn skip(text: impl Into<String>) -> Self {
        Self(Outcome::Skip, text.into())
    }
    fn when(ok: bool, text: impl Into<String>) -> Self {
        Self(if ok { Outcome::Pass } else { Outcome::Fail }, text.into())
    }
}

/// Collects checks and tells each as it comes.
pub struct Journal<'a> {
    group: &'static str,
    checks: Vec<Check>,
    tell: &'a dyn Fn(&Check),
    interrupt: &'a Interrupt,
}

impl Journal<'_> {
    /// Makes a check. An error is a failed check; after an interruption none is made.
    fn check(&mut self, name: impl Into<String>, look: impl FnOnce() -> Result<Seen>) -> bool {
        let begun = Instant::now();
        let Seen(outcome, seen) = if self.interrupt.is_set() {
            Seen::skip("interrupted")
        } else {
            look().unwrap_or_else(|e| Seen::fail(e.to_string()))
        };
        let check = Check {
            group: self.group,
            name: name.into(),
            outcome,
            seen,
            elapsed_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        (self.tell)(&check);
        self.checks.push(check);
        outcome == Outcome::Pass
    }
}

/// What is to be proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// The live fleet.
    pub live: bool,
    /// The canary.
    pub canary: bool,
}

/// Makes all checks. `tell` hears of each as it is made. The canary is removed, also after an
/// interruption.
///
/// # Errors
/// The process cannot listen for signals.
pub fn verify(
    install: &Install,
    fleet: &Fleet,
    parts: Parts,
    interrupt: &Interrupt,
    tell: &dyn Fn(&Check),
) -> Result<Report> {
    let mut journal = Journal {
        group: "live",
        checks: Vec::new(),
        tell,
        interrupt,
    };
    let before = live::default_server(install);
    if parts.live {
        live::check(&mut journal, install, fleet);
    }
    if parts.canary {
        journal.group = "canary";
        canary::check(&mut journal, install);
    }
    journal.group = "live";
    journal.check("default tmux server untouched", || {
        let after = live::default_server(install);
        Ok(match (&before, &after) {
            (None, None) => Seen::pass("no default server, before and after"),
            (Some(a), Some(b)) if a == b => Seen::pass(format!(
                "pid {}, {} sessions, before and after",
                a.0,
                a.1.len()
            )),
            (a, b) => Seen::fail(format!("before {a:?}, after {b:?}")),
        })
    });
    let ok = !interrupt.is_set() && journal.checks.iter().all(|c| c.outcome != Outcome::Fail);
    Ok(Report {
        version: VERSION,
        ok,
        checks: journal.checks,
    })
}
