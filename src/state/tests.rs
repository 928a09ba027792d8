#![allow(clippy::unwrap_used)]
use super::*;
use crate::state::screen::read;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn report(seconds: i64, what: What) -> Report {
    Report {
        time: at(seconds),
        what,
    }
}

fn screen(kind: &str) -> Seen {
    let rule = "─".repeat(80);
    let text = match kind {
        "box" => format!("● done\n\n{rule}\n❯\u{a0}\u{1b}[7m \n{rule}\n  footer"),
        "working" => format!("✶ Perusing…\n\n{rule}\n❯\u{a0}\u{1b}[7m \n{rule}\n  footer"),
        "covered" => format!("  a draft\n  that is long\n{rule}\n  footer"),
        "dialog" => {
            format!("{rule}\n Do you want to proceed?\n ❯ 1. Yes\n   2. No\n\n Esc to cancel")
        }
        "trust-dialog" | "onboarding" => {
            let path = format!(
                "{}/tests/fixtures/screens/claude/{kind}.ansi",
                env!("CARGO_MANIFEST_DIR")
            );
            let text = std::fs::read_to_string(path).unwrap();
            return read(&text, 120, &samples::rules("claude"));
        }
        _ => "Loading".to_owned(),
    };
    read(&text, 80, &samples::rules("claude"))
}

/// Decides for an agent that started at 0 and is looked at at 100.
fn run(reports: &[Report], title: &str, seen: Option<&str>) -> Verdict {
    let rules = samples::rules("claude");
    let seen = seen.map(screen);
    decide(&Signs {
        life: &Life::Up,
        started: Some(at(0)),
        now: at(100),
        reports,
        reported_by: Source::Report,
        title,
        rules: Some(&rules),
        screen: seen.as_ref(),
    })
}

const IDLE: &str = "✳ Claude Code";
const BUSY: &str = "◐ Claude Code";

#[test]
fn signs_are_weighed() {
    let prompt = || report(10, What::Prompt { text: "x".into() });
    let waiting = || {
        report(
            10,
            What::Waiting {
                question: "Bash rm x".into(),
            },
        )
    };
    let session = |reason: &str| {
        report(
            10,
            What::Session {
                id: None,
                file: None,
                reason: reason.into(),
            },
        )
    };
    let just = |what| report(99, what);
    type Row = (
        Vec<Report>,
        &'static str,
        Option<&'static str>,
        State,
        Source,
        bool,
    );
    let table: Vec<Row> = vec![
        // Reports lead.
        (
            vec![prompt()],
            BUSY,
            None,
            State::Working,
            Source::Report,
            // It may be held up by its provider.
            true,
        ),
        (
            vec![just(What::Working)],
            BUSY,
            None,
            State::Working,
            Source::Report,
            false,
        ),
        (
            vec![prompt(), report(20, What::Idle)],
            IDLE,
            None,
            State::Idle,
            Source::Report,
            false,
        ),
        (
            vec![prompt(), report(20, What::Idle)],
            IDLE,
            Some("box"),
            State::Idle,
            Source::Report,
            false,
        ),
        (
            vec![waiting(), report(20, What::Working)],
            BUSY,
            None,
            State::Working,
            Source::Report,
            true,
        ),
        // A broken-off turn: nobody reports it. The screen must be looked at to know.
        (
            vec![prompt()],
            IDLE,
            None,
            State::Working,
            Source::Report,
            true,
        ),
        (
            vec![prompt()],
            IDLE,
            Some("box"),
            State::Idle,
            Source::Title,
            false,
        ),
        (
            vec![prompt()],
            "",
            Some("box"),
            State::Idle,
            Source::Screen,
            false,
        ),
        (
            vec![just(What::Prompt { text: "x".into() })],
            IDLE,
            Some("box"),
            State::Working,
            Source::Report,
            false,
        ),
        (
            vec![prompt()],
            IDLE,
            Some("working"),
            State::Working,
            Source::Report,
            false,
        ),
        (
            vec![prompt()],
            IDLE,
            Some("covered"),
            State::Working,
            Source::Report,
            false,
        ),
        (
            vec![prompt(), report(20, What::Idle)],
            IDLE,
            Some("covered"),
            State::Idle,
            Source::Report,
            false,
        ),
        (
            vec![session("resume")],
            IDLE,
            Some("covered"),
            State::Idle,
            Source::Report,
            false,
        ),
        (
            vec![prompt()],
            IDLE,
            Some("dialog"),
            State::Waiting,
            Source::Screen,
            false,
        ),
        (
            vec![prompt()],
            IDLE,
            Some("other"),
            State::Working,
            Source::Report,
            false,
        ),
        // Approval.
        (
            vec![prompt(), waiting()],
            IDLE,
            None,
            State::Waiting,
            Source::Report,
            true,
        ),
        (
            vec![prompt(), waiting()],
            IDLE,
            Some("dialog"),
            State::Waiting,
            Source::Report,
            false,
        ),
        (
            vec![prompt(), waiting()],
            IDLE,
            Some("box"),
            State::Idle,
            Source::Title,
            false,
        ),
        (
            vec![prompt(), waiting()],
            BUSY,
            None,
            State::Working,
            Source::Title,
            false,
        ),
        // At rest by its own word, but something else is to be seen.
        (
            vec![report(20, What::Idle)],
            BUSY,
            None,
            State::Working,
            Source::Title,
            false,
        ),
        (
            vec![report(20, What::Idle)],
            IDLE,
            Some("dialog"),
            State::Waiting,
            Source::Screen,
            false,
        ),
        (
            vec![report(20, What::Idle)],
            IDLE,
            Some("other"),
            State::Unknown,
            Source::Screen,
            false,
        ),
        // Conversations.
        (
            vec![session("clear")],
            IDLE,
            None,
            State::Idle,
            Source::Report,
            false,
        ),
        (
            vec![session("startup")],
            "",
            None,
            State::Unknown,
            Source::None,
            true,
        ),
        (
            vec![session("startup")],
            IDLE,
            Some("box"),
            State::Idle,
            Source::Report,
            false,
        ),
        (
            vec![session("startup")],
            IDLE,
            Some("dialog"),
            State::Waiting,
            Source::Screen,
            false,
        ),
        // Nothing reported: a title that fits idle fits a dialog as well.
        (vec![], IDLE, None, State::Unknown, Source::None, true),
        (vec![], BUSY, None, State::Working, Source::Title, false),
        (
            vec![],
            IDLE,
            Some("box"),
            State::Idle,
            Source::Screen,
            false,
        ),
        (
            vec![],
            IDLE,
            Some("other"),
            State::Unknown,
            Source::Screen,
            false,
        ),
        (
            vec![report(20, What::Ended { reason: "x".into() })],
            IDLE,
            None,
            State::Unknown,
            Source::Report,
            false,
        ),
    ];
    for (at, (reports, title, seen, state, source, look)) in table.into_iter().enumerate() {
        let got = run(&reports, title, seen);
        assert_eq!(
            (got.state, got.evidence.source, got.look),
            (state, source, look),
            "row {at}: {got:?}"
        );
    }
}

