//! One seed played: who sends what, and whether all is well at the end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;

use super::place::{Box_, Process};
use super::world::{Crash, Dice, World};
use crate::delivery::drain::{DrainOptions, run};
use crate::delivery::mailbox::{Row, Stage};
use crate::delivery::receipt::Rung;
use crate::error::Result;

/// Which mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    Memory,
    Sqlite,
}

/// What happened, over all seeds.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    pub crashes: u32,
    pub delivered: u32,
    pub uncertain: u32,
    pub other: u32,
    /// Taken out of the box again.
    pub taken_back: u32,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        self.crashes += other.crashes;
        self.delivered += other.delivered;
        self.uncertain += other.uncertain;
        self.other += other.other;
        self.taken_back += other.taken_back;
    }
}

/// A seed, played.
pub struct Played {
    pub verdict: std::result::Result<(), String>,
    pub trace: Vec<String>,
    pub tally: Tally,
}

/// What a sender was told.
#[derive(Debug, Clone)]
struct Told {
    id: String,
    stage: Stage,
}

/// One message of a sender.
#[derive(Debug, Clone)]
struct Errand {
    id: String,
    text: String,
    wait: Duration,
    until: Rung,
    no_queue: bool,
    pause: Duration,
}

struct Cast {
    world: Arc<World>,
    store: Store,
    path: PathBuf,
    told: Mutex<Vec<Told>>,
}

impl Cast {
    fn mailbox(&self, process: &Process) -> Box_ {
        match self.store {
            Store::Memory => Box_::Memory(process.clone()),
            Store::Sqlite => Box_::sqlite(process, &self.path),
        }
    }

    /// Runs as a process of its own; `false` when it died.
    fn process(&self, me: usize, body: impl Fn(&Process) -> Result<()>) -> bool {
        let process = Process {
            world: Arc::clone(&self.world),
            me,
            owner: self.world.spawn(),
        };
        let ended = catch_unwind(AssertUnwindSafe(|| body(&process)));
        self.world
            .state()
            .living
            .retain(|pid| *pid != process.owner.pid);
        match ended {
            Ok(Ok(())) => true,
            Ok(Err(e)) => panic!("{e:?}"),
            Err(cause) if cause.is::<Crash>() => false,
            Err(cause) => std::panic::resume_unwind(cause),
        }
    }

    fn sender(&self, me: usize, errands: &[Errand]) {
        for errand in errands {
            self.world.sleep(me, errand.pause);
            let send = |process: &Process| -> Result<()> {
                let mailbox = self.mailbox(process);
                mailbox.enqueue(&errand.id, &errand.text)?;
                let options = DrainOptions {
                    until: Some((&errand.id, errand.until)),
                    wait: errand.wait,
                    ..DrainOptions::default()
                };
                let mut row = run(&mailbox, process, &options)?.row;
                if errand.no_queue && row.as_ref().is_some_and(|r| r.stage == Stage::Queued) {
                    row = Some(mailbox.cancel(&errand.id)?);
                }
                let stage = row.expect("its row").stage;
                self.told
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .push(Told {
                        id: errand.id.clone(),
                        stage,
                    });
                Ok(())
            };
            // Whoever died is told nothing; now and then the same is sent again.
            if !self.process(me, send) && self.world.state().dice.one_in(2) {
                self.process(me, send);
            }
        }
    }

    fn courier(&self, me: usize, lives: u64) {
        for _ in 0..lives {
            self.process(me, |process| {
                let mailbox = self.mailbox(process);
                while !self.world.alone(me) {
                    run(&mailbox, process, &DrainOptions::default())?;
                    self.world.sleep(me, Duration::from_millis(40));
                }
                Ok(())
            });
        }
    }
}

/// Texts of several messages; the one is a part of the other.
const TWINS: [&str; 2] = ["twin", "twin and more"];

