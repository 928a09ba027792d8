//! A message of which the agent's box lost a part is taken back out of it and delivered once, as long as
//! nobody else has touched the box.

use serde_json::Value;

use crate::support::{Agent, Output, Roster, Sandbox, eventually};

const TEXT: &str = "a message that is longer than what is kept of it";

fn send(s: &Sandbox, agent: &str) -> Output {
    s.mosaic(&[
        "agent",
        "send",
        agent,
        "--no-preamble",
        "--id",
        &format!("{agent}-x"),
        "--json",
        "-m",
        TEXT,
    ])
}

fn row(s: &Sandbox, agent: &str) -> Value {
    let id = format!("{agent}-x");
    s.mosaic(&["agent", "inbox", "show", &id, "--json"])
        .ok()
        .json()
}

#[test]
fn what_the_box_lost_a_part_of_is_taken_back_unless_a_person_wrote_there() {
    let cut = |name: &str| Agent::demo(name).persona("cut-first-paste=20");
    let Some(s) = Roster::new([cut("a"), cut("b")]).boot() else {
        return;
    };
    for agent in ["a", "b"] {
        let out = send(&s, agent).code(1);
        assert_eq!(out.json()["receipt"], "typed", "{}", out.stdout);
        let shown = format!("❯ {}", &TEXT[..19]);
        assert!(s.screen(agent).contains(&shown), "{}", s.screen(agent));
    }
    // One more character is not mosaic's.
    s.type_into("b", "?");
    eventually("it stands there", || s.screen("b").contains("?"));
    let flush = ["agent", "inbox", "flush", "--timeout", "40"];
    s.mosaic(&flush);

    assert_eq!(s.messages("a"), [TEXT]);
    let taken = row(&s, "a");
    assert!(
        matches!(taken["stage"].as_str(), Some("accepted" | "answered")),
        "{taken}"
    );
    assert_eq!(taken["outcome"]["taken_back"], 1, "{taken}");

    let left = row(&s, "b");
    assert_eq!(left["stage"], "uncertain", "{left}");
    assert_eq!(s.messages("b"), Vec::<String>::new());
    let shown = format!("❯ {}?", &TEXT[..20]);
    assert!(s.screen("b").contains(&shown), "{}", s.screen("b"));
}