#[test]
fn a_young_agent_is_starting_and_a_dead_one_is_not() {
    let rules = samples::rules("claude");
    let signs = |life: Life, now| {
        decide(&Signs {
            life: &life,
            started: Some(at(0)),
            now: at(now),
            reports: &[],
            reported_by: Source::Report,
            title: "",
            rules: Some(&rules),
            screen: None,
        })
    };
    assert_eq!(signs(Life::Up, 5).state, State::Starting);
    assert_eq!(signs(Life::Up, 500).state, State::Unknown);
    assert_eq!(
        signs(Life::Exited("exit 1".into()), 5).evidence.what,
        "exit 1"
    );
    assert_eq!(
        signs(Life::Failed("start limit".into()), 5).state,
        State::Failed
    );
}

#[test]
fn without_rules_nothing_is_known() {
    let got = decide(&Signs {
        life: &Life::Up,
        started: Some(at(0)),
        now: at(500),
        reports: &[],
        reported_by: Source::None,
        title: BUSY,
        rules: None,
        screen: None,
    });
    assert_eq!(
        (got.state, got.evidence.source),
        (State::Unknown, Source::None)
    );
}

#[test]
fn a_dialog_is_told_by_its_question() {
    assert_eq!(question(&screen("dialog")), "Do you want to proceed?");
    assert_eq!(
        question(&screen("trust-dialog")),
        "Quick safety check: Is this a project you created or one you trust?"
    );
    assert_eq!(
        question(&screen("onboarding")),
        "a choice is open at `❯ ✔ Auto (match terminal)`"
    );
    assert_eq!(
        serde_json::to_string(&State::Waiting).unwrap(),
        "\"waiting\""
    );
}

/// A captured screen of claude.
fn captured(name: &str) -> screen::Seen {
    let path = format!(
        "{}/tests/fixtures/screens/claude/{name}.ansi",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(&path).unwrap();
    let width = if name == "dialog" { 200 } else { 120 };
    screen::read(&text, width, &samples::rules("claude"))
}

#[test]
fn a_limit_parks_an_agent_until_it_is_over() {
    let limited = |until| What::Limited {
        what: "429".into(),
        until,
    };
    let table = [
        // What it says of itself holds as long as nothing else is to be seen.
        (limited(None), 20, None, State::RateLimited, false),
        (
            limited(None),
            20,
            Some("limited-over"),
            State::RateLimited,
            false,
        ),
        (limited(None), 20, Some("working"), State::Working, false),
        (limited(None), 20, Some("dialog"), State::Waiting, false),
        // An end that was said, and one that was not.
        (limited(Some(at(1000))), 20, None, State::RateLimited, false),
        (limited(Some(at(90))), 20, None, State::Idle, true),
        (
            limited(Some(at(90))),
            20,
            Some("limited-over"),
            State::Idle,
            false,
        ),
        (
            limited(Some(at(90))),
            20,
            Some("limited-429"),
            State::RateLimited,
            false,
        ),
        (
            limited(None),
            1000,
            Some("limited-over"),
            State::Idle,
            false,
        ),
        (
            limited(None),
            1000,
            Some("dialog-help"),
            State::Unknown,
            false,
        ),
        // A turn whose requests are refused reports nothing.
        (What::Working, 5, None, State::Working, false),
        (What::Working, 20, None, State::Working, true),
        (
            What::Working,
            20,
            Some("limited-hours"),
            State::RateLimited,
            false,
        ),
        (What::Working, 20, Some("retrying"), State::Working, false),
        (
            What::Idle,
            20,
            Some("limited-429"),
            State::RateLimited,
            false,
        ),
        // Old output that holds the words.
        (
            What::Working,
            1,
            Some("negative-dialog"),
            State::Working,
            false,
        ),
        (What::Idle, 20, Some("negative-dialog"), State::Idle, false),
    ];
    let rules = samples::rules("claude");
    for (row, (what, age, name, state, look)) in table.into_iter().enumerate() {
        let seen = name.map(captured);
        let got = decide(&Signs {
            life: &Life::Up,
            started: None,
            now: at(100),
            reports: &[Report {
                time: at(100 - age),
                what,
            }],
            reported_by: Source::Report,
            title: "",
            rules: Some(&rules),
            screen: seen.as_ref(),
        });
        assert_eq!((got.state, got.look), (state, look), "row {row}: {got:?}");
    }
}
