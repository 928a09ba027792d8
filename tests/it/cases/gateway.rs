//! The gateway with a fleet of servers: chats spread, stay where they are whatever dies, and a client is
//! told which node is down.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::goosed::process::install;
use crate::support::{Agent, Roster, Sandbox, eventually, eventually_some, proc};

const UNIT: &str = "mosaic-gateway.service";
const NODES: [&str; 3] = ["g0", "g1", "g2"];
/// An answer that says that a node hangs must come before this.
const SECONDS: Duration = Duration::from_secs(9);

/// A free port; the kernel hands out others first.
fn free() -> u16 {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    free.local_addr().unwrap().port()
}

/// Three stand-ins of goosed and a gateway. A loaded machine is none too loaded here.
fn pool(s: &Sandbox, port: u16) -> Roster {
    install(&s.path("bin"), "goosed_stand_in");
    let agents = NODES.map(|name| {
        let root = s.path("work").join(name);
        Agent::demo(name)
            .key("runtime", json!("goosed"))
            .env("GOOSE_PATH_ROOT", &root.to_string_lossy())
    });
    Roster::new(agents).key("routing", routing(port))
}

fn routing(port: u16) -> Value {
    json!({
        "gateway": true,
        "local_port": port,
        "publish_interval_secs": 1,
        "max_cpu_load_pct": 100,
        "max_memory_used_pct": 100,
        "min_disk_available_bytes": 1,
    })
}

/// A client of the gateway.
#[derive(Clone)]
struct Client {
    port: u16,
    secret: String,
}

impl Client {
    fn of(s: &Sandbox, port: u16) -> Self {
        let secret = std::fs::read_to_string(s.state("gateway.secret")).unwrap();
        Self {
            port,
            secret: secret.trim().to_owned(),
        }
    }

    fn send(&self, line: &str, body: &Value) -> std::io::Result<TcpStream> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let head = format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Secret-Key: {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.secret,
            body.len()
        );
        stream.write_all((head + &body).as_bytes())?;
        Ok(stream)
    }

    /// Status and body as text; status 0 when nobody answers.
    fn text(&self, line: &str, body: &Value) -> (u16, String) {
        let mut all = Vec::new();
        let read = self
            .send(line, body)
            .and_then(|mut stream| stream.read_to_end(&mut all));
        let all = String::from_utf8_lossy(&all).into_owned();
        match (read, all.split_once("\r\n\r\n")) {
            (Ok(_), Some((head, body))) => {
                let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                (status, body.to_owned())
            }
            _ => (0, all),
        }
    }

    fn ask(&self, line: &str, body: &Value) -> (u16, Value) {
        let (status, text) = self.text(line, body);
        (status, serde_json::from_str(&text).unwrap_or(text.into()))
    }

    fn get(&self, path: &str) -> (u16, Value) {
        self.ask(&format!("GET {path}"), &Value::Null)
    }

    /// A new chat; its name.
    #[track_caller]
    fn create(&self) -> String {
        let (status, session) = self.ask("POST /agent/start", &json!({"working_dir": "/tmp"}));
        assert_eq!(status, 200, "{session}");
        session["id"].as_str().unwrap().to_owned()
    }

    /// Who answers in a chat.
    fn speaks(&self, chat: &str) -> String {
        let message = json!({"role": "user", "created": 1, "content": [{"type": "text", "text": "hello"}],
            "metadata": {"userVisible": true, "agentVisible": true}});
        let body = json!({"session_id": chat, "user_message": message});
        self.text("POST /reply", &body).1
    }
}

/// Says so when it is dropped.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn node(chat: &str) -> &str {
    chat.split_once('.').unwrap().0
}

/// The gateway's process, once it listens.
fn gateway(s: &Sandbox) -> Option<i32> {
    let status = s.mosaic(&["fleet", "status", "--json"]).ok().json();
    status["gateway"]["url"].as_str()?;
    i32::try_from(status["gateway"]["pid"].as_i64()?).ok()
}

fn all_well(s: &Sandbox) -> bool {
    let status = s.mosaic(&["gateway", "status", "--json"]).json();
    let nodes = status["nodes"].as_array().unwrap();
    nodes.iter().all(|n| n["health"] == "healthy")
}

