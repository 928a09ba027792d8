//! How busy this machine is, and how much of it one control group uses. Reading and understanding are
//! apart: what a file says is a pure function.

use std::path::Path;
use std::time::{Duration, Instant};

use super::procfs;

/// Least time over which a load is measured: twenty ticks on two processors.
const SAMPLE: Duration = Duration::from_millis(100);

/// Processor time since the boot, in clock ticks, summed over all processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticks {
    /// At work, or taken away by the host of a virtual machine.
    pub busy: u64,
    /// All.
    pub total: u64,
}

impl Ticks {
    /// Now; `None` where /proc cannot be read.
    pub fn now() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/stat").ok()?)
    }

    /// The first line of `/proc/stat` (proc(5)): user, nice, system, idle, iowait, irq, softirq, steal, then
    /// guest times, which are in user and nice already.
    pub fn parse(text: &str) -> Option<Self> {
        let line = text.lines().find(|l| l.starts_with("cpu "))?;
        let times: Vec<u64> = line
            .split_ascii_whitespace()
            .skip(1)
            .take(8)
            .map(|t| t.parse().ok())
            .collect::<Option<_>>()?;
        let idle = times.get(3)? + times.get(4).unwrap_or(&0);
        let total: u64 = times.iter().sum();
        Some(Self {
            busy: total - idle,
            total,
        })
    }

    /// The load between an earlier time and this one, in per cent; `None` where no time passed.
    pub fn load_since(self, earlier: Self) -> Option<f64> {
        // The kernel may take a little of the time spent waiting back.
        let total = self.total.checked_sub(earlier.total).filter(|t| *t > 0)?;
        let busy = self.busy.saturating_sub(earlier.busy).min(total);
        Some(per_cent(busy, total))
    }
}

/// Measures the processor's load between two readings.
#[derive(Debug, Default)]
pub struct Meter {
    last: Option<(Instant, Ticks)>,
    load: Option<f64>,
}

impl Meter {
    /// Begins where there was no reading yet, and says how long to wait for one then.
    pub fn begin(&mut self) -> Duration {
        if self.last.is_some() {
            return Duration::ZERO;
        }
        self.last = Ticks::now().map(|ticks| (Instant::now(), ticks));
        SAMPLE
    }

    /// The load since the reading before, in per cent; that one again where it is no tenth of a second ago.
    /// `None` where /proc does not tell.
    pub fn read(&mut self) -> Option<f64> {
        let now = Instant::now();
        let (at, before) = self.last?;
        if self.load.is_none() || now.duration_since(at) >= SAMPLE {
            let ticks = Ticks::now()?;
            self.load = ticks.load_since(before).or(self.load);
            self.last = Some((now, ticks));
        }
        self.load
    }
}

/// Memory in use, in per cent: what could not be given to a program without swapping.
pub fn memory_used_pct() -> Option<f64> {
    used_pct(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

/// The same from the text of `/proc/meminfo` (proc(5)).
pub fn used_pct(text: &str) -> Option<f64> {
    let field = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|l| l.strip_prefix(name))?;
        line.strip_prefix(':')?
            .split_ascii_whitespace()
            .next()?
            .parse()
            .ok()
    };
    let total = field("MemTotal").filter(|t| *t > 0)?;
    let available = field("MemAvailable")?.min(total);
    Some(per_cent(total - available, total))
}

fn per_cent(part: u64, whole: u64) -> f64 {
    // Ticks and kibibytes are far below 2^52.
    #[allow(clippy::cast_precision_loss)]
    let share = part as f64 / whole as f64;
    share * 100.0
}

/// Bytes that this user may still write to the file system of a directory (statvfs(3), `f_bavail`). May
/// hang where that is a network's.
pub fn disk_available(directory: &Path) -> Option<u64> {
    let fs = rustix::fs::statvfs(directory).ok()?;
    Some(fs.f_bavail.saturating_mul(fs.f_frsize))
}

/// What a control group uses.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Group {
    /// Bytes.
    pub memory: Option<u64>,
    /// Processor time so far, in seconds.
    pub cpu_seconds: Option<f64>,
}

