//! The courier: one resident for a fleet. It delivers what waits in the mailbox when agents are idle,
//! in order and one message at a time for each, and tells people and programs of changes that need
//! them. It decides nothing that [`crate::delivery`] does not decide for every sender, and keeps
//! nothing in memory that matters: killed at any instant, the next one goes on from the mailbox.
//!
//! ```text
//! mailbox.poke ─┐                     ┌─> rules ─> workers ─> drain (journal, lock, guard, receipt)
//! watch ────────┼─> Courier (one thread)
//! worker done ──┘                     └─> notices ─> sh -c …, notify-send, OSC
//! ```

mod notifier;
mod rules;
mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::delivery::mailbox::{Mailbox, looked_for_since};
use crate::error::Result;
use crate::host::interrupt::Interrupt;
use crate::install::Install;
use crate::launch::Launch;
use crate::resident::Resident;
use crate::watch::{Asks, Other, Topic, Wanted, Watcher, Whom, Woken};
use notifier::Notifier;
use rules::{Act, Turn, Waiting};
use workers::Workers;

/// Between two looks into the mailbox that nothing asked for: a poke may be lost, and a sender may
/// have died at its message.
const MAIL: Duration = Duration::from_secs(20);

/// Between two looks for the records of messages that have left and that nobody waits for any more: the
/// sender died, or asked for no more than `submitted`. Nobody is in a hurry for these.
const RECORDS: Duration = Duration::from_secs(20);

/// Head start of a sender that delivers its own message: the poke comes before it has the agent's
/// lock.
const HEAD_START: Duration = Duration::from_millis(20);

/// How long a look takes that is due: milliseconds.
const LOOKED: Duration = Duration::from_millis(3);

/// How long deliveries under way are waited for at the end. What they leave is on record.
const ENDING: Duration = Duration::from_secs(4);

/// Runs until a signal comes.
///
/// # Errors
/// Kind `Busy` when the fleet has a courier already. Mailbox or inotify cannot be used.
pub fn run(install: &Install) -> Result<()> {
    let _alone = Resident::Courier.claim(install, false)?;
    let interrupt = Interrupt::listen()?;
    let mut courier = Courier::new(install)?;
    while !interrupt.is_set() {
        courier.step(&interrupt)?;
    }
    courier.workers.end(ENDING);
    Ok(())
}

struct Courier {
    mailbox: Mailbox,
    watcher: Watcher,
    workers: Workers,
    notifier: Notifier,
    /// What waits, by agent.
    mail: BTreeMap<String, Waiting>,
    turns: BTreeMap<String, Turn>,
    /// When the mailbox is looked into without being asked to.
    look: Instant,
    /// When records are looked for that nobody waits for.
    records: Instant,
}

impl Courier {
    fn new(install: &Install) -> Result<Self> {
        let mut watcher = Watcher::new(install, Whom::Everybody, Asks::OneClient)?;
        let poke = Wanted::File(install.paths.mailbox_poke());
        watcher.also(&Topic::Mail, BTreeSet::from([poke]));
        let mut courier = Self {
            mailbox: Mailbox::open(&install.paths)?,
            watcher,
            workers: Workers::new(install)?,
            notifier: Notifier::new(install),
            mail: BTreeMap::new(),
            turns: BTreeMap::new(),
            look: Instant::now(),
            // What the one before this left behind.
            records: Instant::now(),
        };
        courier.read_mail(Duration::ZERO);
        Ok(courier)
    }

    /// Does what can be done, then waits for something to happen.
    fn step(&mut self, interrupt: &Interrupt) -> Result<()> {
        let now = Instant::now();
        if now >= self.look {
            self.read_mail(Duration::ZERO);
        }
        if now >= self.records {
            self.look_for_records();
        }
        let until = self.deliver().min(self.look).min(self.records);
        let others = [
            Other::Read(interrupt.as_fd()),
            Other::Read(self.workers.as_fd()),
        ];
        let woken = self.watcher.next(&others, Some(until))?;
        self.take(&woken);
        Ok(())
    }

