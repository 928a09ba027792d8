//! Servers that are well, ill and somebody else's, on real sockets.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::fleet::Agent;
use crate::launch::{Launch, VERSION};
use crate::names::AgentName;
use crate::routing::node::Node;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex};

/// What was asked: number of the connection and first line.
type Asked = Arc<Mutex<Vec<(usize, String)>>>;

/// Answers requests for ever, each by what `answer` makes of its first line and header; an empty answer is
/// none at all. Gives the port, and what was asked.
fn serve(answer: impl Fn(&str, &[String]) -> String + Send + Sync + 'static) -> (u16, Asked) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (log, answer) = (Arc::clone(&asked), Arc::new(answer));
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let (stream, log, answer) = (stream.unwrap(), Arc::clone(&log), Arc::clone(&answer));
            std::thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                loop {
                    let request: Vec<String> = lines
                        .by_ref()
                        .map_while(Result::ok)
                        .take_while(|l| !l.is_empty())
                        .collect();
                    let Some(first) = request.first() else { return };
                    log.lock().unwrap().push((number, first.clone()));
                    let said = answer(first, &request);
                    if (&stream).write_all(said.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (port, asked)
}

fn http(status: u16) -> String {
    format!("HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\nok")
}

fn server(dialect: Dialect, port: u16) -> Server {
    let name = AgentName::new("a").unwrap();
    let mut agent = Agent::usual(name, "r", Vec::new(), "/w".into());
    agent.spec.dialect = Some(dialect);
    let known = Known {
        node: Node::of(&agent, "h"),
        endpoint: Some(Endpoint {
            port,
            secret: "s".to_owned(),
        }),
        launch: Arc::new(Launch {
            version: VERSION,
            agent,
            program: None,
            path: String::new(),
            env_files_digest: String::new(),
        }),
        damaged: None,
    };
    Server::of(&known).unwrap()
}

const WAIT: Duration = Duration::from_secs(5);

#[test]
fn the_secret_is_proved_once_a_connection_and_the_round_trip_is_of_a_warm_one() {
    let (port, asked) = serve(|first, request| {
        let known = request.iter().any(|l| l == "X-Secret-Key: s");
        match first {
            "GET /status HTTP/1.1" => http(200),
            _ if !known => http(401),
            // The first question of all is slow, as that to a cold server.
            _ => {
                std::thread::sleep(Duration::from_millis(300));
                http(404)
            }
        }
    });
    let mut goosed = server(Dialect::Goosed, port);
    for _ in 0..2 {
        let found = goosed.ask(WAIT);
        assert_eq!(found.health, Health::Healthy);
        assert!(found.rtt_ms > 0.0 && found.rtt_ms < 250.0, "{found:?}");
    }
    let lines: Vec<(usize, String)> = asked.lock().unwrap().clone();
    let line = |path: &str| (0, format!("GET {path} HTTP/1.1"));
    assert_eq!(
        lines,
        [line("/system_info"), line("/status"), line("/status")]
    );
}

#[test]
fn a_wrong_secret_is_told_from_a_sick_server_a_silent_one_and_none() {
    let (wrong, _) = serve(|first, _| match first {
        "GET /status HTTP/1.1" => http(200),
        _ => http(401),
    });
    let (sick, _) = serve(|_, _| http(503));
    let (silent, _) = serve(|_, _| String::new());
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let none = closed.local_addr().unwrap().port();
    drop(closed);
    let ask = |port, wait| {
        let found = server(Dialect::Goosed, port).ask(wait);
        assert_eq!(found.rtt_ms, 0.0);
        (found.health.as_str(), found.health.why().to_owned())
    };
    let said = |port, wait, word, part: &str| {
        let (health, why) = ask(port, wait);
        assert_eq!(health, word, "{why}");
        assert!(why.contains(part), "{why}");
    };
    said(
        wrong,
        WAIT,
        "unauthorized",
        "does not take mosaic's secret: status 401 on `/system_info`",
    );
    said(sick, WAIT, "unfit", "answers `/status` with status 503");
    let begun = Instant::now();
    said(
        silent,
        Duration::from_millis(200),
        "timeout",
        "nothing within",
    );
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    said(none, WAIT, "refused", "nobody listens");
}

#[test]
fn each_dialect_has_its_own_proof() {
    let (port, asked) = serve(|_, request| {
        let basic = format!("Authorization: {}", basic(OPENCODE, "s"));
        let known = request
            .iter()
            .any(|l| *l == basic || l == "X-Secret-Key: s");
        http(if known { 200 } else { 401 })
    });
    for dialect in [Dialect::Opencode, Dialect::Acp] {
        assert_eq!(server(dialect, port).ask(WAIT).health, Health::Healthy);
    }
    let paths: Vec<String> = asked
        .lock()
        .unwrap()
        .iter()
        .map(|(_, line)| line.split(' ').nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(
        paths,
        ["/global/health", "/global/health", "/acp", "/status"]
    );
    assert_eq!(questions(Dialect::Tui, None), None);
    let own = questions(Dialect::Tui, Some("/up")).unwrap();
    assert_eq!((own.proof.as_str(), own.health.as_str()), ("/up", "/up"));
}
