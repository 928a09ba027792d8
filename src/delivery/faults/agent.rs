//! The scripted agent: a box, a record that may be late, turns, dialogs, a person with drafts, and
//! deaths. It tells what reached its model; nothing else counts.

use super::world::Dice;

/// Which way leads into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// A box that is pasted into.
    Box,
    /// It takes a message in one step.
    Socket,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doing {
    Idle,
    Working(u64),
    Dialog(u64),
    Down(u64),
}

/// One line of its record.
#[derive(Debug, Clone)]
pub struct Line {
    /// From when on it can be read.
    pub from: u64,
    pub text: String,
    /// When its turn ends.
    pub ends: u64,
}

pub struct Agent {
    pub way: Way,
    pub doing: Doing,
    pub text: String,
    pub record: Vec<Line>,
    /// All that reached the model, in order.
    pub model: Vec<String>,
    /// Counts its processes.
    pub process: u32,
    /// The next Enter does nothing.
    pub swallows: bool,
    /// How its record and its person behave.
    pub late: u64,
    pub restless: bool,
    pub mortal: bool,
    /// It forgets ids it was given when it restarts.
    pub ids: Vec<String>,
    /// The person does nothing any more, and it lives on.
    pub calm: bool,
}

impl Agent {
    pub fn new(dice: &mut Dice) -> Self {
        let late = [5, 100, 1_500, 7_000][usize::try_from(dice.below(4)).unwrap_or(0)];
        Self {
            way: if dice.one_in(4) {
                Way::Socket
            } else {
                Way::Box
            },
            doing: if dice.one_in(3) {
                Doing::Down(dice.below(800))
            } else {
                Doing::Idle
            },
            text: String::new(),
            record: Vec::new(),
            model: Vec::new(),
            process: 1,
            swallows: dice.one_in(2),
            late,
            restless: dice.one_in(2),
            mortal: dice.one_in(3),
            ids: Vec::new(),
            calm: false,
        }
    }

    /// What happens by itself as time passes.
    pub fn live(&mut self, clock: u64, dice: &mut Dice, trace: &mut Vec<String>) {
        let mut note = |what: &str| trace.push(format!("{clock:>6}   agent {what}"));
        match self.doing {
            Doing::Working(until) | Doing::Dialog(until) if until <= clock => {
                self.doing = Doing::Idle;
                note("is idle");
            }
            Doing::Down(until) if until <= clock => {
                self.doing = Doing::Idle;
                note("is up");
            }
            _ => {}
        }
        if self.calm {
            return;
        }
        if self.mortal && dice.one_in(150) && !matches!(self.doing, Doing::Down(_)) {
            self.die(clock, dice);
            note("dies");
        }
        if self.restless && self.doing == Doing::Idle {
            if dice.one_in(60) {
                self.doing = Doing::Dialog(clock + dice.below(600));
                note("asks");
            } else if dice.one_in(40) && self.way == Way::Box {
                self.text.push_str("draft ");
                note("gets a draft");
            } else if dice.one_in(10) && self.is_drafts() {
                let text = std::mem::take(&mut self.text);
                self.take(text, clock, dice);
                note("is sent the draft");
            } else if dice.one_in(30) && self.text.contains("draft") {
                self.text.clear();
                note("has its box cleared");
            }
        }
    }

    /// Nothing in the box but what the person typed.
    fn is_drafts(&self) -> bool {
        !self.text.is_empty() && self.text.replace("draft ", "").is_empty()
    }

    fn die(&mut self, clock: u64, dice: &mut Dice) {
        self.doing = Doing::Down(clock + dice.below(500));
        self.text.clear();
        self.process += 1;
        self.ids.clear();
        // What it had not written yet is never written.
        self.record.retain(|l| l.from <= clock);
    }

    pub fn up(&self) -> bool {
        !matches!(self.doing, Doing::Down(_))
    }

    /// The model gets a text, and the record, perhaps later.
    pub fn take(&mut self, text: String, clock: u64, dice: &mut Dice) {
        self.model.push(text.clone());
        let ends = clock + dice.below(700);
        // A record is written in order.
        let after = self.record.last().map_or(0, |l| l.from);
        // What takes a message in one step says so after it has written it down.
        let late = match self.way {
            Way::Box => dice.below(self.late),
            Way::Socket => 0,
        };
        self.record.push(Line {
            from: (clock + late).max(after),
            text,
            ends,
        });
        self.doing = Doing::Working(ends);
    }

    /// Enter is pressed.
    pub fn enter(&mut self, clock: u64, dice: &mut Dice) {
        if self.swallows && dice.one_in(2) {
            return;
        }
        if self.text.is_empty() || self.doing != Doing::Idle {
            return;
        }
        let text = std::mem::take(&mut self.text);
        self.take(text, clock, dice);
        if self.mortal && dice.one_in(20) {
            self.die(clock, dice);
        }
    }

    /// How much of the record can be read.
    pub fn readable(&self, clock: u64) -> usize {
        self.record.iter().filter(|l| l.from <= clock).count()
    }
}
