//! Whether a chat can work in a directory that a client names. The nodes are on this host and of this
//! account.

use std::path::Path;
use std::time::Duration;

use rustix::fs::Access;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::reply::Reply;
use crate::host::load::disk_available;

/// How long a directory is looked at: one on a dead network file system never answers.
const LOOK: Duration = Duration::from_secs(2);

/// Most looks at a time: the threads that may wait are needed for more than that.
const MOST: usize = 64;

static LOOKS: Semaphore = Semaphore::const_new(MOST);

/// Looks whether a chat can work in a directory, on a thread that may wait for the disk. A goosed takes one
/// that is not there without a word, and every tool of the chat fails then. How many bytes may still be
/// written there, where that is known.
///
/// # Errors
/// 400: it cannot be used, and why.
pub async fn usable(directory: &Path) -> Result<Option<u64>, Reply> {
    let name = directory.display().to_string();
    let bad = |why: &str| Reply::bad(format!("`working_dir` `{name}` {why}"));
    if !directory.is_absolute() {
        return Err(bad(
            "is not absolute, and nodes have no directory in common",
        ));
    }
    let path = directory.to_owned();
    let look = move |place| {
        // Kept by the thread that looks, and not by who waits for it: on a dead file system it is lost.
        let _place: Option<SemaphorePermit<'static>> = place;
        let is_directory = std::fs::metadata(&path)?.is_dir();
        if is_directory {
            // Entering it is what a shell does first.
            rustix::fs::access(&path, Access::READ_OK | Access::EXEC_OK)?;
        }
        Ok::<_, std::io::Error>(is_directory.then(|| disk_available(&path)))
    };
    let looked = async {
        let place = LOOKS.acquire().await.ok();
        tokio::task::spawn_blocking(move || look(place)).await
    };
    match tokio::time::timeout(LOOK, looked).await {
        Ok(Ok(Ok(Some(room)))) => Ok(room),
        Ok(Ok(Ok(None))) => Err(bad("is no directory")),
        Ok(Ok(Err(e))) if e.kind() == std::io::ErrorKind::NotFound => Err(bad("does not exist")),
        Ok(Ok(Err(e))) => Err(bad(&format!("cannot be used: {e}"))),
        Ok(Err(e)) => Err(bad(&format!("cannot be looked at: {e}"))),
        Err(_) => Err(bad(&format!(
            "cannot be looked at within {} s: its file system does not answer, or those of {MOST} others",
            LOOK.as_secs()
        ))),
    }
}
