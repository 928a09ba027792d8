//! What a fleet's verbs cost, each against a floor measured in the same run: the least that any
//! program would have to do for the same result. `cargo bench` prints medians and ratios; nothing
//! fails here, since a busy machine must not turn a build red.
//!
//! Everything runs in a sandbox with a tmux server and a systemd user manager of its own.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    dead_code,
    unused_imports,
    reason = "a benchmark may panic and speak, and uses a part of the tests' support"
)]

#[path = "../tests/it/support/mod.rs"]
mod support;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{Agent, Roster, Sandbox};

fn main() {
    // Called again by itself: the floor of a status, as a whole process.
    if std::env::args().any(|a| a == "--floor-of-status") {
        return floor_of_status();
    }
    println!(
        "{:<58} {:>10} {:>10} {:>7}  goal",
        "", "mosaic", "floor", "ratio"
    );
    // `cargo bench -- courier` runs those of that name only.
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with('-'))
        .collect();
    let all: [(&str, fn()); 8] = [
        ("version", version),
        ("status", status),
        ("start", start),
        ("restart", restart),
        ("send", send),
        ("placeholder", placeholder),
        ("courier_latency", courier_latency),
        ("courier_idle", courier_idle),
    ];
    for (name, run) in all {
        if wanted.is_empty() || wanted.iter().any(|w| name.contains(w.as_str())) {
            run();
        }
    }
}

/// Runs commands in turn, so that both see the same machine; medians in milliseconds.
fn side_by_side(
    rounds: usize,
    mut a: impl FnMut() -> Duration,
    mut b: impl FnMut() -> Duration,
) -> (f64, f64) {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    a();
    b();
    for _ in 0..rounds {
        left.push(a());
        right.push(b());
    }
    (median(&mut left), median(&mut right))
}

fn median(all: &mut [Duration]) -> f64 {
    all.sort();
    all[all.len() / 2].as_secs_f64() * 1000.0
}

fn row(what: &str, (mosaic, floor): (f64, f64), goal: &str) {
    println!(
        "{what:<58} {mosaic:>7.1} ms {floor:>7.1} ms {:>7.2}  {goal}",
        mosaic / floor
    );
}

fn timed(mut command: Command) -> Duration {
    let begun = Instant::now();
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    let took = begun.elapsed();
    assert!(status.success(), "{command:?}: {status}");
    took
}

fn command(sandbox: &Sandbox, program: &str, args: &[&str]) -> Command {
    let mut command = match program {
        "mosaic" => sandbox.command(sandbox.path("bin/mosaic")),
        other => sandbox.command(other),
    };
    command.args(args);
    command
}

/// Demo agents that are not waited for.
fn fleet(count: usize) -> Option<Sandbox> {
    let agents = (0..count).map(|n| Agent::demo(&format!("a{n}")));
    Roster::new(agents)
        .default("ready_timeout", "0s".into())
        .boot()
}

fn version() {
    let Some(sandbox) = Sandbox::plain() else {
        return;
    };
    let both = side_by_side(
        40,
        || timed(command(&sandbox, "mosaic", &["--version"])),
        || timed(command(&sandbox, "tmux", &["-V"])),
    );
    row("mosaic --version, against tmux -V", both, "at most 3");
}

fn status() {
    let Some(sandbox) = fleet(200) else { return };
    let show = [
        "--user",
        "show",
        "--property=Id,ActiveState,SubState,MainPID,NRestarts,MemoryCurrent,StateChangeTimestamp",
        "mosaic-agent@*",
    ];
    let both = side_by_side(
        15,
        || timed(command(&sandbox, "mosaic", &["fleet", "status", "--json"])),
        || timed(command(&sandbox, "systemctl", &show)),
    );
    row(
        "fleet status of 200 agents, against systemctl show",
        both,
        "below 1",
    );
    let own = std::env::current_exe().unwrap();
    let socket = sandbox.socket();
    let both = side_by_side(
        15,
        || timed(command(&sandbox, "mosaic", &["fleet", "status", "--json"])),
        || {
            let mut floor = sandbox.command(&own);
            floor.arg("--floor-of-status").env("FLOOR_SOCKET", &socket);
            timed(floor)
        },
    );
    row(
        "  against list-panes and one pipelined D-Bus listing",
        both,
        "at most 1.5",
    );
}

