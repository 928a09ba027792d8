//! Whatever is killed at whatever moment, a message arrives at most once, an accepted one exactly once,
//! and of the rest the mailbox knows that it waits or that nobody can tell.
//!
//! `MOSAIC_FAULT_SEED` replays the choices of one run, `MOSAIC_FAULTS` is the number of deliveries.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Agent, Roster, Running, Sandbox, eventually, proc};

const AGENTS: [&str; 3] = ["a", "ab", "b"];

/// Each takes some tenths of a second on an idle machine, and a second where the server is killed.
const DEADLINE: Duration = Duration::from_secs(900);

/// Random numbers that a seed brings back (xorshift64*).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }
}

/// What is killed.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Sender,
    Courier,
    Agent,
    Server,
    Nobody,
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn courier(s: &Sandbox) -> Option<i32> {
    let pid = s.property("mosaic-courier.service", "MainPID");
    pid.parse().ok().filter(|pid| *pid > 0)
}

fn kill(s: &Sandbox, victim: Victim, agent: &str, sender: &mut Running) {
    let pid = match victim {
        Victim::Sender => return sender.signal(Signal::KILL),
        Victim::Courier => courier(s),
        Victim::Agent => Some(s.agent(agent).pid).filter(|pid| *pid > 0),
        Victim::Server => s.server(),
        Victim::Nobody => None,
    };
    if let Some(pid) = pid {
        proc::kill(pid, Signal::KILL);
    }
}

/// A message, and what its sender said; `None` when the sender was killed.
struct Told {
    id: String,
    agent: &'static str,
    text: String,
    victim: Victim,
    delay: u64,
    said: Option<(Option<i32>, String)>,
}

fn one(s: &Sandbox, dice: &mut Dice, n: u64) -> Told {
    let agent = AGENTS[usize::try_from(dice.below(3)).unwrap()];
    let victim = match dice.below(20) {
        0..6 => Victim::Sender,
        6..10 => Victim::Courier,
        10..15 => Victim::Agent,
        15 => Victim::Server,
        _ => Victim::Nobody,
    };
    let queued = dice.below(3) == 0;
    let delay = dice.below(250);
    let lines = dice.below(4);
    let (id, text) = (
        format!("fault-{n:05}"),
        format!(
            "<{n:05}>{}",
            "\nmore".repeat(usize::try_from(lines).unwrap())
        ),
    );
    let mut args = vec![
        "agent",
        "send",
        agent,
        "--no-preamble",
        "--json",
        "--id",
        &id,
        "-m",
        &text,
    ];
    match queued {
        true => args.push("--queue"),
        false => args.extend(["--timeout", "4"]),
    }
    let mut sender = s.start(&args);
    std::thread::sleep(Duration::from_millis(delay));
    kill(s, victim, agent, &mut sender);
    let out = sender.wait();
    let receipt: Value = serde_json::from_str(&out.stdout).unwrap_or_default();
    let rung = receipt["receipt"].as_str().unwrap_or_default().to_owned();
    let said = (!rung.is_empty()).then(|| (out.status.code(), rung));
    Told {
        id,
        agent,
        text,
        victim,
        delay,
        said,
    }
}

/// Delivers what still waits, and finds out about what has left: whoever did either may be dead.
fn settle(s: &Sandbox) {
    for agent in AGENTS {
        eventually(&format!("`{agent}` is idle"), || {
            s.status(agent)["state"] == "idle"
        });
    }
    let waits = || {
        // What has left is listed only so.
        let args = ["agent", "inbox", "list", "--all", "--json"];
        let listed = s.mosaic(&args).ok().json();
        let messages = listed["messages"].as_array().into_iter().flatten();
        let open = |m: &&Value| {
            ["queued", "typing", "typed", "submitted"]
                .iter()
                .any(|w| m["stage"] == *w)
        };
        messages.filter(open).count()
    };
    let begun = std::time::Instant::now();
    while waits() > 0 && begun.elapsed() < Duration::from_secs(120) {
        s.mosaic(&["agent", "inbox", "flush", "--timeout", "3"]);
    }
}

/// What is wrong with a message.
fn wrong(s: &Sandbox, told: &Told) -> Option<String> {
    let mark = &told.text[..7];
    let count = |agent: &str| {
        let messages = s.messages(agent);
        let whole = messages.iter().filter(|m| **m == told.text).count();
        (
            whole,
            messages
                .iter()
                .map(|m| m.matches(mark).count())
                .sum::<usize>(),
        )
    };
    let elsewhere: usize = AGENTS
        .iter()
        .filter(|a| **a != told.agent)
        .map(|a| count(a).1)
        .sum();
    let (whole, any) = count(told.agent);
    let out = s.mosaic(&["agent", "inbox", "show", &told.id, "--json"]);
    let row: Value = serde_json::from_str(&out.stdout).unwrap_or_default();
    let stage = row["stage"].as_str().unwrap_or("unknown");
    let why = if elsewhere > 0 {
        "it reached another agent"
    } else if any > 1 {
        "it arrived more than once"
    } else if any != whole {
        "it arrived as another text"
    } else {
        match (
            told.said
                .as_ref()
                .map(|(code, rung)| (*code, rung.as_str())),
            stage,
            any,
        ) {
            (Some((Some(0), "accepted" | "submitted" | "answered")), _, 0) => {
                "said to have arrived"
            }
            (_, "accepted" | "answered", 0) => "the mailbox says it arrived",
            (_, "queued", 1) => "it waits, and arrived",
            (_, "refused" | "expired" | "cancelled", 1) => "it was refused, and arrived",
            (_, "submitted" | "typing" | "typed", _) => "nobody found out about it",
            (Some(_), "unknown", _) => {
                "its sender was told of it, and the mailbox does not know it"
            }
            (None, "unknown", 1) => "it arrived, and the mailbox does not know it",
            _ => return None,
        }
    };
    Some(format!(
        "{}: {why}: {any} arrivals, sender said {:?}, mailbox says {stage} ({}), {:?} killed after {} ms",
        told.id, told.said, row["outcome"], told.victim, told.delay
    ))
}

#[test]
fn every_message_arrives_once_or_is_known_not_to() {
    // Once is enough where the suite runs for two accounts.
    let most = if std::env::var_os("MOSAIC_TEST_USER").is_some() {
        10
    } else {
        50
    };
    let count = number("MOSAIC_FAULTS").unwrap_or(most);
    let Some(s) = Sandbox::lasting(DEADLINE) else {
        return;
    };
    Roster::new(AGENTS.map(Agent::demo)).up(&s);
    let seed = number("MOSAIC_FAULT_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.unwrap().as_micros() as u64 | 1
    });
    println!("MOSAIC_FAULT_SEED={seed} MOSAIC_FAULTS={count}");
    let mut dice = Dice(seed);
    let told: Vec<Told> = (0..count).map(|n| one(&s, &mut dice, n)).collect();
    settle(&s);
    let stages: Vec<String> = told.iter().filter_map(|t| wrong(&s, t)).collect();
    let arrived = AGENTS.iter().map(|a| s.messages(a).len()).sum::<usize>();
    println!("{arrived} of {count} arrived");
    assert!(
        stages.is_empty(),
        "MOSAIC_FAULT_SEED={seed} MOSAIC_FAULTS={count}\n{}",
        stages.join("\n")
    );
    // Kills leave some in doubt; if most were, the test would prove little.
    assert!(arrived as u64 * 2 > count, "{arrived} of {count}");
}
