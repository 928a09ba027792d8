//! As much of HTTP as the stand-in needs: one request, one reply, then the connection closes. A body
//! without a length ends with its connection, which needs no chunked coding.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// An agent that stops in mid-request must not hold a thread for ever.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// A request that came in whole.
pub struct Request {
    pub path: String,
    pub body: Vec<u8>,
}

/// A connection that is owed a reply.
pub struct Connection(TcpStream);

impl Connection {
    /// Reads a request.
    ///
    /// # Errors
    /// The agent hung up, or stalled for longer than any does.
    pub fn read(stream: TcpStream) -> io::Result<(Self, Request)> {
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        // What streams in small pieces is to be seen at once.
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let lines = reader.by_ref().lines().map_while(Result::ok);
        let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        let field = |wanted: &str| {
            head.iter().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case(wanted).then(|| value.trim())
            })
        };
        let body = if field("transfer-encoding") == Some("chunked") {
            chunks(&mut reader)?
        } else {
            let length = field("content-length").and_then(|v| v.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            reader.read_exact(&mut body)?;
            body
        };
        let target = head.first().and_then(|line| line.split(' ').nth(1));
        let path = target.map_or("", |t| t.split('?').next().unwrap_or(t));
        let path = path.to_owned();
        Ok((Self(stream), Request { path, body }))
    }

    /// Begins a stream of events.
    pub fn events(&mut self) -> io::Result<()> {
        self.head("200 OK", "text/event-stream", "")
    }

    /// Sends a piece of the body.
    pub fn send(&mut self, text: &str) -> io::Result<()> {
        self.0.write_all(text.as_bytes())
    }

    /// Sends a whole reply.
    pub fn json(&mut self, body: &impl ToString) -> io::Result<()> {
        self.head("200 OK", "application/json", "")?;
        self.send(&body.to_string())
    }

    /// Sends a refusal that may be tried again after so many seconds.
    pub fn too_many(&mut self, body: &impl ToString, seconds: u64) -> io::Result<()> {
        let again = format!("Retry-After: {seconds}\r\n");
        self.head("429 Too Many Requests", "application/json", &again)?;
        self.send(&body.to_string())
    }

    fn head(&mut self, status: &str, kind: &str, more: &str) -> io::Result<()> {
        let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: {kind}\r\n");
        self.send(&format!("{head}{more}\r\n"))
    }

    /// Waits.
    ///
    /// # Errors
    /// At once when the agent hangs up.
    pub fn pause(&mut self, time: Duration) -> io::Result<()> {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.0.set_read_timeout(Some(left))?;
            match self.0.peek(&mut [0]) {
                Ok(0) => return Err(io::ErrorKind::ConnectionReset.into()),
                // Nobody speaks before the answer; then whether they listen is not to be known.
                Ok(_) => std::thread::sleep(left),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

fn chunks(reader: &mut impl io::BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
        reader.by_ref().take(size).read_to_end(&mut body)?;
        reader.read_line(&mut line)?;
        if size == 0 {
            return Ok(body);
        }
    }
}
