//! The text of a message, wherever a verb takes one.

use std::io::Read as _;
use std::path::Path;

use crate::error::{Error, Result};

/// The text, by `-m TEXT` or `-f FILE`; `-` and neither mean standard input.
///
/// # Errors
/// It cannot be read, or is empty.
pub fn message_text(message: Option<&str>, file: Option<&Path>) -> Result<Vec<u8>> {
    // Enough to tell "too long" in words; far beyond what any agent takes by its prompt.
    const MOST: u64 = 16 * 1024 * 1024;
    let read = |what: &str, reader: &mut dyn std::io::Read| -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        reader
            .take(MOST)
            .read_to_end(&mut bytes)
            .map_err(|e| Error::io(format!("cannot read the message from {what}"), e))?;
        Ok(bytes)
    };
    let bytes = match (message, file) {
        (Some(text), _) if text != "-" => text.as_bytes().to_vec(),
        (_, Some(path)) if path.as_os_str() != "-" => {
            let mut file = std::fs::File::open(path).map_err(|e| {
                Error::config(format!("cannot read the message from `{}`", path.display()))
                    .because(e)
            })?;
            read(&format!("`{}`", path.display()), &mut file)?
        }
        _ => {
            use std::io::IsTerminal as _;
            if std::io::stdin().is_terminal() && message.is_none() && file.is_none() {
                return Err(Error::usage("no message")
                    .hint("give it with `-m TEXT`, `-f FILE`, or on standard input"));
            }
            read("standard input", &mut std::io::stdin())?
        }
    };
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Error::usage("the message is empty")
            .hint("give it with `-m TEXT`, `-f FILE`, or on standard input"));
    }
    Ok(bytes)
}
