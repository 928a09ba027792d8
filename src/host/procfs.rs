//! What the kernel says of a process, from /proc.

/// Facts from `/proc/PID/stat` (proc(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Name of the program, as the process may have set it itself; at most 15 bytes.
    pub comm: String,
    /// `R`, `S`, `T`, `Z` …
    pub state: char,
    /// Parent.
    pub ppid: i32,
    /// Process group.
    pub group: i32,
    /// Session id.
    pub session: i32,
    /// Device number of the controlling terminal, 0 for none.
    pub tty: u32,
    /// Process group in the foreground of that terminal, -1 for none.
    pub foreground: i32,
    /// Start time in clock ticks since boot: with the pid, it names a process for good.
    pub start: u64,
    /// Resident memory in pages, shared ones included.
    pub resident: u64,
}

/// Parses a stat line. The name stands in parentheses and may itself hold any character.
pub fn parse_stat(text: &str) -> Option<Stat> {
    let open = text.find('(')?;
    let close = text.rfind(')')?;
    let rest: Vec<&str> = text.get(close + 1..)?.split_ascii_whitespace().collect();
    Some(Stat {
        comm: text.get(open + 1..close)?.to_owned(),
        state: rest.first()?.chars().next()?,
        ppid: rest.get(1)?.parse().ok()?,
        group: rest.get(2)?.parse().ok()?,
        session: rest.get(3)?.parse().ok()?,
        // Printed as a signed number by old kernels.
        tty: u32::try_from(rest.get(4)?.parse::<i64>().ok()? & 0xffff_ffff).ok()?,
        foreground: rest.get(5)?.parse().ok()?,
        start: rest.get(19)?.parse().ok()?,
        resident: rest.get(21).and_then(|r| r.parse().ok()).unwrap_or(0),
    })
}

/// Reads a process's facts; `None` when there is no such process.
pub fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The device number that /proc uses for a terminal's path, e.g. `/dev/pts/3`.
pub fn tty_number(path: &str) -> Option<u32> {
    let meta = rustix::fs::stat(path).ok()?;
    let (major, minor) = (
        rustix::fs::major(meta.st_rdev),
        rustix::fs::minor(meta.st_rdev),
    );
    // proc(5): minor in bits 31–20 and 7–0, major in 15–8.
    Some((minor & 0xff) | (major << 8) | ((minor & !0xff) << 12))
}

/// Every process that can be seen, with its facts. Empty where /proc cannot be read.
pub fn all() -> Vec<(i32, Stat)> {
    let Ok(dir) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    dir.flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(|pid| Some((pid, stat(pid)?)))
        .collect()
}

/// Of a list of processes those below one, parents listed before their children. Zombies are left
/// out, but not what is below them: a process whose first thread has ended looks like one.
pub fn below(all: &[(i32, Stat)], root: i32) -> Vec<(i32, &Stat)> {
    let mut found = vec![root];
    let mut below = Vec::new();
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        for (pid, stat) in all.iter().filter(|(_, s)| s.ppid == parent) {
            found.push(*pid);
            if stat.state != 'Z' {
                below.push((*pid, stat));
            }
        }
        next += 1;
    }
    below
}

/// All processes below one, parents listed before their children. Empty where /proc cannot be read.
pub fn descendants(root: i32) -> Vec<i32> {
    below(&all(), root)
        .into_iter()
        .map(|(pid, _)| pid)
        .collect()
}

/// Whether a process lives and is the one that began at `start`.
pub fn is_same(pid: i32, start: u64) -> bool {
    stat(pid).is_some_and(|s| s.start == start && s.state != 'Z')
}

/// Processes of this user.
pub fn own_processes() -> Vec<i32> {
    use std::os::unix::fs::MetadataExt as _;
    let uid = rustix::process::getuid().as_raw();
    let Ok(dir) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    dir.flatten()
        .filter(|e| e.metadata().is_ok_and(|m| m.uid() == uid))
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .collect()
}

