//! What is installed of a runtime on this machine, and what of it is known: program, version, rules,
//! ways in, and how far a receipt goes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::{RuntimeSpec, TranscriptFormat};
use crate::delivery::channel::ChannelKind;
use crate::host::process;
use crate::state::screen::Rules;

/// For one question about a version. Measured: 0.1 to 1.5 s on an idle machine; node starts slowly on a
/// busy one.
const PROBE: Duration = Duration::from_secs(10);

/// How the installed version stands to the tested ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tested {
    /// It is one of them.
    Ok,
    /// It is newer than the newest, or lies between them.
    Untested,
    /// It is older than the oldest.
    Older,
    /// No version is known to be tested, or which one is installed is not known.
    Unknown,
}

impl Tested {
    /// As printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Tested::Ok => "tested",
            Tested::Untested => "untested",
            Tested::Older => "older than tested",
            Tested::Unknown => "-",
        }
    }
}

/// A runtime on this machine.
#[derive(Debug, Clone, Serialize)]
pub struct Found {
    /// Its program; `None` where it is not installed.
    pub path: Option<PathBuf>,
    /// What it says of its version.
    pub version: Option<String>,
    /// Why that is not known.
    pub version_problem: Option<String>,
    /// The versions its rules were tested with.
    pub tested_versions: Vec<String>,
    /// How its version stands to them.
    pub tested: Tested,
    /// The ways in, best first.
    pub channels: Vec<ChannelKind>,
    /// How far a receipt goes: `accepted`, `submitted`, or none where nothing is ever sent.
    pub receipt: Option<&'static str>,
    /// Number of its rules.
    pub rules: Option<u32>,
}

/// Looks. `mosaic` is this program, `path` where programs are looked up.
pub fn find(spec: &RuntimeSpec, mosaic: &Path, path: &str) -> Found {
    let command = spec
        .command
        .as_deref()
        .unwrap_or_default()
        .replace("{mosaic}", &mosaic.to_string_lossy());
    let program = process::find_program(&command, path, Path::new("/"));
    let probe = spec.version.as_ref();
    let asked = program
        .as_deref()
        .zip(probe)
        .map(|(program, probe)| version(program, &probe.args, path));
    let (version, problem) = match asked {
        None => (None, None),
        Some(Ok(version)) => (Some(version), None),
        Some(Err(why)) => (None, Some(why)),
    };
    let tested_versions = probe.map_or_else(Vec::new, |p| p.tested.clone());
    Found {
        tested: version
            .as_deref()
            .map_or(Tested::Unknown, |v| compare(v, &tested_versions)),
        path: program,
        version,
        version_problem: problem,
        tested_versions,
        channels: channels(spec),
        receipt: receipt(spec),
        rules: spec.rules,
    }
}

/// The ways into a runtime, best first: those it names, else the paste where its screen is known.
pub fn channels(spec: &RuntimeSpec) -> Vec<ChannelKind> {
    match &spec.channels {
        Some(channels) => channels.clone(),
        None if spec.screen.is_some() => vec![ChannelKind::Paste],
        None => Vec::new(),
    }
}

/// How far a receipt of a runtime goes.
pub fn receipt(spec: &RuntimeSpec) -> Option<&'static str> {
    let channels = channels(spec);
    let best = channels.first()?;
    let recorded = spec.reports.is_some()
        || spec
            .transcript
            .as_ref()
            .is_some_and(|t: &super::Transcript| {
                matches!(
                    t.format,
                    TranscriptFormat::Claude | TranscriptFormat::Pi | TranscriptFormat::Demo
                )
            });
    Some(if recorded || *best != ChannelKind::Paste {
        "accepted"
    } else {
        "submitted"
    })
}

/// Asks a program for its version: the first word with digits and a dot in what it prints.
fn version(program: &Path, args: &[String], path: &str) -> Result<String, String> {
    let mut command = process::command(program);
    command.args(args).env("PATH", path);
    let out = process::run(command, None, PROBE).map_err(|e| e.to_string())?;
    let all = format!("{}\n{}", out.stdout, out.stderr);
    if let Some(version) = number_in(&all) {
        return Ok(version);
    }
    let line = all.lines().find(|l| !l.trim().is_empty()).unwrap_or("");
    Err(format!(
        "`{} {}` ended with {} and named no version: `{}`",
        program.display(),
        args.join(" "),
        out.status,
        line.trim()
    ))
}

fn number_in(text: &str) -> Option<String> {
    text.split(|c: char| c.is_whitespace() || c == '/' || c == ',')
        .map(|word| word.trim_matches(|c: char| !c.is_ascii_alphanumeric()))
        .map(|word| word.strip_prefix('v').unwrap_or(word))
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && parts(word).len() > 1)
        .map(str::to_owned)
}

fn parts(version: &str) -> Vec<u64> {
    version
        .split(['.', '-', '+'])
        .map_while(|p| p.parse().ok())
        .collect()
}

fn compare(version: &str, tested: &[String]) -> Tested {
    if tested.iter().any(|t| t == version) {
        return Tested::Ok;
    }
    match tested.iter().map(|t| parts(t)).min() {
        None => Tested::Unknown,
        Some(oldest) if parts(version) < oldest => Tested::Older,
        Some(_) => Tested::Untested,
    }
}

/// A finding about a runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `ok`, `note` for what is merely not known or not there, `problem`.
    pub level: Level,
    /// What was looked at.
    pub subject: &'static str,
    /// What was seen.
    pub seen: String,
}

