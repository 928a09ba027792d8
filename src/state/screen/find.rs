//! Finds the input box among the rows of a screen: by its rules, by its prompt mark, or by its bar.

use std::ops::Range;

use crate::runtime::{BoxShape, InputBox};

use super::{Part, Row, Rules};

/// How many rows above the upper rule of a box `above` is looked for: one row of marks may part them.
const ABOVE_RULE: usize = 3;

/// Whole rows.
const ALL: Range<usize> = 0..usize::MAX;

/// Where the box is. Rows are counted from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The row above it, where that is a part of it: its upper rule, or the row that `above` names.
    pub top: Option<usize>,
    /// Its first row with text.
    pub first: usize,
    /// The row behind its last one with text.
    pub end: usize,
    /// The row below it that closes it.
    pub bottom: Option<usize>,
    /// How much of it is shown.
    pub part: Part,
    /// It takes shell commands.
    pub shell: bool,
    /// What its first row starts with before the text.
    pub mark: String,
    /// The columns that it spans; what stands beside them is not part of it.
    pub columns: Range<usize>,
}

/// Finds the box of a screen in a pane that is `width` columns wide.
pub fn find(rows: &[Row], texts: &[String], width: usize, rules: &Rules) -> Option<Found> {
    match rules.data.input.shape {
        BoxShape::Ruled => ruled(rows, texts, width, rules),
        BoxShape::Prompt => prompt(rows, texts, rules),
        BoxShape::Bar => bar(rows, texts, rules),
    }
}

fn ruled(rows: &[Row], texts: &[String], width: usize, rules: &Rules) -> Option<Found> {
    let data = &rules.data.input;
    let full = |row: usize| texts[row].chars().count() == width;
    let tall =
        |row: usize| full(row) && rules.tall.as_ref().is_some_and(|r| r.is_match(&texts[row]));
    let bottom = (0..rows.len())
        .rev()
        .find(|row| full(*row) && rules.bottom.is_match(&texts[*row]))?;
    let Some(top) = (0..bottom)
        .rev()
        .find(|row| (full(*row) && rules.top.is_match(&texts[*row])) || tall(*row))
    else {
        return overflowing(rows, texts, bottom, rules);
    };
    if bottom == top + 1 || !fits_below(data, rows.len() - 1 - bottom) {
        return None;
    }
    if let Some(above) = &rules.above
        && !(top.saturating_sub(ABOVE_RULE)..top)
            .any(|row| full(row) && above.is_match(&texts[row]))
    {
        return None;
    }
    let first = &rows[top + 1];
    let marked = mark(data, first);
    let shell = marked.is_some() && marked == data.shell.as_deref();
    let found = |part| {
        Some(Found {
            top: Some(top),
            first: top + 1,
            end: bottom,
            bottom: Some(bottom),
            part,
            shell,
            mark: marked.unwrap_or(&data.indent).to_owned(),
            columns: ALL,
        })
    };
    if tall(top) {
        found(Part::Tail)
    } else if marked.is_some() {
        // A box that scrolls without a mark of its own may show its end only.
        let full = data
            .most_rows
            .is_some_and(|most| bottom - top > usize::from(most));
        found(if full { Part::Tail } else { Part::Whole })
    } else if data.tail_only && rows[top + 1..bottom].iter().all(|r| continues(data, r)) {
        found(Part::Tail)
    } else {
        None
    }
}

/// A box whose upper rule has left the screen: nothing else is on it down to the lower rule.
fn overflowing(rows: &[Row], texts: &[String], bottom: usize, rules: &Rules) -> Option<Found> {
    let data = &rules.data.input;
    let dialog = rules.menus.iter().any(|m| m.find(texts).is_some())
        || texts
            .iter()
            .any(|t| rules.dialog.iter().any(|r| r.is_match(t)));
    if !data.overflows || dialog || !fits_below(data, rows.len() - 1 - bottom) {
        return None;
    }
    let (first, others) = rows[..bottom].split_first()?;
    let marked = mark(data, first);
    // Blank rows alone are a screen that is being drawn.
    let blank = texts[..bottom].iter().all(|t| t.trim().is_empty());
    let whole = marked.is_some() || continues(data, first);
    (whole && !blank && others.iter().all(|r| continues(data, r))).then(|| Found {
        top: None,
        first: 0,
        end: bottom,
        bottom: Some(bottom),
        part: match marked {
            Some(_) => Part::Whole,
            None => Part::Tail,
        },
        shell: marked.is_some() && marked == data.shell.as_deref(),
        mark: marked.unwrap_or(&data.indent).to_owned(),
        columns: ALL,
    })
}

