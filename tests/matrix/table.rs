//! The matrix on paper: what a run found as one JSON document, and the tables of `docs/delivery.md`,
//! which are made from that document and from nothing else.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::{Cell, Kind, Situation};

/// Begins the part of the document that is made.
pub const BEGIN: &str = "<!-- begin: made by scripts/delivery-matrix -->\n";
/// Ends it.
pub const END: &str = "<!-- end: made by scripts/delivery-matrix -->\n";

/// Everything that was found, by runtime.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sheet {
    /// Of this format: 1.
    pub version: u32,
    pub runtimes: BTreeMap<String, Run>,
}

/// What was found about one runtime.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Of the agent CLI.
    pub version: String,
    /// When, as `2026-01-31`.
    pub date: String,
    /// As tmux names itself.
    pub tmux: String,
    /// How long the run took.
    pub seconds: u64,
    pub cells: Vec<Found>,
}

/// A cell, by the names of the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    pub situation: String,
    pub kind: String,
    pub verdict: String,
    pub sign: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub channel: String,
    pub messages: usize,
}

impl From<&Cell> for Found {
    fn from(cell: &Cell) -> Self {
        Self {
            situation: cell.situation.name().to_owned(),
            kind: cell.kind.name().to_owned(),
            verdict: cell.verdict.word().to_owned(),
            sign: cell.verdict.sign().to_owned(),
            note: cell.verdict.note(),
            channel: cell.channel.clone(),
            messages: cell.messages,
        }
    }
}

impl Run {
    fn count(&self, verdict: &str) -> usize {
        self.cells.iter().filter(|c| c.verdict == verdict).count()
    }

    fn channels(&self) -> String {
        let mut channels: Vec<&str> = self.cells.iter().map(|c| c.channel.as_str()).collect();
        channels.retain(|c| !c.is_empty());
        channels.sort_unstable();
        channels.dedup();
        channels.join(", ")
    }

    fn sign(&self, situation: Situation, kind: Kind) -> &str {
        let mut cells = self.cells.iter();
        let cell = cells.find(|c| c.situation == situation.name() && c.kind == kind.name());
        cell.map_or("·", |c| &c.sign)
    }
}

impl Sheet {
    /// Reads a document; an empty one where there is none.
    pub fn load(path: &std::path::Path) -> Self {
        match std::fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text).expect("a sheet of this version"),
            Err(_) => Self {
                version: 1,
                ..Self::default()
            },
        }
    }

    /// Writes it.
    pub fn save(&self, path: &std::path::Path) {
        let text = serde_json::to_string_pretty(self).expect("a sheet") + "\n";
        std::fs::write(path, text).expect("the sheet is written");
    }

    /// The part of the document between its marks.
    pub fn render(&self) -> String {
        let mut out = String::from(
            "\n| runtime | version | ways in | date | tmux | cells | messages | lies |\n|---|---|---|---|---|---|---|---|\n",
        );
        for (name, run) in &self.runtimes {
            let messages: usize = run.cells.iter().map(|c| c.messages).sum();
            let _ = writeln!(
                out,
                "| {name} | {} | {} | {} | {} | {} | {messages} | {} |",
                run.version,
                run.channels(),
                run.date,
                run.tmux,
                run.cells.len(),
                run.count("lie")
            );
        }
        for (name, run) in &self.runtimes {
            let _ = write!(out, "\n### {name} {}\n\n| |", run.version);
            for situation in Situation::ALL {
                let _ = write!(out, " {} |", situation.name());
            }
            out.push_str("\n|---|");
            out.push_str(&":-:|".repeat(Situation::ALL.len()));
            out.push('\n');
            for kind in Kind::ALL {
                let _ = write!(out, "| {} |", kind.name());
                for situation in Situation::ALL {
                    let _ = write!(out, " {} |", run.sign(situation, kind));
                }
                out.push('\n');
            }
            let mut notes: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
            for cell in run.cells.iter().filter(|c| !c.note.is_empty()) {
                let place = format!("{} × {}", cell.kind, cell.situation);
                let note = (cell.sign.as_str(), cell.note.as_str());
                notes.entry(note).or_default().push(place);
            }
            if !notes.is_empty() {
                out.push('\n');
            }
            for ((sign, note), places) in notes {
                let _ = writeln!(out, "- {sign} {note}: {}", places.join(", "));
            }
        }
        out.push('\n');
        out
    }
}

/// The made part of a document; `None` when its marks are not there once each, in order.
pub fn made(document: &str) -> Option<&str> {
    let (_, rest) = document.split_once(BEGIN)?;
    let (made, rest) = rest.split_once(END)?;
    (!rest.contains(BEGIN) && !rest.contains(END)).then_some(made)
}

/// A document with another made part.
pub fn replaced(document: &str, part: &str) -> Option<String> {
    let old = made(document)?;
    let at = document.find(BEGIN)? + BEGIN.len();
    Some(format!(
        "{}{part}{}",
        &document[..at],
        &document[at + old.len()..]
    ))
}

#[test]
fn a_sheet_is_rendered_between_its_marks() {
    let found = |situation: Situation, kind: Kind, verdict: &str, sign: &str, note: &str| Found {
        situation: situation.name().to_owned(),
        kind: kind.name().to_owned(),
        verdict: verdict.to_owned(),
        sign: sign.to_owned(),
        note: note.to_owned(),
        channel: "paste".to_owned(),
        messages: 1,
    };
    let run = Run {
        version: "1.2.3".to_owned(),
        date: "2026-01-31".to_owned(),
        tmux: "tmux 3.3a".to_owned(),
        seconds: 9,
        cells: vec![
            found(Situation::Idle, Kind::Plain, "exact", "✓", ""),
            found(Situation::Idle, Kind::Tabs, "altered", "≈", "tabs"),
            found(Situation::Draft, Kind::Plain, "lie", "LIE", "merged"),
        ],
    };
    let sheet = Sheet {
        version: 1,
        runtimes: BTreeMap::from([("claude".to_owned(), run)]),
    };
    let text = sheet.render();
    assert!(
        text.contains("| claude | 1.2.3 | paste | 2026-01-31 | tmux 3.3a | 3 | 3 | 1 |"),
        "{text}"
    );
    assert!(text.contains("| one line | ✓ | · | LIE | · |"), "{text}");
    assert!(text.contains("- ≈ tabs: tabs × idle"), "{text}");
    let document = format!("before\n{BEGIN}old\n{END}after\n");
    let new = replaced(&document, &text).unwrap();
    assert_eq!(made(&new), Some(text.as_str()));
    assert!(new.starts_with("before\n") && new.ends_with("after\n"));
    assert_eq!(made(&format!("{END}{BEGIN}")), None);
    let json = serde_json::to_string(&sheet).unwrap();
    assert_eq!(serde_json::from_str::<Sheet>(&json).unwrap(), sheet);
}
