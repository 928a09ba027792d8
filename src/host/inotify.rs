//! The door to inotify(7): which directories are watched, and the names in them that changed.

use std::ffi::OsString;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

/// Holds some hundred events; what does not fit is read by the next call.
const BUFFER: usize = 16 * 1024;

/// A watched directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Watched(i32);

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A name in a directory appeared, went, or has new content.
    Name(Watched, OsString),
    /// The directory itself is gone or was moved: it is watched no more.
    Gone(Watched),
    /// The kernel dropped events: anything may have changed.
    Lost,
}

/// A set of watched directories.
#[derive(Debug)]
pub struct Inotify {
    fd: OwnedFd,
}

impl Inotify {
    /// Makes an empty one.
    ///
    /// # Errors
    /// The user has too many (`fs.inotify.max_user_instances`).
    pub fn new() -> std::io::Result<Self> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Self { fd })
    }

    /// Watches a directory; one that is watched already gets the same number again.
    ///
    /// # Errors
    /// It is not there, or the user watches too many (`fs.inotify.max_user_watches`).
    pub fn watch(&self, directory: &Path) -> std::io::Result<Watched> {
        let flags = WatchFlags::MODIFY
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        Ok(Watched(inotify::add_watch(&self.fd, directory, flags)?))
    }

    /// Watches a directory no more.
    pub fn forget(&self, watched: Watched) {
        // One that is gone was forgotten by the kernel.
        let _ = inotify::remove_watch(&self.fd, watched.0);
    }

    /// What has happened since the last call; never waits.
    pub fn read(&self) -> Vec<Event> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut reader = inotify::Reader::new(&self.fd, &mut buffer);
        let mut events = Vec::new();
        loop {
            match reader.next() {
                Ok(event) => {
                    let watched = Watched(event.wd());
                    let flags = event.events();
                    if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                        events.push(Event::Lost);
                    } else if flags.intersects(
                        ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::IGNORED,
                    ) {
                        events.push(Event::Gone(watched));
                    } else if let Some(name) = event.file_name() {
                        let name = OsString::from_vec(name.to_bytes().to_vec());
                        events.push(Event::Name(watched, name));
                    }
                }
                Err(Errno::INTR) => {}
                Err(_) => return events,
            }
        }
    }
}

impl AsFd for Inotify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_that_change_are_told_and_so_is_the_end_of_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let sub = dir.path().join("sub");
        std::fs::create_dir(&sub).unwrap();
        let inotify = Inotify::new().unwrap();
        let watched = inotify.watch(&sub).unwrap();
        assert_eq!(inotify.watch(&sub).unwrap(), watched);
        assert_eq!(inotify.read(), []);
        std::fs::write(sub.join("a"), "x").unwrap();
        let events = inotify.read();
        assert!(
            events.contains(&Event::Name(watched, "a".into())),
            "{events:?}"
        );
        assert_eq!(inotify.read(), []);
        std::fs::remove_dir_all(&sub).unwrap();
        let events = inotify.read();
        assert!(events.contains(&Event::Gone(watched)), "{events:?}");
        assert!(inotify.watch(&sub).is_err());
    }
}
