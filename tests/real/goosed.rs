//! goosed's REST through the gateway: three servers that mosaic runs, the built gateway before them, and a
//! client that knows of neither. The servers are a real goosed where `GOOSED_BIN` names one, with a model
//! stand-in behind it, and the stand-in for goosed else.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::goosed_stand_in::process::{BEHAVIOUR, install};
use crate::model::Model;
use crate::support::{Agent, Roster, Running, Sandbox, eventually};

/// Not a test: what the stand-in's process runs; see [`install`].
#[test]
#[ignore = "what these tests start as their goosed"]
fn program() {
    crate::goosed_stand_in::process::run();
}

/// A fleet of three, and its gateway.
struct Fleet {
    /// Ends before its sandbox, which looks for what is left running.
    gateway: Option<Running>,
    s: Sandbox,
    client: Client,
    /// For a real goosed.
    _model: Model,
}

impl std::ops::Deref for Fleet {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// What a client knows.
struct Client {
    port: u16,
    secret: String,
    /// Where its chats work.
    work: PathBuf,
}

/// An answer, whole.
struct Answer {
    status: u16,
    body: String,
}

impl Answer {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }

    #[track_caller]
    fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        self.json()
    }
}

fn real() -> Option<PathBuf> {
    std::env::var_os("GOOSED_BIN").map(PathBuf::from)
}

impl Fleet {
    fn up() -> Option<Self> {
        let s = Sandbox::booted()?;
        let model = Model::start();
        let goosed = real().unwrap_or_else(|| {
            s.mkdir(&s.path("goosed"));
            install(&s.path("goosed"), "goosed::program")
        });
        let agents = ["g0", "g1", "g2"].map(|name| {
            // Each keeps its sessions for itself: they would share one database, and each list all.
            let root = s.path(format!("goose-{name}"));
            s.mkdir(&root);
            Agent::demo(name)
                .key("runtime", json!("goosed"))
                .env("GOOSE_PATH_ROOT", root.to_str().unwrap())
                .env("GOOSE_PROVIDER", "openai")
                .env("GOOSE_MODEL", "stand-in")
                .env("GOOSE_MODE", "auto")
                .env("OPENAI_HOST", &format!("http://127.0.0.1:{}", model.port))
                .env("OPENAI_API_KEY", "none")
                .env(BEHAVIOUR, "words=50")
        });
        let routing = json!({
            "publish_interval_secs": 1,
            "stale_after_secs": 10,
            "min_disk_available_bytes": 0,
            "max_cpu_load_pct": 100,
            "max_memory_used_pct": 100,
            // What the machine is at decides nothing here.
            "weight_rtt": 0, "weight_cpu_load": 0, "weight_memory_used": 0,
        });
        Roster::new(agents)
            .key("runtimes", json!({"goosed": {"command": goosed}}))
            .key("routing", routing)
            .up(&s);
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut fleet = Self {
            client: Client {
                port: free.local_addr().unwrap().port(),
                secret: String::new(),
                work: s.path("work"),
            },
            gateway: None,
            _model: model,
            s,
        };
        drop(free);
        fleet.begin();
        for name in ["g0", "g1", "g2"] {
            fleet.healthy(name);
        }
        Some(fleet)
    }

    /// Starts the gateway.
    fn begin(&mut self) {
        let port = self.port.to_string();
        self.gateway = Some(self.s.start(&["gateway", "run", "--port", &port]));
        eventually("the gateway listens", || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()
        });
        let secret = std::fs::read_to_string(self.s.state("gateway.secret")).unwrap();
        self.client.secret = secret.trim().to_owned();
    }

    /// Kills it, as `kill -9` does.
    fn kill_gateway(&mut self) {
        let mut gateway = self.gateway.take().unwrap();
        gateway.signal(Signal::KILL);
        let gateway = std::cell::RefCell::new(gateway);
        eventually("the gateway is gone", || !gateway.borrow_mut().runs());
    }
}

impl Client {
    /// Waits until the gateway has seen that a node is well.
    fn healthy(&self, name: &str) {
        let line = format!("mosaic_gateway_node_health{{node=\"{name}\",health=\"healthy\"}} 1");
        eventually(&format!("`{name}` is healthy"), || {
            self.get("/metrics").body.contains(&line)
        });
    }

    fn send(&self, line: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        let timeout = Some(Duration::from_secs(30));
        stream.set_read_timeout(timeout).unwrap();
        let head = format!(
            "{line} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nX-Secret-Key: {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.secret,
            body.len()
        );
        stream.write_all((head + body).as_bytes()).unwrap();
        stream
    }

