//! One word for a shell on another host. Which shell that is, is not known: ssh hands the command to
//! the login shell of the account there.

use crate::error::{Error, Result};

/// Quotes a word so that sh, bash, dash, zsh, fish and csh take it as it is. Backslashes and
/// exclamation marks stand outside of quotes, since fish and csh give them a meaning inside.
///
/// # Errors
/// Control characters: csh cannot be given a line feed, and nothing that is passed on needs one.
pub fn quote(word: &str) -> Result<String> {
    if let Some(c) = word.chars().find(|c| c.is_control()) {
        return Err(Error::usage(format!(
            "a control character {c:?} cannot be passed to another host in an argument"
        )));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+:,./-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return Ok(word.to_owned());
    }
    let mut out = String::from("'");
    for c in word.chars() {
        match c {
            '\'' | '\\' | '!' => {
                out.push_str("'\\");
                out.push(c);
                out.push('\'');
            }
            c => out.push(c),
        }
    }
    out.push('\'');
    Ok(out)
}

/// A whole command line.
///
/// # Errors
/// As [`quote`].
pub fn line<S: AsRef<str>>(words: impl IntoIterator<Item = S>) -> Result<String> {
    let words: Result<Vec<String>> = words.into_iter().map(|w| quote(w.as_ref())).collect();
    Ok(words?.join(" "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::host::process;
    use proptest::prelude::*;
    use std::time::Duration;

    /// The words as each shell that is installed here gives them to a program.
    fn through_shells(words: &[String]) {
        let quoted = line(words).unwrap();
        let mut tried = 0;
        for shell in ["sh", "bash", "dash", "zsh", "ksh", "fish", "csh", "tcsh"] {
            let Ok(program) = which::which(shell) else {
                continue;
            };
            tried += 1;
            let mut command = process::command(program);
            command.arg("-c").arg(format!("printf '[%s]' {quoted}"));
            let out = process::run(command, None, Duration::from_secs(20)).unwrap();
            let want: String = words.iter().map(|w| format!("[{w}]")).collect();
            assert_eq!(out.stdout, want, "{shell}: {quoted}");
        }
        assert!(tried > 0);
    }

    #[test]
    fn hostile_words_come_through_every_shell() {
        let words = [
            "plain",
            "",
            " ",
            "it's",
            "a\\",
            "\\",
            "'",
            "''",
            "\\'",
            "$HOME",
            "$(id)",
            "`id`",
            "!x",
            "!!",
            "a;b",
            "a&b",
            "a|b",
            "a>b",
            "*",
            "?",
            "[a]",
            "{a,b}",
            "~",
            "~root",
            "#c",
            "-x",
            "=ls",
            "%self",
            "^a^b",
            "a\"b",
            "é漢😀",
            "(x)",
            "a=b",
            "\u{a0}",
        ];
        through_shells(&words.map(str::to_owned));
    }

    #[test]
    fn control_characters_are_refused() {
        for word in ["a\nb", "\0", "\x1b[2J", "\r"] {
            assert!(quote(word).is_err(), "{word:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_words_come_through(words in prop::collection::vec("[^\\p{Cc}]{0,12}", 1..5)) {
            through_shells(&words);
        }
    }
}