fn prompt(rows: &[Row], texts: &[String], rules: &Rules) -> Option<Found> {
    let data = &rules.data.input;
    // A prompt mark may be that of a marked option, and a draft without a mark may be anything.
    if rules.menus.iter().any(|m| m.find(texts).is_some()) {
        return None;
    }
    let close = (0..rows.len())
        .rev()
        .find(|row| !data.bottom.is_empty() && rules.bottom.is_match(&texts[*row]));
    if close.is_none() && !data.bottom.is_empty() && !data.tail_only {
        return None;
    }
    let mut end = close.unwrap_or(rows.len());
    if let Some(close) = close {
        if !fits_below(data, rows.len() - 1 - close) {
            return None;
        }
        // Blank rows part the text from what closes it.
        while end > 0 && texts[end - 1].trim().is_empty() {
            end -= 1;
        }
    }
    let above = |row: usize| match &rules.above {
        None => true,
        Some(r) => row > 0 && r.is_match(&texts[row - 1]),
    };
    let is_first = |row: usize| {
        mark(data, &rows[row]).is_some()
            && above(row)
            && !rules.dialog.iter().any(|r| r.is_match(&texts[row]))
    };
    let first = (0..end).rev().find(|row| is_first(*row));
    match first {
        Some(first) if rows[first + 1..end].iter().all(|r| continues(data, r)) => Some(Found {
            top: rules.above.as_ref().map(|_| first - 1),
            first,
            end,
            bottom: close,
            part: Part::Whole,
            shell: mark(data, &rows[first]) == data.shell.as_deref(),
            mark: mark(data, &rows[first]).unwrap_or_default().to_owned(),
            columns: ALL,
        }),
        // Its beginning has left the screen. What is above the draft has gone with it, so a dialog
        // is the only other thing that could stand here.
        None if data.tail_only
            && end > 0
            && rows[..end].iter().all(|r| continues(data, r))
            && !texts
                .iter()
                .any(|t| rules.dialog.iter().any(|r| r.is_match(t))) =>
        {
            Some(Found {
                top: None,
                first: 0,
                end,
                bottom: close,
                part: Part::Tail,
                shell: false,
                mark: data.indent.clone(),
                columns: ALL,
            })
        }
        _ => None,
    }
}

fn bar(rows: &[Row], texts: &[String], rules: &Rules) -> Option<Found> {
    let data = &rules.data.input;
    let bottom = (0..rows.len())
        .rev()
        .find(|row| rules.bottom.is_match(&texts[*row]))?;
    // A dialog has a bar too, and old output above it may hold anything.
    let another = texts[bottom + 1..]
        .iter()
        .any(|text| text.trim_start().starts_with(&data.glyph));
    if another || !fits_below(data, rows.len() - 1 - bottom) {
        return None;
    }
    // The bar goes over into the row that closes it, wherever on the screen that is.
    let close = &texts[bottom];
    let left = close.chars().take_while(|c| *c == ' ').count();
    let width = close.chars().skip(left).take_while(|c| *c != ' ').count();
    let columns = left..left + width;
    let barred = |row: &Row| {
        row.cells.iter().take(left).all(|cell| cell.c == ' ')
            && row.cut(&columns).starts_with(&data.glyph)
    };
    let start = (0..bottom)
        .rev()
        .take_while(|row| barred(&rows[*row]))
        .last()?;
    let first = start + usize::from(data.skip_first);
    let end = bottom.checked_sub(usize::from(data.skip_last))?;
    if first >= end {
        return None;
    }
    let full = data
        .most_rows
        .is_some_and(|most| end - first >= usize::from(most));
    Some(Found {
        top: Some(start),
        first,
        end,
        bottom: Some(bottom),
        part: if full { Part::Tail } else { Part::Whole },
        shell: data
            .shell
            .as_ref()
            .is_some_and(|shell| rows[first].cut(&columns).starts_with(shell)),
        mark: data.indent.clone(),
        columns,
    })
}

fn fits_below(data: &InputBox, below: usize) -> bool {
    (usize::from(data.below_least)..=usize::from(data.below_most)).contains(&below)
}

/// The mark that the first row of a box starts with.
fn mark<'a>(data: &'a InputBox, first: &Row) -> Option<&'a str> {
    let shell = data.shell.iter();
    shell
        .chain([&data.glyph])
        .chain(&data.other_glyphs)
        .map(String::as_str)
        .find(|mark| first.starts_with(mark))
}

/// Whether a row can be a further row of a box.
fn continues(data: &InputBox, row: &Row) -> bool {
    row.starts_with(&data.indent) || row.text().trim().is_empty()
}
