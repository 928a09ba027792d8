//! Agents that are servers: port and secret, health, a log in the pane, and faults. The server is a
//! stand-in that this test binary itself becomes, or the goosed named by `GOOSED_BIN`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Agent, Roster, Sandbox, eventually, eventually_some, proc, unit_name};

/// Says what the stand-in does: `well`, `hung`, `slow`, `stubborn`.
const BEHAVIOUR: &str = "MOSAIC_GOOSED_STAND_IN";

/// Not a test: what the stand-in's process runs. Without the variable it is nothing.
#[test]
#[ignore = "what the tests of nodes start as their server"]
fn stand_in() {
    let Ok(behaviour) = std::env::var(BEHAVIOUR) else {
        return;
    };
    let port: u16 = std::env::var("GOOSE_PORT").unwrap().parse().unwrap();
    let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) else {
        eprintln!("address in use");
        std::process::exit(1);
    };
    if behaviour == "stubborn" {
        // As goosed does with an event stream open.
        for signal in [1, 15] {
            let flag = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
            signal_hook::flag::register(signal, flag).unwrap();
        }
    }
    eprintln!("GOOSED_BOOT: listening");
    for stream in listener.incoming().flatten() {
        let behaviour = behaviour.clone();
        std::thread::spawn(move || answer(stream, &behaviour));
    }
}

fn answer(mut stream: TcpStream, behaviour: &str) -> Option<()> {
    let lines = BufReader::new(stream.try_clone().ok()?).lines();
    let head: Vec<String> = lines
        .map_while(Result::ok)
        .take_while(|l| !l.is_empty())
        .collect();
    let path = head.first()?.split(' ').nth(1)?.to_owned();
    match behaviour {
        // Until whoever asked is gone.
        "hung" => drop(stream.read(&mut [0; 64])),
        "slow" => std::thread::sleep(Duration::from_secs(1)),
        _ => {}
    }
    let secret = std::env::var("GOOSE_SERVER__SECRET_KEY").ok()?;
    let known = head.iter().any(|l| {
        l.split_once(": ")
            .is_some_and(|(k, v)| k.eq_ignore_ascii_case("x-secret-key") && v == secret)
    });
    let text = match path.as_str() {
        "/status" => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        _ if known => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        _ => "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
    };
    stream.write_all(text.as_bytes()).ok()
}

fn node(name: &str, behaviour: &str) -> Agent {
    Agent::demo(name)
        .key("runtime", json!("goosed"))
        .env(BEHAVIOUR, behaviour)
}

/// Servers need a second try sooner than people do.
fn roster(agents: impl IntoIterator<Item = Agent>) -> Roster {
    let own = std::env::current_exe().unwrap();
    let runtime = match std::env::var_os("GOOSED_BIN") {
        Some(real) => json!({"command": PathBuf::from(real)}),
        None => json!({
            "command": own,
            "args": ["--exact", "nodes::stand_in", "--include-ignored", "--nocapture"],
        }),
    };
    Roster::new(agents)
        .default("ready_timeout", json!("2s"))
        .key("runtimes", json!({"goosed": runtime}))
}

fn record(s: &Sandbox, agent: &str) -> Value {
    let path = s.state("nodes").join(format!("{agent}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn port(s: &Sandbox, agent: &str) -> u16 {
    u16::try_from(record(s, agent)["port"].as_u64().unwrap()).unwrap()
}

/// The status line that a server gives.
fn ask(port: u16, path: &str, secret: &str) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let head = format!("GET {path} HTTP/1.0\r\nX-Secret-Key: {secret}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

#[track_caller]
fn state(s: &Sandbox, agent: &str, want: &str) -> String {
    eventually_some(&format!("`{agent}` is {want}"), || {
        let status = s.status(agent);
        (status["state"] == want).then(|| status["evidence"]["what"].as_str().unwrap().to_owned())
    })
}

#[test]
fn a_node_keeps_port_and_secret() {
    let Some(s) = roster([node("g0", "well"), node("g1", "well")]).boot() else {
        return;
    };
    let first = record(&s, "g0");
    let at = port(&s, "g0");
    assert_ne!(at, port(&s, "g1"));
    let place = s.up("g0");
    assert_eq!(
        state(&s, "g0", "idle"),
        format!("`/status` answers on port {at}")
    );
    eventually("its log is in the pane", || {
        s.screen("g0").contains("GOOSED_BOOT")
    });

    let secret = first["secret"].as_str().unwrap();
    assert!(secret.len() >= 32);
    assert_ne!(record(&s, "g1")["secret"], secret);
    assert!(ask(at, "/sessions", secret).contains(" 200 "));
    assert!(ask(at, "/sessions", "wrong").contains(" 401 "));
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(s.state("nodes/g0.json")), 0o600);
    for pid in s.processes() {
        assert!(!proc::cmdline(pid).join(" ").contains(secret));
    }
    for file in ["launch/g0.json", "log/events.jsonl"] {
        assert!(
            !std::fs::read_to_string(s.state(file))
                .unwrap()
                .contains(secret),
            "{file}"
        );
    }

    s.kill_agent(&place, Signal::KILL);
    s.back("g0", &place);
    state(&s, "g0", "idle");
    s.mosaic(&["fleet", "stop"]).ok();
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, at)).is_err());
    s.mosaic(&["fleet", "start"]).ok();
    state(&s, "g0", "idle");
    assert_eq!(record(&s, "g0"), first);
    assert!(ask(at, "/sessions", secret).contains(" 200 "));
}

