//! Makes a rule of a dialog that was seen. Pure.

use regex::{Regex, escape};

use super::Shot;
use crate::runtime::{Choose, Menu};

/// Labels by which agent CLIs call what allows something once, and what refuses it.
const APPROVE: &str = r"^(?i:yes|allow(?: once)?|approve|accept|proceed|yes, proceed)(?: \(\w\))?$";
const DENY: &str = r"^(?i:no|deny|reject|refuse|cancel)\b";

/// The options: numbered rows, one of them behind a mark; else rows that stand together, one of them
/// behind a mark.
pub(super) fn menu(shot: &Shot) -> Option<Menu> {
    let rows = shot.rows();
    let numbered = Regex::new(r"^(?<pad> *)(?<mark>[^\w\s])(?<gap>\s*)1[.)] \S").ok()?;
    let found = rows.iter().rev().find_map(|r| numbered.captures(r))?;
    let mark = escape(&found["mark"]);
    Some(Menu {
        option: format!(r"^ *(?<selected>{mark})?\s*(?<number>\d+)[.)] (?<label>\S.*)$"),
        // The arrows work in every list with a mark; whether a number takes its option at once was not
        // tried.
        choose: Choose::Arrows,
        approve: vec![APPROVE.to_owned()],
        deny: vec![DENY.to_owned()],
        cancel: None,
        begins: None,
        gap: 2,
        below_most: 8,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shot(text: &str) -> Shot {
        Shot {
            text: text.to_owned(),
            width: 80,
            title: String::new(),
        }
    }

    #[test]
    fn a_numbered_list_with_a_mark_is_a_menu() {
        for (text, mark) in [
            ("Proceed?\n❯ 1. Yes\n  2. No", "❯"),
            (
                "May I?\n › 1. Yes, proceed (y)\n   2. No (esc)\n\n Press enter",
                "›",
            ),
            ("Allow?\n ● 1. Allow once\n   2. Deny", "●"),
        ] {
            let menu = menu(&shot(text));
            let option = menu.map(|m| m.option).unwrap_or_default();
            assert!(option.contains(mark), "{text}: {option}");
        }
        assert_eq!(menu(&shot("1. one\n2. two")), None);
    }
}
