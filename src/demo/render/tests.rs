//! Frames, read back by a terminal small enough to be trusted.

use super::super::text::width;
use super::*;
use std::time::Duration;

/// Understands just what the painter writes, and panics on anything else.
struct Screen {
    size: Size,
    /// One cell a column; the second cell of a wide character is empty.
    cells: Vec<Vec<String>>,
    history: Vec<String>,
    row: usize,
    column: usize,
    sgr: String,
    title: String,
    modes: Vec<String>,
}

impl Screen {
    fn new(size: Size) -> Self {
        Self {
            size,
            cells: vec![vec![" ".into(); size.columns]; size.rows],
            history: Vec::new(),
            row: 0,
            column: 0,
            sgr: String::new(),
            title: String::new(),
            modes: Vec::new(),
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        let text = std::str::from_utf8(bytes).expect("UTF-8");
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            match c {
                '\x1b' => match rest.next() {
                    Some('[') => self.csi(&mut rest),
                    Some(']') => {
                        let osc: String = rest.by_ref().take_while(|c| *c != '\x07').collect();
                        self.title = osc.strip_prefix("2;").expect("a title").to_owned();
                    }
                    other => panic!("escape {other:?}"),
                },
                '\n' if self.row + 1 == self.size.rows => {
                    let top = self.cells.remove(0);
                    self.history.push(top.concat().trim_end().to_owned());
                    self.cells.push(vec![" ".into(); self.size.columns]);
                }
                '\n' => self.row += 1,
                c if c.is_control() => panic!("control {c:?}"),
                c => self.put(c),
            }
        }
    }

    fn csi(&mut self, rest: &mut std::str::Chars<'_>) {
        let mut parameters = String::new();
        let last = loop {
            match rest.next() {
                Some(c @ '\x40'..='\x7e') => break c,
                Some(c) => parameters.push(c),
                None => panic!("cut sequence"),
            }
        };
        match (parameters.as_str(), last) {
            ("", 'H') => (self.row, self.column) = (0, 0),
            (at, 'H') => {
                let (row, column) = at.split_once(';').expect("a place");
                let row: usize = row.parse().expect("row");
                assert!((1..=self.size.rows).contains(&row), "row {row}");
                assert_eq!(column, "1");
                (self.row, self.column) = (row - 1, 0);
            }
            ("2", 'J') => self.cells.fill(vec![" ".into(); self.size.columns]),
            ("2", 'K') => self.cells[self.row].fill(" ".into()),
            ("0", 'm') => self.sgr.clear(),
            (sgr, 'm') => self.sgr = sgr.into(),
            (mode, 'h') if mode.starts_with('?') => self.modes.push(mode.into()),
            (mode, 'l') if mode.starts_with('?') => self.modes.retain(|m| m != mode),
            other => panic!("sequence {other:?}"),
        }
    }

    fn put(&mut self, c: char) {
        let wide = width(c);
        assert!(
            self.column + wide <= self.size.columns,
            "row too long at {c:?}"
        );
        if wide == 0 {
            let before = self.column.saturating_sub(1);
            self.cells[self.row][before].push(c);
            return;
        }
        let mut cell = c.to_string();
        if self.sgr.contains('7') && c == ' ' {
            // A cursor on nothing would be trimmed away.
            cell = "▒".into();
        }
        self.cells[self.row][self.column] = cell;
        for second in 1..wide {
            self.cells[self.row][self.column + second].clear();
        }
        self.column += wide;
    }

    fn rows(&self) -> Vec<String> {
        let trimmed = |row: &Vec<String>| row.concat().trim_end().to_owned();
        self.cells.iter().map(trimmed).collect()
    }

    fn text(&self) -> String {
        self.rows().join("\n")
    }
}

const SIZE: Size = Size {
    rows: 24,
    columns: 80,
};

struct Stage {
    painter: Painter,
    screen: Screen,
}

impl Stage {
    fn new(size: Size) -> Self {
        let painter = Painter::new(size, &Personas::default());
        let mut screen = Screen::new(size);
        screen.feed(&painter.enter());
        Self { painter, screen }
    }

    fn show(&mut self, view: &View, lines: Vec<Line>) -> &mut Self {
        self.screen.feed(&self.painter.frame(view, lines));
        self
    }
}

