//! Screen rules of the measured agent CLIs, for tests.
#![allow(clippy::unwrap_used)]

use super::screen::Rules;
use crate::runtime::{Reports, ResetCommands, RuntimeSpec, ScreenRules, Transcript, TranscriptFormat};

const CLAUDE: &str = r#"
input:
  top: '^─{10,}$'
  bottom: '^─{10,}$'
  tall: '^─── ↑ (\d+) more ─{3,}$'
  glyph: "❯\u00a0"
  shell: "!\u00a0"
  indent: "  "
  below_most: 4
working: ['^[·✢✳✶✻✽*] \S.*…']
working_within: 8
dialog: ['^ {1,4}❯ (?:\d+\. |✔ |[A-Z])']
collapsed: ['\[Pasted text #\d+(?: \+(\d+) lines?)?\]']
title:
  idle: ['^✳ ']
  working: ['^[◐◑⠂⠐] ']
typing:
  piece_chars: 300
  piece_lines: 1
  bang: space
  slash: refuse
enter_delay_ms: 50
"#;

const PI: &str = r#"
input:
  top: '^─{10,}$'
  bottom: '^─{10,}$'
  tall: '^─── ↑ (\d+) more ─{3,}$'
  below_least: 2
  below_most: 2
working: ['^ [\x{2800}-\x{28FF}] Working\.\.\.']
working_within: 2
collapsed: ['\[paste #\d+(?: \+(\d+) lines?)?[^\]]*\]']
typing:
  piece_chars: 300
  piece_lines: 1
  bang: refuse
  slash: refuse
enter_delay_ms: 50
"#;

const DEMO: &str = r#"
input:
  top: '^─{8,}$'
  bottom: '^─{8,}$'
  tail_only: true
  glyph: "❯ "
  indent: "  "
  below_least: 1
  below_most: 1
working: ['^[·✢✳✶✻✽] Working…']
working_within: 1
dialog: ['^❯ \d+\. ']
collapsed: ['\[Pasted text #\d+(?: \+(\d+) lines?)?\]']
title:
  idle: ['^✳ demo$']
  working: ['^[⠂⠐] demo$']
typing:
  piece_chars: 300
  piece_lines: 1
  bang: space
  slash: space
"#;

/// The screen rules of `claude`, `pi` or `demo`.
pub fn screen(name: &str) -> ScreenRules {
    let text = match name {
        "claude" => CLAUDE,
        "pi" => PI,
        _ => DEMO,
    };
    serde_saphyr::from_str(text).unwrap()
}

/// The same, compiled.
pub fn rules(name: &str) -> Rules {
    Rules::compile(&screen(name)).unwrap()
}

/// As much of a definition as sending needs.
pub fn spec(name: &str) -> RuntimeSpec {
    let (reports, format, file, clear, new) = match name {
        "claude" => (Reports::ClaudeHooks, TranscriptFormat::Claude, "~/.claude/projects/*/{id}.jsonl", "/clear", "/clear"),
        "pi" => (Reports::PiExtension, TranscriptFormat::Pi, "{file}", "/new", "/new"),
        _ => (Reports::DemoTranscript, TranscriptFormat::Demo, "{file}", "/clear", "/new"),
    };
    RuntimeSpec {
        screen: Some(screen(name)),
        reports: Some(reports),
        transcript: Some(Transcript { file: file.into(), format }),
        reset: Some(ResetCommands { clear: Some(clear.into()), new: Some(new.into()) }),
        ..RuntimeSpec::default()
    }
}
