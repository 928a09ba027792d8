//! The gateway's node API over three real opencode: as servers with a terminal attached to one of them, and
//! as the terminals with a server in them that a roster's `opencode` is. Chats spread and stay, answers come
//! from their own node as they are written, a node that is killed takes nobody else along.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::cli::{Real, installed};
use crate::model::Model;
use crate::opencode_gateway::{NODES, Server, node, started};
use crate::support::gateway::{Way, routing};
use crate::support::{Agent, Running, eventually, eventually_some, proc};

/// How long a killed node stays away: long enough to be asked meanwhile.
const AWAY: &str = "3s";

/// Longest time for a test: a minute on an idle machine.
const DEADLINE: Duration = Duration::from_secs(240);

/// A fleet of three, and its gateway.
struct Three {
    way: Way,
    // Ended before its sandbox is.
    running: Option<Running>,
    real: Real,
}

impl Three {
    /// Of these agents, which all have a database of their own: a session is on its node and nowhere else.
    fn of(real: Real, agent: impl Fn(&Real, &str) -> Agent, runtimes: &Value) -> Self {
        let s = &real.s;
        let agents = NODES.map(|name| {
            let data = s.home(&format!("data/{name}"));
            agent(&real, name).env("XDG_DATA_HOME", &data.to_string_lossy())
        });
        // Chats alone decide: the machine is as busy as it is.
        let mut routing = routing();
        // Three that begin take what two cores have, and are late by more than a second.
        routing["publish_interval_secs"] = json!(5);
        for weight in ["weight_rtt", "weight_cpu_load", "weight_memory_used"] {
            routing[weight] = json!(0);
        }
        real.roster(agents)
            .key("runtimes", runtimes.clone())
            .key("routing", routing)
            .default("ready_timeout", json!("90s"))
            .default("restart_delay", json!(AWAY))
            .up(s);
        let nodes = NODES.map(|name| node(s, name));
        // At its first turn opencode loads what it needs, and seems to hang on a busy machine.
        std::thread::scope(|scope| {
            for node in &nodes {
                scope.spawn(move || {
                    started("a node answers", || node.answers());
                    let made = node.post("/session", json!({}));
                    let session = made.body["id"].as_str().unwrap();
                    assert_eq!(node.prompt(session, "warm up").status, 200);
                });
            }
        });
        let (running, way) = Way::to(s);
        Self {
            way,
            running: Some(running),
            real,
        }
    }

    fn node(&self, name: &str) -> Server {
        node(&self.real.s, name)
    }

    /// Waits until a node answers: one that starts takes requests that it never answers.
    fn answers(&self, name: &str) {
        let node = self.node(name);
        started("a node answers", || node.answers());
    }

    /// Places chats at the same time: name, node and session of each.
    fn place(&self, names: &[String]) -> BTreeMap<String, (String, String)> {
        let way = &self.way;
        std::thread::scope(|scope| {
            let placing: Vec<_> = names
                .iter()
                .map(|chat| scope.spawn(move || way.place(chat, "dialect:opencode")))
                .collect();
            let placed = placing.into_iter().map(|p| p.join().unwrap());
            placed
                .map(|p| (text(&p["chat"]), whereabouts(&p)))
                .collect()
        })
    }

    /// Each chat is on its node, with what was said there, and its session is on no other.
    fn all_where_they_were(&self, chats: &BTreeMap<String, (String, String)>) {
        for (chat, (home, session)) in chats {
            let said = eventually_some("the chat is there", || {
                let path = format!("/chats/{chat}/messages");
                let (status, said) = self.way.call("GET", &path, &Value::Null);
                (status == 200).then_some(said)
            });
            let said = said["messages"].as_array().unwrap();
            assert_eq!(said[0]["text"], json!(hello(chat)), "{said:?}");
            assert!(text(&said[1]["text"]).contains(&hello(chat)), "{said:?}");
            let now = self.way.get(&format!("/chats/{chat}"));
            assert_eq!(&whereabouts(&now), &(home.clone(), session.clone()));
            for name in NODES {
                let (node, path) = (self.node(name), format!("/session/{session}"));
                let there = eventually_some("the node says whether", || node.status(&path));
                assert_eq!(there == 200, name == home, "{chat} {name} {there}");
            }
        }
    }

