//! `mosaic fleet verify`: the proof.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::{Context, answer};
use crate::error::Result;
use crate::fleet::Fleet;
use crate::host::files;
use crate::host::interrupt::Interrupt;
use crate::install::Install;
use crate::ui::{self, Tone};
use crate::verify::{self, Check, Outcome, Parts, Report};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// One JSON document
    #[arg(long)]
    json: bool,
    /// Look at the live fleet only
    #[arg(long, conflicts_with = "canary_only")]
    live_only: bool,
    /// Try the canary only
    #[arg(long)]
    canary_only: bool,
    /// Write a JUnit report, too
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// Runs it.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    let install = context.install()?;
    let fleet = context.roster()?;
    let parts = Parts {
        live: !args.canary_only,
        canary: !args.live_only,
    };
    let report = make(context, &install, &fleet, parts, args.json)?;
    if args.json {
        context.ui.json(&report);
    }
    if let Some(path) = &args.junit {
        files::write_atomic(path, junit(&report).as_bytes(), files::PUBLIC)?;
    }
    Ok(answer(report.ok))
}

/// Makes all checks and prints them.
pub fn prove(context: &Context<'_>, install: &Install, fleet: &Fleet, quiet: bool) -> Result<bool> {
    let parts = Parts {
        live: true,
        canary: true,
    };
    make(context, install, fleet, parts, quiet).map(|r| r.ok)
}

fn make(
    context: &Context<'_>,
    install: &Install,
    fleet: &Fleet,
    parts: Parts,
    quiet: bool,
) -> Result<Report> {
    let interrupt = Interrupt::listen()?;
    let report = verify::verify(install, fleet, parts, &interrupt, &|check| {
        if !quiet {
            context.ui.line(line(check));
        }
    })?;
    if !quiet {
        let count = |o| report.checks.iter().filter(|c| c.outcome == o).count();
        context.ui.line(format!(
            "{}: {} passed, {} failed, {} to look at, {} skipped",
            if report.ok {
                "verified"
            } else {
                "NOT verified"
            },
            count(Outcome::Pass),
            count(Outcome::Fail),
            count(Outcome::Warn),
            count(Outcome::Skip)
        ));
    }
    Ok(report)
}

fn line(check: &Check) -> String {
    let (word, tone) = match check.outcome {
        Outcome::Pass => ("ok  ", Tone::Good),
        Outcome::Fail => ("FAIL", Tone::Bad),
        Outcome::Warn => ("warn", Tone::Attention),
        Outcome::Skip => ("skip", Tone::Faint),
    };
    let style = tone.style();
    format!(
        "{style}{word}{style:#}  {}: {} ({} ms)",
        ui::one_line(&check.name),
        ui::one_line(&check.seen),
        check.elapsed_ms
    )
}

/// The report in the form CI systems read.
fn junit(report: &Report) -> String {
    let escape = |text: &str| {
        text.replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&quot;")
    };
    let count = |o| report.checks.iter().filter(|c| c.outcome == o).count();
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"mosaic fleet verify\" tests=\"{}\" failures=\"{}\" skipped=\"{}\">\n",
        report.checks.len(),
        count(Outcome::Fail),
        count(Outcome::Skip)
    );
    for check in &report.checks {
        let inner = match check.outcome {
            Outcome::Fail => format!("<failure message=\"{}\"/>", escape(&check.seen)),
            Outcome::Skip => format!("<skipped message=\"{}\"/>", escape(&check.seen)),
            Outcome::Pass | Outcome::Warn => {
                format!("<system-out>{}</system-out>", escape(&check.seen))
            }
        };
        let seconds = check.elapsed_ms / 1000;
        let rest = check.elapsed_ms % 1000;
        out.push_str(&format!(
            "  <testcase classname=\"{}\" name=\"{}\" time=\"{seconds}.{rest:03}\">{inner}</testcase>\n",
            check.group,
            escape(&check.name)
        ));
    }
    out.push_str("</testsuite>\n");
    out
}
