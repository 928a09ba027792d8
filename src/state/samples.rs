//! Screen rules of the measured agent CLIs, for tests.
#![allow(clippy::unwrap_used)]

use super::screen::Rules;
use crate::runtime::{Reports, ResetCommands, RuntimeSpec, ScreenRules, Transcript, TranscriptFormat};
const CLAUDE: &str = include_str!("../../tests/fixtures/screens/rules/claude.yaml");
const PI: &str = include_str!("../../tests/fixtures/screens/rules/pi.yaml");
const DEMO: &str = include_str!("../../tests/fixtures/screens/rules/demo.yaml");

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