    /// Takes what has happened.
    fn take(&mut self, woken: &Woken) {
        let now = Instant::now();
        for change in &woken.changes {
            tracing::debug!(agent = change.agent, to = %change.to, "{}", change.evidence);
            if let Some(turn) = self.turns.get_mut(&change.agent) {
                turn.anew(now);
            }
            if let Some(launch) = self.watcher.launch(&change.agent) {
                self.notifier.tell(&launch.agent, change);
            }
        }
        let mut again = woken.topics.contains(&Topic::Fleet);
        for done in self.workers.ended() {
            let blind = self.blind(&done.agent);
            if let Some(turn) = self.turns.get_mut(&done.agent) {
                turn.busy = false;
                turn.ended = Some(now);
                if done.moved {
                    turn.anew(now);
                } else {
                    turn.put_off(now, blind);
                }
            }
            // Whether it is idle still is to be seen, not remembered.
            self.watcher.look_at(&done.agent);
            again = true;
        }
        if woken.topics.contains(&Topic::Mail) {
            self.read_mail(HEAD_START);
        } else if again {
            self.read_mail(Duration::ZERO);
        }
    }

    /// Reads what waits. Agents that had nothing before begin after `head_start`.
    fn read_mail(&mut self, head_start: Duration) {
        self.look = Instant::now() + MAIL;
        match self.waiting() {
            Ok(mail) => self.mail = mail,
            Err(e) => tracing::warn!("{e}"),
        }
        let begin = Instant::now() + head_start;
        self.turns
            .retain(|agent, turn| turn.busy || self.mail.contains_key(agent));
        for agent in self.mail.keys() {
            self.turns
                .entry(agent.clone())
                .or_insert_with(|| Turn::new(begin));
        }
        self.watcher.wait_for(self.mail.keys().cloned().collect());
    }

    /// Begins to look for what has left where nothing waits: who works on a queue looks for it as well.
    fn look_for_records(&mut self) {
        self.records = Instant::now() + RECORDS;
        let since = looked_for_since(Timestamp::now());
        let agents = self.mailbox.agents_with_open(since).unwrap_or_else(|e| {
            tracing::warn!("{e}");
            Vec::new()
        });
        for agent in agents {
            if !self.workers.free() {
                return;
            }
            let Some(launch) = self.watcher.launch(&agent) else {
                continue;
            };
            if !self.mail.contains_key(&agent) && !self.turns.contains_key(&agent) {
                self.workers.begin(launch, None);
                let mut turn = Turn::new(Instant::now());
                turn.busy = true;
                self.turns.insert(agent, turn);
            }
        }
    }

    fn waiting(&self) -> Result<BTreeMap<String, Waiting>> {
        let mut mail = BTreeMap::new();
        for agent in self.mailbox.agents_with_pending()? {
            if let Some(waiting) = Waiting::of(&self.mailbox.pending(&agent)?) {
                mail.insert(agent, waiting);
            }
        }
        Ok(mail)
    }

    /// Begins what can begin. When to look again.
    fn deliver(&mut self) -> Instant {
        let now = (Instant::now(), Timestamp::now());
        let mut next = now.0 + MAIL;
        let mut begun = Vec::new();
        for (agent, waiting) in &self.mail {
            let (Some(turn), Some(launch)) = (self.turns.get(agent), self.watcher.launch(agent))
            else {
                continue;
            };
            if let Some(ended) = turn.ended
                && !self.watcher.seen_since(agent, ended)
            {
                // A tmux that hangs must not make this a busy loop.
                let pause = LOOKED.max((now.0 - ended) / 2);
                next = next.min(now.0 + pause);
                continue;
            }
            let state = self.watcher.state(agent).map(|(state, _)| state);
            match turn.decide(waiting, state, blind(launch), now) {
                Act::Wait => {}
                Act::At(at) => next = next.min(at),
                Act::Deliver if self.workers.free() => {
                    self.workers.begin(launch, Some(&waiting.first));
                    begun.push(agent.clone());
                }
                // The end of another delivery wakes us.
                Act::Deliver => {}
            }
        }
        for agent in begun {
            if let Some(turn) = self.turns.get_mut(&agent) {
                turn.busy = true;
            }
        }
        next
    }

    fn blind(&self, agent: &str) -> bool {
        self.watcher.launch(agent).is_some_and(blind)
    }
}

/// Nothing can ever tell that this agent is idle; only its box can be seen.
fn blind(launch: &Launch) -> bool {
    let spec = &launch.agent.spec;
    spec.reports.is_none()
        && spec.node.is_none()
        && spec
            .screen
            .as_ref()
            .is_some_and(|rules| rules.working.is_empty() && rules.title.idle.is_empty())
}