/// This user's tmux servers with the words of their command lines.
pub fn tmux_servers() -> Vec<(i32, Vec<String>)> {
    own_processes()
        .into_iter()
        .filter(|pid| stat(*pid).is_some_and(|s| s.comm == "tmux: server"))
        .filter_map(|pid| Some((pid, cmdline(pid)?)))
        .collect()
}

/// The words of a process's command line.
pub fn cmdline(pid: i32) -> Option<Vec<String>> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    Some(
        bytes
            .split(|b| *b == 0)
            .map(|w| String::from_utf8_lossy(w).into_owned())
            .collect(),
    )
}

/// The memory limit in force for a process, in bytes; `None` where no limit is enforced on its own
/// control group.
pub fn memory_limit(pid: i32) -> Option<u64> {
    let text = cgroups(pid)?;
    let file = match controller(&text, "memory") {
        Some(p) => format!("/sys/fs/cgroup/memory{p}/memory.limit_in_bytes"),
        None => format!("/sys/fs/cgroup{}/memory.max", controller(&text, "")?),
    };
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// All control groups of a process, as in `/proc/PID/cgroup`.
pub fn cgroups(pid: i32) -> Option<String> {
    std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()
}

/// Of all control groups of a process that of one controller of the first version; with an empty name
/// that of the second version.
pub fn controller<'a>(cgroups: &'a str, name: &str) -> Option<&'a str> {
    cgroups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        controllers.split(',').any(|c| c == name).then_some(path)
    })
}

/// The control group of a process in systemd's own hierarchy; `None` without one.
pub fn cgroup(pid: i32) -> Option<String> {
    cgroup_of(&cgroups(pid)?)
}

/// Picks systemd's line: `name=systemd` on hybrid and v1 systems, `0::` on v2.
fn cgroup_of(text: &str) -> Option<String> {
    controller(text, "name=systemd")
        .or_else(|| controller(text, ""))
        .map(str::to_owned)
}

/// Identity of this boot, so that records of processes from before it are not believed.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|s| s.trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_blanks_is_read() {
        let stat = parse_stat(
            "42 (a) b (c) S 1 42 40 34817 42 4194304 0 0 0 0 0 0 0 0 20 0 1 0 987654 0 0",
        )
        .unwrap();
        assert_eq!(
            (
                stat.comm.as_str(),
                stat.ppid,
                stat.session,
                stat.tty,
                stat.start
            ),
            ("a) b (c", 1, 40, 34817, 987_654)
        );
        assert_eq!((stat.group, stat.foreground), (42, 42));
        assert_eq!(parse_stat("nonsense"), None);
    }

    #[test]
    fn what_is_below_a_zombie_is_found_and_the_zombie_is_not() {
        let process = |pid: i32, ppid: i32, state: char| {
            (
                pid,
                parse_stat(&format!(
                    "{pid} (x) {state} {ppid} 1 1 0 0 0 0 0 0 0 0 0 0 0 20 0 1 0 9 0 0"
                ))
                .unwrap(),
            )
        };
        let all = [
            process(5, 4, 'S'),
            process(4, 2, 'Z'),
            process(2, 1, 'S'),
            process(3, 9, 'S'),
        ];
        let pids: Vec<i32> = below(&all, 1).iter().map(|(pid, _)| *pid).collect();
        assert_eq!(pids, [2, 5]);
    }

    #[test]
    fn this_process_is_found() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert_ne!(stat(own).unwrap().state, 'Z');
        assert!(descendants(stat(own).unwrap().ppid).contains(&own));
    }

    #[test]
    fn systemds_own_hierarchy_wins() {
        let hybrid = "12:pids:/x\n1:name=systemd:/user.slice/a.service\n0::/other\n";
        assert_eq!(cgroup_of(hybrid).as_deref(), Some("/user.slice/a.service"));
        assert_eq!(
            cgroup_of("0::/user.slice/b.service\n").as_deref(),
            Some("/user.slice/b.service")
        );
    }
}