/// How a finding is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Not known, or not there.
    Note,
    /// Wrong.
    Problem,
}

/// Checks what is found: program, version, rules, ways in. `used` says that an agent needs it.
pub fn check(spec: &RuntimeSpec, found: &Found, used: bool) -> Vec<Finding> {
    use Level::{Note, Ok, Problem};
    let mut all = Vec::new();
    let mut say = |level, subject, seen: String| {
        all.push(Finding {
            level,
            subject,
            seen,
        });
    };
    let command = spec.command.as_deref().unwrap_or_default();
    match (&found.path, used) {
        (Some(path), _) => say(Ok, "program", path.display().to_string()),
        (None, true) => say(Problem, "program", format!("`{command}` is not on PATH")),
        (None, false) => say(Note, "program", format!("`{command}` is not installed")),
    }
    let tested = match found.tested_versions.as_slice() {
        [] => "none is recorded as tested".to_owned(),
        versions => format!("tested: {}", versions.join(", ")),
    };
    match (&found.version, &found.version_problem) {
        (Some(version), _) if found.tested == Tested::Ok => {
            say(Ok, "version", format!("{version}, as tested"));
        }
        (Some(version), _) => say(Note, "version", format!("{version}; {tested}")),
        (None, Some(why)) => say(Problem, "version", why.clone()),
        (None, None) if found.path.is_some() => {
            say(
                Note,
                "version",
                "no way to ask for it is defined".to_owned(),
            );
        }
        (None, None) => {}
    }
    match spec.screen.as_ref().map(Rules::compile) {
        None => say(Note, "rules", "none: its screen is never read".to_owned()),
        Some(Err(e)) => say(Problem, "rules", e.to_string()),
        Some(Result::Ok(rules)) => {
            let number = found
                .rules
                .map_or_else(String::new, |n| format!("number {n}, "));
            let data = &rules.data;
            say(
                Ok,
                "rules",
                format!(
                    "{number}{} for work, {} for limits, {} for dialogs, {} forms of options",
                    data.working.len() + data.title.working.len(),
                    data.limited.len(),
                    data.dialog.len(),
                    data.menus.len()
                ),
            );
            if data.working.is_empty() && data.title.working.is_empty() && spec.reports.is_none() {
                say(
                    Note,
                    "state",
                    "nothing tells work from rest: it is never known to be idle".to_owned(),
                );
            }
            if data.menus.is_empty() && data.dialog.is_empty() {
                say(
                    Note,
                    "dialogs",
                    "none is recognised, so that none can be answered".to_owned(),
                );
            }
        }
    }
    match (found.channels.first(), found.receipt) {
        (Some(_), Some(receipt)) => {
            let list: Vec<&str> = found.channels.iter().map(|c| c.as_str()).collect();
            say(
                Ok,
                "channels",
                format!("{}; receipts up to `{receipt}`", list.join(", ")),
            );
        }
        _ => say(
            Note,
            "channels",
            "none: nothing is ever sent to it".to_owned(),
        ),
    }
    if found.channels.contains(&ChannelKind::Paste) && spec.screen.is_none() {
        say(
            Problem,
            "channels",
            "`paste` needs `screen` rules".to_owned(),
        );
    }
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::runtime::builtin;

    #[test]
    fn versions_are_found_in_what_programs_print() {
        for (text, want) in [
            ("2.1.329 (Claude Code)", Some("2.1.329")),
            ("codex-cli 0.169.0", Some("0.169.0")),
            ("0.73.1\n", Some("0.73.1")),
            (" 1.28.0-rc.1\n", Some("1.28.0-rc.1")),
            ("tool v3.2", Some("3.2")),
            ("node/22.1.0 linux", Some("22.1.0")),
            ("nothing 7 here", None),
        ] {
            assert_eq!(number_in(text).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        let tested = ["0.9.0".to_owned(), "0.10.2".to_owned()];
        for (version, want) in [
            ("0.9.0", Tested::Ok),
            ("0.10.2", Tested::Ok),
            ("0.8.30", Tested::Older),
            ("0.9.1", Tested::Untested),
            ("0.11.0", Tested::Untested),
            ("1.0", Tested::Untested),
        ] {
            assert_eq!(compare(version, &tested), want, "{version}");
        }
        assert_eq!(compare("1.0", &[]), Tested::Unknown);
    }

    #[test]
    fn what_is_wrong_is_a_problem_and_what_is_missing_a_note() {
        let problems = |spec: &RuntimeSpec, used| {
            let found = find(spec, Path::new("/bin/sh"), "/bin:/usr/bin");
            let all = check(spec, &found, used);
            let level = |level| all.iter().filter(|f| f.level == level).count();
            (level(Level::Problem), level(Level::Note))
        };
        let demo = builtin::get("demo").unwrap().clone();
        assert_eq!(problems(&demo, true), (0, 1));
        let gone = RuntimeSpec {
            command: Some("/nonexistent/x".into()),
            ..demo.clone()
        };
        assert_eq!(problems(&gone, true).0, 1);
        assert_eq!(problems(&gone, false).0, 0);
        let mut broken = demo.clone();
        broken.screen.as_mut().unwrap().working = vec!["(".into()];
        assert_eq!(problems(&broken, true).0, 1);
        let silent = RuntimeSpec {
            version: Some(crate::runtime::VersionProbe {
                args: vec!["-c".into(), "echo no".into()],
                tested: Vec::new(),
            }),
            command: Some("sh".into()),
            ..demo
        };
        assert_eq!(problems(&silent, true).0, 1);
    }
}
