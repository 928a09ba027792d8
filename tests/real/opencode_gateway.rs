//! Three real opencode behind the gateway: chats spread and stay, answers come from their own node as they
//! are produced, `opencode attach` shows a chat in a pane, a node that is killed takes nobody else along.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::cli::{Real, installed};
use crate::support::{Roster, Running, Sandbox, eventually, eventually_some, proc};

mod sdk;

pub const NODES: [&str; 3] = ["oc0", "oc1", "oc2"];

/// A server of opencode's interface: a node, or the gateway.
pub struct Server {
    pub port: u16,
    prefix: &'static str,
    pub secret: String,
}

/// What it answered.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    node: String,
    pub body: Value,
}

impl Server {
    fn request(&self, method: &str, path: &str, body: Option<&Value>) -> TcpStream {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(90)))
            .unwrap();
        let body = body.map(Value::to_string).unwrap_or_default();
        let head = format!(
            "{method} {}{path} HTTP/1.0\r\nhost: 127.0.0.1\r\nauthorization: Basic {}\r\n\
             connection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.prefix,
            basic(&self.secret),
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Got {
        let mut text = String::new();
        self.request(method, path, body)
            .read_to_string(&mut text)
            .unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let node = head.lines().find_map(|l| l.strip_prefix("x-mosaic-node: "));
        Got {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            node: node.unwrap_or_default().to_owned(),
            body: serde_json::from_str(body).unwrap_or_default(),
        }
    }

    /// The status of what is only looked up, where it comes soon. A server that starts takes requests that
    /// it never answers.
    pub fn status(&self, path: &str) -> Option<u16> {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok()?;
        let mut stream = self.request("GET", path, None);
        let wait = Some(Duration::from_secs(2));
        stream.set_read_timeout(wait).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        text.split(' ').nth(1)?.parse().ok()
    }

    /// Whether it is there.
    pub fn answers(&self) -> bool {
        self.status("/global/health") == Some(200)
    }

    pub fn get(&self, path: &str) -> Got {
        self.ask("GET", path, None)
    }

    pub fn post(&self, path: &str, body: Value) -> Got {
        self.ask("POST", path, Some(&body))
    }

    pub fn prompt(&self, session: &str, text: &str) -> Got {
        let parts = json!({"parts": [{"type": "text", "text": text}]});
        self.post(&format!("/session/{session}/message"), parts)
    }

    /// Hears all events from now on.
    fn listen(&self) -> Heard {
        let stream = self.request("GET", "/global/event", None);
        stream.set_read_timeout(None).unwrap();
        let heard = Heard::default();
        let lines = Arc::clone(&heard.0);
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                if let Some(event) = line.strip_prefix("data: ") {
                    lines
                        .lock()
                        .unwrap()
                        .push((Instant::now(), event.to_owned()));
                }
            }
        });
        eventually("the stream begins", || heard.any("server.connected", ""));
        heard
    }
}

/// Events, with the time of their arrival.
#[derive(Default)]
struct Heard(Arc<Mutex<Vec<(Instant, String)>>>);

impl Heard {
    /// Those of a kind that a session is in.
    fn of(&self, kind: &str, session: &str) -> Vec<(Instant, String)> {
        let all = self.0.lock().unwrap();
        let is =
            |event: &str| event.contains(&format!(r#""type":"{kind}""#)) && event.contains(session);
        all.iter().filter(|(_, e)| is(e)).cloned().collect()
    }

    fn any(&self, kind: &str, session: &str) -> bool {
        !self.of(kind, session).is_empty()
    }
}

/// RFC 4648, by hand: what the test checks must not be what it checks with.
fn basic(secret: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let text = format!("opencode:{secret}");
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let n = chunk
            .iter()
            .enumerate()
            .fold(0u32, |n, (i, b)| n | u32::from(*b) << (16 - 8 * i));
        for i in 0..4 {
            out.push(if i > chunk.len() {
                '='
            } else {
                char::from(ALPHABET[(n >> (18 - 6 * i)) as usize & 63])
            });
        }
    }
    out
}

pub fn node(s: &Sandbox, name: &str) -> Server {
    let text = std::fs::read_to_string(s.state("nodes").join(format!("{name}.json"))).unwrap();
    let record: Value = serde_json::from_str(&text).unwrap();
    Server {
        port: record["port"].as_u64().unwrap().try_into().unwrap(),
        prefix: "",
        secret: record["secret"].as_str().unwrap().to_owned(),
    }
}

fn gateway(s: &Sandbox, port: u16) -> (Running, Server) {
    let running = s.start(&["gateway", "run", "--port", &port.to_string()]);
    eventually("the gateway listens", || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
    });
    let secret = std::fs::read_to_string(s.state("gateway.secret")).unwrap();
    let server = Server {
        port,
        prefix: "/opencode",
        secret: secret.trim().to_owned(),
    };
    (running, server)
}

