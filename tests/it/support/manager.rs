//! A private, real `systemd --user` manager, in a control group of its own: without one it would
//! adopt the top one and move every process of the machine, and two managers would share the
//! groups of their units.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use super::Account;
use super::wait::eventually;

/// The manager; ended, and its groups removed, when dropped.
#[derive(Debug)]
pub struct UserManager {
    child: Child,
    groups: Vec<PathBuf>,
    log: PathBuf,
}

fn program() -> Result<PathBuf, String> {
    ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"]
        .map(PathBuf::from)
        .into_iter()
        .find(|p| p.exists())
        .ok_or_else(|| "systemd is not installed".to_owned())
}

/// Control groups of a name: one per mounted hierarchy (v2, hybrid or v1), at the top for root,
/// else below the tests' own.
fn groups(name: &str) -> Vec<PathBuf> {
    let below = if rustix::process::getuid().is_root() {
        String::new()
    } else {
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        own.lines()
            .find_map(|l| l.strip_prefix("0::/"))
            .unwrap_or_default()
            .to_owned()
    };
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    mounts
        .lines()
        .filter_map(|l| {
            let mut f = l.split(' ').skip(1);
            let (at, kind) = (f.next()?, f.next()?);
            matches!(kind, "cgroup" | "cgroup2").then(|| Path::new(at).join(&below).join(name))
        })
        .collect()
}

/// Whether a manager can be booted here, or why not.
pub fn requirements() -> Result<(), String> {
    program()?;
    for tool in ["systemctl", "setsid", "setpriv"] {
        which::which(tool).map_err(|_| format!("`{tool}` is not installed"))?;
    }
    let mark = Path::new("/run/systemd/system");
    if !mark.is_dir() && std::fs::create_dir_all(mark).is_err() {
        return Err(format!("no {}: create it as root", mark.display()));
    }
    let probe = groups(&format!("mosaic-probe-{}", std::process::id()));
    let usable = probe.iter().any(|group| {
        let made = std::fs::create_dir(group);
        let there = group.is_dir();
        if made.is_ok() {
            let _ = std::fs::remove_dir(group);
        }
        there
    });
    if usable {
        Ok(())
    } else {
        Err("no control group of our own: run as root, or under `systemd-run --user --scope -p Delegate=yes`".to_owned())
    }
}

impl UserManager {
    /// Boots one with the environment given, as the account given, and waits until it is ready.
    /// `name` is that of its control groups and log.
    pub fn boot(dir: &Path, account: &Account, environment: &[(String, String)]) -> Self {
        let name = format!(
            "mosaic-test-{}",
            dir.file_name().unwrap_or_default().to_string_lossy()
        );
        let mut usable = Vec::new();
        for group in groups(&name) {
            if std::fs::create_dir(&group).is_err() {
                continue;
            }
            // A v1 cpuset takes nobody in before it has processors and memory of its own.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if group.join(file).exists() {
                    let above = group.parent().unwrap().join(file);
                    let _ = std::fs::copy(above, group.join(file));
                }
            }
            // On v2 a controller works below a group that passes it on; where it is not passed on
            // there are no limits, which the tests of limits say.
            if let Some(parent) = group.parent()
                && parent.join("cgroup.subtree_control").exists()
            {
                for controller in ["+memory", "+pids", "+cpu"] {
                    let _ = std::fs::write(parent.join("cgroup.subtree_control"), controller);
                }
            }
            account.own(&group);
            for file in [
                "cgroup.procs",
                "cgroup.threads",
                "cgroup.subtree_control",
                "tasks",
            ] {
                if group.join(file).exists() {
                    account.own(&group.join(file));
                }
            }
            usable.push(group);
        }
        let log = dir.join("manager.log");
        let out = std::fs::File::create(&log).unwrap();
        // The shell enters the groups while it is still whoever runs the tests, then becomes the
        // account, then the manager: one process all along.
        let mut script = String::from(
            "n=$1; shift; while [ $n -gt 0 ]; do echo $$ >\"$1/cgroup.procs\"; shift; n=$((n-1)); done; exec \"$@\"",
        );
        script.insert_str(0, "set +e; ");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script, "sh", &usable.len().to_string()]);
        command.args(&usable);
        command.args(account.prefix());
        command.arg("setsid").arg(program().unwrap());
        command.args(["--user", "--log-target=console", "--show-status=no"]);
        command
            .env_clear()
            .envs(environment.iter().map(|(k, v)| (k, v)))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out);
        let child = command.spawn().unwrap();
        let manager = Self {
            child,
            groups: usable,
            log,
        };
        eventually("the user manager boots", || {
            let mut ask = Command::new("systemctl");
            ask.args(["--user", "is-system-running"])
                .env_clear()
                .envs(environment.iter().map(|(k, v)| (k, v)));
            account.apply(&mut ask);
            let said = ask.output().unwrap().stdout;
            matches!(said.as_slice(), b"running\n" | b"degraded\n")
        });
        manager
    }

    /// Its process.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// The last lines of what it said.
    pub fn log(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Control groups, for a rescue.
    pub fn groups(&self) -> Vec<PathBuf> {
        self.groups.clone()
    }

    /// Ends it as a logout would: all units are stopped in order. Returns the processes it left.
    pub fn stop(&mut self) -> Vec<i32> {
        super::proc::kill(self.pid(), Signal::CONT);
        if self.child.try_wait().is_ok_and(|s| s.is_none()) {
            super::proc::kill(self.pid(), Signal::TERM);
        }
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while self.child.try_wait().is_ok_and(|s| s.is_none()) {
            if std::time::Instant::now() > deadline {
                let _ = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let left = members(&self.groups);
        purge(&self.groups);
        for group in &self.groups {
            remove(group);
        }
        left
    }
}

impl Drop for UserManager {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Processes in groups and those below them.
pub fn members(groups: &[PathBuf]) -> Vec<i32> {
    fn read(group: &Path, into: &mut Vec<i32>) {
        let text = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        into.extend(text.lines().filter_map(|l| l.parse::<i32>().ok()));
        for entry in std::fs::read_dir(group).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                read(&entry.path(), into);
            }
        }
    }
    let mut pids = Vec::new();
    for group in groups {
        read(group, &mut pids);
    }
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// Kills everything in groups.
pub fn purge(groups: &[PathBuf]) {
    for _ in 0..200 {
        let left = members(groups);
        if left.is_empty() {
            return;
        }
        for pid in left {
            super::proc::kill(pid, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn remove(group: &Path) {
    for entry in std::fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove(&entry.path());
        }
    }
    let _ = std::fs::remove_dir(group);
}
