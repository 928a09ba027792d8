//! Whose the listener on a node's port is. The port of a node that is down is anybody's, and neither the
//! node's secret nor a chat is.

use crate::host::listening;

/// What is wrong with whoever listens there; `None` when it is this user's process, or nobody.
pub fn stranger(port: u16) -> Option<String> {
    let own = rustix::process::getuid().as_raw();
    listening::user_on_loopback(port)
        .is_some_and(|owner| owner != own)
        .then(|| format!("another user's process listens on its port {port}"))
}

/// The same on a connection that stands: somebody has taken it, and whoever it was is not to be seen any
/// more when nobody listens.
pub fn stranger_at_the_other_end(port: u16) -> Option<String> {
    match listening::user_on_loopback(port) {
        None => Some(format!("nobody listens on its port {port} any more")),
        Some(_) => stranger(port),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_own_listener_is_no_stranger() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(stranger(port), None);
        assert_eq!(stranger_at_the_other_end(port), None);
    }

    #[test]
    fn who_took_a_connection_and_is_gone_is_nobody() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let _here = std::net::TcpStream::connect(address).unwrap();
        let _there = listener.accept().unwrap();
        drop(listener);
        let said = stranger_at_the_other_end(address.port()).unwrap();
        assert!(said.contains("nobody listens"), "{said}");
    }
}
