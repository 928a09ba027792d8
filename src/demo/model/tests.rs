//! The model under scripts of input and time, persona by persona.

use super::*;

/// An agent, its clock in milliseconds, and what it did since the last look.
struct Script {
    model: Model,
    now: u64,
    effects: Vec<Effect>,
}

impl Script {
    fn with(personas: &str, change: impl FnOnce(&mut Setup)) -> Self {
        let mut ids = 0;
        let mut setup = Setup {
            personas: Personas::parse(personas).expect("personas"),
            think: Duration::from_millis(300),
            yolo: false,
            pid: 7,
            earlier: None,
            new_id: Box::new(move || {
                ids += 1;
                format!("id-{ids}")
            }),
        };
        change(&mut setup);
        let mut model = Model::new(setup);
        let mut effects = model.start();
        effects.extend(model.drawn());
        Self {
            model,
            now: 0,
            effects,
        }
    }

    fn new(personas: &str) -> Self {
        Self::with(personas, |_| {})
    }

    fn clock(&self) -> Duration {
        Duration::from_millis(self.now)
    }

    fn press(&mut self, input: Input) -> &mut Self {
        let effects = self.model.input(input, self.clock());
        self.effects.extend(effects);
        self
    }

    fn paste(&mut self, text: &str) -> &mut Self {
        self.press(Input::Paste(text.into()))
    }

    fn type_text(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            self.press(Input::Char(c));
        }
        self
    }

    fn submit(&mut self, text: &str) -> &mut Self {
        self.paste(text).press(Input::Enter)
    }

    /// Lets time pass, ticking whenever the model asked to be ticked.
    fn wait(&mut self, millis: u64) -> &mut Self {
        let end = self.now + millis;
        while let Some(due) = self.model.deadline(self.clock()) {
            let due = u64::try_from(due.as_millis()).expect("small");
            if due > end {
                break;
            }
            self.now = self.now.max(due);
            let effects = self.model.tick(self.clock());
            self.effects.extend(effects);
        }
        self.now = end;
        self
    }

    /// What was done since the last call, a line each.
    fn seen(&mut self) -> Vec<String> {
        let effects = std::mem::take(&mut self.effects);
        effects.iter().map(told).collect()
    }

    fn draft(&self) -> String {
        match self.model.view(self.clock()).bottom {
            Bottom::Box { text, .. } => text,
            Bottom::Dialog { .. } => "dialog".into(),
        }
    }

    fn status(&self) -> String {
        match self.model.view(self.clock()).bottom {
            Bottom::Box { status, .. } => status,
            Bottom::Dialog { .. } => "dialog".into(),
        }
    }
}

fn told(effect: &Effect) -> String {
    match effect {
        Effect::Print(Line::User(text)) => format!("> {text}"),
        Effect::Print(Line::Answer(text)) => format!("● {text}"),
        Effect::Print(Line::Note(text)) => format!("  {text}"),
        Effect::Redraw => "redraw".into(),
        Effect::Exit(code) => format!("exit {code}"),
        Effect::Record(record) => serde_json::to_string(record).expect("serializable"),
    }
}

const IDLE: &str = r#"{"type":"state","state":"idle"}"#;
const WORKING: &str = r#"{"type":"state","state":"working"}"#;
const WAITING: &str = r#"{"type":"state","state":"waiting","question":"Do you want to proceed?"}"#;

fn user(text: &str) -> String {
    told(&Effect::Record(Record::User {
        text: text.into(),
        session: "id-1".into(),
    }))
}

fn assistant(text: &str) -> String {
    told(&Effect::Record(Record::Assistant { text: text.into() }))
}

