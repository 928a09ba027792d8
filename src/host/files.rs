//! The door to files: atomic writes, private modes, JSON with a clear error. Old content stays
//! whole whatever fails, a full disk included.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};

/// How long to wait for another writer's rename, which takes no time.
const ROTATION: Duration = Duration::from_secs(1);

/// Mode of files that may hold secrets.
pub const PRIVATE: u32 = 0o600;
/// Mode of unit files.
pub const PUBLIC: u32 = 0o644;

/// Makes a directory and its parents; those that are new get mode 0700.
///
/// # Errors
/// The directory cannot be made, or something else has its name.
pub fn make_private_dir(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| Error::io(format!("cannot create directory `{}`", path.display()), e))
}

/// Replaces a file's content in one step: a temporary file in the same directory, synced, then
/// renamed over the old one. Concurrent readers see the old content or the new.
///
/// # Errors
/// Nothing is changed; the temporary file is removed.
pub fn write_atomic(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    replace(path, content, mode, true)
}

fn replace(path: &Path, content: &[u8], mode: u32, sync: bool) -> Result<()> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    make_private_dir(dir)?;
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".mosaic-")
            .permissions(std::fs::Permissions::from_mode(mode))
            .tempfile_in(dir)?;
        file.write_all(content)?;
        // The umask has had its say at creation; the mode asked for is the mode wanted.
        file.as_file()
            .set_permissions(std::fs::Permissions::from_mode(mode))?;
        if sync {
            file.as_file().sync_data()?;
        }
        file.persist(path).map_err(|e| e.error)?;
        Ok(())
    };
    write().map_err(|e| Error::io(format!("cannot write `{}`", path.display()), e))
}

/// Like [`write_atomic`], unless the file holds that content already: so that what does not change
/// needs no room on a full disk. The mode of a file that is left alone stays.
///
/// # Errors
/// Nothing is changed.
pub fn write_if_changed(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    if std::fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    write_atomic(path, content, mode)
}

/// Like [`write_atomic`], without the sync: for records that a reboot empties anyway.
///
/// # Errors
/// Nothing is changed.
pub fn write_record(path: &Path, content: &[u8]) -> Result<()> {
    replace(path, content, PRIVATE, false)
}

/// Reads a file; `None` when there is none.
///
/// # Errors
/// It exists and cannot be read.
pub fn read_optional(path: &Path) -> Result<Option<String>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(e)
            if matches!(
                e.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(e) => Err(Error::io(format!("cannot read `{}`", path.display()), e)),
    }
}

/// Reads a JSON record; `None` when there is no file.
///
/// # Errors
/// The file cannot be read, or is not what it should be.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let Some(text) = read_optional(path)? else {
        return Ok(None);
    };
    serde_json::from_str(&text).map(Some).map_err(|e| {
        Error::config(format!(
            "`{}` is damaged or from another version of mosaic",
            path.display()
        ))
        .because(e)
    })
}

/// A value as the text of a JSON file: indented, with a final newline.
pub fn to_json(value: &impl serde::Serialize) -> String {
    // Our own types have string keys and no fallible serialisers.
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

/// Removes a file; true when it was there.
///
/// # Errors
/// It is there and cannot be removed.
pub fn remove(path: &Path) -> Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Error::io(format!("cannot remove `{}`", path.display()), e)),
    }
}

/// Removes a directory if it is empty; silent otherwise.
pub fn remove_dir_if_empty(path: &Path) {
    let _ = std::fs::remove_dir(path);
}

/// Appends one line in a single write, so that lines of concurrent writers do not mix. When the
/// file has grown beyond `limit` bytes it is first renamed to `….1`, replacing the one before. A line
/// that a full disk has cut stays a line of its own.
///
/// # Errors
/// The line may be missing or cut; earlier lines are whole.
pub fn append_line(path: &Path, line: &str, limit: u64) -> Result<()> {
    use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
    let append = || -> std::io::Result<()> {
        if let Some(dir) = path.parent()
            && !dir.is_dir()
        {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(dir)?;
        }
        if too_large(path, limit) {
            rotate(path, limit)?;
        }
        let mut file = std::fs::OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(PRIVATE)
            .open(path)?;
        let mut last = [b'\n'];
        if let Some(end) = file.metadata()?.len().checked_sub(1) {
            file.read_at(&mut last, end)?;
        }
        let begin = if last == *b"\n" { "" } else { "\n" };
        file.write_all(format!("{begin}{line}\n").as_bytes())
    };
    append().map_err(|e| Error::io(format!("cannot append to `{}`", path.display()), e))
}

