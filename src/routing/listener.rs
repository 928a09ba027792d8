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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_own_listener_is_no_stranger() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(stranger(listener.local_addr().unwrap().port()), None);
    }
}
