//! The built-in runtime definitions: the files in `builtin/`, each read when it is first asked for.

use std::sync::OnceLock;

use super::RuntimeSpec;
use crate::roster::parse_runtime;

struct BuiltIn {
    name: &'static str,
    text: &'static str,
    spec: OnceLock<RuntimeSpec>,
}

macro_rules! built_in {
    ($($name:literal)*) => {
        static BUILT_IN: [BuiltIn; NAMES.len()] = [$(BuiltIn {
            name: $name,
            text: include_str!(concat!("builtin/", $name, ".yaml")),
            spec: OnceLock::new(),
        }),*];
        const NAMES: &[&str] = &[$($name),*];
    };
}

// In the order of the alphabet.
built_in! { "claude" "codex" "demo" "gemini" "goose" "goose-serve" "goosed" "opencode" "pi" "shell" }

/// The definition of a built-in runtime.
pub fn get(name: &str) -> Option<&'static RuntimeSpec> {
    let found = BUILT_IN.iter().find(|b| b.name == name)?;
    // The tests read every file, so there is no error to report here.
    Some(
        found
            .spec
            .get_or_init(|| parse_runtime(found.name, found.text).unwrap_or_default()),
    )
}

/// The names of all built-in runtimes, sorted.
pub fn names() -> &'static [&'static str] {
    NAMES
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::runtime::{Reports, TranscriptFormat};

    #[test]
    fn every_definition_is_valid() {
        for b in &BUILT_IN {
            let spec = parse_runtime(b.name, b.text)
                .unwrap_or_else(|e| panic!("{}: {e} {:?}", b.name, e.location));
            assert_eq!(get(b.name), Some(&spec));
            assert!(
                spec.description.is_some() && spec.command.is_some(),
                "{}",
                b.name
            );
            assert!(spec.env.iter().flatten().all(|(k, _)| !k.is_empty()));
            if let Some(screen) = &spec.screen {
                let patterns = [&screen.input.top, &screen.input.bottom];
                for p in patterns
                    .into_iter()
                    .chain(&screen.working)
                    .chain(&screen.dialog)
                    .chain(&screen.collapsed)
                {
                    assert!(regex::Regex::new(p).is_ok(), "{}: {p}", b.name);
                }
            }
        }
    }

    #[test]
    fn names_are_sorted_and_unknown_ones_are_none() {
        assert!(names().is_sorted());
        assert_eq!(names().len(), BUILT_IN.len());
        assert_eq!(get("claud"), None);
    }

    #[test]
    fn unknown_keys_are_refused() {
        let error = parse_runtime("x", "command: x\nargz: [y]\n").unwrap_err();
        assert_eq!(error.message, "unknown key `argz`");
        assert!(
            error.hints[0].contains("did you mean `args`?"),
            "{:?}",
            error.hints
        );
    }

    #[test]
    fn the_table_of_what_each_can_do() {
        type Row = (
            &'static str,
            Option<usize>,
            bool,
            bool,
            Option<Reports>,
            Option<u64>,
        );
        const MIB: u64 = 1 << 20;
        let want: &[Row] = &[
            // name, arguments that skip permissions, conversation, screen, reports, least memory
            (
                "claude",
                Some(1),
                true,
                true,
                Some(Reports::ClaudeHooks),
                Some(512 * MIB),
            ),
            (
                "codex",
                Some(1),
                true,
                true,
                Some(Reports::CodexServer),
                Some(512 * MIB),
            ),
            (
                "demo",
                Some(0),
                true,
                true,
                Some(Reports::DemoTranscript),
                None,
            ),
            (
                "gemini",
                Some(1),
                true,
                true,
                Some(Reports::GeminiChats),
                Some(512 * MIB),
            ),
            // By the environment.
            (
                "goose",
                Some(0),
                true,
                true,
                Some(Reports::GooseSessions),
                Some(512 * MIB),
            ),
            ("goose-serve", None, false, false, None, Some(512 * MIB)),
            ("goosed", None, false, false, None, Some(512 * MIB)),
            (
                "opencode",
                Some(1),
                true,
                true,
                Some(Reports::OpencodePlugin),
                Some(1536 * MIB),
            ),
            (
                "pi",
                Some(0),
                true,
                true,
                Some(Reports::PiExtension),
                Some(512 * MIB),
            ),
            ("shell", Some(0), false, false, None, None),
        ];
        let got: Vec<Row> = names()
            .iter()
            .map(|name| {
                let s = get(name).unwrap();
                let skip = s.permission_args.as_ref().map(Vec::len);
                (
                    *name,
                    skip,
                    s.conversation.is_some(),
                    s.screen.is_some(),
                    s.reports,
                    s.min_memory,
                )
            })
            .collect();
        assert_eq!(got, want);
    }

    #[test]
    fn claude_in_full() {
        let claude = get("claude").unwrap();
        let conversation = claude.conversation.as_ref().unwrap();
        assert_eq!(conversation.first, ["--session-id", "{id}"]);
        assert_eq!(conversation.resume, ["--resume", "{id}"]);
        let file = "${CLAUDE_CONFIG_DIR:-~/.claude}/projects/*/{id}.jsonl";
        assert_eq!(conversation.exists.as_deref(), Some(file));
        let transcript = claude.transcript.as_ref().unwrap();
        assert_eq!(
            (transcript.file.as_str(), transcript.format),
            (file, TranscriptFormat::Claude)
        );
        assert_eq!(
            claude.permission_args.as_deref(),
            Some(&["--dangerously-skip-permissions".to_owned()][..])
        );
    }
}