#[test]
fn a_turn_from_prompt_to_prompt() {
    let mut script = Script::new("");
    assert_eq!(
        script.seen(),
        [
            r#"{"type":"session","id":"id-1","reason":"start","pid":7,"resumed":0,"version":1}"#,
            IDLE
        ]
    );
    assert_eq!(script.model.deadline(script.clock()), None);
    script.submit("a\tb\nü\n");
    assert_eq!(script.seen(), ["> a\tb\nü\n", &user("a\tb\nü\n"), WORKING]);
    assert_eq!(script.model.view(script.clock()).title, Some("⠂ demo"));
    assert_eq!(script.wait(299).seen(), [""; 0]);
    assert_eq!(
        script.wait(1).seen(),
        [
            "● echo: a\tb (2 lines, 7 bytes)",
            &assistant("echo: a\tb (2 lines, 7 bytes)"),
            IDLE
        ]
    );
    assert_eq!(script.model.view(script.clock()).title, Some("✳ demo"));
    assert_eq!(script.model.deadline(script.clock()), None);
    assert_eq!(script.status(), "demo · 1 messages · ? for help");
}

#[test]
fn spinner_and_title_move_while_working() {
    let mut script = Script::with("", |setup| setup.think = Duration::from_secs(9));
    script.submit("x").wait(1_000);
    let view = script.model.view(script.clock());
    assert_eq!(view.title, Some("⠐ demo"));
    let Bottom::Box { working, .. } = view.bottom else {
        panic!("no box");
    };
    assert_eq!(working, Some((Duration::from_secs(1), 8)));
    assert_eq!(
        script.model.deadline(script.clock()),
        Some(Duration::from_millis(1_080))
    );
}

#[test]
fn messages_during_a_turn_get_turns_of_their_own() {
    let mut script = Script::new("");
    script
        .submit("one")
        .wait(100)
        .submit("two\nmore")
        .submit("/clear")
        .submit("three");
    assert_eq!(
        script.model.view(script.clock()).queued,
        ["two", "/clear", "three"]
    );
    script.seen();
    assert_eq!(
        script.wait(200).seen(),
        [
            "● echo: one (1 lines, 3 bytes)",
            &assistant("echo: one (1 lines, 3 bytes)"),
            "> two\nmore",
            &user("two\nmore")
        ]
    );
    let rest = script.wait(600).seen();
    assert_eq!(
        rest[2],
        r#"{"type":"session","id":"id-2","reason":"clear","pid":7,"resumed":0,"version":1}"#
    );
    assert_eq!(rest[3], "  context cleared");
    assert_eq!(rest[4], "> three");
    assert_eq!(rest.last().map(String::as_str), Some(IDLE));
    assert_eq!(script.status(), "demo · 1 messages · ? for help");
}

