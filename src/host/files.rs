//! The door to files: atomic writes, private modes, JSON with a clear error. Old content stays
//! whole whatever fails, a full disk included.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use crate::error::{Error, Result};

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
    let doing = || format!("cannot write `{}`", path.display());
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
        file.as_file().sync_data()?;
        file.persist(path).map_err(|e| e.error)?;
        Ok(())
    };
    write().map_err(|e| Error::io(doing(), e))
}

/// Like [`write_atomic`], without the sync: for records that a reboot empties anyway.
///
/// # Errors
/// Nothing is changed.
pub fn write_record(path: &Path, content: &[u8]) -> Result<()> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    make_private_dir(dir)?;
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".mosaic-")
            .permissions(std::fs::Permissions::from_mode(PRIVATE))
            .tempfile_in(dir)?;
        file.write_all(content)?;
        file.persist(path).map_err(|e| e.error)?;
        Ok(())
    };
    write().map_err(|e| Error::io(format!("cannot write `{}`", path.display()), e))
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
/// file has grown beyond `limit` bytes it is first renamed to `….1`, replacing the one before.
///
/// # Errors
/// The line may be missing; earlier lines are whole.
pub fn append_line(path: &Path, line: &str, limit: u64) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let append = || -> std::io::Result<()> {
        if let Some(dir) = path.parent()
            && !dir.is_dir()
        {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(dir)?;
        }
        if std::fs::metadata(path).is_ok_and(|m| m.len() > limit) {
            let mut old = path.as_os_str().to_owned();
            old.push(".1");
            std::fs::rename(path, old)?;
        }
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .mode(PRIVATE)
            .open(path)?;
        file.write_all(format!("{line}\n").as_bytes())
    };
    append().map_err(|e| Error::io(format!("cannot append to `{}`", path.display()), e))
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
    fn digests_are_sha256() {
        assert_eq!(
            digest(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
