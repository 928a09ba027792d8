//! One watched agent: what was seen of it last, and when it is to be looked at again.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::files::Wanted;
use super::{POLL, SLOW_POLL};
use crate::host::procfs;
use crate::host::tmux::Pane;
use crate::install::Install;
use crate::launch::Launch;
use crate::record::Run;
use crate::state::account::Account;
use crate::state::{Evidence, Observation, State};

/// After this time signs that contradict each other are believed as they are; then one more look
/// tells (see `state`: two seconds, and the title's seconds are whole ones).
const SETTLED: Duration = Duration::from_millis(3200);
/// When an agent that is down is asked for again, after something changed: whoever keeps it needs a
/// moment to decide whether it comes back.
const KEEPER: [Duration; 3] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(3),
];
/// Between two looks at a server that nobody waits for: it tells nothing by itself.
const PROBE: Duration = Duration::from_secs(30);

/// One agent.
#[derive(Debug)]
pub struct Watched {
    /// Its launch file.
    pub launch: Launch,
    /// What it was seen doing last.
    pub seen: Option<(State, Evidence)>,
    /// When it was looked at last.
    pub looked: Instant,
    process: Option<(i32, OwnedFd)>,
    files: Vec<PathBuf>,
    /// When it is due; `None` for the next slow look.
    when: Option<Instant>,
    /// It is observed when it is due even if nothing differs.
    forced: bool,
    print: u64,
    title: String,
    /// Since when the print is what it is.
    since: Instant,
    /// How many looks at an agent that is down came after the last change.
    asked: usize,
}

impl Watched {
    /// Never looked at, and due.
    pub fn new(launch: Launch) -> Self {
        let now = Instant::now();
        Self {
            launch,
            seen: None,
            looked: now.checked_sub(SETTLED).unwrap_or(now),
            process: None,
            files: Vec::new(),
            when: Some(now),
            forced: true,
            print: 0,
            title: String::new(),
            since: now,
            asked: 0,
        }
    }

    /// It is looked at then, or earlier if it was due earlier.
    pub fn due(&mut self, when: Instant) {
        self.when = Some(self.when.map_or(when, |w| w.min(when)));
        self.forced = true;
    }

    /// It is looked at then and not earlier.
    pub fn due_not_before(&mut self, when: Instant) {
        self.when = Some(when);
    }

    /// When it is due.
    pub fn when(&self) -> Option<Instant> {
        self.when
    }

    /// The time has come.
    pub fn is_due(&self, now: Instant) -> bool {
        self.when.is_some_and(|w| w <= now)
    }

    /// The time has come, and something told that there is something to see.
    pub fn is_forced(&self, now: Instant) -> bool {
        self.forced && self.is_due(now)
    }