    fn ask(&self, line: &str, body: &Value) -> Answer {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let mut all = String::new();
        self.send(line, &body).read_to_string(&mut all).unwrap();
        let (head, body) = all.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = match head.to_ascii_lowercase().contains("chunked") {
            true => dechunked(body),
            false => body.to_owned(),
        };
        Answer { status, body }
    }

    fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), &Value::Null)
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask(&format!("POST {path}"), body)
    }

    /// A new chat.
    fn start(&self) -> String {
        let begun = self.post("/agent/start", &json!({"working_dir": self.work}));
        let begun = begun.ok();
        assert!(begun["provider_name"].is_string(), "{begun}");
        begun["id"].as_str().unwrap().to_owned()
    }

    /// Says something in a chat and reads its events until the turn is over. What they were, and when the
    /// first and the last message came.
    fn say(&self, chat: &str, text: &str) -> (String, Duration, Duration) {
        let events = self.send(&format!("GET /sessions/{chat}/events"), "");
        let id = uuid::Uuid::new_v4().to_string();
        let content = json!([{"type": "text", "text": text}]);
        let body = json!({"request_id": id, "user_message": {
            "role": "user", "created": 1, "content": content,
            "metadata": {"userVisible": true, "agentVisible": true},
        }});
        let begun = Instant::now();
        let accepted = self.post(&format!("/sessions/{chat}/reply"), &body).ok();
        assert_eq!(accepted, json!({"request_id": id}));
        let (mut all, mut first, mut last) = (String::new(), None, Duration::ZERO);
        for line in BufReader::new(events).lines() {
            let line = line.unwrap();
            all.push_str(&line);
            all.push('\n');
            if line.contains("\"type\":\"Message\"") {
                last = begun.elapsed();
                first.get_or_insert(last);
            }
            if line.contains("\"type\":\"Finish\"") || line.contains("\"type\":\"Error\"") {
                break;
            }
        }
        let first = first.unwrap_or_else(|| panic!("no message: {all}"));
        (all, first, last)
    }
}

/// The chunks' contents.
fn dechunked(mut body: &str) -> String {
    let mut out = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        out.push_str(&rest[..length]);
        body = rest[length..].trim_start_matches("\r\n");
        if length == 0 {
            break;
        }
    }
    out
}

fn node(chat: &str) -> &str {
    chat.split_once('.').unwrap().0
}

#[test]
fn chats_spread_and_stay_whatever_dies() {
    let Some(mut fleet) = Fleet::up() else { return };
    let client = &fleet.client;
    let chats: Vec<String> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..12).map(|_| scope.spawn(|| client.start())).collect();
        starts.into_iter().map(|s| s.join().unwrap()).collect()
    });
    let mut counts = BTreeMap::new();
    for chat in &chats {
        *counts.entry(node(chat)).or_insert(0) += 1;
    }
    assert_eq!(
        counts,
        BTreeMap::from([("g0", 4), ("g1", 4), ("g2", 4)]),
        "{chats:?}"
    );
    let listed = |fleet: &Fleet| {
        let list = fleet.get("/sessions").ok();
        let list = list["sessions"].as_array().unwrap().clone();
        let mut ids: Vec<String> = list
            .iter()
            .map(|s| s["id"].as_str().unwrap().into())
            .collect();
        ids.sort_unstable();
        ids
    };
    let one = |name: &str| chats.iter().find(|c| node(c) == name).unwrap().clone();
    let first = one("g1");
    let (said, begun, ended) = fleet.say(&first, "five words in a row");
    assert!(said.contains("id: 1\n"), "{said}");
    if real().is_none() {
        assert!(said.contains("\"text\":\"g1: \""), "{said}");
        // Six words with 50 ms between them: the first is there before the last is said.
        assert!(
            ended - begun > Duration::from_millis(150),
            "{begun:?} {ended:?}"
        );
        // goosed itself lists only those with a message in some releases.
        let mut all = chats.clone();
        all.sort_unstable();
        assert_eq!(listed(&fleet), all);
    }
    assert!(listed(&fleet).contains(&first));

    // A node dies: its chats say so, new ones go elsewhere.
    let place = fleet.s.up("g1");
    fleet.s.mosaic(&["fleet", "stop", "g1"]).ok();
    let down = fleet.get(&format!("/sessions/{first}"));
    assert_eq!(down.status, 503, "{}", down.body);
    let message = down.json()["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("`g1`") && message.contains(&first),
        "{message}"
    );
    let refused = fleet.post(
        "/config/upsert",
        &json!({"key": "K", "value": 1, "is_secret": false}),
    );
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert_ne!(node(&fleet.start()), "g1");
    fleet.s.mosaic(&["fleet", "start", "g1"]).ok();
    assert_ne!(fleet.s.up("g1").pid, place.pid);
    fleet.healthy("g1");

    // Everything dies: each chat is where it was.
    fleet.kill_gateway();
    for name in ["g0", "g1", "g2"] {
        let place = fleet.s.up(name);
        fleet.s.kill_agent(&place, Signal::KILL);
        fleet.s.back(name, &place);
    }
    fleet.begin();
    for name in ["g0", "g1", "g2"] {
        fleet.healthy(name);
        let chat = one(name);
        assert_eq!(fleet.get(&format!("/sessions/{chat}")).ok()["id"], *chat);
        // Nobody has resumed it in this process.
        fleet.say(&chat, "again");
        let resume = json!({"session_id": chat, "load_model_and_extensions": true});
        let resumed = fleet.post("/agent/resume", &resume).ok();
        assert_eq!(resumed["session"]["id"], *chat);
        fleet.say(&chat, "and again");
    }
    let pins = fleet.s.mosaic(&["pin", "list", "--json"]).ok().json();
    let pins = pins.to_string();
    assert!(chats.iter().all(|chat| pins.contains(chat)), "{pins}");
}

