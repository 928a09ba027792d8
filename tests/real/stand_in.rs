//! The model stand-in: every CLI understands it, and it counts what reaches it. Without this, what other
//! tests say about arrivals would prove nothing.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};

use serde_json::{Value, json};

use crate::cli::{Real, installed};
use crate::model::{Answer, Api, Model};
use crate::support::{Agent, eventually};

/// A message through a CLI's one-shot command; what it printed.
#[track_caller]
fn one_shot(real: &Real, agent: &Agent, name: &str, args: &[&str], text: &str) -> String {
    let mut command = real.s.command(installed(name).unwrap());
    command.args(args).arg(text).envs(agent.variables());
    // Some read what is there besides the argument.
    command.stdin(std::process::Stdio::null());
    let out = command.output().unwrap();
    let printed = [out.stdout, out.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    assert!(out.status.success(), "{name}: {printed}");
    printed
}

#[test]
fn every_cli_is_answered_and_its_message_counted() {
    let Some(real) = Real::new(false) else { return };
    let pi = ["--provider", "stand-in", "--model", "stand-in", "-p"];
    let codex = ["exec", "--skip-git-repo-check"];
    // It does not deny what it cannot ask about, but fails.
    let goose = real.goose("a").env("GOOSE_MODE", "auto");
    let cases: [(&str, Agent, &[&str], Api); 6] = [
        ("claude", real.claude("a"), &["-p"], Api::Messages),
        ("pi", real.pi("a"), &pi, Api::Chat),
        ("codex", real.codex("a"), &codex, Api::Responses),
        ("opencode", real.opencode("a"), &["run"], Api::Chat),
        // Where nobody can be asked, gemini offers a shell only like this.
        ("gemini", real.gemini("a"), &["--yolo", "-p"], Api::Gemini),
        ("goose", goose, &["run", "-t"], Api::Chat),
    ];
    for (name, agent, args, api) in &cases {
        // opencode quotes an argument with blanks.
        let text = format!("hello-from-{name}");
        let printed = one_shot(&real, agent, name, args, &text);
        assert!(
            printed.contains(&format!("ok: {text}")),
            "{name}: {printed}"
        );
        let turns = real.model.turns(&text);
        assert_eq!(turns.len(), 1, "{name}: {turns:?}");
        assert_eq!(
            (turns[0].api, &turns[0].history),
            (*api, &vec![text.clone()])
        );
        let counted = (real.model.arrivals(&text), real.model.arrived_whole(&text));
        assert_eq!(counted, (1, 1), "{name}");

        // The shell that it offers is called as it wants it; whether it may run is another matter.
        let text = format!("use-the-TOOL-{name}");
        let printed = one_shot(&real, agent, name, args, &text);
        let requests = real.model.requests();
        let called = |turn: &&crate::model::Turn| matches!(turn.answer, Answer::Call(..));
        let call = requests.iter().rfind(called).unwrap();
        assert_eq!(call.api, *api, "{name}: {call:?}");
        let after = requests.iter().rfind(|turn| !turn.side).unwrap();
        assert_eq!(real.model.arrivals(&text), 1, "{name}");
        // opencode ends where it may not ask, and says what it would have run.
        let understood = after.after_tool || printed.contains("approved-marker");
        assert!(understood, "{name}: {after:?} {printed}");
    }
}

/// Asks for an answer to a text, as an agent with a tool would.
fn ask(model: &Model, api: Api, text: &str, stream: bool) -> TcpStream {
    let message = json!([{"role": "user", "content": text}]);
    let tools = json!([{"name": "none"}]);
    let (path, body) = match api {
        Api::Messages => ("v1/messages", json!({"messages": message, "tools": tools})),
        Api::Chat => (
            "v1/chat/completions",
            json!({"messages": message, "tools": tools}),
        ),
        Api::Responses => ("v1/responses", json!({"input": message, "tools": tools})),
        Api::Gemini => (
            match stream {
                true => "v1beta/models/m:streamGenerateContent?alt=sse",
                false => "v1beta/models/m:generateContent",
            },
            json!({
                "contents": [{"role": "user", "parts": [{"text": text}]}],
                "tools": [{"functionDeclarations": tools}],
            }),
        ),
    };
    let mut body: Value = body;
    body["stream"] = json!(stream);
    post(model, path, &body)
}

fn post(model: &Model, path: &str, body: &Value) -> TcpStream {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, model.port)).unwrap();
    let timeout = std::time::Duration::from_secs(10);
    stream.set_read_timeout(Some(timeout)).unwrap();
    let body = body.to_string();
    let length = body.len();
    let request = format!("POST /{path} HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

fn reply(mut stream: TcpStream) -> String {
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

#[test]
fn each_interface_answers_whole_and_streaming_and_refuses() {
    let model = Model::start();
    let apis = [Api::Messages, Api::Chat, Api::Responses, Api::Gemini];
    // How each says that the answer is over.
    let ends = ["message_stop", "[DONE]", "response.completed", "STOP"];
    for (api, end) in apis.into_iter().zip(ends) {
        let text = format!("a word for {api:?}");
        let whole = reply(ask(&model, api, &text, false));
        let body = whole.split_once("\r\n\r\n").unwrap().1;
        let body: Value = serde_json::from_str(body).unwrap();
        assert!(body.to_string().contains(&format!("ok: {text}")), "{whole}");
        let streamed = reply(ask(&model, api, &text, true));
        assert!(streamed.contains("text/event-stream"), "{streamed}");
        assert!(streamed.contains(&format!("ok: {text}")), "{streamed}");
        assert!(streamed.contains(end), "{streamed}");

        let limited = reply(ask(&model, api, "over the LIMIT 7", true));
        assert!(limited.starts_with("HTTP/1.1 429 "), "{limited}");
        assert!(limited.contains("\r\nRetry-After: 7\r\n"), "{limited}");
        // Asked twice, arrived once.
        assert_eq!((model.turns(&text).len(), model.arrivals(&text)), (2, 1));
    }
    let counted = reply(post(&model, "v1/messages/count_tokens", &json!({})));
    assert!(counted.contains("\"input_tokens\":10"), "{counted}");
    let counted = reply(post(&model, "v1beta/models/m:countTokens", &json!({})));
    assert!(counted.contains("\"totalTokens\":10"), "{counted}");
    assert_eq!(model.requests().len(), 12);
}

#[test]
fn a_slow_answer_ends_when_the_agent_hangs_up() {
    let model = Model::start();
    let mut stream = ask(&model, Api::Chat, "SLEEP 600", true);
    assert_ne!(stream.read(&mut [0; 64]).unwrap(), 0);
    assert!(!model.requests()[0].hung_up);
    drop(stream);
    eventually("it notices", || model.requests()[0].hung_up);

    let slow = reply(ask(&model, Api::Chat, "SLEEP 1", true));
    assert!(slow.contains("[DONE]"), "{slow}");
    assert!(!model.requests()[1].hung_up);
}
