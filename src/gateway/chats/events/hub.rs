//! One watcher for all who listen: a thread that looks at agents and at the mailbox, begun when the first
//! listener comes and ended some time after the last has gone. What it tells is numbered and kept for a
//! while, so that a listener that was cut off can go on where it stood.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::broadcast;

use crate::delivery::Mailbox;
use crate::delivery::followed::follow;
use crate::delivery::mailbox::Row;
use crate::error::Result;
use crate::gateway::chats::wire::StateChange;
use crate::gateway::lock;
use crate::install::Install;
use crate::watch::{Asks, Other, Topic, Wanted, Watcher, Whom};

/// How many events are kept for listeners that come back.
const KEPT: usize = 1024;

/// How far a listener may fall behind before it is cut off.
const BEHIND: usize = 256;

/// How long the watcher goes on without listeners: a page that is loaded anew is away for a moment.
const LINGER: Duration = Duration::from_secs(20);

/// Between two looks at the mailbox that nothing asked for.
const TICK: Duration = Duration::from_secs(2);

/// A message that is with its agent for longer has no answer to come.
const TURN: SignedDuration = SignedDuration::from_hours(24);

/// What is committed may be that much older than what was committed before it.
const OVERLAP: SignedDuration = SignedDuration::from_secs(5);

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Happened {
    /// An agent does something else.
    State(StateChange),
    /// A message of a chat has come farther.
    Row(Box<Row>),
}

/// It, with its place in the order.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its name towards clients, see [`Hub::follow`].
    pub id: Id,
    /// What.
    pub what: Happened,
}

/// Place of an event: which run of the watcher, and which event of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id {
    run: u64,
    number: u64,
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}-{}", self.run, self.number)
    }
}

impl std::str::FromStr for Id {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let (run, number) = text.split_once('-').ok_or(())?;
        Ok(Self {
            run: u64::from_str_radix(run, 16).map_err(drop)?,
            number: number.parse().map_err(drop)?,
        })
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Hub {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Replaced when a watcher dies, which cuts off whoever listens to it.
    sender: broadcast::Sender<Arc<Event>>,
    run: u64,
    number: u64,
    kept: VecDeque<Arc<Event>>,
    states: BTreeMap<String, StateChange>,
    /// Nodes that are listened to, and by how many.
    listened: BTreeMap<String, usize>,
    /// Wakes the watcher; `None` while there is none.
    waker: Option<UnixStream>,
}

/// A listener. The watcher stays as long as there is one.
#[derive(Debug)]
pub struct Listener {
    hub: Arc<Hub>,
    node: String,
    /// What happens from now on; behind by too much, it is an error once.
    pub news: broadcast::Receiver<Arc<Event>>,
    /// What happened since the event that was named; `None` where that is no longer known.
    pub missed: Option<Vec<Arc<Event>>>,
    /// The last event before [`Listener::news`].
    pub last: Id,
    /// What the node does, where that is known already.
    pub state: Option<StateChange>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut inner = lock(&self.hub.inner);
        if let Some(n) = inner.listened.get_mut(&self.node) {
            *n -= 1;
            if *n == 0 {
                inner.listened.remove(&self.node);
            }
        }
        inner.wake();
    }
}

impl Inner {
    fn wake(&self) {
        use std::io::Write as _;
        if let Some(mut waker) = self.waker.as_ref() {
            // Full means that it is awake.
            let _ = waker.write(&[0]);
        }
    }

    fn last(&self) -> Id {
        Id {
            run: self.run,
            number: self.number,
        }
    }

    fn since(&self, after: Id) -> Option<Vec<Arc<Event>>> {
        if after.run != self.run || after.number > self.number {
            return None;
        }
        let oldest = self.kept.front().map_or(self.number + 1, |e| e.id.number);
        (after.number + 1 >= oldest).then(|| {
            let newer = |e: &&Arc<Event>| e.id.number > after.number;
            self.kept.iter().filter(newer).cloned().collect()
        })
    }
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            sender: broadcast::Sender::new(BEHIND),
            run: 0,
            number: 0,
            kept: VecDeque::new(),
            states: BTreeMap::new(),
            listened: BTreeMap::new(),
            waker: None,
        }
    }
}

/// Held by the watcher's thread. Dropped by an error or a panic, it cuts off whoever listens, so that they
/// come back, and lets them start another one.
struct Watching {
    hub: Arc<Hub>,
    run: u64,
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut inner = lock(&self.hub.inner);
        // One that has ended by itself may have a successor already.
        if inner.run == self.run && inner.waker.take().is_some() {
            inner.sender = broadcast::Sender::new(BEHIND);
        }
    }
}

impl Hub {
    /// Listens to what happens to a node and its chats, from an event on that a client has seen, or from
    /// now on.
    ///
    /// # Errors
    /// The watcher cannot be started.
    pub fn follow(
        self: &Arc<Self>,
        install: &Install,
        node: &str,
        after: Option<Id>,
    ) -> Result<Listener> {
        let install = install.clone();
        self.listen(node, after, move |hub, woken| hub.watch(&install, woken))
    }

