//! What the gateway adds to a request, next to nginx and haproxy as plain reverse proxies before the same
//! server, all in turns in one run, so that they see the same machine. `cargo bench --bench gateway` prints
//! medians and ratios; nothing fails here, since a busy machine must not turn a build red.
//!
//! Everything listens on loopback, on ports of its own, with files of its own in a directory that is
//! removed; what was started is ended by its process id. A proxy that is not installed is left out, aloud.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a benchmark may panic and speak"
)]

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use mosaic::gateway::Shared;
use mosaic::gateway::door::Door;
use mosaic::gateway::guard::Secret;
use mosaic::gateway::nodes::Endpoint;
use mosaic::gateway::server::{self, Ways};
use mosaic::gateway::workers::Workers;
use mosaic::routing::node::{Advert, Dialect, Health, Load, Node};
use mosaic::routing::pins::Pins;
use mosaic::routing::policy::Policy;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Requests of one turn that measures latency, one after the other.
const ASKED: usize = 1000;
/// Turns that measure latency.
const SHORT_TURNS: usize = 25;
/// Turns of each other kind.
const TURNS: usize = 5;
/// Connections that measure throughput.
const CROWD: usize = 32;
/// Length of a turn that measures throughput.
const TURN: Duration = Duration::from_millis(1500);
/// Streams whose first byte is measured, each on a connection of its own.
const FIRSTS: usize = 150;
/// Streams that are open at the same time.
const STREAMS: usize = 1000;
/// Longest wait for anything that takes milliseconds.
const LONG: Duration = Duration::from_secs(20);

/// What a session's `extensions` are some kilobytes of.
const ANSWER: &str = r#"{"extensions":[{"type":"builtin","name":"developer","display_name":"Developer","timeout":300,"bundled":true},{"type":"builtin","name":"memory","display_name":"Memory","timeout":300,"bundled":true}]}"#;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["--upstream"] => runtime(1).block_on(upstream()),
        ["--gateway", port, directory] => {
            let workers = Workers::begin().unwrap();
            let directory = Path::new(directory);
            runtime(1).block_on(gateway(port.parse().unwrap(), directory, workers));
        }
        _ => runtime(cores()).block_on(bench()),
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, |n| n.get().min(4))
}

fn runtime(threads: usize) -> tokio::runtime::Runtime {
    files();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .unwrap()
}

/// As many open files as may be.
fn files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let _ = setrlimit(Resource::Nofile, all);
}

// What is measured.

