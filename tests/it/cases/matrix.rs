//! The delivery matrix with demo agents: every kind of message in every situation, in one fleet.

use std::sync::Mutex;
use std::time::Duration;

use rustix::process::Signal;

use crate::matrix::table::{Sheet, made, replaced};
use crate::matrix::{Arrival, Cell, Ground, Kind, Sender, Situation, Verdict, cell, play};
use crate::support::{Agent, Roster, Sandbox, eventually};

/// Some two hundred messages, each by a process of its own: half a minute on two idle cores.
const DEADLINE: Duration = Duration::from_secs(400);

/// Demo agents; what they take up is what a model would get.
struct Demo {
    s: Sandbox,
    agents: Vec<String>,
}

impl Demo {
    fn boot(agents: Vec<Agent>, names: &[&str]) -> Option<Self> {
        let s = Sandbox::lasting(DEADLINE)?;
        Roster::new(agents).up(&s);
        // For a completion to offer.
        s.write(&s.path("work/notes.md"), "notes\n");
        Some(Self {
            s,
            agents: names.iter().map(|n| (*n).to_owned()).collect(),
        })
    }

    fn has(&self, agent: &str, what: &str) -> bool {
        self.s.records(agent).iter().any(|r| r["type"] == what)
    }
}

impl Ground for Demo {
    fn sandbox(&self) -> &Sandbox {
        &self.s
    }

    fn holding(&self, text: &str) -> Vec<Arrival> {
        let mut found = Vec::new();
        for agent in &self.agents {
            for message in self.s.messages(agent) {
                let arrival = Arrival {
                    agent: agent.clone(),
                    blocks: vec![message],
                };
                let times = arrival.blocks[0].matches(text).count();
                found.extend(std::iter::repeat_n(arrival, times));
            }
        }
        found
    }

    fn work(&self, agent: &str) {
        self.tell(agent, "PLEASE WORK 600000", "working");
    }

    fn rest(&self, agent: &str) {
        self.s.press(agent, "Escape");
    }

    fn ask(&self, agent: &str) -> bool {
        self.tell(agent, "PLEASE ASK", "waiting");
        true
    }

    fn deny(&self, agent: &str) {
        if self.s.status(agent)["state"] == "waiting" {
            self.s.press(agent, "Escape");
        }
    }

    fn approved(&self, agent: &str) -> bool {
        self.has(agent, "approved") || self.has(agent, "shell")
    }

    fn kill(&self, agent: &str) {
        let place = self.s.up(agent);
        self.s.kill_agent(&place, Signal::KILL);
        self.s.gone(place.pid);
    }
}

impl Demo {
    fn tell(&self, agent: &str, text: &str, state: &str) {
        self.s.mosaic(&["agent", "send", agent, "-m", text]).ok();
        eventually(&format!("`{agent}` is {state}"), || {
            self.s.status(agent)["state"] == state
        });
    }
}

/// One situation a thread, each with an agent of its own.
fn play_all(demo: &Demo, plan: &[(&str, Situation, &[Kind])], sender: Sender) -> Vec<Cell> {
    let cells = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for (agent, situation, kinds) in plan {
            scope.spawn(|| {
                let played = play(demo, agent, *situation, kinds, sender);
                cells.lock().unwrap().extend(played);
            });
        }
    });
    let mut cells = cells.into_inner().unwrap();
    cells.sort_by_key(|c| (c.situation, c.kind));
    cells
}