    /// The same with the watcher that is started where there is none.
    fn listen(
        self: &Arc<Self>,
        node: &str,
        after: Option<Id>,
        watch: impl FnOnce(&Self, &UnixStream) -> Result<()> + Send + 'static,
    ) -> Result<Listener> {
        let mut inner = lock(&self.inner);
        if inner.waker.is_none() {
            self.start(&mut inner, watch)?;
        }
        *inner.listened.entry(node.to_owned()).or_default() += 1;
        inner.wake();
        Ok(Listener {
            news: inner.sender.subscribe(),
            missed: after.and_then(|after| inner.since(after)),
            last: inner.last(),
            state: inner.states.get(node).cloned(),
            hub: Arc::clone(self),
            node: node.to_owned(),
        })
    }

    /// What a node was seen doing last, while somebody listens to anything.
    pub fn state(&self, node: &str) -> Option<StateChange> {
        let inner = lock(&self.inner);
        let watching = inner.waker.is_some() && inner.listened.contains_key(node);
        inner.states.get(node).filter(|_| watching).cloned()
    }

    fn start(
        self: &Arc<Self>,
        inner: &mut Inner,
        watch: impl FnOnce(&Self, &UnixStream) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let failed = |e| crate::error::Error::io("cannot make a pair of sockets", e);
        let (waker, woken) = UnixStream::pair().map_err(failed)?;
        waker.set_nonblocking(true).map_err(failed)?;
        woken.set_nonblocking(true).map_err(failed)?;
        // What happened while nobody watched is missing, so the numbers begin anew.
        let now = Timestamp::now().as_microsecond().cast_unsigned();
        inner.run = now.max(inner.run + 1);
        inner.number = 0;
        inner.kept.clear();
        inner.states.clear();
        let watching = Watching {
            hub: Arc::clone(self),
            run: inner.run,
        };
        std::thread::Builder::new()
            .name("events".to_owned())
            .spawn(move || {
                if let Err(e) = watch(&watching.hub, &woken) {
                    tracing::warn!("{e}");
                }
            })
            .map_err(|e| crate::error::Error::io("cannot start a thread", e))?;
        inner.waker = Some(waker);
        Ok(())
    }

    fn tell(&self, what: Happened) {
        let mut inner = lock(&self.inner);
        inner.number += 1;
        if let Happened::State(change) = &what {
            inner.states.insert(change.node.clone(), change.clone());
        }
        let event = Arc::new(Event {
            id: inner.last(),
            what,
        });
        if inner.kept.len() >= KEPT {
            inner.kept.pop_front();
        }
        inner.kept.push_back(Arc::clone(&event));
        // Under the lock, so that whoever subscribes has each event once. Nobody listens: nobody minds.
        let _ = inner.sender.send(event);
    }

    /// The thread.
    fn watch(&self, install: &Install, woken: &UnixStream) -> Result<()> {
        let mailbox = Mailbox::open(&install.paths)?;
        let mut watcher = Watcher::new(install, Whom::Everybody, Asks::OneClient)?;
        let mail = [install.paths.mailbox(), install.paths.mailbox_poke()];
        watcher.also(&Topic::Mail, mail.into_iter().map(Wanted::File).collect());
        let mut news = News::default();
        let mut alone = Some(Instant::now());
        loop {
            {
                let mut inner = lock(&self.inner);
                let listened: BTreeSet<String> = inner.listened.keys().cloned().collect();
                alone = match listened.is_empty() {
                    true => alone.or_else(|| Some(Instant::now())),
                    false => None,
                };
                if alone.is_some_and(|since| since.elapsed() >= LINGER) {
                    inner.waker = None;
                    return Ok(());
                }
                watcher.wait_for(listened);
            }
            let until = Instant::now() + TICK;
            let happened = watcher.next(&[Other::Read(woken.as_fd())], Some(until))?;
            drain(woken);
            for change in &happened.changes {
                self.tell(Happened::State(StateChange {
                    node: change.agent.clone(),
                    state: change.to.as_str().to_owned(),
                    why: change.evidence.what.clone(),
                    time: change.time,
                }));
            }
            for node in self.nodes_to_ask(&happened.changes) {
                if let Some(launch) = watcher.launch(&node) {
                    let since = Timestamp::now() - TURN;
                    let rows = mailbox.unanswered_in_chats(&node, since)?;
                    follow(install, launch, &mailbox, rows)?;
                }
            }
            for row in news.of(&mailbox)? {
                self.tell(Happened::Row(Box::new(row)));
            }
        }
    }

    /// Whose record may say more of a message by now: those that do something else, and those that
    /// somebody listens to.
    fn nodes_to_ask(&self, changes: &[crate::watch::Change]) -> BTreeSet<String> {
        let inner = lock(&self.inner);
        let changed = changes.iter().map(|c| c.agent.clone());
        inner.listened.keys().cloned().chain(changed).collect()
    }
}

fn drain(woken: &UnixStream) {
    use std::io::Read as _;
    let mut bytes = [0; 64];
    let mut from = woken;
    while from.read(&mut bytes).is_ok_and(|n| n > 0) {}
}

