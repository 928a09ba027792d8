//! The delivery matrix with the real CLIs, and how long they take to accept a message.
//! `scripts/delivery-matrix` runs it; without what that sets, it is nothing.
//!
//! | variable | |
//! |---|---|
//! | `MOSAIC_MATRIX` | the runtimes, separated by blanks |
//! | `MOSAIC_MATRIX_ALL` | `1`: every kind in every situation, not only in the idle one |
//! | `MOSAIC_MATRIX_SHEET` | the file that what was found is written to |
//! | `MOSAIC_MATRIX_DOCUMENT` | the document whose made part is renewed from it |

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::cli::{CLIS, Real, installed};
use crate::matrix::table::{Found, Run, Sheet, replaced};
use crate::matrix::{Arrival, Cell, Ground, Kind, Sender, Situation, Verdict, play};
use crate::support::{Agent, Sandbox, proc};

/// The slowest runtime takes this long for all cells on two busy cores.
const DEADLINE: Duration = Duration::from_secs(1500);

/// The two agents of each fleet: the name of one begins with that of the other.
const NAMES: [&str; 2] = ["a", "ab"];

/// Sends whose time is taken.
const TIMED: usize = 10;

struct Stage {
    real: Real,
    runtime: &'static str,
}

impl Stage {
    fn boot(runtime: &'static str) -> Option<Self> {
        let real = Real::lasting(DEADLINE)?;
        let agent = |name: &str| -> Agent {
            match runtime {
                "claude" => real.claude(name),
                "pi" => real.pi(name),
                "codex" => real.codex(name),
                "opencode" => real.opencode(name),
                "gemini" => real.gemini(name),
                _ => real.goose(name),
            }
        };
        real.s.write(&real.s.path("work/notes.md"), "notes\n");
        let roster = real.roster(NAMES.map(agent));
        roster
            .default("ready_timeout", serde_json::json!("90s"))
            .up(&real.s);
        let stage = Self { real, runtime };
        // Its first message tells later whose conversation it is.
        for name in NAMES {
            stage.until(name, "idle");
            stage.tell(name, &seed(name), "accepted");
            stage.until(name, "idle");
        }
        Some(stage)
    }

    #[track_caller]
    fn tell(&self, agent: &str, text: &str, until: &str) {
        let args = ["agent", "send", agent, "-m", text, "--until", until];
        self.real.s.mosaic(&args).ok();
    }