fn idle(text: &str) -> View {
    View {
        bottom: Bottom::Box {
            text: text.into(),
            cursor: text.chars().count(),
            placeholder: Some("Try \"hello\""),
            working: None,
            limited: false,
            status: "demo · 2 messages · ? for help".into(),
        },
        queued: vec![],
        title: Some("✳ demo"),
    }
}

fn working(queued: &[&str]) -> View {
    let mut view = idle("");
    if let Bottom::Box { working, .. } = &mut view.bottom {
        *working = Some((Duration::from_millis(1_234), 10));
    }
    view.queued = queued.iter().map(|s| (*s).to_owned()).collect();
    view.title = Some("⠂ demo");
    view
}

fn dialog() -> View {
    View {
        bottom: Bottom::Dialog {
            highlighted: 0,
            about: None,
        },
        queued: vec![],
        title: Some("✳ demo"),
    }
}

fn talk() -> Vec<Line> {
    vec![
        Line::Note("resumed: 1 messages".into()),
        Line::User("two\nlines".into()),
        Line::Answer("echo: two (2 lines, 9 bytes)".into()),
    ]
}

fn snapshot(view: &View) -> String {
    Stage::new(SIZE).show(view, talk()).screen.text()
}

#[test]
fn screens() {
    insta::assert_snapshot!("idle", snapshot(&idle("")));
    insta::assert_snapshot!("draft", snapshot(&idle("half a thought")));
    let lines: Vec<String> = (1..=7).map(|n| format!("line {n}\t漢字")).collect();
    let long = lines.join("\n") + "\n" + &"word ".repeat(30);
    insta::assert_snapshot!("multi-line", snapshot(&idle(&long)));
    insta::assert_snapshot!("working", snapshot(&working(&["next", "and one more"])));
    insta::assert_snapshot!("dialog", snapshot(&dialog()));
}

#[test]
fn output_scrolls_into_the_history_in_order() {
    let mut stage = Stage::new(SIZE);
    let mut expected = Vec::new();
    for n in 0..60 {
        let view = match n % 4 {
            0 => idle(""),
            1 => working(&["a", "b"]),
            2 => idle("1\n2\n3\n4\n5"),
            _ => dialog(),
        };
        // Now and then more at once than the screen holds.
        let count = if n % 20 == 5 { 70 } else { 1 };
        let lines: Vec<String> = (0..count).map(|m| format!("answer {n}.{m}")).collect();
        expected.extend(lines.iter().map(|line| format!("● {line}")));
        stage.show(&view, lines.into_iter().map(Line::Answer).collect());
        // The live rows are as on an empty screen, and nothing is left of earlier ones.
        let top = SIZE.rows - stage.painter.live.len();
        let fresh = Stage::new(SIZE).show(&view, vec![]).screen.rows();
        let rows = stage.screen.rows();
        assert_eq!(rows[top..], fresh[top..]);
        let output = |row: &String| row.is_empty() || row.starts_with('●');
        assert!(rows[..top].iter().all(output), "{rows:#?}");
    }
    stage.show(&idle(""), vec![]);
    let all = stage
        .screen
        .history
        .iter()
        .cloned()
        .chain(stage.screen.rows());
    let seen: Vec<String> = all.filter(|row| row.starts_with('●')).collect();
    assert_eq!(seen, expected);
    assert!(!stage.screen.history.iter().any(|row| row.contains('─')));
}

#[test]
fn only_the_edges_of_the_box_look_like_rules() {
    let rule = regex::Regex::new("^─{10,}$").expect("a pattern");
    let text = format!("{0}\n{0}\n \n{0}", "─".repeat(200));
    let lines = || {
        vec![
            Line::User(text.clone()),
            Line::Answer(text.clone()),
            Line::Note(text.clone()),
        ]
    };
    let count = |view: &View| {
        let mut stage = Stage::new(SIZE);
        stage.show(view, lines());
        let rows = stage.screen.rows();
        rows.iter().filter(|row| rule.is_match(row)).count()
    };
    assert_eq!(count(&idle(&text)), 2);
    assert_eq!(count(&working(&[&text])), 2);
    assert_eq!(count(&dialog()), 0);
}

