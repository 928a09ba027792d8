//! Who listens on a TCP port of this machine, from `/proc/net/tcp` and `/proc/net/tcp6` (proc(5)).
//!
//! The kernel lists listening sockets before the thousands of connections that a busy machine has, open
//! ones and those in TIME_WAIT; a table is read until the port is found, so a look costs what stands before
//! it and not what the machine is at.

use std::fs::File;
use std::io::{BufRead, BufReader};

use super::procfs;

/// State of a socket that listens.
const LISTEN: &str = "0A";

/// A listening socket.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Socket {
    user: u32,
    inode: String,
}

/// Process and program that listen on a port. `None` when nobody does, or somebody whose files this user
/// may not see.
pub fn process(port: u16) -> Option<(i32, String)> {
    let socket = first(port, |_| true)?;
    let link = format!("socket:[{}]", socket.inode);
    let holds = |pid: i32| {
        std::fs::read_dir(format!("/proc/{pid}/fd")).is_ok_and(|dir| {
            dir.flatten()
                .any(|e| std::fs::read_link(e.path()).is_ok_and(|l| l.as_os_str() == &*link))
        })
    };
    procfs::all()
        .into_iter()
        .find(|(pid, _)| holds(*pid))
        .map(|(pid, stat)| (pid, stat.comm))
}

/// The user whose process answers on a port of 127.0.0.1; `None` when nobody does. Another address of
/// loopback is another listener, which may be anybody's.
pub fn user_on_loopback(port: u16) -> Option<u32> {
    first(port, answers_on_loopback).map(|socket| socket.user)
}

/// What names the listener on a port of 127.0.0.1 as long as it is there: that of a server which was started
/// again has another name. `None` when nobody listens.
pub fn name_on_loopback(port: u16) -> Option<String> {
    first(port, answers_on_loopback).map(|socket| socket.inode)
}

/// The first that listens on a port, of those whose address, as the tables write it, is wanted.
fn first(port: u16, wanted: impl Fn(&str) -> bool) -> Option<Socket> {
    ["tcp", "tcp6"].iter().find_map(|table| {
        let table = File::open(format!("/proc/net/{table}")).ok()?;
        in_table(BufReader::new(table), port, &wanted)
    })
}

/// The same in one table: `sl local:port remote:port state tx:rx tr:when retransmits user timeout inode`.
fn in_table(table: impl BufRead, port: u16, wanted: impl Fn(&str) -> bool) -> Option<Socket> {
    let port = format!("{port:04X}");
    table.lines().map_while(Result::ok).find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (address, of) = fields.nth(1)?.split_once(':')?;
        if of != port || fields.nth(1)? != LISTEN || !wanted(address) {
            return None;
        }
        Some(Socket {
            user: fields.nth(3)?.parse().ok()?,
            inode: fields.nth(1)?.to_owned(),
        })
    })
}

/// Whether a socket on an address gets connections to 127.0.0.1: that address, every address, or either as
/// IPv6 has it.
fn answers_on_loopback(address: &str) -> bool {
    // Words in the machine's order of bytes, each of four bytes in the network's.
    let loopback = format!("{:08X}", u32::from_ne_bytes([127, 0, 0, 1]));
    let mapped = format!("{:08X}", u32::from_ne_bytes([0, 0, 0xff, 0xff]));
    let (before, last) = address.split_at(address.len().saturating_sub(8));
    let every = address.bytes().all(|b| b == b'0');
    every || last == loopback && (before.is_empty() || before == format!("{:016}{mapped}", 0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   0: 0100007F:4268 0100007F:1388 01 00000000:00000000 00:00000000 00000000     0        0 11 1 0\n   1: 0200007F:4268 00000000:0000 0A 00000000:00000000 00:00000000 00000000     7        0 22 1 0\n   2: 0100007F:4268 00000000:0000 0A 00000000:00000000 00:00000000 00000000     8        0 33 1 0\n";

    fn found(port: u16, wanted: impl Fn(&str) -> bool) -> Option<(u32, String)> {
        in_table(TABLE.as_bytes(), port, wanted).map(|s| (s.user, s.inode))
    }

    #[test]
    fn listening_sockets_are_found_in_the_table() {
        assert_eq!(found(17_000, |_| true), Some((7, "22".to_owned())));
        assert_eq!(found(5_000, |_| true), None);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_listener_on_another_address_of_loopback_is_another_one() {
        let own = found(17_000, answers_on_loopback);
        assert_eq!(own, Some((8, "33".to_owned())));
        for (address, answers) in [
            ("0100007F", true),
            ("00000000", true),
            ("0200007F", false),
            ("0B00000A", false),
            ("00000000000000000000000000000000", true),
            ("0000000000000000FFFF00000100007F", true),
            ("00000000000000000000000001000000", false),
            ("0000000000000000FFFF00000200007F", false),
        ] {
            assert_eq!(answers_on_loopback(address), answers, "{address}");
        }
    }

    #[test]
    fn the_kernels_own_tables_are_read() {
        let own = rustix::process::getuid().as_raw();
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
            let Ok(listener) = std::net::TcpListener::bind(address) else {
                assert_eq!(address, "[::]:0", "a machine without IPv6 has the others");
                continue;
            };
            let port = listener.local_addr().unwrap().port();
            assert_eq!(user_on_loopback(port), Some(own), "{address}");
            let name = name_on_loopback(port).unwrap();
            assert_eq!(name_on_loopback(port), Some(name.clone()));
            let (pid, _) = process(port).unwrap();
            assert_eq!(pid, i32::try_from(std::process::id()).unwrap());
            drop(listener);
            if let Ok(_again) =
                std::net::TcpListener::bind((address.rsplit_once(':').unwrap().0, port))
            {
                assert_ne!(name_on_loopback(port), Some(name));
            }
        }
    }
}
