//! The user manager through `systemctl --user`: for systems without a session bus.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use super::{CALL_TIMEOUT, Detail, Job, Unit, Verb, counted};
use crate::error::{Error, Result};
use crate::host::process::{self, Output};

/// `systemctl` on PATH.
pub struct Systemctl(());

impl Systemctl {
    pub fn connect() -> Result<Self> {
        let this = Self(());
        this.version()?;
        Ok(this)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut c = process::command("systemctl");
        c.args(["--user", "--no-pager", "--no-ask-password"])
            .args(args);
        c
    }

    fn call(&self, args: &[&str], timeout: Duration) -> Result<Output> {
        process::run(self.command(args), None, timeout).map_err(|e| match e {
            process::RunError::Timeout { .. } => {
                Error::unavailable("the systemd user manager does not answer")
                    .because(e)
                    .hint("see whether it hangs: `systemctl --user status`")
            }
            e => Error::unavailable("cannot run systemctl").because(e),
        })
    }

    fn checked(&self, args: &[&str], timeout: Duration) -> Result<String> {
        let out = self.call(args, timeout)?;
        if out.status.success() {
            return Ok(out.stdout);
        }
        let e = Error::unavailable(format!("systemd refused `{}`", args.join(" ")))
            .because(&out.stderr);
        if out.stderr.contains("connect to bus") || out.stderr.contains("Connection refused") {
            return Err(Error::unavailable("cannot reach the systemd user manager")
                .because(out.stderr)
                .hint("log in with a user session, or run `mosaic fleet up --no-systemd`"));
        }
        Err(e)
    }

    pub fn version(&self) -> Result<String> {
        let text = self.checked(&["show", "--property=Version", "--value"], CALL_TIMEOUT)?;
        Ok(text.trim().to_owned())
    }

    pub fn units(&self, patterns: &[&str], detail: Detail) -> Result<Vec<Unit>> {
        // `show` with globs lists loaded units only, like ListUnitsByPatterns.
        let mut args = vec!["show", "--all", "--timestamp=us+utc"];
        args.push(match detail {
            Detail::States => "--property=Id,LoadState,ActiveState,SubState",
            Detail::Process => "--property=Id,LoadState,ActiveState,SubState,MainPID,Result",
            Detail::Full => "--property=Id,LoadState,ActiveState,SubState,MainPID,NRestarts,Result,MemoryCurrent,StateChangeTimestamp",
        });
        args.push("--");
        args.extend(patterns);
        let text = self.checked(&args, CALL_TIMEOUT)?;
        Ok(parse_show(&text))
    }

    pub fn reload(&self) -> Result<()> {
        self.checked(&["daemon-reload"], Duration::from_secs(60))
            .map(drop)
    }

    pub fn jobs(&self, verb: Verb, units: &[String], timeout: Duration) -> Result<Vec<Job>> {
        let mut args = vec![verb.word(), "--"];
        args.extend(units.iter().map(String::as_str));
        let out = self.call(&args, timeout);
        let (failed, unknown) = match &out {
            // A failure that names none of the units says nothing of any of them.
            Ok(out) if !out.status.success() && !units.iter().any(|u| out.stderr.contains(u)) => {
                (String::new(), true)
            }
            Ok(out) => (out.stderr.clone(), false),
            Err(_) => (String::new(), true),
        };
        // systemctl waits for all jobs and names on standard error those that failed.
        Ok(units
            .iter()
            .map(|unit| Job {
                unit: unit.clone(),
                result: if unknown {
                    "unknown".into()
                } else {
                    failed
                        .lines()
                        .find(|l| {
                            l.split([' ', '\'', '"'])
                                .any(|w| w.trim_end_matches(['.', ':']) == unit)
                        })
                        .map_or("done".into(), |l| {
                            if l.contains("dependency") {
                                "dependency".into()
                            } else {
                                "failed".into()
                            }
                        })
                },
            })
            .collect())
    }

    pub fn try_restart_no_wait(&self, unit: &str) -> Result<()> {
        self.checked(&["try-restart", "--no-block", "--", unit], CALL_TIMEOUT)
            .map(drop)
    }

    pub fn reset_failed(&self, units: &[String]) -> Result<()> {
        let mut args = vec!["reset-failed", "--"];
        args.extend(units.iter().map(String::as_str));
        // Refused for units that are not loaded, which have nothing to forget.
        self.call(&args, CALL_TIMEOUT).map(drop)
    }
}

/// Parses the blocks of `systemctl show`.
fn parse_show(text: &str) -> Vec<Unit> {
    text.split("\n\n")
        .filter_map(|block| {
            let p: BTreeMap<&str, &str> = block.lines().filter_map(|l| l.split_once('=')).collect();
            let get = |k: &str| p.get(k).copied().unwrap_or_default();
            let name = get("Id");
            (!name.is_empty()).then(|| Unit {
                name: name.to_owned(),
                load: get("LoadState").to_owned(),
                active: get("ActiveState").to_owned(),
                sub: get("SubState").to_owned(),
                main_pid: get("MainPID").parse().unwrap_or(0),
                restarts: get("NRestarts").parse().unwrap_or(0),
                // As over the bus: the result of a unit that did not fail is of no interest.
                result: if get("ActiveState") == "failed" {
                    get("Result").to_owned()
                } else {
                    String::new()
                },
                memory: get("MemoryCurrent").parse().ok().and_then(counted),
                since_usec: parse_time(get("StateChangeTimestamp")),
            })
        })
        .collect()
}

/// `Sat 2026-11-21 05:07:14.123456 UTC` in microseconds since the epoch; 0 for anything else.
fn parse_time(text: &str) -> u64 {
    let mut words = text.split_ascii_whitespace();
    let (_, Some(day), Some(time)) = (words.next(), words.next(), words.next()) else {
        return 0;
    };
    format!("{day}T{time}Z")
        .parse::<jiff::Timestamp>()
        .ok()
        .and_then(|t| t.as_microsecond().try_into().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn show_blocks_are_read() {
        let text = "Id=mosaic-agent@a.service\nLoadState=loaded\nActiveState=active\nSubState=running\nMainPID=42\nNRestarts=3\nResult=success\nMemoryCurrent=[not set]\nStateChangeTimestamp=Sat 2026-11-21 05:07:14.123456 UTC\n\nId=b.service\nActiveState=failed\nMemoryCurrent=18446744073709551615\nStateChangeTimestamp=n/a\n";
        let units = parse_show(text);
        assert_eq!(units.len(), 2);
        assert_eq!(
            (units[0].main_pid, units[0].restarts, units[0].memory),
            (42, 3, None)
        );
        assert_eq!(units[0].since_usec, 1_795_237_634_123_456);
        assert_eq!(
            (
                units[1].active.as_str(),
                units[1].memory,
                units[1].since_usec
            ),
            ("failed", None, 0)
        );
    }
}
