//! Advisory locks between mosaic processes, by flock(2): released by the kernel however the holder
//! ends, so a crash leaves nothing to clean up.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use crate::error::{Error, Result};

/// How long between two tries; short against what is done under any of these locks.
const RETRY: Duration = Duration::from_millis(20);

/// A lock held until dropped. The file stays.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Takes an exclusive lock on a file, made if missing, waiting at most `wait`.
///
/// # Errors
/// Kind `Busy` when another process holds it all that time.
pub fn exclusive(path: &Path, what: &str, wait: Duration) -> Result<Lock> {
    if let Some(dir) = path.parent() {
        super::files::make_private_dir(dir)?;
    }
    let mut file = open(path)?;
    let deadline = Instant::now() + wait;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if is_at(&file, path) => return Ok(Lock { _file: file }),
            // Somebody removed the file meanwhile: a lock on it would exclude nobody.
            Ok(()) => file = open(path)?,
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR)
                if Instant::now() < deadline =>
            {
                std::thread::sleep(RETRY);
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(
                    Error::busy(format!("{what} is held by another mosaic process"))
                        .because(format!(
                            "waited {:.1} s for `{}`",
                            wait.as_secs_f64(),
                            path.display()
                        ))
                        .hint("wait for it to end, then run the same command again"),
                );
            }
            Err(e) => return Err(Error::io(format!("cannot lock `{}`", path.display()), e)),
        }
    }
}

fn open(path: &Path) -> Result<File> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(|e| Error::io(format!("cannot open lock `{}`", path.display()), e))
}

/// Whether the open file is still the one at the path.
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_second_is_told_it_is_busy_and_gets_it_after_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x/lock");
        let first = exclusive(&path, "the plan", Duration::ZERO).unwrap();
        let e = exclusive(&path, "the plan", Duration::from_millis(50)).unwrap_err();
        assert_eq!(e.kind, crate::error::Kind::Busy);
        drop(first);
        exclusive(&path, "the plan", Duration::ZERO).unwrap();
    }
}