/// The server behind all of them: an answer at once, and a stream that says something at once and a
/// comment every half second, as goosed's does.
async fn upstream() {
    let listener = listener().await;
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        tokio::spawn(async move {
            let service = hyper::service::service_fn(answer);
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let response = Response::builder();
    let response = if request.uri().path().ends_with("/events") {
        let frames = futures_util::stream::unfold(0u64, |n| async move {
            if n > 0 {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            let frame = match n {
                0 => "id: 0\ndata: {\"type\":\"ActiveRequests\"}\n\n",
                _ => ": ping\n\n",
            };
            Some((
                Ok::<_, Infallible>(Bytes::from_static(frame.as_bytes())),
                n + 1,
            ))
        });
        response
            .header("content-type", "text/event-stream")
            .body(Body::from_stream(frames))
    } else {
        response
            .header("content-type", "application/json")
            .body(Body::from(ANSWER))
    };
    Ok(response.unwrap())
}

/// The gateway with one node, as `mosaic gateway run` serves it.
async fn gateway(port: u16, directory: &Path, workers: Workers) {
    let pins = Pins::at(&directory.join("pins.db")).unwrap();
    let gateway = Shared::new(None, Policy::default(), pins, Secret::new("bench"));
    let node = Node {
        id: "n0".to_owned(),
        host: "here".to_owned(),
        class: "node".to_owned(),
        runtime: "goosed".to_owned(),
        dialect: Dialect::Goosed,
        labels: Default::default(),
        model_hint: None,
        working_directory: "/".into(),
        priority: 0,
        max_chats: None,
    };
    let endpoint = Endpoint::new("n0", Dialect::Goosed, port, "node");
    gateway.nodes.set(vec![(node, Some(endpoint))]);
    gateway.nodes.get("n0").unwrap().observed(Advert {
        id: "n0".to_owned(),
        observed: Timestamp::now() + SignedDuration::from_hours(1),
        health: Health::Healthy,
        load: Load::default(),
        rtt_ms: 0.1,
        state: String::new(),
    });
    let ways = Ways {
        workers,
        ..Ways::plain(listener().await)
    };
    server::serve(&gateway, ways, Door::new(&gateway), std::future::pending()).await;
}

/// On a free port, which is told to whoever started this.
async fn listener() -> TcpListener {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    listener
}

/// A process that is ended with this, and nothing else.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // nginx's workers end with their master, which SIGKILL would not let it see to.
        if let Some(pid) = rustix::process::Pid::from_raw(i32::try_from(self.0.id()).unwrap_or(0)) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let deadline = Instant::now() + Duration::from_secs(3);
        while Instant::now() < deadline {
            if matches!(self.0.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// This program in another part; its port.
fn part(args: &[&str]) -> (Process, u16) {
    use std::io::{BufRead as _, BufReader};
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = child.stdout.take().unwrap();
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line).unwrap();
    (Process(child), line.trim().parse().unwrap())
}

/// A free port, free still a moment later on a machine where nobody else looks for one.
fn free() -> u16 {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

fn installed(program: &str) -> Option<String> {
    let places = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let found = places.iter().map(|dir| format!("{dir}/{program}"));
    let found = found.into_iter().find(|path| Path::new(path).is_file());
    if found.is_none() {
        eprintln!(
            "{program} is not installed (Debian: `apt install {program}`, nginx as `nginx-light`) and is left out"
        );
    }
    found
}

fn nginx(upstream: u16, dir: &Path) -> Option<(Process, u16)> {
    let program = installed("nginx")?;
    let port = free();
    let at = dir.display();
    let conf = format!(
        "daemon off; worker_processes {}; pid {at}/nginx.pid; error_log {at}/nginx.log;\n\
         worker_rlimit_nofile 8192;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ access_log off; client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f;\n\
         uwsgi_temp_path {at}/u; scgi_temp_path {at}/s; keepalive_requests 1000000;\n\
         upstream node {{ server 127.0.0.1:{upstream}; keepalive 128; keepalive_requests 1000000; }}\n\
         server {{ listen 127.0.0.1:{port} backlog=1024; location / {{ proxy_pass http://node; proxy_http_version 1.1;\n\
         proxy_set_header Connection \"\"; proxy_buffering off; }} }} }}\n",
        cores()
    );
    started(
        program,
        dir,
        "nginx.conf",
        &conf,
        &["-c", "{conf}", "-e", "{dir}/nginx.err"],
        port,
    )
}

fn haproxy(upstream: u16, dir: &Path) -> Option<(Process, u16)> {
    let program = installed("haproxy")?;
    let port = free();
    let conf = format!(
        "global\n  nbthread {}\n  maxconn 4096\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  http-reuse always\n  option http-no-delay\n\
         frontend f\n  bind 127.0.0.1:{port}\n  default_backend b\n\
         backend b\n  server s 127.0.0.1:{upstream}\n",
        cores()
    );
    started(
        program,
        dir,
        "haproxy.cfg",
        &conf,
        &["-db", "-q", "-f", "{conf}"],
        port,
    )
}

fn started(
    program: String,
    dir: &Path,
    name: &str,
    conf: &str,
    args: &[&str],
    port: u16,
) -> Option<(Process, u16)> {
    let path = dir.join(name);
    std::fs::write(&path, conf).unwrap();
    let words = args.iter().map(|word| {
        word.replace("{conf}", &path.to_string_lossy())
            .replace("{dir}", &dir.to_string_lossy())
    });
    let child = Command::new(&program)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn();
    let process = Process(child.ok()?);
    let deadline = Instant::now() + Duration::from_secs(5);
    while std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        if Instant::now() > deadline {
            eprintln!("{program} does not come up and is left out");
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Some((process, port))
}

// Who asks.

/// One way to the server.
struct Way {
    name: &'static str,
    port: u16,
    /// The session's name there.
    session: &'static str,
    latency: Vec<f64>,
    throughput: Vec<f64>,
    first: Vec<f64>,
}

impl Way {
    fn new(name: &'static str, port: u16, session: &'static str) -> Self {
        Self {
            name,
            port,
            session,
            latency: Vec::new(),
            throughput: Vec::new(),
            first: Vec::new(),
        }
    }

    fn request(&self, what: &str) -> String {
        format!(
            "GET /sessions/{}/{what} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Secret-Key: bench\r\nAccept: */*\r\n\r\n",
            self.session
        )
    }

    async fn connect(port: u16) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }
}

/// A connection and what was read of it beyond the last answer.
struct Client {
    stream: TcpStream,
    request: String,
    buffer: Vec<u8>,
}

impl Client {
    /// Asks once and reads the answer to its end.
    async fn ask(&mut self) {
        self.stream
            .write_all(self.request.as_bytes())
            .await
            .unwrap();
        self.buffer.clear();
        loop {
            let n = self.stream.read_buf(&mut self.buffer).await.unwrap();
            assert!(n > 0, "closed: {}", String::from_utf8_lossy(&self.buffer));
            if is_whole(&self.buffer) {
                return;
            }
        }
    }
}

/// Whether an answer has come to its end.
fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = find(answer, b"\r\n\r\n") else {
        return false;
    };
    assert!(
        answer.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(answer)
    );
    answer.len() >= head + 4 + length(&answer[..head])
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|w| w == what)
}

fn length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let line = head.lines().find_map(|l| l.strip_prefix("content-length:"));
    line.and_then(|n| n.trim().parse().ok()).unwrap_or(0)
}

async fn client(port: u16, request: String) -> Client {
    Client {
        stream: Way::connect(port).await,
        request,
        buffer: Vec::with_capacity(4096),
    }
}

/// Milliseconds of single requests, one after the other on one connection. Asked by a thread that waits for
/// each answer in the kernel, so that as little as may be is measured of whoever asks.
fn latency(way: &Way) -> Vec<f64> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, way.port)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    let request = way.request("extensions");
    let mut buffer = vec![0; 64 * 1024];
    let mut took = Vec::with_capacity(ASKED);
    for _ in 0..ASKED {
        let begun = Instant::now();
        stream.write_all(request.as_bytes()).unwrap();
        let mut read = 0;
        while !is_whole(&buffer[..read]) {
            let n = stream.read(&mut buffer[read..]).unwrap();
            assert!(
                n > 0,
                "closed: {}",
                String::from_utf8_lossy(&buffer[..read])
            );
            read += n;
        }
        took.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    // Connections are made, and pages of memory are found, by the first ones.
    took.split_off(ASKED / 10)
}

/// Requests a second of a crowd.
async fn throughput(way: &Way) -> f64 {
    let begun = Instant::now();
    let crowd: Vec<_> = (0..CROWD)
        .map(|_| {
            let (port, request) = (way.port, way.request("extensions"));
            tokio::spawn(async move {
                let mut client = client(port, request).await;
                let mut count = 0u32;
                while begun.elapsed() < TURN {
                    client.ask().await;
                    count += 1;
                }
                count
            })
        })
        .collect();
    let mut all = 0;
    for one in crowd {
        all += one.await.unwrap();
    }
    f64::from(all) / begun.elapsed().as_secs_f64()
}

/// Opens a stream; milliseconds until its first event.
async fn stream(port: u16, request: &str) -> (TcpStream, f64) {
    let begun = Instant::now();
    let mut stream = Way::connect(port).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut buffer = Vec::with_capacity(1024);
    while find(&buffer, b"ActiveRequests").is_none() {
        let read = stream.read_buf(&mut buffer);
        let n = tokio::time::timeout(LONG, read).await.unwrap().unwrap();
        assert!(n > 0, "{}", String::from_utf8_lossy(&buffer));
    }
    (stream, begun.elapsed().as_secs_f64() * 1000.0)
}

/// Resident memory of a process in MB.
fn memory(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    let kb: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kb / 1024.0
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

async fn bench() {
    let dir = tempfile::tempdir().unwrap();
    let (_upstream, upstream) = part(&["--upstream"]);
    let path = dir.path().to_string_lossy().into_owned();
    let (gateway, port) = part(&["--gateway", &upstream.to_string(), &path]);
    let mut ways = vec![
        Way::new("direct", upstream, "1"),
        Way::new("gateway", port, "n0.1"),
    ];
    let nginx = nginx(upstream, dir.path());
    let haproxy = haproxy(upstream, dir.path());
    ways.extend(nginx.iter().map(|(_, port)| Way::new("nginx", *port, "1")));
    ways.extend(
        haproxy
            .iter()
            .map(|(_, port)| Way::new("haproxy", *port, "1")),
    );
    // What is told are differences of a few microseconds: many short turns, so that all see the same machine.
    for _ in 0..SHORT_TURNS {
        for way in &mut ways {
            let mut took = latency(way);
            way.latency.push(median(&mut took));
        }
    }
    for _ in 0..TURNS {
        for way in &mut ways {
            let rate = throughput(way).await;
            way.throughput.push(rate);
        }
        for way in &mut ways {
            for _ in 0..FIRSTS / TURNS {
                let (_, ms) = stream(way.port, &way.request("events")).await;
                way.first.push(ms);
            }
        }
    }
    println!(
        "{:<9} {:>12} {:>12} {:>16}",
        "", "p50 ms", "requests/s", "first event ms"
    );
    let mut seen = Vec::new();
    for way in &mut ways {
        let of = (
            median(&mut way.latency),
            median(&mut way.throughput),
            median(&mut way.first),
        );
        println!(
            "{:<9} {:>12.4} {:>12.0} {:>16.3}",
            way.name, of.0, of.1, of.2
        );
        seen.push((way.name, of));
    }
    let get = |name: &str| seen.iter().find(|(n, _)| *n == name).map(|(_, of)| *of);
    let (direct, own) = (get("direct").unwrap(), get("gateway").unwrap());
    let others: Vec<_> = ["nginx", "haproxy"].into_iter().filter_map(get).collect();
    let added = |of: (f64, f64, f64)| of.0 - direct.0;
    println!("\n{:<52} {:>9}  goal", "", "measured");
    let say = |what: &str, value: String, goal: &str| println!("{what:<52} {value:>9}  {goal}");
    if !others.is_empty() {
        let fastest = others
            .iter()
            .map(|of| added(*of))
            .fold(f64::INFINITY, f64::min);
        let most = others.iter().map(|of| of.1).fold(0.0, f64::max);
        say(
            "added p50 latency, of the faster proxy's",
            format!("{:.2}x", added(own) / fastest),
            "at most 1.5x",
        );
        say(
            "throughput, of the faster proxy's",
            format!("{:.2}x", own.1 / most),
            "at least 0.7x",
        );
    }
    say(
        "added to a stream's first event, ms",
        format!("{:.3}", own.2 - direct.2),
        "below 1",
    );
    let before = memory(gateway.0.id());
    let request = Way::new("gateway", port, "n0.1").request("events");
    let mut open = Vec::with_capacity(STREAMS);
    for _ in 0..STREAMS {
        open.push(stream(port, &request).await.0);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = memory(gateway.0.id());
    let mut alive = 0;
    for stream in &mut open {
        let mut ping = [0; 64];
        let read = tokio::time::timeout(LONG, stream.read(&mut ping)).await;
        alive += usize::from(
            matches!(read, Ok(Ok(n)) if ping[..n].starts_with(b"7\r\n: ping") || ping[..n].starts_with(b"8\r\n: ping")),
        );
    }
    say(
        "open streams that go on",
        format!("{alive}"),
        &format!("{STREAMS}"),
    );
    say("memory with them, MB", format!("{after:.1}"), "below 100");
    say("memory before, MB", format!("{before:.1}"), "");
}
