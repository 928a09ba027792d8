//! A gateway in front of a sandbox's fleet, and a client of it that knows nothing but HTTP/1.1.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Running, Sandbox, eventually, eventually_some};

/// Routing for tests: the machine that they run on may be as full and as busy as it likes.
pub fn routing() -> Value {
    json!({
        "max_cpu_load_pct": 100, "max_memory_used_pct": 100, "min_disk_available_bytes": 0,
        "weight_rtt": 0, "weight_cpu_load": 0, "weight_memory_used": 0,
        "publish_interval_secs": 1,
    })
}

/// Longest wait for an event: a stream that has nothing more to tell goes on with signs of life.
const HEARD: Duration = Duration::from_secs(30);

/// The way to a gateway.
#[derive(Debug)]
pub struct Way {
    port: u16,
    secret: String,
}

impl Way {
    /// Starts the gateway of a fleet, and waits until it finds every node healthy.
    pub fn to(s: &Sandbox) -> (Running, Self) {
        let port = {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            free.local_addr().unwrap().port()
        };
        let running = s.start(&["gateway", "run", "--port", &port.to_string()]);
        let secret = eventually_some("the gateway has a secret", || {
            let text = std::fs::read_to_string(s.state("gateway.secret")).ok()?;
            (!text.is_empty()).then_some(text)
        });
        let way = Self {
            port,
            secret: secret.trim().to_owned(),
        };
        eventually("every node is healthy", || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() && {
                let nodes = way.get("/nodes");
                let nodes = nodes["nodes"].as_array().unwrap();
                !nodes.is_empty() && nodes.iter().all(|n| n["health"] == "healthy")
            }
        });
        (running, way)
    }

    fn send(&self, method: &str, path: &str, more: &str, body: &Value) -> TcpStream {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
             X-Secret-Key: {}\r\n{more}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.secret,
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).unwrap();
        stream
    }

    /// Status and answer of a request with more headers.
    pub fn call_with(&self, method: &str, path: &str, more: &str, body: &Value) -> (u16, Value) {
        let mut all = String::new();
        let mut stream = self.send(method, path, more, body);
        stream.read_to_string(&mut all).unwrap();
        let (head, body) = all.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_default())
    }

    /// Status and answer of a request.
    pub fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.call_with(method, path, "", body)
    }

    /// What there is.
    pub fn get(&self, path: &str) -> Value {
        let (status, answer) = self.call("GET", path, &Value::Null);
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// Places a chat.
    #[track_caller]
    pub fn place(&self, chat: &str, on: &str) -> Value {
        let body = json!({"chat": chat, "selector": on});
        let (status, placed) = self.call("POST", "/chats", &body);
        assert_eq!(status, 201, "{placed}");
        placed
    }

    /// Says something in a chat.
    pub fn say(&self, chat: &str, body: &Value) -> (u16, Value) {
        self.call("POST", &format!("/chats/{chat}/messages"), body)
    }

    /// A stream of events: name, id, data.
    pub fn events(&self, path: &str, last: Option<&str>) -> Events {
        let more = last.map_or(String::new(), |l| format!("Last-Event-ID: {l}\r\n"));
        let stream = self.send("GET", path, &more, &Value::Null);
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert!(line.contains(" 200 "), "{line}");
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).unwrap();
        }
        Events(reader)
    }
}

/// A stream of events.
#[derive(Debug)]
pub struct Events(BufReader<TcpStream>);

impl Events {
    /// The next event; sizes of chunks and comments are no lines of one.
    #[track_caller]
    pub fn next(&mut self) -> (String, Option<String>, Value) {
        self.before(Instant::now() + HEARD, &[])
    }

    #[track_caller]
    fn before(&mut self, deadline: Instant, passed: &[String]) -> (String, Option<String>, Value) {
        let (mut name, mut id) = (String::new(), None);
        loop {
            let mut line = String::new();
            let more = self.0.read_line(&mut line).unwrap();
            assert!(more > 0, "the stream ended after {passed:#?}");
            assert!(Instant::now() < deadline, "in vain; heard {passed:#?}");
            let line = line.trim_end();
            if let Some(event) = line.strip_prefix("event: ") {
                name = event.to_owned();
            } else if let Some(given) = line.strip_prefix("id: ") {
                id = Some(given.to_owned());
            } else if let Some(data) = line.strip_prefix("data: ") {
                // The id may stand behind.
                if id.is_none() {
                    let mut after = String::new();
                    self.0.read_line(&mut after).unwrap();
                    id = after.trim_end().strip_prefix("id: ").map(str::to_owned);
                }
                return (name, id, serde_json::from_str(data).unwrap());
            }
        }
    }

    /// The first event from here on that is so. A stream that tells nothing else is not waited for for ever.
    #[track_caller]
    pub fn until(&mut self, is: impl Fn(&str, &Value) -> bool) -> (Option<String>, Value) {
        let deadline = Instant::now() + HEARD;
        let mut passed = Vec::new();
        loop {
            let (name, id, data) = self.before(deadline, &passed);
            if is(&name, &data) {
                return (id, data);
            }
            passed.push(format!("{name} {data}"));
        }
    }
}
