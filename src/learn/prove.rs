//! Tests a definition against the screens it was made from: each must be read as what it is, and as
//! nothing else. Pure.

use serde::Serialize;

use super::{DRAFT, Shot};
use crate::state::screen::{Rules, Seen, read};

/// How a screen is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// Its name.
    pub screen: String,
    /// What it is.
    pub want: &'static str,
    /// What it is read as.
    pub got: &'static str,
}

impl Proof {
    /// It is read as what it is.
    pub fn holds(&self) -> bool {
        self.want == self.got
    }
}

/// Reads them all.
pub(super) fn prove(captures: &[(String, Shot)], rules: &Rules) -> Vec<Proof> {
    captures
        .iter()
        .filter_map(|(name, shot)| {
            let want = match name.as_str() {
                "idle" | "idle-after" | "idle-last" => "idle",
                "draft" | "draft-lines" => "draft",
                "draft-long" => "a text",
                "working" => "working",
                "dialog" => "a dialog",
                _ => return None,
            };
            let got = what(&read(&shot.text, shot.width, rules));
            Some(Proof {
                screen: name.clone(),
                want,
                got,
            })
        })
        .collect()
}

fn what(seen: &Seen) -> &'static str {
    match (&seen.input, &seen.dialog) {
        (Some(_), _) if seen.working => "working",
        (Some(input), _) if input.empty => "idle",
        (Some(input), _) if input.text.contains(DRAFT) => "draft",
        (Some(_), _) => "a text",
        (None, Some(_)) => "a dialog",
        (None, None) => "nothing",
    }
}
