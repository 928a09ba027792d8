//! The goosed stand-in as a program: what tests of the gateway build on must itself be as goosed is.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::goosed::process::install;
use crate::support::eventually;

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(directory: &Path, port: u16) -> Running {
    let child = Command::new(install(directory, "goosed_stand_in"))
        .arg("agent")
        .env("GOOSE_HOST", "127.0.0.1")
        .env("GOOSE_PORT", port.to_string())
        .env("GOOSE_TLS", "false")
        .env("GOOSE_SERVER__SECRET_KEY", "secret")
        .env("GOOSE_PATH_ROOT", directory)
        .env("MOSAIC_AGENT", "g0")
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let stderr = BufReader::new(running.0.stderr.take().unwrap());
    let listening = stderr
        .lines()
        .map_while(Result::ok)
        .any(|l| l == "GOOSED_BOOT: listening");
    assert!(listening);
    running
}

/// Status and body.
fn ask(port: u16, line: &str, body: &Value) -> (u16, Value) {
    let mut stream = send(port, line, body);
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    let (head, body) = all.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_default())
}

fn send(port: u16, line: &str, body: &Value) -> TcpStream {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let timeout = Duration::from_secs(10);
    stream.set_read_timeout(Some(timeout)).unwrap();
    let body = body.to_string();
    let head = format!(
        "{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Secret-Key: secret\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).unwrap();
    stream
}

#[test]
fn it_counts_for_itself_and_keeps_its_sessions() {
    let directory = tempfile::tempdir().unwrap();
    let port = {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        free.local_addr().unwrap().port()
    };
    let mut running = start(directory.path(), port);
    let begun = ask(port, "POST /agent/start", &json!({"working_dir": "/no"})).1;
    let id = begun["id"].as_str().unwrap();
    assert!(id.ends_with("_1") && id.len() == 10, "{id}");
    assert_eq!(begun["provider_name"], Value::Null);

    // A SIGKILL, and it is all there again, but for the model.
    running.0.kill().unwrap();
    running.0.wait().unwrap();
    let mut running = start(directory.path(), port);
    assert_eq!(ask(port, &format!("GET /sessions/{id}"), &json!({})).0, 200);
    let said = |id: &str| {
        let message = json!({"role": "user", "content": [{"type": "text", "text": "hello you"}]});
        let body = json!({"session_id": id, "user_message": message});
        let mut text = String::new();
        let mut stream = send(port, "POST /reply", &body);
        stream.read_to_string(&mut text).unwrap();
        text
    };
    assert!(said(id).contains("Provider not set"));
    let resume = json!({"session_id": id, "load_model_and_extensions": true});
    let resumed = ask(port, "POST /agent/resume", &resume).1;
    assert_eq!(resumed["session"]["provider_name"], "stand-in");
    assert!(said(id).contains(r#""text":"g0: ""#));

    // As goosed, it does not end while somebody reads its events.
    let mut events = send(port, &format!("GET /sessions/{id}/events"), &json!({}));
    let mut buffer = [0; 4096];
    assert_ne!(events.read(&mut buffer).unwrap(), 0);
    let pid = rustix::process::Pid::from_child(&running.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let mut again = String::new();
    while !again.contains(": ping 1") {
        let n = events.read(&mut buffer).unwrap();
        assert_ne!(n, 0, "{again}");
        again.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
    assert!(running.0.try_wait().unwrap().is_none());
    drop(events);
    let mut child = std::mem::replace(&mut running.0, Command::new("true").spawn().unwrap());
    let child = std::cell::RefCell::new(&mut child);
    eventually("it ends", || {
        child.borrow_mut().try_wait().unwrap().is_some()
    });
}
