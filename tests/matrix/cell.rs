//! One cell of the matrix: a kind of message in a situation, and what became of it.

use super::{Kind, Situation, Verdict};

/// A cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    pub kind: Kind,
    pub situation: Situation,
    /// Of the worst of its messages.
    pub verdict: Verdict,
    /// The way it went, as the receipt names it.
    pub channel: String,
    /// Messages sent.
    pub messages: usize,
    /// Receipt, arrivals and screen, for whoever has to find out why.
    pub evidence: String,
}

impl Cell {
    /// For people: what happened, and for lies all that is known.
    pub fn line(&self) -> String {
        let (situation, kind) = (self.situation.name(), self.kind.name());
        let (word, note) = (self.verdict.word(), self.verdict.note());
        let line = format!(
            "{situation:<14} {kind:<15} {word:<9} {} {note}",
            self.channel
        );
        match self.verdict {
            Verdict::Lie(_) => format!("{line}\n{}", self.evidence),
            _ => line,
        }
    }
}

/// Fails with everything known when there is a lie among the cells.
#[track_caller]
pub fn no_lies(cells: &[Cell]) {
    let lies: Vec<String> = cells
        .iter()
        .filter(|c| matches!(c.verdict, Verdict::Lie(_)))
        .map(Cell::line)
        .collect();
    assert!(
        lies.is_empty(),
        "{} lies\n{}",
        lies.len(),
        lies.join("\n\n")
    );
}