#[test]
fn a_high_draft_shows_its_tail_and_its_cursor() {
    let text: Vec<String> = (1..=30).map(|n| format!("line {n}")).collect();
    let mut view = idle(&text.join("\n"));
    let mut stage = Stage::new(SIZE);
    let rows = stage.show(&view, vec![]).screen.rows();
    assert_eq!(rows[9], "─".repeat(80));
    assert_eq!(rows[10], "  line 19");
    assert_eq!(rows[21], "  line 30▒");
    if let Bottom::Box { cursor, .. } = &mut view.bottom {
        *cursor = 0;
    }
    let rows = stage.show(&view, vec![]).screen.rows();
    assert_eq!(rows[10], "❯ line 1");
    assert_eq!(rows[21], "  line 12");
}

#[test]
fn the_placeholder_is_dim() {
    let frame = Stage::new(SIZE).painter.frame(&idle(""), vec![]);
    let frame = String::from_utf8(frame).expect("UTF-8");
    assert!(frame.contains("❯ \x1b[2;7mT\x1b[0;2mry \"hello\"\x1b[0m"));
}

#[test]
fn a_frame_without_news_is_empty() {
    let mut stage = Stage::new(SIZE);
    stage.show(&idle("x"), talk());
    assert_eq!(stage.painter.frame(&idle("x"), vec![]), b"");
}

#[test]
fn a_resize_draws_everything_anew() {
    let mut stage = Stage::new(SIZE);
    stage.show(&idle(""), talk());
    for (rows, columns) in [(10, 30), (40, 120), (24, 80)] {
        let size = Size { rows, columns };
        stage.painter.resize(size);
        stage.screen = Screen::new(size);
        let shown = stage.show(&idle(""), vec![]).screen.rows();
        assert_eq!(shown[2], "  lines");
        assert_eq!(shown[rows - 2], "─".repeat(columns));
    }
    assert_eq!(stage.screen.text(), snapshot(&idle("")));
}

#[test]
fn long_messages_are_shown_in_short() {
    let mut stage = Stage::new(SIZE);
    stage.show(&idle(""), vec![Line::User("x\n".repeat(100_000))]);
    let rows = stage.screen.rows();
    assert_eq!(rows[19], "  … (100001 lines, 200000 bytes)");
    assert!(stage.screen.history.len() < 50);
}

#[test]
fn leaving_keeps_the_output_and_restores_the_terminal() {
    let mut stage = Stage::new(SIZE);
    stage.show(&idle("draft"), talk());
    assert_eq!(stage.screen.modes, ["?2004", "?7"]);
    assert_eq!(stage.screen.title, "✳ demo");
    stage.screen.feed(&stage.painter.leave(true));
    assert_eq!(stage.screen.title, "");
    assert_eq!(stage.screen.modes, ["?7", "?25", "?7"]);
    assert_eq!(stage.screen.row, 4);
    assert_eq!(stage.screen.rows()[4..].concat(), "");
}

#[test]
fn persona_alt_screen_is_left_only_by_quitting() {
    let personas = Personas::parse("alt-screen").expect("persona");
    for killed in [true, false] {
        let mut painter = Painter::new(SIZE, &personas);
        let mut screen = Screen::new(SIZE);
        screen.feed(&painter.enter());
        screen.feed(&painter.frame(&idle(""), vec![]));
        screen.feed(&painter.leave(killed));
        let on = |mode: &str| screen.modes.iter().any(|m| m == mode);
        assert_eq!((on("?1049"), on("?1000")), (killed, killed));
    }
}

proptest::proptest! {
    /// On fewer than five columns rows are cut.
    #[test]
    fn no_text_and_no_size_break_the_screen(
        rows in 1usize..30, columns in 5usize..90, text: String, cursor in 0usize..40,
    ) {
        let size = Size { rows, columns };
        let mut view = working(&[&text, &text]);
        if let Bottom::Box { text: draft, cursor: at, .. } = &mut view.bottom {
            *at = cursor.min(text.chars().count());
            draft.clone_from(&text);
        }
        let mut stage = Stage::new(size);
        stage.show(&idle(&text), vec![Line::User(text.clone())]);
        stage.show(&view, vec![Line::Note(text.clone())]);
        stage.show(&dialog(), vec![Line::Answer(text.clone())]);
    }
}