    /// Everything that is to be true of any three opencode.
    fn live(&mut self) {
        let names: Vec<String> = (0..12).map(|n| format!("c{n}")).collect();
        let chats = self.place(&names);
        for name in NODES {
            let own = chats.values().filter(|(node, _)| node == name).count();
            assert_eq!(own, 4, "{chats:?}");
        }
        std::thread::scope(|scope| {
            for chat in chats.keys() {
                let (way, model) = (&self.way, &self.real.model);
                scope.spawn(move || turn(way, model, chat, &hello(chat)));
            }
        });
        self.all_where_they_were(&chats);
        self.a_killed_one(&chats);
        self.broken_off(&chats);
        self.elsewhere();

        // All of them begin anew, and so does the gateway.
        drop(self.running.take());
        self.real.s.mosaic(&["fleet", "stop"]).ok();
        self.real.s.mosaic(&["fleet", "start"]).ok();
        for name in NODES {
            self.answers(name);
        }
        let (running, way) = Way::to(&self.real.s);
        (self.running, self.way) = (Some(running), way);
        self.all_where_they_were(&chats);
        turn(&self.way, &self.real.model, "c7", "after all");
        let turn = self.real.model.turns("after all").pop().unwrap();
        assert!(
            turn.history.iter().any(|m| m.contains(&hello("c7"))),
            "{turn:?}"
        );
    }

    /// Its chats say so, naming both; new ones go elsewhere; it comes back with what was said.
    fn a_killed_one(&self, chats: &BTreeMap<String, (String, String)>) {
        let (real, way) = (&self.real, &self.way);
        let home = &chats["c0"].0;
        let pid = real.pid(home);
        proc::kill(pid, Signal::KILL);
        // What is sent to one that is just dying may have been taken.
        real.s.gone(pid);
        for (chat, (node, _)) in chats.iter().filter(|(_, (node, _))| node == home) {
            let (status, why) = way.say(chat, &json!({"text": "to nobody"}));
            assert_eq!(status, 503, "{why}");
            let why = text(&why["message"]);
            for name in [node, chat] {
                assert!(why.contains(&format!("`{name}`")), "{why}");
            }
        }
        for (node, _) in self.place(&["new0".to_owned(), "new1".to_owned()]).values() {
            assert_ne!(node, home);
        }
        started("it is started again", || real.s.status(home)["pid"] != pid);
        self.answers(home);
        started("its chat is back", || {
            way.call("GET", "/chats/c0/messages", &Value::Null).0 == 200
        });
        assert!(real.model.turns("to nobody").is_empty());
    }

    /// A turn is broken off, and no other chat's.
    fn broken_off(&self, chats: &BTreeMap<String, (String, String)>) {
        let beside = chats
            .iter()
            .find(|(chat, (node, _))| *node == chats["c0"].0 && *chat != "c0");
        let beside = beside.unwrap().0;
        self.sleeps("c0");
        let done = self.cancel(beside);
        assert_eq!(done["interrupted"], false, "{done}");
        self.cancelled("c0");
    }

    /// A chat in a directory in which no server works: it is heard, answered and broken off there.
    fn elsewhere(&self) {
        let (real, way) = (&self.real, &self.way);
        let directory = real.s.home("elsewhere");
        std::fs::create_dir_all(&directory).unwrap();
        let begin = json!({
            "chat": "far", "selector": "dialect:opencode", "working_dir": directory,
        });
        let (status, placed) = way.call("POST", "/chats", &begin);
        assert_eq!(status, 201, "{placed}");
        turn(way, &real.model, "far", &hello("far"));
        self.sleeps("far");
        self.cancelled("far");
    }

    /// Begins a turn that lasts.
    fn sleeps(&self, chat: &str) {
        let says = format!("SLEEP 60 in {chat}");
        // One that has just begun takes its time, and is handed the same message.
        let slow = json!({"text": says, "id": format!("slow-{chat}")});
        eventually("it is taken", || self.way.say(chat, &slow).0 == 200);
        eventually("the model is asked", || {
            !self.real.model.turns(&says).is_empty()
        });
    }

    fn cancel(&self, chat: &str) -> Value {
        let path = format!("/chats/{chat}/cancel");
        let (status, done) = self.way.call("POST", &path, &json!({}));
        assert_eq!(status, 200, "{done}");
        done
    }

