//! Three real `goose serve` behind the gateway: chats spread, each is answered by its own node and streams,
//! a killed node says so while new chats go elsewhere, and after a restart of everything each chat is where
//! it was.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::{Message, WebSocket};

use crate::cli::{Real, installed};
use crate::support::{Agent, Roster, Running, eventually, proc};

const NODES: [&str; 3] = ["g0", "g1", "g2"];

/// Longest silence of a server that has something to say.
const SILENCE: Duration = Duration::from_secs(15);

/// A client of ACP by WebSocket.
struct Client {
    socket: WebSocket<TcpStream>,
    last: u64,
    /// Everything heard and when, oldest first.
    heard: Vec<(Instant, Value)>,
}

impl Client {
    fn open(port: u16, secret: &str) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.set_read_timeout(Some(SILENCE)).unwrap();
        let mut request = format!("ws://127.0.0.1:{port}/acp")
            .into_client_request()
            .unwrap();
        let headers = request.headers_mut();
        headers.insert("x-secret-key", secret.parse().unwrap());
        let (socket, _) = tungstenite::client(request, stream).unwrap();
        let mut client = Self {
            socket,
            last: 0,
            heard: Vec::new(),
        };
        let hello = client.result(
            "initialize",
            &json!({"protocolVersion": 1, "clientCapabilities": {}}),
        );
        assert_eq!(hello["agentInfo"]["name"], "goose");
        assert_eq!(hello["agentCapabilities"]["loadSession"], true);
        client
    }

    fn ask(&mut self, method: &str, params: &Value) -> u64 {
        self.last += 1;
        let message =
            json!({"jsonrpc": "2.0", "id": self.last, "method": method, "params": params});
        self.socket
            .send(Message::text(message.to_string()))
            .unwrap();
        self.last
    }

    /// The first thing heard, now or before, that is meant.
    fn hear(&mut self, what: &str, meant: impl Fn(&Value) -> bool) -> (Instant, Value) {
        let mut at = 0;
        loop {
            if let Some(found) = self.heard[at..].iter().find(|(_, v)| meant(v)) {
                return found.clone();
            }
            at = self.heard.len();
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    let value = serde_json::from_str(&text).unwrap();
                    self.heard.push((Instant::now(), value));
                }
                Ok(_) => {}
                Err(e) => panic!("no {what}: {e}; heard {:#?}", self.heard),
            }
        }
    }

    fn answer(&mut self, id: u64) -> Value {
        let own = |v: &Value| v["id"] == id && v.get("method").is_none();
        self.hear(&format!("answer to {id}"), own).1
    }

    #[track_caller]
    fn result(&mut self, method: &str, params: &Value) -> Value {
        let id = self.ask(method, params);
        let answer = self.answer(id);
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    #[track_caller]
    fn error(&mut self, method: &str, params: &Value) -> Value {
        let id = self.ask(method, params);
        let answer = self.answer(id);
        assert!(answer.get("result").is_none(), "{method}: {answer}");
        answer["error"].clone()
    }

    /// What was said in a chat, and when.
    fn said(&self, chat: &str) -> Vec<(Instant, String)> {
        let of = |v: &Value| {
            let text = v["params"]["update"]["content"]["text"].as_str()?;
            (v["params"]["sessionId"] == chat).then(|| text.to_owned())
        };
        let said = self.heard.iter();
        said.filter_map(|(at, v)| Some((*at, of(v)?))).collect()
    }
}

fn prompt(chat: &str, text: &str) -> Value {
    json!({"sessionId": chat, "prompt": [{"type": "text", "text": text}]})
}

fn node_of(chat: &str) -> &str {
    chat.split('.').next().unwrap()
}

/// A node with sessions of its own, so that they have the same names as the others'; and a model of its
/// own, by which its sessions are known.
fn node(real: &Real, name: &str) -> Agent {
    let root = real.s.home(&format!("goose-{name}"));
    real.goose(name)
        .key("runtime", json!("goose-serve"))
        .env("GOOSE_PATH_ROOT", &root.to_string_lossy())
        .env("GOOSE_MODEL", &format!("model-of-{name}"))
}

fn roster(real: &Real) -> Roster {
    let goose = json!({
        "command": installed("goose").unwrap(),
        "args": ["serve", "--host", "127.0.0.1"],
        "node": {
            "port_args": ["--port", "{port}"],
            "secret_env": "GOOSE_SERVER__SECRET_KEY",
            "health_path": "/status",
        },
        "dialect": "acp",
    });
    Roster::new(NODES.map(|name| node(real, name)))
        .default("ready_timeout", json!("40s"))
        // Longer than it takes to see that a killed one is down.
        .default("restart_delay", json!("6s"))
        .key("runtimes", json!({ "goose-serve": goose }))
        // Chats alone decide: the machine is as busy as it is.
        .key(
            "routing",
            json!({
                "max_cpu_load_pct": 100, "max_memory_used_pct": 100, "min_disk_available_bytes": 0,
                "weight_rtt": 0, "weight_cpu_load": 0, "weight_memory_used": 0,
            }),
        )
}

/// The gateway, answering.
fn gateway(real: &Real, port: u16) -> Running {
    let running = real
        .s
        .start(&["gateway", "run", "--port", &port.to_string()]);
    eventually("the gateway listens", || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
    });
    running
}

fn idle(real: &Real) {
    for name in NODES {
        real.state(name, "idle");
    }
}

