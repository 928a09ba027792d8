//! Properties: no text makes the reader panic, and reading is deterministic.

use proptest::prelude::*;

use super::*;

const VALID: &str = "version: 1
transport: tmux
tmux: {socket_name: mosaic-factory, holder_session: _holder}
defaults:
  runtime: claude
  working_directory: ~/work
  limits: {memory_max: 2G, cpu_quota: 150%, tasks_max: 100}
  env: {A: b, C: 'd'}
runtimes:
  mine: {command: x, args: [a, b], like: claude}
agents:
  - name: coder0
    class: implementer
    command: claude 'a b' \"c\"
    permissions: skip
    model_hint: opus
    persistent_persona: semi
    kickstart: {text: |
      hello}
    kickstart_on: both
  - &x
    name: rev0
    runtime: pi
    restart_delay: 500ms
    resume: none
";

fn outcome(text: &str) -> String {
    match Machine::default().resolve(text) {
        Ok((fleet, warnings)) => format!("{fleet:?}{warnings:?}"),
        Err(error) => shown(&error),
    }
}

fn pieces() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("name: ".to_owned()),
        Just("agents:\n".to_owned()),
        Just("  - ".to_owned()),
        Just("{".to_owned()),
        Just("]".to_owned()),
        Just("\"".to_owned()),
        Just("*x".to_owned()),
        Just("&x ".to_owned()),
        Just("<<: *x\n".to_owned()),
        Just("|\n".to_owned()),
        Just("!!binary x".to_owned()),
        Just("!!float .nan".to_owned()),
        Just("? ".to_owned()),
        Just("~".to_owned()),
        Just("99999999999999999999".to_owned()),
        Just("-0.0e9".to_owned()),
        Just("\t".to_owned()),
        Just("\0".to_owned()),
        Just("\u{2028}\u{feff}".to_owned()),
        "(?s).{0,12}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_never_panics(text in "(?s).{0,300}") {
        outcome(&text);
        outcome(&format!("version: 1\n{text}"));
    }

    #[test]
    fn arbitrary_pieces_never_panic(pieces in prop::collection::vec(pieces(), 0..30)) {
        outcome(&format!("version: 1\nagents:\n  - {}", pieces.concat()));
    }

    #[test]
    fn mutated_rosters_never_panic_and_are_read_alike_twice(
        at in any::<prop::sample::Index>(),
        gone in 0usize..20,
        piece in pieces(),
    ) {
        let chars: Vec<char> = VALID.chars().collect();
        let at = at.index(chars.len());
        let text: String = chars[..at].iter().copied()
            .chain(piece.chars())
            .chain(chars[(at + gone).min(chars.len())..].iter().copied())
            .collect();
        prop_assert_eq!(outcome(&text), outcome(&text));
    }

    #[test]
    fn values_come_back_as_written(value in "[^\\x00-\\x1f\\x7f-\\x9f]{1,40}") {
        let text = with_agents(&format!("  - name: a\n    env: {{A: {}}}\n", serde_json::Value::from(value.clone())));
        let (fleet, _) = Machine::default().resolve(&text).unwrap();
        prop_assert_eq!(&fleet.agents[0].env["A"], &value);
    }
}

#[test]
fn the_roster_to_mutate_is_nearly_right() {
    let text = VALID.replace(
        "kickstart: {text: |\n      hello}",
        "kickstart: {text: hello}",
    );
    assert!(
        Machine::default().resolve(&text).is_ok(),
        "{}",
        outcome(&text)
    );
}
