//! Finds what keeps a fleet from working on this machine, and says what to type.

use std::path::Path;

use serde::Serialize;

use crate::delivery::mailbox::Mailbox;
use crate::fleet::Fleet;
use crate::host::manager::Manager;
use crate::host::{files, linger, process, tmux};
use crate::install::{Install, Mode};
use crate::paths::Paths;
use crate::resident::Resident;
use crate::routing::policy::Policy;
use crate::terminal::holder;

/// How a finding is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Works, with a loss.
    Warn,
    /// Does not work.
    Fail,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub subject: String,
    /// How it is.
    pub level: Level,
    /// What was seen.
    pub seen: String,
    /// What to type; empty when there is nothing to do.
    pub fix: String,
}

fn ok(subject: &str, seen: impl Into<String>) -> Finding {
    finding(subject, Level::Ok, seen, "")
}

fn finding(
    subject: &str,
    level: Level,
    seen: impl Into<String>,
    fix: impl Into<String>,
) -> Finding {
    Finding {
        subject: subject.to_owned(),
        level,
        seen: seen.into(),
        fix: fix.into(),
    }
}

/// Examines everything. `fleet` is the roster, or why it cannot be read.
pub fn examine(
    paths: &Paths,
    install: Option<&Install>,
    fleet: Result<&Fleet, &str>,
) -> Vec<Finding> {
    let mut found = vec![tmux_program()];
    let systemd = install.is_none_or(|i| i.mode == Mode::Systemd);
    found.extend(manager(systemd));
    found.push(runtime_dir());
    match fleet {
        Ok(fleet) => {
            found.push(ok(
                "roster",
                format!("{}: {} agents", paths.roster.display(), fleet.agents.len()),
            ));
            programs(fleet, install, &mut found);
        }
        Err(why) => found.push(if paths.roster.exists() {
            finding("roster", Level::Fail, why, "mosaic fleet validate")
        } else {
            finding(
                "roster",
                Level::Fail,
                why,
                "mosaic fleet init, or mosaic fleet up",
            )
        }),
    }
    match install {
        None => found.push(finding(
            "installation",
            Level::Warn,
            "not installed",
            "mosaic fleet up",
        )),
        Some(install) => installation(install, &mut found),
    }
    found.extend(mailbox(paths));
    found.push(state_dir(paths));
    found
}

fn tmux_program() -> Finding {
    match which::which("tmux") {
        Err(_) => finding(
            "tmux",
            Level::Fail,
            "not on PATH",
            "install tmux 3.2 or newer, e.g. `apt install tmux`",
        ),
        Ok(path) => match tmux::check_version(&path) {
            Ok(version) => ok("tmux", format!("{version} at {}", path.display())),
            Err(e) => finding(
                "tmux",
                Level::Fail,
                e.to_string(),
                "install tmux 3.2 or newer",
            ),
        },
    }
}

fn manager(needed: bool) -> Vec<Finding> {
    let level = if needed { Level::Fail } else { Level::Warn };
    let manager = match Manager::connect() {
        Ok(manager) => manager,
        Err(e) => {
            let fix = e.hints.join("; ");
            return vec![finding("service manager", level, e.to_string(), fix)];
        }
    };
    let version = manager.version().unwrap_or_default();
    let mut found = vec![ok(
        "service manager",
        format!("systemd {version} over {}", manager.transport()),
    )];
    if manager.transport() != "D-Bus" {
        found.push(finding(
            "session bus",
            Level::Warn,
            "none: mosaic uses systemctl, which is slower",
            "install `dbus-user-session` and log in again",
        ));
    }
    found.push(match linger::missing_for() {
        None => ok("linger", "on"),
        Some(user) => finding(
            "linger",
            Level::Warn,
            "off: the fleet stops after you log out and does not start at boot",
            format!("loginctl enable-linger {user}"),
        ),
    });
    found
}

fn runtime_dir() -> Finding {
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(dir) if Path::new(&dir).is_dir() => ok("XDG_RUNTIME_DIR", dir.to_string_lossy()),
        Some(dir) => finding(
            "XDG_RUNTIME_DIR",
            Level::Warn,
            format!("{} does not exist", dir.to_string_lossy()),
            "log in with a user session",
        ),
        None => finding(
            "XDG_RUNTIME_DIR",
            Level::Warn,
            "not set: this is no login session",
            "log in with a user session",
        ),
    }
}