#[test]
fn a_queued_message_is_recorded_as_such() {
    let mut script = Script::new("");
    script.submit("one").seen();
    script.submit("two");
    assert_eq!(script.seen(), [r#"{"type":"queued","text":"two"}"#]);
}

#[test]
fn escape_and_ctrl_c_interrupt_and_the_queue_goes_on() {
    for key in [Input::Escape, Input::CtrlC] {
        let mut script = Script::new("");
        script.submit("one").submit("two").seen();
        assert_eq!(
            script.press(key.clone()).seen(),
            [
                "  interrupted",
                r#"{"type":"interrupted"}"#,
                "> two",
                &user("two")
            ]
        );
        assert_eq!(
            script.press(key).seen(),
            ["  interrupted", r#"{"type":"interrupted"}"#, IDLE]
        );
        assert_eq!(script.wait(9_000).seen(), [""; 0]);
    }
}

#[test]
fn the_dialog_swallows_all_but_its_keys() {
    let answers = [
        (vec![Input::Enter], true),
        (vec![Input::Char('y')], true),
        (vec![Input::Char('1')], true),
        (vec![Input::Down, Input::Up, Input::Enter], true),
        (vec![Input::Down, Input::Enter], false),
        (vec![Input::Char('n')], false),
        (vec![Input::Char('2')], false),
        (vec![Input::Escape], false),
    ];
    for (keys, yes) in answers {
        let mut script = Script::new("");
        script.submit("PLEASE ASK now");
        assert_eq!(
            script.seen()[2..],
            ["> PLEASE ASK now", &user("PLEASE ASK now"), WAITING]
        );
        assert_eq!(script.draft(), "dialog");
        script.paste("lost").type_text("x3").press(Input::CtrlC);
        script.press(Input::CtrlU).press(Input::Backspace);
        assert_eq!(script.seen(), [""; 0]);
        for key in keys {
            script.press(key);
        }
        let expected: &[&str] = if yes {
            &[r#"{"type":"approved"}"#, WORKING]
        } else {
            &[r#"{"type":"denied"}"#, "  denied", IDLE]
        };
        assert_eq!(script.seen(), expected);
        assert_eq!(script.draft(), "");
        script.wait(300);
        assert_eq!(script.seen().len(), if yes { 3 } else { 0 });
    }
}

#[test]
fn a_draft_outlives_the_dialog_of_a_queued_message() {
    let mut script = Script::new("");
    script
        .submit("one")
        .submit("PLEASE ASK")
        .type_text("half")
        .wait(300);
    assert_eq!(script.draft(), "dialog");
    script.type_text("n");
    assert_eq!(script.draft(), "half");
}

#[test]
fn a_message_says_how_long_it_is_worked_on() {
    let mut script = Script::new("");
    script.submit("PLEASE WORK 5000 on it").seen();
    assert_eq!(script.wait(4_999).seen(), [""; 0]);
    assert_eq!(script.wait(1).seen().last().map(String::as_str), Some(IDLE));
}

#[test]
fn yolo_never_asks() {
    let mut script = Script::with("", |setup| setup.yolo = true);
    script.submit("PLEASE ASK");
    assert_eq!(script.seen().last().map(String::as_str), Some(WORKING));
}

#[test]
fn a_draft_that_was_put_aside_comes_back_after_the_next_message() {
    let mut script = Script::new("");
    script.type_text("half a thought");
    assert_eq!(script.press(Input::CtrlS).draft(), "");
    script.submit("another");
    assert_eq!(script.draft(), "half a thought");
}

#[test]
fn commands() {
    let mut script = Script::new("");
    script.submit("one").wait(300).seen();
    assert_eq!(
        script.submit("!rm -rf /").seen(),
        [
            "  !rm -rf /\nshell commands are not run here",
            r#"{"type":"shell","text":"!rm -rf /"}"#
        ]
    );
    assert_eq!(
        script.submit("/frob it").seen(),
        ["  unknown command: /frob"]
    );
    assert_eq!(script.draft(), "/frob it");
    assert_eq!(script.press(Input::CtrlU).draft(), "");
    for text in [
        "/etc/hosts is a file",
        "/",
        "//",
        "/ clear",
        " /clear",
        "a /clear",
    ] {
        script.submit(text);
        assert_eq!(script.seen()[1], user(text));
        script.wait(300).seen();
    }
    for (text, reason) in [("/new", "new"), ("/clear", "clear")] {
        let seen = script.submit(text).seen();
        assert!(seen[0].contains(&format!(r#""reason":"{reason}""#)));
        assert_eq!(seen[1..], ["  context cleared"]);
        assert_eq!(script.status(), "demo · 0 messages · ? for help");
    }
    assert!(script.submit("?").seen()[0].starts_with("  enter sends"));
}

#[test]
fn nothing_is_submitted_from_an_empty_box() {
    let mut script = Script::new("");
    script.seen();
    assert_eq!(script.press(Input::Enter).submit(" \n ").seen(), [""; 0]);
}

#[test]
fn lines_are_added_without_submitting() {
    let mut script = Script::new("");
    script.seen();
    script.type_text("a\\").press(Input::Enter).type_text("b");
    script.press(Input::NewLine).paste("c\nd");
    assert_eq!(script.seen(), [""; 0]);
    assert_eq!(script.draft(), "a\nb\nc\nd");
}

#[test]
fn ctrl_c_clears_then_hints_then_quits() {
    let mut script = Script::new("");
    script.seen();
    script.type_text("draft").press(Input::CtrlC);
    assert_eq!(script.draft(), "");
    assert_eq!(script.status(), "demo · 0 messages · ? for help");
    script.press(Input::CtrlC);
    assert_eq!(script.status(), "press ctrl-c again to quit");
    script.wait(2_000);
    assert_eq!(script.status(), "demo · 0 messages · ? for help");
    script
        .press(Input::CtrlC)
        .press(Input::Left)
        .press(Input::CtrlC);
    assert_eq!(script.seen(), [""; 0]);
    script.press(Input::CtrlC);
    assert_eq!(
        script.seen(),
        [r#"{"type":"exit","code":0,"signal":null}"#, "exit 0"]
    );
    assert_eq!(script.submit("late").seen(), [""; 0]);
}

#[test]
fn a_conversation_is_resumed() {
    let mut script = Script::with("", |setup| {
        setup.earlier = Some(Earlier {
            id: "old".into(),
            messages: 5,
        });
    });
    assert_eq!(
        script.seen(),
        [
            r#"{"type":"session","id":"old","reason":"resume","pid":7,"resumed":5,"version":1}"#,
            "  resumed: 5 messages",
            IDLE
        ]
    );
    assert_eq!(script.status(), "demo · 5 messages · ? for help");
    script.submit("six");
    assert!(script.seen()[1].contains(r#""session":"old""#));
    assert_eq!(script.status(), "demo · 6 messages · ? for help");
}

#[test]
fn the_hint_in_the_box_belongs_to_the_first_conversation() {
    let hint = |script: &Script| match script.model.view(script.clock()).bottom {
        Bottom::Box { placeholder, .. } => placeholder.is_some(),
        Bottom::Dialog { .. } => false,
    };
    let mut script = Script::new("");
    assert!(hint(&script));
    script.submit("/clear");
    assert!(!hint(&script));
    let resumed = Script::with("", |setup| {
        setup.earlier = Some(Earlier {
            id: "old".into(),
            messages: 1,
        });
    });
    assert!(!hint(&resumed));
}

#[test]
fn signals_and_hangup_by_persona() {
    let exit = |code: u8, signal: &str| {
        vec![
            format!(r#"{{"type":"exit","code":{code},"signal":{signal}}}"#),
            format!("exit {code}"),
        ]
    };
    // Persona; SIGHUP, SIGTERM, SIGINT, end of the terminal.
    let table = [
        (
            "",
            exit(129, "1"),
            exit(143, "15"),
            exit(130, "2"),
            exit(129, "1"),
        ),
        (
            "ignore-term",
            vec![],
            vec![],
            exit(130, "2"),
            exit(129, "null"),
        ),
        (
            "exit-0-on-hangup",
            exit(0, "1"),
            exit(143, "15"),
            exit(130, "2"),
            exit(0, "1"),
        ),
        (
            "never-exit-on-hangup",
            vec![],
            exit(143, "15"),
            exit(130, "2"),
            vec![],
        ),
    ];
    for (personas, hangup, terminate, interrupt, end) in table {
        let signals = [
            (Signal::Hangup, hangup),
            (Signal::Terminate, terminate),
            (Signal::Interrupt, interrupt),
        ];
        for (signal, expected) in signals {
            let effects = Script::new(personas).model.signal(signal);
            let seen: Vec<String> = effects.iter().map(told).collect();
            assert_eq!(seen, expected, "{personas} {signal:?}");
        }
        let effects = Script::new(personas).model.hangup();
        let seen: Vec<String> = effects.iter().map(told).collect();
        assert_eq!(seen, end, "{personas} hangup");
    }
}

#[test]
fn the_end_is_told_once() {
    let mut script = Script::new("");
    assert_eq!(script.model.signal(Signal::Hangup).len(), 2);
    assert_eq!(script.model.hangup(), []);
    assert_eq!(script.model.signal(Signal::Terminate), []);
}

#[test]
fn persona_swallow_first_enter() {
    let mut script = Script::new("swallow-first-enter");
    script.seen();
    assert_eq!(script.submit("one").seen(), [""; 0]);
    assert_eq!(script.draft(), "one");
    assert_eq!(script.press(Input::Enter).seen()[0], "> one");
    script.wait(300).seen();
    assert_eq!(
        script.type_text("typed").press(Input::Enter).seen()[0],
        "> typed"
    );
}

#[test]
fn persona_complete_first_enter() {
    let mut script = Script::new("complete-first-enter");
    script.seen();
    assert_eq!(script.submit("@src/ma").seen(), [""; 0]);
    assert_eq!(script.draft(), "@src/main.rs ");
    assert_eq!(script.press(Input::Enter).seen()[0], "> @src/main.rs ");
}

#[test]
fn persona_dialog_open() {
    for (key, record) in [(Input::Enter, "approved"), (Input::Escape, "denied")] {
        let mut script = Script::new("dialog-open");
        assert_eq!(script.seen()[1], WAITING);
        script.paste("lost").press(key);
        assert_eq!(
            script.seen(),
            [
                format!(r#"{{"type":"{record}"}}"#),
                format!("  {record}"),
                IDLE.into()
            ]
        );
        assert_eq!(script.draft(), "");
    }
}

#[test]
fn persona_late_echo() {
    let mut script = Script::new("late-echo=200");
    script.type_text("a").paste("bc");
    assert_eq!(script.draft(), "a");
    assert_eq!(
        script.model.deadline(script.clock()),
        Some(Duration::from_millis(200))
    );
    script.wait(200);
    assert_eq!(script.draft(), "abc");
    assert_eq!(script.model.deadline(script.clock()), None);
    script.paste("d").press(Input::Enter);
    assert!(script.seen().contains(&"> abcd".to_owned()));
}

#[test]
fn persona_crash_after() {
    let mut script = Script::new("crash-after=2");
    script.submit("one").submit("two").seen();
    assert_eq!(
        script.wait(300).seen()[2..],
        ["> two".to_owned(), user("two"), "exit 3".to_owned()]
    );
}

#[test]
fn persona_flood() {
    let mut script = Script::new("flood");
    script.seen();
    let seen = script.wait(50).seen();
    assert_eq!(seen.len(), 11);
    assert_eq!(seen[10], "● flood 11");
    script.submit("PLEASE ASK").seen();
    assert_eq!(script.wait(50).seen(), [""; 0]);
    assert_eq!(script.model.deadline(script.clock()), None);
}

#[test]
fn persona_draft() {
    let mut script = Script::new("draft=half a\\nthought");
    assert_eq!(script.draft(), "half a\nthought");
    script.submit("!");
    assert!(script.seen().contains(&user("half a\nthought!")));
}

#[test]
fn persona_no_title() {
    let script = Script::new("no-title");
    assert_eq!(script.model.view(script.clock()).title, None);
}

#[test]
fn persona_daemon() {
    let mut script = Script::new("daemon");
    let effects = script.model.daemon(42);
    assert_eq!(told(&effects[0]), r#"{"type":"daemon","pid":42}"#);
}

#[test]
fn long_lines_are_answered_in_short() {
    let text = "é".repeat(300);
    assert_eq!(
        answer(&text),
        format!("echo: {}… (1 lines, 600 bytes)", "é".repeat(200))
    );
}

#[test]
fn far_times_do_not_overflow() {
    let far = "late-echo=18446744073709551615";
    let mut script = Script::with(far, |setup| setup.think = Duration::MAX);
    script.submit("x");
    assert!(script.model.deadline(script.clock()).is_some());
    script.now = u64::MAX;
    script.model.tick(script.clock());
    script.model.view(script.clock());
    assert!(script.model.deadline(script.clock()).is_some());
}

#[test]
fn a_limit_lasts_as_long_as_it_is_told_to() {
    const LIMITED: &str = r#"{"type":"state","state":"limited"}"#;
    let limited = |s: &Script| {
        matches!(
            s.model.view(s.clock()).bottom,
            Bottom::Box { limited: true, .. }
        )
    };
    let mut s = Script::new("");
    s.submit("PLEASE LIMIT 5000").wait(4_000);
    assert!(limited(&s));
    assert!(s.seen().contains(&LIMITED.to_owned()));
    s.wait(2_000);
    assert!(!limited(&s));
    assert_eq!(s.seen().last().map(String::as_str), Some(IDLE));
    s.submit("PLEASE LIMIT").wait(3_600_000);
    assert!(limited(&s));
    s.press(Input::Escape);
    assert!(!limited(&s));
}