fn pins(s: &Sandbox) -> BTreeMap<String, String> {
    let list = s.mosaic(&["pin", "list", "--json"]).ok().json();
    let pin = |p: &Value| {
        Some((
            p["chat"].as_str()?.to_owned(),
            p["node"].as_str()?.to_owned(),
        ))
    };
    list["pins"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(pin)
        .collect()
}

/// Everything a chat of this name answers: 200 and its own name.
fn there(client: &Client, chat: &str) -> bool {
    let (status, session) = client.get(&format!("/sessions/{chat}"));
    status == 200 && session["id"] == chat
}

#[test]
fn a_pool_spreads_its_chats_and_keeps_them_whatever_dies() {
    let Some(s) = Sandbox::lasting(Duration::from_secs(400)) else {
        return;
    };
    let port = free();
    pool(&s, port).up(&s);
    let pid = eventually_some("the gateway runs", || gateway(&s));
    s.mosaic(&["fleet", "verify", "--live-only"])
        .ok()
        .says("the gateway answers, and only who has its secret");
    let client = Client::of(&s, port);
    eventually("all nodes are well", || all_well(&s));

    // Twelve at once.
    let chats: Vec<String> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..12).map(|_| scope.spawn(|| client.create())).collect();
        all.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let mut spread = BTreeMap::new();
    for chat in &chats {
        *spread.entry(node(chat)).or_insert(0) += 1;
    }
    assert_eq!(spread, NODES.map(|n| (n, 4)).into(), "{chats:?}");
    assert_eq!(chats.iter().collect::<BTreeSet<_>>().len(), 12);
    let of = |wanted: &str| chats.iter().find(|c| node(c) == wanted).unwrap().clone();
    for name in NODES {
        let said = client.speaks(&of(name));
        assert!(said.contains(&format!("\"text\":\"{name}: \"")), "{said}");
    }
    let before = pins(&s);
    assert_eq!(before.len(), 12);

    // Under load of chats that are elsewhere, which must not notice.
    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let calm = of("g2");
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                assert!(there(&client, &calm));
                asked.fetch_add(1, Ordering::SeqCst);
            }
        });
        // Also where a claim below fails.
        let ended = Ended(&stop);
        // Down: it stays where it is, and the client is told which.
        s.mosaic(&["fleet", "stop", "g0"]).ok();
        let chat = of("g0");
        let (status, why) = client.get(&format!("/sessions/{chat}"));
        assert_eq!(status, 503, "{why}");
        let why = why["message"].as_str().unwrap();
        assert!(why.contains("`g0`") && why.contains(&chat), "{why}");
        for _ in 0..4 {
            assert_ne!(node(&client.create()), "g0");
        }
        s.mosaic(&["fleet", "start", "g0"]).ok();
        eventually("it is back", || there(&client, &chat));

        // Hung: within seconds, and its stream is ended.
        let chat = of("g1");
        let mut events = client
            .send(&format!("GET /sessions/{chat}/events"), &json!({}))
            .unwrap();
        let mut some = [0; 256];
        assert!(events.read(&mut some).unwrap() > 0);
        let hung = s.up("g1").pid;
        proc::kill(hung, Signal::STOP);
        let begun = Instant::now();
        let (status, why) = client.get(&format!("/sessions/{chat}"));
        assert_eq!(status, 504, "{why}");
        assert!(begun.elapsed() < SECONDS, "{:?}", begun.elapsed());
        assert!(why["message"].as_str().unwrap().contains("`g1`"), "{why}");
        let over = std::iter::from_fn(|| Some(events.read(&mut some)))
            .find(|read| !matches!(read, Ok(n) if *n > 0))
            .unwrap();
        assert!(
            begun.elapsed() < 2 * SECONDS,
            "{over:?} {:?}",
            begun.elapsed()
        );
        assert_ne!(node(&client.create()), "g1");
        proc::kill(hung, Signal::CONT);
        eventually("it is back", || there(&client, &chat));

        // Killed, and restarted by its unit.
        let killed = s.up("g1");
        s.kill_agent(&killed, Signal::KILL);
        s.back("g1", &killed);
        eventually("it is back", || there(&client, &chat));
        drop(ended);
        load.join().unwrap();
        println!(
            "asked elsewhere meanwhile: {}",
            asked.load(Ordering::SeqCst)
        );
        assert!(asked.load(Ordering::SeqCst) > 20);
    });

    // The gateway itself.
    let now = pins(&s);
    assert!(
        before
            .iter()
            .all(|(chat, node)| now.get(chat) == Some(node))
    );
    proc::kill(pid, Signal::KILL);
    eventually("it comes back", || gateway(&s).is_some_and(|p| p != pid));
    assert_eq!(pins(&s), now);
    for chat in &chats {
        eventually("the chat is there", || there(&client, chat));
    }

    // Everything.
    s.mosaic(&["fleet", "stop"]).ok();
    assert_eq!(client.get("/status").0, 0);
    s.mosaic(&["fleet", "start"]).ok();
    eventually("it comes back", || gateway(&s).is_some());
    assert_eq!(pins(&s), now);
    for chat in &chats {
        eventually("the chat is there", || there(&client, chat));
        let said = eventually_some("it speaks", || {
            let resume = json!({"session_id": chat, "load_model_and_extensions": true});
            let (status, _) = client.ask("POST /agent/resume", &resume);
            (status == 200).then(|| client.speaks(chat))
        });
        assert!(
            said.contains(&format!("\"text\":\"{}: \"", node(chat))),
            "{said}"
        );
    }
}

