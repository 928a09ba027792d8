//! Asks a server on loopback over a connection that stays, and measures how long it takes to answer
//! when the connection stands already. Every step is bounded, as in [`super::probe`], which asks once.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Longest head of an answer. Servers send a few hundred bytes.
const HEAD_MOST: usize = 16 * 1024;

/// Longest body that is read to keep the connection; it is given up with a longer one.
const BODY_MOST: usize = 256 * 1024;

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// From the request to the end of the answer's head, on a connection that stood.
    pub took: Duration,
}

/// Why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Nobody listens.
    Refused,
    /// Not in time.
    Timeout,
    /// The connection was ended without an answer, as servers do with one that was idle.
    Closed,
    /// Something else, in words.
    Broken(String),
}

impl Failure {
    fn of(e: &std::io::Error) -> Self {
        match e.kind() {
            ErrorKind::ConnectionRefused => Failure::Refused,
            // The words of a timed-out read are those of a non-blocking one.
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Failure::Timeout,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => {
                Failure::Closed
            }
            _ => Failure::Broken(e.to_string()),
        }
    }
}

/// A connection to a port of this machine; made when it is needed.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
}

impl Connection {
    /// Connects to nothing yet.
    pub fn new(port: u16) -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            stream: None,
        }
    }

    /// Whether it stands, as far as is known.
    pub fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    /// Ends it.
    pub fn close(&mut self) {
        self.stream = None;
    }

    /// A GET with one header of the caller's. What is not answered whole ends the connection.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn get(
        &mut self,
        path: &str,
        header: Option<&(&'static str, String)>,
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect(deadline)?,
        };
        let header =
            header.map_or_else(String::new, |(name, value)| format!("{name}: {value}\r\n"));
        // In one piece: a server may answer and close after the first line.
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nAccept: */*\r\n{header}\r\n",
            self.address
        );
        let asked = || -> std::io::Result<_> {
            stream.set_write_timeout(Some(left(deadline)?))?;
            let begun = Instant::now();
            stream.write_all(request.as_bytes())?;
            let mut got = Vec::new();
            let end = until(&mut stream, &mut got, deadline, HEAD_MOST, head_end)?;
            Ok((begun.elapsed(), got, end, stream))
        };
        let (took, mut got, end, mut stream) = asked().map_err(|e| Failure::of(&e))?;
        let head = Head::parse(&got[..end]).ok_or_else(|| {
            let line = String::from_utf8_lossy(&got);
            let line: String = line
                .lines()
                .next()
                .unwrap_or_default()
                .chars()
                .take(60)
                .collect();
            Failure::Broken(format!("it answered `{line}`"))
        })?;
        got.drain(..end);
        let whole = match head.body {
            Body::Length(length) => until(&mut stream, &mut got, deadline, BODY_MOST, |got| {
                (got.len() >= length).then_some(length)
            }),
            Body::Chunked => until(&mut stream, &mut got, deadline, BODY_MOST, |got| {
                got.ends_with(b"0\r\n\r\n").then_some(got.len())
            }),
            Body::Open => Ok(usize::MAX),
        };
        if whole.is_ok_and(|end| end == got.len()) && head.stays {
            self.stream = Some(stream);
        }
        Ok(Answer {
            status: head.status,
            took,
        })
    }

    fn connect(&self, deadline: Instant) -> Result<TcpStream, Failure> {
        let connect = || {
            let stream = TcpStream::connect_timeout(&self.address, left(deadline)?)?;
            // Else the second of two small writes waits for the other side.
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        connect().map_err(|e: std::io::Error| Failure::of(&e))
    }
}

/// What is left of the time. Zero would mean no limit at all.
fn left(deadline: Instant) -> std::io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(ErrorKind::TimedOut.into());
    }
    Ok(left)
}

/// Reads until `end` finds one in what was read, and says where it is.
fn until(
    stream: &mut TcpStream,
    got: &mut Vec<u8>,
    deadline: Instant,
    most: usize,
    end: impl Fn(&[u8]) -> Option<usize>,
) -> std::io::Result<usize> {
    let mut buffer = [0; 4096];
    loop {
        if let Some(end) = end(got) {
            return Ok(end);
        }
        if got.len() > most {
            return Err(std::io::Error::other("its answer is too long"));
        }
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(&mut buffer)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            n => got.extend_from_slice(&buffer[..n]),
        }
    }
}

fn head_end(got: &[u8]) -> Option<usize> {
    got.windows(4)
        .position(|w| w == b"\r\n\r\n")
        .map(|at| at + 4)
}

/// How long a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Length(usize),
    Chunked,
    /// To the end of the connection.
    Open,
}

/// What matters of an answer's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    status: u16,
    body: Body,
    stays: bool,
}

impl Head {
    /// Reads a head (RFC 9112); `None` for what is none.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.lines();
        let (version, rest) = lines.next()?.split_once(' ')?;
        let status: u16 = rest.get(..3)?.parse().ok()?;
        let mut head = Head {
            status,
            body: Body::Open,
            stays: match version {
                "HTTP/1.1" => true,
                "HTTP/1.0" => false,
                _ => return None,
            },
        };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                // The other one tells the length where both stand.
                "content-length" if head.body == Body::Open => {
                    head.body = Body::Length(value.parse().ok()?);
                }
                "transfer-encoding" => head.body = Body::Chunked,
                "connection" if value.eq_ignore_ascii_case("close") => head.stays = false,
                "connection" if value.eq_ignore_ascii_case("keep-alive") => head.stays = true,
                _ => {}
            }
        }
        if status == 204 || status == 304 {
            head.body = Body::Length(0);
        }
        Some(head)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::BufRead as _;
    use std::net::TcpListener;

    /// A server that gives these answers, one a request, on as many connections as it takes; a `None` ends
    /// the connection. It hands back each request with the number of its connection.
    fn server(
        answers: Vec<Option<&'static str>>,
    ) -> (u16, std::thread::JoinHandle<Vec<(usize, String)>>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            let (mut asked, mut at) = (Vec::new(), 0);
            for connection in 0.. {
                if at == answers.len() {
                    break;
                }
                let (stream, _) = listener.accept().unwrap();
                let mut lines = std::io::BufReader::new(stream.try_clone().unwrap()).lines();
                while at < answers.len() {
                    let request: Vec<String> = lines
                        .by_ref()
                        .map_while(Result::ok)
                        .take_while(|line| !line.is_empty())
                        .collect();
                    if request.is_empty() {
                        break;
                    }
                    asked.push((connection, request.join("|")));
                    at += 1;
                    match answers[at - 1] {
                        Some(text) => (&stream).write_all(text.as_bytes()).unwrap(),
                        None => break,
                    }
                }
            }
            asked
        });
        (port, thread)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[test]
    fn one_connection_serves_many_questions_until_the_server_ends_it() {
        let (port, thread) = server(vec![
            Some("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
            Some("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
            Some("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n"),
            None,
            Some("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"),
            Some("HTTP/1.0 503 Busy\r\n\r\nbusy"),
        ]);
        let mut c = Connection::new(port);
        let key = ("X-Key", "s".to_owned());
        let mut ask = |header| c.get("/status", header, soon()).map(|a| a.status);
        assert_eq!(ask(Some(&key)), Ok(200));
        assert_eq!(ask(None), Ok(200));
        assert_eq!(ask(None), Ok(401));
        assert_eq!(ask(None), Err(Failure::Closed));
        assert_eq!(ask(None), Ok(204));
        assert_eq!(ask(None), Ok(503));
        assert!(!c.is_open());
        let asked = thread.join().unwrap();
        let connections: Vec<usize> = asked.iter().map(|(c, _)| *c).collect();
        assert_eq!(connections, [0, 0, 0, 0, 1, 2]);
        assert!(
            asked[0].1.ends_with("|Accept: */*|X-Key: s"),
            "{}",
            asked[0].1
        );
        assert_eq!(c.get("/", None, soon()), Err(Failure::Refused));
    }

    #[test]
    fn silence_and_nonsense_are_told_apart() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut silent = Connection::new(listener.local_addr().unwrap().port());
        let begun = Instant::now();
        let wait = Duration::from_millis(200);
        assert_eq!(silent.get("/", None, begun + wait), Err(Failure::Timeout));
        assert!(begun.elapsed() < wait * 5, "{:?}", begun.elapsed());
        let (port, _thread) = server(vec![Some("SSH-2.0-x\r\n\r\n")]);
        assert_eq!(
            Connection::new(port).get("/", None, soon()),
            Err(Failure::Broken("it answered `SSH-2.0-x`".into()))
        );
    }

    #[test]
    fn heads_are_read() {
        let head = |text: &str| Head::parse(text.as_bytes());
        let of = |status, body, stays| {
            Some(Head {
                status,
                body,
                stays,
            })
        };
        assert_eq!(
            head("HTTP/1.1 200 OK\r\nCONTENT-LENGTH: 5\r\n\r\n"),
            of(200, Body::Length(5), true)
        );
        assert_eq!(head("HTTP/1.1 200\r\n\r\n"), of(200, Body::Open, true));
        assert_eq!(
            head("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n"),
            of(200, Body::Open, true)
        );
        for none in [
            "",
            "HTTP/1.1\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.1 é\r\n\r\n",
        ] {
            assert_eq!(head(none), None, "{none}");
        }
    }
}