fn too_large(path: &Path, limit: u64) -> bool {
    std::fs::metadata(path).is_ok_and(|m| m.len() > limit)
}

/// Renames a file that is too large. Of two writers that see it so, the second must not rename the
/// new file over the old one, so the look is taken again under a lock. Without the lock (a full disk,
/// a holder that hangs) nothing is renamed, and the file grows until the next line.
fn rotate(path: &Path, limit: u64) -> std::io::Result<()> {
    let beside = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    match super::lock::exclusive(&beside(".lock"), "the rotation of a log", ROTATION) {
        Ok(_lock) if too_large(path, limit) => std::fs::rename(path, beside(".1")),
        Ok(_) => Ok(()),
        Err(e) => {
            tracing::warn!("{e}");
            Ok(())
        }
    }
}

/// SHA-256 in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    let mut out = String::with_capacity(64);
    for byte in sha2::Sha256::digest(bytes) {
        use std::fmt::Write as _;
        let _ = write!(out, "{byte:02x}");
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_write_sets_the_mode_and_leaves_no_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/c.json");
        write_atomic(&path, b"one", PRIVATE).unwrap();
        write_atomic(&path, b"two", PUBLIC).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o644
        );
        assert_eq!(
            std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1
        );
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("target");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("inside"), b"old").unwrap();
        assert!(write_atomic(&path, b"new", PRIVATE).is_err());
        assert_eq!(std::fs::read(path.join("inside")).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_log_rotates_once_it_is_large() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        for n in 0..10 {
            append_line(&path, &format!("line {n}"), 20).unwrap();
        }
        assert!(dir.path().join("log.1").exists());
        assert!(std::fs::metadata(&path).unwrap().len() < 60);
    }

    #[test]
    fn writers_at_the_limit_lose_no_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        for round in 0..100 {
            std::fs::write(&path, "x".repeat(200)).unwrap();
            let go = std::sync::Barrier::new(8);
            std::thread::scope(|scope| {
                for n in 0..8 {
                    let (path, go) = (&path, &go);
                    scope.spawn(move || {
                        go.wait();
                        append_line(path, &format!("{n}"), 100).unwrap();
                    });
                }
            });
            let text = std::fs::read_to_string(&path).unwrap();
            let old = std::fs::read_to_string(dir.path().join("log.1")).unwrap();
            for n in 0..8 {
                let line = n.to_string();
                let found = text.lines().chain(old.lines()).any(|l| l == line);
                assert!(found, "round {round}: {n} is not in {text:?}, {old:?}");
            }
            assert!(old.starts_with("xxx"), "round {round}: {old:?}");
        }
    }

    #[test]
    fn a_line_that_was_cut_does_not_spoil_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        append_line(&path, "one", 100).unwrap();
        std::fs::write(&path, "one\ntw").unwrap();
        append_line(&path, "three", 100).unwrap();
        append_line(&path, "four", 100).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "one\ntw\nthree\nfour\n"
        );
    }

    #[test]
    fn what_is_unchanged_is_not_written() {
        use std::os::unix::fs::MetadataExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        write_if_changed(&path, b"one", PRIVATE).unwrap();
        let inode = || std::fs::metadata(&path).unwrap().ino();
        let first = inode();
        write_if_changed(&path, b"one", PRIVATE).unwrap();
        assert_eq!(inode(), first);
        write_if_changed(&path, b"two", PRIVATE).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
    }

    #[test]
    fn digests_are_sha256() {
        assert_eq!(
            digest(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