fn programs(fleet: &Fleet, install: Option<&Install>, found: &mut Vec<Finding>) {
    let path = install.map_or_else(
        || std::env::var("PATH").unwrap_or_default(),
        |i| i.path.clone(),
    );
    let mut seen = std::collections::BTreeSet::new();
    for agent in fleet.agents.iter().filter(|a| a.enabled) {
        let Some(program) = agent.command.first().filter(|p| !p.contains("{mosaic}")) else {
            continue;
        };
        if !seen.insert((agent.runtime.clone(), program.clone())) {
            continue;
        }
        let subject = format!("runtime {}", agent.runtime);
        match process::find_program(program, &path, &agent.working_directory) {
            Some(at) => found.push(ok(&subject, at.display().to_string())),
            None if which::which(program).is_ok() => found.push(finding(
                &subject,
                Level::Fail,
                format!("`{program}` is on your PATH, but not on the one recorded at installation"),
                "mosaic fleet install-systemd (or `mosaic fleet up --no-systemd`)",
            )),
            None => found.push(finding(
                &subject,
                Level::Fail,
                format!("`{program}` is not installed"),
                agent.spec.install.clone().unwrap_or_default(),
            )),
        }
    }
}

fn installation(install: &Install, found: &mut Vec<Finding>) {
    found.push(if install.mosaic.is_file() {
        ok("mosaic program", install.mosaic.display().to_string())
    } else {
        finding(
            "mosaic program",
            Level::Fail,
            format!(
                "the units call `{}`, which is gone",
                install.mosaic.display()
            ),
            "mosaic fleet install-systemd",
        )
    });
    let tmux = install.tmux();
    let server = tmux.server_pid();
    let up = server.is_ok();
    found.extend(resident(
        install,
        Resident::Courier,
        up,
        "messages that wait are delivered only by the next `agent send`",
    ));
    match Policy::load(&install.paths) {
        Ok(policy) => found.extend(resident(
            install,
            Resident::Gateway,
            up && policy.gateway,
            "clients find no node of the fleet",
        )),
        Err(e) => found.push(finding(
            "gateway",
            Level::Fail,
            e.to_string(),
            "mosaic fleet apply",
        )),
    }
    found.push(match server {
        Ok(pid) => ok(
            "tmux server",
            format!("pid {pid} on {}", install.socket.display()),
        ),
        Err(tmux::TmuxError::NoServer(_)) => match holder::deaf_server(install) {
            Some(pid) => finding(
                "tmux server",
                Level::Fail,
                format!(
                    "process {pid} runs, but its socket `{}` is gone",
                    install.socket.display()
                ),
                "mosaic fleet start",
            ),
            None => finding(
                "tmux server",
                Level::Warn,
                "not running",
                "mosaic fleet start",
            ),
        },
        Err(e) => finding(
            "tmux server",
            Level::Fail,
            e.to_string(),
            "mosaic fleet stop; mosaic fleet start",
        ),
    });
}

/// Nothing is missing where the whole fleet is down.
fn resident(install: &Install, which: Resident, up: bool, lost: &str) -> Option<Finding> {
    let name = which.name();
    match which.running(install) {
        Some(record) if record.mosaic == env!("CARGO_PKG_VERSION") => {
            let pid = format!("pid {}", record.pid);
            Some(match (which, record.listens) {
                (Resident::Gateway, Some(at)) => ok(name, format!("{pid} on {}", at.url)),
                (Resident::Gateway, None) => finding(
                    name,
                    Level::Warn,
                    crate::gateway::listen::port_is_taken(install)
                        .map_or_else(|| format!("{pid} does not listen yet"), |e| e.to_string()),
                    "end that, or choose another `local_port` under `routing:`",
                ),
                _ => ok(name, pid),
            })
        }
        Some(record) => Some(finding(
            name,
            Level::Warn,
            format!("pid {} is mosaic {}", record.pid, record.mosaic),
            "mosaic fleet start",
        )),
        None => up.then(|| {
            finding(
                name,
                Level::Warn,
                format!("not running: {lost}"),
                "mosaic fleet start",
            )
        }),
    }
}

/// A damaged one keeps every message from every agent, and the courier from its start.
fn mailbox(paths: &Paths) -> Option<Finding> {
    if !paths.mailbox().exists() {
        return None;
    }
    Some(
        match Mailbox::open(paths).and_then(|mailbox| mailbox.check()) {
            Ok(waiting) => ok("mailbox", format!("{waiting} messages wait")),
            Err(e) => finding("mailbox", Level::Fail, e.to_string(), e.hints.join("; ")),
        },
    )
}

fn state_dir(paths: &Paths) -> Finding {
    let probe = paths.state.join(".doctor");
    match files::write_atomic(&probe, &[b'x'; 64 * 1024], files::PRIVATE)
        .and_then(|()| files::remove(&probe))
    {
        Ok(_) => ok(
            "state directory",
            format!("{} is writable", paths.state.display()),
        ),
        Err(e) => finding(
            "state directory",
            Level::Fail,
            e.to_string(),
            "free disk space, or mend the permissions",
        ),
    }
}