    fn cancelled(&self, chat: &str) {
        let done = self.cancel(chat);
        assert_eq!(done["interrupted"], true, "{done}");
        eventually("it is at rest", || {
            self.cancel(chat)["interrupted"] == false
        });
    }
}

/// Says something and waits for its answer, which is heard on the chat's stream as it is written.
fn turn(way: &Way, model: &Model, chat: &str, says: &str) {
    let mut events = way.events(&format!("/chats/{chat}/events"), None);
    let (name, _, state) = events.next();
    assert_eq!((name.as_str(), &state["state"]), ("state", &json!("idle")));
    let id = format!("m-{says}").replace(' ', "-");
    let ask = json!({"text": says, "id": id, "until": "answered", "timeout_secs": 50});
    std::thread::scope(|scope| {
        let saying = scope.spawn(|| way.say(chat, &ask));
        events.until(|name, data| name == "message" && data["id"] == *id && data["text"] == says);
        events.until(|name, data| name == "state" && data["state"] == "working");
        events.until(|name, _| name == "delta");
        let (_, answer) = events.until(|name, data| {
            name == "message" && data["role"] == "agent" && data["reply_to"] == *id
        });
        assert!(text(&answer["text"]).starts_with("ok: "), "{answer}");
        events.until(|name, data| name == "state" && data["state"] == "idle");
        let (status, sent) = saying.join().unwrap();
        assert_eq!(
            (status, &sent["receipt"]),
            (200, &json!("answered")),
            "{sent}"
        );
        assert!(text(&sent["answer"]).contains(says), "{sent}");
    });
    // Handed over again it is the same one.
    assert_eq!(way.say(chat, &ask).0, 200);
    assert_eq!(model.arrivals(says), 1);
}

fn hello(chat: &str) -> String {
    format!("hello of {chat} itself")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn whereabouts(chat: &Value) -> (String, String) {
    (text(&chat["node"]), text(&chat["native"]))
}

/// One fleet of three at a time.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn chats_on_opencode_servers() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(real) = Real::lasting(DEADLINE) else {
        return;
    };
    let serve = json!({"opencode-serve": {
        "command": installed("opencode").unwrap(),
        "args": ["serve"],
        "node": {"port_args": ["--port", "{port}"], "secret_env": "OPENCODE_SERVER_PASSWORD"},
        "dialect": "opencode",
    }});
    let agent =
        |real: &Real, name: &str| real.opencode(name).key("runtime", json!("opencode-serve"));
    let mut three = Three::of(real, agent, &serve);
    three.live();

    // A terminal attached to the node shows the chat, and what is typed there is said in it.
    let (way, s) = (&three.way, &three.real.s);
    let (home, session) = whereabouts(&way.get("/chats/c7"));
    let at = three.node(&home);
    let program = installed("opencode").unwrap();
    let attach = format!(
        "{} attach http://127.0.0.1:{} -s {session}",
        program.display(),
        at.port
    );
    let password = format!("OPENCODE_SERVER_PASSWORD={}", at.secret);
    let mut args = vec!["new-session", "-d", "-s", "guest", "-x", "120", "-y", "50"];
    args.extend(["-e", &password, "-e", "OPENCODE_DISABLE_MODELS_FETCH=1"]);
    args.extend(["-e", "OPENCODE_DISABLE_AUTOUPDATE=1", &attach]);
    s.tmux(&args).ok();
    eventually("the chat is shown", || {
        s.screen("guest").contains(&hello("c7"))
    });
    let mut events = way.events("/chats/c7/events", None);
    s.type_into("guest", "typed by a guest");
    eventually("it is typed", || {
        s.screen("guest").contains("typed by a guest")
    });
    s.press("guest", "Enter");
    events.until(|name, data| name == "message" && data["text"] == "ok: typed by a guest");
    way.say("c7", &json!({"text": "said from outside"}));
    eventually("it is shown", || {
        s.screen("guest").contains("ok: said from outside")
    });
}

#[test]
fn chats_on_opencode_in_terminals() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(real) = Real::lasting(DEADLINE) else {
        return;
    };
    let opencode = json!({"opencode": {"command": installed("opencode").unwrap()}});
    Three::of(real, |real, name| real.opencode(name), &opencode).live();
}