/// What the control group of a process uses, as far as it has one of its own, named for a unit: figures
/// of a group that it shares with others would not be its own.
pub fn group(pid: i32, unit: &str) -> Group {
    let Some(text) = procfs::cgroups(pid) else {
        return Group::default();
    };
    let read = |file: &str| std::fs::read_to_string(file).ok();
    let own = |controller: &str| own_group(&text, controller, unit);
    let second = own("");
    let v2 = |file: &str| {
        let path = second?;
        // On hybrid systems the second version is mounted beside the first one's controllers.
        ["", "/unified"]
            .iter()
            .find_map(|root| read(&format!("/sys/fs/cgroup{root}{path}/{file}")))
    };
    let number = |text: String| text.trim().parse::<u64>().ok();
    Group {
        memory: own("memory")
            .and_then(|p| read(&format!("/sys/fs/cgroup/memory{p}/memory.usage_in_bytes")))
            .or_else(|| v2("memory.current"))
            .and_then(number),
        cpu_seconds: own("cpuacct")
            .and_then(|p| read(&format!("/sys/fs/cgroup/cpuacct{p}/cpuacct.usage")))
            .and_then(number)
            .map(|ns| seconds(ns / 1000))
            .or_else(|| v2("cpu.stat").and_then(|t| usage(&t)).map(seconds)),
    }
}

/// A process's group of one controller, where that is the unit's own.
fn own_group<'a>(cgroups: &'a str, controller: &str, unit: &str) -> Option<&'a str> {
    let path = procfs::controller(cgroups, controller)?;
    (path.rsplit('/').next() == Some(unit)).then_some(path)
}

/// Microseconds of `cpu.stat` (the kernel's cgroup-v2 documentation).
fn usage(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|l| l.strip_prefix("usage_usec "))?;
    line.trim().parse().ok()
}

fn seconds(micros: u64) -> f64 {
    std::time::Duration::from_micros(micros).as_secs_f64()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn load_is_the_busy_share_of_the_time_between() {
        let at = |text: &str| Ticks::parse(text);
        let a = at("cpu  100 0 100 700 100 0 0 0 50 0\ncpu0 1 2 3 4\n").unwrap();
        assert_eq!((a.busy, a.total), (200, 1000));
        let b = at("cpu  150 0 120 720 105 0 0 5 50 0\n").unwrap();
        assert_eq!(b.load_since(a), Some(75.0));
        assert_eq!(a.load_since(a), None);
        assert_eq!(a.load_since(b), None);
        // Old kernels have four numbers.
        assert_eq!(at("cpu 1 2 3 4\n").map(|t| t.total), Some(10));
        for none in ["", "cpu0 1 2 3 4\n", "cpu 1 2\n", "cpu a b c d\n"] {
            assert_eq!(at(none), None, "{none}");
        }
    }

    #[test]
    fn memory_that_can_be_had_is_not_in_use() {
        let text = "MemTotal:       1000 kB\nMemFree:  10 kB\nMemAvailable:    250 kB\n";
        assert_eq!(used_pct(text), Some(75.0));
        assert_eq!(used_pct("MemTotal: 1000 kB\nMemFree: 10 kB\n"), None);
        assert_eq!(used_pct("MemTotal: 0 kB\nMemAvailable: 0 kB\n"), None);
    }

    #[test]
    fn a_group_that_is_shared_is_not_the_units_own() {
        let hybrid =
            "4:memory:/user.slice\n2:cpu,cpuacct:/user.slice/a.service\n0::/user.slice/a.service\n";
        assert_eq!(own_group(hybrid, "memory", "a.service"), None);
        assert_eq!(
            own_group(hybrid, "cpuacct", "a.service"),
            Some("/user.slice/a.service")
        );
        assert_eq!(
            own_group(hybrid, "", "a.service"),
            Some("/user.slice/a.service")
        );
        assert_eq!(own_group(hybrid, "", "b.service"), None);
        assert_eq!(usage("usage_usec 1500000\nuser_usec 1\n"), Some(1_500_000));
    }

    #[test]
    fn this_machine_can_be_read() {
        assert!(Ticks::now().unwrap().total > 0);
        assert!((0.0..=100.0).contains(&memory_used_pct().unwrap()));
        let mut meter = Meter::default();
        assert_eq!(meter.read(), None);
        std::thread::sleep(meter.begin());
        let load = meter.read().unwrap();
        assert!((0.0..=100.0).contains(&load));
        assert_eq!((meter.begin(), meter.read()), (Duration::ZERO, Some(load)));
        assert!(disk_available(Path::new("/")).is_some());
        assert_eq!(disk_available(Path::new("/nonexistent-dir")), None);
    }
}