#[test]
fn the_routes_of_a_client() {
    let Some(fleet) = Fleet::up() else { return };
    assert_eq!(fleet.get("/status").body, "ok");
    assert!(fleet.get("/features").ok()["features"].is_object());
    let chat = fleet.start();
    fleet.say(&chat, "hello");
    let session = fleet.get(&format!("/sessions/{chat}")).ok();
    assert_eq!(session["id"], *chat);
    assert!(session["message_count"].as_u64().unwrap() >= 2, "{session}");
    let found = fleet.get("/sessions/search?query=hello").ok();
    assert_eq!(found[0]["id"], *chat, "{found}");
    assert!(fleet.get("/sessions/insights").ok()["totalSessions"].is_u64());
    assert_eq!(
        fleet.get(&format!("/sessions/{chat}/extensions")).status,
        200
    );
    assert_eq!(
        fleet.get(&format!("/agent/tools?session_id={chat}")).status,
        200
    );
    let name = json!({"name": "named"});
    assert_eq!(
        fleet
            .ask(&format!("PUT /sessions/{chat}/name"), &name)
            .status,
        200
    );
    assert_eq!(
        fleet.get(&format!("/sessions/{chat}")).ok()["name"],
        "named"
    );

    let fork = json!({"truncate": false, "copy": true});
    let forked = fleet.post(&format!("/sessions/{chat}/fork"), &fork).ok();
    let forked = forked["sessionId"].as_str().unwrap().to_owned();
    assert_eq!(node(&forked), node(&chat));
    let exported = fleet.get(&format!("/sessions/{chat}/export")).ok();
    let imported = fleet
        .post("/sessions/import", &json!({"json": exported}))
        .ok();
    let imported = imported["id"].as_str().unwrap().to_owned();
    let read = fleet.get(&format!("/sessions/{imported}")).ok();
    assert_eq!(read["message_count"], session["message_count"]);

    let setting = json!({"key": "MOSAIC_TEST", "value": "x", "is_secret": false});
    assert_eq!(fleet.post("/config/upsert", &setting).status, 200);
    let read = json!({"key": "MOSAIC_TEST", "is_secret": false});
    assert_eq!(fleet.post("/config/read", &read).ok(), "x");
    assert_eq!(fleet.post("/config/remove", &read).status, 200);
    assert_eq!(fleet.post("/config/read", &read).ok(), Value::Null);

    let missing = json!({"working_dir": "/no/such"});
    assert_eq!(fleet.post("/agent/start", &missing).status, 400);
    let wrong = fleet.post("/agent/resume", &json!({"session_id": chat}));
    assert_eq!(wrong.status, 422, "{}", wrong.body);
    assert_eq!(fleet.get("/sessions/20260101_1").status, 404);
    assert_eq!(fleet.get("/no/such").status, 404);
    for gone in [&forked, &imported, &chat] {
        let deleted = fleet.ask(&format!("DELETE /sessions/{gone}"), &Value::Null);
        assert_eq!(deleted.status, 200, "{gone}");
        assert_eq!(fleet.get(&format!("/sessions/{gone}")).status, 404);
    }
}
