//! Escaping for unit files, after systemd.syntax(7) and systemd.service(5).

/// One argument of an `Exec…=` line: quoted, with specifiers (`%`) and variables (`$`) taken
/// literally.
pub fn exec_argument(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '%' => out.push_str("%%"),
            '$' => out.push_str("$$"),
            c if c.is_control() => {
                // Every control character is one byte in UTF-8 up to U+007F, two up to U+009F.
                let mut bytes = [0; 4];
                for b in c.encode_utf8(&mut bytes).bytes() {
                    out.push_str(&format!("\\x{b:02x}"));
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The program of an `Exec…=` line. Variables are not expanded there, so `$` stands for itself.
/// `None` for names that systemd refuses however they are written: with quotes, backslashes or
/// control characters.
pub fn exec_program(path: &str) -> Option<String> {
    if path
        .chars()
        .any(|c| matches!(c, '"' | '\'' | '\\') || c.is_control())
    {
        return None;
    }
    Some(format!("\"{}\"", path.replace('%', "%%")))
}

/// A path in a list of paths such as `ReadWritePaths=`: quoted, with specifiers taken literally.
/// `None` for paths with control characters, which systemd refuses there.
pub fn path_value(text: &str) -> Option<String> {
    if text.chars().any(char::is_control) {
        return None;
    }
    Some(format!(
        "\"{}\"",
        text.replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('%', "%%")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What systemd makes of a quoted argument: the inverse, written after the manual.
    fn unescape(text: &str) -> Option<String> {
        let inner = text.strip_prefix('"')?.strip_suffix('"')?;
        let mut bytes = Vec::new();
        let mut chars = inner.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => match chars.next()? {
                    'x' => {
                        let hex: String = chars.by_ref().take(2).collect();
                        bytes.push(u8::from_str_radix(&hex, 16).ok()?);
                    }
                    c => bytes.extend(c.to_string().bytes()),
                },
                '%' | '$' => {
                    if chars.next()? != c {
                        return None;
                    }
                    bytes.push(u8::try_from(c).ok()?);
                }
                '"' | '\n' => return None,
                c => bytes.extend(c.to_string().bytes()),
            }
        }
        String::from_utf8(bytes).ok()
    }

    proptest! {
        #[test]
        fn any_text_round_trips_on_one_line(text in any::<String>()) {
            prop_assume!(!text.contains('\0'));
            let escaped = exec_argument(&text);
            prop_assert!(!escaped.contains('\n'));
            prop_assert_eq!(unescape(&escaped), Some(text));
        }
    }

    #[test]
    fn specifiers_and_variables_are_literal() {
        assert_eq!(
            exec_argument("/a b/%h/$HOME/\"\\\n"),
            r#""/a b/%%h/$$HOME/\"\\\x0a""#
        );
        assert_eq!(
            exec_program("/a b/%h/$HOME").as_deref(),
            Some("\"/a b/%%h/$HOME\"")
        );
        assert_eq!(exec_program("/it's"), None);
        assert_eq!(path_value("/a %b").as_deref(), Some("\"/a %%b\""));
        assert_eq!(path_value("/a\nExecStart=/bin/sh"), None);
    }
}
