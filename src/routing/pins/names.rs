//! What may be the name of a chat.

use crate::error::{Error, Result};

/// Longest name of a chat: two names of nodes and two UUIDs.
const CHAT_MOST: usize = 256;

/// A chat's name: it stands in URLs, tables and log lines.
///
/// # Errors
/// Kind `Usage`: it is none.
pub fn checked(chat: &str) -> Result<&str> {
    let fits = !chat.is_empty()
        && chat.len() <= CHAT_MOST
        && chat
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-@+=,".contains(&b));
    if fits && chat != "." && chat != ".." {
        return Ok(chat);
    }
    Err(Error::usage(format!(
        "`{}` cannot be the name of a chat",
        chat.chars().take(80).collect::<String>()
    ))
    .hint(format!(
        "1 to {CHAT_MOST} letters, digits and `. _ - @ + = ,`, for example `ISSUE-12`"
    )))
}