/// `tmux list-panes -a`, then one listing of units with three properties each.
fn floor_of_status() {
    let socket = std::env::var_os("FLOOR_SOCKET").unwrap();
    let status = Command::new("tmux")
        .args(["-N", "-S"])
        .arg(socket)
        .args(["list-panes", "-a"])
        .stdout(Stdio::null())
        .status();
    assert!(status.unwrap().success());
    let manager = mosaic::host::manager::Manager::connect().unwrap();
    let units = manager
        .units(
            &["mosaic-agent@*.service"],
            mosaic::host::manager::Detail::Full,
        )
        .unwrap();
    assert_eq!(units.len(), 200);
}

fn sleepers(sandbox: &Sandbox) {
    sandbox.write(
        &sandbox.units("floor@.service"),
        "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=exec\nExecStart=/bin/sleep 1000\nTimeoutStopSec=1\n",
    );
    sandbox.systemctl(&["daemon-reload"]).ok();
}

fn start() {
    const COUNT: usize = 100;
    let Some(sandbox) = fleet(COUNT) else { return };
    sleepers(&sandbox);
    let units: Vec<String> = (0..COUNT).map(|n| format!("floor@{n}.service")).collect();
    let socket = sandbox.path("r/floor").to_string_lossy().into_owned();
    let mosaic = || {
        timed(command(&sandbox, "mosaic", &["fleet", "stop"]));
        timed(command(&sandbox, "mosaic", &["fleet", "start"]))
    };
    let floor = || {
        let mut stop = vec!["--user", "stop"];
        stop.extend(units.iter().map(String::as_str));
        timed(command(&sandbox, "systemctl", &stop));
        let _ = command(&sandbox, "tmux", &["-N", "-S", &socket, "kill-server"]).output();
        // A server that is still ending would take the next client along.
        while command(&sandbox, "tmux", &["-N", "-S", &socket, "ls"])
            .output()
            .unwrap()
            .status
            .success()
        {}
        let _ = std::fs::remove_file(&socket);
        let begun = Instant::now();
        for n in 0..COUNT {
            let name = format!("s{n}");
            let new = [
                "-S",
                socket.as_str(),
                "-f",
                "/dev/null",
                "new-session",
                "-d",
                "-s",
                &name,
                "sleep 1000",
            ];
            timed(command(&sandbox, "tmux", &new));
        }
        let mut start = vec!["--user", "start"];
        start.extend(units.iter().map(String::as_str));
        timed(command(&sandbox, "systemctl", &start));
        begun.elapsed()
    };
    let both = side_by_side(3, mosaic, floor);
    let _ = command(&sandbox, "tmux", &["-N", "-S", &socket, "kill-server"]).output();
    row(
        "100 agents to READY, against 100 sessions and 100 sleeps",
        both,
        "at most 1.5",
    );
}

fn restart() {
    let Some(sandbox) = fleet(2) else { return };
    sleepers(&sandbox);
    sandbox.systemctl(&["start", "floor@0.service"]).ok();
    let both = side_by_side(
        20,
        || {
            timed(command(
                &sandbox,
                "systemctl",
                &["--user", "restart", "mosaic-agent@a0.service"],
            ))
        },
        || {
            timed(command(
                &sandbox,
                "systemctl",
                &["--user", "restart", "floor@0.service"],
            ))
        },
    );
    row(
        "restart of one agent to READY, against a sleep",
        both,
        "at most 3",
    );
}

/// A line to an idle agent, whole process, against what most scripts do.
fn send() {
    let agents = ["a0", "a1"].map(|name| Agent::demo(name).env("MOSAIC_DEMO_THINK_MS", "0"));
    let Some(sandbox) = Roster::new(agents).boot() else {
        return;
    };
    // What comes once only: a courier that looks about, first pages of files.
    std::thread::sleep(Duration::from_secs(1));
    let pane = sandbox.pane("a1").unwrap().id;
    let socket = sandbox.socket().to_string_lossy().into_owned();
    let tmux = |args: &[&str]| {
        let mut all = vec!["-N", "-S", &socket];
        all.extend(args);
        timed(command(&sandbox, "tmux", &all));
    };
    let recipe = || {
        let begun = Instant::now();
        let mut load = command(&sandbox, "tmux", &["-N", "-S", &socket, "load-buffer", "-"]);
        let mut child = load.stdin(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut input, b"hello there").unwrap();
        drop(input);
        assert!(child.wait().unwrap().success());
        tmux(&["paste-buffer", "-d", "-p", "-t", &pane]);
        std::thread::sleep(Duration::from_millis(500));
        tmux(&["send-keys", "-t", &pane, "Enter"]);
        std::thread::sleep(Duration::from_millis(1200));
        tmux(&["capture-pane", "-p", "-t", &pane]);
        begun.elapsed()
    };
    let ours = || {
        let args = [
            "agent",
            "send",
            "a0",
            "--until",
            "submitted",
            "-m",
            "hello there",
        ];
        timed(command(&sandbox, "mosaic", &args))
    };
    let both = side_by_side(20, ours, recipe);
    row(
        "agent send --until submitted, against the common recipe",
        both,
        "at most 0.10, aim 0.033",
    );
}