#[test]
fn the_gateway_is_the_fleets_as_the_roster_has_it() {
    let Some(s) = Sandbox::booted() else { return };
    let port = free();
    let roster = Roster::demo(&["a"]);
    roster.clone().key("routing", routing(port)).up(&s);
    let first = eventually_some("the gateway runs", || gateway(&s));
    assert_eq!(s.property(UNIT, "MainPID"), first.to_string());
    s.in_sync();
    let client = Client::of(&s, port);
    assert_eq!(client.text("GET /status", &Value::Null), (200, "ok".into()));
    s.mosaic(&["gateway", "run"])
        .code(75)
        .warns(&format!("the fleet has a gateway already (pid {first})"));

    // Another port: it moves there. One that somebody has: it says who, and takes it when it is free.
    let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let taken = held.local_addr().unwrap().port();
    roster.clone().key("routing", routing(taken)).write(&s);
    // Which process holds it is seen only by its own user.
    let who = match std::env::var_os("MOSAIC_TEST_USER").is_some() {
        true => "a process of somebody else".to_owned(),
        false => format!("process {}", std::process::id()),
    };
    s.mosaic(&["fleet", "apply"])
        .ok()
        .warns(&format!("port {taken} is in use by {who}"));
    assert_eq!(gateway(&s), None);
    s.mosaic(&["gateway", "status"]).code(1).warns("is in use");
    drop(held);
    eventually("it takes the port", || {
        gateway(&s).is_some_and(|p| p != first)
    });
    let client = Client::of(&s, taken);
    assert_eq!(client.get("/metrics").0, 200);

    // What it must not do is no reason to try again.
    let mut open = routing(taken);
    open["listen"] = json!("0.0.0.0");
    roster.clone().key("routing", open).write(&s);
    s.mosaic(&["fleet", "validate"]).code(78);

    // Beside the fleet no more.
    roster.write(&s);
    s.mosaic(&["fleet", "apply"]).ok();
    s.in_sync();
    assert_eq!(gateway(&s), None);
    assert!(!s.units(UNIT).exists());
    assert_eq!(client.get("/status").0, 0);

    // By hand it is whoever's who runs it, and ends when it is told to.
    let port = free().to_string();
    let mut own = s.start(&["gateway", "run", "--port", &port]);
    eventually("it runs", || gateway(&s) == Some(own.pid()));
    s.mosaic(&["fleet", "apply"]).ok();
    assert_eq!(gateway(&s), Some(own.pid()));
    own.signal(Signal::INT);
    own.wait().ok();
    assert_eq!(gateway(&s), None);
    s.mosaic(&["gateway", "run", "--listen", "0.0.0.0"])
        .code(78)
        .warns("does not listen on 0.0.0.0 without TLS");
}

#[test]
fn without_systemd_a_gateway_stands_beside_the_supervisors() {
    let Some(s) = Sandbox::plain() else { return };
    let port = free();
    pool(&s, port).write(&s);
    s.mosaic(&["fleet", "up", "--no-systemd", "--no-verify"])
        .ok();
    let pid = eventually_some("the gateway runs", || gateway(&s));
    let client = Client::of(&s, port);
    eventually("all nodes are well", || all_well(&s));
    let chats: Vec<String> = (0..3).map(|_| client.create()).collect();
    let nodes: BTreeSet<&str> = chats.iter().map(|c| node(c)).collect();
    assert_eq!(nodes, NODES.into());
    proc::kill(pid, Signal::KILL);
    eventually("it comes back", || gateway(&s).is_some_and(|p| p != pid));
    for chat in &chats {
        eventually("the chat is there", || there(&client, chat));
    }
    let next = gateway(&s).unwrap();
    s.mosaic(&["fleet", "stop"]).ok();
    s.gone(next);
    assert_eq!(gateway(&s), None);
    s.mosaic(&["fleet", "start"]).ok();
    for chat in &chats {
        eventually("the chat is there", || there(&client, chat));
    }
    s.mosaic(&["fleet", "uninstall", "--yes"]).ok();
    assert_eq!(client.get("/status").0, 0);
}
