//! Keeps a server from having something to tell its control clients while one of them is introducing itself.
//! tmux before 3.7 counts a client among those as soon as it has
//! said so, and has nowhere to put what it tells it before the introduction has come to its end: a session
//! that is made, closed or renamed in between, a client that detaches, a pane that enters copy mode, and from 3.4
//! on a paste buffer, ends the server, and all agents with it.
//!
//! So whatever mosaic asks of a server is asked under a lock that many may hold, and a control client begins
//! under the same one held alone. It is a file beside the socket; whoever waits for it holds another one as long,
//! so that a control client has its turn however many calls there are. Both stay; a crash leaves nothing locked. What mosaic does not do itself (a session that closes since its agent ends, a person who
//! detaches) is not kept away: an introduction takes a moment, and happens when a watcher begins.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, flock};

use super::Tmux;

/// How long a call waits for a control client that is beginning; then it goes on without the lock. Longer than
/// one may take to begin.
const CALL: Duration = Duration::from_millis(1500);

/// How long a control client waits for calls to end, which wait for it as long. It does not begin then.
const BEGIN: Duration = Duration::from_millis(200);

/// Between two tries.
const TRY: Duration = Duration::from_micros(500);

/// What was asked a moment before is told a moment later.
const TOLD: Duration = Duration::from_millis(2);

/// The lock, until it is dropped.
#[derive(Debug)]
pub(in crate::host) struct Quiet {
    _calls: File,
    /// Of who has it alone.
    _turn: Option<File>,
}

impl Tmux {
    /// For whatever the server may tell control clients of. `None`: there is no server, or the wait was too
    /// long.
    pub(super) fn told_of(&self) -> Option<Quiet> {
        let until = Instant::now() + CALL;
        let turn = self.turn(FlockOperation::NonBlockingLockShared, until)?;
        let calls = self.calls(FlockOperation::NonBlockingLockShared, until)?;
        drop(turn);
        Some(Quiet {
            _calls: calls,
            _turn: None,
        })
    }

    /// For a control client that begins, until it was answered first. `None`: it must not, since there are calls
    /// that do not end, or the lock cannot be had at all.
    pub(in crate::host) fn quiet(&self) -> Option<Quiet> {
        let until = Instant::now() + BEGIN;
        let turn = self.turn(FlockOperation::NonBlockingLockExclusive, until)?;
        let calls = self.calls(FlockOperation::NonBlockingLockExclusive, until)?;
        std::thread::sleep(TOLD);
        Some(Quiet {
            _calls: calls,
            _turn: Some(turn),
        })
    }

    /// For a control client that ends, which the server is told of by the end of its process.
    pub(in crate::host) fn ending(&self, end: impl FnOnce()) {
        let _told_of = self.told_of();
        end();
        std::thread::sleep(TOLD);
    }

    fn turn(&self, how: FlockOperation, until: Instant) -> Option<File> {
        self.locked(".turn", how, until)
    }

    fn calls(&self, how: FlockOperation, until: Instant) -> Option<File> {
        self.locked(".calls", how, until)
    }

    fn locked(&self, name: &str, how: FlockOperation, until: Instant) -> Option<File> {
        let mut path = self.socket.clone().into_os_string();
        path.push(name);
        // Whatever somebody has put there, it is not waited for.
        let odd = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .custom_flags(odd.bits().cast_signed())
            .open(path)
            .ok()?;
        taken(file, how, until)
    }
}

fn taken(file: File, how: FlockOperation, until: Instant) -> Option<File> {
    while flock(&file, how).is_err() {
        if Instant::now() >= until {
            return None;
        }
        std::thread::sleep(TRY);
    }
    Some(file)
}
