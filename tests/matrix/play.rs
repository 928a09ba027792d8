//! Plays cells: brings an agent into a situation, sends, ends the situation, sees what was kept
//! delivered, and asks the model what it got.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::cell::Cell;
use super::sender::{Said, Sender};
use super::verdict::{Facts, Verdict};
use super::{Arrival, Ground, Kind, Mark, Situation};

/// What somebody has typed and not sent.
const DRAFT: &str = "half a thought";

/// How long a message that was said to be under way may take to reach the model. The slowest agents
/// read files before they ask.
const ARRIVAL: Duration = Duration::from_secs(15);

/// How long kept messages may take once the agent is free, each.
const DRAIN: Duration = Duration::from_secs(20);

/// How long an agent may take to be in a situation. The slowest takes 9 s to start on an idle machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long an agent may take to draw its screen anew: 30 ms on an idle machine.
const DRAWN: Duration = Duration::from_secs(3);

/// Waits until a condition holds.
#[track_caller]
fn eventually(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A message on its way through a cell.
struct Sent {
    kind: Kind,
    mark: Mark,
    said: Said,
    early: Vec<Arrival>,
    harm: Option<String>,
    screen: String,
    /// What the mailbox says of it when all is over.
    kept: Option<Value>,
}

/// Plays one situation with messages of some kinds, one after the other.
pub fn play(
    ground: &dyn Ground,
    agent: &str,
    situation: Situation,
    kinds: &[Kind],
    sender: Sender,
) -> Vec<Cell> {
    let scene = Scene {
        ground,
        agent,
        situation,
        sender,
    };
    scene.idle();
    if !scene.begin() {
        return kinds.iter().map(|kind| scene.none(*kind)).collect();
    }
    let mut sent = Vec::new();
    for kind in kinds {
        sent.extend(scene.send(*kind));
    }
    scene.end();
    scene.drain(&mut sent);
    scene.fence();
    let cells = kinds.iter().map(|kind| {
        let own = sent.iter().filter(|s| s.kind == *kind);
        let judged = own.map(|s| (scene.judge(s), s));
        let worst = judged.max_by_key(|((verdict, _), _)| verdict.rank());
        let ((verdict, evidence), s) = worst.expect("each kind was sent");
        Cell {
            kind: *kind,
            situation,
            verdict,
            channel: s.said.channel().to_owned(),
            messages: situation.senders(),
            evidence,
        }
    });
    cells.collect()
}

struct Scene<'a> {
    ground: &'a dyn Ground,
    agent: &'a str,
    situation: Situation,
    sender: Sender,
}