fn errands(dice: &mut Dice, actors: usize) -> Vec<Vec<Errand>> {
    (0..actors)
        .map(|a| {
            (0..=dice.below(2))
                .map(|n| {
                    // Now and then two send under the same id, or the same text under two, or a text
                    // with another one in it.
                    let id = match dice.one_in(12) {
                        true => "same".to_owned(),
                        false => format!("m{a}{n}"),
                    };
                    let text = match id != "same" && dice.one_in(4) {
                        true => TWINS[dice.below(2) as usize].to_owned(),
                        false => id.clone(),
                    };
                    Errand {
                        id,
                        text,
                        wait: Duration::from_millis([0, 300, 2_000, 9_000][dice.below(4) as usize]),
                        until: [
                            Rung::Queued,
                            Rung::Submitted,
                            Rung::Accepted,
                            Rung::Answered,
                        ][dice.below(4) as usize],
                        no_queue: dice.one_in(4),
                        pause: Duration::from_millis(dice.below(400) + 1),
                    }
                })
                .collect()
        })
        .collect()
}

/// Plays a seed from beginning to end.
pub fn play(seed: u64, store: Store) -> Played {
    let mut dice = Dice::new(seed ^ 0x5eed);
    let senders = 2 + usize::try_from(dice.below(3)).unwrap_or(0);
    let errands = errands(&mut dice, senders);
    let lives = dice.below(4);
    let dir = tempfile::tempdir().expect("a directory");
    let base = match store {
        Store::Memory => Timestamp::UNIX_EPOCH,
        Store::Sqlite => Timestamp::now(),
    };
    let world = World::new(seed, senders + 1, base);
    let cast = Arc::new(Cast {
        world: Arc::clone(&world),
        store,
        path: dir.path().join("mailbox.db"),
        told: Mutex::new(Vec::new()),
    });
    let mut threads = Vec::new();
    for me in 0..=senders {
        let (cast, errands) = (Arc::clone(&cast), errands.get(me).cloned());
        threads.push(std::thread::spawn(move || {
            cast.world.begin(me);
            let played = catch_unwind(AssertUnwindSafe(|| match &errands {
                Some(errands) => cast.sender(me, errands),
                None => cast.courier(me, lives),
            }));
            cast.world.over(me);
            if let Err(cause) = played {
                std::panic::resume_unwind(cause);
            }
        }));
    }
    let mut broken = None;
    for thread in threads {
        if let Err(cause) = thread.join() {
            let text = cause.downcast_ref::<String>().cloned();
            broken = Some(text.unwrap_or_else(|| "a process failed".to_owned()));
        }
    }
    let verdict = match broken {
        Some(why) => Err(why),
        None => clear_up(&world, &cast),
    };
    let told = cast
        .told
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .clone();
    let (verdict, tally) = match verdict {
        Ok(rows) => judged(&world, &rows, &told),
        Err(why) => (Err(why), Tally::default()),
    };
    let state = world.state();
    Played {
        verdict,
        trace: state.trace.clone(),
        tally: Tally {
            crashes: state.crashes,
            ..tally
        },
    }
}