/// Which messages are new, or have come farther.
#[derive(Debug, Default)]
struct News {
    since: Option<Timestamp>,
    seen: HashMap<String, (i64, Timestamp)>,
}

impl News {
    fn of(&mut self, mailbox: &Mailbox) -> Result<Vec<Row>> {
        let first = self.since.is_none();
        let since = self.since.unwrap_or_else(|| Timestamp::now() - OVERLAP);
        let mut rows = mailbox.changed_in_chats(since)?;
        rows.retain(|row| {
            let before = self
                .seen
                .insert(row.id.clone(), (row.revision, row.changed));
            before.is_none_or(|(revision, _)| revision != row.revision)
        });
        let newest = self.seen.values().map(|(_, changed)| *changed).max();
        self.since = Some(newest.map_or(since, |t| since.max(t - OVERLAP)));
        let oldest = self.since;
        self.seen
            .retain(|_, (_, changed)| oldest.is_none_or(|t| *changed >= t));
        if first {
            // How it stood before is told by the conversation.
            rows.clear();
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::delivery::mailbox::{Journal as _, NewMessage, Stage};

    fn state(node: &str, state: &str) -> Happened {
        Happened::State(StateChange {
            node: node.to_owned(),
            state: state.to_owned(),
            why: String::new(),
            time: Timestamp::UNIX_EPOCH,
        })
    }

    #[test]
    fn events_are_numbered_and_kept_for_a_while() {
        let hub = Hub::default();
        lock(&hub.inner).run = 7;
        for n in 0..KEPT + 10 {
            hub.tell(state("a", &n.to_string()));
        }
        let inner = lock(&hub.inner);
        let id = |run, number| Id { run, number };
        let last = u64::try_from(KEPT).unwrap() + 10;
        assert_eq!(inner.last(), id(7, last));
        assert_eq!(inner.since(id(7, last)).unwrap().len(), 0);
        assert_eq!(inner.since(id(7, last - 3)).unwrap().len(), 3);
        assert_eq!(inner.since(id(7, 10)).unwrap().len(), KEPT);
        for unknown in [id(7, 9), id(6, last), id(7, last + 1)] {
            assert!(inner.since(unknown).is_none(), "{unknown}");
        }
        assert_eq!(inner.states["a"].state, (last - 1).to_string());
    }

    #[test]
    fn a_watcher_that_dies_lets_go_of_its_listeners_and_has_a_successor() {
        use broadcast::error::TryRecvError::{Closed, Empty};
        let hub = Arc::new(Hub::default());
        let (told, dies) = std::sync::mpsc::channel::<bool>();
        let dies = Arc::new(Mutex::new(dies));
        let mut last = None;
        for panics in [false, true] {
            let (heard, dies) = (last.take(), Arc::clone(&dies));
            let mut listener = hub
                .listen("a", heard, move |_, _| match lock(&dies).recv().unwrap() {
                    true => panic!("a watcher dies"),
                    false => Err(crate::error::Error::no("a watcher cannot go on")),
                })
                .unwrap();
            // Of another run: its listeners begin anew.
            assert!(listener.missed.is_none());
            last = Some(listener.last);
            assert_eq!(listener.news.try_recv().unwrap_err(), Empty);
            told.send(panics).unwrap();
            let begun = Instant::now();
            while listener.news.try_recv().unwrap_err() != Closed {
                assert!(begun.elapsed() < Duration::from_secs(10));
                std::thread::sleep(Duration::from_millis(5));
            }
            assert!(lock(&hub.inner).waker.is_none());
        }
    }

    #[test]
    fn ids_are_read_as_they_are_written() {
        let id = Id {
            run: 0xabc,
            number: 12,
        };
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "1", "x-1", "1-x", "-", "1-2-3"] {
            assert_eq!(bad.parse::<Id>(), Err(()), "{bad}");
        }
    }

    #[test]
    fn each_change_of_a_message_is_news_once() {
        let dir = tempfile::tempdir().unwrap();
        let mailbox = Mailbox::at(&dir.path().join("db"), &dir.path().join("poke")).unwrap();
        let enqueue = |id: &str, chat: Option<&str>| {
            let new = NewMessage {
                id: Some(id.to_owned()),
                agent: "a".into(),
                text: "x".into(),
                chat: chat.map(str::to_owned),
                ..NewMessage::default()
            };
            mailbox.enqueue(&new).unwrap()
        };
        let mut first = enqueue("1", Some("c"));
        let mut news = News::default();
        assert_eq!(news.of(&mailbox).unwrap().len(), 0);
        enqueue("2", Some("c"));
        enqueue("3", None);
        let ids = |news: &mut News| -> Vec<String> {
            let rows = news.of(&mailbox).unwrap();
            rows.into_iter().map(|r| r.id).collect()
        };
        assert_eq!(ids(&mut news), ["2"]);
        assert_eq!(ids(&mut news), [""; 0]);
        first.stage = Stage::Typing;
        first.changed = Timestamp::now();
        assert!(mailbox.save(&mut first).unwrap());
        assert_eq!(ids(&mut news), ["1"]);
        assert_eq!(ids(&mut news), [""; 0]);
    }
}