fn placeholder() {
    let Some(sandbox) = fleet(20) else { return };
    let listed = sandbox
        .tmux(&["list-panes", "-a", "-F", "#{pane_pid}"])
        .ok();
    let mut sizes: Vec<u64> = listed
        .stdout
        .lines()
        .filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok())
        .filter_map(|text| {
            let line = text.lines().find(|l| l.starts_with("Pss:"))?.to_owned();
            line.split_ascii_whitespace().nth(1)?.parse().ok()
        })
        .collect();
    sizes.sort_unstable();
    println!(
        "{:<58} {:>7} kB {:>20}  below 1536 kB",
        "placeholder per agent, PSS, the median of 20",
        sizes[sizes.len() / 2],
        ""
    );
}

/// From the agent's word that it is idle to the next message on its record, against a whole `agent send`
/// of the same message to the idle agent: both hold the message's typing and the agent's own time.
fn courier_latency() {
    const COUNT: usize = 20;
    let agent = Agent::demo("a").env("MOSAIC_DEMO_THINK_MS", "150");
    let Some(sandbox) = Roster::new([agent]).boot() else {
        return;
    };
    let wait = || timed(command(&sandbox, "mosaic", &["agent", "wait", "a"]));
    wait();
    let mut floor: Vec<Duration> = (0..COUNT)
        .map(|n| {
            let text = format!("sent {n}");
            let send = ["agent", "send", "a", "--no-preamble", "-m", &text];
            let took = timed(command(&sandbox, "mosaic", &send));
            wait();
            took
        })
        .collect();
    for n in 0..COUNT {
        let text = format!("queued {n}");
        let queue = [
            "agent",
            "send",
            "a",
            "--no-preamble",
            "--queue",
            "-m",
            &text,
        ];
        timed(command(&sandbox, "mosaic", &queue));
    }
    while sandbox.messages("a").len() < 2 * COUNT {
        std::thread::sleep(Duration::from_millis(20));
    }
    let time =
        |r: &serde_json::Value| -> jiff::Timestamp { r["time"].as_str().unwrap().parse().unwrap() };
    let mut records = sandbox.records("a");
    records.sort_by_key(|r| time(r));
    let mut idle = None;
    let mut delays = Vec::new();
    for record in &records {
        if record["state"] == "idle" {
            idle = Some(time(record));
        } else if record["type"] == "user" {
            let queued = record["text"].as_str().unwrap().starts_with("queued");
            delays.extend(
                idle.take()
                    .filter(|_| queued)
                    .map(|t| Duration::try_from(time(record).duration_since(t)).unwrap()),
            );
        }
    }
    let both = (median(&mut delays), median(&mut floor));
    row(
        "courier: idle to accepted, against agent send",
        both,
        "below 1",
    );
    println!(
        "{:<58} {:>7.1} ms at most, of {}",
        "",
        delays.last().unwrap().as_secs_f64() * 1000.0,
        delays.len()
    );
}

/// What the courier of 200 idle agents takes in twenty seconds.
fn courier_idle() {
    let Some(sandbox) = fleet(200) else { return };
    let pid = sandbox.unit("mosaic-courier.service").pid;
    let ticks = || -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let rest: Vec<&str> = text[text.rfind(')').unwrap()..].split(' ').collect();
        rest[12].parse::<u64>().unwrap() + rest[13].parse::<u64>().unwrap()
    };
    // The agents settle first.
    std::thread::sleep(Duration::from_secs(15));
    let (before, begun) = (ticks(), Instant::now());
    std::thread::sleep(Duration::from_secs(20));
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    let share = (ticks() - before) as f64 / per_second / begun.elapsed().as_secs_f64() * 100.0;
    let field = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = text
            .lines()
            .find(|l| l.starts_with(name))
            .unwrap()
            .to_owned();
        line.split_ascii_whitespace()
            .nth(1)
            .unwrap()
            .parse::<f64>()
            .unwrap()
            / 1024.0
    };
    println!(
        "{:<58} {share:>7.2} % {:>20}  below 1 %",
        "courier of 200 idle agents: share of a core", ""
    );
    println!(
        "{:<58} {:>7.1} MB {:>19}  below 30 MB",
        "  resident memory",
        field("VmRSS:"),
        ""
    );
}