#[test]
fn three_goose_serve_behind_the_gateway() {
    let Some(real) = Real::lasting(Duration::from_secs(170)) else {
        return;
    };
    roster(&real).up(&real.s);
    idle(&real);
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let running = gateway(&real, port);
    let secret = std::fs::read_to_string(real.s.state("gateway.secret")).unwrap();
    let secret = secret.trim();
    let mut client = Client::open(port, secret);
    let here = json!({"cwd": real.s.path("work"), "mcpServers": []});

    // Twelve at once: four on each node, under names that each node counted from 1.
    let asked: Vec<u64> = (0..12).map(|_| client.ask("session/new", &here)).collect();
    let chats: Vec<String> = asked
        .iter()
        .map(|id| {
            let made = client.answer(*id);
            made["result"]["sessionId"]
                .as_str()
                .expect("a chat")
                .to_owned()
        })
        .collect();
    let mut per_node: BTreeMap<&str, usize> = BTreeMap::new();
    for chat in &chats {
        *per_node.entry(node_of(chat)).or_default() += 1;
    }
    assert_eq!(per_node, NODES.map(|name| (name, 4)).into(), "{chats:?}");
    let natives: BTreeSet<&str> = chats.iter().map(|c| c.split_once('.').unwrap().1).collect();
    assert_eq!(natives.len(), 4, "{natives:?}");

    // Each is answered, as it comes, by its own node: that one's model has it.
    let turns: Vec<u64> = chats
        .iter()
        .map(|chat| {
            client.ask(
                "session/prompt",
                &prompt(chat, &format!("I am {chat}, SLEEP 1")),
            )
        })
        .collect();
    for (chat, turn) in chats.iter().zip(turns) {
        let end = client.answer(turn);
        assert_eq!(end["result"]["stopReason"], "end_turn", "{end}");
        let said = client.said(chat);
        let text: String = said.iter().map(|(_, t)| t.as_str()).collect();
        assert_eq!(text, format!("ok: I am {chat}, SLEEP 1....."));
        let took = said.last().unwrap().0 - said[0].0;
        assert!(took > Duration::from_millis(500), "{took:?}");
    }
    // Several messages in one, as goose itself takes them.
    let load = json!({"sessionId": chats[0], "cwd": real.s.path("work"), "mcpServers": []});
    let batch = json!([
        {"jsonrpc": "2.0", "id": "list", "method": "session/list", "params": {}},
        {"jsonrpc": "2.0", "id": "load", "method": "session/load", "params": load},
    ]);
    client
        .socket
        .send(Message::text(batch.to_string()))
        .unwrap();
    let both = client.hear("the answers to a batch", Value::is_array).1;
    assert_eq!(
        (&both[0]["id"], &both[1]["id"]),
        (&json!("list"), &json!("load"))
    );
    assert_eq!(both[0]["result"]["sessions"].as_array().unwrap().len(), 12);
    assert!(both[1]["result"].is_object(), "{both}");
    let list = client.result("session/list", &json!({}));
    let listed: BTreeMap<&str, &Value> = list["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| (s["sessionId"].as_str().unwrap(), &s["_meta"]))
        .collect();
    assert_eq!(
        listed.keys().copied().collect::<BTreeSet<_>>(),
        chats.iter().map(String::as_str).collect()
    );
    for chat in &chats {
        let own = format!("model-of-{}", node_of(chat));
        assert_eq!(listed[chat.as_str()]["modelId"], own.as_str());
        assert_eq!(listed[chat.as_str()]["messageCount"], 2);
    }

    // Killed in a turn: that fails at once, the chat stays, and new ones go elsewhere.
    let lost = chats.iter().find(|c| node_of(c) == "g1").unwrap();
    let kept = chats.iter().find(|c| node_of(c) == "g2").unwrap();
    let turn = client.ask("session/prompt", &prompt(lost, "a long one, SLEEP 20"));
    client.hear("the turn", |v| {
        v["params"]["sessionId"] == lost.as_str()
            && v["params"]["update"]["content"]["text"] == "ok: a long one, SLEEP 20"
    });
    let pid = real.pid("g1");
    proc::kill(pid, Signal::KILL);
    let begun = Instant::now();
    let error = client.answer(turn)["error"].clone();
    assert_eq!(error["code"], -32051, "{error}");
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    let error = client.error("session/prompt", &prompt(lost, "still there?"));
    assert_eq!(error["code"], -32050, "{error}");
    assert_eq!(error["data"], json!({"node": "g1", "chat": lost}));
    for _ in 0..3 {
        let made = client.result("session/new", &here);
        assert_ne!(node_of(made["sessionId"].as_str().unwrap()), "g1");
    }
    client.result("session/prompt", &prompt(kept, "and you?"));
    real.returns("g1", pid);
    // The same connection finds it again, and the chat is not loaded anew.
    client.result("session/prompt", &prompt(lost, "welcome back"));

    // Everything anew: each chat is where it was.
    let mut running = running;
    running.signal(Signal::TERM);
    running.wait().ok();
    real.s.mosaic(&["fleet", "stop"]).ok();
    real.s.mosaic(&["fleet", "start"]).ok();
    idle(&real);
    let _running = gateway(&real, port);
    let mut client = Client::open(port, secret);
    for chat in &chats {
        let load = json!({"sessionId": chat, "cwd": real.s.path("work"), "mcpServers": []});
        client.result("session/load", &load);
        let said = client.said(chat);
        assert_eq!(said[0].1, format!("I am {chat}, SLEEP 1"), "{said:?}");
    }
    client.result("session/prompt", &prompt(lost, "goodbye"));
    let own: String = client.said(lost).into_iter().map(|(_, t)| t).collect();
    assert!(
        own.contains("welcome back") && own.ends_with("ok: goodbye"),
        "{own}"
    );
}
