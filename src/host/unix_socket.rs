//! Connects to a Unix socket within a time. A process that stands still takes no connections, and once
//! as many wait for it as it allows, the next one would wait for ever.

use std::io::{Error, ErrorKind};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

/// Connects. Reads and writes of the stream have the same bound each.
///
/// # Errors
/// Nobody listens, `TimedOut`, or the path is too long for an address (unix(7)). Nothing was sent.
pub fn connect_within(path: &Path, wait: Duration) -> std::io::Result<UnixStream> {
    let address = SocketAddrUnix::new(path)?;
    let kind = (AddressFamily::UNIX, SocketType::STREAM);
    let socket = socket_with(kind.0, kind.1, SocketFlags::CLOEXEC, None)?;
    // This bounds connect(2) as well.
    set_socket_timeout(&socket, Timeout::Send, Some(wait))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(wait))?;
    connect(&socket, &address).map_err(|e| match e {
        rustix::io::Errno::AGAIN => Error::from(ErrorKind::TimedOut),
        e => e.into(),
    })?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_listener_that_takes_nothing_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let wait = Duration::from_millis(100);
        let nobody = connect_within(&path, wait).unwrap_err();
        assert_eq!(nobody.kind(), ErrorKind::NotFound);
        let listener = socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        rustix::net::bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let first = connect_within(&path, wait).unwrap();
        assert_eq!(first.read_timeout().unwrap(), Some(wait));
        let begun = Instant::now();
        let second = connect_within(&path, wait).unwrap_err();
        assert_eq!(second.kind(), ErrorKind::TimedOut);
        assert!(begun.elapsed() >= wait);
    }
}