#[test]
fn sick_nodes_hold_nothing_up() {
    if std::env::var_os("GOOSED_BIN").is_some() {
        eprintln!("SKIPPED: a real goosed is not sick on demand");
        return;
    }
    let sick = ["h0", "h1", "h2", "h3", "h4", "h5"].map(|name| node(name, "hung"));
    let agents = [
        node("slow", "slow"),
        node("stubborn", "stubborn"),
        node("well", "well"),
    ];
    let roster = roster(sick.into_iter().chain(agents)).default("ready_timeout", json!("1500ms"));
    let Some(s) = roster.boot() else { return };
    assert_eq!(
        state(&s, "h0", "unknown"),
        format!(
            "no answer on 127.0.0.1:{}: nothing within 300 ms",
            port(&s, "h0")
        )
    );
    state(&s, "well", "idle");
    state(&s, "slow", "unknown");
    // Six that hang cost one wait, not six.
    let out = s.mosaic(&["fleet", "status"]).ok();
    assert!(out.took < Duration::from_millis(1500), "{:?}", out.took);
    let seen = s.events("h0");
    let seen = seen.iter().find(|e| e["event"] == "not-ready").unwrap();
    assert!(
        seen["seen"].as_str().unwrap().contains("nothing within"),
        "{seen}"
    );

    // One that does not end by itself is ended.
    let pid = s.up("stubborn").pid;
    let begun = Instant::now();
    s.mosaic(&["fleet", "stop", "stubborn"]).ok();
    assert!(!proc::alive(pid));
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_port_that_somebody_has_is_waited_for() {
    let roster =
        roster([node("g0", "well").key("start_limit", json!({"burst": 3, "interval": "3s"}))]);
    let Some(s) = roster.boot() else { return };
    let at = port(&s, "g0");
    s.mosaic(&["fleet", "stop", "g0"]).ok();
    let held = TcpListener::bind((Ipv4Addr::LOCALHOST, at)).unwrap();
    let mut why = format!("port {at} of `g0` is in use by ");
    // Another account cannot see whose it is.
    if s.account().uid == rustix::process::getuid().as_raw() {
        why.push_str(&format!("process {}", std::process::id()));
    }
    // Whoever asks for the start is told at once.
    let out = s.mosaic(&["fleet", "start", "g0"]).code(1).says(&why);
    assert!(out.took < Duration::from_secs(10), "{:?}", out.took);
    let refusals = || {
        let events = s.events("g0");
        events.iter().filter(|e| e["event"] == "refused").count()
    };
    // More tries than the start limit allows.
    eventually("it goes on trying", || refusals() >= 5);
    assert_ne!(s.unit(&unit_name("g0")).active, "failed");
    assert!(s.status("g0")["last_exit"].as_str().unwrap().contains(&why));
    drop(held);
    state(&s, "g0", "idle");
    assert_eq!(port(&s, "g0"), at);
}

#[test]
fn without_a_service_manager_too() {
    let Some(s) = Sandbox::plain() else { return };
    roster([node("g0", "well")]).write(&s);
    s.mosaic(&["fleet", "up", "--no-systemd", "--no-verify"])
        .ok();
    state(&s, "g0", "idle");
    let first = record(&s, "g0");
    let held_by = s.status("g0")["pid"].as_i64().unwrap();
    proc::kill(i32::try_from(held_by).unwrap(), Signal::KILL);
    eventually("it is back", || {
        let status = s.status("g0");
        status["pid"] != held_by && status["state"] == "idle"
    });
    assert_eq!(record(&s, "g0"), first);
    s.mosaic(&["fleet", "stop"]).ok();
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port(&s, "g0"))).is_err());
}
