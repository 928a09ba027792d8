//! Splits a command line into words the way a shell would, without expanding anything.

/// Splits at blanks; `'…'` is literal, in `"…"` a backslash escapes `"`, `\`, `$`, `` ` `` and the
/// end of line, elsewhere it takes the next character as it is. `$`, `*`, `~`, `;`, `|` and `#` mean
/// nothing.
///
/// # Errors
/// A quote without its end, or a backslash at the end: what is wrong, as a fragment.
pub fn split(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars().enumerate();
    while let Some((at, c)) = chars.next() {
        match c {
            c if c.is_whitespace() => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some((_, '\'')) => break,
                        Some((_, c)) => word.push(c),
                        None => return Err(unclosed('\'', at)),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some((_, '"')) => break,
                        Some((_, '\\')) => match chars.next() {
                            Some((_, '\n')) => {}
                            Some((_, c @ ('"' | '\\' | '$' | '`'))) => word.push(c),
                            Some((_, c)) => word.extend(['\\', c]),
                            None => return Err(unclosed('"', at)),
                        },
                        Some((_, c)) => word.push(c),
                        None => return Err(unclosed('"', at)),
                    }
                }
            }
            '\\' => match chars.next() {
                Some((_, '\n')) => {}
                Some((_, c)) => word.get_or_insert_default().push(c),
                None => return Err("a backslash at the end escapes nothing".to_owned()),
            },
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

fn unclosed(quote: char, at: usize) -> String {
    format!("the quote {quote} at character {} is not closed", at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_as_a_shell_would() {
        for (line, want) in [
            ("", vec![]),
            ("  \t\n ", vec![]),
            ("claude", vec!["claude"]),
            ("a  b\tc\nd", vec!["a", "b", "c", "d"]),
            ("a 'b c' d", vec!["a", "b c", "d"]),
            (r#"a "b 'c" 'd"e'"#, vec!["a", "b 'c", "d\"e"]),
            (r#"x''y "" ''"#, vec!["xy", "", ""]),
            (r#""\"\\\$\`\n""#, vec![r#""\$`\n"#]),
            (r"a\ b '\' \'", vec!["a b", r"\", "'"]),
            ("a\\\nb", vec!["ab"]),
            (
                "$HOME ~ * ; | # >x",
                vec!["$HOME", "~", "*", ";", "|", "#", ">x"],
            ),
            ("ünï 'çö dé'", vec!["ünï", "çö dé"]),
        ] {
            assert_eq!(
                split(line),
                Ok(want.into_iter().map(str::to_owned).collect()),
                "{line:?}"
            );
        }
    }

    #[test]
    fn unbalanced_quotes_are_named() {
        assert_eq!(
            split("a 'b"),
            Err("the quote ' at character 3 is not closed".to_owned())
        );
        assert_eq!(
            split("a \"b'\\\""),
            Err("the quote \" at character 3 is not closed".to_owned())
        );
        assert_eq!(
            split("a\\"),
            Err("a backslash at the end escapes nothing".to_owned())
        );
    }
}