/// Waits for what waits for a start of opencode: it takes 3 s on an idle machine, and has taken a minute on
/// a busy one.
pub fn started(what: &str, is: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while !is() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn places(gateway: &Server, count: usize) -> Vec<Got> {
    std::thread::scope(|scope| {
        let made: Vec<_> = (0..count)
            .map(|n| {
                scope.spawn(move || gateway.post("/session", json!({"title": format!("chat {n}")})))
            })
            .collect();
        made.into_iter().map(|m| m.join().unwrap()).collect()
    })
}

/// Nodes that are servers alone: they have the same interface as with a terminal, and start in a tenth of the
/// time. Each has a database of its own: a session is on its node and nowhere else.
fn servers(real: &Real) -> Roster {
    let serve = json!({
        "command": installed("opencode").unwrap(),
        "args": ["serve"],
        "node": {
            "port_args": ["--port", "{port}"],
            "secret_env": "OPENCODE_SERVER_PASSWORD",
        },
        "dialect": "opencode",
    });
    let agent = |name: &str| {
        let data = real.s.home(&format!("data/{name}"));
        real.opencode(name)
            .key("runtime", json!("opencode-serve"))
            .env("XDG_DATA_HOME", &data.to_string_lossy())
    };
    real.roster(NODES.map(agent))
        .key("runtimes", json!({"opencode-serve": serve}))
}

/// Starts nodes and a gateway, and waits until each has done a turn: at its first one a server loads what it
/// needs, and on a busy machine is away for so long that it seems to hang.
fn up(real: &Real, roster: Roster) -> (Running, Server, u16) {
    let s = &real.s;
    roster
        // Chats alone decide: the machine is as busy as it is.
        .key(
            "routing",
            json!({
                "max_cpu_load_pct": 100,
                "max_memory_used_pct": 100,
                "min_disk_available_bytes": 0,
                "weight_rtt": 0,
                "weight_cpu_load": 0,
                "weight_memory_used": 0,
            }),
        )
        .write(s);
    s.mosaic(&["fleet", "up", "--no-verify"]).ok();
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let (running, gate) = gateway(s, port);
    for name in NODES {
        let node = node(s, name);
        started("a node answers", || node.answers());
        let made = node.post("/session", json!({}));
        let session = made.body["id"].as_str().unwrap();
        assert_eq!(node.prompt(session, "warm up").status, 200);
        let path = format!("/session/{session}");
        assert_eq!(node.ask("DELETE", &path, None).status, 200);
    }
    for name in NODES {
        started("each node takes a chat", || {
            let made = gate.post(&format!("/session?node={name}"), json!({}));
            let path = format!("/session/{}", made.body["id"].as_str().unwrap_or_default());
            made.status == 200 && gate.ask("DELETE", &path, None).status == 200
        });
    }
    (running, gate, port)
}

#[test]
fn opencode_behind_the_gateway() {
    let Some(real) = Real::lasting(Duration::from_secs(400)) else {
        return;
    };
    let s = &real.s;
    let (mut running, gate, port) = up(&real, servers(&real));
    assert_eq!(
        Server {
            secret: "wrong".to_owned(),
            prefix: "/opencode",
            port
        }
        .get("/session")
        .status,
        401
    );

    // Twelve at once spread over three, whatever score they have otherwise.
    let made = places(&gate, 12);
    assert!(made.iter().all(|m| m.status == 200), "{made:?}");
    let chats: BTreeMap<String, String> = made
        .iter()
        .map(|m| (m.body["id"].as_str().unwrap().to_owned(), m.node.clone()))
        .collect();
    for name in NODES {
        assert_eq!(
            chats.values().filter(|n| *n == name).count(),
            4,
            "{chats:?}"
        );
    }

    // Each answer comes from the chat's own node, and through the merged stream as it is produced.
    let merged = gate.listen();
    let own: BTreeMap<&str, Heard> = NODES.map(|n| (n, node(s, n).listen())).into();
    let door = &gate;
    std::thread::scope(|scope| {
        for chat in chats.keys() {
            scope.spawn(move || {
                let got = door.prompt(chat, &format!("hello of {chat}"));
                assert_eq!(got.status, 200, "{got:?}");
                let parts = got.body["parts"].as_array().unwrap();
                let said = parts.iter().find(|p| p["type"] == "text").unwrap();
                assert!(
                    said["text"]
                        .as_str()
                        .unwrap()
                        .starts_with("ok: hello of ses_"),
                    "{said}"
                );
            });
        }
    });
    for (chat, name) in &chats {
        eventually("its events arrive", || {
            merged.any("message.part.delta", chat)
        });
        for (other, heard) in &own {
            assert_eq!(
                heard.any("session.status", chat),
                other == name,
                "{chat} {other}"
            );
        }
        assert_eq!(real.model.turns(&format!("hello of {chat}")).len(), 1);
    }
    let (first, home) = chats.iter().next().unwrap();
    let begun = Instant::now();
    assert_eq!(gate.prompt(first, "SLEEP 3 and answer").status, 200);
    let took = begun.elapsed();
    let deltas = merged.of("message.part.delta", first);
    let early = deltas
        .iter()
        .filter(|(at, _)| *at > begun)
        .map(|(at, _)| *at - begun)
        .min();
    assert!(
        early.unwrap() + Duration::from_secs(1) < took,
        "{early:?} of {took:?}"
    );

    // An unmodified client in a pane: it shows the chat, and what is typed there goes to the chat's node.
    let attach = format!(
        "{} attach http://127.0.0.1:{port}/opencode -s {first}",
        installed("opencode").unwrap().display()
    );
    let password = format!("OPENCODE_SERVER_PASSWORD={}", gate.secret);
    let mut args = vec!["new-session", "-d", "-s", "guest", "-x", "120", "-y", "50"];
    args.extend(["-e", &password, "-e", "OPENCODE_DISABLE_MODELS_FETCH=1"]);
    args.extend(["-e", "OPENCODE_DISABLE_AUTOUPDATE=1", &attach]);
    s.tmux(&args).ok();
    eventually("the chat is shown", || {
        let screen = s.screen("guest");
        screen.contains(&format!("hello of {first}")) && screen.contains("ok: hello of")
    });
    s.type_into("guest", "typed by a guest");
    eventually("it is typed", || {
        s.screen("guest").contains("typed by a guest")
    });
    s.press("guest", "Enter");
    eventually("its answer is shown", || {
        s.screen("guest").contains("ok: typed by a guest")
    });
    assert!(own[home.as_str()].any("message.updated", first));
    eventually("it is the same conversation", || {
        let turn = real.model.turns("typed by a guest").pop();
        turn.is_some_and(|t| {
            t.history
                .iter()
                .any(|m| m.contains(&format!("hello of {first}")))
        })
    });

    // What it asks is answered by whoever knows only the request's name, also after the gateway's end.
    let parts = json!({"parts": [{"type": "text", "text": "please use the TOOL"}]});
    let path = format!("/session/{first}/prompt_async");
    assert_eq!(gate.post(&path, parts).status, 204);
    let asked: Value = eventually_some("it asks", || {
        let open = gate.get("/permission").body;
        open.as_array()?
            .iter()
            .find(|p| p["sessionID"] == first.as_str())
            .cloned()
    });
    proc::kill(running.pid(), Signal::KILL);
    let ended = Instant::now() + Duration::from_secs(10);
    while running.runs() {
        assert!(Instant::now() < ended, "the gateway is still there");
        std::thread::sleep(Duration::from_millis(20));
    }
    let (running, gate) = gateway(s, port);
    let reply = format!("/permission/{}/reply", asked["id"].as_str().unwrap());
    let done = gate.post(&reply, json!({"reply": "once"}));
    assert_eq!((done.status, &done.node), (200, home), "{done:?}");
    eventually("it was allowed", || s.path("work/approved-marker").exists());

    // Killed: its chats say so, and new ones go elsewhere.
    let pid = real.pid(home);
    proc::kill(pid, Signal::KILL);
    // What is sent to one that is just dying may have been taken.
    s.gone(pid);
    eventually("it is missed", || {
        gate.get(&format!("/session/{first}")).status == 503
    });
    let refused = gate.prompt(first, "to nobody");
    assert_eq!(refused.status, 503, "{refused:?}");
    let why = refused.body["message"].as_str().unwrap();
    assert!(
        why.contains(home.as_str()) && why.contains(first.as_str()),
        "{why}"
    );
    for new in places(&gate, 2) {
        assert_eq!(new.status, 200, "{new:?}");
        assert_ne!(&new.node, home);
    }
    started("it is started again", || real.s.status(home)["pid"] != pid);
    started("its chats are back", || {
        gate.get(&format!("/session/{first}")).status == 200
    });
    assert!(real.model.turns("to nobody").is_empty());

    // Each is where it was.
    for (chat, name) in &chats {
        let got = gate.get(&format!("/session/{chat}"));
        assert_eq!((got.status, &got.node), (200, name), "{chat}");
        let history = gate
            .get(&format!("/session/{chat}/message"))
            .body
            .to_string();
        assert!(history.contains(&format!("hello of {chat}")));
    }
    assert_eq!(gate.prompt(first, "after all").status, 200);
    let listed = gate.get("/session").body;
    assert_eq!(
        listed
            .as_array()
            .unwrap()
            .iter()
            .filter(|e| chats.contains_key(e["id"].as_str().unwrap()))
            .count(),
        12
    );

    // A server that starts takes requests that it never answers: it gets none.
    let pid = real.pid(home);
    proc::kill(pid, Signal::KILL);
    s.gone(pid);
    let port = node(s, home).port;
    let open = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
    eventually("its port is closed", || !open());
    while !open() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let path = format!("/session/{first}/abort");
    std::thread::scope(|scope| {
        for n in 0..10 {
            let (door, path) = (&gate, &path);
            scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(100 * n));
                let begun = Instant::now();
                let got = door.post(path, json!({}));
                let took = begun.elapsed();
                let lost = got.body.to_string().contains("may have taken");
                assert!(matches!(got.status, 200 | 503 | 504) && !lost, "{got:?}");
                assert!(took < Duration::from_secs(15), "{took:?} {got:?}");
            });
        }
    });
    started("its chats are back", || {
        gate.post(&path, json!({})).status == 200
    });
    drop(running);
}