    /// Its process, for a poll: readable when it has ended.
    pub fn process(&self) -> Option<BorrowedFd<'_>> {
        self.process.as_ref().map(|(_, fd)| fd.as_fd())
    }

    /// Its process has ended.
    pub fn ended(&mut self) {
        self.process = None;
        self.asked = 0;
    }

    /// Whether its title is another one than at the last look; costs nothing.
    pub fn titled_otherwise(&self, pane: Option<&Pane>) -> bool {
        self.seen.is_some() && pane.is_some_and(|p| p.title != self.title)
    }

    /// Whether anything that could tell of a change differs from the last look, or a look is needed
    /// for another reason than that.
    pub fn differs(
        &mut self,
        install: &Install,
        pane: Option<&Pane>,
        waited: bool,
        now: Instant,
    ) -> bool {
        let print = self.fingerprint(install, pane);
        if print != self.print {
            self.print = print;
            self.since = now;
            self.asked = 0;
            return true;
        }
        let Some((state, _)) = &self.seen else {
            return true;
        };
        if self.silent() {
            return waited || self.looked + PROBE <= now;
        }
        let unsettled = self.looked < self.since + SETTLED && self.since + SETTLED <= now;
        unsettled || *state == State::Starting
    }

    /// Nothing on disk or on the screen tells of it.
    fn silent(&self) -> bool {
        self.launch.agent.spec.node.is_some()
            || (self.files.is_empty() && self.launch.agent.spec.reports.is_some())
    }

    /// Nothing was to be seen.
    pub fn unchanged(&mut self, now: Instant, waited: bool) {
        self.when = self.again(now, waited);
        self.forced = false;
    }

    fn fingerprint(&mut self, install: &Install, pane: Option<&Pane>) -> u64 {
        let mut hasher = DefaultHasher::new();
        let mut file = |path: &Path| {
            let meta = std::fs::metadata(path).ok();
            meta.map(|m| (m.mtime(), m.mtime_nsec(), m.size(), m.ino()))
                .hash(&mut hasher);
        };
        let agent = self.launch.agent.name.as_str();
        file(&install.paths.run(agent));
        file(&install.paths.supervisor(agent));
        file(&install.paths.last_exit(agent));
        file(&install.paths.conversation(agent));
        for path in &self.files {
            file(path);
        }
        if let Some(pane) = pane {
            (&pane.id, &pane.title, pane.dead).hash(&mut hasher);
            // An agent that tells of itself prints a lot that changes nothing.
            if self.files.is_empty() {
                pane.activity.hash(&mut hasher);
            }
            self.title.clone_from(&pane.title);
        }
        hasher.finish()
    }

    /// The files that tell of it, looked up anew: an agent goes over to another file with another
    /// conversation.
    pub fn files(&mut self, install: &Install) -> BTreeSet<Wanted> {
        let agent = self.launch.agent.name.as_str();
        self.files = Account::of(install, &self.launch)
            .map(|a| a.files())
            .unwrap_or_default();
        let records = [
            install.paths.run(agent),
            install.paths.supervisor(agent),
            install.paths.last_exit(agent),
            install.paths.conversation(agent),
        ];
        let all = self.files.iter().cloned().chain(records);
        all.map(Wanted::File).collect()
    }

    /// Whether what keeps it is to be asked: its process is gone, and that was seen before. At the
    /// moment it dies nothing has been decided yet.
    pub fn asks_its_keeper(&self, install: &Install) -> bool {
        let was_up = self.seen.as_ref().is_some_and(|(state, _)| {
            !matches!(state, State::Exited | State::Failed | State::Starting)
        });
        let alive = || {
            let run = Run::load(&install.paths, self.launch.agent.name.as_str());
            run.ok().flatten().is_some_and(|r| r.alive())
        };
        !was_up && !alive()
    }

    /// Takes what was seen.
    pub fn saw(&mut self, seen: &Observation, now: Instant, waited: bool) {
        let run = seen.run.as_ref().filter(|r| r.alive());
        match run {
            Some(run) if self.process.as_ref().is_none_or(|(pid, _)| *pid != run.pid) => {
                self.process = Pid::from_raw(run.pid)
                    .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
                    // It may have ended, and its number gone to another, between look and call.
                    .filter(|_| procfs::is_same(run.pid, run.start_ticks))
                    .map(|fd| (run.pid, fd));
            }
            Some(_) => {}
            None => self.process = None,
        }
        if let Some(pane) = &seen.pane {
            self.title.clone_from(&pane.title);
        }
        self.seen = Some((seen.state, seen.evidence.clone()));
        self.looked = now;
        self.forced = false;
        self.when = self.again(now, waited);
        if run.is_none()
            && let Some(pause) = KEEPER.get(self.asked)
        {
            self.asked += 1;
            self.due(now + *pause);
        }
    }

    /// When to look again without being told to.
    fn again(&self, now: Instant, waited: bool) -> Option<Instant> {
        let pause = if self.files.is_empty() {
            POLL
        } else {
            SLOW_POLL
        };
        waited.then(|| now + pause)
    }
}