/// The fault is over: the person sends off what stands in the box, and somebody works on the queue
/// until nothing waits.
fn clear_up(world: &Arc<World>, cast: &Cast) -> std::result::Result<Vec<Row>, String> {
    {
        let mut state = world.state();
        let state = &mut *state;
        state.crash_in = 0;
        state.agent.calm = true;
        state.trace.push("       all calm".to_owned());
        state
            .agent
            .live(u64::MAX, &mut state.dice, &mut state.trace);
    }
    let process = Process {
        world: Arc::clone(world),
        me: 0,
        owner: world.spawn(),
    };
    world.rest(0);
    let mailbox = cast.mailbox(&process);
    let work = |wait: u64| {
        run(
            &mailbox,
            &process,
            &DrainOptions {
                wait: Duration::from_millis(wait),
                ..DrainOptions::default()
            },
        )
        .map_err(|e| format!("{e:?}"))
    };
    work(30_000)?;
    // What still stands in the box is somebody's draft by now.
    world.state().agent.text.clear();
    // Messages with the same text wait for each other's records.
    work(300_000)?;
    // Who only waited for less may be gone before the record shows a message. The next look finds it.
    let late = Duration::from_millis(world.state().agent.late);
    world.sleep(0, late);
    work(0)?;
    let rows = mailbox.all();
    if let Some(row) = rows.iter().find(|r| r.stage.pending()) {
        return Err(format!("`{}` is {} for ever", row.id, row.stage.as_str()));
    }
    let recorded = |row: &Row| {
        let text = format!("<{}>", row.text);
        world.state().agent.record.iter().any(|l| l.text == text)
    };
    // Of several with the same text, a record is the last one's.
    let unseen = |r: &&Row| r.stage == Stage::Submitted && !TWINS.contains(&&*r.text);
    if let Some(row) = rows.iter().filter(unseen).find(|r| recorded(r)) {
        return Err(format!(
            "`{}` is on the agent's record, and nobody looked",
            row.id
        ));
    }
    Ok(rows)
}

fn judged(world: &World, rows: &[Row], told: &[Told]) -> (std::result::Result<(), String>, Tally) {
    let model = world.state().agent.model.clone();
    let mut tally = Tally::default();
    let times = |text: &str| {
        let text = format!("<{text}>");
        model.iter().filter(|m| **m == text).count()
    };
    let proved =
        |stage: Stage| matches!(stage, Stage::Submitted | Stage::Accepted | Stage::Answered);
    // Of messages with the same text only the number can be told.
    let count = |text: &str, which: &dyn Fn(Stage) -> bool| {
        rows.iter()
            .filter(|r| r.text == text && which(r.stage))
            .count()
    };
    let verdict = (|| {
        if world.state().agent.harmed {
            return Err("a draft was harmed".to_owned());
        }
        for row in rows {
            let times = times(&row.text);
            tally.taken_back += row.outcome.taken_back;
            // Nothing here is refused for good but what the box lost again and again.
            if row.stage == Stage::Refused && row.outcome.taken_back < 2 {
                return Err(format!("refused: {row:?}"));
            }
            match row.stage {
                stage if proved(stage) => tally.delivered += 1,
                Stage::Uncertain => tally.uncertain += 1,
                _ => tally.other += 1,
            }
            let least = count(&row.text, &proved);
            let most = least + count(&row.text, &|s| s == Stage::Uncertain);
            if !(least..=most).contains(&times) {
                return Err(format!(
                    "`{}` is {} and reached the model {times} times: {model:?}",
                    row.id,
                    row.stage.as_str()
                ));
            }
        }
        let known = |text: &str| {
            text.replace("draft ", "").is_empty()
                || rows.iter().any(|r| format!("<{}>", r.text) == *text)
        };
        if let Some(other) = model.iter().find(|m| !known(m)) {
            return Err(format!("nobody sent `{other}`"));
        }
        for one in told {
            let Some(row) = rows.iter().find(|r| r.id == one.id) else {
                return Err(format!("the message of {one:?} is lost"));
            };
            // What was told is not taken back.
            let kept = match one.stage {
                stage if proved(stage) => proved(row.stage),
                Stage::Cancelled | Stage::Refused => row.stage == one.stage,
                _ => true,
            };
            if !kept {
                return Err(format!("the sender was told a lie: {one:?}, {model:?}"));
            }
        }
        let order: Vec<i64> = model
            .iter()
            .filter(|m| !TWINS.iter().any(|t| **m == format!("<{t}>")))
            .filter_map(|m| rows.iter().find(|r| format!("<{}>", r.text) == *m))
            .map(|r| r.seq)
            .collect();
        if !order.is_sorted() {
            return Err(format!("out of order: {model:?}"));
        }
        Ok(())
    })();
    (verdict, tally)
}