    #[track_caller]
    fn until(&self, agent: &str, state: &str) {
        let begun = Instant::now();
        loop {
            let status = self.real.s.status(agent);
            if status["state"] == state {
                return;
            }
            let late = begun.elapsed() > Duration::from_secs(90);
            assert!(
                !late,
                "{} is not {state}: {status}\n{}",
                self.runtime,
                self.real.s.screen(agent)
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn seed(agent: &str) -> String {
    format!("hello, you are seed-of-{agent}.")
}

impl Ground for Stage {
    fn sandbox(&self) -> &Sandbox {
        &self.real.s
    }

    fn holding(&self, text: &str) -> Vec<Arrival> {
        let found = self.real.model.holding(text).into_iter();
        found
            .map(|(begin, blocks)| {
                let begin = begin.join("\n");
                let whose = NAMES.iter().find(|n| begin.contains(&seed(n)));
                Arrival {
                    agent: whose.unwrap_or(&"nobody").to_string(),
                    blocks,
                }
            })
            .collect()
    }

    fn work(&self, agent: &str) {
        self.tell(agent, "SLEEP 600 and then go on", "submitted");
        self.until(agent, "working");
    }

    fn rest(&self, _: &str) {
        self.real.model.hurry();
    }

    fn ask(&self, agent: &str) -> bool {
        // It has no dialogs.
        if self.runtime == "pi" {
            return false;
        }
        self.tell(agent, "please use the TOOL now", "submitted");
        self.until(agent, "waiting");
        true
    }

    fn deny(&self, agent: &str) {
        self.real.s.mosaic(&["agent", "deny", agent]).ok();
    }

    fn approved(&self, _: &str) -> bool {
        self.real.s.path("work/approved-marker").exists()
    }

    fn kill(&self, agent: &str) {
        let pid = self.real.pid(agent);
        proc::kill(pid, Signal::KILL);
        self.real.s.gone(pid);
    }
}

/// All situations, and the names of those that could not be played to their end; those that one agent can play beside those of the other.
fn cells(stage: &Stage, all: bool) -> (Vec<Cell>, Vec<&'static str>) {
    use Situation::{Approval, Burst, Busy, CopyMode, Dead, Draft, Idle, Pair, Starting};
    let plans: [&[Situation]; 2] = [
        &[Idle, CopyMode, Pair, Starting, Dead],
        &[Busy, Draft, Approval, Burst],
    ];
    let (cells, broken) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for (agent, plan) in NAMES.into_iter().zip(plans) {
            let (cells, broken) = (&cells, &broken);
            scope.spawn(move || {
                for situation in plan {
                    let kinds = match all || *situation == Idle {
                        true => &Kind::ALL[..],
                        false => &Kind::FEW[..],
                    };
                    let played = || play(stage, agent, *situation, kinds, Sender::Mosaic);
                    // What breaks one situation says nothing about the others.
                    let played = std::panic::AssertUnwindSafe(played);
                    let Ok(played) = std::panic::catch_unwind(played) else {
                        broken.lock().unwrap().push(situation.name());
                        continue;
                    };
                    for cell in &played {
                        println!("{:<9} {}", stage.runtime, cell.line());
                    }
                    cells.lock().unwrap().extend(played);
                }
            });
        }
    });
    let mut cells = cells.into_inner().unwrap();
    cells.sort_by_key(|c| (c.situation, c.kind));
    (cells, broken.into_inner().unwrap())
}

/// A CLI's release, as its package says.
fn version(runtime: &str) -> String {
    let program = std::fs::canonicalize(installed(runtime).unwrap()).unwrap();
    let found = program.ancestors().find_map(|dir| {
        let text = std::fs::read_to_string(dir.join("package.json")).ok()?;
        let package: serde_json::Value = serde_json::from_str(&text).ok()?;
        // Some keep a nameless one beside their code.
        package["name"].as_str()?;
        Some(package["version"].as_str()?.to_owned())
    });
    found.unwrap_or_else(|| "unknown".to_owned())
}

#[test]
fn the_delivery_matrix() {
    let Ok(wanted) = std::env::var("MOSAIC_MATRIX") else {
        return;
    };
    let all = std::env::var("MOSAIC_MATRIX_ALL").as_deref() == Ok("1");
    let path = std::env::var_os("MOSAIC_MATRIX_SHEET").map(PathBuf::from);
    let mut wrong = Vec::new();
    for name in wanted.split_whitespace() {
        let runtime = CLIS.into_iter().find(|c| *c == name);
        let runtime = runtime.unwrap_or_else(|| panic!("no runtime `{name}`"));
        let played = std::panic::catch_unwind(|| one(runtime, all));
        let Ok(Some((run, broken))) = played else {
            wrong.push(format!("{runtime}: the run did not come to its end"));
            continue;
        };
        let broken = broken.into_iter();
        wrong.extend(broken.map(|situation| format!("{runtime}: {situation}: broke off")));
        let lies = run.cells.iter().filter(|c| c.verdict == "lie");
        wrong.extend(lies.map(|c| format!("{runtime}: {} × {}: {}", c.kind, c.situation, c.note)));
        if let Some(path) = &path {
            publish(path, runtime, run);
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn publish(path: &Path, runtime: &str, run: Run) {
    let mut sheet = Sheet::load(path);
    sheet.runtimes.insert(runtime.to_owned(), run);
    sheet.save(path);
    if let Some(document) = std::env::var_os("MOSAIC_MATRIX_DOCUMENT").map(PathBuf::from) {
        let text = std::fs::read_to_string(&document).unwrap();
        let text = replaced(&text, &sheet.render()).expect("a document with its marks");
        std::fs::write(document, text).unwrap();
    }
}

fn one(runtime: &'static str, all: bool) -> Option<(Run, Vec<&'static str>)> {
    let begun = Instant::now();
    let stage = Stage::boot(runtime)?;
    let (cells, broken) = cells(&stage, all);
    let count = |word: &str| cells.iter().filter(|c| c.verdict.word() == word).count();
    println!(
        "{runtime}: {} cells in {} s: {} lies",
        cells.len(),
        begun.elapsed().as_secs(),
        count(Verdict::Lie(String::new()).word())
    );
    if broken.is_empty() {
        speed(&stage);
    }
    let tmux = stage.real.s.run("tmux", &["-V"]).stdout;
    let run = Run {
        version: version(runtime),
        date: jiff::Zoned::now().date().to_string(),
        tmux: tmux.trim().to_owned(),
        seconds: begun.elapsed().as_secs(),
        cells: cells.iter().map(Found::from).collect(),
    };
    Some((run, broken))
}

/// How long a line takes until the agent's own record has it: by mosaic, and by a bare paste and Enter
/// with nothing around it. Printed; a busy machine must not turn a build red.
fn speed(stage: &Stage) {
    let s = &stage.real.s;
    let (mut ours, mut said, mut raw) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..TIMED {
        stage.until("a", "idle");
        let text = format!("time it {n}");
        let out = s
            .mosaic(&["agent", "send", "a", "--json", "-m", &text])
            .ok();
        ours.push(out.took.as_millis());
        said.push(out.json()["elapsed_ms"].as_u64().unwrap_or(0));

        stage.until("a", "idle");
        let pane = s.pane("a").expect("a pane").id;
        let text = format!("time it raw {n}");
        s.tmux(&["set-buffer", "-b", "t", "--", &text]).ok();
        s.tmux(&["paste-buffer", "-d", "-p", "-b", "t", "-t", &pane])
            .ok();
        std::thread::sleep(Duration::from_millis(200));
        let begun = Instant::now();
        s.tmux(&["send-keys", "-t", &pane, "Enter"]).ok();
        while !stage.real.recorded("a", &text) && begun.elapsed() < Duration::from_secs(3) {
            std::thread::sleep(Duration::from_millis(2));
        }
        raw.push(begun.elapsed().as_millis());
    }
    ours.sort_unstable();
    said.sort_unstable();
    raw.sort_unstable();
    println!(
        "{}: a line accepted, p50 of {TIMED}: mosaic {} ms (by its receipt {} ms); the CLI's own record {} ms after Enter, of a paste made before",
        stage.runtime,
        ours[TIMED / 2],
        said[TIMED / 2],
        raw[TIMED / 2]
    );
}