#[test]
fn every_kind_in_every_situation() {
    use Situation::{Approval, Burst, Busy, CopyMode, Dead, Draft, Idle, Pair, Starting};
    let slow = |name: &str| Agent::demo(name).persona("slow-start=600");
    let plain = ["i", "b", "d", "q", "p", "x", "c", "a", "ab"];
    let starting = ["s0", "s1", "s2"];
    let agents = plain.iter().map(|n| Agent::demo(n));
    let agents = agents.chain(starting.iter().map(|n| slow(n))).collect();
    let names: Vec<&str> = plain.into_iter().chain(starting).collect();
    let Some(demo) = Demo::boot(agents, &names) else {
        return;
    };
    let (early, late) = Kind::ALL.split_at(Kind::ALL.len() / 3);
    let (middle, late) = late.split_at(late.len() / 2);
    let all = &Kind::ALL[..];
    let cells = play_all(
        &demo,
        &[
            ("i", Idle, all),
            ("b", Busy, all),
            ("d", Draft, all),
            ("q", Burst, all),
            ("p", Approval, all),
            ("x", Dead, all),
            ("c", CopyMode, all),
            ("a", Pair, all),
            ("s0", Starting, early),
            ("s1", Starting, middle),
            ("s2", Starting, late),
        ],
        Sender::Mosaic,
    );
    for cell in &cells {
        println!("{}", cell.line());
    }
    assert_eq!(cells.len(), Kind::ALL.len() * Situation::ALL.len());
    cell::no_lies(&cells);
    // Where nothing stands in the way, honest is not enough.
    for cell in &cells {
        let wanted: &[&str] = match (cell.situation, cell.kind) {
            (Busy | Draft | Approval | Dead, _) => &["later"],
            (_, Kind::Kb60) => &["exact", "as-file"],
            _ => &["exact"],
        };
        assert!(wanted.contains(&cell.verdict.word()), "{}", cell.line());
    }
}

/// What is published is what a run found, about the releases that the scripts install.
#[test]
fn the_published_table_is_what_was_measured() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let sheet = Sheet::load(&root.join("docs/delivery.json"));
    let path = root.join("docs/delivery.md");
    let mut document = std::fs::read_to_string(&path).unwrap();
    // As for the other generated files.
    if std::env::var_os("MOSAIC_UPDATE").is_some() {
        document = replaced(&document, &sheet.render()).expect("docs/delivery.md has its marks");
        std::fs::write(&path, &document).unwrap();
    }
    let part = made(&document).expect("docs/delivery.md has its marks");
    assert_eq!(
        part,
        sheet.render(),
        "scripts/delivery-matrix --all renews it"
    );
    assert_eq!(sheet.version, 1);
    let pins = std::fs::read_to_string(root.join("scripts/agent-clis")).unwrap();
    for (runtime, run) in &sheet.runtimes {
        let pin = pins.lines().find_map(|line| {
            let mut words = line.trim().trim_matches('"').split(' ');
            (words.next() == Some(runtime)).then(|| words.nth(1).unwrap_or_default())
        });
        assert_eq!(pin, Some(run.version.as_str()), "{runtime}");
        for cell in &run.cells {
            assert_ne!(cell.verdict, "lie", "{runtime}: {cell:?}");
            assert!(Situation::ALL.iter().any(|s| s.name() == cell.situation));
            assert!(Kind::ALL.iter().any(|k| k.name() == cell.kind));
        }
    }
}

/// The control: what most scripts do, judged the same way, is caught in each trap.
#[test]
fn the_common_recipe_is_found_out() {
    use Situation::{Approval, Burst, Draft, Idle};
    let names = ["i", "d", "q", "p"];
    let agents = names.iter().map(|n| Agent::demo(n)).collect();
    let Some(demo) = Demo::boot(agents, &names) else {
        return;
    };
    let plain = &[Kind::Dash][..];
    let plan = [
        ("i", Idle, plain),
        ("d", Draft, plain),
        ("q", Burst, plain),
        ("p", Approval, plain),
    ];
    let cells = play_all(&demo, &plan, Sender::Recipe);
    let found = |situation| {
        let cell = cells.iter().find(|c| c.situation == situation).unwrap();
        (cell.verdict.clone(), cell.line())
    };
    let (idle, line) = found(Idle);
    assert_eq!(idle, Verdict::Exact, "{line}");
    for situation in [Draft, Burst, Approval] {
        let (verdict, line) = found(situation);
        assert!(matches!(verdict, Verdict::Lie(_)), "{line}");
    }
    let bang = play(
        &demo,
        "i",
        Idle,
        &[Kind::Bang, Kind::Escape],
        Sender::Recipe,
    );
    for cell in bang {
        assert!(matches!(cell.verdict, Verdict::Lie(_)), "{}", cell.line());
    }
}
