//! A resident of the fleet: a program that runs as long as the fleet does, one for a fleet, known by a lock
//! and a record; started and ended beside the supervisors where there is no service manager. What a resident
//! does is its own module's business.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::host::lock::{self, Lock};
use crate::host::{files, process, procfs};
use crate::install::Install;

/// How long a resident may take to end: what it gives work under way, and some.
const END: Duration = Duration::from_secs(8);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resident {
    /// Delivers what waits.
    Courier,
    /// Serves the nodes to clients.
    Gateway,
}

/// What a resident says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Format version.
    pub version: u32,
    /// Its process.
    pub pid: i32,
    /// Start of that process in clock ticks.
    pub start_ticks: u64,
    /// The boot.
    pub boot: String,
    /// mosaic's version.
    pub mosaic: String,
    /// When.
    pub started: jiff::Timestamp,
    /// Somebody runs it in a terminal, and whoever keeps the fleet leaves it alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_hand: bool,
    /// Where it listens; absent where it does not, or not yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listens: Option<Listens>,
}

/// Where a resident listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listens {
    /// What clients are told.
    pub url: String,
    /// The address it is bound to.
    pub address: SocketAddr,
    /// Certificate and key, where it speaks TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<(PathBuf, PathBuf)>,
}

impl Resident {
    /// Its name: that of the verb, of the window, of the record.
    pub const fn name(self) -> &'static str {
        match self {
            Resident::Courier => "courier",
            Resident::Gateway => "gateway",
        }
    }

    /// Its unit.
    pub fn unit(self, install: &Install) -> String {
        match self {
            Resident::Courier => install.courier_unit(),
            Resident::Gateway => install.gateway_unit(),
        }
    }

    fn record_path(self, install: &Install) -> PathBuf {
        match self {
            Resident::Courier => install.paths.courier(),
            Resident::Gateway => install.paths.gateway(),
        }
    }

    fn lock_path(self, install: &Install) -> PathBuf {
        match self {
            Resident::Courier => install.paths.courier_lock(),
            Resident::Gateway => install.paths.gateway_lock(),
        }
    }

    /// Makes this process the fleet's, until the lock is dropped.
    ///
    /// # Errors
    /// Kind `Busy` when there is one.
    pub fn claim(self, install: &Install, by_hand: bool) -> Result<Lock> {
        let name = self.name();
        let what = format!("the {name}");
        let lock =
            lock::exclusive(&self.lock_path(install), &what, Duration::ZERO).map_err(|e| {
                let who = self
                    .running(install)
                    .map_or(String::new(), |r| format!(" (pid {})", r.pid));
                e.context(format!("the fleet has a {name} already{who}"))
            })?;
        self.tell(install, by_hand, None)?;
        Ok(lock)
    }

    /// Writes down who this process is, and where it listens.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn tell(self, install: &Install, by_hand: bool, listens: Option<Listens>) -> Result<()> {
        let pid = i32::try_from(std::process::id()).unwrap_or(0);
        let record = Record {
            version: 1,
            pid,
            start_ticks: procfs::stat(pid).map_or(0, |s| s.start),
            boot: procfs::boot_id(),
            mosaic: env!("CARGO_PKG_VERSION").to_owned(),
            started: jiff::Timestamp::now(),
            by_hand,
            listens,
        };
        files::write_record(
            &self.record_path(install),
            files::to_json(&record).as_bytes(),
        )
    }

    /// The fleet's; `None` when there is none.
    pub fn running(self, install: &Install) -> Option<Record> {
        let record = files::read_json::<Record>(&self.record_path(install)).ok()??;
        (record.boot == procfs::boot_id() && procfs::is_same(record.pid, record.start_ticks))
            .then_some(record)
    }

    /// The same once it does its work.
    pub fn ready(self, install: &Install) -> Option<Record> {
        self.running(install).filter(|record| match self {
            Resident::Courier => true,
            Resident::Gateway => record.listens.is_some(),
        })
    }

    /// Starts it in a window of the holder session, where there is no service manager; one that is killed
    /// comes back from there after a second. No error when it runs. The server is up.
    ///
    /// # Errors
    /// The server is gone, or the resident does not come.
    pub fn start(self, install: &Install) -> Result<()> {
        let name = self.name();
        let _lock = lock::exclusive(
            &install.paths.runtime.join(format!("locks/{name}-start")),
            &format!("the start of the {name}"),
            END,
        )?;
        if self.running(install).is_none() {
            let run = format!(
                "{} {name} run --state {}",
                process::shell_quote(&install.mosaic.to_string_lossy()),
                process::shell_quote(&install.paths.state.to_string_lossy())
            );
            // It ends with 0 when it is told to, with 75 when there is another one, with 78 when trying
            // again is useless.
            let again =
                format!("while :; do {run}; case $? in 0|75|78) exit;; esac; sleep 1; done");
            let command = ["/bin/sh".to_owned(), "-c".to_owned(), again];
            install
                .tmux()
                .new_window(&install.holder_session, name, &command)?;
        }
        let deadline = Instant::now() + END;
        while self.ready(install).is_none() {
            if Instant::now() > deadline {
                return Err(Error::no(format!("the {name} did not start")).hint(format!(
                    "see why: `{} {name} run`",
                    install.mosaic.display()
                )));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Ends it, and waits for that. No error when there is none.
    ///
    /// # Errors
    /// It does not end.
    pub fn stop(self, install: &Install) -> Result<()> {
        let name = self.name();
        let Some(record) = self.running(install) else {
            return Ok(());
        };
        process::signal(record.pid, record.start_ticks, Signal::TERM)
            .map_err(|e| Error::io(format!("cannot signal the {name}"), e))?;
        let deadline = Instant::now() + END;
        while procfs::is_same(record.pid, record.start_ticks) {
            if Instant::now() > deadline {
                return Err(Error::busy(format!(
                    "the {name} (pid {}) does not end",
                    record.pid
                )));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}
