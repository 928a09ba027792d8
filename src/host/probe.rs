//! Asks a server on loopback whether it is well. Every step is bounded: a stopped process accepts
//! connections too, and a starting server was seen to take a request and never answer it.

use std::io::{Error, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Whether a GET of `path` is answered with a 2xx status within `wait`.
///
/// # Errors
/// What it did instead.
pub fn healthy(port: u16, path: &str, wait: Duration) -> Result<(), String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let line = status_line(address, path, wait).map_err(|e| {
        let why = match e.kind() {
            // The words of a timed-out read are those of a non-blocking one.
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                format!("nothing within {} ms", wait.as_millis())
            }
            ErrorKind::ConnectionRefused => "connection refused".to_owned(),
            _ => e.to_string(),
        };
        format!("no answer on {address}: {why}")
    })?;
    let code = line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1));
    match code {
        Some(code) if code.len() == 3 && code.starts_with('2') => Ok(()),
        _ => Err(format!(
            "{address} answered `{}`",
            line.chars().take(60).collect::<String>()
        )),
    }
}

fn status_line(address: SocketAddr, path: &str, wait: Duration) -> std::io::Result<String> {
    let deadline = Instant::now() + wait;
    let left = || {
        let left = deadline.saturating_duration_since(Instant::now());
        // A time-out of zero would mean none at all.
        if left.is_zero() {
            Err(Error::from(ErrorKind::TimedOut))
        } else {
            Ok(left)
        }
    };
    let mut stream = TcpStream::connect_timeout(&address, left()?)?;
    stream.set_write_timeout(Some(left()?))?;
    // In one piece: a server may answer and close after the first line.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    // The status line is all that matters, and no server may keep us by sending it bytewise.
    let mut line = Vec::new();
    let mut buffer = [0; 256];
    while !line.contains(&b'\n') && line.len() < 1024 {
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(&mut buffer)? {
            0 => break,
            n => line.extend_from_slice(&buffer[..n]),
        }
    }
    Ok(String::from_utf8_lossy(&line)
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::BufRead as _;
    use std::net::TcpListener;

    const WAIT: Duration = Duration::from_millis(200);

    fn server(serve: impl FnOnce(&mut TcpStream) + Send + 'static) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // All of it: what is left unread would break the connection off.
            let request = std::io::BufReader::new(&stream).lines();
            let request: Vec<String> = request
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty())
                .collect();
            assert_eq!(request[0], "GET /status HTTP/1.0");
            serve(&mut stream);
        });
        port
    }

    fn answers(text: &'static str) -> Result<(), String> {
        let port = server(move |s| {
            let _ = s.write_all(text.as_bytes());
        });
        healthy(port, "/status", Duration::from_secs(5))
    }

    #[test]
    fn only_a_success_is_healthy() {
        assert_eq!(answers("HTTP/1.1 200 OK\r\n\r\nok"), Ok(()));
        assert!(
            answers("HTTP/1.1 503 Busy\r\n\r\n")
                .unwrap_err()
                .contains("503")
        );
        assert!(answers("").is_err());
        let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let refused = healthy(closed, "/status", WAIT).unwrap_err();
        assert!(refused.ends_with("connection refused"), "{refused}");
    }

    #[test]
    fn neither_silence_nor_drops_hold_a_probe() {
        let silent = server(|_| std::thread::sleep(WAIT * 10));
        let drops = server(|s| {
            while s.write_all(b"H").is_ok() {
                std::thread::sleep(WAIT / 10);
            }
        });
        for port in [silent, drops] {
            let begun = Instant::now();
            let said = healthy(port, "/status", WAIT).unwrap_err();
            assert!(said.ends_with("nothing within 200 ms"), "{said}");
            assert!(begun.elapsed() < WAIT * 5, "{:?}", begun.elapsed());
        }
    }
}