impl Scene<'_> {
    fn none(&self, kind: Kind) -> Cell {
        Cell {
            kind,
            situation: self.situation,
            verdict: Verdict::None,
            channel: String::new(),
            messages: 0,
            evidence: String::new(),
        }
    }

    fn state(&self) -> Value {
        self.ground.sandbox().status(self.agent)["state"].clone()
    }

    #[track_caller]
    fn idle(&self) {
        let begun = Instant::now();
        while self.state() != "idle" {
            let late = begun.elapsed() > PATIENCE;
            assert!(
                !late,
                "`{}` is not idle but {} around `{}`\n{}",
                self.agent,
                self.ground.sandbox().status(self.agent),
                self.situation.name(),
                self.screen()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn screen(&self) -> String {
        let s = self.ground.sandbox();
        match s.pane(self.agent) {
            Some(_) => s.screen(self.agent),
            None => String::new(),
        }
    }

    /// Brings it about; `false` when the runtime knows no such situation.
    fn begin(&self) -> bool {
        let (s, agent) = (self.ground.sandbox(), self.agent);
        match self.situation {
            Situation::Idle | Situation::Burst | Situation::Pair => {}
            // These last no longer than one message.
            Situation::Starting | Situation::CopyMode => {}
            Situation::Busy => self.ground.work(agent),
            Situation::Draft => {
                s.type_into(agent, DRAFT);
                eventually("the draft is there", || self.screen().contains(DRAFT));
            }
            Situation::Approval => return self.ground.ask(agent),
            Situation::Dead => {
                s.mosaic(&["fleet", "stop", agent]).ok();
            }
        }
        true
    }

    fn send(&self, kind: Kind) -> Vec<Sent> {
        let (s, agent) = (self.ground.sandbox(), self.agent);
        match self.situation {
            Situation::Starting => {
                self.idle();
                self.ground.kill(agent);
            }
            Situation::CopyMode => {
                self.idle();
                let pane = s.pane(agent).expect("a pane");
                s.tmux(&["copy-mode", "-t", &pane.id]).ok();
            }
            _ => {}
        }
        let one = || {
            let mark = Mark::new();
            let patience = self.situation.patience();
            let text = kind.text(&mark);
            let said = self.sender.send(s, agent, kind, &text, patience);
            (mark, said)
        };
        let senders = self.situation.senders();
        let all: Vec<(Mark, Said)> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..senders).map(|_| scope.spawn(one)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let (harm, screen) = (self.harm(), self.screen());
        all.into_iter()
            .map(|(mark, said)| Sent {
                early: self.ground.holding(&mark.first),
                kind,
                said,
                mark,
                harm: harm.clone(),
                screen: screen.clone(),
                kept: None,
            })
            .collect()
    }

    /// What came to harm in this situation.
    fn harm(&self) -> Option<String> {
        if self.ground.approved(self.agent) {
            return Some("something was approved or run".to_owned());
        }
        match self.situation {
            Situation::Draft if !self.draft_stands() => Some("the draft is gone".to_owned()),
            Situation::Approval if self.state() != "waiting" => {
                Some(format!("the dialog is gone, it is {}", self.state()))
            }
            _ => None,
        }
    }

    /// Whether the draft is in the box. In the midst of being drawn a screen may lack it; what is gone stays
    /// gone.
    fn draft_stands(&self) -> bool {
        let begun = Instant::now();
        while !self.screen().contains(DRAFT) {
            if begun.elapsed() > DRAWN {
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        true
    }

    /// Ends it.
    fn end(&self) {
        let (s, agent) = (self.ground.sandbox(), self.agent);
        match self.situation {
            Situation::Busy => self.ground.rest(agent),
            Situation::Draft => self.erase(),
            Situation::Approval => self.ground.deny(agent),
            Situation::Dead => {
                s.mosaic(&["fleet", "start", agent]).ok();
            }
            Situation::CopyMode => {
                // What does not go by the terminal leaves it as it is; too late is no error.
                let pane = s.pane(agent).expect("a pane");
                s.tmux(&["send-keys", "-t", &pane.id, "-X", "cancel"]);
            }
            _ => {}
        }
        // After a control that approved, merged and broke things it may be anywhere.
        if self.sender == Sender::Mosaic {
            self.idle();
        }
    }

    /// Takes the draft back as the person would, key by key.
    fn erase(&self) {
        let (s, agent) = (self.ground.sandbox(), self.agent);
        // What the control did to it is past taking back.
        if self.sender == Sender::Recipe {
            return;
        }
        let pane = s.pane(agent).expect("a pane");
        let keys = vec!["BSpace"; DRAFT.len()];
        let mut args = vec!["send-keys", "-t", &pane.id];
        args.extend(keys);
        s.tmux(&args).ok();
        eventually("the draft is gone", || !self.screen().contains(DRAFT));
    }

    /// Has what was kept delivered, and waits for what was said to be under way.
    fn drain(&self, sent: &mut [Sent]) {
        let s = self.ground.sandbox();
        let kept = |x: &&mut Sent| x.said.rung() == "queued";
        let waiting = sent.iter_mut().filter(kept).count();
        let begun = Instant::now();
        let most = DRAIN * u32::try_from(waiting).expect("a few");
        let pending = || {
            let listed = s.mosaic(&["agent", "inbox", "list", self.agent, "--json"]);
            let messages = listed.json()["messages"].clone();
            let messages = messages.as_array().into_iter().flatten();
            let waits = ["queued", "typing", "submitted"];
            let waits = |m: &&Value| waits.iter().any(|w| m["stage"] == *w);
            messages.filter(waits).count()
        };
        while waiting > 0 && pending() > 0 && begun.elapsed() < most {
            // The courier may be at it; what this says is judged by what arrives.
            s.mosaic(&["agent", "inbox", "flush", self.agent, "--timeout", "5"]);
        }
        for x in sent.iter_mut().filter(kept) {
            let out = s.mosaic(&["agent", "inbox", "show", x.said.id(), "--json"]);
            let row: Value = serde_json::from_str(&out.stdout).unwrap_or_default();
            // What was found out at the delivery is said there.
            for key in ["altered", "as_file"] {
                x.said.receipt[key] = row["outcome"][key].clone();
            }
            x.said.receipt["channel"] = row["channel"].clone();
            x.kept = Some(row);
        }
        let begun = Instant::now();
        for x in sent {
            let awaited = ["queued", "submitted", "accepted", "answered"].contains(&x.said.rung());
            while awaited && !self.arrived(x) && begun.elapsed() < ARRIVAL {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    fn arrived(&self, x: &Sent) -> bool {
        !self.ground.holding(&x.mark.last).is_empty() || !self.pointers(x).is_empty()
    }

    fn pointers(&self, x: &Sent) -> Vec<Arrival> {
        let file = x.said.as_file();
        file.map(|f| self.ground.holding(f)).unwrap_or_default()
    }

    /// Whatever was typed before this message has arrived when it has: a terminal keeps the order.
    fn fence(&self) {
        if self.sender == Sender::Recipe {
            return;
        }
        let mark = Mark::new();
        let s = self.ground.sandbox();
        let said = self
            .sender
            .send(s, self.agent, Kind::Dash, &Kind::Dash.text(&mark), 45);
        assert_eq!(
            said.code,
            Some(0),
            "`{}` takes no message after `{}`: {} {}\n{}",
            self.agent,
            self.situation.name(),
            said.receipt,
            said.stderr,
            self.screen()
        );
        eventually("a message after all others arrives", || {
            !self.ground.holding(&mark.last).is_empty()
        });
    }

    fn judge(&self, x: &Sent) -> (Verdict, String) {
        let facts = Facts {
            agent: self.agent.to_owned(),
            kind: x.kind,
            first: self.ground.holding(&x.mark.first),
            last: self.ground.holding(&x.mark.last),
            pointers: self.pointers(x),
            file: x
                .said
                .as_file()
                .and_then(|f| std::fs::read_to_string(f).ok()),
            kept: x
                .kept
                .as_ref()
                .map(|row| row["stage"].as_str().unwrap_or("none").to_owned()),
            harm: x.harm.clone().or_else(|| {
                let approved = self.ground.approved(self.agent);
                approved.then(|| "something was approved or run later".to_owned())
            }),
            early: x.early.clone(),
            mark: x.mark.clone(),
            said: x.said.clone(),
        };
        let verdict = Verdict::of(&facts);
        let evidence = format!(
            "  sent {:?}\n  said exit {:?} {}\n  {}\n  first word {:?}\n  last word {:?}\n  pointers {:?}\n  kept {:?}\n--- screen\n{}\n---",
            shortened(&x.kind.text(&x.mark)),
            x.said.code,
            x.said.receipt,
            x.said.stderr.trim_end(),
            facts.first.iter().map(short).collect::<Vec<_>>(),
            facts.last.iter().map(short).collect::<Vec<_>>(),
            facts.pointers.iter().map(short).collect::<Vec<_>>(),
            x.kept,
            x.screen.trim_end(),
        );
        (verdict, evidence)
    }
}

fn short(arrival: &Arrival) -> String {
    let blocks: Vec<String> = arrival.blocks.iter().map(|b| shortened(b)).collect();
    format!("{}: {}", arrival.agent, blocks.join(" | "))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(400) {
        Some((at, _)) => format!("{}… ({} bytes)", &text[..at], text.len()),
        None => text.to_owned(),
    }
}
