//! The only printer. Data goes to standard output; progress, warnings and hints to standard error.
//! Colour never carries meaning alone. A reader that has gone away is no error.

use std::borrow::Cow;
use std::cell::Cell;
use std::io::{IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::error::Error;

/// When to colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set or TERM is dumb.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How a cell is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    #[default]
    Plain,
    /// All is well.
    Good,
    /// Needs a look.
    Attention,
    /// Wrong.
    Bad,
    /// Unimportant.
    Faint,
    /// A heading or a name.
    Strong,
}

impl Tone {
    /// The style.
    pub fn style(self) -> Style {
        match self {
            Tone::Plain => Style::new(),
            Tone::Good => AnsiColor::Green.on_default(),
            Tone::Attention => AnsiColor::Yellow.on_default(),
            Tone::Bad => AnsiColor::Red.on_default().bold(),
            Tone::Faint => Style::new().dimmed(),
            Tone::Strong => Style::new().bold(),
        }
    }
}

/// A cell of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableCell {
    text: String,
    tone: Tone,
}

/// Makes a cell; its text stays in one line.
pub fn cell(text: impl Into<String>) -> TableCell {
    toned(text, Tone::Plain)
}

/// Makes a cell with a tone; its text stays in one line.
pub fn toned(text: impl Into<String>, tone: Tone) -> TableCell {
    let text = text.into();
    TableCell {
        text: match one_line(&text) {
            Cow::Borrowed(_) => text,
            Cow::Owned(clean) => clean,
        },
        tone,
    }
}

/// What is shown in place of a control character.
const CONTROL: char = '\u{fffd}';

/// What is shown in place of a line break where there is one line only.
const BREAK: char = '⏎';

/// A text of somebody else's as it may be shown on a terminal: line breaks and TABs stay, every other
/// control character (ESC, CR, DEL, the eight-bit ones) is replaced, so that it can neither move the
/// cursor nor set titles, clipboard or colours.
pub fn plain(text: &str) -> Cow<'_, str> {
    replaced(text, |c| match c {
        '\n' | '\t' => c,
        _ => CONTROL,
    })
}

/// Like [`plain`], in one line: line breaks are shown by a mark, TABs become blanks.
pub fn one_line(text: &str) -> Cow<'_, str> {
    replaced(text, |c| match c {
        '\n' => BREAK,
        '\t' => ' ',
        _ => CONTROL,
    })
}

