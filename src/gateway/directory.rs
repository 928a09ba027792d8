//! Whether a chat can work in a directory that a client names. The nodes are on this host and of this
//! account.

use std::collections::BTreeSet;
use std::io::{Error, ErrorKind, Result as IoResult};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::fs::Access;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::lock;
use super::reply::Reply;
use crate::host::load::disk_available;

/// How long a directory is looked at: one on a dead network file system never answers.
const LOOK: Duration = Duration::from_secs(2);

/// Most looks at a time: the threads that may wait are needed for more than that.
const MOST: usize = 64;

static LOOKS: Semaphore = Semaphore::const_new(MOST);

/// Directories that did not answer in time, as long as somebody looks still: each look at one would lose a
/// thread more.
static DEAD: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Looks whether a chat can work in a directory, on a thread that may wait for the disk. A goosed takes one
/// that is not there without a word, and every tool of the chat fails then. How many bytes may still be
/// written there, where that is known.
///
/// # Errors
/// 400: it cannot be used, and why.
pub async fn usable(directory: &Path) -> Result<Option<u64>, Reply> {
    usable_by(directory, look).await
}

/// `None` where it is no directory.
fn look(path: &Path) -> IoResult<Option<Option<u64>>> {
    let is_directory = std::fs::metadata(path)?.is_dir();
    if is_directory {
        // Entering it is what a shell does first.
        rustix::fs::access(path, Access::READ_OK | Access::EXEC_OK)?;
    }
    Ok(is_directory.then(|| disk_available(path)))
}

async fn usable_by<L>(directory: &Path, look: L) -> Result<Option<u64>, Reply>
where
    L: FnOnce(&Path) -> IoResult<Option<Option<u64>>> + Send + 'static,
{
    let name = directory.display().to_string();
    let bad = |why: &str| Reply::bad(format!("`working_dir` `{name}` {why}"));
    if !directory.is_absolute() {
        return Err(bad(
            "is not absolute, and nodes have no directory in common",
        ));
    }
    match in_time(directory, look).await {
        Ok(Some(room)) => Ok(room),
        Ok(None) => Err(bad("is no directory")),
        Err(e) if e.kind() == ErrorKind::NotFound => Err(bad("does not exist")),
        Err(e) => Err(bad(&format!("cannot be used: {e}"))),
    }
}

/// What comes of a look, if that is soon.
async fn in_time<T, L>(directory: &Path, look: L) -> IoResult<T>
where
    T: Send + 'static,
    L: FnOnce(&Path) -> IoResult<T> + Send + 'static,
{
    let silent = || {
        let why = format!(
            "its file system does not answer within {} s",
            LOOK.as_secs()
        );
        Error::new(ErrorKind::TimedOut, why)
    };
    if lock(&DEAD).contains(directory) {
        return Err(silent());
    }
    // Whether a thread is at it.
    let looks = Arc::new(Mutex::new(false));
    let told = Arc::clone(&looks);
    let path = directory.to_owned();
    let on_a_thread = move |place| {
        // Kept by the thread that looks, and not by who waits for it.
        let _place: Option<SemaphorePermit<'static>> = place;
        *lock(&told) = true;
        let looked = look(&path);
        *lock(&told) = false;
        lock(&DEAD).remove(&path);
        looked
    };
    let looked = async {
        let place = LOOKS.acquire().await.ok();
        tokio::task::spawn_blocking(move || on_a_thread(place)).await
    };
    match tokio::time::timeout(LOOK, looked).await {
        Ok(Ok(looked)) => looked,
        Ok(Err(e)) => Err(Error::other(e)),
        Err(_) => {
            // Held, so that the thread, which takes it out again, does so afterwards.
            let looks = lock(&looks);
            if *looks {
                lock(&DEAD).insert(directory.to_owned());
            }
            Err(silent())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::mpsc::channel;
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_directory_that_does_not_answer_loses_one_thread() {
        let dead = Path::new("/a/directory/of/this/test/alone");
        let (end, ended) = channel::<()>();
        let hangs = move |_: &Path| {
            let _ = ended.recv();
            Ok(Some(None))
        };
        let said = usable_by(dead, hangs).await.unwrap_err();
        assert!(said.message.contains("does not answer"), "{}", said.message);
        let begun = Instant::now();
        let again = usable_by(dead, |_| -> IoResult<_> { panic!("looked at again") });
        again.await.unwrap_err();
        assert!(begun.elapsed() < LOOK);
        drop(end);
        let well = async {
            while usable_by(dead, |_| Ok(Some(None))).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), well)
            .await
            .unwrap();
    }
}
