//! Plain questions to `/proc` and the control groups.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal};

/// Sends a signal; a process that is gone is no error.
pub fn kill(pid: i32, signal: Signal) {
    assert!(pid > 1, "process {pid} must not be killed");
    let _ = rustix::process::kill_process(Pid::from_raw(pid).unwrap(), signal);
}

/// Whether a process lives; a zombie does not.
pub fn alive(pid: i32) -> bool {
    status(pid, "State").is_some_and(|s| !s.starts_with('Z'))
}

/// A field of `/proc/PID/status`.
pub fn status(pid: i32, field: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines()
        .find_map(|l| Some(l.strip_prefix(field)?.strip_prefix(':')?.trim().to_owned()))
}

/// The words of the command line.
pub fn cmdline(pid: i32) -> Vec<String> {
    words(&format!("/proc/{pid}/cmdline"))
}

/// The environment the process was started with.
pub fn environ(pid: i32) -> BTreeMap<String, String> {
    words(&format!("/proc/{pid}/environ"))
        .iter()
        .filter_map(|w| w.split_once('='))
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect()
}

fn words(path: &str) -> Vec<String> {
    let bytes = std::fs::read(path).unwrap_or_default();
    let mut words: Vec<String> = bytes
        .split(|b| *b == 0)
        .map(|w| String::from_utf8_lossy(w).into_owned())
        .collect();
    words.pop();
    words
}

/// What a descriptor of a process is open on.
pub fn fd(pid: i32, fd: u32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok()
}

/// Last part of the control group's path in systemd's own hierarchy: the unit.
pub fn unit_of(pid: i32) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let line = |key: &str| {
        text.lines()
            .find_map(|l| l.split_once(':')?.1.strip_prefix(key).map(str::to_owned))
    };
    let path = line("name=systemd:").or_else(|| line(":"))?;
    Some(path.rsplit('/').next()?.to_owned())
}

/// A limit as the kernel enforces it on a process's own control group: the first of these files
/// that can be read, in the hierarchy of the controller.
pub fn limit(pid: i32, controller: &str, v2: &str, v1: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let group = |key: &str| {
        text.lines().find_map(|l| {
            let (controllers, path) = l.split_once(':')?.1.split_once(':')?;
            controllers
                .split(',')
                .any(|c| c == key)
                .then(|| path.trim_start_matches('/').to_owned())
        })
    };
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let found = mounts.lines().find_map(|l| {
        let f: Vec<&str> = l.split(' ').collect();
        match f[2] {
            "cgroup" if f[3].split(',').any(|o| o == controller) => {
                let path = Path::new(f[1]).join(group(controller)?).join(v1);
                std::fs::read_to_string(path).ok()
            }
            "cgroup2" => {
                let path = Path::new(f[1]).join(group("")?).join(v2);
                std::fs::read_to_string(path).ok()
            }
            _ => None,
        }
    });
    found.map(|t| t.trim().to_owned())
}

/// All processes that can be seen.
pub fn all() -> Vec<i32> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .collect()
}

/// Processes whose home directory is this one, however they came to be.
pub fn at_home(home: &Path) -> Vec<i32> {
    let mark = format!("HOME={}", home.display());
    all()
        .into_iter()
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|e| e.split(|b| *b == 0).any(|w| w == mark.as_bytes()))
        })
        .filter(|pid| alive(*pid))
        .collect()
}