fn replaced(text: &str, by: impl Fn(char) -> char) -> Cow<'_, str> {
    if text.chars().any(|c| c.is_control() && by(c) != c) {
        let clean = text.chars().map(|c| if c.is_control() { by(c) } else { c });
        Cow::Owned(clean.collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// Like [`plain`], except that sequences which set colour and style (`ESC [ … m`) stay.
fn styled(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\x1b[") {
        let body = &rest[at + 2..];
        let end = body
            .find(|c: char| !(c.is_ascii_digit() || c == ';' || c == ':'))
            .filter(|end| body[*end..].starts_with('m'));
        let upto = at + 2 + end.map_or(0, |end| end + 1);
        out.push_str(&plain(&rest[..at]));
        match end {
            Some(_) => out.push_str(&rest[at..upto]),
            None => out.push_str(&plain(&rest[at..upto])),
        }
        rest = &rest[upto..];
    }
    out.push_str(&plain(rest));
    out
}

/// The printer.
#[derive(Debug, Default)]
pub struct Ui {
    quiet: bool,
    verbose: bool,
    closed: Cell<bool>,
}

impl Ui {
    /// Sets colour up for the whole process. `quiet` drops progress and hints.
    pub fn new(color: Color, quiet: bool) -> Self {
        match color {
            Color::Auto => {}
            Color::Always => anstream::ColorChoice::Always.write_global(),
            Color::Never => anstream::ColorChoice::Never.write_global(),
        }
        Self {
            quiet,
            verbose: false,
            closed: Cell::new(false),
        }
    }

    /// Prints a line of data. Colours and styles stay, so a text of somebody else's goes through
    /// [`plain`] or [`one_line`] first; other control characters are replaced here.
    pub fn line(&self, text: impl AsRef<str>) {
        self.write(&format!("{}\n", styled(text.as_ref())));
    }

    /// Prints data as it is: the program's own, or what is asked for byte for byte.
    pub fn write(&self, text: &str) {
        if self.closed.get() {
            return;
        }
        let mut out = anstream::stdout().lock();
        if out
            .write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .is_err()
        {
            self.closed.set(true);
        }
    }

    /// Nobody reads any more.
    pub fn closed(&self) -> bool {
        self.closed.get()
    }

    /// Prints one JSON document.
    pub fn json(&self, value: &impl Serialize) {
        self.write(&crate::host::files::to_json(value));
    }

    /// Prints one line of a JSON stream.
    pub fn json_line(&self, value: &impl Serialize) {
        let line = serde_json::to_string(value).unwrap_or_default();
        self.write(&format!("{line}\n"));
    }

    /// Prints aligned columns below headings, without borders.
    pub fn table(&self, headings: &[&str], rows: &[Vec<TableCell>]) {
        self.write(&render_table(headings, rows));
    }

    /// Says what is being done or was done.
    pub fn status(&self, text: impl AsRef<str>) {
        if !self.quiet {
            self.note("", Tone::Plain, text.as_ref());
        }
    }

    /// Warns.
    pub fn warn(&self, text: impl AsRef<str>) {
        self.note("warning: ", Tone::Attention, text.as_ref());
    }

    /// Passes on what another program said on its standard error.
    pub fn pass_on(&self, text: &str) {
        let mut err = anstream::stderr().lock();
        let _ = writeln!(err, "{}", styled(text));
    }

    /// Says more from now on.
    #[must_use]
    pub fn saying_more(self, verbose: bool) -> Self {
        Self { verbose, ..self }
    }

    /// Whether to say more.
    pub fn verbose(&self) -> bool {
        self.verbose
    }

    /// Whether standard output gets colour.
    pub fn colored(&self) -> bool {
        anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never
    }

    /// Says what to type.
    pub fn hint(&self, text: impl AsRef<str>) {
        if !self.quiet {
            self.note("hint: ", Tone::Good, text.as_ref());
        }
    }

    /// Prints an error and those that were found with it.
    pub fn error(&self, error: &Error) {
        let mut err = anstream::stderr().lock();
        let _ = err.write_all(render_error(error).as_bytes());
    }

    fn note(&self, label: &str, tone: Tone, text: &str) {
        let style = tone.style();
        let mut err = anstream::stderr().lock();
        let _ = writeln!(err, "{style}{label}{style:#}{}", plain(text));
    }

    /// A person sits at both ends: questions may be asked.
    pub fn interactive(&self) -> bool {
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Asks a question that is answered with yes or no; anything but yes is no.
    pub fn confirm(&self, question: &str) -> bool {
        let mut err = anstream::stderr().lock();
        let _ = write!(err, "{} [y/N] ", plain(question));
        let _ = err.flush();
        let mut answer = String::new();
        let _ = std::io::stdin().read_line(&mut answer);
        matches!(answer.trim(), "y" | "Y" | "yes")
    }
}

/// Columns two blanks apart; the last one is not padded.
fn render_table(headings: &[&str], rows: &[Vec<TableCell>]) -> String {
    let width = |text: &str| text.chars().count();
    let mut widths: Vec<usize> = headings.iter().map(|h| width(h)).collect();
    for row in rows {
        for (i, c) in row.iter().enumerate() {
            if let Some(w) = widths.get_mut(i) {
                *w = (*w).max(width(&c.text));
            }
        }
    }
    let mut out = String::new();
    let head: Vec<TableCell> = headings.iter().map(|h| toned(*h, Tone::Faint)).collect();
    for row in std::iter::once(&head).chain(rows) {
        for (i, c) in row.iter().enumerate() {
            let style = c.tone.style();
            out.push_str(&format!("{style}{}{style:#}", c.text));
            if i + 1 < row.len() {
                let pad = widths
                    .get(i)
                    .copied()
                    .unwrap_or(0)
                    .saturating_sub(width(&c.text))
                    + 2;
                out.push_str(&" ".repeat(pad));
            }
        }
        out.push('\n');
    }
    out
}

fn render_error(error: &Error) -> String {
    let red = Tone::Bad.style();
    let green = Tone::Good.style();
    let mut out = format!("{red}error{red:#}: {}\n", plain(&error.message));
    for place in &error.location {
        for (i, line) in plain(place).lines().enumerate() {
            let lead = if i == 0 && !line.trim_start().starts_with("-->") {
                "  --> "
            } else {
                ""
            };
            out.push_str(&format!("{lead}{line}\n"));
        }
    }
    for cause in &error.causes {
        out.push_str(&format!("caused by: {}\n", plain(cause)));
    }
    for hint in &error.hints {
        out.push_str(&format!("{green}hint{green:#}: {}\n", plain(hint)));
    }
    for other in &error.others {
        out.push('\n');
        out.push_str(&render_error(other));
    }
    out
}

/// A time span in two units at most: `3d 4h`, `12m 5s`, `8s`.
pub fn span(seconds: i64) -> String {
    let s = seconds.max(0);
    let (d, h, m) = (s / 86_400, s / 3600 % 24, s / 60 % 60);
    if d > 0 {
        format!("{d}d {h}h")
    } else if h > 0 {
        format!("{h}h {m}m")
    } else if m > 0 {
        format!("{m}m {}s", s % 60)
    } else {
        format!("{s}s")
    }
}

/// Bytes in a unit that leaves at most four digits.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "K", "M", "G", "T"];
    let mut value = n;
    let mut rest = 0;
    let mut unit = 0;
    while value >= 1024 && unit + 1 < UNITS.len() {
        rest = value % 1024;
        value /= 1024;
        unit += 1;
    }
    if value < 10 && unit > 0 {
        format!("{value}.{}{}", rest * 10 / 1024, UNITS[unit])
    } else {
        format!("{value}{}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes() {
        assert_eq!(
            [span(-3), span(8), span(725), span(7260), span(273_600)],
            ["0s", "8s", "12m 5s", "2h 1m", "3d 4h"]
        );
        assert_eq!(
            [
                bytes(0),
                bytes(1023),
                bytes(1536),
                bytes(15 << 20),
                bytes(3 << 30)
            ],
            ["0B", "1023B", "1.5K", "15M", "3.0G"]
        );
    }

    #[test]
    fn tables_align_and_do_not_trail() {
        let text = render_table(
            &["A", "B"],
            &[vec![cell("long"), cell("x")], vec![cell("é"), cell("y")]],
        );
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(plain, "A     B\nlong  x\né     y\n");
    }

    #[test]
    fn foreign_control_characters_do_not_reach_the_terminal() {
        let evil = "a\x1b]52;c;eA==\x07b\r\n\tc\x7f\u{9b}2Jé";
        assert_eq!(plain(evil), "a�]52;c;eA==�b�\n\tc��2Jé");
        assert_eq!(one_line(evil), "a�]52;c;eA==�b�⏎ c��2Jé");
        assert!(matches!(plain("two\n\tlines"), Cow::Borrowed(_)));
        let text = render_table(&["A"], &[vec![cell("x\ny\x1b[2J")]]);
        assert!(text.contains("x⏎y�[2J"), "{text:?}");
        let e = Error::no("m\x1b[2J\nn")
            .at("p\x1b[1m")
            .because("c\x08")
            .hint("h\x1bc");
        let text = anstream::adapter::strip_str(&render_error(&e)).to_string();
        assert_eq!(
            text,
            "error: m�[2J\nn\n  --> p�[1m\ncaused by: c�\nhint: h�c\n"
        );
    }

    #[test]
    fn a_line_keeps_styles_and_nothing_else() {
        let style = Tone::Bad.style();
        let ours = format!("{style}x{style:#}\n\ty\x1b[38;5;1mz");
        assert_eq!(styled(&ours), ours);
        assert_eq!(
            styled("\x1b[2J\x1b]0;t\x07\x1b[1\x1b[1m\x1b["),
            "�[2J�]0;t��[1\x1b[1m�["
        );
    }

    #[test]
    fn an_error_has_place_cause_and_hint() {
        let e = Error::config("unknown runtime `claud`")
            .at("roster.yaml:3:4\n 3 | x")
            .because("b")
            .hint("c");
        let plain = anstream::adapter::strip_str(&render_error(&e)).to_string();
        assert_eq!(
            plain,
            "error: unknown runtime `claud`\n  --> roster.yaml:3:4\n 3 | x\ncaused by: b\nhint: c\n"
        );
    }
}
