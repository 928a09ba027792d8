//! The courier as a service: one for a fleet, known by a lock and a record; started and ended beside
//! the supervisors where there is no service manager.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::host::lock::{self, Lock};
use crate::host::{files, process, procfs};
use crate::install::Install;

/// How long a courier may take to end: what it gives deliveries under way, and some.
const END: Duration = Duration::from_secs(8);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// What a courier says of itself.
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
}

/// Makes this process the fleet's courier until the lock is dropped.
///
/// # Errors
/// Kind `Busy` when there is one.
pub fn claim(install: &Install) -> Result<Lock> {
    let paths = &install.paths;
    let lock =
        lock::exclusive(&paths.courier_lock(), "the courier", Duration::ZERO).map_err(|e| {
            let who = running(install).map_or(String::new(), |r| format!(" (pid {})", r.pid));
            e.context(format!("the fleet has a courier already{who}"))
        })?;
    let pid = i32::try_from(std::process::id()).unwrap_or(0);
    let record = Record {
        version: 1,
        pid,
        start_ticks: procfs::stat(pid).map_or(0, |s| s.start),
        boot: procfs::boot_id(),
        mosaic: env!("CARGO_PKG_VERSION").to_owned(),
        started: jiff::Timestamp::now(),
    };
    files::write_record(&paths.courier(), files::to_json(&record).as_bytes())?;
    Ok(lock)
}

/// The fleet's courier; `None` when there is none.
pub fn running(install: &Install) -> Option<Record> {
    let record = files::read_json::<Record>(&install.paths.courier()).ok()??;
    (record.boot == procfs::boot_id() && procfs::is_same(record.pid, record.start_ticks))
        .then_some(record)
}

/// Starts it in a window of the holder session, where there is no service manager; one that is killed
/// comes back from there after a second. No error when it runs. The server is up.
///
/// # Errors
/// The server is gone, or the courier does not come.
pub fn start(install: &Install) -> Result<()> {
    let _lock = lock::exclusive(
        &install.paths.runtime.join("locks/courier-start"),
        "the start of the courier",
        END,
    )?;
    if running(install).is_some() {
        return Ok(());
    }
    let run = format!(
        "{} courier run --state {}",
        process::shell_quote(&install.mosaic.to_string_lossy()),
        process::shell_quote(&install.paths.state.to_string_lossy())
    );
    // It ends with 0 when it is told to, with 75 when there is another one, with 78 when trying again
    // is useless.
    let again = format!("while :; do {run}; case $? in 0|75|78) exit;; esac; sleep 1; done");
    let command = ["/bin/sh".to_owned(), "-c".to_owned(), again];
    install
        .tmux()
        .new_window(&install.holder_session, "courier", &command)?;
    let deadline = Instant::now() + END;
    while running(install).is_none() {
        if Instant::now() > deadline {
            return Err(Error::no("the courier did not start").hint(format!(
                "see why: `{} courier run`",
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
pub fn stop(install: &Install) -> Result<()> {
    let Some(record) = running(install) else {
        return Ok(());
    };
    process::signal(record.pid, record.start_ticks, Signal::TERM)
        .map_err(|e| Error::io("cannot signal the courier", e))?;
    let deadline = Instant::now() + END;
    while procfs::is_same(record.pid, record.start_ticks) {
        if Instant::now() > deadline {
            return Err(Error::busy(format!(
                "the courier (pid {}) does not end",
                record.pid
            )));
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}
